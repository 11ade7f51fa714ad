"""Builds of algorithms: asked for, queued, made, remembered; their logs; what is left of them after a crash.

Rows are written before work starts and after it has ended (`records.py`), so that a server that is killed at any
moment finds out at its next start what was going on. How one build is made is in `workshop.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool

from ..db.values import is_id
from ..engine.base import Build, CallFailure, NetworkAccess
from ..errors import ApiProblem, Unavailable
from ..git.news import first_of
from ..identity import Account
from ..languages import Languages, UnknownEnvironment
from ..languages.base import BuildProblem
from ..settings import Settings
from . import sweep, tree
from .commands import Commands, whole
from .log import BuildLog
from .queue import BuildQueue, Job, Place
from .records import IN_PROGRESS, SUCCEEDED, BuildRecords
from .runtimes import Runtimes
from .workshop import Made, Order, Workshop

log = logging.getLogger("algorithmia.builds")

_CHUNK = 65536
_PATIENCE = 50  # looks for the job of a build whose row is there
_TRIES = 5
_ENDING = 5.0  # seconds that whoever waits for a build gives it to end at a shutdown
_SHORTEST_SECRET = 6
_INTERRUPTED = "the platform was stopped while it was building; build it again (algo compile)"


class Repositories(Protocol):
    """The part of git hosting that builds use; every method blocks."""

    def export(self, algorithm_id: str, commit: str, target: Path) -> None: ...

    def exists(self, algorithm_id: str) -> bool: ...

    def head(self, algorithm_id: str) -> str | None: ...

    def commits(self, algorithm_id: str, since: Any, until: Any, limit: int) -> list[Any]: ...


Warm = Callable[[Build, Account, dict[str, Any]], Awaitable[str]]


class Builds:
    """The builds of a platform. Methods are called on the event loop; those that are not async may block instead.

    warm        starts a worker of a build for its owner: the proof that the algorithm loads
    invalidate  called when a build has succeeded: calls may mean it from then on
    secrets_of  variables for the workers of the algorithm with this id, which no log may show; blocks
    recycle     ends the workers of some builds, given the ids of their algorithm and their own
    """

    secrets_of: Callable[[str], Mapping[str, str]] | None = None
    recycle: Callable[[str, Collection[str]], None] | None = None

    def __init__(
        self,
        records: BuildRecords,
        languages: Languages,
        repositories: Repositories,
        commands: Commands,
        runtimes: Runtimes,
        warm: Warm,
        invalidate: Callable[[], None],
        settings: Settings,
    ) -> None:
        self._records = records
        self._languages = languages
        self._repositories = repositories
        self._runtimes = runtimes
        self._warm = warm
        self._invalidate = invalidate
        self._settings = settings
        self._masked = commands.secrets()
        self._workshop = Workshop(commands, languages, repositories, settings)
        self._directory = settings.state.absolute() / "builds"
        self._queue = BuildQueue(self._run, settings.max_builds)
        self._catching_up: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False
        self._pruning: set[asyncio.Task[None]] = set()
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

    async def _prune(self, algorithm_id: str) -> None:
        """Remove builds that nobody needs any more: the rows first, so that a crash leaves files to `recover` only."""
        try:
            gone = await run_in_threadpool(self._records.prune, algorithm_id, self._settings.keep_builds)
            if gone:
                self._invalidate()
                if self.recycle is not None:
                    self.recycle(algorithm_id, gone)
                await self._forget(gone)
        except Exception:
            log.exception("can't remove old builds", extra={"algorithm_id": algorithm_id})

    async def _forget(self, build_ids: list[str]) -> None:
        for build_id in build_ids:
            job = self._queue.jobs.get(build_id)
            if job is not None:
                self._queue.cancel(job, "the algorithm was deleted")
                await job.ended
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
        try:
            with open(self._log_path(build_id), "rb") as handle:
                size = handle.seek(0, os.SEEK_END)
                is_cut = most is not None and size > most
                handle.seek(size - most if is_cut and most is not None else 0)
                data = handle.read()
        except OSError:
            return None
        return (data.partition(b"\n")[2] if is_cut else data).decode("utf-8", "replace")

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
            data = await run_in_threadpool(_read, path, position)
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
        self._records.interrupt(_INTERRUPTED)
        for row in self._records.last_ended():
            verdict = "SUCCEEDED" if row.status == SUCCEEDED else "FAILED"
            sweep.end_log(self._log_path(row.id), f"{verdict}: {row.problem or 'the rest of this log was lost'}")
        sweep.sweep_builds(self._directory, self._records)
        sweep.sweep_environments(self._settings.state.absolute() / "environments", self._records)
        sweep.sweep_caches(self._settings.state.absolute() / "caches")

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
            self._queue.cancel(job, _INTERRUPTED)
        asyncio.get_running_loop().call_later(_ENDING, self._released.set)

    async def close(self) -> None:
        """Wait for the end of every build; see `begin_shutdown`."""
        self.begin_shutdown()
        jobs = tuple(self._queue.jobs.values())
        if jobs:
            await asyncio.wait([job.ended for job in jobs], timeout=20.0)
        if self._pruning:
            await asyncio.wait(tuple(self._pruning), timeout=5.0)

    async def _catch_up(self) -> None:
        """Request builds of the heads of repositories that have none."""
        try:
            for algorithm_id, commit in await run_in_threadpool(self._unbuilt_heads):
                with contextlib.suppress(ApiProblem):
                    await self.request(algorithm_id, commit)
        except Exception:
            log.exception("can't look for pushes that were not built")

    def _unbuilt_heads(self) -> list[tuple[str, str]]:
        found = []
        for algorithm_id in self._records.algorithms():
            if self._is_closed:
                break
            if self._repositories.exists(algorithm_id):
                head = self._repositories.head(algorithm_id)
                is_built = head is None or self._records.has_build(algorithm_id, head)
                # The first commit is the template, which nobody pushed.
                if head and not is_built and len(self._repositories.commits(algorithm_id, None, None, 2)) > 1:
                    found.append((algorithm_id, head))
        return found

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
            self._queue.cancel(job, _INTERRUPTED)

    # -- one build ----------------------------------------------------------------------------------------------

    async def _run(self, job: Job) -> None:
        began = time.monotonic()
        made: Made | None = None
        problem = ""
        try:
            if job.reason:
                raise asyncio.CancelledError
            made = await asyncio.wait_for(self._make(job), self._settings.build_timeout or None)
        except asyncio.CancelledError:
            problem = job.reason or _INTERRUPTED
        except (asyncio.TimeoutError, TimeoutError):
            limit = self._settings.build_timeout
            problem = f"the build took longer than {limit:g} s, the limit of this platform (--build-timeout)"
        except BuildProblem as error:
            problem = str(error)
        except ApiProblem as error:
            problem = error.message
        except Exception as error:
            log.exception("a build failed for a reason of the platform's", extra={"build": job.order.build_id})
            problem = f"the platform failed to build it: {type(error).__name__}"
        try:
            # Whoever cancels from here on is too late: files and rows must agree.
            await whole(self._conclude(job, made, _one_line(problem), time.monotonic() - began))
        finally:
            self._queue.leave(job)

    async def _make(self, job: Job) -> Made:
        """The finished build, once it is clear that it loads. Raises BuildProblem."""
        order = job.order
        made = await self._workshop.make(order, job.log)
        job.log.say("==> Start the algorithm")
        subject = order.subject
        if self.secrets_of is not None:
            job.log.mask(_recognizable(await run_in_threadpool(self.secrets_of, subject.id)))
        network: NetworkAccess = "isolated" if subject.settings.get("network_access") == "isolated" else "full"
        build = Build(
            order.build_id,
            subject.owner.username,
            subject.name,
            made.path,
            await run_in_threadpool(self._runtimes.located, made.runtime),
            subject.id,
            network,
        )
        try:
            output = await self._warm(build, subject.owner, subject.settings)
        except CallFailure as failure:
            for text in (failure.stdout, failure.stacktrace):
                if text:
                    job.log.feed(text.encode("utf-8", "replace") + b"\n")
            reason = _one_line(job.log.masked(failure.message))
            raise BuildProblem(f"the algorithm does not load: {reason}") from None
        if output:
            job.log.feed(output.encode("utf-8", "replace") + b"\n")
        return made

    async def _conclude(self, job: Job, made: Made | None, problem: str, seconds: float) -> None:
        """Write down how `job` ended."""
        build_id, subject = job.order.build_id, job.order.subject
        name = f"{subject.owner.username}/{subject.name}"
        if made is not None:
            problem = await self._succeed(build_id, made)
        if problem:
            try:
                await self._workshop.discard(build_id)
            except Exception:
                # The next start tries again; the build has ended all the same.
                log.exception("can't remove what a build left", extra={"build": build_id})
            await self._fail(build_id, problem)
            last = f"FAILED: {problem}"
        else:
            assert made is not None
            self._invalidate()
            if self._settings.keep_builds > 0:
                task = asyncio.create_task(self._prune(subject.id))
                self._pruning.add(task)
                task.add_done_callback(self._pruning.discard)
            last = f"SUCCEEDED: {name} at {job.order.commit} for {made.environment.display_name}, in {seconds:.1f} s"
        try:
            job.log.finish(last)
            await run_in_threadpool(job.log.close)
        except OSError as error:
            log.warning("can't write a build's log", extra={"build": build_id, "problem": str(error)})
        status = "failed" if problem else "succeeded"
        log.info("build ended", extra={"build": build_id, "algorithm": name, "status": status})

    async def _succeed(self, build_id: str, made: Made) -> str:
        """Write down that the build is complete; why that isn't so, else ""."""
        runtime = self._runtimes.pack(made.runtime)
        try:
            if await run_in_threadpool(self._records.succeed, build_id, made.environment.name, runtime):
                return ""
            return "the algorithm was deleted"
        except Exception:
            log.exception("can't write down that a build succeeded", extra={"build": build_id})
            return "the platform failed to write down that it succeeded"

    async def _fail(self, build_id: str, problem: str) -> None:
        """Write down that the build failed; it would seem to be in progress otherwise."""
        for _ in range(_TRIES):
            try:
                await run_in_threadpool(self._records.fail, build_id, problem)
                return
            except Exception:
                log.exception("can't write down that a build failed", extra={"build": build_id})
                await asyncio.sleep(1.0)

    def _log_path(self, build_id: str) -> Path:
        return self._directory / f"{build_id}.log"


def _recognizable(secrets: Mapping[str, str]) -> list[str]:
    """What to look for in a log: logs are written line by line, and what is short is in any text."""
    lines = {line.strip() for value in secrets.values() for line in value.splitlines()}
    return sorted((line for line in lines if len(line) >= _SHORTEST_SECRET), key=len, reverse=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:1000]


def _read(path: Path, position: int) -> bytes:
    try:
        with open(path, "rb") as handle:
            handle.seek(position)
            return handle.read(_CHUNK)
    except OSError:
        return b""
