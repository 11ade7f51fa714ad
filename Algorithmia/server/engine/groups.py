"""What the pool knows of one build and calling account: its workers, and the calls that wait for one."""

from __future__ import annotations

import asyncio
import collections

from .base import Build, Call, CallFailure
from .worker import Worker


class Group:
    """The workers of one build and calling account, and the calls that wait for one."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self.workers: dict[Worker, str] = {}  # those that have loaded -> session key
        self.idle: list[Worker] = []  # the one used last is at the end
        self.starting = 0
        self.waiting: collections.deque[Waiter] = collections.deque()
        self.failure: CallFailure | None = None
        self.failures = 0
        self.retry_at = 0.0
        self.generation = 0  # counts the times that its workers had to be replaced

    @property
    def size(self) -> int:
        return len(self.workers) + self.starting

    @property
    def is_unused(self) -> bool:
        return not self.size and not self.waiting


class Waiter:
    """A call that waits for a worker."""

    def __init__(self, call: Call, future: asyncio.Future[Worker]) -> None:
        self.call = call
        self.future = future
        self.is_child = is_child_call(call)


def is_child_call(call: Call) -> bool:
    return call.session.call is not None and call.session.call.depth > 1


def again(failure: CallFailure) -> CallFailure:
    """A fresh exception with what `failure` says: one object must not be raised in several tasks."""
    return CallFailure(failure.message, failure.error_type, failure.stacktrace, 0.0, failure.stdout)
