"""Workers that speak the frames of `protocol.py` over a private socket: values travel as bytes, never decoded here."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import msgspec

from . import protocol
from .base import CallFailure, ContentType, InvalidInput, Result
from .launch import Launch
from .protocol import HEADER
from .worker import CHUNK, DRAIN_READS, GRACE, SLACK, Link, Worker

# How long the socket's last bytes may take to arrive once the process has ended.
_LAST_BYTES = 0.2


class _Failure(msgspec.Struct):
    """The error members that a worker sends."""

    message: str
    error_type: str = "AlgorithmError"
    stacktrace: str | None = None


_decode_failure = msgspec.json.Decoder(_Failure).decode


class FramesWorker(Worker, asyncio.Protocol):
    """See `Worker`. The command gets the socket's descriptor, the project, the largest result, and its parent's id."""

    def __init__(self, launch: Launch, on_end: Callable[[Worker], None]) -> None:
        super().__init__(launch, on_end)
        self._socket: socket.socket | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._number = 0
        self._buffer = bytearray()
        self._is_connected = False

    async def call(self, content_type: ContentType, body: bytes, seconds: float, timeout: float) -> Result:
        """See `Worker.call`."""
        self._begin()
        self._number = (self._number + 1) & 0xFFFFFFFF
        header = protocol.frame_header(protocol.CALL, content_type, self._number, len(body))
        pending = self._ask()
        assert self._transport is not None
        # One write, unless copying the body would cost more than a second one.
        if len(body) < CHUNK:
            self._transport.write(header + body)
        else:
            self._transport.writelines((header, body))
        result: Result = await self._answer(pending, seconds, f"stopped at the call's timeout of {timeout:g} s")
        return result

    # -- Worker -------------------------------------------------------------------------------------------------

    def _open_link(self, for_us: ExitStack, for_it: ExitStack) -> Link:
        ours, theirs = socket.socketpair()
        for_us.callback(ours.close)
        for_it.callback(theirs.close)
        ours.setblocking(False)
        self._socket = ours
        launch, descriptor = self.launch, theirs.fileno()
        arguments = (str(descriptor), str(launch.project), str(launch.max_result), str(launch.sandbox.parent))
        return Link(arguments, (descriptor,))

    async def _load(self, timeout: float, reason: str) -> str:
        await self._loop.create_unix_connection(lambda: self, sock=self._socket)
        await self._answer(self._ask(), timeout, reason)
        return self._take_output()

    def _hang_up(self) -> bool:
        if self._transport is None or not self._is_connected:
            return False
        self._transport.close()
        return True

    def _last_words(self) -> float:
        return _LAST_BYTES if self._is_connected else 0.0

    def _close_link(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._is_connected = True

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            self._buffer += data
            data = bytes(self._buffer) if self._frame_is_whole() else b""
        elif len(data) < HEADER.size or len(data) < HEADER.size + HEADER.unpack_from(data)[3]:
            self._buffer += data
            self._frame_is_whole()
            return
        if data:
            self._buffer.clear()
            self._on_frame(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_connected = False
        self.is_alive = False
        if self._process is not None and self._process.returncode is not None:
            self._finish()
        else:
            # An algorithm that closes our socket, or hangs at exit, doesn't stay.
            self._loop.call_later(GRACE, self.kill)

    def _frame_is_whole(self) -> bool:
        if len(self._buffer) < HEADER.size:
            return False
        length: int = HEADER.unpack_from(self._buffer)[3]
        if length > self.launch.max_result + SLACK:
            self._break()
            return False
        return len(self._buffer) >= HEADER.size + length

    def _on_frame(self, frame: bytes) -> None:
        kind, content_type, number, length, seconds = HEADER.unpack_from(frame)
        body = frame[HEADER.size :]
        pending: asyncio.Future[Any] | None = self._pending
        if pending is None or pending.done() or number != self._number or len(body) != length:
            self.kill()  # nobody asked: the algorithm got hold of the socket
            return
        self._read_output(DRAIN_READS)
        try:
            if kind == protocol.DONE:
                kind_name: ContentType = protocol.CONTENT_TYPES[content_type]  # type: ignore[assignment]
                pending.set_result(Result(kind_name, body, seconds, self._take_output()))
            elif kind == protocol.READY:
                pending.set_result(None)
            elif kind == protocol.INVALID:
                pending.set_exception(InvalidInput(body.decode("utf-8", "replace")))
            else:
                failure = _decode_failure(body)
                pending.set_exception(
                    CallFailure(
                        failure.message, failure.error_type, failure.stacktrace, seconds, self._take_output()
                    )
                )
        except (msgspec.MsgspecError, IndexError):
            self._break()
