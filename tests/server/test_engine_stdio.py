"""Workers that speak the documented protocol: values, output, every way of not keeping to it, and real ADKs."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from engine_zoo import Keeper, processes_with, sandbox_called, wait_until, with_keeper

from Algorithmia.server.engine.base import CallFailure, InvalidInput, Runtime
from Algorithmia.server.engine.stdio_protocol import ProtocolError, Value
from Algorithmia.server.engine.worker import TIMED_OUT

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RUNNER = HERE / "stdio_runner.py"
READABLE = (sys.prefix, sys.base_prefix, str(HERE))


@pytest.fixture(autouse=True, params=["none", "bubblewrap"])
def sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here holds with and without one."""
    monkeypatch.setattr(Keeper, "sandbox", sandbox_called(request.param))


def with_runner(home: Path, test: Any, manner: str = "", **settings: Any) -> None:
    async def run(keeper: Keeper) -> None:
        command = (sys.executable, "-I", "-B", str(RUNNER), *([manner] if manner else []))
        keeper.runtime = Runtime(command, "stdio", {}, READABLE)
        await test(keeper)

    with_keeper(home, run, **settings)


async def ask(keeper: Keeper, do: str, value: Any = None, **options: Any) -> Any:
    return await keeper("echo", {"do": do, "value": value}, **options)


async def fail(keeper: Keeper, do: str, value: Any = None, **options: Any) -> CallFailure:
    return await keeper.failure("echo", {"do": do, "value": value}, **options)


@pytest.mark.parametrize("manner", ["", "keeps the FIFO open", "says so in pieces"])
def test_values_come_and_go_as_they_are(tmp_path: Path, manner: str) -> None:
    async def test(keeper: Keeper) -> None:
        for value in ({"a": [1, 2.5, None, True, "\u20ac\"\\"]}, None, 2**70, [], "}{", "\\"):
            assert await keeper("echo", value) == value
        text = await keeper.result("echo", "{}\u20ac\n\"".encode(), content_type="text")
        assert (text.content_type, json.loads(text.body)) == ("text", "{}\u20ac\n\"")
        every_byte = bytes(range(256)) * 5000
        binary = await keeper.result("echo", every_byte, content_type="binary")
        assert (binary.content_type, binary.body) == ("binary", every_byte)
        assert 0 < binary.duration < 10
        assert keeper.pool.status()["workers"] == 1

    with_runner(tmp_path, test, manner)


