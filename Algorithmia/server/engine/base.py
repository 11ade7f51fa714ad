"""What an engine is: it runs one call of one build and says how it ended. Services know only this module.

The local worker pool (`pool.py`) is the embedded engine; others implement the same `Engine`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ..identity import Identity

ContentType = Literal["text", "json", "binary"]


@dataclass(frozen=True, slots=True)
class Build:
    """What the engine runs: an immutable project directory in one language, and the settings that concern running."""

    id: str
    owner: str
    name: str
    language: str
    path: Path


@dataclass(frozen=True, slots=True)
class Call:
    """One call. `body` is as the caller sent it; the engine never decodes it.

    timeout   seconds that the algorithm may run (waiting for a worker counts)
    session   identity that requests made by the algorithm act as: the caller's account, bound to this call
    """

    build: Build
    content_type: ContentType
    body: bytes
    timeout: float
    session: Identity
    request_id: str


@dataclass(frozen=True, slots=True)
class Result:
    """A call that ended well. `body` is encoded JSON for text and json, raw bytes for binary; `duration` seconds."""

    content_type: ContentType
    body: bytes
    duration: float
    stdout: str


class CallFailure(Exception):
    """A call that the algorithm, or its process, did not finish: reported as an error document with HTTP 200.

    error_type  of the API's list: AlgorithmError, ParsingError, SystemExit, TimeoutError, OutOfMemoryError, ...
    """

    def __init__(
        self,
        message: str,
        error_type: str = "AlgorithmError",
        stacktrace: str | None = None,
        duration: float = 0.0,
        stdout: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_type = error_type
        self.stacktrace = stacktrace
        self.duration = duration
        self.stdout = stdout


class InvalidInput(Exception):
    """The input does not decode as the content type that the caller gave (answered with 400)."""


class Engine(Protocol):
    """Runs calls. All methods are called on the server's event loop."""

    async def start(self) -> None:
        """Make ready to take calls."""

    async def call(self, call: Call) -> Result:
        """Run `call`; raises CallFailure or InvalidInput. Cancelling the task ends the algorithm's work."""
        ...

    async def close(self) -> None:
        """End every worker; nothing that the engine started is left."""

    def status(self) -> dict[str, Any]:
        """Counts for /health and `algo local status`, e.g. ``{"workers": 2, "busy": 1, "sandbox": "none"}``."""
        ...
