"""A gateway: a process that is given connections, and passes requests to the platform's process and answers back.

It has the TLS files and two sockets to the platform, one for frames and one over which connections come, and nothing
else: no database, no key, no environment. It ends when the platform says so, or is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections import deque
from typing import Any

import msgspec
import uvicorn

from ..connections import BoundedConnection, allow_many_connections, close_stalled, uvicorn_options
from . import frames
from .frames import (
    ANSWER,
    BROKEN,
    CLOSED,
    CREDIT,
    GONE,
    LAST,
    LOG,
    PIECE,
    PIECE_SIZE,
    READY,
    REQUEST,
    START,
    STOP,
    WINDOW,
)

# Seconds beyond the platform's own patience at shutdown: it ends what takes too long, and says so to the client.
_LONGER = 5


class Options(msgspec.Struct):
    """What the platform tells a gateway on its command line; the first two are descriptors."""

    link: int
    passage: int
    request_timeout: float
    shutdown_timeout: float
    tls_cert: str | None = None
    tls_key: str | None = None


class Connection(BoundedConnection):
    """A client's connection, which tells the request that is being answered when the client has gone."""

    stream: Stream | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._link: PlatformLink = self.app_state["link"]
        self.app_state = {"connection": self}  # part of each request's scope

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.app_state = {}
        self._link.send(CLOSED, 0)
        if self.stream is not None:
            self.stream.leave()


class PlatformLink(frames.Channel):
    """The socket to the platform, and the ASGI application over it."""

    def __init__(self) -> None:
        super().__init__()
        self._streams: dict[int, Stream] = {}
        self._number = 0
        self.stop: asyncio.Future[None] = self._loop.create_future()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        connection: Connection = scope["state"]["connection"]
        number = self._number = self._number % 0xFFFFFFFF + 1
        stream = self._streams[number] = connection.stream = Stream(self, number)
        cycle = connection.cycle
        if cycle.scope is scope and not cycle.more_body and len(cycle.body) <= PIECE_SIZE:
            waits, body = cycle.waiting_for_100_continue, bytes(cycle.body)
        else:  # not all here yet; or one of several that were sent without waiting for answers
            waits, body = any(name == b"expect" for name, _ in scope["headers"]), None
        if waits:
            body = None
        try:
            head = (
                scope["method"],
                scope["raw_path"],
                scope["query_string"],
                scope["headers"],
                scope["http_version"],
                scope["scheme"],
                scope["client"],
                scope["server"],
                body,
                waits,
            )
            self.send(REQUEST, number, frames.encode(head))
            if cycle.disconnected:
                stream.leave()
            elif body is None:
                stream.forward(receive, 0 if waits else WINDOW)
            await stream.answer(send)
        finally:
            connection.stream = None
            del self._streams[number]
            stream.end()

    def on_frame(self, kind: int, number: int, payload: bytes) -> None:
        if kind == STOP:
            if not self.stop.done():
                self.stop.set_result(None)
            return
        stream = self._streams.get(number)
        if stream is not None:  # else its client has gone
            stream.on_frame(kind, payload)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self.stop.done():
            os._exit(1)  # killed: nobody can be answered any more
        self._loop.call_later(_LONGER, os._exit, 1)  # for what clients have not taken yet
        for stream in tuple(self._streams.values()):
            stream.on_frame(BROKEN, b"")


