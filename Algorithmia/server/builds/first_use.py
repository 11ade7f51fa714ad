"""Builds a bundled algorithm when it is called for the first time; the call waits for it.

The build belongs to nobody's call: whoever calls meanwhile waits for the same one, and a caller that goes away doesn't
end it. One that failed is made again when the algorithm is called again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from starlette.concurrency import run_in_threadpool

from ..engine.base import Build, CallFailure
from ..identity import Identity
from ..settings import Settings

_LOG_LINES = 12
_LOG_CHARACTERS = 2000
_GRACE = 15.0  # seconds beyond the build's own limit, so that the build gets to say that it was reached


class Builds(Protocol):
    """The part of the builds that this needs."""

    async def ensure(self, build_id: str) -> None:
        """Build it unless it is built, and wait. Raises CallFailure."""

    def log(self, build_id: str) -> str | None:
        """Its log so far, None while it has none; blocks."""
        ...


class Resolved(Protocol):
    """What a call runs, as far as this has to know it."""

    @property
    def build(self) -> Build: ...

    @property
    def needs_build(self) -> bool: ...


_R = TypeVar("_R", bound=Resolved)


class FirstUse(Generic[_R]):
    """Sees to it that what is called is built.

    again  what something that was resolved before its build means now
    """

    def __init__(self, again: Callable[[_R, Identity], Awaitable[_R]], builds: Builds, settings: Settings) -> None:
        self._again = again
        self._builds = builds
        self._patience = settings.build_timeout + _GRACE if settings.build_timeout else None
        self._running: dict[str, asyncio.Task[None]] = {}

    async def built(self, resolved: _R, identity: Identity) -> _R:
        """`resolved` once it is built; at once if it is. Raises CallFailure with the reason, and the log's end."""
        if not resolved.needs_build:
            return resolved
        build_id = resolved.build.id
        task = self._running.get(build_id)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ensure(build_id))
            self._running[build_id] = task
            task.add_done_callback(lambda ended: self._ended(build_id, ended))
        done, _ = await asyncio.wait({task}, timeout=self._patience)
        name = f"{resolved.build.owner}/{resolved.build.name}"
        if not done:
            raise CallFailure(f"algo://{name} is still being built; call it again in a while", "SystemError")
        if task.cancelled():
            raise CallFailure(f"algo://{name} could not be built: the platform is shutting down", "SystemError")
        task.result()
        ready = await self._again(resolved, identity)
        if ready.needs_build:
            raise CallFailure(f"algo://{name} was changed while it was being built; call it again", "SystemError")
        return ready

    def _ended(self, build_id: str, task: asyncio.Task[None]) -> None:
        del self._running[build_id]
        if not task.cancelled():
            task.exception()  # everybody may have gone away, and then nobody else asks for it

    async def _ensure(self, build_id: str) -> None:
        try:
            await self._builds.ensure(build_id)
        except CallFailure as failure:
            end = _end(await run_in_threadpool(self._builds.log, build_id))
            if end:
                failure = CallFailure(f"{failure.message}\nThe end of the build's log:\n{end}", failure.error_type)
            raise failure from None


def _end(log: str | None) -> str:
    lines = [line for line in (log or "").splitlines() if line.strip()]
    return "\n".join(lines[-_LOG_LINES:])[-_LOG_CHARACTERS:]
