"""Work ends when the client that waits for it goes away.

Only work that takes long is worth listening for that: most has ended sooner. So there is one timer for all of it, which
begins to listen for those that are still there, instead of one each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

# Seconds after which listening begins, more or less.
_LISTEN_AFTER = 0.05

Receive = Callable[[], Awaitable[Any]]


class Wait:
    """One task that a client waits for. `has_left`: whether it was cancelled because the client has gone."""

    __slots__ = ("has_left", "listening", "receive", "since", "task")

    def __init__(self, receive: Receive, task: asyncio.Task[Any] | None, since: float) -> None:
        self.receive = receive
        self.task = task
        self.since = since
        self.has_left = False
        self.listening: asyncio.Task[None] | None = None

    async def listen(self) -> None:
        """Cancel the task once the client has gone."""
        while (await self.receive())["type"] != "http.disconnect":
            pass
        self.has_left = True
        if self.task is not None:
            self.task.cancel()


class Departures:
    """Cancels tasks whose clients go away. For one event loop."""

    def __init__(self) -> None:
        self._recent: dict[Wait, None] = {}  # nobody listens for them yet; the oldest first
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, receive: Receive) -> Wait:
        """Cancel the running task when its client goes away, until `forget`. `receive` is ASGI's; the request's body
        has been read."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        wait = Wait(receive, asyncio.current_task(loop), loop.time())
        self._recent[wait] = None
        if self._timer is None:
            self._timer = loop.call_later(_LISTEN_AFTER, self._listen)
        return wait

    def forget(self, wait: Wait) -> None:
        """The work is done, or has been given up."""
        if wait.listening is None:
            del self._recent[wait]
        else:
            wait.listening.cancel()

    def _listen(self) -> None:
        """Begin to listen for those that have been there for long enough."""
        assert self._loop is not None
        self._timer = None
        latest = self._loop.time() - _LISTEN_AFTER
        for wait in tuple(self._recent):
            if wait.since > latest:
                self._timer = self._loop.call_at(wait.since + _LISTEN_AFTER, self._listen)
                return
            del self._recent[wait]
            wait.listening = self._loop.create_task(wait.listen())
