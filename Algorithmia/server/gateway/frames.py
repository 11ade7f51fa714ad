"""What a gateway and the platform's process say to each other, over a socket that nobody else has.

A frame is a header (length of what follows, kind, number of the stream) and a payload. A stream is one request and its
answer. Mostly each is one frame: REQUEST with the whole body, ANSWER with the whole body. Larger ones travel in pieces,
of which no more are on their way than the receiver has given credit for; so neither side keeps more than `WINDOW` bytes
of a stream whose reader is slow, and no stream holds up another.

    kind      from      payload
    REQUEST   gateway   head and, unless it is too long or hasn't come yet, body (`Request`)
    GONE      gateway   -: the client has gone
    ANSWER    platform  status, headers, body (`Answer`)
    START     platform  the same with an empty body: pieces follow
    BROKEN    platform  -: there will be no (more of an) answer
    PIECE     both      some of the body
    LAST      both      the rest of the body
    CREDIT    both      how many more bytes of body may be sent, after the first `WINDOW`. Of a request whose client
                        waits to be told to go on, none may be before that
    READY     gateway   -: it takes connections (stream 0, like what follows)
    CLOSED    gateway   -: one of its connections has ended
    LOG       gateway   something for the platform's log (`Line`)
    STOP      platform  -: finish what runs, end
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import msgspec

HEADER = struct.Struct("<IBI")
_COUNT = struct.Struct("<I")
WINDOW = 256 * 1024
PIECE_SIZE = 64 * 1024
# A head is bounded by `connections.MAX_HEAD_BYTES`, a body or a piece by the line above; the rest is to spare.
MAX_PAYLOAD = 1024 * 1024
_MUCH = 16 * 1024

REQUEST, GONE, ANSWER, START, BROKEN, PIECE, LAST, CREDIT, READY, CLOSED, LOG, STOP = range(1, 13)

Headers = list[tuple[bytes, bytes]]
Address = tuple[str, int | None]


class Request(msgspec.Struct, array_like=True, gc=False):
    """The head of a request in ASGI's words, and its body if that is short and complete.

    waits  whether the client sends no body before it is told to
    """

    method: str
    raw_path: bytes
    query: bytes
    headers: Headers
    version: str
    scheme: str
    client: Address | None
    server: Address | None
    body: bytes | None
    waits: bool


class Answer(msgspec.Struct, array_like=True, gc=False):
    """Status, headers and body."""

    status: int
    headers: Headers
    body: bytes


class Line(msgspec.Struct, array_like=True):
    """Something to log."""

    level: int
    logger: str
    text: str


encode = msgspec.msgpack.Encoder().encode  # of tuples, in the order of the structures above
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode
decode_line = msgspec.msgpack.Decoder(Line).decode


def decode_count(payload: bytes) -> int:
    """The payload of CREDIT. Raises struct.error."""
    count: int = _COUNT.unpack(payload)[0]
    return count


class Channel(asyncio.Protocol):
    """One end of the socket. What is sent during one turn of the event loop leaves together.

    lost  done once the socket is closed
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._pending: list[bytes] = []
        self._size = 0
        self._is_scheduled = False
        self._rest = b""
        self._may_write = asyncio.Event()

    def on_frame(self, kind: int, number: int, payload: bytes) -> None:
        """What has come. An exception closes the socket."""
        raise NotImplementedError

    def before_flush(self) -> None:
        """Last words of this turn of the loop."""

    def send(self, kind: int, number: int, payload: bytes = b"") -> None:
        """Send a frame before this turn of the loop ends; none if the other side has gone."""
        pending = self._pending
        pending.append(HEADER.pack(len(payload), kind, number))
        if payload:
            pending.append(payload)
            self._size += len(payload)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush_scheduled)
        if self._size > _MUCH:
            self._flush()

    def credit(self, number: int, count: int) -> None:
        """Let the other side send so many bytes more."""
        self.send(CREDIT, number, _COUNT.pack(count))

    def schedule(self) -> None:
        """Have `before_flush` called before this turn of the loop ends."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush_scheduled)

    async def writable(self) -> None:
        """Return once the other side has taken most of what was sent, or is gone: for those with much to send."""
        await self._may_write.wait()

    def close(self) -> None:
        """Close the socket once everything is sent."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def _flush_scheduled(self) -> None:
        self._is_scheduled = False
        self.before_flush()
        self._flush()

    def _flush(self) -> None:
        pending = self._pending
        if pending:
            self._pending = []
            self._size = 0
            if self._transport is not None:
                self._transport.write(b"".join(pending))

    # -- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(4 * WINDOW)
        self._may_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._may_write.set()
        if not self.lost.done():
            self.lost.set_result(None)

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        position, end = 0, len(data)
        unpack, size = HEADER.unpack_from, HEADER.size
        while end - position >= size:
            length, kind, number = unpack(data, position)
            if length > MAX_PAYLOAD:
                raise ValueError(f"a frame of {length} bytes")
            stop = position + size + length
            if stop > end:
                break
            self.on_frame(kind, number, data[position + size : stop])
            position = stop
        self._rest = data[position:]