class Stream:
    """One request and its answer."""

    def __init__(self, link: PlatformLink, number: int) -> None:
        self._link = link
        self._number = number
        self._frames: deque[tuple[int, bytes]] = deque()
        self._news: asyncio.Future[None] | None = None
        self._credit = 0
        self._has_credit: asyncio.Event | None = None
        self._forwarding: asyncio.Task[None] | None = None
        self._has_left = self._is_answered = False

    def on_frame(self, kind: int, payload: bytes) -> None:
        """What the platform says to this request."""
        if kind == CREDIT:
            self._credit += frames.decode_count(payload)
            if self._has_credit is not None:
                self._has_credit.set()
            return
        self._frames.append((kind, payload))
        self._wake()

    def leave(self) -> None:
        """The client has gone."""
        if not self._has_left:
            self._has_left = True
            self._link.send(GONE, self._number)
            self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def answer(self, send: Any) -> None:
        """Give the client the platform's answer, to its end or the client's. Without an end, uvicorn breaks the
        connection."""
        taken = 0
        while not self._has_left:
            if not self._frames:
                self._news = self._link.lost.get_loop().create_future()
                await self._news
                continue
            kind, payload = self._frames.popleft()
            if kind in (ANSWER, START):
                answer = frames.decode_answer(payload)
                await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
                if kind == ANSWER:
                    self._is_answered = True
                    await send({"type": "http.response.body", "body": answer.body})
                    return
            elif kind in (PIECE, LAST):
                await send({"type": "http.response.body", "body": payload, "more_body": kind == PIECE})
                if kind == LAST:
                    self._is_answered = True
                    return
                taken += len(payload)
                if taken >= WINDOW // 2:
                    self._link.credit(self._number, taken)
                    taken = 0
            else:  # BROKEN
                self._is_answered = True
                return

    def forward(self, receive: Any, credit: int) -> None:
        """Pass the body on as it comes, beginning with `credit` bytes."""
        self._credit = credit
        self._has_credit = asyncio.Event()
        self._forwarding = asyncio.get_running_loop().create_task(self._forward(receive))

    async def _forward(self, receive: Any) -> None:
        assert self._has_credit is not None
        link, number = self._link, self._number
        more_body = True
        while more_body:
            while self._credit <= 0:
                self._has_credit.clear()
                await self._has_credit.wait()
            await link.writable()
            message = await receive()
            if message["type"] == "http.disconnect":
                return  # the connection has said so, or the answer is complete
            rest = memoryview(message["body"])
            more_body = message["more_body"]
            self._credit -= len(rest)
            while len(rest) > PIECE_SIZE:
                link.send(PIECE, number, bytes(rest[:PIECE_SIZE]))
                rest = rest[PIECE_SIZE:]
            if rest or not more_body:
                link.send(PIECE if more_body else LAST, number, bytes(rest))

    def end(self) -> None:
        """It has been answered, or nobody waits for the answer."""
        if not self._is_answered:
            self.leave()
        if self._forwarding is not None:
            self._forwarding.cancel()


class Entrance:
    """Connections that the platform has accepted become uvicorn's."""

    def __init__(self, passage: socket.socket, server: uvicorn.Server, link: PlatformLink) -> None:
        self._loop = asyncio.get_running_loop()
        self._passage = passage
        self._server = server
        self._link = link
        self._opening: set[asyncio.Task[None]] = set()
        passage.setblocking(False)
        self._loop.add_reader(passage, self.take)

    def take(self) -> None:
        """Take the connections that have come."""
        while True:
            try:
                content, descriptors, _, _ = socket.recv_fds(self._passage, 1, 1)
            except OSError:
                return
            if not content:  # the platform has gone; its link says so
                self._loop.remove_reader(self._passage)
                return
            if not descriptors:  # there was none left for it
                self._link.send(CLOSED, 0)
                continue
            task = self._loop.create_task(self._open(socket.socket(fileno=descriptors[0])))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            await self._loop.connect_accepted_socket(self._connection, connection, ssl=self._server.config.ssl)
        except OSError:  # a client that doesn't speak TLS, or has gone already
            connection.close()
            self._link.send(CLOSED, 0)

    def _connection(self) -> asyncio.Protocol:
        return Connection(self._server.config, self._server.server_state, {"link": self._link})


class _LogToPlatform(logging.Handler):
    """Warnings and errors go into the platform's log."""

    def __init__(self, link: PlatformLink) -> None:
        super().__init__(logging.WARNING)
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        self._link.send(LOG, 0, frames.encode((record.levelno, record.name, self.format(record)[:4096])))


async def _serve(options: Options) -> None:
    loop = asyncio.get_running_loop()
    link = PlatformLink()
    await loop.create_unix_connection(lambda: link, sock=socket.socket(fileno=options.link))
    logging.getLogger().handlers[:] = [_LogToPlatform(link)]

    entrance: Entrance

    class Server(uvicorn.Server):
        """uvicorn, saying when it is ready."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            nonlocal entrance
            await super().startup(sockets)
            entrance = Entrance(socket.socket(fileno=options.passage), self, link)
            link.send(READY, 0)

    server = Server(
        uvicorn.Config(
            link,
            ssl_certfile=options.tls_cert,
            ssl_keyfile=options.tls_key,
            lifespan="off",
            **{**uvicorn_options(options.shutdown_timeout + _LONGER), "http": Connection},
        )
    )
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]

    def stop(_: asyncio.Future[None]) -> None:
        entrance.take()  # what was accepted before
        server.should_exit = True

    link.stop.add_done_callback(stop)
    limit = options.request_timeout
    watching = loop.create_task(close_stalled(server.server_state.connections, limit)) if limit > 0 else None
    # What is here now stays; what comes is mostly gone before anybody need look for cycles.
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    await server.serve(sockets=[])
    if watching is not None:
        watching.cancel()
    link.close()


def main() -> None:
    """The program: one argument, `Options` as JSON."""
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the platform, which says when to stop
        signal.signal(number, signal.SIG_IGN)
    options = msgspec.json.decode(sys.argv[1], type=Options)
    allow_many_connections()
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve(options))
    else:
        uvloop.run(_serve(options))


if __name__ == "__main__":
    main()
