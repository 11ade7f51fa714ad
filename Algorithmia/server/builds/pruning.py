"""Builds that nobody needs any more go: all but the published ones and the newest of the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from starlette.concurrency import run_in_threadpool

from .records import BuildRecords

log = logging.getLogger("algorithmia.builds")

_ENDING = 5.0  # seconds that a shutdown waits for what is being removed


class Workers(Protocol):
    """The part of the engine that this needs."""

    def recycle(self, algorithm_id: str, builds: Collection[str]) -> None:
        """End the workers of these builds as they become idle."""

    async def recycled(self) -> None:
        """Return once it is known which of them are idle."""

    def uses(self, build_id: str) -> bool:
        """Whether a call of the build runs, or waits."""
        ...


class Pruning:
    """Removes old builds. Methods are called on the event loop.

    invalidate  called once their rows are gone: calls can't mean them from then on
    remove      removes what is on disk of a build
    keep        how many stay, beside the published ones; 0 is all
    """

    def __init__(
        self,
        records: BuildRecords,
        workers: Workers,
        invalidate: Callable[[], None],
        remove: Callable[[str], Awaitable[None]],
        keep: int,
    ) -> None:
        self._records = records
        self._workers = workers
        self._invalidate = invalidate
        self._remove = remove
        self._keep = keep
        self._left: set[str] = set()  # without a row, but perhaps still on disk
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, algorithm_id: str) -> None:
        """Remove the algorithm's old builds, in the background."""
        if self._keep > 0:
            task = asyncio.create_task(self._prune(algorithm_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait a moment for what is going on. What is left then, the next start removes."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=_ENDING)

    async def _prune(self, algorithm_id: str) -> None:
        """The rows go first, so that no call begins any more and a crash leaves files to `recovery.recover` only.

        What calls still use stays on disk until something is removed again.
        """
        try:
            gone = await run_in_threadpool(self._records.prune, algorithm_id, self._keep)
            if gone:
                self._invalidate()
                self._workers.recycle(algorithm_id, gone)
                await self._workers.recycled()
                self._left.update(gone)
            for build_id in tuple(self._left):
                if build_id in self._left and not self._workers.uses(build_id):
                    self._left.discard(build_id)
                    await self._remove(build_id)
        except Exception:
            log.exception("can't remove old builds", extra={"algorithm_id": algorithm_id})
