"""What is done now and then without anybody asking: a sweep every hour, or when there is something to do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from starlette.concurrency import run_in_threadpool

log = logging.getLogger("algorithmia.server")

_PERIOD = 3600.0
# The first sweep waits until whoever started the platform has been served.
_QUIET = 60.0


class Housekeeping:
    """Runs `jobs`, in their order, on a thread. Methods run on the event loop, but for `wake`.

    jobs  each blocks, and ends early once `stop` was called; what one leaves, a later sweep takes up
    stop  has a job that runs come to its end
    """

    def __init__(self, jobs: Sequence[Callable[[], object]], stop: Callable[[], None]) -> None:
        self._jobs = jobs
        self._stop = stop
        self._wanted = asyncio.Event()
        self._is_ending = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, at_once: bool) -> None:
        """Begin, with a sweep `at_once` or a little later."""
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(0.0 if at_once else _QUIET))

    def wake(self) -> None:
        """Have the next sweep begin now. Any thread may call."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._wanted.set)

    async def close(self) -> None:
        """End the sweep that runs, between two of its steps, and wait for that."""
        self._stop()
        self._is_ending = True  # cancelled, it would be given up while its thread goes on
        self._wanted.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self, pause: float) -> None:
        while True:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), pause)
            self._wanted.clear()
            for job in self._jobs:
                if self._is_ending:
                    return
                try:
                    await run_in_threadpool(job)
                except Exception:
                    log.exception("a part of the sweep failed; it is tried again at the next one")
            if self._is_ending:
                return
            pause = _PERIOD
