"""Servers that answer a greeting: ours, with all that belongs to a call, and what it is compared with."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks import harness
from benchmarks.embedded import memory
from benchmarks.harness import Context
from benchmarks.server import Server

from . import wrk

_APPS = Path(__file__).resolve().parent / "apps"
_LIT_API = Path(__file__).resolve().parent.parent / "embedded" / "lit_api.py"
_START_LIMIT = 120.0
_GREETING = b"Hello World"


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that runs: the process `pid`, and what to POST to `url` to be greeted."""

    pid: int
    url: str
    body: str = "World"
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "text/plain"})

    def ask(self) -> None:
        """One call. Raises OSError if nobody answers, RuntimeError if the answer is no greeting."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=_START_LIMIT)
        try:
            connection.request("POST", parts.path, self.body.encode(), self.headers)
            response = connection.getresponse()
            answer = response.read()
        except http.client.HTTPException as problem:
            raise OSError(str(problem)) from None
        finally:
            connection.close()
        if response.status != 200 or _GREETING not in answer:
            raise RuntimeError(f"{self.url} answered {response.status} {answer[:300]!r}")

    def load(self, connections: int, seconds: float, scratch: Path) -> wrk.Sample:
        """What wrk says of it."""
        return wrk.load(self.url, self.body, self.headers, connections, seconds, scratch)


Start = Callable[[Context], contextlib.AbstractContextManager[Contender]]


def platform(*flags: str) -> Start:
    """The platform as `algo serve` starts it, asked for demo/Hello with a key; its log is written as always."""

    @contextlib.contextmanager
    def start(context: Context) -> Iterator[Contender]:
        with context.directory() as home:
            server = Server(home, "--log-level", "info", *flags)
            try:
                server.spawn()
                server.wait_until_ready()
                headers = {"Content-Type": "text/plain", "Authorization": f"Simple {server.key()}"}
                contender = Contender(server.pid, f"{server.address}/v1/algo/demo/Hello", headers=headers)
                contender.ask()
                yield contender
            finally:
                server.end()

    return start


ours = platform()


def uvicorn(module: str) -> Start:
    """`module` of the references' programs in one process of uvicorn, with its fast loop and parser."""

    @contextlib.contextmanager
    def start(context: Context) -> Iterator[Contender]:
        port = free_port()
        program = [context.peers.command("web", "uvicorn"), f"{module}:app", "--app-dir", str(_APPS)]
        options = ["--port", str(port), "--loop", "uvloop", "--http", "httptools"]
        command = [*program, *options, "--no-access-log", "--log-level", "warning"]
        with _running(command) as pid:
            yield _ready(pid, Contender(pid, f"http://127.0.0.1:{port}/"))

    return start


@contextlib.contextmanager
def litserve(context: Context) -> Iterator[Contender]:
    port = free_port()
    command = [context.peers.python("litserve"), str(_LIT_API), str(port)]
    with _running(command) as pid:
        body = json.dumps({"input": "World"})
        yield _ready(pid, Contender(pid, f"http://127.0.0.1:{port}/predict", body, dict(_JSON)))


@contextlib.contextmanager
def ray(context: Context) -> Iterator[Contender]:
    port = free_port()
    with _running([context.peers.python("ray"), str(_APPS / "ray_hello.py"), str(port)]) as pid:
        yield _ready(pid, Contender(pid, f"http://127.0.0.1:{port}/"))


@contextlib.contextmanager
def bentoml(context: Context) -> Iterator[Contender]:
    port = free_port()
    program = [context.peers.command("bentoml", "bentoml"), "serve", "bento_hello:Hello"]
    command = [*program, "--working-dir", str(_APPS), "--host", "127.0.0.1", "--port", str(port)]
    with _running(command) as pid:
        body = json.dumps({"name": "World"})
        yield _ready(pid, Contender(pid, f"http://127.0.0.1:{port}/hello", body, dict(_JSON)))


@contextlib.contextmanager
def mlserver(context: Context) -> Iterator[Contender]:
    """With its worker processes, as it is unless told otherwise."""
    ports = {name: free_port() for name in ("http_port", "grpc_port", "metrics_port")}
    with context.directory() as place:
        (place / "settings.json").write_text(json.dumps({"host": "127.0.0.1", "debug": False, **ports}))
        model = {"name": "hello", "implementation": "mlserver_hello.Hello"}
        (place / "model-settings.json").write_text(json.dumps(model))
        shutil.copy(_APPS / "mlserver_hello.py", place)
        with _running([context.peers.command("mlserver", "mlserver"), "start", str(place)]) as pid:
            given = {"name": "name", "shape": [1, 1], "datatype": "BYTES", "data": ["World"]}
            address = f"http://127.0.0.1:{ports['http_port']}/v2/models/hello/infer"
            yield _ready(pid, Contender(pid, address, json.dumps({"inputs": [given]}), dict(_JSON)))


_JSON = {"Content-Type": "application/json"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def two_cores() -> Iterator[None]:
    """What is started inside shares two cores, however many there are."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:2])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[int]:
    """The process of a reference; nothing that it started, and no file, is there afterwards."""
    # Some of them make sockets in it, whose paths may not be long.
    home = Path(tempfile.mkdtemp(prefix="peer-"))
    environment = {**harness.clean_environment(home), **_QUIET, "TMPDIR": str(home)}
    try:
        with (
            open(home / "log", "ab") as log,
            harness.process(command, environment, stdout=log, stderr=log) as child,
        ):
            try:
                yield child.pid
            except BaseException:
                print((home / "log").read_text(errors="replace")[-3000:])
                raise
            finally:
                family = _births(child.pid)
                harness.end(child)
                for pid, birth in family.items():
                    if born(pid) == birth:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
    finally:
        shutil.rmtree(home, ignore_errors=True)


# Nobody is told that they are run, and nothing is written beside their programs.
_QUIET = {
    "BENTOML_DO_NOT_TRACK": "True",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def _births(pid: int) -> dict[int, str]:
    """When each process of the tree was born, which with its number tells it from any later one."""
    return {member: born(member) for member in memory.tree(pid)}


def born(pid: int) -> str:
    """The start time of `pid` in the kernel's words; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _ready(pid: int, contender: Contender) -> Contender:
    """`contender` once it answers. Raises RuntimeError."""
    deadline = time.monotonic() + _START_LIMIT
    problem: Exception = RuntimeError("it did not answer")
    while time.monotonic() < deadline:
        if not _runs(pid):
            raise RuntimeError(f"the server of {contender.url} ended: {problem}")
        try:
            contender.ask()
            return contender
        except (OSError, RuntimeError) as found:
            problem = found
        time.sleep(0.05)
    raise RuntimeError(f"{contender.url}: {problem}")
