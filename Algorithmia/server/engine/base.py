"""What an engine is: it runs one call of one build and says how it ended. Services know only this module.

The local worker pool (`pool.py`) is the embedded engine; others implement the same `Engine`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from ..identity import Identity
from .doorway import Adopt

ContentType = Literal["text", "json", "binary"]
# frames: protocol.py over a socket; stdio: the documented JSON lines on standard input, answers into a FIFO
WorkerProtocol = Literal["frames", "stdio"]
NetworkAccess = Literal["full", "isolated"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """How a build's processes are started; made by its language when it is built, kept as JSON in the build's row.

    command      program (absolute path) and arguments; started in the project directory
    environment  variables on top of those that every worker gets
    readable     directories outside the project that the process must be able to read: toolchain, dependencies
    concurrency  calls that one process runs at the same time: what its author says it bears (frames only)
    """

    command: tuple[str, ...]
    protocol: WorkerProtocol = "stdio"
    environment: dict[str, str] = field(default_factory=dict)
    readable: tuple[str, ...] = ()
    concurrency: int = 1


@dataclass(frozen=True, slots=True)
class Build:
    """What the engine runs: an immutable project directory, and the settings that concern running it.

    algorithm_id  whose secrets the processes get
    """

    id: str
    owner: str
    name: str
    path: Path
    runtime: Runtime
    algorithm_id: str = ""
    network: NetworkAccess = "full"


class Call(msgspec.Struct, frozen=True, gc=False):
    """One call. `body` is as the caller sent it; the engine never decodes it.

    timeout   seconds that the algorithm may run (waiting for a worker counts)
    session   identity that requests made by the algorithm act as: the caller's account, bound to this call
    wants_output  whether anybody will see what the algorithm prints
    is_awaited  whether somebody waits for the answer, perhaps holding a worker meanwhile
    """

    build: Build
    content_type: ContentType
    body: bytes
    timeout: float
    session: Identity
    request_id: str
    wants_output: bool = True
    is_awaited: bool = True


class Result(msgspec.Struct, frozen=True, gc=False):
    """A call that ended well. `body` is encoded JSON for text and json, raw bytes for binary; `duration` seconds.

    stdout  what it printed, if that was wanted
    """

    content_type: ContentType
    body: bytes
    duration: float
    stdout: str


class CallFailure(Exception):
    """A call that the algorithm, or its process, did not finish: reported as an error document with HTTP 200.

    error_type  of the API's list: AlgorithmError, ParsingError, SystemExit, TimeoutError, OutOfMemoryError, ...
    was_killed  whether a signal ended the process, which another attempt may be spared
    """

    def __init__(
        self,
        message: str,
        error_type: str = "AlgorithmError",
        stacktrace: str | None = None,
        duration: float = 0.0,
        stdout: str = "",
        was_killed: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_type = error_type
        self.stacktrace = stacktrace
        self.duration = duration
        self.stdout = stdout
        self.was_killed = was_killed


class Borrower(Protocol):
    """Another process that may be lent workers (a gateway): it gives them calls and takes their answers by itself, as
    long as these are quick, and gives back what isn't."""

    def offer(self, group: int) -> None:
        """A worker of the group `group` may come in a moment: it is worth while to keep calls for it."""

    def lend(self, loan: int, group: int, calls: int, number: int, descriptors: tuple[int, int]) -> None:
        """Pass on a worker's socket, both its ends, for at most so many calls, the first of which is `number` + 1.

        Raises OSError."""

    def recall(self, loan: int) -> None:
        """Have a worker given back at once."""


@dataclass(slots=True)
class Begun:
    """A call that a borrower has begun and gives back. Whoever has it runs it on, or drops it (`Lending.drop`).

    loan      number of the loan whose worker runs it
    number    that of the call
    seconds   how long it has been running
    since     when its request came (`time.perf_counter`)
    answer    what the worker has answered: kind, content type, seconds, body; None while it runs
    """

    borrower: Borrower
    loan: int
    number: int
    seconds: float
    since: float
    answer: tuple[int, int, float, bytes] | None = None


@dataclass(frozen=True, slots=True)
class Back:
    """A worker that a borrower gives back.

    calls      how many it has made there
    latest     number of the latest of them
    is_broken  the process didn't keep to the protocol
    is_slow    calls take too long for lending
    begun      the one that still runs
    """

    calls: int
    latest: int
    is_broken: bool
    is_slow: bool
    begun: Begun | None


class Origin(Protocol):
    """Where a call comes from, when that may be lent workers.

    begun  the call runs already
    """

    @property
    def borrower(self) -> Borrower: ...

    @property
    def begun(self) -> Begun | None: ...

    def allow(self, group: int) -> None:
        """Calls like this one may be given to workers of the group `group` that the borrower is lent."""


class InvalidInput(Exception):
    """The input does not decode as the content type that the caller gave (answered with 400)."""


class Engine(Protocol):
    """Runs calls. All methods are called on the server's event loop.

    adopt  serves the platform's requests that come to a socket of the engine's; set before calls come
    """

    adopt: Adopt | None

    async def start(self) -> None:
        """Make ready to take calls."""

    async def call(self, call: Call, origin: Origin | None = None) -> Result:
        """Run `call`; raises CallFailure or InvalidInput. Cancelling the task ends the algorithm's work.

        origin  who may be lent workers for more of its kind
        """
        ...

    async def warm(self, build: Build, session: Identity) -> str:
        """Start a worker of `build` that waits for calls of `session`'s account; what it printed while it loaded.

        Raises CallFailure if the algorithm doesn't load."""
        ...

    def recycle(self, algorithm_id: str, builds: Collection[str] = ()) -> None:
        """End the workers of an algorithm as they become idle (at once those that are): its secrets have changed.

        builds  ids of those of its builds that are meant, all if there are none
        """

    async def close(self) -> None:
        """End every worker; nothing that the engine started is left."""

    def status(self) -> dict[str, Any]:
        """Counts for /health and `algo local status`, e.g. ``{"workers": 2, "busy": 1, "sandbox": "none"}``.

        memory, network  what limits the memory of algorithms, and how they reach the internet (`sandbox.Sandbox`)
        """
        ...

    def processes(self) -> list[int]:
        """Ids of the processes that it has started on this machine; they may have children."""
        ...
