"""From nothing to the first answer, and memory at rest: the embedded platform beside LitServe serving the same."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import harness
from benchmarks.embedded import memory
from benchmarks.harness import AT_MOST, Case, Context, Figures, Target

_SECONDS = 40.0
_START_LIMIT = 60.0
_API = Path(__file__).resolve().parent / "lit_api.py"
_CALL = ["run", "demo/Hello", "-d", "x"]
_WORKER = "runner.py"  # in the command line of our worker processes


def first_answer(context: Context, fresh: bool) -> Figures:
    with context.directory() as home, _existing_home(context) as existing:

        def ours() -> float:
            with contextlib.ExitStack() as stack:
                place = stack.enter_context(context.directory()) if fresh else existing
                stack.callback(_stop_platform, place)
                return harness.run_timed([*harness.our_algo(), *_CALL], _environment(place), "Hello x")

        contenders: dict[str, Callable[[], float]] = {
            "ours": ours,
            "LitServe": lambda: _lit_first_answer(context, home),
        }
        samples = harness.interleave(contenders, context.rounds(7), _SECONDS)
    return harness.figures(samples, "s", "ours", "LitServe")


def memory_at_rest(context: Context) -> Figures:
    worker: list[float] = []
    resident: list[float] = []

    def ours() -> float:
        with context.directory() as home, _our_server(home) as child:
            command = [*harness.our_algo(), *_CALL, "--profile", "local"]
            harness.run_timed(command, harness.our_environment(home), "Hello x")
            time.sleep(1.0)
            everything = memory.tree(child.pid)
            workers = [pid for pid in everything if _WORKER in memory.command_line(pid)]
            worker.append(sum(map(memory.proportional_set_size, workers)) / memory.MIB)
            server = [pid for pid in everything if pid not in workers]
            resident.append(sum(map(memory.resident_set_size, server)) / memory.MIB)
            return sum(map(memory.proportional_set_size, server)) / memory.MIB

    def reference() -> float:
        with context.directory() as home, _lit_server(context, home) as (child, port):
            _ask_until_answered(child, port)
            time.sleep(1.0)
            return sum(map(memory.proportional_set_size, memory.tree(child.pid))) / memory.MIB

    samples = harness.interleave({"ours": ours, "LitServe": reference}, context.rounds(5), _SECONDS)
    note = "ours without, the reference with its worker process"
    samples["ours resident"] = resident
    samples["one worker of ours"] = worker
    return harness.figures(samples, "MiB", "ours", "LitServe", note=note)


@contextlib.contextmanager
def _existing_home(context: Context) -> Iterator[Path]:
    """A home that a platform has been started in before."""
    with context.directory() as home:
        harness.run_timed([*harness.our_algo(), *_CALL], _environment(home), "Hello x")
        _stop_platform(home)
        yield home


def _environment(home: Path) -> dict[str, str]:
    # Should this process be killed, the platform in the background ends by itself soon.
    return harness.our_environment(home, ALGORITHMIA_IDLE_TIMEOUT="60")


def _stop_platform(home: Path) -> None:
    """End the background platform of `home` and wait until it is gone."""
    try:
        pid = json.loads((home / ".algorithmia" / "platform" / "server.json").read_text())["pid"]
    except FileNotFoundError:
        return
    deadline = time.monotonic() + _START_LIMIT
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        while _runs(pid):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@contextlib.contextmanager
def _our_server(home: Path) -> Iterator[subprocess.Popen]:
    """A platform in the foreground, which has made profile ``local`` in `home`."""
    command = [sys.executable, "-m", "Algorithmia.server.main", "--port", "0", "--log-level", "warning"]
    with harness.process(command, harness.our_environment(home), stdout=subprocess.PIPE) as child:
        line = harness.first_line(child)
        if not line.startswith("Serving on "):
            raise RuntimeError(f"the platform did not start: {line!r}")
        yield child


@contextlib.contextmanager
def _lit_server(context: Context, home: Path) -> Iterator[tuple[subprocess.Popen, int]]:
    """LitServe with its worker and the port it will listen on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [context.peers.python("litserve"), str(_API), str(port)]
    with (
        open(home / "litserve.log", "ab") as log,
        # It leaves its manager's directory behind when it is ended, so that goes where everything is removed.
        harness.process(
            command, {**harness.clean_environment(home), "TMPDIR": str(home)}, stdout=log, stderr=log
        ) as child,
    ):
        yield child, port


def _lit_first_answer(context: Context, home: Path) -> float:
    started = time.perf_counter()
    with _lit_server(context, home) as (child, port):
        _ask_until_answered(child, port)
        return time.perf_counter() - started


def _ask_until_answered(child: subprocess.Popen, port: int) -> None:
    deadline = time.monotonic() + _START_LIMIT
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise RuntimeError(f"LitServe ended with {child.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_START_LIMIT)
        try:
            connection.request("POST", "/predict", '{"input": "x"}', {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status == 200 and json.loads(response.read()) == {"output": "Hello x"}:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.002)
    raise RuntimeError("LitServe did not answer")


CASES = [
    Case(
        "start-fresh",
        "no process, no home: to the first answer",
        Target(AT_MOST, 2),
        lambda context: first_answer(context, fresh=True),
        ("litserve",),
    ),
    Case(
        "start",
        "no process: to the first answer",
        Target(AT_MOST, 2),
        lambda context: first_answer(context, fresh=False),
        ("litserve",),
    ),
    Case("memory", "memory at rest (proportional)", Target(AT_MOST, 80, "MiB"), memory_at_rest, ("litserve",)),
]
