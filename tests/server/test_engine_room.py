"""Workers that leave: for those who have none, after many calls, and when a call has to be stopped."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from engine_zoo import Keeper, sandbox_called, wait_until, with_keeper

from Algorithmia.server.engine.base import CallFailure
from Algorithmia.server.identity import Account

OTHER = Account("account-other", "other")


@pytest.fixture(autouse=True, params=["none", "bubblewrap"])
def sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test here holds with and without one."""
    monkeypatch.setattr(Keeper, "sandbox", sandbox_called(request.param))
    return str(request.param)


async def again_and_again(keeper: Keeper, name: str, value: Any, answers: list[Any]) -> None:
    while True:
        answers.append(await keeper(name, value, wants_output=False))


@pytest.mark.parametrize("callers", [1, 4])
def test_those_who_always_call_make_room_for_those_who_have_no_worker(tmp_path: Path, callers: int) -> None:
    async def test(keeper: Keeper) -> None:
        answers: list[Any] = []
        greedy = [asyncio.create_task(again_and_again(keeper, "echo", 1, answers)) for _ in range(callers)]
        while len(answers) < 50:
            await asyncio.sleep(0.01)
        # Without anybody's having been idle for a moment, in a room for one.
        assert await keeper("count", account=OTHER) == 1
        assert await keeper("who", account=OTHER)
        known = len(answers)
        while len(answers) < known + 50:
            await asyncio.sleep(0.01)
        for task in greedy:
            task.cancel()

    with_keeper(tmp_path, test, max_processes=1)


