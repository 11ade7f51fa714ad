"""While the platform stops: its address answers the algorithms whose calls still run, and refuses everybody else.

uvicorn closes its listener first and waits for requests in flight then: what an algorithm asks of the platform
meanwhile would find nobody there, and a call that might have ended well fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from .app import error_response
from .errors import Unavailable
from .request_ids import new_uuid

_LAST_WORDS = 1.0


class LastRequests:
    """Answers what comes to a listening socket that others are about to close.

    application  what answers requests with a key that `is_session` knows, given the Authorization header
    options      of uvicorn
    """

    def __init__(self, application: Any, is_session: Callable[[str], bool], options: dict[str, Any]) -> None:
        self._application = application
        self._is_session = is_session
        self._config = uvicorn.Config(self._answer, interface="asgi3", lifespan="off", **options)
        self._state = ServerState()  # nobody waits for these connections: whoever has called does, for the call
        self._server: asyncio.Server | None = None

    async def open(self, listener: socket.socket) -> None:
        """Answer what comes to `listener`, also once its owner has closed it."""
        self._config.load()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, sock=listener.dup())

    async def close(self) -> None:
        """Answer no more; what still runs is told so."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for connection in tuple(self._state.connections):
            connection.shutdown()
        tasks = tuple(self._state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_WORDS)
        for connection in tuple(self._state.connections):
            with contextlib.suppress(AttributeError):  # one that has only just been made
                connection.transport.close()

    def _connection(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self._config.http_protocol_class(  # type: ignore[call-arg]
            config=self._config, server_state=self._state, app_state={}
        )
        return made

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        keys = [value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"]
        if keys and self._is_session(keys[0]):
            await self._application(scope, receive, send)
            return
        refusal = Unavailable("the platform is shutting down")
        refusal.headers["Connection"] = "close"
        await error_response(refusal, f"req-{new_uuid()}")(scope, receive, send)
