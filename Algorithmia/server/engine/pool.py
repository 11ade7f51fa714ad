"""The embedded engine: warm worker processes, kept apart per build and calling account.

A call takes the worker that became idle last; if there is none it waits in line while another is started, up to the
limit per build and account, and as long as the machine has room (`room.py`). Calls made by algorithms go first and may
exceed both: whoever waits for them holds a worker, so nesting could otherwise come to a standstill.

An algorithm that answers within a millisecond or two spends most of a call on waking up, and so does the server. Its
calls are sent to one worker ahead of time, as many as it can answer soon; others are started only for calls that have
really waited (`groups.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection
from typing import Any

from ..identity import Identity
from ..settings import Settings
from .base import Build, Call, CallFailure, Result
from .doorway import Adopt
from .groups import Group, Waiter, again
from .room import TURN, Room
from .sandbox import Sandbox, Unconfined
from .starting import Sessions, Starter
from .worker import TakenBack, Worker

log = logging.getLogger("algorithmia.engine")

# A worker that was idle for longer than this many seconds begins a turn.
_PAUSE = 0.05
# Of the largest memory that a worker may have: one that has grown so far is replaced.
_WORN = 0.75
# A call waits so long for a worker that is busy, and for the first one to load, before another is started for it.
_PATIENCE, _LONGEST_PATIENCE = 0.03, 0.25


_CROWDED = "this machine has no room for more worker processes: algorithms call each other too often at the same time"


class LocalPool:
    """`Engine` on this machine.

    address   base address at which algorithms reach the platform
    sessions  issues the keys by which they do
    sandbox   starts their processes
    """

    def __init__(
        self, settings: Settings, address: str, sessions: Sessions, sandbox: Sandbox | None = None
    ) -> None:
        self._settings = settings
        self._sandbox = sandbox or Unconfined()
        self.starter = Starter(settings, self._sandbox, address)
        self._sessions = sessions
        self._groups: dict[tuple[str, str, str], Group] = {}
        self._processes: dict[Worker, Group] = {}  # started and not yet ended
        self._tasks: set[asyncio.Task[None]] = set()
        self._limit = max(1, settings.max_workers)
        self._room = Room(settings.max_processes, self._limit)
        self._is_feeding = False
        self._loop: asyncio.AbstractEventLoop
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    # -- Engine -------------------------------------------------------------------------------------------------

    @property
    def adopt(self) -> Adopt | None:
        """See `Engine.adopt`."""
        return self.starter.adopt

    @adopt.setter
    def adopt(self, adopt: Adopt | None) -> None:
        self.starter.adopt = adopt

    async def start(self) -> None:
        """Make ready to take calls: remove what an earlier server left, begin to retire idle workers."""
        # Kept: to ask for it is a system call, which is much of what a short call takes here.
        self._loop = asyncio.get_running_loop()
        await self._loop.run_in_executor(None, self.starter.clean)
        self._sweep()

    async def call(self, call: Call) -> Result:
        """Run `call`; see `Engine.call`."""
        if self._is_closed:
            raise CallFailure("the platform is shutting down", "SystemError")
        loop = self._loop
        deadline = loop.time() + call.timeout
        group = self._group(call.build, call.session)
        while True:
            worker = self._take(group, call) or await self._wait(group, call, deadline)
            if not worker.is_alive:  # it ended between being handed over and now
                self._release(group, worker)
                continue
            group.last_used = worker
            try:
                result = await worker.call(call, deadline - loop.time())
            except TakenBack:
                group.note_long()
            else:
                group.note(result.duration)
                return result
            finally:
                self._release(group, worker)

    async def warm(self, build: Build, session: Identity) -> str:
        """Start a worker that waits for calls; see `Engine.warm`."""
        if self._is_closed:
            raise CallFailure("the platform is shutting down", "SystemError")
        group = self._group(build, session)
        self._make_room()
        self._reserve(group)
        worker, printed = await self._start_worker(group, session)
        self._release(group, worker)
        return printed

    def recycle(self, algorithm_id: str, builds: Collection[str] = ()) -> None:
        """End the workers of an algorithm as they become idle; see `Engine.recycle`."""
        for group in self._groups.values():
            if group.build.algorithm_id == algorithm_id and (not builds or group.build.id in builds):
                group.generation += 1
                for worker in tuple(group.idle):
                    self._forget(group, worker)
                    worker.retire()

    def uses(self, build_id: str) -> bool:
        """Whether a call of that build runs or waits, or a worker of it is being started."""
        held = any(worker.holders and group.build.id == build_id for worker, group in self._processes.items())
        groups = (group for group in self._groups.values() if group.build.id == build_id)
        return held or any(group.starting or group.waiting for group in groups)

    async def close(self) -> None:
        """End every worker."""
        self._is_closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for group in self._groups.values():
            group.fail_waiting(CallFailure("the platform is shutting down", "SystemError"))
        for task in tuple(self._tasks):
            task.cancel()
        for worker in tuple(self._processes):
            worker.retire()
        ends = [worker.ended for worker in self._processes]
        if ends:
            _, late = await asyncio.wait(ends, timeout=5.0)
            for worker in tuple(self._processes):
                worker.kill()
            if late:
                await asyncio.wait(late, timeout=5.0)
        await asyncio.get_running_loop().run_in_executor(None, self.starter.clean)

    def status(self) -> dict[str, Any]:
        """Counts of worker processes."""
        groups = self._groups.values()
        return {
            "workers": sum(len(group.workers) for group in groups),
            "busy": sum(len(group.workers) - len(group.idle) for group in groups),
            "starting": sum(group.starting for group in groups),
            "waiting": sum(len(group.waiting) for group in groups),
            "sandbox": self._sandbox.name,
            "memory": self._sandbox.memory if self._settings.max_memory_bytes else "unlimited",
            "network": self._sandbox.network,
        }

    def processes(self) -> list[int]:
        """Ids of the workers' processes; see `Engine.processes`."""
        return [worker.pid for worker in self._processes if worker.pid]

    # -- waiting and handing over -------------------------------------------------------------------------------

    def _group(self, build: Build, session: Identity) -> Group:
        key = (build.id, session.account.id, build.network)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(build, session.account.id)
        return group

    def _take(self, group: Group, call: Call) -> Worker | None:
        """A worker that takes `call` now, if there is one."""
        worker = group.quick_worker(call) or self._take_idle(group)
        if worker is not None:
            worker.hold()
        return worker

    def _take_idle(self, group: Group) -> Worker | None:
        while group.idle:
            worker = group.idle.pop()
            if worker.is_alive:
                now = self._loop.time()
                if now - worker.idle_since > _PAUSE:
                    worker.since = now
                return worker
            self._forget(group, worker)
        return None

    async def _wait(self, group: Group, call: Call, deadline: float) -> Worker:
        loop = self._loop
        waiter = Waiter(call, loop.create_future())
        if group.is_backing_off and (waiter.is_child or not group.workers):
            raise again(group.failure)
        if waiter.is_child:
            group.waiting.appendleft(waiter)
        else:
            group.waiting.append(waiter)
        if waiter.is_child or not group.size:
            self._grow(group)
        else:
            loop.call_later(_PATIENCE, self._grow_for, group, waiter, loop.time() + _LONGEST_PATIENCE)
        timer = loop.call_at(deadline, group.expire, waiter)
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled() and waiter.future.exception() is None:
                self._release(group, waiter.future.result())
            raise
        finally:
            timer.cancel()
            with contextlib.suppress(ValueError):
                group.waiting.remove(waiter)

    def _release(self, group: Group, worker: Worker) -> None:
        """Whoever held `worker` doesn't any more; without others, give it to the next call, keep it, or let it go."""
        worker.holders -= 1
        if worker not in group.workers:
            return
        if not worker.is_alive or self._is_closed:
            if not worker.holders or not worker.is_alive:
                self._forget(group, worker)
                self._grow(group)
            return
        self._note_leaving(group, worker)
        waiter = group.first_waiter()
        if worker.holders:
            self._hand_more_over(group, worker)
        elif worker.is_leaving:
            self._let_go(group, worker)
        elif waiter is not None and (waiter.is_child or group.size <= self._limit):
            self._hand_over(group, worker, waiter)
            self._hand_more_over(group, worker)
        elif group.size > self._limit or self._room.is_exceeded:
            self._let_go(group, worker)
        else:
            worker.idle_since = self._loop.time()
            group.idle.append(worker)
            self._feed_soon()

    def _note_leaving(self, group: Group, worker: Worker) -> None:
        """See whether `worker` should take no more calls."""
        worker.is_leaving = worker.is_leaving or (
            worker.generation != group.generation
            or worker.calls_left <= 0
            or (
                self._room.is_short
                and self._loop.time() - worker.since >= TURN
                and self._room.has_better_claim(group)
            )
        )

    def _let_go(self, group: Group, worker: Worker) -> None:
        """End `worker`, which nobody holds; whoever has the best claim gets its place."""
        self._forget(group, worker)
        worker.retire()
        self._grow(group)

    def _hand_over(self, group: Group, worker: Worker, waiter: Waiter) -> None:
        """Give `worker` to the first in line."""
        group.waiting.popleft()
        worker.hold()
        worker.is_exclusive = worker.takes_several and waiter.call.wants_output  # already before it is sent
        waiter.future.set_result(worker)

    def _hand_more_over(self, group: Group, worker: Worker) -> None:
        """Give `worker`, which is busy, to as many in line as it takes."""
        while (waiter := group.first_waiter()) is not None and group.takes_more(worker, waiter.call):
            self._hand_over(group, worker, waiter)

    def _forget(self, group: Group, worker: Worker) -> None:
        if worker in group.workers:
            group.workers.discard(worker)
            self._room.give_back(group)
            self._feed_soon()
            self._sessions.revoke(worker.session_key)
        if worker in group.idle:
            group.idle.remove(worker)

    def _feed_soon(self) -> None:
        if self._room.is_short and not self._is_feeding:
            self._is_feeding = True
            self._loop.call_soon(self._feed)

    def _feed(self) -> None:
        """The machine may have room again: start workers for groups that had to wait for it."""
        self._is_feeding = False
        while not self._is_closed and (group := self._room.next()) is not None:
            if not self._may_grow(group):
                self._room.refuse(group)
            elif self._make_room():
                self._room.refuse(group)
                self._start_for(group)
                if self._may_grow(group):
                    self._room.wants(group)  # one more, when it's its turn again
            else:
                return

    # -- starting -----------------------------------------------------------------------------------------------

    def _grow_for(self, group: Group, waiter: Waiter, latest: float) -> None:
        """`waiter` has waited for a moment; the first worker may yet take it, if it has only just been started."""
        if waiter.future.done() or self._is_closed:
            return
        loop = self._loop
        if not group.workers and group.starting and loop.time() < latest:
            loop.call_later(_PATIENCE, self._grow_for, group, waiter, latest)
        else:
            self._grow(group)

    def _grow(self, group: Group) -> None:
        """Start workers for the calls in line, as far as the limits allow."""
        while (waiter := self._may_grow(group)) is not None:
            if waiter.is_child:
                if self._make_room() or not self._room.is_crowded(group):
                    self._start_for(group)
                else:
                    group.waiting.popleft()
                    waiter.future.set_exception(CallFailure(_CROWDED, "SystemError"))
            elif not self._room.is_short and self._make_room():
                self._start_for(group)
            else:
                self._room.wants(group)
                self._feed_soon()
                return

    def _may_grow(self, group: Group) -> Waiter | None:
        """The first in line, if another worker may be started for `group` once there is room."""
        waiter = group.first_waiter()
        if self._is_closed or waiter is None:
            return None
        if group.starting * group.build.runtime.concurrency >= len(group.waiting):
            return None
        if group.is_backing_off:
            if not group.size:
                group.fail_waiting(group.failure)
            return None
        return waiter if waiter.is_child or group.size < self._limit else None

    def _start_for(self, group: Group) -> None:
        """Start a worker for the first in line for whom none is being started."""
        self._reserve(group)
        # The call that asked for it: while loading, the algorithm acts for that caller.
        session = group.waiting[min(group.starting, len(group.waiting)) - 1].call.session
        task = self._loop.create_task(self._serve_waiting(group, session))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _reserve(self, group: Group) -> None:
        """A worker of `group` is about to be started."""
        group.starting += 1
        self._room.take(group)

    def _make_room(self) -> bool:
        """Whether the machine takes one more worker; the longest idle one is let go for it if need be."""
        if not self._room.is_full and len(self._processes) < 2 * self._room.most:
            return True
        idle = [(group.idle[0].idle_since, group) for group in self._groups.values() if group.idle]
        if not idle:
            return False
        group = min(idle, key=lambda entry: entry[0])[1]
        worker = group.idle[0]
        self._forget(group, worker)
        worker.retire()
        return True

    async def _serve_waiting(self, group: Group, session: Identity) -> None:
        try:
            worker, _ = await self._start_worker(group, session)
        except CallFailure as failure:
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
            worker = await self.starter.make(group.build, key, self._ended)
            worker.generation = generation
            self._processes[worker] = group
            printed = await worker.start(self._settings.load_timeout)
        except BaseException as problem:
            group.starting -= 1
            self._room.give_back(group)
            self._feed_soon()
            self._sessions.revoke(key)
            if worker is not None:
                worker.kill()
                if not worker.pid:  # nothing that could end
                    self._processes.pop(worker, None)
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
            self._grow(group)
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

    def _ended(self, worker: Worker) -> None:
        """A worker's process has ended, for whatever reason."""
        group = self._processes.pop(worker)
        if worker in group.idle:
            self._forget(group, worker)
        self._feed_soon()  # those that have not ended yet count, too

    def _sweep(self) -> None:
        """Retire workers that were idle too long or have grown large, forget groups without any; again and again."""
        loop = self._loop
        limit = self._settings.worker_idle_timeout
        large = _WORN * self._settings.max_memory_bytes
        now = loop.time()
        for key, group in tuple(self._groups.items()):
            for worker in tuple(group.workers):
                if worker.memory() > large > 0:
                    worker.is_leaving = True
                    if worker in group.idle:
                        self._let_go(group, worker)
            while group.idle and now - group.idle[0].idle_since >= limit:
                worker = group.idle[0]
                self._forget(group, worker)
                worker.retire()
            if group.is_unused and now >= group.retry_at:
                del self._groups[key]
        self._sweep_timer = loop.call_later(min(5.0, max(0.05, limit / 4)), self._sweep)