def test_an_account_with_many_algorithms_has_no_more_than_one_with_few(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        many: list[Any] = []
        names = ("echo", "moody", "adk", "handler", "large", "sibling")
        values = {"adk": "x", "handler": "x", "large": 1}
        tasks = [asyncio.create_task(again_and_again(keeper, name, values.get(name), many)) for name in names * 3]
        while len(many) < 10:
            await asyncio.sleep(0.01)
        # It waits for a turn each time, and not for one of each of the others.
        for _ in range(3):
            before = keeper.pool.status()["workers"]
            assert await keeper("who", account=OTHER)
            assert before <= 2
        for task in tasks:
            task.cancel()

    with_keeper(tmp_path, test, max_processes=2)


def test_a_worker_is_replaced_after_so_many_calls(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        assert [await keeper("count") for _ in range(7)] == [1, 2, 3, 1, 2, 3, 1]
        # Also while there is always a call for it.
        found = await asyncio.gather(*(keeper("count", wants_output=False) for _ in range(60)))
        assert max(found) <= 3

    with_keeper(tmp_path, test, worker_max_calls=3)


def test_a_worker_that_has_grown_is_replaced(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        first = await keeper("hoard", 0)
        assert await keeper("hoard", 100 * 1024 * 1024) == first
        # It is looked at now and then, and not for being idle: that takes longer than this test.
        while await keeper("hoard", 0) == first:
            await asyncio.sleep(0.05)

    with_keeper(tmp_path, test, max_memory_bytes=128 * 1024 * 1024, worker_idle_timeout=8.0)


def test_a_load_that_was_killed_is_tried_once_more(tmp_path: Path, sandbox: str) -> None:
    if sandbox != "none":
        pytest.skip("in a sandbox the algorithm can't remember that it was killed")

    async def test(keeper: Keeper) -> None:
        assert await keeper("killed_once", "x") == "x"
        failure = await keeper.failure("load_is_killed")
        assert (failure.error_type, failure.message) == ("LoadingError", "killed by SIGSEGV while loading")

    with_keeper(tmp_path, test)


def test_at_its_timeout_an_algorithm_tidies_up_and_says_where_it_was(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        failure = await keeper.failure("tidy", 60, timeout=0.5)
        assert failure.error_type == "TimeoutError" and "timeout of 0.5 s" in failure.message
        assert failure.stdout == "tidied"
        assert failure.stacktrace is not None and 'File "src/tidy.py", line 3, in apply' in failure.stacktrace
        # Whatever it was in the middle of, no other call gets to see.
        assert keeper.pool.status()["workers"] == 0
        assert await keeper("tidy", 0) is None

    with_keeper(tmp_path, test)


def test_an_algorithm_whose_caller_has_gone_is_told(tmp_path: Path, sandbox: str) -> None:
    async def test(keeper: Keeper) -> None:
        assert await keeper("tidy", 0) is None
        mark = tmp_path / "tidy" / "tidied"
        mark.unlink(missing_ok=True)
        task = asyncio.create_task(keeper("tidy", 60))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while keeper.pool._processes:
            await asyncio.sleep(0.01)
        assert mark.exists() == (sandbox == "none")

    with_keeper(tmp_path, test)


def several(keeper: Keeper) -> None:
    keeper.concurrency = 3


def test_a_worker_that_bears_several_calls_runs_them_at_the_same_time(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        several(keeper)
        for _ in range(2):
            found = await asyncio.gather(*(keeper("together", "meet") for _ in range(3)))
            assert len(set(found)) == 1
        results = await asyncio.gather(*(keeper("together", 0.01, wants_output=False) for _ in range(50)))
        assert len(set(results)) == 1
        failure = await keeper.failure("together", {"x": float("nan")})
        assert "not valid JSON" in failure.message

    async def odd(keeper: Keeper) -> None:
        try:
            await test(keeper)
        except Exception as problem:  # InvalidInput is the caller's, not a CallFailure
            assert "not valid JSON" in str(problem)

    with_keeper(tmp_path, odd, max_workers=1)


def test_of_several_calls_one_that_runs_out_of_time_harms_no_other(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        several(keeper)
        first = await keeper("together", 0.0)
        short = asyncio.create_task(keeper.failure("together", 60.0, timeout=0.3))
        long = asyncio.create_task(keeper("together", 1.5))
        failure = await short
        assert failure.error_type == "TimeoutError"
        # New calls go to another process; the old one ends with the last of its calls.
        assert await keeper("together", 0.0) != first or Keeper.sandbox.is_private
        # What they may do is theirs as before.
        assert [key.identity for key in keeper.sessions._keys.values() if key.identity] != []
        assert await long == first
        while len(keeper.pool._processes) > 1:
            await asyncio.sleep(0.01)

    with_keeper(tmp_path, test)


def test_exit_ends_all_calls_of_a_worker_that_bears_several(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        several(keeper)
        outcomes = await asyncio.gather(*(keeper.failure("exit", 3) for _ in range(3)))
        assert all(isinstance(outcome, CallFailure) for outcome in outcomes)
        assert {outcome.error_type for outcome in outcomes} == {"SystemExit"}

    with_keeper(tmp_path, test)


def test_calls_that_nobody_waits_for_exceed_no_limit(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        calls = [asyncio.create_task(keeper("sleep", 0.1, depth=2, is_awaited=False)) for _ in range(12)]
        most = 0
        while not all(call.done() for call in calls):
            most = max(most, len(keeper.pool._processes))
            await asyncio.sleep(0.005)
        assert [call.result() for call in calls] == ["slept"] * 12
        assert most <= 2

    with_keeper(tmp_path, test, max_workers=2, max_processes=2)


def test_calls_of_algorithms_take_the_places_of_idle_workers(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        # More than there is room for, since others wait for them; not for ever.
        outcomes = await asyncio.gather(
            *(keeper("sleep", 0.3, depth=2) for _ in range(4)), return_exceptions=True
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, CallFailure)]
        assert len(refused) == 2 and "no room for more worker processes" in refused[0].message
        assert outcomes.count("slept") == 2
        assert await keeper("echo", 1, depth=2) == 1
        assert await keeper("count", depth=2, account=OTHER) == 1
        while len(keeper.pool._processes) > 1:
            await asyncio.sleep(0.01)

    with_keeper(tmp_path, test, max_processes=1)


def test_descendants_are_found(tmp_path: Path) -> None:
    """Who is told must be the algorithm's process, whatever is around it."""

    async def test(keeper: Keeper) -> None:
        assert await keeper("echo", 1) == 1
        [worker] = keeper.pool._processes
        from Algorithmia.server.engine import memory

        pid = memory.descendant(worker.pid, Keeper.sandbox.generations)
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"runner.py" in command and not command.startswith((b"/usr/bin/bwrap", b"bwrap"))
        assert wait_until(lambda: Path(f"/proc/{pid}").exists())

    with_keeper(tmp_path, test)
