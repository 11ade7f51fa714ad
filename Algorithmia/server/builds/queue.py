"""Which build is next: one of each account in turn, so many at a time, so many of one account in all.

Everything here happens on the event loop.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from ..errors import TooManyRequests
from ..identity import Account
from .log import BuildLog
from .workshop import Order

MOST_OF_AN_ACCOUNT = 50  # waiting or running


class Job:
    """One build that waits or runs.

    ended   done when nothing of it is left to do
    reason  why it was cancelled
    begun   whether it has begun to run: until then, a cancelled task would end without having run at all
    """

    def __init__(self, order: Order, log: BuildLog) -> None:
        self.order = order
        self.log = log
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None
        self.reason = ""
        self.begun = False


class Place:
    """A build that an account may have."""

    is_taken = False


class BuildQueue:
    """The builds that wait or run.

    run   does one job, or fails it for its `reason` if it has one, and calls `leave` at its end
    most  that run at once
    """

    def __init__(self, run: Callable[[Job], Coroutine[Any, Any, None]], most: int) -> None:
        self.jobs: dict[str, Job] = {}
        self._run = run
        self._most = max(1, most)
        self._running = 0
        self._waiting: collections.OrderedDict[str, collections.deque[Job]] = collections.OrderedDict()
        self._counts: collections.Counter[str] = collections.Counter()

    @property
    def waiting(self) -> int:
        """How many jobs haven't begun."""
        return len(self.jobs) - self._running

    @contextlib.contextmanager
    def place(self, account: Account) -> Iterator[Place]:
        """A place for a build of `account`, kept until the end of the block for `enter`. Raises TooManyRequests."""
        if self._counts[account.id] >= MOST_OF_AN_ACCOUNT:
            raise TooManyRequests(
                f"account {account.username} has {MOST_OF_AN_ACCOUNT} builds waiting or running, which is the limit; "
                "try again when one has ended",
                retry_after=10,
            )
        self._counts[account.id] += 1
        place = Place()
        try:
            yield place
        finally:
            if not place.is_taken:
                self._release(account.id)

    def enter(self, job: Job, place: Place) -> None:
        """Put `job` into the place that was kept for it."""
        place.is_taken = True
        self.jobs[job.order.build_id] = job
        self._waiting.setdefault(job.order.subject.owner.id, collections.deque()).append(job)
        if self._running >= self._most:
            job.log.say(f"Waiting for another build to end ({self._running} running)")
        self._start()

    def leave(self, job: Job) -> None:
        """`job` has ended."""
        del self.jobs[job.order.build_id]
        self._release(job.order.subject.owner.id)
        self._running -= 1
        job.ended.set_result(None)
        self._start()

    def cancel(self, job: Job, reason: str) -> None:
        """End `job`, whether it runs or still waits; it then fails because of `reason`."""
        job.reason = job.reason or reason
        if job.task is not None:
            if job.begun:
                job.task.cancel()
            return  # else it finds the reason
        account = job.order.subject.owner.id
        self._waiting[account].remove(job)
        if not self._waiting[account]:
            del self._waiting[account]
        self._begin(job)

    def _start(self) -> None:
        while self._running < self._most and self._waiting:
            account, jobs = self._waiting.popitem(last=False)
            job = jobs.popleft()
            if jobs:
                self._waiting[account] = jobs  # at the end of the line
            self._begin(job)

    def _release(self, account: str) -> None:
        self._counts[account] -= 1
        if not self._counts[account]:
            del self._counts[account]

    def _begin(self, job: Job) -> None:
        self._running += 1
        job.task = asyncio.get_running_loop().create_task(self._perform(job))

    async def _perform(self, job: Job) -> None:
        job.begun = True
        await self._run(job)
