"""Bytes of large bodies straight between a connection's socket and a file, past the event loop and the HTTP parser.

A large body that goes through the loop is copied five times on its way, in pieces of some kilobytes each. Here a thread
takes over the socket for as long as bytes flow; when they don't, the loop waits for more, so that slow clients cost no
thread. These threads are few, and none of those that everything else waits for. Only for connections that are a plain
socket of this process: neither under TLS nor behind a gateway.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

import anyio
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from httptools import HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

# Of less, the loop makes short work anyway.
WORTHWHILE = 4 * 1024 * 1024
EXTENSION = "algorithmia.direct"

_BUFFER = 1024 * 1024
_MOST_AT_ONCE = 32 * 1024 * 1024
_PAUSE_MS = 2
_PAUSES_SECONDS = 0.1  # in which one that has to pause is done
_THREADS = 16
_threads: RunVar[CapacityLimiter] = RunVar("threads of large bodies")


class Stalled(Exception):
    """The other side has neither sent nor taken anything for too long."""


class Gone(Exception):
    """The other side has closed the connection."""


class DirectConnection(HttpToolsProtocol):
    """uvicorn's protocol, whose socket can be taken over for as long as a body lasts."""

    running: RequestResponseCycle | None = None  # what is being answered; `cycle` is what came last
    _body_bytes = 0
    to_skip = 0  # bytes of a body that was taken over and not wanted to its end

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.is_direct = self.scheme == "http" and transport.get_extra_info("socket") is not None

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._body_bytes = 0
        super().on_message_complete()

    def skip(self, data: bytes) -> bytes:
        """`data` without what still belongs to a body that nobody wants."""
        skipped = min(self.to_skip, len(data))
        self.to_skip -= skipped
        return data[skipped:]

    def take_body(self, scope: Any) -> tuple[bytes, int, int] | None:
        """Stop reading: what has come of the body of the request `scope`, how much hasn't, and the socket. None if the
        body can't be taken over. `body_ended` must follow."""
        cycle = self.cycle
        length = dict(scope["headers"]).get(b"content-length", b"")
        if cycle.scope is not scope or self.transport.is_closing() or not cycle.more_body or not length.isdigit():
            return None
        self.flow.pause_reading()
        if cycle.waiting_for_100_continue:
            cycle.waiting_for_100_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        begun = bytes(cycle.body)
        cycle.body = bytearray()
        return begun, int(length) - self._body_bytes, self._descriptor()

    def body_ended(self, missing: int) -> None:
        """Go on reading behind the body, `missing` bytes of which are still to come."""
        self.to_skip = missing
        self._body_bytes = 0
        self.cycle.more_body = False
        if self.parser is not None:  # the connection isn't lost
            # The parser so far waits for a body that has passed it by.
            self.parser = HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        if not self.transport.is_closing():
            self.flow.resume_reading()

    async def take_answer(self, scope: Any, length: int, patience: float | None) -> int | None:
        """The socket, once what was written before has left, to send the `length` bytes of the answer's body on; None
        if that can't be taken over. The answer must then be ended by an empty message. Raises Stalled."""
        cycle = self.cycle
        if cycle.scope is not scope:
            return None
        pause, waited = 0.0, 0.0
        while not self.transport.is_closing():
            await asyncio.sleep(pause)
            if not self.transport.get_write_buffer_size():
                break
            waited += pause
            if patience is not None and waited > patience:
                self.abandon(scope)
                raise Stalled
            pause = min(0.05, pause + 0.002)
        if self.transport.is_closing() or cycle.chunked_encoding or cycle.expected_content_length != length:
            return None
        cycle.expected_content_length = 0
        return self._descriptor()

    def abandon(self, scope: Any) -> None:
        """Break the connection off in the middle of the answer to the request `scope`."""
        for cycle in (self.cycle, self.running):
            if cycle is not None and cycle.scope is scope:
                cycle.disconnected = True
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn tells the request that came last, which waits for its turn if others are being answered.
        if self.running is not None and not self.running.response_complete:
            self.running.disconnected = True
            self.running.message_event.set()
        super().connection_lost(exc)

    def _descriptor(self) -> int:
        descriptor: int = self.transport.get_extra_info("socket").fileno()
        return descriptor


def connection_of(scope: Any) -> DirectConnection | None:
    """The connection of a request whose body, or whose answer's, can be taken over."""
    found = scope.get("extensions", {}).get(EXTENSION)
    return found if isinstance(found, DirectConnection) and found.is_direct else None


def abandon(scope: Any) -> bool:
    """Break off the connection of the request `scope`, whatever waits to be sent there; whether this process has it."""
    connection = scope.get("extensions", {}).get(EXTENSION)
    if not isinstance(connection, DirectConnection):
        return False
    connection.abandon(scope)
    return True


