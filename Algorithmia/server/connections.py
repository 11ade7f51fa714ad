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
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.server import ServerState

from .direct import EXTENSION, DirectConnection
from .exchange import EXTENSIONS, Exchange
from .joined_writes import JoinedWrites

MAX_HEAD_BYTES = 64 * 1024
_LONGEST_PAUSE = 10.0
_MOST_FILES = 65536

_TOO_LARGE = b"the head of the request is too large"
_ASGI: Any = {"version": "3.0", "spec_version": "2.3"}
_REFUSAL = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (
    len(_TOO_LARGE),
    _TOO_LARGE,
)


class BoundedConnection(DirectConnection):
    """uvicorn's protocol, counting what comes besides bodies, and remembering when something came."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(JoinedWrites(transport, self.loop))  # type: ignore[arg-type]
        # What came since the last sign of a request or of its body: head, trailers, chunk extensions.
        self._head_bytes = 0
        self._heard = self._head_since = self.loop.time()
        self._in_head = True
        self._extensions = {**EXTENSIONS, EXTENSION: self}
        self._idle_since = 0.0  # when the last answer was complete; 0 once more has come

    def connection_lost(self, exc: Exception | None) -> None:
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._heard = self.loop.time()
        if self.to_skip:
            data = self.skip(data)
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
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        scope: Any = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "headers": self.headers,
            "state": self.app_state.copy(),
            "extensions": self._extensions,
        }
        self.scope = scope

    def on_headers_complete(self) -> None:
        # As uvicorn's, without what this server doesn't use: websockets, a root path, a limit of connections.
        scope: Any = self.scope
        parser, url = self.parser, self.url
        version = parser.get_http_version()
        scope["method"] = parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        if url.startswith(b"/") and b"#" not in url:
            raw_path, _, query = url.partition(b"?")
        else:
            parsed = httptools.parse_url(url)
            raw_path, query = parsed.path, parsed.query or b""
        path = raw_path.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw_path
        scope["query_string"] = query
        before = self.cycle
        self.cycle = Exchange(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        self._in_head = False
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self.running = cycle
        task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    # -- between requests: one timer for many of them -----------------------------------------------------------------

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = 0.0

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._close_if_idle_after(self.timeout_keep_alive)

    def _close_if_idle_after(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since and not self.transport.is_closing():
            left = self._idle_since + self.timeout_keep_alive - self.loop.time()
            if left > 0:
                self._close_if_idle_after(left)
            else:
                self.transport.close()

    def body_ended(self, missing: int) -> None:
        self._heard = self.loop.time()
        super().body_ended(missing)

    def close_if_stalled(self, now: float, limit: float) -> None:
        """Break the connection if its client has owed us something for more than `limit` seconds."""
        if self._in_head:
            is_stalled = now - self._head_since > limit
        elif self.cycle.response_complete:
            # Between requests there is a timer, until anything comes.
            is_stalled = not self._idle_since and now - self._heard > limit
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
