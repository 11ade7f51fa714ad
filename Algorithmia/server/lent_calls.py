"""Calls that gateways make by themselves, with workers they are lent: what they are taught for that, and what becomes
known of those calls here.

A gateway knows calls by their heads. What it knows was looked up and allowed here, and goes whenever a key or an
algorithm has changed: the answer to whoever changed it waits until every gateway has forgotten.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .engine.base import Back, Begun, Borrower

if TYPE_CHECKING:
    from .logs import RequestLog
    from .platform import Platform
    from .routes.algo import KnownCall

log = logging.getLogger("algorithmia.gateway")

# Seconds that a gateway has for forgetting.
_LIMIT = 5.0


@dataclass(frozen=True, slots=True)
class Lesson:
    """A call but for its input, and what all lines of the log about such calls have."""

    call: KnownCall
    entry: dict[str, Any]


class Gateway(Borrower, Protocol):
    """The platform's side of a gateway. `lost` is done once it has gone, and its workers have been ended."""

    lost: asyncio.Future[None]

    def knows(self, head: bytes, group: int) -> bool:
        """Whether it has been taught that calls with this head are for that group."""

    def teach(self, head: bytes, group: int, lesson: Lesson) -> None:
        """Have it make calls with the head of this digest by itself, when it is lent a worker of that group."""

    def forget(self) -> asyncio.Future[None]:
        """Have it forget what it was taught; done once it has, or has gone."""

    def abort(self) -> None:
        """End it."""


class ForwardedRequest(Protocol):
    """A request that a gateway has passed on.

    begun   it is a call that a worker was given already
    lesson  by which the gateway knew it then, and that it was allowed
    """

    gateway: Gateway
    begun: Begun | None
    lesson: Lesson | None


class LentCalls:
    """What is known of such calls. For the event loop's thread."""

    def __init__(self, platform: Platform, requests: RequestLog) -> None:
        self._platform = platform
        self._requests = requests
        self._gateways: set[Gateway] = set()
        self._state = self._now()
        self._forgetting: dict[asyncio.Future[None], Gateway] = {}

    def add(self, gateway: Gateway) -> None:
        """One more."""
        self._gateways.add(gateway)
        self._platform.lending.add(gateway)

    def remove(self, gateway: Gateway) -> None:
        """It has gone, and its workers with it."""
        self._gateways.discard(gateway)
        self._platform.lending.lost(gateway)

    def returned(self, gateway: Gateway, loan: int, back: Back) -> None:
        """A gateway has given a worker back."""
        self._platform.lending.returned(gateway, loan, back)

    def drop(self, begun: Begun) -> None:
        """Nobody runs this call on, if it isn't run on already."""
        self._platform.lending.drop(begun)

    def report(self, calls: Iterable[tuple[Lesson, str, float, float]]) -> None:
        """These calls have ended well: lesson, request's id, seconds in all, seconds of running."""
        ended_well, add = self._platform.invoker.meter.ended_well, self._requests.add
        count = 0
        for lesson, request_id, seconds, running in calls:
            entry = {"request_id": request_id, **lesson.entry, "seconds": int(seconds * 1e6) / 1e6}
            ended_well(lesson.call.resolved.build, running, seconds, entry)
            add(entry)
            count += 1
        self._platform.activity.add(count)

    # -- see `app.Gate` -------------------------------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        """Whether a gateway may still act on what has changed."""
        return bool(self._forgetting or self._platform.lending.recalled) or self._state != self._now()

    async def opened(self) -> None:
        """Return once no gateway does, or is there."""
        state = self._now()
        if state != self._state:
            self._state = state
            for gateway in self._gateways:
                forgetting = gateway.forget()
                self._forgetting[forgetting] = gateway
                forgetting.add_done_callback(lambda done: self._forgetting.pop(done, None))
        waiting = {*self._forgetting, *self._platform.lending.recalled}
        if waiting:
            await asyncio.wait(waiting, timeout=_LIMIT)
        for forgetting in waiting:
            late = self._forgetting.pop(forgetting, None)
            if late is not None and not forgetting.done():
                log.error("a gateway doesn't answer; it is ended")
                late.abort()
                await asyncio.shield(late.lost)

    def _now(self) -> tuple[int, int]:
        known_calls = self._platform.known_calls
        assert known_calls is not None
        return known_calls.state()
