"""One at a time by key, waited for on the event loop, where waiting keeps no thread from others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import anyio


class Turns:
    """Locks by key; those that nobody holds or waits for take no memory."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    def is_taken(self, key: str) -> bool:
        """Whether somebody has the turn of `key` now."""
        return key in self._locks and self._locks[key][0].locked()

    @contextlib.asynccontextmanager
    async def of(self, key: str) -> AsyncIterator[None]:
        """Within the block nobody else is in one of the same `key`."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = lock, users - 1


class TakenOver(Exception):
    """A later comer has ended this turn."""


class Takeovers:
    """One at a time by key, and who comes later ends the turn of who was there before, and waits until it has ended."""

    def __init__(self) -> None:
        self._holders: dict[str, tuple[anyio.CancelScope, asyncio.Event]] = {}

    def is_taken(self, key: str) -> bool:
        """Whether somebody has the turn of `key` now. Any thread may ask."""
        return key in self._holders

    async def end(self, key: str) -> None:
        """End the turn of `key`, if somebody has it."""
        while key in self._holders:
            scope, ended = self._holders[key]
            scope.cancel()
            await ended.wait()

    @contextlib.asynccontextmanager
    async def of(self, key: str) -> AsyncIterator[None]:
        """Within the block nobody else is in one of the same `key`. Raises TakenOver when it was ended from outside."""
        await self.end(key)
        ended = asyncio.Event()
        try:
            with anyio.CancelScope() as scope:
                self._holders[key] = scope, ended
                yield
        finally:
            del self._holders[key]
            ended.set()
        if scope.cancelled_caught:
            raise TakenOver
