"""Calls that are sent to a busy worker ahead of time: who runs them, and what happens when it doesn't get to them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from engine_zoo import Keeper, with_keeper

from Algorithmia.server.engine import frames_worker, groups, growth
from Algorithmia.server.engine.base import CallFailure


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine nothing is quick: what counts as quick, and when another worker is started, is no matter of
    time in these tests."""
    monkeypatch.setattr(groups, "_QUICK", 60.0)
    monkeypatch.setattr(groups, "_HORIZON", 6000.0)
    monkeypatch.setattr(growth, "_PATIENCE", 0.1)


async def quick(keeper: Keeper, value: Any = None, **options: Any) -> Any:
    """One call of the moody algorithm whose output nobody wants."""
    return await keeper("moody", value, wants_output=False, **options)


async def make_known_as_quick(keeper: Keeper) -> None:
    """Call it until the pool knows that it answers at once."""
    for number in range(10):
        assert await quick(keeper, number) == number


def test_quick_calls_share_one_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "_PATIENCE", 60.0)
    monkeypatch.setattr(frames_worker, "_PATIENCE", 60.0)

    async def test(keeper: Keeper) -> None:
        await make_known_as_quick(keeper)
        pids = await asyncio.gather(*(quick(keeper, "pid") for _ in range(200)))
        assert len(set(pids)) == 1
        assert await asyncio.gather(*(quick(keeper, number) for number in range(200))) == list(range(200))
        assert keeper.pool.status()["workers"] == 1

    with_keeper(tmp_path, test)


def test_a_worker_that_several_calls_held_is_idle_once(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        await make_known_as_quick(keeper)
        for _ in range(10):
            await asyncio.gather(*(quick(keeper, number) for number in range(16)))
            assert keeper.pool.status()["busy"] == 0

    with_keeper(tmp_path, test)


def test_nobody_waits_behind_a_long_call(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        await make_known_as_quick(keeper)
        long_one = asyncio.create_task(quick(keeper, 60.0, timeout=90.0))
        await asyncio.sleep(0)
        answers = await asyncio.gather(*(quick(keeper, number) for number in range(20)))
        assert answers == list(range(20))
        assert not long_one.done()
        long_one.cancel()

    with_keeper(tmp_path, test)


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_the_death_of_a_worker_is_its_callers_only(tmp_path: Path, how: str) -> None:
    async def test(keeper: Keeper) -> None:
        await make_known_as_quick(keeper)
        tasks = []
        for number in range(40):
            tasks.append(asyncio.create_task(quick(keeper, "exit" if number == 20 else number)))
        if how == "kill":
            await asyncio.sleep(0)
            for worker in tuple(keeper.pool._processes):
                worker.kill()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        failures = [result for result in results if isinstance(result, CallFailure)]
        assert 1 <= len(failures) <= 2
        assert all(result == number for number, result in enumerate(results) if not isinstance(result, CallFailure))

    with_keeper(tmp_path, test)


def test_cancelled_and_late_calls_do_not_disturb_the_others(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        await make_known_as_quick(keeper)
        tasks = [asyncio.create_task(quick(keeper, number)) for number in range(40)]
        late = asyncio.create_task(quick(keeper, 5.0, timeout=0.3))
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[1::2] == list(range(40))[1::2]
        with pytest.raises(CallFailure) as caught:
            await late
        assert caught.value.error_type == "TimeoutError"
        assert await quick(keeper, "again") == "again"

    with_keeper(tmp_path, test)


def test_the_key_acts_for_the_call_that_runs(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        await make_known_as_quick(keeper)
        # Whoever runs is asked about, while others wait behind it.
        running = [asyncio.create_task(quick(keeper, 0.001 * number, session=str(number))) for number in range(1, 6)]
        seen = set()
        while not all(task.done() for task in running):
            for key in keeper.sessions._keys.values():
                identity = key.present()
                if identity is not None and identity.call is not None:
                    seen.add(identity.call.session_id)
            await asyncio.sleep(0.0002)
        await asyncio.gather(*running)
        assert seen <= {str(number) for number in range(1, 6)} and seen
        assert all(key.present() is None for key in keeper.sessions._keys.values())

    with_keeper(tmp_path, test)


def test_output_is_only_the_calls_own(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        for _ in range(10):
            await keeper("print_all_ways", wants_output=False)
        wanted = [keeper.result("print_all_ways", number) for number in range(4)]
        others = [keeper.result("print_all_ways", number, wants_output=False) for number in range(20)]
        results = await asyncio.gather(*wanted, *others)
        assert len({result.stdout for result in results[:4]}) == 1
        assert results[0].stdout.count("descriptor") == 1
        assert {result.stdout for result in results[4:]} == {""}

    with_keeper(tmp_path, test)


@pytest.mark.parametrize("size", [0, 1, 48 * 1024 - 2, 48 * 1024, 300_000, 5_000_000])
def test_inputs_and_results_of_every_size(tmp_path: Path, size: int) -> None:
    async def test(keeper: Keeper) -> None:
        text = "x" * size
        assert await asyncio.gather(*(keeper("echo", text, wants_output=False) for _ in range(8))) == [text] * 8

    with_keeper(tmp_path, test)


def test_an_answer_to_somebody_elses_call_ends_the_worker(tmp_path: Path) -> None:
    """An algorithm that writes to the server itself, with the number of a call that waits."""
    forger = (
        "import os, socket, struct, sys, time\n"
        "def apply(input):\n"
        "    if input != 'forge': return input\n"
        "    for name in os.listdir('/proc/self/fd'):\n"
        "        try: link = socket.socket(fileno=os.dup(int(name)))\n"
        "        except OSError: continue\n"
        "        if link.type != socket.SOCK_SEQPACKET: link.detach(); continue\n"
        "        link.send(struct.pack('!BBHIQd', 4, 1, 0, 4000000000, 6, 0.0) + b'\"evil\"')\n"
        "    time.sleep(30)"
    )

    async def test(keeper: Keeper) -> None:
        from engine_zoo import ZOO

        ZOO["forger"] = forger
        for _ in range(8):
            await keeper("forger", 1, wants_output=False)
        tasks = [asyncio.create_task(keeper("forger", "forge", wants_output=False))]
        tasks += [asyncio.create_task(keeper("forger", number, wants_output=False)) for number in range(5)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[0], CallFailure)
        assert results[1:] == list(range(5))


    with_keeper(tmp_path, test)
