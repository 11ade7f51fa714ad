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

Of calls that the gateway makes by itself, with workers that it is lent (`engine/lending.py`; their sockets come over
the passage, see `Lent`):

    KNOWN     platform  calls with that head are for workers of that group (`Known`; the number is the lesson's)
    OFFER     platform  -: keep calls of that group for a moment, a worker may come
    RECALL    platform  -: give back that worker at once (the number is the loan's)
    FORGET    platform  -: forget all that is KNOWN
    FORGOTTEN gateway   -: done (the number is that of FORGET)
    CALLED    gateway   calls that ended well (a list of `Called`)
    ANSWERED  gateway   a request whose call a worker has answered in a way that isn't the gateway's to pass on
                        (`Answered`)
    RETURNED  gateway   a worker is given back (`Returned`), perhaps with the request whose call it runs
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
KNOWN, OFFER, RECALL, FORGET, FORGOTTEN, CALLED, ANSWERED, RETURNED = range(13, 21)

# What comes over the passage with a connection; with a worker it is `Lent`.
CONNECTION = b"\0"

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


class Known(msgspec.Struct, array_like=True):
    """A call but for its input: digest of its head (`call_heads.py`), number of the group, and what its answer says."""

    head: bytes
    group: int
    content_type: str
    output: str
    timing: bool
    source_visible: bool


class Called(msgspec.Struct, array_like=True, gc=False):
    """A call that ended well: number of the lesson, the request's id, seconds in all, seconds that it ran."""

    lesson: int
    request_id: str
    seconds: float
    running: float


class Answered(msgspec.Struct, array_like=True):
    """A call with a worker's answer to it: the lesson, when its request came (`time.perf_counter`, which is the
    machine's); kind, content type and seconds as in the worker's frame, and the body."""

    request: Request
    lesson: int
    since: float
    kind: int
    content_type: int
    seconds: float
    body: bytes


class Running(msgspec.Struct, array_like=True):
    """A call that a worker works on: the lesson, when its request came; number of the stream, its own number, and
    for how many seconds it runs."""

    request: Request
    lesson: int
    since: float
    stream: int
    number: int
    seconds: float


class Returned(msgspec.Struct, array_like=True):
    """What has become of a loan: calls made, number of the latest, whether the process broke the protocol, whether its
    calls take too long for this, and the one that it works on."""

    calls: int
    latest: int
    is_broken: bool
    is_slow: bool
    running: Running | None


class Lent(msgspec.Struct, array_like=True):
    """What comes over the passage together with a worker's socket, both its ends: numbers of loan and group, how many
    calls it may be given, and the number of the latest that it has been given."""

    loan: int
    group: int
    calls: int
    latest: int


encode = msgspec.msgpack.Encoder().encode  # of tuples, in the order of the structures above
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode
decode_line = msgspec.msgpack.Decoder(Line).decode
decode_known = msgspec.msgpack.Decoder(Known).decode
decode_called = msgspec.msgpack.Decoder(list[Called]).decode
decode_answered = msgspec.msgpack.Decoder(Answered).decode
decode_returned = msgspec.msgpack.Decoder(Returned).decode
decode_lent = msgspec.msgpack.Decoder(Lent).decode


def request_of(scope: Any, body: bytes | None, waits: bool) -> tuple[Any, ...]:
    """The members of `Request` for an ASGI scope."""
    return (
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


def decode_count(payload: bytes) -> int:
    """The payload of CREDIT. Raises struct.error."""
    count: int = _COUNT.unpack(payload)[0]
    return count


class Channel(asyncio.Protocol):
    """One end of the socket. What is sent during one turn of the event loop leaves together.

    largest  frame that may come, in bytes
    lost     done once the socket is closed
    """

    def __init__(self, largest: int = MAX_PAYLOAD) -> None:
        self._largest = largest
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._pending: list[bytes] = []
        self._size = 0
        self._is_scheduled = False
        self._rest = b""
        self._parts: list[bytes] = []  # of a frame that is longer than what comes at once
        self._missing = 0
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
        if self._missing:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            self._rest, self._parts, self._missing, data = b"", [], 0, b"".join((self._rest, *self._parts))
        elif self._rest:
            data = self._rest + data
        position, end = 0, len(data)
        unpack, size = HEADER.unpack_from, HEADER.size
        while end - position >= size:
            length, kind, number = unpack(data, position)
            if length > self._largest:
                raise ValueError(f"a frame of {length} bytes")
            stop = position + size + length
            if stop > end:
                self._missing = stop - end
                break
            self.on_frame(kind, number, data[position + size : stop])
            position = stop
        self._rest = data[position:]
