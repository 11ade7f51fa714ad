"""When workers are started, for which calls, and which go for them: as far as the limits and the machine allow.

`pool.py` says who gets the workers that are there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ..identity import Identity
from ..settings import Settings
from .base import CallFailure
from .groups import Group, Waiter, again
from .room import Room
from .starting import Sessions, Starter
from .worker import Worker

log = logging.getLogger("algorithmia.engine")

# A call waits so long for a worker that is busy, and for the first one to load, before another is started for it.
_PATIENCE, _LONGEST_PATIENCE = 0.03, 0.25

# Before the next attempt to start a worker that no call waits for.
_LONG_PAUSE = 60.0

_CROWDED = "this machine has no room for more worker processes: algorithms call each other too often at the same time"


class Growth:
    """The processes of one engine.

    groups     all there are
    limit      of workers of one group, but for calls made by algorithms
    processes  those that were started and have not yet ended
    release    takes a worker that has loaded and that nobody holds any more
    """

    def __init__(
        self,
        settings: Settings,
        starter: Starter,
        sessions: Sessions,
        groups: dict[tuple[str, str, str], Group],
        release: Callable[[Group, Worker], None],
    ) -> None:
        self.limit = max(1, settings.max_workers)
        self.room = Room(settings.max_processes, self.limit)
        self.processes: dict[Worker, Group] = {}
        self.is_closed = False
        self._load_timeout = settings.load_timeout
        self._starter = starter
        self._sessions = sessions
        self._groups = groups
        self._release = release
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_feeding = False
        # Told that a group has to do without a process.
        self.on_short: Callable[[], None] | None = None
        # Told of a group whose calls have waited for so long that another process was to be started.
        self.on_late: Callable[[Group], object] | None = None
        self._loop: asyncio.AbstractEventLoop

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Work on `loop` from now on."""
        self._loop = loop

    def close(self) -> None:
        """Start no more, and give up those that are being started."""
        self.is_closed = True
        for task in tuple(self._tasks):
            task.cancel()

    async def start_worker(self, group: Group, session: Identity) -> tuple[Worker, str]:
        """A worker that has loaded, for `session`, whether or not a call waits for it; and what it printed meanwhile.

        Raises CallFailure.
        """
        self._make_room()
        self._reserve(group)
        return await self._start_worker(group, session)

    def grow_later(self, group: Group, waiter: Waiter) -> None:
        """Start a worker for `waiter`, unless it gets one meanwhile."""
        self._loop.call_later(_PATIENCE, self._grow_for, group, waiter, self._loop.time() + _LONGEST_PATIENCE)

    def _grow_for(self, group: Group, waiter: Waiter, latest: float) -> None:
        """`waiter` has waited for a moment; the first worker may yet take it, if it has only just been started."""
        if waiter.future.done() or self.is_closed:
            return
        loop = self._loop
        if not group.workers and group.starting and loop.time() < latest:
            loop.call_later(_PATIENCE, self._grow_for, group, waiter, latest)
        else:
            self.grow(group)
            if self.on_late is not None:
                self.on_late(group)

    def grow(self, group: Group) -> None:
        """Start workers for the calls in line, as far as the limits allow."""
        while (waiter := self._may_grow(group)) is not None:
            if waiter.is_child:
                if self._make_room() or not self.room.is_crowded(group):
                    self._start_for(group)
                else:
                    group.waiting.popleft()
                    waiter.future.set_exception(CallFailure(_CROWDED, "SystemError"))
            elif not self.room.is_short and self._make_room():
                self._start_for(group)
            else:
                self.room.wants(group)
                if self.on_short is not None:
                    self.on_short()
                self.feed_soon()
                return

    def _may_grow(self, group: Group) -> Waiter | None:
        """The first in line, if another worker may be started for `group` once there is room."""
        waiter = group.first_waiter()
        if self.is_closed or waiter is None:
            return None
        if group.starting * group.build.runtime.concurrency >= len(group.waiting):
            return None
        if group.is_backing_off:
            if not group.size:
                group.fail_waiting(group.failure)
            return None
        return waiter if waiter.is_child or group.size < self.limit else None

    def _start_for(self, group: Group) -> None:
        """Start a worker for the first in line for whom none is being started."""
        self._reserve(group)
        # The call that asked for it: while loading, the algorithm acts for that caller.
        session = group.waiting[min(group.starting, len(group.waiting)) - 1].call.session
        self._begin(group, session)

    def start_one_more(self, group: Group, session: Identity) -> None:
        """Start a worker that no call waits for, if there is room and none is being started; it loads for `session`."""
        is_crowded = self.room.is_full or len(self.processes) >= 2 * self.room.most
        if self.is_closed or group.starting or is_crowded or self._loop.time() < max(group.retry_at, group.one_more_at):
            return
        self._reserve(group)
        self._begin(group, session, True)

    def _begin(self, group: Group, session: Identity, is_one_more: bool = False) -> None:
        let_go = self._starter.hold(session)  # its call may have ended before the worker has loaded
        task = self._loop.create_task(self._serve_waiting(group, session, is_one_more))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: let_go())

    def _reserve(self, group: Group) -> None:
        """A worker of `group` is about to be started."""
        group.starting += 1
        self.room.take(group)

    def _make_room(self) -> bool:
        """Whether the machine takes one more worker; the longest idle one is let go for it if need be."""
        if not self.room.is_full and len(self.processes) < 2 * self.room.most:
            return True
        idle = [(group.idle[0].idle_since, group) for group in self._groups.values() if group.idle]
        if not idle:
            return False
        group = min(idle, key=lambda entry: entry[0])[1]
        worker = group.idle[0]
        self.forget(group, worker)
        worker.retire()
        return True

    async def _serve_waiting(self, group: Group, session: Identity, is_one_more: bool) -> None:
        try:
            worker, _ = await self._start_worker(group, session)
        except CallFailure as failure:
            if is_one_more and group.workers:  # nobody has to hear of it
                log.debug("one more worker did not start", extra={"problem": failure.message})
                group.one_more_at = self._loop.time() + _LONG_PAUSE
                self.grow(group)
                return
            self._start_failed(group, failure)
        else:
            group.failures = 0
            self._release(group, worker)

    async def _start_worker(self, group: Group, session: Identity) -> tuple[Worker, str]:
        """A worker that has loaded, and what it printed meanwhile; it counts as starting until then.

        Raises CallFailure.
        """
        key = self._sessions.issue()
        worker: Worker | None = None
        try:
            key.identity = session
            generation = group.generation
            worker = await self._starter.make(group.build, key, self._ended)
            worker.generation = generation
            self.processes[worker] = group
            printed = await worker.start(self._load_timeout)
        except BaseException as problem:
            group.starting -= 1
            self.room.give_back(group)
            self.feed_soon()
            self._sessions.revoke(key)
            if worker is not None:
                worker.kill()
                if not worker.pid:  # nothing that could end
                    self.processes.pop(worker, None)
            if isinstance(problem, CallFailure) or not isinstance(problem, Exception):
                raise
            log.exception("can't start a worker")
            raise CallFailure(f"can't start the algorithm's process: {problem}", "SystemError") from problem
        key.identity = None
        group.starting -= 1
        group.workers.add(worker)
        worker.holders = 1  # whoever started it
        worker.since = self._loop.time()
        return worker, printed

    def _start_failed(self, group: Group, failure: CallFailure) -> None:
        """Answer the calls in line that nothing else can serve, and wait a while before the next attempt."""
        group.failures += 1
        if failure.was_killed and group.failures == 1:  # by whom it may be: perhaps it was not the algorithm's fault
            self.grow(group)
            return
        delay = group.back_off(failure)
        log.warning(
            "worker did not start",
            extra={"algorithm": f"{group.build.owner}/{group.build.name}", "problem": failure.message, "wait": delay},
        )
        waiter = group.first_waiter()
        if not group.size:
            group.fail_waiting(failure)
        elif waiter is not None and waiter.is_child:
            group.waiting.popleft()
            waiter.future.set_exception(again(failure))

    # -- ending -------------------------------------------------------------------------------------------------

    def forget(self, group: Group, worker: Worker) -> None:
        """`worker` takes no more calls: its place is free."""
        if worker in group.workers:
            group.workers.discard(worker)
            self.room.give_back(group)
            self.feed_soon()
            self._sessions.revoke(worker.session_key)
        if worker in group.idle:
            group.idle.remove(worker)

    def _ended(self, worker: Worker) -> None:
        """A worker's process has ended, for whatever reason."""
        group = self.processes.pop(worker)
        if worker in group.idle:
            self.forget(group, worker)
        self.feed_soon()  # those that have not ended yet count, too

    def feed_soon(self) -> None:
        """The machine may have room again: look whether a group had to do without."""
        if self.room.is_short and not self._is_feeding:
            self._is_feeding = True
            self._loop.call_soon(self._feed)

    def _feed(self) -> None:
        """Start workers for groups that had to wait for room."""
        self._is_feeding = False
        while not self.is_closed and (group := self.room.next()) is not None:
            if not self._may_grow(group):
                self.room.refuse(group)
            elif self._make_room():
                self.room.refuse(group)
                self._start_for(group)
                if self._may_grow(group):
                    self.room.wants(group)  # one more, when it's its turn again
            else:
                return