def test_a_request_is_one_line(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        result = await keeper.result("echo", b'{"do":\r\n "line",\n\n"value": "a\\nb"}\n')
        line = json.loads(result.body)
        assert line.endswith("\n") and line.count("\n") == 1 and "\r" not in line
        assert json.loads(line) == {"content_type": "json", "data": {"do": "line", "value": "a\nb"}}

    with_runner(tmp_path, test)


@pytest.mark.parametrize(
    "content_type, body, reason",
    [
        ("json", b"{", "not valid JSON"),
        ("json", b" ", "empty"),
        ("json", b"[NaN]", "NaN"),
        ("json", b"1 2", "not valid JSON"),
        ("json", b'1}\n{"content_type":"json","data":2', "not valid JSON"),
        ("json", b'"\xff"', "UTF-8"),
        ("text", b"\xff", "UTF-8"),
        ("json", b"[" * 100_000, "nested|not valid JSON"),
    ],
    ids=str,
)
def test_input_that_is_not_what_it_says(tmp_path: Path, content_type: Any, body: bytes, reason: str) -> None:
    async def test(keeper: Keeper) -> None:
        with pytest.raises(InvalidInput, match=reason):
            await keeper.result("echo", body, content_type=content_type)
        assert await keeper("echo", 1) == 1

    with_runner(tmp_path, test)


@pytest.mark.parametrize(
    "error, expected",
    [
        ({"message": "boom"}, ("boom", "AlgorithmError", None)),
        ({"message": "boom", "error_type": 5, "stacktrace": None}, ("boom", "AlgorithmError", None)),
        (
            {"message": "b\u00f6", "error_type": "ValueError", "stacktrace": "line 1\nline 2", "more": [1]},
            ("b\u00f6", "ValueError", "line 1\nline 2"),
        ),
    ],
)
def test_errors(tmp_path: Path, error: Any, expected: Any) -> None:
    async def test(keeper: Keeper) -> None:
        failure = await fail(keeper, "write", json.dumps({"error": error}))
        assert (failure.message, failure.error_type, failure.stacktrace) == expected
        assert await keeper("echo", 1) == 1
        assert keeper.pool.status()["workers"] == 1

    with_runner(tmp_path, test)


def test_base64_may_have_line_breaks(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        content = os.urandom(1000)
        text = base64.encodebytes(content).decode()
        answer = json.dumps({"result": text, "metadata": {"content_type": "binary"}})
        result = await keeper.result("echo", {"do": "write", "value": answer})
        assert (result.content_type, result.body) == ("binary", content)

    with_runner(tmp_path, test)


@pytest.mark.parametrize(
    "written, why",
    [
        ("[1]", "not a JSON object"),
        ("1", "not a JSON object"),
        ("{}", "neither a result with a content type, nor an error with a message"),
        ('{"result": 1}', "neither a result"),
        ('{"result": 1, "metadata": {"content_type": "void"}}', "neither a result"),
        ('{"error": {"message": 5}}', "neither a result"),
        ('{"error": "text"}', "neither a result"),
        ('{"result": 1, "metadata": {"content_type": "text"}}', "text result is not a JSON string"),
        ('{"result": "a", "metadata": {"content_type": "binary"}}', "not base64"),
        ('{"result": NaN, "metadata": {"content_type": "json"}}', "not valid JSON"),
        ('{"result": 1, "metadata": {"content_type": "json"}} {"result": 2}', "not valid JSON"),
        ('{"result": }', "not valid JSON"),
    ],
)
def test_answers_that_are_none(tmp_path: Path, written: str, why: str) -> None:
    async def test(keeper: Keeper) -> None:
        failure = await fail(keeper, "write", written)
        assert why in failure.message and failure.message.startswith("the worker process broke the protocol")
        assert failure.error_type == "SystemError"
        assert await keeper("echo", 1) == 1

    with_runner(tmp_path, test)


def test_an_answer_may_come_in_pieces_and_a_second_one_is_nobodys(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        whole = r'{"result": "\\\"}{", "metadata": {"content_type": "text"}}'
        for cut in (1, 12, 13, 14, 15, 16, 17, 30):
            assert await ask(keeper, "pieces", [whole[:cut], whole[cut:]]) == '\\"}{'
        assert keeper.pool.status()["workers"] == 1
        assert await ask(keeper, "pieces", [whole, whole]) == '\\"}{'
        await asyncio.sleep(0.3)
        assert keeper.pool.status()["workers"] == 0
        assert await keeper("echo", 1) == 1

    with_runner(tmp_path, test)


def test_output_belongs_to_its_call(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        assert await keeper.warm("echo") == "loading"
        result = await keeper.result("echo", {"do": "print", "value": "gr\u00fcn"})
        assert sorted(result.stdout.split("\n")) == ["gr\u00fcn", "to stderr"]
        assert (await keeper.result("echo", 1)).stdout == ""

    with_runner(tmp_path, test)


def test_a_flood_is_cut_and_stalls_nobody(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        flood = asyncio.create_task(keeper.result("echo", {"do": "flood", "value": 50_000}))
        while not flood.done():
            assert await keeper("echo", 1) == 1
            await asyncio.sleep(0.01)
        kept, _, notice = (await flood).stdout.rpartition("\n")
        assert kept == "x" * 50_000
        assert notice == "[output truncated: the first 50000 of 51200000 bytes are shown]"

    with_runner(tmp_path, test, max_stdout_bytes=50_000)


def test_a_flood_while_loading(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        printed = await keeper.warm("echo")
        assert printed.startswith("loading\nxxx") and len(printed) < 51_000
        assert await keeper("echo", 1) == 1

    with_runner(tmp_path, test, "floods while it loads", max_stdout_bytes=50_000)


def test_results_over_the_limit(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        failure = await fail(keeper, "large", 100_001)
        assert (failure.error_type, "data://" in failure.message) == ("TooLargeError", True)
        assert keeper.pool.status()["workers"] == 1
        endless = await fail(keeper, "large", 30_000_000)
        assert endless.error_type == "TooLargeError"
        assert await ask(keeper, "large", 99_000) == "x" * 99_000

    with_runner(tmp_path, test, max_result_bytes=100_000)


def test_a_process_that_ends(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        for code in (0, 3):
            failure = await fail(keeper, "exit", code)
            assert (failure.message, failure.error_type) == (f"exited with code {code}", "SystemExit")
            assert failure.stdout == "bye"
        assert await ask(keeper, "answer and exit") == "last words"
        await asyncio.sleep(0.3)
        assert (await fail(keeper, "half an answer")).message == "exited with code 4"
        assert await keeper("echo", 1) == 1

    with_runner(tmp_path, test)


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_the_whole_tree_ends(tmp_path: Path, how: str) -> None:
    mark = f"{500 + os.getpid() / 1e7:.7f}"

    async def test(keeper: Keeper) -> None:
        task = asyncio.create_task(fail(keeper, "hang", mark, timeout=2.0))
        while not processes_with(mark):
            await asyncio.sleep(0.02)
        if how == "cancel":
            task.cancel()
            await asyncio.wait([task])
        else:
            failure = await task
            assert failure.message.startswith(TIMED_OUT) and failure.error_type == "TimeoutError"
        while processes_with(mark):
            await asyncio.sleep(0.02)

    with_runner(tmp_path, test)


def test_a_process_that_never_reads_stalls_nobody(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        failure = await keeper.failure("echo", "x" * 5_000_000, timeout=0.5)
        assert failure.error_type == "TimeoutError"

    with_runner(tmp_path, test, "never reads")


def test_a_process_that_closes_its_input(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        await fail(keeper, "close input", timeout=0.5)
        assert await keeper("echo", 1) == 1

    with_runner(tmp_path, test)


@pytest.mark.parametrize(
    "manner, message, error_type",
    [
        ("fails to load", "exited with code 7 while loading", "LoadingError"),
        ("reports that it can't load", "no weights", "LoadingError"),
        ("answers unasked", "broke the protocol: it answered before it was asked", "SystemError"),
    ],
)
def test_failed_load(tmp_path: Path, manner: str, message: str, error_type: str) -> None:
    async def test(keeper: Keeper) -> None:
        failure = await keeper.failure("echo")
        assert message in failure.message and failure.error_type == error_type
        assert failure.stdout.startswith("loading")

    with_runner(tmp_path, test, manner)


def test_surroundings(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        seen = await ask(keeper, "environment")
        is_private = keeper.sandbox.is_private
        assert seen["HOME"] == seen["TMPDIR"]
        assert seen["ALGORITHMIA_OUTPUT_FIFO"] == os.path.join(seen["HOME"], "algoout")
        assert (seen["HOME"] == "/tmp") is is_private
        assert (seen["ALGORITHMIA_API"], seen["LANG"]) == ("http://127.0.0.1:9009", "C.UTF-8")
        assert seen["ALGORITHMIA_API_KEY"].startswith("sim")

    with_runner(tmp_path, test)


def test_retiring_ends_the_process_in_good_order(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        assert await keeper("echo", 1) == 1
        [worker] = keeper.pool._processes
        keeper.pool.recycle("algorithm-echo")
        await asyncio.wait_for(worker.ended, 10)
        assert worker._process is not None and worker._process.returncode == 0

    with_runner(tmp_path, test)


def test_workers_die_with_a_killed_server(tmp_path: Path) -> None:
    mark = f"{900 + os.getpid() / 1e7:.7f}"
    program = f"""
import asyncio, sys
sys.path.insert(0, {str(HERE)!r})
from pathlib import Path
from engine_zoo import Keeper, sandbox_called
from Algorithmia.server.engine.base import Runtime

Keeper.sandbox = sandbox_called({Keeper.sandbox.name!r})

async def main():
    keeper = Keeper(Path({str(tmp_path)!r}))
    keeper.runtime = Runtime(({sys.executable!r}, "-I", "-B", {str(RUNNER)!r}, {mark!r}), "stdio", {{}}, {READABLE!r})
    await keeper.pool.start()
    await keeper("echo", {{"do": "hang", "value": "5"}})

asyncio.run(main())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    server = subprocess.Popen([sys.executable, "-c", program], env=environment)
    assert wait_until(lambda: bool(processes_with(mark)), 20)
    time.sleep(0.5)
    server.kill()
    server.wait()
    assert wait_until(lambda: not processes_with(mark), 10)


ADK_ALGORITHM = """
import sys
{path}
from {package} import ADK
def load(): print('weights'); return {{'calls': 0}}
def apply(input, state):
    state['calls'] += 1
    print('working')
    if input == 'fail': raise ValueError('b\\u00f6se')
    return [input, state['calls']] if isinstance(input, str) else input
ADK(apply, load).init()
"""


def _has_published_adk() -> bool:
    return bool(os.environ.get("ALGORITHMIA_TEST_PUBLISHED_ADK"))


@pytest.mark.parametrize("package", ["Algorithmia", "adk"])
def test_the_adks_own_protocol(tmp_path: Path, package: str) -> None:
    """Our ADK and, where a directory with it is named, the published one: both speak to the FIFO's documented name."""
    if not Keeper.sandbox.is_private:
        pytest.skip("the ADK knows no other FIFO than /tmp/algoout, which only a sandbox has")
    readable, path = [*READABLE, str(ROOT / "Algorithmia")], f"sys.path.insert(0, {str(ROOT)!r})"
    if package == "adk":
        if not _has_published_adk():
            pytest.skip("ALGORITHMIA_TEST_PUBLISHED_ADK names no directory that algorithmia-adk is installed in")
        published = os.environ["ALGORITHMIA_TEST_PUBLISHED_ADK"]
        readable, path = [*READABLE, published], f"sys.path.insert(0, {published!r})"

    async def test(keeper: Keeper) -> None:
        # -u: the published one flushes its output only after the answer.
        program = ADK_ALGORITHM.format(path=path, package=package)
        keeper.runtime = Runtime((sys.executable, "-I", "-u", "-B", "-c", program), "stdio", {}, tuple(readable))
        assert await keeper.warm("echo") == "weights"
        result = await keeper.result("echo", b"a", content_type="text")
        assert (json.loads(result.body), result.stdout) == (["a", 1], "working")
        assert (await keeper.result("echo", b"\0\1", content_type="binary")).body == b"\0\1"
        if package == "Algorithmia":  # the published one ends its process on Pythons since 3.10
            failure = await keeper.failure("echo", "fail")
            assert (failure.message, failure.error_type) == ("b\u00f6se", "AlgorithmError")
            assert await keeper("echo", "b") == ["b", 4]

    with_keeper(tmp_path, test)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_the_end_of_a_value_is_found_wherever_it_is_cut(size: int) -> None:
    document = json.dumps({"a": ['x"}\\', "\\\\", {"b": "{"}], "\\": {"\"": []}}).encode()
    value = Value()
    pieces = [document[start : start + size] for start in range(0, len(document), size)]
    assert [value.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    with pytest.raises(ProtocolError):
        Value().feed(b" \n 1")