class _Borrowed:
    """A descriptor of the connection's socket that stays valid when the connection is closed meanwhile."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = os.dup(descriptor)
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> _Borrowed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self.descriptor)

    async def readable(self, patience: float | None) -> None:
        """Raises Stalled when nothing comes for `patience` seconds."""
        await self._wait(self._loop.add_reader, self._loop.remove_reader, patience)

    async def writable(self, patience: float | None) -> None:
        """Raises Stalled when nothing is taken for `patience` seconds."""
        await self._wait(self._loop.add_writer, self._loop.remove_writer, patience)

    async def _wait(self, add: Callable[..., object], remove: Callable[[int], object], patience: float | None) -> None:
        ready = asyncio.Event()
        add(self.descriptor, ready.set)
        try:
            with anyio.fail_after(patience):
                await ready.wait()
        except TimeoutError:
            raise Stalled from None
        finally:
            remove(self.descriptor)


async def receive(
    scope: Any, take: Callable[[memoryview], None], patience: float | None, threads: CapacityLimiter | None = None
) -> bool:
    """Give the body of the request `scope` to `take`, piece by piece, in a thread.

    take      must be done with a piece when it returns
    patience  seconds that nothing may come for
    threads   what bounds the threads, if `take` may have to wait for others; None: some that are for this

    Returns whether that was possible; if not, nothing has been read. Raises Stalled, Gone, and what `take` does.
    """
    connection = connection_of(scope)
    taken = connection.take_body(scope) if connection is not None else None
    if connection is None or taken is None:
        return False
    begun, missing, descriptor = taken
    blocking = partial(anyio.to_thread.run_sync, limiter=threads or _own_threads())
    counter = _Counter(missing)
    try:
        buffer = memoryview(bytearray(min(_BUFFER, missing)))
        with _Borrowed(descriptor) as borrowed:
            if begun:
                await blocking(partial(take, memoryview(begun)))
            while counter.left:
                await blocking(partial(_receive_some, borrowed.descriptor, buffer, counter, take))
                if counter.left:
                    await borrowed.readable(patience)
    finally:
        connection.body_ended(counter.left)
    return True


def _own_threads() -> CapacityLimiter:
    try:
        return _threads.get()
    except LookupError:
        _threads.set(CapacityLimiter(_THREADS))
        return _threads.get()


class _Counter:
    """How much is left."""

    def __init__(self, left: int) -> None:
        self.left = left


def _receive_some(descriptor: int, buffer: memoryview, counter: _Counter, take: Callable[[memoryview], None]) -> None:
    """Receive for as long as something comes, but not for ever. What came before a break is taken, too."""
    stop = max(0, counter.left - _MOST_AT_ONCE)
    deadline = time.monotonic() + _PAUSES_SECONDS
    peer = socket.socket(fileno=os.dup(descriptor))
    with peer:
        waiting = select.poll()
        waiting.register(peer, select.POLLIN)
        paused = gone = False
        while counter.left > stop and not paused:
            filled = 0
            wanted = min(len(buffer), counter.left)
            while filled < wanted:
                try:
                    count = peer.recv_into(buffer[filled:wanted])
                except BlockingIOError:
                    if time.monotonic() > deadline or not waiting.poll(_PAUSE_MS):
                        paused = True
                        break
                    continue
                except ConnectionError:
                    count = 0
                if not count:
                    gone = True
                    break
                filled += count
                counter.left -= count
            if filled:
                take(buffer[:filled])
            if gone:
                raise Gone


async def send(scope: Any, source: int, start: int, length: int, patience: float | None) -> bool:
    """Send `length` bytes from `start` of the open file `source` as the body of the answer to `scope`, whose head has
    been written, in a thread.

    patience  seconds that nothing may be taken for

    Returns whether that was possible; if not, nothing has been sent. Raises Stalled, Gone, OSError.
    """
    connection = connection_of(scope)
    if connection is None or not hasattr(os, "sendfile"):
        return False
    descriptor = await connection.take_answer(scope, length, patience)
    if descriptor is None:
        return False
    blocking = partial(anyio.to_thread.run_sync, limiter=_own_threads())
    try:
        with _Borrowed(descriptor) as borrowed:
            at, end = start, start + length
            while at < end:
                at += await blocking(partial(_send_some, borrowed.descriptor, source, at, end - at))
                if at < end:
                    await borrowed.writable(patience)
    except (Gone, Stalled):
        connection.abandon(scope)
        raise
    return True


def _send_some(descriptor: int, source: int, start: int, length: int) -> int:
    """Send for as long as it's taken, but not for ever; how many bytes that were."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLOUT)
    deadline = time.monotonic() + _PAUSES_SECONDS
    sent = 0
    while sent < min(length, _MOST_AT_ONCE):
        try:
            count = os.sendfile(descriptor, source, start + sent, min(length, _MOST_AT_ONCE) - sent)
        except BlockingIOError:
            if time.monotonic() > deadline or not waiting.poll(_PAUSE_MS):
                break
            continue
        except ConnectionError:
            raise Gone from None
        if not count:
            raise OSError(f"the file ended {length - sent} bytes early")
        sent += count
    return sent
