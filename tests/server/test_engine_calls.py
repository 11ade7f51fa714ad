"""One call on a real worker process: values, output, every way to fail, and what is left afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import engine_zoo
import pytest
from engine_zoo import Keeper, processes_with, sandbox_called, with_keeper

from Algorithmia.server.engine.base import InvalidInput, Result
from Algorithmia.server.engine.worker import TIMED_OUT
from Algorithmia.server.languages.python3.language import own_runtime


@pytest.fixture(autouse=True, params=["none", "bubblewrap"])
def sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here holds with and without one."""
    monkeypatch.setattr(Keeper, "sandbox", sandbox_called(request.param))


def test_values_come_and_go_as_they_are(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        for value in ("text \u20ac", {"a": [1, 2.5, None, True]}, None, 2**70, "", []):
            assert await keeper("echo", value) == value
        text = await keeper.result("echo", "{}\u20ac".encode(), content_type="text")
        assert (text.content_type, text.body) == ("text", '"{}\u20ac"'.encode())
        every_byte = bytes(range(256)) * 1000
        binary = await keeper.result("echo", every_byte, content_type="binary")
        assert (binary.content_type, binary.body) == ("binary", every_byte)
        assert (await keeper.result("echo", "x")).content_type == "text"
        assert (await keeper.result("echo", 1)).content_type == "json"
        assert binary.duration > 0

    with_keeper(tmp_path, test)


@pytest.mark.parametrize(
    "content_type, body, reason",
    [("json", b"{", "not valid JSON"), ("json", b"", "empty"), ("json", b"[NaN]", "NaN"), ("text", b"\xff", "UTF-8")],
)
def test_input_that_is_not_what_it_says(tmp_path: Path, content_type: Any, body: bytes, reason: str) -> None:
    async def test(keeper: Keeper) -> None:
        with pytest.raises(InvalidInput, match=reason):
            await keeper.result("echo", body, content_type=content_type)
        assert await keeper("echo", 1) == 1

    with_keeper(tmp_path, test)


def test_errors_of_the_algorithm_leave_the_process_alive(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        failure = await keeper.failure("raises")
        assert (failure.message, failure.error_type) == ("'outer'", "AlgorithmError")
        assert failure.stacktrace is not None
        lines = failure.stacktrace.splitlines()
        assert lines[0] == "Traceback (most recent call last):"
        assert lines[1].startswith('  File "src/raises.py"')
        assert "ValueError: bo\u20acom" in lines
        assert "runner" not in failure.stacktrace and "adk" not in failure.stacktrace
        assert (await keeper.failure("memory")).error_type == "OutOfMemoryError"
        assert "NaN" in (await keeper.failure("nan")).message
        assert "can't be written as JSON" in (await keeper.failure("unserialisable")).message
        assert "recursion" in (await keeper.failure("recursion")).message
        assert keeper.pool.status()["workers"] == 5

    with_keeper(tmp_path, test)


def test_a_process_that_ends_fails_its_own_call_only(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        for value, code in ((0, 0), (3, 3), (None, 0), ("words", 1), (256 + 5, 5)):
            failure = await keeper.failure("exit", value)
            assert (failure.message, failure.error_type) == (f"exited with code {code}", "SystemExit")
            assert failure.stdout.startswith("bye")
        assert (await keeper.failure("os_exit", 9)).message == "exited with code 9"
        assert (await keeper.failure("threads_at_exit")).message == "exited with code 4"
        segfault = await keeper.failure("kill", int(signal.SIGSEGV))
        assert segfault.message == "killed by SIGSEGV"
        assert "Fatal Python error" in segfault.stdout
        killed = await keeper.failure("kill", int(signal.SIGKILL))
        assert killed.message == "killed by SIGKILL, perhaps because memory ran out"
        assert await keeper("echo", "fine") == "fine"

    with_keeper(tmp_path, test)


@pytest.mark.parametrize("name", ["sleep", "stubborn"])
def test_timeout_kills_and_the_next_call_gets_a_fresh_process(tmp_path: Path, name: str) -> None:
    async def test(keeper: Keeper) -> None:
        await keeper.warm(name)  # loading doesn't count here
        failure = await keeper.failure(name, 60, timeout=0.4)
        assert failure.duration < 20
        assert failure.message.startswith(TIMED_OUT)
        assert failure.message.endswith("(stopped at the call's timeout of 0.4 s)")
        assert failure.error_type == "TimeoutError"
        if name == "sleep":
            assert failure.stdout == "zzz"
            assert await keeper("sleep", 0) == "slept"

    with_keeper(tmp_path, test)


def test_the_timeout_covers_loading_too(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        failure = await keeper.failure("load_hangs", timeout=0.3)
        assert (failure.error_type, TIMED_OUT in failure.message) == ("TimeoutError", True)
        assert "while the algorithm was loading" in failure.message

    with_keeper(tmp_path, test)


@pytest.mark.parametrize("how", ["exit", "timeout", "cancel"])
def test_what_the_algorithm_started_ends_with_it(tmp_path: Path, how: str) -> None:
    mark = f"{300 + os.getpid() / 1e7:.7f}"

    async def test(keeper: Keeper) -> None:
        task = asyncio.create_task(keeper.failure("orphans", [how, mark], timeout=2.0))
        while not processes_with(mark):
            await asyncio.sleep(0.02)
        if how == "cancel":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            await task
        for _ in range(100):
            if not processes_with(mark):
                break
            await asyncio.sleep(0.02)
        assert not processes_with(mark)

    with_keeper(tmp_path, test)


def test_results_over_the_limit(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        for name in ("large", "large_bytes"):
            failure = await keeper.failure(name, 100_001)
            assert failure.error_type == "TooLargeError"
            assert "data://" in failure.message
        assert len((await keeper.result("large_bytes", 100_000)).body) == 100_000

    with_keeper(tmp_path, test, max_result_bytes=100_000)


def test_large_values_pass(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        value = os.urandom(10 * 1024 * 1024)
        assert (await keeper.result("echo", value, content_type="binary")).body == value

    with_keeper(tmp_path, test)


# -- output ------------------------------------------------------------------------------------------------------


def test_output_is_captured_however_it_is_written(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        for _ in range(2):
            result = await keeper.result("print_all_ways", 1)
            assert result.stdout.split("\n") == ["python", "descriptor", "child", "error", "stderr", "no newline"]
        assert (await keeper.result("echo", 1)).stdout == ""

    with_keeper(tmp_path, test)


def test_output_belongs_to_its_call(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        first = await keeper.result("load_prints", 1)
        assert first.stdout == "from apply"
        await keeper.result("background_printer", "start")
        await asyncio.sleep(0.3)
        later = await keeper.result("background_printer", "go on")
        assert "mine" in later.stdout and later.stdout.count("noise") <= 5

    with_keeper(tmp_path, test)


def test_a_flood_is_cut_and_stalls_nobody(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        assert await keeper("echo", 1) == 1
        flood = asyncio.create_task(keeper.result("flood", 100_000))
        answered = 0
        while not flood.done():
            await keeper("echo", 1)
            answered += not flood.done()
            await asyncio.sleep(0.01)
        result: Result = await flood
        kept, _, notice = result.stdout.rpartition("\n")
        assert kept == "x" * 50_000
        assert notice == "[output truncated: the first 50000 of 102400000 bytes are shown]"
        assert answered, "calls that began after the flood were to end before it"

    with_keeper(tmp_path, test, max_stdout_bytes=50_000)


# -- loading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, message",
    [
        ("load_fails", "no such library"),
        ("load_exits", "exited with code 7 while loading"),
        ("load_is_killed", "killed by SIGSEGV while loading"),
        ("no_apply", "src.no_apply has no function apply"),
        ("syntax_error", "expected ':'"),
        ("adk_load_fails", "no weights"),
        ("adk_forgotten", "src/adk_forgotten ended without serving"),
    ],
)
def test_failed_load(tmp_path: Path, name: str, message: str) -> None:
    async def test(keeper: Keeper) -> None:
        for _ in range(2):
            failure = await keeper.failure(name)
            assert message in failure.message
            assert failure.error_type == "LoadingError"
            if name == "load_exits":
                assert failure.stdout == "goodbye"
            if name in ("load_fails", "syntax_error", "adk_load_fails"):
                first = (failure.stacktrace or "").removeprefix("Traceback (most recent call last):\n")
                assert first.startswith(f'  File "src/{name}.py"')

    with_keeper(tmp_path, test)


def test_load_timeout(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        failure = await keeper.failure("load_hangs")
        assert failure.error_type == "LoadingError"
        assert failure.message.endswith("(loading took longer than 0.3 s)")

    with_keeper(tmp_path, test, load_timeout=0.3)


def test_every_layout_is_served(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        assert await keeper("adk", "a") == ["a"]
        assert await keeper("adk", "b") == ["a", "b"]
        assert await keeper("adk_guarded") == "__main__"
        assert await keeper("handler", 1) == [1, ["loaded"]]
        assert await keeper("sibling") == "sibling"

    with_keeper(tmp_path, test)


def test_files_of_the_author_may_have_any_name(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        # The runner has its own json by then; the author's stays the author's.
        assert "WHO" in (await keeper.failure("own_json")).message

    with_keeper(tmp_path, test)


def test_a_project_without_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = engine_zoo.make_project(tmp_path, "who")
    (root / "src" / "who.py").unlink()
    monkeypatch.setattr(engine_zoo, "make_project", lambda directory, name: root)

    async def test(keeper: Keeper) -> None:
        failure = await keeper.failure("who")
        assert failure.message.startswith("there is no src/who.py")
        assert failure.error_type == "LoadingError"

    with_keeper(tmp_path, test)


# -- the process's surroundings ----------------------------------------------------------------------------------


def test_environment_is_built_from_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "x")
    inherited = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(inherited, True)

    async def test(keeper: Keeper) -> None:
        seen = await keeper("environment")
        home = seen["env"].pop("HOME")
        if keeper.sandbox.is_private:
            assert home == "/tmp"
            assert seen["env"].pop("PWD") == str(tmp_path / "environment")
        else:
            assert Path(home).parent == keeper.settings.state / "work"
        assert seen["env"].pop("TMPDIR") == home
        assert seen["env"].pop("ALGORITHMIA_HOME").startswith(home)
        assert seen["env"].pop("ALGORITHMIA_API_KEY").startswith("sim")
        assert seen["env"].pop("ALGORITHMIA_API") == "http://127.0.0.1:9009"
        assert seen["env"].pop("PATH").split(":")[0] == os.path.dirname(own_runtime().command[0])
        rest = set(seen["env"]) - set(own_runtime().environment)
        assert rest <= {"LANG", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "LC_CTYPE"}
        assert seen["mode"] == (0o1777 if keeper.sandbox.is_private else 0o700)
        assert seen["sid"] is not keeper.sandbox.is_private  # there the sandbox leads the session
        assert seen["cwd"] == str(tmp_path / "environment")
        # Standard streams, the socket, and the directory being listed.
        assert len(seen["fds"]) == 5
        assert not list((tmp_path / "environment").rglob("__pycache__"))
        core, files = await keeper("limits")
        assert core == [0, 0] and files == [1024, 1024]

    with_keeper(tmp_path, test)
    os.close(inherited)


def test_the_client_inside_is_the_platforms(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        address, key = await keeper("client")
        assert address == "http://127.0.0.1:9009"
        # Bound only while a call runs.
        assert keeper.sessions.find(key) is None

    with_keeper(tmp_path, test)


def test_odd_behaviour_costs_the_call_at_most(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        assert await keeper("fork_and_return") == "parent"
        assert (await keeper.failure("closes_everything")).error_type == "SystemExit"
        assert (await keeper.failure("breaks_protocol")).error_type in ("SystemError", "SystemExit")
        assert await keeper("echo", "fine") == "fine"

    with_keeper(tmp_path, test)
