"""A gateway: a process that is given connections, and passes requests to the platform's process and answers back.

It has the TLS files and two sockets to the platform, one for frames and one over which connections come, and nothing
else: no database, no key, no environment. It ends when the platform says so, or is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys

import msgspec
import uvicorn

from ..connections import allow_many_connections, close_stalled, uvicorn_options
from . import frames
from .forwarding import LONGER, Connection, PlatformLink
from .frames import CLOSED, CONNECTION, LOG, READY

_LONGEST = 256  # message over the passage


class Options(msgspec.Struct):
    """What the platform tells a gateway on its command line; the first two are descriptors.

    largest  answer of a worker, in bytes
    """

    link: int
    passage: int
    largest: int
    max_input: int
    request_timeout: float
    shutdown_timeout: float
    tls_cert: str | None = None
    tls_key: str | None = None


class Entrance:
    """Connections that the platform has accepted become uvicorn's, and workers that it lends the link's."""

    def __init__(self, passage: socket.socket, server: uvicorn.Server, link: PlatformLink) -> None:
        self._loop = asyncio.get_running_loop()
        self._passage = passage
        self._server = server
        self._link = link
        link.take_lent = self.take
        self._opening: set[asyncio.Task[None]] = set()
        passage.setblocking(False)
        self._loop.add_reader(passage, self.take)

    def take(self) -> None:
        """Take the connections and workers that have come."""
        while True:
            try:
                content, descriptors, _, _ = socket.recv_fds(self._passage, _LONGEST, 2)
            except OSError:
                return
            if not content:  # the platform has gone; its link says so
                self._loop.remove_reader(self._passage)
                return
            if content != CONNECTION:
                self._link.borrowing.lent(content, descriptors)
                continue
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
    link = PlatformLink(options.largest, options.max_input)
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
            **{**uvicorn_options(options.shutdown_timeout + LONGER), "http": Connection},
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
    link.borrowing.close()
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
