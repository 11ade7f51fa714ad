"""Workers that speak the frames of `protocol.py` over a private socket: values travel as bytes, never decoded here.

Calls may be sent ahead: a worker that finds the next one waiting needn't be woken up for it, which is most of what a
short call costs. It still runs one at a time, in order, and what it hasn't begun can be taken back: nobody waits behind
a call that turns out to be long.

A call whose time is over, or that nobody waits for any more, is stopped twice: the process is told, so that the
algorithm can tidy up and says where it was, and it is killed if that takes too long. Either way it gets no other call.

An algorithm that bears it runs several calls at a time. Then nothing is sent ahead, what is printed is nobody's, and a
call that has to be stopped waits for the others to end before the process is killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from copy import copy
from typing import Any

import msgspec

from . import protocol
from .base import Call, CallFailure, InvalidInput, Result
from .frames_link import BrokenFrame, FramesLink
from .frames_results import LOADED_AGAIN, UNASKED, BrokenAnswer, failure_of, result_of, stacktrace_of
from .launch import Launch
from .output import DRAIN_READS
from .worker import LAST_CHANCE, SLACK, TIMED_OUT, Link, TakenBack, Worker

# How long a call may run before those that were sent after it are given to others.
_PATIENCE = 0.01
# What timers may be too early by.
_TICK = 0.001
_MOST_READS = 64


class _Sent:
    """A call that the worker has, or will take.

    deadline  when it has to have ended, on the event loop's clock
    is_told   whether the process was told to stop it
    overrun   what to tell its caller then
    """

    __slots__ = ("call", "deadline", "is_told", "number", "overrun", "pending")

    def __init__(self, number: int, call: Call, pending: asyncio.Future[Result], deadline: float) -> None:
        self.number = number
        self.call = call
        self.pending = pending
        self.deadline = deadline
        self.is_told = False
        self.overrun: CallFailure | None = None

    def fail(self, failure: Exception) -> None:
        if not self.pending.done():
            self.pending.set_exception(failure)


class FramesWorker(Worker):
    """See `Worker`. The command gets the socket's descriptor, the project, the largest result, its parent's id, and how
    many calls it runs at a time."""

    def __init__(self, launch: Launch, on_end: Callable[[Worker], None], concurrency: int = 1) -> None:
        super().__init__(launch, on_end)
        self._concurrency = concurrency
        self.takes_several = concurrency == 1
        self._link = FramesLink(launch.max_result + SLACK)
        self._sent: dict[int, _Sent] = {}  # in the order in which they run
        self._unsent: list[_Sent] = []  # those that leave when this turn of the event loop ends
        self._number = 0
        self._began = 0.0  # when the call that runs became the first
        self._is_watching = False
        self._is_condemned = False
        self._timer: asyncio.TimerHandle | None = None  # for the call that has to end first, or had to
        self.session_key.look_first = self._receive

    @property
    def running_for(self) -> float:
        return self._loop.time() - self._began if self._sent else 0.0

    # -- lending: somebody else sends it calls and takes its answers ------------------------------------------------

    def lend(self) -> tuple[int, int, int]:
        """Hand over the socket of a worker that runs nothing: both its ends, and the number of the latest call."""
        ours, theirs = self._link.pause()
        return ours, theirs, self._number

    def come_back(self, number: int) -> None:
        """The socket isn't used any more by whoever had it; `number` is that of the latest call."""
        self._number = number
        self._output.drop()

    def resume(self) -> None:
        """Take the process's answers again."""
        self._link.resume(self._receive)

    def adopt(self, call: Call, number: int, seconds: float) -> _Sent:
        """The process has been working on `call`, as number `number`, for so many seconds; see `outcome`."""
        began = self._loop.time() - seconds
        sent = _Sent(number, call, self._loop.create_future(), began + call.timeout)
        self._sent[number] = sent
        self._next()
        self._began = began
        self._watch_time(sent.deadline)
        return sent

    async def outcome(self, sent: _Sent) -> Result:
        """What `call` gives and raises, for one that has been sent."""
        try:
            return await sent.pending
        except asyncio.CancelledError:
            self._give_up(sent)
            raise

    async def call(self, call: Call, seconds: float) -> Result:
        """See `Worker.call`."""
        if not self.is_alive:
            raise CallFailure("the worker process has ended", "SystemExit")
        if call.wants_output and self._concurrency == 1:
            self._begin()
        number = self._number = self._number % 0xFFFFFFFF + 1
        loop = self._loop
        sent = _Sent(number, call, loop.create_future(), loop.time() + seconds)
        if not self._unsent:
            loop.call_soon(self._flush)
        self._unsent.append(sent)
        self._sent[number] = sent
        self.is_exclusive = call.wants_output and self._concurrency == 1
        if len(self._sent) == 1:
            self._next()
        elif not self._is_watching and self._concurrency == 1:
            self._watch(0)
        if self._timer is None or sent.deadline < self._timer.when():
            self._watch_time(sent.deadline)
        return await self.outcome(sent)

    # -- Worker -------------------------------------------------------------------------------------------------

    def _open_link(self, for_us: ExitStack, for_it: ExitStack) -> Link:
        launch, descriptor = self.launch, self._link.open(for_us)
        numbers = (str(launch.max_result), str(launch.sandbox.parent), str(self._concurrency))
        return Link((str(descriptor), str(launch.project), *numbers), (descriptor,))

    async def _load(self, timeout: float, reason: str) -> str:
        self._link.listen(self._receive)
        await self._answer(self._ask(), timeout, reason)
        return self._output.take()

    def _hang_up(self) -> bool:
        self._link.close()
        return True

    def _close_link(self) -> None:
        self._receive()
        self._take_back()
        self._link.close()
        if self._timer is not None:
            self._timer.cancel()

    def _settle_failure(self, failure: CallFailure) -> None:
        super()._settle_failure(failure)
        self._take_back()
        for sent in tuple(self._sent.values()):
            own = copy(failure)
            if sent.overrun is not None:
                own = sent.overrun
                own.stdout = failure.stdout
            own.duration = own.duration or self.running_for
            self._end(sent)
            sent.fail(own)

    # -- sending calls ------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Send the calls that this turn of the event loop has brought: the process, woken up once, finds them all."""
        unsent, self._unsent = self._unsent, []
        for sent in unsent:
            failure = self._send(sent)
            if failure is not None:
                self._end(sent)
                sent.fail(failure)

    def _send(self, sent: _Sent) -> Exception | None:
        """Send a call; what to tell its caller if that can't be done."""
        if not (self.is_alive and self._link.is_open):
            return TakenBack()
        try:
            self._link.send(protocol.CALL, sent.call.content_type, sent.number, sent.call.body)
        except BlockingIOError:
            if not self._is_first(sent):
                return TakenBack()
            self.kill()
            return CallFailure("the worker process doesn't take calls", "SystemError")
        except OSError as problem:
            self.kill()
            return CallFailure(f"the worker process can't be reached: {problem}", "SystemError")
        return None

    # -- calls that were sent -----------------------------------------------------------------------------------

    def _end(self, sent: _Sent) -> None:
        """`sent` is over; the one after it runs."""
        is_first = self._is_first(sent)
        self._sent.pop(sent.number, None)
        self.is_exclusive = False
        if is_first:
            self._next()

    def _is_first(self, sent: _Sent) -> bool:
        return next(iter(self._sent), None) == sent.number

    def _next(self) -> None:
        """Whoever is first now is who the process works for."""
        for sent in self._sent.values():
            self._began = self._loop.time()
            self.session_key.identity = sent.call.session
            return
        self.session_key.identity = None

    def _watch(self, number: int) -> None:
        """Take back what waits behind call `number` if that still runs; look again as long as anything waits."""
        first = next(iter(self._sent), 0)
        if first == number:
            self._take_back()
        self._is_watching = len(self._sent) > 1 and self._link.is_open
        if self._is_watching:
            self._loop.call_later(_PATIENCE, self._watch, first)

    def _take_back(self) -> None:
        """Have every call that the process hasn't taken yet sent to somebody else."""
        unsent, self._unsent = self._unsent, []
        for waiting in unsent:
            self._end(waiting)
            waiting.fail(TakenBack())
        for number in self._link.take_back():
            sent = self._sent.get(number)
            if sent is not None:
                self._end(sent)
                sent.fail(TakenBack())

    def _settle(self) -> None:
        """Find out what the process works on: of the calls that are left, that one is the first."""
        self._receive()
        self._take_back()
        # It may have begun the next one before that could be taken back: then its answer to the one before has come.
        self._receive()

    def _give_up(self, sent: _Sent) -> None:
        """Nobody waits for `sent` any more."""
        if sent.number in self._sent:
            self._settle()
            if sent.number in self._sent:
                self._stop(sent)

    def _watch_time(self, deadline: float) -> None:
        """Look at `deadline` whose time is over. One timer does for many calls: nearly all end long before theirs."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._look_at_time)

    def _look_at_time(self) -> None:
        self._timer = None
        latest = self._loop.time() + _TICK
        for sent in tuple(self._sent.values()):
            if sent.deadline <= latest:
                self._overrun_call(sent)
        left = [sent.deadline for sent in self._sent.values() if sent.deadline > latest]
        if left:
            self._watch_time(min(left))

    def _overrun_call(self, sent: _Sent) -> None:
        """The time of `sent` is over."""
        self._settle()
        if sent.number in self._sent and not sent.pending.done():
            timeout = sent.call.timeout
            reason = f"stopped at the call's timeout of {timeout:g} s"
            sent.overrun = CallFailure(f"{TIMED_OUT} ({reason})", "TimeoutError", None, timeout)
            self._stop(sent)

    def _stop(self, sent: _Sent) -> None:
        """Have the process stop `sent`, which it has begun: first it is told."""
        if self._concurrency > 1:  # it can't be told which one, and the others go on
            self.is_leaving = self._is_condemned = True
            self._end(sent)
            if sent.overrun is not None:
                sent.fail(sent.overrun)
            self._end_when_idle()
            return
        self.is_alive = False
        sent.is_told = True
        if sent.overrun is None:
            self.session_key.identity = None  # whoever called is gone, and with them what it may do
        self.tell()
        self._loop.call_later(LAST_CHANCE, self._stop_at_last, sent)

    def _stop_at_last(self, sent: _Sent) -> None:
        """Kill the process if it still works on `sent`."""
        if sent.number in self._sent:
            self.kill()
            self._stopped(sent, None)

    def _stopped(self, sent: _Sent, stacktrace: str | None) -> None:
        """The process doesn't work on `sent` any more, which was at `stacktrace` when it was told."""
        self._end(sent)
        if sent.overrun is not None and not sent.pending.done():
            self._output.read(DRAIN_READS)
            sent.overrun.stacktrace = stacktrace
            sent.overrun.stdout = self._output.take()
            sent.fail(sent.overrun)
        self.retire()

    def _end_when_idle(self) -> None:
        """Kill the process, if a call goes on in it that has no caller any more, once no other runs in it."""
        if self._is_condemned and not self._sent:
            self.kill()

    # -- answers ------------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        """Take the answers that have come."""
        for _ in range(_MOST_READS):
            try:
                frame = self._link.receive()
            except BrokenFrame:
                self._break()
                return
            if frame is None:
                return
            self._on_frame(*frame)
            if not self._sent:
                return

    def _on_frame(self, kind: int, content_type: int, number: int, seconds: float, body: bytes) -> None:
        if kind == protocol.READY or kind == protocol.UNLOADED:
            self._on_loaded(kind, body)
            return
        sent = self._sent.get(number)
        if sent is None or not (self._concurrency > 1 or self._is_first(sent)):
            if not self._is_condemned:
                self._break(UNASKED)  # the algorithm got hold of the socket
            return
        if sent.is_told:
            self._stopped(sent, stacktrace_of(body) if kind == protocol.FAILED else None)
            return
        if not 0 <= seconds <= sent.call.timeout + LAST_CHANCE:  # its own words, and counted for all
            seconds = self.running_for
        self._end(sent)
        stdout = ""
        if sent.call.wants_output and self._concurrency == 1:
            self._output.read(DRAIN_READS)
            stdout = self._output.take()
        else:
            self._output.drop()
        self._end_when_idle()
        pending = sent.pending
        if pending.done():
            return
        try:
            pending.set_result(result_of(kind, content_type, seconds, body, stdout))
        except (InvalidInput, CallFailure) as problem:
            pending.set_exception(problem.with_traceback(None))
            if isinstance(problem, BrokenAnswer):
                self._break()

    def _on_loaded(self, kind: int, body: bytes) -> None:
        pending: asyncio.Future[Any] | None = self._pending
        if pending is None or pending.done():
            self._break(LOADED_AGAIN)
            return
        self._output.read(DRAIN_READS)
        if kind == protocol.READY:
            pending.set_result(None)
            return
        try:
            pending.set_exception(failure_of(body, 0.0, self._output.take()))
        except msgspec.MsgspecError:
            self._break()
