"""Writes of one turn of the event loop leave together: those of one connection in one piece, those of many in one go.

uvicorn writes the head of an answer and its body one by one: each would be a packet, and wake the client up. A client
that many answers go to in a row is woken up once for them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

_MUCH = 16 * 1024


class Turn:
    """The connections of one event loop that have something to write before its turn ends."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._call_soon = loop.call_soon
        self._waiting: list[JoinedWrites] = []
        self._is_held = False

    def add(self, writes: JoinedWrites) -> None:
        """Have `writes` flushed."""
        if not (self._waiting or self._is_held):
            self._call_soon(self._flush)
        self._waiting.append(writes)

    def during(self, work: Callable[[bytes], None], data: bytes) -> None:
        """Have `work` done with `data`. What it writes leaves as soon as it has ended: for work that brings everything
        there is to write, so that nothing would be gained by another turn."""
        self._is_held = True
        try:
            work(data)
        finally:
            self._is_held = False
            self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for writes in waiting:
            writes.flush()


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turn] = WeakKeyDictionary()


def turn_of(loop: asyncio.AbstractEventLoop) -> Turn:
    """The one that `loop` has."""
    turn = _turns.get(loop)
    if turn is None:
        turn = _turns[loop] = Turn(loop)
    return turn


class JoinedWrites:
    """A transport whose small writes of one turn of `loop` leave together."""

    __slots__ = ("_pending", "_transport", "_turn", "is_closing")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._turn = turn_of(loop)
        self._transport = transport
        self._pending: list[bytes] = []
        self.is_closing = transport.is_closing  # asked of every answer

    def write(self, data: bytes) -> None:
        """Write `data` before this turn of the loop ends; at once if there is much of it."""
        if not data:
            return
        if not self._pending:
            self._turn.add(self)
        self._pending.append(data)
        if len(data) > _MUCH:
            self.flush()

    def close(self) -> None:
        """Close once everything is written."""
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        """Write what waits."""
        pending = self._pending
        if pending:
            self._pending = []
            self._transport.write(pending[0] if len(pending) == 1 else b"".join(pending))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
