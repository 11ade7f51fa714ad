"""In a gateway: calls that go straight to workers which the platform's process has lent it.

Only what is ordinary is done here: a call whose head is known, answered soon and well. Everything else is handed over
to the platform's process in the middle of it: a call that takes long, with its worker; an answer that says that the
call failed; all that a worker has not begun when it is asked back. So there is one place that knows about time limits,
failures and what algorithms may do.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..call_heads import digest
from ..engine import protocol
from ..engine.base import CallFailure, InvalidInput
from ..engine.frames_link import BrokenFrame, FramesLink
from ..engine.frames_results import BrokenAnswer, result_of
from ..engine.protocol import MAX_INLINE
from ..joined_writes import turn_of
from ..request_ids import new_uuid
from ..services.call_documents import Answer, CallOptions, Circumstances, success
from . import frames
from .frames import ANSWERED, CALLED, FORGOTTEN, GONE, REQUEST, RETURNED

if TYPE_CHECKING:
    from .forwarding import PlatformLink

# How many a worker is given ahead of time, and how many wait for it besides.
_AHEAD, _MOST_WAITING = 64, 256
# Seconds: a call that runs for longer is given back, with its worker; so is a worker that has nothing to do.
_PATIENCE, _IDLE = 0.02, 0.5
# For how long calls are kept for a worker that is to come.
_OFFER = 0.02
# Calls that ended well are told of together: so many, or those of a moment.
_TOLD_TOGETHER, _MOMENT = 128, 0.005
_MOST_READS = 64


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

    __slots__ = ("kept", "loan", "offer")

    def __init__(self) -> None:
        self.loan: Loan | None = None
        self.kept: deque[Asked] = deque()  # for a worker that is to come
        self.offer: asyncio.TimerHandle | None = None


class Loan:
    """One worker."""

    def __init__(
        self, borrowing: Borrowing, number: int, group: Group, link: FramesLink, calls: int, latest: int
    ) -> None:
        self._borrowing = borrowing
        self._loop = borrowing.loop
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
        self._last = self._loop.time()
        self._is_scheduled = self._is_over = False
        self._timer = self._loop.call_later(_PATIENCE, self._look)
        link.resume(self._readable)

    @property
    def is_full(self) -> bool:
        """Whether it takes no more calls for the moment."""
        return len(self._waiting) >= _MOST_WAITING

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
                waiting.popleft()
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
                self._began = self._loop.time()
            sent[number] = asked

    # -- answers ----------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        self._borrowing.turn.during(self._receive, b"")

    def _receive(self, _: bytes) -> None:
        """Take the answers that have come, send what waits."""
        self._take_answers()
        if self._waiting and not self._is_scheduled:
            self._send()

    def _take_answers(self) -> None:
        for _ in range(_MOST_READS):
            try:
                frame = self._link.receive()
            except BrokenFrame:
                self.give_back(is_broken=True)
                return
            if frame is None:
                return
            if not self._on_frame(*frame):
                self.give_back(is_broken=True)
                return
            if not self._sent:
                return

    def _on_frame(self, kind: int, content_type: int, number: int, seconds: float, body: bytes) -> bool:
        """Take one answer; whether it is one that the worker may give."""
        sent = self._sent
        if next(iter(sent), None) != number:
            return False  # the algorithm got hold of the socket
        asked = sent.pop(number)
        now = self._loop.time()
        running = now - self._began
        if not 0 <= seconds <= running + _PATIENCE:  # its own words, and counted for all
            seconds = running
        self._began = self._last = now
        borrowing = self._borrowing
        try:
            result = result_of(kind, content_type, seconds, body)
        except (InvalidInput, CallFailure) as problem:
            borrowing.hand_over_answered(asked, kind, content_type, seconds, body)
            return not isinstance(problem, BrokenAnswer)
        request_id = f"req-{new_uuid()}"
        total = now - asked.arrived
        borrowing.tell(asked.head.lesson, request_id, total, seconds)
        if asked.is_wanted:
            head = asked.head
            answer = success(result, Circumstances(head.options, request_id, head.source_visible, total))
            asked.answered(answer, request_id)
        return True

    # -- the end ----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """See whether the worker should go back."""
        first = next(iter(self._sent), 0)
        idle = not first and not self._waiting and self._loop.time() - self._last > _IDLE
        if idle or (first and first == self._seen):
            self.give_back()
            return
        self._seen = first
        self._timer = self._loop.call_later(_PATIENCE, self._look)

    def give_back(self, is_broken: bool = False) -> None:
        """Give the worker back, with the call that it works on; the others go to the platform's process."""
        group, borrowing, sent = self._group, self._borrowing, self._sent
        if self._is_over:
            return
        self._is_over = True
        if group.loan is self:
            group.loan = None
        self._timer.cancel()
        is_broken = is_broken or not self._take_last_answers()
        back: list[Asked] = []
        for number in self._link.take_back():
            asked = sent.pop(number, None)
            if asked is not None:
                back.append(asked)
                self._calls -= 1
        # It may have begun the next one before that could be taken back: then its answer to the one before has come.
        is_broken = is_broken or not self._take_last_answers()
        self._link.close()
        seconds = self._loop.time() - self._began
        number, running = next(iter(sent.items()), (0, None))
        borrowing.hand_over(self._number, self._calls, self._latest, is_broken, number, running, seconds)
        for asked in tuple(sent.values())[1:]:  # which only a process takes that breaks the protocol
            borrowing.hand_over_answered(asked, 0, 0, 0.0, b"")
        sent.clear()
        for asked in (*back, *self._waiting):
            borrowing.forward(asked)
        self._waiting.clear()

    def _take_last_answers(self) -> bool:
        """Take the answers that are here; False if one is none that the worker may give."""
        while self._sent:
            try:
                frame = self._link.receive()
            except BrokenFrame:
                return False
            if frame is None:
                return True
            if not self._on_frame(*frame):
                return False
        return True


