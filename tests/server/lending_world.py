"""A platform whose quick calls go from gateways straight to workers: an algorithm that does what its input says, and
callers that are busy enough for its workers to be lent."""

from __future__ import annotations

import http.client
import json
import os
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from answers import Answer
from git_hosted import wait_until
from managed import Manager
from platforms import Server

# Anything but {"do": ..., "with": ...} comes back.
MOODS = """
import array, os, signal, socket, struct, subprocess, sys, time, uuid
import Algorithmia

VERSION = 1
ME = uuid.uuid4().hex
client = Algorithmia.client()

def apply(input):
    if not isinstance(input, dict) or "do" not in input:
        return input
    return globals()[input["do"]](input.get("with"))

def sleep(seconds):
    time.sleep(seconds)
    return "slept"

def sleep_as(marks):
    try:
        subprocess.call(["sleep", marks[0]])
    except BaseException:  # it has been told to stop
        subprocess.call(["sleep", marks[1]])

def fail(message):
    raise ValueError(message)

def leave(status):
    os._exit(status)

def kill(number):
    os.kill(os.getpid(), number)

def large(size):
    return "x" * size

def raw(size):
    return b"x" * size

def say(text):
    print(text)
    return text

def odd(_):
    return float("nan")

def variable(name):
    return os.environ.get(name)

def version(_):
    return VERSION

def who(_):
    return ME

def forge(number):
    for name in os.listdir("/proc/self/fd"):
        try:
            link = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        if link.type == socket.SOCK_SEQPACKET:
            body = b'"forged"'
            link.send(struct.pack("!BBHIQd", 4, 1, 0, number, len(body), 0.0) + body)
            time.sleep(60)
    return "no socket"

def keep(text):
    client.dir("data://.my/moods").create() if not client.dir("data://.my/moods").exists() else None
    client.file("data://.my/moods/kept").put(text)
    client.file("data://.session/kept").put(text)
    return client.file("data://.session/kept").getString()

def ask(input):
    return client.algo(input["algorithm"]).pipe(input["input"]).result
"""

JSON, TEXT, BINARY = "application/json", "text/plain", "application/octet-stream"


def do(what: str, argument: Any = None) -> dict[str, Any]:
    """The input that has the algorithm do it."""
    return {"do": what, "with": argument}


class World:
    """A platform, an account on it, and the algorithm, which everybody may call."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.owner = Manager(server)
        self.name = self.owner.create("Moods")
        self.publish(MOODS)
        self.reference = f"{self.owner.name}/{self.name}"
        self.key = self.owner.key
        self._asking = threading.local()

    def publish(self, code: str) -> None:
        """One more version."""
        build = self.owner.deploy(self.name, code)
        assert build["status"] == "succeeded", build
        self.owner.publish(self.name, settings={"algorithm_callability": "public"}).ok

    def line(self, key: str | None = None, reference: str | None = None) -> Line:
        """A connection for calls."""
        return Line(self.server, key or self.key, reference or self.reference)

    def engine(self) -> dict[str, Any]:
        """What the engine says of itself."""
        found: dict[str, Any] = json.loads(self.server.client().request("GET", "/health").data)["engine"]
        return found

    def lent(self) -> int:
        """How many workers are lent."""
        return int(self.engine()["lent"])

    def workers(self) -> set[int]:
        """The processes that run the algorithm, or are about to."""
        return {pid for pid in _descendants(self.server.process.pid) if _runs(pid)}


class Line:
    """A connection that is kept, for one call at a time."""

    def __init__(self, server: Server, key: str, reference: str) -> None:
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(server.address).netloc, timeout=60)
        self.reference = reference
        self._key = key

    def send(self, value: Any, query: str = "", kind: str = JSON) -> None:
        """Ask for a call. What isn't bytes is sent as JSON."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        headers = {"Authorization": f"Simple {self._key}", "Content-Type": kind}
        self.connection.request("POST", f"/v1/algo/{self.reference}{query}", body, headers)

    def receive(self) -> Answer:
        """The answer, on a connection that is still open then."""
        response = self.connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())

    def call(self, value: Any, query: str = "", kind: str = JSON) -> Answer:
        """Both."""
        self.send(value, query, kind)
        return self.receive()

    def result(self, value: Any, query: str = "", kind: str = JSON) -> Any:
        """The result of a call that ends well."""
        document = self.call(value, query, kind).ok
        assert "result" in document, document
        return document["result"]

    def prime(self, query: str = "", kind: str = JSON) -> None:
        """Make calls such as those that follow known to the gateway at the other end."""
        for number in range(4):
            assert self.call(b"%d" % number, query, kind).status == 200

    def close(self) -> None:
        self.connection.close()


