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
from collections.abc import Collection
from functools import partial
from typing import Any

from ..identity import Identity
from ..settings import Settings
from .base import Build, Call, CallFailure, Origin, Result
from .doorway import Adopt
from .groups import Group, Waiter, again
from .growth import Growth
from .lending import Lending
from .room import TURN
from .sandbox import Sandbox, Unconfined
from .starting import Sessions, Starter
from .worker import TakenBack, Worker

# A worker that was idle for longer than this many seconds begins a turn.
_PAUSE = 0.05
# What timers may be too early by.
_TICK = 0.001
# Of the largest memory that a worker may have: one that has grown so far is replaced.
_WORN = 0.75


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
        self._groups: dict[tuple[str, str, str], Group] = {}
        self._growth = Growth(settings, self.starter, sessions, self._groups, self._release)
        self._room = self._growth.room
        self.lending = Lending(
            self._release, self._growth.start_one_more, lambda: not self._room.is_short, self._growth.limit
        )
        self._growth.on_short = self.lending.recall_all
        self._growth.on_late = partial(self.lending.call_waits, is_late=True)
        self._processes = self._growth.processes
        self._loop: asyncio.AbstractEventLoop
        self._sweep_timer: asyncio.TimerHandle | None = None

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
        self._growth.open(self._loop)
        await self._loop.run_in_executor(None, self.starter.clean)
        self._sweep()

    async def call(self, call: Call, origin: Origin | None = None) -> Result:
        """Run `call`; see `Engine.call`."""
        if origin is not None and origin.begun is not None:
            return await self.lending.go_on(call, origin.begun)
        loop = self._loop
        deadline = loop.time() + call.timeout
        group = self._group(call.build, call.session)
        if origin is not None:
            self.lending.consider(group, call, origin)  # before `call` takes a worker, which may then be lent
        while True:
            if self._growth.is_closed:
                raise CallFailure("the platform is shutting down", "SystemError")
            worker = self._take(group, call) or await self._wait(group, call, deadline)
            if not worker.is_alive:  # it ended between being handed over and now
                self._release(group, worker)
                continue
            group.last_used = worker
            try:
                result = await worker.call(call, deadline - loop.time())
            except TakenBack:
                group.note_long()
                if loop.time() + _TICK >= deadline:
                    raise group.out_of_time(call) from None
            else:
                group.note(result.duration)
                return result
            finally:
                self._release(group, worker)

    async def warm(self, build: Build, session: Identity) -> str:
        """Start a worker that waits for calls; see `Engine.warm`."""
        if self._growth.is_closed:
            raise CallFailure("the platform is shutting down", "SystemError")
        group = self._group(build, session)
        worker, printed = await self._growth.start_worker(group, session)
        self._release(group, worker)
        return printed

    def recycle(self, algorithm_id: str, builds: Collection[str] = ()) -> None:
        """End the workers of an algorithm as they become idle; see `Engine.recycle`."""
        for group in self._groups.values():
            if group.build.algorithm_id == algorithm_id and (not builds or group.build.id in builds):
                group.generation += 1
                for worker in tuple(group.idle):
                    self._growth.forget(group, worker)
                    worker.retire()
                self.lending.recall_of(group)

    async def recycled(self) -> None:
        """Return once those workers are back that are lent and that `recycle` has asked for."""
        if self.lending.recalled:
            await asyncio.wait(tuple(self.lending.recalled))

    def uses(self, build_id: str) -> bool:
        """Whether a call of that build runs or waits, or a worker of it is being started."""
        held = any(worker.holders and group.build.id == build_id for worker, group in self._processes.items())
        groups = (group for group in self._groups.values() if group.build.id == build_id)
        return held or any(group.starting or group.waiting for group in groups)

    async def close(self) -> None:
        """End every worker."""
        self._growth.close()
        self.lending.close()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for group in self._groups.values():
            group.fail_waiting(CallFailure("the platform is shutting down", "SystemError"))
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
            "lent": len(self.lending),
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
            self._growth.forget(group, worker)
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
        comes_back = self.lending.call_waits(group)
        if (waiter.is_child and not comes_back) or not group.size:
            self._growth.grow(group)
        else:
            self._growth.grow_later(group, waiter)
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
        if not worker.is_alive or self._growth.is_closed:
            if not worker.holders or not worker.is_alive:
                self._growth.forget(group, worker)
                self._growth.grow(group)
            return
        self._note_leaving(group, worker)
        waiter = group.first_waiter()
        if worker.holders:
            self._hand_more_over(group, worker)
        elif worker.is_leaving:
            self._let_go(group, worker)
        elif worker.reservation is not None and self.lending.hand_over(group, worker):
            pass
        elif waiter is not None and (waiter.is_child or group.size <= self._growth.limit):
            self._hand_over(group, worker, waiter)
            self._hand_more_over(group, worker)
        elif group.size > self._growth.limit or self._room.is_exceeded:
            self._let_go(group, worker)
        else:
            worker.idle_since = self._loop.time()
            group.idle.append(worker)
            self._growth.feed_soon()

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
        self._growth.forget(group, worker)
        worker.retire()
        self._growth.grow(group)

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

    # -- ending -------------------------------------------------------------------------------------------------

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
                    elif worker.loan is not None:
                        worker.loan.recall()
            while group.idle and now - group.idle[0].idle_since >= limit:
                worker = group.idle[0]
                self._growth.forget(group, worker)
                worker.retire()
            if group.is_unused and now >= group.retry_at:
                del self._groups[key]
                self.lending.forget(group)
        self._sweep_timer = loop.call_later(min(5.0, max(0.05, limit / 4)), self._sweep)
