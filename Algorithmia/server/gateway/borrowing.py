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
from typing import TYPE_CHECKING, Any

from ..call_heads import digest
from ..engine.frames_link import FramesLink
from ..engine.protocol import MAX_INLINE
from ..joined_writes import turn_of
from . import frames
from .borrowed import MOST_WAITING, Asked, Borrowed, Group, Head
from .frames import ANSWERED, CALLED, FORGOTTEN, GONE, REQUEST, RETURNED

if TYPE_CHECKING:
    from .forwarding import PlatformLink

# For how long calls are kept for a worker that is to come.
_OFFER = 0.02
# Calls that ended well are told of together: so many, or those of a moment.
_TOLD_TOGETHER, _MOMENT = 128, 0.005


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
        self._loans: dict[int, Borrowed] = {}
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
            return head if group.offer is not None and len(group.kept) < MOST_WAITING else None
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
        before = self._heads.get(known.head)
        if before is not None and before.group.number != known.group and before.group.loan is None:
            self._groups.pop(before.group.number, None)  # that group has gone
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
            self._link.send(RETURNED, lent.loan, frames.encode((0, lent.latest, False, False, None)))
            return
        link = FramesLink(self._largest)
        link.adopt(*descriptors)
        group = self._group(lent.group)
        loan = self._loans[lent.loan] = Borrowed(self, lent.loan, group, link, lent.calls, lent.latest)
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
            group = self._groups[number] = Group(number)
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
        number = self._link.next_number()
        self._link.send(REQUEST, number, frames.encode(frames.request_of(asked.scope, asked.body, False)))
        self._expect(asked, number)

    def hand_over_answered(self, asked: Asked, kind: int, content_type: int, seconds: float, body: bytes) -> None:
        """Pass on a call with the worker's answer to it."""
        number = self._link.next_number()
        self._link.send(ANSWERED, number, frames.encode((*self._begun(asked), kind, content_type, seconds, body)))
        self._expect(asked, number)

    def hand_over(
        self, loan: int, told: tuple[int, int, bool, bool], number: int, running: Asked | None, seconds: float
    ) -> None:
        """Give a worker back (`frames.Returned`), and what it works on."""
        self._loans.pop(loan, None)
        if running is None:
            self._link.send(RETURNED, loan, frames.encode((*told, None)))
            return
        stream = self._link.next_number()
        self._link.send(RETURNED, loan, frames.encode((*told, (*self._begun(running), stream, number, seconds))))
        self._expect(running, stream)

    def _begun(self, asked: Asked) -> tuple[Any, ...]:
        """What is said of a call that a worker has been given: the first members of `Answered` and `Running`."""
        request = frames.request_of(asked.scope, asked.body, False)
        return request, asked.head.lesson, asked.arrived

    def _expect(self, asked: Asked, stream: int) -> None:
        if asked.is_wanted:
            asked.forwarded(stream)
        else:
            self._link.send(GONE, stream)
