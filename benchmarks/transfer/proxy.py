"""A TCP proxy that does harm: it breaks, cuts short, stalls, repeats and damages what passes, at given offsets.

Offsets count the bytes of one direction over all connections since `Proxy.arm`, so that each fault comes once, wherever
in requests, answers or contents that is, and repeated requests have their share. It runs on a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

UP, DOWN = "up", "down"
DROP, TRUNCATE, STALL, DUPLICATE, FLIP, ACT = "drop", "truncate", "stall", "duplicate", "flip", "act"
_PIECE = 128 * 1024
_START_LIMIT = 10.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done when byte number `offset` of `direction` is about to pass.

    kind      DROP resets both sides, TRUNCATE ends both in good order, STALL pauses for `seconds` and goes on,
              DUPLICATE sends the `count` bytes before it once more, FLIP changes bit number `count` of it, ACT calls
              `action` after `seconds`, on the proxy's thread
    """

    kind: str
    direction: str
    offset: int
    seconds: float = 0.0
    count: int = 0
    action: Callable[[], None] | None = None


class Proxy:
    """A context; `port` is where it listens. It connects to `target`, a port of this machine that may change.

    patience  seconds after which a silent connection that was damaged is dropped: what is waited for may never come
    """

    def __init__(self, target: int, patience: float = 4.0) -> None:
        self.target = target
        self.port = 0
        self.passed = {UP: 0, DOWN: 0}
        self.done: list[Fault] = []
        self.patience = patience
        self._waiting: dict[str, list[Fault]] = {UP: [], DOWN: []}
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def arm(self, faults: Sequence[Fault] = ()) -> None:
        """Forget what passed and what was to be done; from now on do `faults`. Connections from before are dropped."""
        self._call(self._arm(faults))

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_LIMIT)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=2 * _PIECE)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _arm(self, faults: Sequence[Fault]) -> None:
        await self._drop_all()
        self.passed = {UP: 0, DOWN: 0}
        self.done = []
        for direction in (UP, DOWN):
            mine = [fault for fault in faults if fault.direction == direction]
            self._waiting[direction] = sorted(mine, key=lambda fault: fault.offset)

    async def _close(self) -> None:
        self._server.close()
        await self._drop_all()

    async def _drop_all(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not by asyncio's own task: it would be reported when it is cancelled.
        task = self._loop.create_task(self._serve(_Side(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: _Side) -> None:
        try:
            server = _Side(*await asyncio.open_connection("127.0.0.1", self.target, limit=2 * _PIECE))
        except OSError:
            client.reset()
            return
        connection = _Connection(self, client, server)
        try:
            await connection.run()
        finally:
            for side in (client, server):
                side.reset()

    def next_fault(self, direction: str, size: int) -> Fault | None:
        """The first fault that falls into the next `size` bytes of `direction`; it counts as done."""
        waiting = self._waiting[direction]
        if not waiting or waiting[0].offset >= self.passed[direction] + size:
            return None
        self.done.append(waiting[0])
        return waiting.pop(0)

class _Side:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def reset(self) -> None:
        """Close it as if the machine had gone away; nothing if it has been closed."""
        with contextlib.suppress(OSError):
            sock = self.writer.get_extra_info("socket")
            if sock is not None and not self.writer.is_closing():
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def end(self) -> None:
        """Close it in good order, after everything that was written."""
        with contextlib.suppress(OSError):
            self.writer.close()
            await self.writer.wait_closed()


class _Ended(Exception):
    """The connection is over."""


class _Connection:
    """Both directions of one connection."""

    def __init__(self, proxy: Proxy, client: _Side, server: _Side) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._is_damaged = False

    async def run(self) -> None:
        ways = [
            asyncio.ensure_future(self._pump(UP, self._client, self._server)),
            asyncio.ensure_future(self._pump(DOWN, self._server, self._client)),
        ]
        try:
            await asyncio.gather(*ways)
        except (_Ended, OSError):
            pass
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pump(self, direction: str, source: _Side, target: _Side) -> None:
        while True:
            data = await self._read(source)
            if not data:
                target.writer.write_eof()
                if direction == DOWN:
                    await target.end()
                    raise _Ended  # whoever answers has the last word
                return
            while data:
                fault = self._proxy.next_fault(direction, len(data))
                whole = len(data) if fault is None else max(0, fault.offset - self._proxy.passed[direction])
                await self._write(direction, target, data[:whole])
                if fault is not None:
                    data = data[:whole] + await self._harm(fault, source, target, data[:whole], data[whole:])
                data = data[whole:]

    async def _read(self, source: _Side) -> bytes:
        while True:
            try:
                return await asyncio.wait_for(source.reader.read(_PIECE), self._proxy.patience)
            except asyncio.TimeoutError:
                if self._is_damaged:
                    raise _Ended from None

    async def _write(self, direction: str, target: _Side, data: bytes) -> None:
        if data:
            target.writer.write(data)
            await target.writer.drain()
            self._proxy.passed[direction] += len(data)

    async def _harm(self, fault: Fault, source: _Side, target: _Side, before: bytes, after: bytes) -> bytes:
        """Do it; returns what comes after it."""
        if fault.kind == DROP:
            source.reset()
            target.reset()
            raise _Ended
        if fault.kind == TRUNCATE:
            await target.end()
            await source.end()
            raise _Ended
        if fault.kind == FLIP:
            self._is_damaged = True
            return bytes([after[0] ^ (1 << fault.count % 8)]) + after[1:]
        if fault.kind == DUPLICATE:
            self._is_damaged = True
            target.writer.write(before[-fault.count :] or after[: fault.count])
            return after
        await asyncio.sleep(fault.seconds)
        if fault.kind == ACT and fault.action is not None:
            fault.action()
        return after
