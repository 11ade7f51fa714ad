"""From a build to a worker of it that can be started: what kind it is, what it gets, with which key it acts."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Callable, Mapping
from typing import Protocol

from ..identity import Identity, SessionKey
from ..settings import Settings
from .base import Build
from .doorway import Adopt
from .frames_worker import FramesWorker
from .launch import prepare
from .sandbox import Sandbox
from .stdio_worker import StdioWorker
from .worker import Worker, disposal

_PATIENCE = 5.0  # for what workers that have ended leave to be removed


class Sessions(Protocol):
    """The part of `auth.SessionKeys` that the engine uses."""

    def issue(self) -> SessionKey: ...

    def revoke(self, key: SessionKey) -> None: ...


class Starter:
    """Makes workers.

    address     base address at which algorithms reach the platform
    secrets_of  variables for the workers of the algorithm with this id, asked whenever one is made; may block
    hold        has the session of an identity last until what it returns is called: a worker loads in it
    adopt       serves requests to the platform from workers that have a network of their own
    """

    def __init__(self, settings: Settings, sandbox: Sandbox, address: str) -> None:
        self.secrets_of: Callable[[str], Mapping[str, str]] | None = None
        self.hold: Callable[[Identity], Callable[[], None]] = lambda session: lambda: None
        self.adopt: Adopt | None = None
        self._settings = settings
        self._sandbox = sandbox
        self._address = address
        self._work = settings.state.absolute() / "work"

    async def make(self, build: Build, key: SessionKey, on_end: Callable[[Worker], None]) -> Worker:
        """A worker of `build`, not yet started, that reaches the platform with `key`. Raises OSError, and what
        `secrets_of` does."""
        secrets: Mapping[str, str] = {}
        if self.secrets_of is not None and build.algorithm_id:
            secrets = await asyncio.get_running_loop().run_in_executor(None, self.secrets_of, build.algorithm_id)
        launch = prepare(build, self._settings, self._sandbox, self._work, self._address, key, secrets, self.adopt)
        worker: Worker
        if build.runtime.protocol == "stdio":
            worker = StdioWorker(launch, on_end)
        else:
            worker = FramesWorker(launch, on_end, build.runtime.concurrency)
        worker.calls_left = self._settings.worker_max_calls or sys.maxsize
        return worker

    def clean(self) -> None:
        """Remove everything that workers had. Blocks."""
        disposal.wait(_PATIENCE)
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(parents=True, exist_ok=True, mode=0o700)