class Callers(threading.Thread):
    """Calls on many connections at once, over and over, until `is_enough`. Whatever isn't their own answer is `wrong`.

    rounds   how often every one of them was answered
    ids      of the requests that were answered
    excused  says of an answer that isn't right whether that is to be expected; connections may break then
    """

    def __init__(
        self, world: World, name: str, lines: int, key: str | None, excused: Callable[[Answer], bool] | None
    ) -> None:
        super().__init__(daemon=True)
        self._lines = [world.line(key) for _ in range(lines)]
        self._label = name
        self._excused = excused
        self.is_enough = threading.Event()
        self.rounds = self.broken = 0
        self.ids: list[str] = []
        self.wrong: list[Any] = []
        self.excuses: list[Answer] = []

    def run(self) -> None:
        while not self.is_enough.is_set():
            values = [f"{self._label} {self.rounds} {number}" for number in range(len(self._lines))]
            for line, value in zip(self._lines, values, strict=True):
                self._try(line, lambda line=line, value=value: line.send(value))
            for line, value in zip(self._lines, values, strict=True):
                self._try(line, lambda line=line, value=value: self._look_at(line.receive(), value))
            self.rounds += 1
        for line in self._lines:
            line.close()

    def _try(self, line: Line, step: Callable[[], None]) -> None:
        try:
            step()
        except (OSError, http.client.HTTPException) as problem:
            line.close()
            self.broken += 1
            if self._excused is None or isinstance(problem, TimeoutError):  # there must be an answer or an end
                self.wrong.append(problem)

    def _look_at(self, answer: Answer, value: str) -> None:
        self.ids.append(answer.headers.get("x-request-id", ""))
        try:
            document = answer.json
            if answer.status == 200 and document.get("result") == value:
                assert document["metadata"]["request_id"] == self.ids[-1]
                return
        except Exception as problem:
            self.wrong.append(problem)
        if self._excused is not None and self._excused(answer):
            self.excuses.append(answer)
        else:
            self.wrong.append(answer)

    def go_on(self, rounds: int = 3) -> None:
        """Return when every one of them has been answered so often again."""
        before = self.rounds
        wait_until(lambda: self.rounds >= before + rounds + 1 or not self.is_alive())

    def finish(self) -> None:
        """Make no more calls; none was wrong."""
        self.is_enough.set()
        self.join(120)
        assert not self.is_alive()
        assert not self.wrong, self.wrong[:5]


@contextmanager
def busy(
    world: World,
    lines: int = 8,
    wanted: int = 1,
    key: str | None = None,
    excused: Callable[[Answer], bool] | None = None,
) -> Iterator[Callers]:
    """Others call meanwhile, so many at a time that `wanted` workers are lent; all of them are answered right."""
    callers = Callers(world, f"caller {id(world)}", lines, key, excused)
    callers.start()
    try:
        wait_until(lambda: world.lent() >= wanted or bool(callers.wrong))
        yield callers
    except BaseException:
        callers.is_enough.set()
        callers.join(5)
        raise
    callers.finish()


# -- processes ----------------------------------------------------------------------------------------------------


def _descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*"):
        for child in _read(task / "children").split():
            yield int(child)
            yield from _descendants(int(child))


def _runs(pid: int) -> bool:
    """Whether it executes an algorithm, and is no wrapper of such a process."""
    arguments = _read(Path(f"/proc/{pid}/cmdline")).split(b"\0")
    return b"python" in os.path.basename(arguments[0]) and any(part.endswith(b"runner.py") for part in arguments)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