class Borrowing:
    """What one gateway knows and has."""

    def __init__(self, link: PlatformLink, largest: int, max_input: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.turn = turn_of(self.loop)
        self._link = link
        self._largest = largest
        self._max_input = min(max_input, MAX_INLINE)
        self._heads: dict[bytes, Head] = {}
        self._groups: dict[int, Group] = {}
        self._loans: dict[int, Loan] = {}
        self._called: list[tuple[int, str, float, float]] = []

    # -- calls ------------------------------------------------------------------------------------------------------

    def find(self, scope: Any, size: int) -> Head | None:
        """What is known of the request of `scope`, with a body of `size` bytes, if it is a call that a worker of this
        gateway can take now."""
        if not self._heads or scope["method"] != "POST" or size > self._max_input:
            return None
        key = digest(scope)
        head = self._heads.get(key) if key is not None else None
        if head is None:
            return None
        group = head.group
        if group.loan is None:
            return head if group.offer is not None and len(group.kept) < _MOST_WAITING else None
        return None if group.loan.is_full else head

    def call(self, asked: Asked) -> None:
        """Make a call that `find` has found something for."""
        group = asked.head.group
        if group.loan is not None:
            group.loan.call(asked)
        else:
            group.kept.append(asked)

    def tell(self, lesson: int, request_id: str, seconds: float, running: float) -> None:
        """A call has ended well."""
        called = self._called
        if not called:
            self.loop.call_later(_MOMENT, self.flush)
        called.append((lesson, request_id, seconds, running))
        if len(called) >= _TOLD_TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Tell of the calls that have ended."""
        called, self._called = self._called, []
        if called:
            self._link.send(CALLED, 0, frames.encode(called))

    # -- what the platform's process says ---------------------------------------------------------------------------

    def known(self, lesson: int, payload: bytes) -> None:
        """Calls with this head are for that group."""
        known = frames.decode_known(payload)
        self._heads[known.head] = Head(lesson, known, self._group(known.group))

    def forget(self, number: int) -> None:
        """Nothing is known any more."""
        self._heads.clear()
        for key, group in tuple(self._groups.items()):
            if group.loan is None and group.offer is None:
                del self._groups[key]
        self._link.send(FORGOTTEN, number)

    def offered(self, number: int) -> None:
        """A worker of that group may come."""
        group = self._group(number)
        if group.loan is None and group.offer is None:
            group.offer = self.loop.call_later(_OFFER, self._wait_no_more, group)

    def lent(self, payload: bytes, descriptors: list[int]) -> None:
        """A worker has come."""
        lent = frames.decode_lent(payload)
        if len(descriptors) != 2:  # there were none left for it
            for descriptor in descriptors:
                os.close(descriptor)
            self._link.send(RETURNED, lent.loan, frames.encode((0, lent.latest, False, None)))
            return
        link = FramesLink(self._largest)
        link.adopt(*descriptors)
        group = self._group(lent.group)
        loan = self._loans[lent.loan] = Loan(self, lent.loan, group, link, lent.calls, lent.latest)
        if group.loan is not None:
            group.loan.give_back()
        group.loan = loan
        for asked in self._kept(group):
            loan.call(asked)

    def recall(self, number: int) -> None:
        """The platform's process wants a worker back."""
        loan = self._loans.get(number)
        if loan is not None:
            self.turn.during(lambda _: loan.give_back(), b"")

    def close(self) -> None:
        """Give back everything, tell everything."""
        for loan in tuple(self._loans.values()):
            loan.give_back()
        self.flush()

    def _group(self, number: int) -> Group:
        group = self._groups.get(number)
        if group is None:
            group = self._groups[number] = Group()
        return group

    def _kept(self, group: Group) -> deque[Asked]:
        """Take what was kept for a worker."""
        if group.offer is not None:
            group.offer.cancel()
            group.offer = None
        kept, group.kept = group.kept, deque()
        return kept

    def _wait_no_more(self, group: Group) -> None:
        for asked in self._kept(group):
            self.forward(asked)

    # -- what the platform's process goes on with -------------------------------------------------------------------

    def forward(self, asked: Asked) -> None:
        """Pass on a call that hasn't begun."""
        if asked.is_wanted:
            number = self._link.next_number()
            self._link.send(REQUEST, number, frames.encode(frames.request_of(asked.scope, asked.body, False)))
            asked.forwarded(number)

    def hand_over_answered(self, asked: Asked, kind: int, content_type: int, seconds: float, body: bytes) -> None:
        """Pass on a call with the worker's answer to it."""
        number = self._link.next_number()
        request = frames.request_of(asked.scope, asked.body, False)
        self._link.send(ANSWERED, number, frames.encode((request, kind, content_type, seconds, body)))
        self._expect(asked, number)

    def hand_over(
        self, loan: int, calls: int, latest: int, is_broken: bool, number: int, running: Asked | None, seconds: float
    ) -> None:
        """Give a worker back, and what it works on."""
        self._loans.pop(loan, None)
        if running is not None and is_broken:
            self.hand_over_answered(running, 0, 0, seconds, b"")
            running = None
        if running is None:
            self._link.send(RETURNED, loan, frames.encode((calls, latest, is_broken, None)))
            return
        stream = self._link.next_number()
        request = frames.request_of(running.scope, running.body, False)
        told = calls, latest, False, (stream, request, number, seconds)
        self._link.send(RETURNED, loan, frames.encode(told))
        self._expect(running, stream)

    def _expect(self, asked: Asked, stream: int) -> None:
        if asked.is_wanted:
            asked.forwarded(stream)
        else:
            self._link.send(GONE, stream)
