"""Many calls on the pool: reuse, limits, waiting, nesting, failing starts, idle ends, and a server that dies."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from engine_zoo import ME, Keeper, is_running, sandbox_called, wait_until, with_keeper

from Algorithmia.server.engine.base import CallFailure
from Algorithmia.server.identity import Account
from Algorithmia.server.services.accounts import key_digest

HERE = Path(__file__).parent


@pytest.fixture(autouse=True, params=["none", "bubblewrap"])
def sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here holds with and without one."""
    monkeypatch.setattr(Keeper, "sandbox", sandbox_called(request.param))


def test_warm_workers_are_reused_and_keep_their_state(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        assert [await keeper("count") for _ in range(5)] == [1, 2, 3, 4, 5]
        assert keeper.pool.status()["workers"] == 1

    with_keeper(tmp_path, test)


def test_accounts_never_share_a_process(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        other = Account("account-other", "other")
        assert await keeper("count") == 1
        assert await keeper("count", account=other) == 1
        assert await keeper("who") != await keeper("who", account=other)

    with_keeper(tmp_path, test)


def test_parallel_calls_get_workers_up_to_the_limit_and_then_queue(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        found = await asyncio.gather(*(keeper("who") for _ in range(40)))
        assert 1 <= len(set(found)) <= 3
        slept = await asyncio.gather(*(keeper("sleep", 0.1) for _ in range(6)))
        assert slept == ["slept"] * 6
        assert keeper.pool.status()["workers"] <= 6

    with_keeper(tmp_path, test, max_workers=3)


def test_waiting_for_a_worker_counts_as_time(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        await keeper("sleep", 0)
        long_one = asyncio.create_task(keeper("sleep", 1.0))
        await asyncio.sleep(0.05)
        failure = await keeper.failure("sleep", 0, timeout=0.2)
        assert failure.error_type == "TimeoutError"
        assert "while it waited for a worker" in failure.message
        assert await long_one == "slept"
        assert await keeper("sleep", 0) == "slept"

    with_keeper(tmp_path, test, max_workers=1)


def test_calls_made_by_algorithms_may_exceed_the_limit(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        await keeper("sleep", 0)  # its worker has loaded
        outer = asyncio.create_task(keeper("sleep", 300))
        queued = asyncio.create_task(keeper("sleep", 0))
        await asyncio.sleep(0.3)
        # Overtakes the queued one, and leaves no extra worker behind.
        assert await keeper("sleep", 0, depth=2) == "slept"
        assert not outer.done()
        await asyncio.sleep(0.1)
        assert keeper.pool.status()["workers"] == 1
        outer.cancel()
        assert await queued == "slept"

    with_keeper(tmp_path, test, max_workers=1)


def test_cancelling_ends_the_work_and_frees_the_slot(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        first = await keeper("who")
        await keeper("sleep", 0)
        task = asyncio.create_task(keeper("sleep", 60))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await keeper("sleep", 0) == "slept"
        assert await keeper("who") == first

    with_keeper(tmp_path, test, max_workers=1)


def test_cancelling_while_in_line_harms_nobody(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        tasks = [asyncio.create_task(keeper("sleep", 0.05)) for _ in range(12)]
        await asyncio.sleep(0.12)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(result == "slept" for result in results[1::2])
        status = keeper.pool.status()
        assert status["busy"] == status["waiting"] == 0
        assert await keeper("sleep", 0) == "slept"

    with_keeper(tmp_path, test, max_workers=2)


def test_a_worker_that_dies_while_idle_is_replaced(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        first = await keeper("who")
        [pid] = keeper.processes()
        os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.3)
        assert keeper.pool.status()["workers"] == 0
        assert await keeper("who") != first

    with_keeper(tmp_path, test)


def test_failing_starts_back_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("Algorithmia.server.engine.groups._LONGEST_BACK_OFF", 1000.0)
    monkeypatch.setattr("Algorithmia.server.engine.groups._BACK_OFF", 1000.0)

    async def test(keeper: Keeper) -> None:
        failures = await asyncio.gather(*(keeper.failure("load_fails") for _ in range(50)))
        failures += [await keeper.failure("load_fails") for _ in range(200)]
        assert {failure.message for failure in failures} == {"no such library"}
        assert len({id(failure) for failure in failures}) == len(failures)
        [group] = keeper.pool._groups.values()
        assert group.failures <= 8  # those that were started before the first one failed
        group.retry_at = 0
        before = group.failures
        await keeper.failure("load_fails")
        assert group.failures == before + 1

    with_keeper(tmp_path, test)


def test_a_start_without_descriptors_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> tuple[int, int]:
        raise OSError(errno.EMFILE, "Too many open files")

    async def test(keeper: Keeper) -> None:
        opened = len(os.listdir("/proc/self/fd"))
        with monkeypatch.context() as patch:
            patch.setattr(os, "pipe", none_left)
            failure = await keeper.failure("count")
        assert failure.error_type == "SystemError"
        assert "Too many open files" in failure.message
        assert not keeper.pool._processes
        work = keeper.settings.state / "work"
        # A thread removes the worker's directory, and has that open meanwhile.
        while any(work.iterdir()) or len(os.listdir("/proc/self/fd")) > opened:
            await asyncio.sleep(0.01)

    with_keeper(tmp_path, test)


def test_a_mended_start_serves_again(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        await keeper.failure("load_is_killed")
        [group] = keeper.pool._groups.values()
        group.retry_at = 0
        source = tmp_path / "load_is_killed" / "src" / "load_is_killed.py"
        import engine_zoo

        engine_zoo.ZOO["load_is_killed"], broken = "def apply(input): return 'ok'", engine_zoo.ZOO["load_is_killed"]
        try:
            assert await keeper("load_is_killed") == "ok"
        finally:
            engine_zoo.ZOO["load_is_killed"] = broken
        assert source.exists() and group.failures == 0

    with_keeper(tmp_path, test)


def test_idle_workers_end(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        first = await keeper("who")
        [pid] = keeper.processes()
        for _ in range(100):
            if not is_running(pid):
                break
            await asyncio.sleep(0.03)
        assert not is_running(pid)
        assert keeper.pool.status()["workers"] == 0
        assert keeper.pool._groups == {}
        assert await keeper("who") != first

    with_keeper(tmp_path, test, worker_idle_timeout=0.2)


def test_idle_workers_make_room_for_others(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        accounts = [Account(f"account-{number}", f"a{number}") for number in range(8)]
        for account in accounts:
            assert await keeper("echo", 1, account=account) == 1
        await asyncio.sleep(0.3)
        assert keeper.pool.status()["workers"] <= 3
        # Also when all are busy at first.
        slept = await asyncio.gather(*(keeper("sleep", 0.1, account=account) for account in accounts))
        assert slept == ["slept"] * 8

    with_keeper(tmp_path, test, max_processes=3)


def test_session_keys_act_for_the_caller_only_during_a_call(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        _, text = await keeper("client")
        key = keeper.sessions.find(key_digest(text))
        assert key is not None and key.present() is None
        running = asyncio.create_task(keeper("sleep", 0.3))
        await asyncio.sleep(0.15)
        for other in keeper.sessions._keys.values():
            assert other.present() is None or other.present().account == ME
        assert await running == "slept"
        assert key.present() is None

    with_keeper(tmp_path, test)


def test_closing_fails_what_runs_and_leaves_nothing(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        running = [asyncio.create_task(keeper.failure("sleep", 60)) for _ in range(4)]
        await asyncio.sleep(0.5)
        await keeper.pool.close()
        failures = await asyncio.gather(*running)
        assert all(isinstance(failure, CallFailure) for failure in failures)
        assert (await keeper.failure("echo")).message == "the platform is shutting down"

    with_keeper(tmp_path, test, max_workers=2)


def test_start_removes_what_an_earlier_server_left(tmp_path: Path) -> None:
    left = tmp_path / "home" / "platform" / "work" / "worker-old"
    left.mkdir(parents=True)

    async def test(keeper: Keeper) -> None:
        assert not left.exists()

    with_keeper(tmp_path, test)


@pytest.mark.parametrize("what", ["busy", "idle"])
def test_workers_die_with_a_killed_server(tmp_path: Path, what: str) -> None:
    program = f"""
import asyncio, sys
sys.path.insert(0, {str(HERE)!r})
from pathlib import Path
from engine_zoo import Keeper, sandbox_called

Keeper.sandbox = sandbox_called({Keeper.sandbox.name!r})

async def main():
    keeper = Keeper(Path({str(tmp_path)!r}))
    await keeper.pool.start()
    await keeper("who")
    print(*keeper.processes(), flush=True)
    if {what!r} == "busy":
        task = asyncio.create_task(keeper("stubborn"))
        while not keeper.pool.status()["busy"]: await asyncio.sleep(0.01)
        [worker] = [w for w in keeper.pool._processes if "stubborn" in str(w.launch.project)]
        print(worker._process.pid, flush=True)
    else:
        print(0, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
    server = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert server.stdout is not None
    pids = [json.loads(server.stdout.readline()), json.loads(server.stdout.readline())]
    assert all(is_running(pid) for pid in pids if pid)
    server.kill()
    server.wait()
    server.stdout.close()
    assert wait_until(lambda: not any(is_running(pid) for pid in pids if pid))


def test_a_uvloop_serves_as_well(tmp_path: Path) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def run() -> None:
        keeper = Keeper(tmp_path)
        await keeper.pool.start()
        assert await asyncio.gather(*(keeper("echo", number) for number in range(50))) == list(range(50))
        assert (await keeper.failure("kill", 9)).message.startswith("killed by SIGKILL")
        assert (await keeper.failure("sleep", 9, timeout=0.2)).error_type == "TimeoutError"
        await keeper.pool.close()

    uvloop.run(run())


def test_a_warm_worker_serves_the_next_call_of_its_account(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        assert await keeper.warm("load_prints") == "from load"
        assert keeper.pool.status()["workers"] == 1 and keeper.pool.status()["busy"] == 0
        assert (await keeper.result("load_prints", 1)).stdout == "from apply"
        await keeper("load_prints", 1, account=Account("account-other", "other"))
        assert keeper.pool.status()["workers"] == 2

    with_keeper(tmp_path, test)


def test_warming_what_does_not_load(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        for name, reason in (("load_fails", "no such library"), ("load_exits", "exited with code 7 while loading")):
            with pytest.raises(CallFailure) as caught:
                await keeper.warm(name)
            assert (caught.value.message, caught.value.error_type) == (reason, "LoadingError")
        assert caught.value.stdout == "goodbye"
        assert keeper.pool.status()["workers"] == keeper.pool.status()["starting"] == 0

    with_keeper(tmp_path, test)


def test_secrets_are_variables_of_workers_that_start_later(tmp_path: Path) -> None:
    asked: list[str] = []
    secrets = {"TOKEN": "first", "HOME": "/elsewhere", "ALGORITHMIA_API": "http://evil"}

    def secrets_of(algorithm_id: str) -> dict[str, str]:
        asked.append(algorithm_id)
        return dict(secrets)

    async def test(keeper: Keeper) -> None:
        keeper.pool.starter.secrets_of = secrets_of
        seen = (await keeper("environment"))["env"]
        assert (seen["TOKEN"], seen["ALGORITHMIA_API"]) == ("first", "http://127.0.0.1:9009")
        assert seen["HOME"] != "/elsewhere"
        secrets["TOKEN"] = "second"
        assert (await keeper("environment"))["env"]["TOKEN"] == "first"
        assert await keeper("token_after", 0) == "second"
        busy = asyncio.create_task(keeper("token_after", 0.3))
        await asyncio.sleep(0.1)
        keeper.pool.recycle("algorithm-environment")
        keeper.pool.recycle("algorithm-token_after")
        secrets["TOKEN"] = "third"
        assert (await keeper("environment"))["env"]["TOKEN"] == "third"
        assert await busy == "second"
        assert await keeper("token_after", 0) == "third"
        assert set(asked) == {"algorithm-environment", "algorithm-token_after"}

    with_keeper(tmp_path, test)
