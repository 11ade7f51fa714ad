"""In a gateway: one worker that it is lent, the calls that it is given, and how it goes back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter  # event loops may count whole milliseconds only
from typing import Any, Protocol

from ..engine import protocol
from ..engine.base import CallFailure, InvalidInput
from ..engine.frames_link import BrokenFrame, FramesLink
from ..engine.frames_results import BROKEN, LOADED_AGAIN, UNASKED, BrokenAnswer, result_of
from ..joined_writes import Turn
from ..request_ids import new_uuid
from ..services.call_documents import Answer, CallOptions, Circumstances, success
from . import frames

# How many a worker is given ahead of time, and how many wait for it besides.
_AHEAD, MOST_WAITING = 64, 256
# Seconds: a call that runs for longer is given back, with its worker; so is a worker that has nothing to do.
_PATIENCE, _IDLE = 0.02, 0.5
# Seconds that calls may take, of which the latest count most, and that they may have to wait.
_SHORT, _WEIGHT, _HORIZON = 0.001, 0.1, 0.1


class Head:
    """What is known of calls with one head."""

    __slots__ = ("content_type", "group", "lesson", "options", "source_visible")

    def __init__(self, lesson: int, known: frames.Known, group: Group) -> None:
        self.lesson = lesson
        self.group = group
        self.content_type = known.content_type
        self.options = CallOptions(output=known.output, timing=known.timing)
        self.source_visible = known.source_visible


class Asked:
    """A call. The last two are for what becomes of it: `answered` gets the answer and the request's id, `forwarded` the
    number of the stream whose answer it gets, once it is the platform's."""

    __slots__ = ("answered", "arrived", "body", "forwarded", "head", "is_wanted", "scope")

    def __init__(
        self,
        head: Head,
        scope: Any,
        body: bytes,
        arrived: float,
        answered: Callable[[Answer, str], None],
        forwarded: Callable[[int], None],
    ) -> None:
        self.head = head
        self.scope = scope
        self.body = body
        self.arrived = arrived
        self.answered = answered
        self.forwarded = forwarded
        self.is_wanted = True  # else its client has gone


class Group:
    """Calls that the same workers take: those of one build for one account."""

    __slots__ = ("kept", "loan", "number", "offer")

    def __init__(self, number: int) -> None:
        self.number = number
        self.loan: Borrowed | None = None
        self.kept: deque[Asked] = deque()  # for a worker that is to come
        self.offer: asyncio.TimerHandle | None = None


class Desk(Protocol):
    """What a loan is of (`borrowing.Borrowing`)."""

    loop: asyncio.AbstractEventLoop
    turn: Turn

    def tell(self, lesson: int, request_id: str, seconds: float, running: float) -> None:
        """A call has ended well."""

    def forward(self, asked: Asked) -> None:
        """Pass on a call that hasn't begun."""

    def hand_over_answered(self, asked: Asked, kind: int, content_type: int, seconds: float, body: bytes) -> None:
        """Pass on a call with the worker's answer to it."""

    def hand_over(
        self, loan: int, told: tuple[int, int, bool, bool], number: int, running: Asked | None, seconds: float
    ) -> None:
        """Give a worker back (`frames.Returned`), and what it works on."""


