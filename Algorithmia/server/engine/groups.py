"""What the pool knows of one build and calling account: its workers, and the calls that wait for one."""

from __future__ import annotations

import asyncio
import collections

from .base import Build, Call, CallFailure
from .worker import TIMED_OUT, Worker

# What is known of an algorithm after so many calls, of which the latest count most, decides whether it is quick.
_SAMPLES = 5
_WEIGHT = 0.2
_QUICK, _SHORT = 0.002, 0.0005
# How much may be waiting at a worker: calls, and seconds that they are expected to take.
_MOST_AHEAD = 64
_HORIZON = 0.02
_MOST_BYTES = 16 * 1024
# Seconds between attempts to start one.
_BACK_OFF, _LONGEST_BACK_OFF = 1.0, 30.0


class Group:
    """The workers of one build and calling account, and the calls that wait for one."""

    def __init__(self, build: Build, account_id: str) -> None:
        self.build = build
        self.account_id = account_id
        self.workers: set[Worker] = set()  # those that have loaded
        self.idle: list[Worker] = []  # the one used last is at the end
        self.starting = 0
        self.waiting: collections.deque[Waiter] = collections.deque()
        self.failure = CallFailure("")  # why none could be started, the last time
        self.failures = 0  # in a row
        self.retry_at = self.one_more_at = 0.0
        self.generation = 0  # counts the times that its workers had to be replaced
        self.last_used: Worker | None = None
        self._mean = 0.0  # seconds of a call, of late
        self._seen = 0

    @property
    def size(self) -> int:
        return len(self.workers) + self.starting

    @property
    def is_unused(self) -> bool:
        return not self.size and not self.waiting

    @property
    def is_quick(self) -> bool:
        """Whether its calls end before anything else could be woken up."""
        return self._seen >= _SAMPLES and self._mean < _QUICK and self.build.runtime.concurrency == 1

    @property
    def is_brief(self) -> bool:
        """Whether they take so little time that what the server does for each is a good part of it."""
        return self.is_quick and self._mean < _SHORT and self.build.runtime.protocol == "frames"

    @property
    def is_backing_off(self) -> bool:
        """Whether none may be started, since that has failed only just now."""
        return self.failures > 0 and asyncio.get_running_loop().time() < self.retry_at

    def back_off(self, failure: CallFailure) -> float:
        """None may be started for a while, since that has failed; how many seconds."""
        self.failure = failure
        delay = min(_LONGEST_BACK_OFF, _BACK_OFF * 2 ** min(self.failures - 1, 10))
        self.retry_at = asyncio.get_running_loop().time() + delay
        return delay

    def fail_waiting(self, failure: CallFailure) -> None:
        """Answer all calls in line with `failure`."""
        while (waiter := self.first_waiter()) is not None:
            self.waiting.popleft()
            waiter.future.set_exception(again(failure))

    def expire(self, waiter: Waiter) -> None:
        """The time of `waiter` is over."""
        if not waiter.future.done():
            waiter.future.set_exception(self.out_of_time(waiter.call))

    def out_of_time(self, call: Call) -> CallFailure:
        """How a call fails whose time is over before it has begun."""
        is_loading = self.starting and not self.workers
        where = " while the algorithm was loading" if is_loading else " while it waited for a worker"
        reason = f"the call's timeout of {call.timeout:g} s passed{where}"
        return CallFailure(f"{TIMED_OUT} ({reason})", "TimeoutError")

    def first_waiter(self) -> Waiter | None:
        """The first in line that still waits; those before it are dropped."""
        while self.waiting:
            if not self.waiting[0].future.done():
                return self.waiting[0]
            self.waiting.popleft()
        return None

    def note(self, seconds: float) -> None:
        """A call took so long."""
        self._seen += 1
        self._mean += (seconds - self._mean) * _WEIGHT

    def note_long(self) -> None:
        """A call took so long that others could not wait for it."""
        self._seen, self._mean = 0, _QUICK

    def quick_worker(self, call: Call) -> Worker | None:
        """The worker that is busy with other calls and takes `call` as well: its author says that it bears several at a
        time, or it will have answered them before another could be woken up."""
        if self.build.runtime.concurrency > 1:
            free = [worker for worker in self.workers if self.takes_more(worker, call)]
            return min(free, key=lambda worker: worker.holders, default=None)
        worker = self.last_used
        if worker is None or worker.loan is not None or worker.reservation is not None:
            return next((other for other in self.workers if self.takes_more(other, call)), None)
        return worker if self.takes_more(worker, call) else None

    def takes_more(self, worker: Worker, call: Call) -> bool:
        """Whether `call` may be sent to the busy `worker`."""
        if worker.is_leaving or not worker.is_alive or worker.generation != self.generation or not worker.holders:
            return False
        if worker.calls_left <= 0 or worker.reservation is not None or worker.loan is not None:
            return False
        if self.build.runtime.concurrency > 1:
            return worker.holders < self.build.runtime.concurrency
        return (
            self.is_quick
            and worker.takes_several
            and not worker.is_exclusive
            and worker.holders < min(_MOST_AHEAD, _HORIZON / max(self._mean, 1e-6))
            and not call.wants_output
            and len(call.body) <= _MOST_BYTES
            and worker.running_for < _QUICK
        )


class Waiter:
    """A call that waits for a worker."""

    def __init__(self, call: Call, future: asyncio.Future[Worker]) -> None:
        self.call = call
        self.future = future
        self.is_child = is_child_call(call)
        self.since = future.get_loop().time()


def is_child_call(call: Call) -> bool:
    """Whether an algorithm waits for `call`, and holds a worker meanwhile."""
    return call.is_awaited and call.session.call is not None and call.session.call.depth > 1


def again(failure: CallFailure) -> CallFailure:
    """A fresh exception with what `failure` says: one object must not be raised in several tasks."""
    return CallFailure(
        failure.message, failure.error_type, failure.stacktrace, 0.0, failure.stdout, failure.was_killed
    )
