"""uvicorn's connections with bounds on what it leaves open, and with answers that leave in one piece.

Bounds: the size of a request's head, and how long a client may keep one waiting. Without them, a client without any
credentials could fill the memory with one endless header, or take every file descriptor with connections on which
nothing ever comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

MAX_HEAD_BYTES = 64 * 1024
_LONGEST_PAUSE = 10.0
_MOST_FILES = 65536
_MUCH = 16 * 1024

_TOO_LARGE = b"the head of the request is too large"
_REFUSAL = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (
    len(_TOO_LARGE),
    _TOO_LARGE,
)


class _JoinedWrites:
    """A transport whose small writes of one turn of the event loop leave together.

    uvicorn writes the head of an answer and its body one by one: each would be a packet, and wake the client up.
    """

    __slots__ = ("_call_soon", "_is_scheduled", "_pending", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._call_soon = loop.call_soon
        self._pending: list[bytes] = []
        self._is_scheduled = False

    def write(self, data: bytes) -> None:
        """Write `data` before this turn of the loop ends; at once if there is much of it."""
        if not data:
            return
        self._pending.append(data)
        if len(data) > _MUCH:
            self._flush()
        elif not self._is_scheduled:
            self._is_scheduled = True
            self._call_soon(self._flush_scheduled)

    def close(self) -> None:
        """Close once everything is written."""
        self._flush()
        self._transport.close()

    def _flush_scheduled(self) -> None:
        self._is_scheduled = False
        self._flush()

    def _flush(self) -> None:
        pending = self._pending
        if pending:
            self._pending = []
            self._transport.write(pending[0] if len(pending) == 1 else b"".join(pending))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's protocol, counting what comes besides bodies, and remembering when something came."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_JoinedWrites(transport, self.loop))  # type: ignore[arg-type]
        # What came since the last sign of a request or of its body: head, trailers, chunk extensions.
        self._head_bytes = 0
        self._heard = self._head_since = self.loop.time()
        self._in_head = True

    def data_received(self, data: bytes) -> None:
        self._heard = self.loop.time()
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            if self.cycle is None or self.cycle.response_complete:
                self.transport.write(_REFUSAL)
            self.transport.close()

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        self._head_since = self._heard
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._in_head = False

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def close_if_stalled(self, now: float, limit: float) -> None:
        """Break the connection if its client has owed us something for more than `limit` seconds."""
        if self._in_head:
            is_stalled = now - self._head_since > limit
        elif self.cycle.response_complete:
            # Between requests uvicorn has a timer of its own, until anything comes.
            is_stalled = self.timeout_keep_alive_task is None and now - self._heard > limit
        else:
            # Later than a handler that has a limit of its own: it answers in words.
            is_stalled = self.cycle.more_body and not self.flow.read_paused and now - self._heard > 1.25 * limit + 1
        if is_stalled:
            self.transport.close()


def uvicorn_options(shutdown_timeout: float) -> dict[str, Any]:
    """How uvicorn serves, whichever process runs it."""
    return {
        "http": BoundedConnection,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,  # nobody asks for the client's address
        "timeout_graceful_shutdown": int(shutdown_timeout),
        "timeout_keep_alive": 75,
        "ws": "none",
    }


def adopter(
    server: uvicorn.Server, state: ServerState | None = None
) -> Callable[[socket.socket], Awaitable[asyncio.Server]]:
    """A function that has `server`, which runs, answer what comes to one more listening socket until that is closed.

    state  keeps the connections, for which `server` then doesn't wait when it ends; nor does it close them
    """

    def connection() -> asyncio.Protocol:
        config = server.config
        made: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
            config=config, server_state=state or server.server_state, app_state=server.lifespan.state
        )
        return made

    async def adopt(listener: socket.socket) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(connection, sock=listener)

    return adopt


async def close_stalled(connections: set[Any], limit: float) -> None:
    """Break stalled connections, for as long as this isn't cancelled."""
    now = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(min(_LONGEST_PAUSE, limit / 4))
        for connection in tuple(connections):
            connection.close_if_stalled(now(), limit)


def allow_many_connections() -> None:
    """Raise the limit of open files, which connections count against, as far as the system lets everybody."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(_MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS allows fewer than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