class Borrowed:
    """One worker that this gateway is lent."""

    def __init__(self, desk: Desk, number: int, group: Group, link: FramesLink, calls: int, latest: int) -> None:
        self._desk = desk
        self._loop = desk.loop
        self._number = number
        self._group = group
        self._link = link
        self._calls_left = calls
        self._calls = 0
        self._latest = latest
        self._sent: dict[int, Asked] = {}  # in the order in which they run
        self._waiting: deque[Asked] = deque()
        self._began = 0.0  # when the call that runs became the first
        self._seen = 0  # the call that ran when the timer came last
        self._mean = 0.0  # seconds of a call, of late
        self._last = perf_counter()
        self._is_scheduled = self._is_over = False
        self._wrong = ""  # what the process did that no worker may do
        self._timer = self._loop.call_later(_PATIENCE, self._look)
        link.resume(self._readable)

    @property
    def is_full(self) -> bool:
        """Whether it takes no more calls for the moment."""
        ahead = len(self._waiting)
        return ahead >= MOST_WAITING or (ahead + len(self._sent)) * self._mean > _HORIZON

    def call(self, asked: Asked) -> None:
        """Have the worker do it, in this turn of the loop or when it has done others."""
        self._waiting.append(asked)
        if not self._is_scheduled and len(self._sent) < _AHEAD:
            self._is_scheduled = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        """Send what the worker may have now."""
        self._is_scheduled = False
        waiting, sent = self._waiting, self._sent
        while waiting and len(sent) < _AHEAD and not self._is_over:
            if not self._calls_left:
                if not sent:
                    self.give_back()
                return
            asked = waiting[0]
            if not asked.is_wanted:
                self._desk.forward(waiting.popleft())  # for the log
                continue
            number = self._latest % 0xFFFFFFFF + 1
            try:
                self._link.send(protocol.CALL, asked.head.content_type, number, asked.body)
            except BlockingIOError:
                if not sent:
                    self.give_back()
                return
            except OSError:
                self.give_back()
                return
            waiting.popleft()
            self._latest = number
            self._calls_left -= 1
            self._calls += 1
            if not sent:
                self._began = perf_counter()
            sent[number] = asked

    # -- answers ----------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        self._desk.turn.during(self._receive, b"")

    def _receive(self, _: bytes) -> None:
        """Take the answers that have come, send what waits."""
        if not self._take_answers():
            self.give_back(is_broken=True)
        elif self._waiting and not self._is_scheduled:
            self._send()

    def _take_answers(self) -> bool:
        """Take the answers that have come; False if one is none that the worker may give."""
        for _ in range(_AHEAD):  # there can't be more
            try:
                frame = self._link.receive()
            except BrokenFrame:
                return False
            if frame is None:
                return True
            if not self._on_frame(*frame):
                return False
            if not self._sent:
                return True
        return True

    def _on_frame(self, kind: int, content_type: int, number: int, seconds: float, body: bytes) -> bool:
        """Take one answer; whether it is one that the worker may give."""
        sent = self._sent
        has_loaded = kind in (protocol.READY, protocol.UNLOADED)
        if has_loaded or next(iter(sent), None) != number:  # the algorithm got hold of the socket
            self._wrong = LOADED_AGAIN if has_loaded else UNASKED
            return False
        asked = sent.pop(number)
        now = perf_counter()
        running = now - self._began
        if not 0 <= seconds <= running + _PATIENCE:  # its own words, and counted for all
            seconds = running
        self._began = self._last = now
        self._mean += (seconds - self._mean) * _WEIGHT
        desk = self._desk
        try:
            result = result_of(kind, content_type, seconds, body)
        except (InvalidInput, CallFailure) as problem:
            desk.hand_over_answered(asked, kind, content_type, seconds, body)
            return not isinstance(problem, BrokenAnswer)
        request_id = f"req-{new_uuid()}"
        total = max(now - asked.arrived, seconds)
        desk.tell(asked.head.lesson, request_id, total, seconds)
        if asked.is_wanted:
            head = asked.head
            answer = success(result, Circumstances(head.options, request_id, head.source_visible, total))
            asked.answered(answer, request_id)
        return True

    # -- the end ----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """See whether the worker should go back."""
        if self._seen in self._sent:
            self._readable()  # it may be this process that is late
            if self._is_over:
                return
        first = next(iter(self._sent), 0)
        is_slow = self._mean > _SHORT
        idle = not first and not self._waiting and perf_counter() - self._last > _IDLE
        if idle or is_slow or (first and first == self._seen):
            self.give_back(is_slow=is_slow)
            return
        self._seen = first
        self._timer = self._loop.call_later(_PATIENCE, self._look)

    def give_back(self, is_broken: bool = False, is_slow: bool = False) -> None:
        """Give the worker back, with the call that it works on; the others go to the platform's process.

        is_broken  it has answered what it wasn't asked
        is_slow    its calls take too long for this
        """
        group, desk, sent = self._group, self._desk, self._sent
        if self._is_over:
            return
        self._is_over = True
        if group.loan is self:
            group.loan = None
        self._timer.cancel()
        is_broken = is_broken or not self._take_answers()
        back: list[Asked] = []
        for number in self._link.take_back():
            asked = sent.pop(number, None)
            if asked is not None:
                back.append(asked)
                self._calls -= 1
        # It may have begun the next one before that could be taken back: then its answer to the one before has come.
        is_broken = is_broken or not self._take_answers()
        self._link.close()
        seconds = perf_counter() - self._began
        number, running = next(iter(sent.items()), (0, None))
        told = self._calls, self._latest, is_broken, is_slow
        if is_broken:
            # More than one is only taken by a process that breaks the protocol.
            for asked in sent.values():
                desk.hand_over_answered(asked, BROKEN, 0, 0.0, self._wrong.encode())
            number, running = 0, None
        desk.hand_over(self._number, told, number, running, seconds)
        sent.clear()
        for asked in (*back, *self._waiting):
            desk.forward(asked)
        self._waiting.clear()
