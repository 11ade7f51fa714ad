"""Builds of algorithms: asked for, queued, made, remembered; their logs; what is left of them after a crash.

Rows are written before work starts and after it has ended (`records.py`), so that a server that is killed at any
moment finds out at its next start what was going on (`recovery.py`). One build is in `builder.py` and `workshop.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool

from ..db.values import is_id
from ..engine.base import CallFailure
from ..errors import ApiProblem, Unavailable
from ..git.news import first_of
from ..languages import Languages, UnknownEnvironment
from ..languages.base import BuildProblem
from ..settings import Settings
from . import recovery, tree
from .builder import Builder, SecretsOf, Warm
from .commands import Commands, whole
from .log import BuildLog, piece_of, text_of
from .pruning import Pruning, Workers
from .queue import BuildQueue, Job, Place
from .records import IN_PROGRESS, INTERRUPTED, SUCCEEDED, BuildRecords
from .recovery import Heads
from .runtimes import Runtimes
from .workshop import Order, Sources, Workshop

log = logging.getLogger("algorithmia.builds")

_PATIENCE = 50  # looks for the job of a build whose row is there
_ENDING = 5.0  # seconds that whoever waits for a build gives it to end at a shutdown


class Repositories(Sources, Heads, Protocol):
    """The part of git hosting that builds use; every method blocks."""


class Builds:
    """The builds of a platform. Methods are called on the event loop; those that are not async may block instead.

    warm        starts a worker of a build for its owner: the proof that the algorithm loads
    secrets_of  variables for the workers of the algorithm with this id, which no log may show; blocks
    invalidate  called when what calls mean may have changed: a build has succeeded, or old ones are gone
    """

    def __init__(
        self,
        records: BuildRecords,
        languages: Languages,
        repositories: Repositories,
        commands: Commands,
        runtimes: Runtimes,
        warm: Warm,
        secrets_of: SecretsOf,
        invalidate: Callable[[], None],
        workers: Workers,
        settings: Settings,
    ) -> None:
        self._records = records
        self._languages = languages
        self._repositories = repositories
        self._invalidate = invalidate
        self._settings = settings
        self._masked = commands.secrets()
        self._workshop = Workshop(commands, languages, repositories, settings)
        self._builder = Builder(records, self._workshop, runtimes, warm, secrets_of, self._succeeded, settings)
        self._pruning = Pruning(records, workers, invalidate, self._remove, settings.keep_builds)
        self._state = settings.state.absolute()
        self._queue = BuildQueue(self._run, settings.max_builds)
        self._catching_up: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False
        self._released = asyncio.Event()  # nobody waits any more

    @property
    def is_busy(self) -> bool:
        """Whether a build waits or runs."""
        return bool(self._queue.jobs)

    @property
    def waiting(self) -> int:
        """How many builds wait for others to end."""
        return self._queue.waiting

    # -- asking for builds --------------------------------------------------------------------------------------

    async def request(self, algorithm_id: str, commit: str, force: bool = False) -> str:
        """Id of the build of `commit`, which is queued unless it was built for the same environment, or is being.

        force  build it again in any case

        On return its row is on disk. Raises NotFound, TooManyRequests, Unavailable.
        """
        # Whole: a row without a job would stay in progress, should the caller go away in between.
        return await whole(self._request(algorithm_id, commit, force))

    async def _request(self, algorithm_id: str, commit: str, force: bool) -> str:
        subject = await run_in_threadpool(self._records.subject, algorithm_id)
        if self._is_closed:
            raise Unavailable("the platform is shutting down")
        with self._queue.place(subject.owner) as place:
            try:
                _, environment = await run_in_threadpool(self._languages.choose, subject.settings)
                name = environment.name
            except (UnknownEnvironment, BuildProblem):
                name = ""  # the build will say why
            build_id, is_new = await run_in_threadpool(self._records.open, algorithm_id, commit, name, force)
            if is_new:
                await self._enqueue(Order(build_id, subject, commit, f"builds/{build_id}"), place)
        return build_id

    async def wait(self, build_id: str) -> None:
        """Returns when the build has ended, or the platform can't wait for it any more."""
        job = await self._job(build_id)
        if job is not None:
            await first_of(asyncio.shield(job.ended), self._released.wait())

    async def _job(self, build_id: str) -> Job | None:
        """The build's job; None if it has ended. Between the row of a build and its job is a moment."""
        for _ in range(_PATIENCE):
            job = self._queue.jobs.get(build_id)
            if job is not None:
                return job
            row = await run_in_threadpool(self._records.get, build_id)
            if row is None or row.status != IN_PROGRESS:
                return None
            await asyncio.sleep(0.02)
        return None

    async def ensure(self, build_id: str) -> None:
        """Build a bundled algorithm that isn't built yet, and wait for it; whoever asks meanwhile shares the build.

        Raises CallFailure if it can't be built.
        """
        job = self._queue.jobs.get(build_id)
        if job is None:
            row = await run_in_threadpool(self._records.get, build_id)
            if row is None:
                raise CallFailure("the algorithm's build does not exist any more", "SystemError")
            if row.status == SUCCEEDED:
                return
            if build_id not in self._queue.jobs:
                await whole(self._reopen(build_id, row))
        await self.wait(build_id)
        row = await run_in_threadpool(self._records.get, build_id)
        if row is not None and row.status == IN_PROGRESS:
            raise CallFailure("the algorithm can't be built: the platform is shutting down", "SystemError")
        if row is None or row.status != SUCCEEDED:
            reason = row.problem if row is not None else "it was deleted"
            raise CallFailure(f"the algorithm can't be built: {reason}", "SystemError")

    async def _reopen(self, build_id: str, row: sa.Row[Any]) -> None:
        subject = await run_in_threadpool(self._records.subject, row.algorithm_id)
        if self._is_closed:
            raise Unavailable("the platform is shutting down")
        with self._queue.place(subject.owner) as place:
            if await run_in_threadpool(self._records.reopen, build_id):  # nobody was faster
                await self._enqueue(Order(build_id, subject, row.commit_sha, row.artifact), place)

    def forget(self, build_ids: Iterable[str]) -> None:
        """The rows of these builds have been deleted: end those that run and remove their files, in the background.

        Any thread may call. After a crash, `recover` removes what this did not.
        """
        if self._loop is not None:
            gone = [build_id for build_id in build_ids if is_id(build_id)]
            asyncio.run_coroutine_threadsafe(self._forget(gone), self._loop)

    async def _forget(self, build_ids: list[str]) -> None:
        for build_id in build_ids:
            job = self._queue.jobs.get(build_id)
            if job is not None:
                self._queue.cancel(job, "the algorithm was deleted")
                await job.ended
            await self._remove(build_id)

    async def _remove(self, build_id: str) -> None:
        """Remove what is on disk of a build that has no row any more."""
        await self._workshop.discard(build_id)
        await run_in_threadpool(tree.remove, self._log_path(build_id))

    # -- what there is ------------------------------------------------------------------------------------------

    def get(self, algorithm_id: str, build_id: str) -> sa.Row[Any] | None:
        """The row of one build of the algorithm; blocks."""
        return self._records.get(build_id, algorithm_id)

    def page(self, algorithm_id: str, limit: int, marker: str | None) -> tuple[list[sa.Row[Any]], str | None]:
        """Rows, newest first, and the next page's marker; blocks. Raises BadRequest for a bad marker."""
        return self._records.page(algorithm_id, limit, marker)

    def counts(self) -> dict[str, int]:
        """How many builds there are, by status; blocks."""
        return self._records.counts()

    def log(self, build_id: str, most: int | None = None) -> str | None:
        """The log so far, or its last whole lines of `most` bytes; None if there is none; blocks."""
        if not is_id(build_id):
            return None
        return text_of(self._log_path(build_id), most)

    async def follow(self, build_id: str) -> AsyncIterator[bytes]:
        """The log from its beginning, as it grows, until the build has ended (or the platform can't wait for it)."""
        if not is_id(build_id):
            return
        job = await self._job(build_id)
        path, position = self._log_path(build_id), 0
        while True:
            # Both before reading, so that nothing is missed in between.
            changed = job.log.changed if job else None
            has_ended = job is None or job.ended.done()
            data = await run_in_threadpool(piece_of, path, position)
            if data:
                position += len(data)
                yield data
            elif has_ended or self._released.is_set():
                return
            elif changed is not None and job is not None:
                await first_of(changed.wait(), asyncio.shield(job.ended), self._released.wait())

    # -- life ---------------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Bring rows and files into agreement after whatever happened to an earlier server; blocks."""
        recovery.recover(self._state, self._records)

    async def start(self) -> None:
        """Begin to build; pushes that came in just before a crash get their builds."""
        self._loop = asyncio.get_running_loop()
        self._catching_up = self._loop.create_task(self._catch_up())

    def begin_shutdown(self) -> None:
        """End every build, which fails and says why, so that nobody waits for one; there are no others from now on.

        On the event loop. Whoever waits or follows is let go in any case, after a moment.
        """
        if self._is_closed:
            return
        self._is_closed = True
        if self._catching_up is not None:
            self._catching_up.cancel()
        for job in tuple(self._queue.jobs.values()):
            self._queue.cancel(job, INTERRUPTED)
        asyncio.get_running_loop().call_later(_ENDING, self._released.set)

    async def close(self) -> None:
        """Wait for the end of every build; see `begin_shutdown`."""
        self.begin_shutdown()
        jobs = tuple(self._queue.jobs.values())
        if jobs:
            await asyncio.wait([job.ended for job in jobs], timeout=20.0)
        await self._pruning.close()

    async def _catch_up(self) -> None:
        """Request builds of the heads of repositories that have none."""
        try:
            heads = recovery.unbuilt_heads
            found = await run_in_threadpool(heads, self._records, self._repositories, lambda: self._is_closed)
            for algorithm_id, commit in found:
                with contextlib.suppress(ApiProblem):
                    await self.request(algorithm_id, commit)
        except Exception:
            log.exception("can't look for pushes that were not built")

    async def _enqueue(self, order: Order, place: Place) -> None:
        try:
            build_log = BuildLog(self._log_path(order.build_id), self._settings.max_build_log_bytes, self._masked)
        except OSError as problem:
            reason = f"the platform can't write the build's log: {problem.strerror}"
            await run_in_threadpool(self._records.fail, order.build_id, reason)
            raise Unavailable(reason) from None
        job = Job(order, build_log)
        self._queue.enter(job, place)
        if self._is_closed:
            self._queue.cancel(job, INTERRUPTED)

    async def _run(self, job: Job) -> None:
        try:
            await self._builder.build(job)
        finally:
            self._queue.leave(job)

    def _succeeded(self, algorithm_id: str) -> None:
        self._invalidate()
        self._pruning.begin(algorithm_id)

    def _log_path(self, build_id: str) -> Path:
        return self._state / "builds" / f"{build_id}.log"
