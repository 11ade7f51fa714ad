"""In a gateway: requests go to the platform's process, and answers to clients.

A request is an ASGI application's, which `PlatformLink` is. Most are short and all here when their head is, and so are
their answers: for these there is no task to be made and woken up, which would be a third of what a gateway has to do.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from time import perf_counter
from typing import Any

from ..connections import BoundedConnection
from ..exchange import WHOLE
from ..joined_writes import turn_of
from ..services.call_documents import Answer
from . import frames
from .borrowed import Asked
from .borrowing import Borrowing
from .frames import (
    ANSWER,
    BROKEN,
    CLOSED,
    CREDIT,
    FORGET,
    GONE,
    KNOWN,
    LAST,
    OFFER,
    PIECE,
    PIECE_SIZE,
    RECALL,
    REQUEST,
    START,
    STOP,
    WINDOW,
)

log = logging.getLogger("algorithmia.gateway")

# Seconds beyond the platform's own patience at shutdown: it ends what takes too long, and says so to the client.
LONGER = 5

# Takes what the platform says of a request: the kind of a frame, and its payload.
OnFrame = Callable[[int, bytes], None]


class Connection(BoundedConnection):
    """A client's connection.

    stream  the request that is being answered, if it isn't one that was sent whole
    """

    stream: Stream | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._link: PlatformLink = self.app_state["link"]
        self.app_state = {"connection": self}  # part of each request's scope
        self._number = 0  # of the request that was sent whole
        self._asked: Asked | None = None  # the call that was given to a worker
        self._sent: Any = None  # what uvicorn has of it
        self._is_reading = False
        self._new: tuple[Any, Any] | None = None  # a request whose head is in what is being read

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.app_state = {}
        self._link.send(CLOSED, 0)
        if self._asked is not None:
            self._asked.is_wanted = False
            self._asked = None
        if self._number:
            self._link.forget(self._number)
            self._link.send(GONE, self._number)
        self._sent = None  # it and this would keep each other in memory
        if self.stream is not None:
            self.stream.leave()

    def data_received(self, data: bytes) -> None:
        self._is_reading = True
        super().data_received(data)
        self._is_reading = False
        if self._new is not None:
            (cycle, app), self._new = self._new, None
            self._begin(cycle, app)

    # uvicorn has a head here, and begins with the request. (One that doesn't call this has the application do all.)
    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if self._is_reading:
            self._new = cycle, app  # what came with the head is read first
        else:
            self.loop.call_soon(self._begin, cycle, app)

    def _begin(self, cycle: Any, app: Any) -> None:
        if cycle.more_body or cycle.waiting_for_100_continue or cycle.disconnected or len(cycle.body) > PIECE_SIZE:
            super()._start_asgi_task(cycle, app)
            return
        self._sent = cycle
        link, scope, body = self._link, cycle.scope, bytes(cycle.body)
        head = link.borrowing.find(scope, len(body))
        if head is not None:
            self._asked = Asked(head, scope, body, perf_counter(), self._on_result, self._forwarded)
            link.borrowing.call(self._asked)
        else:
            self._number = link.request(self._on_frame, scope, body, False)

    def _forwarded(self, number: int) -> None:
        """The platform's process answers what a worker was to, as stream `number`."""
        self._asked = None
        self._number = number
        self._link.expect(number, self._on_frame)

    def _on_result(self, answer: Answer, request_id: str) -> None:
        """The answer to a call by a worker of this gateway's."""
        cycle, self._sent, self._asked = self._sent, None, None
        headers = [
            (b"content-length", b"%d" % len(answer.body)),
            (b"content-type", answer.media_type.encode("latin-1")),
            (b"x-request-id", request_id.encode("ascii")),
        ]
        if self.flow.write_paused:
            message = {"type": WHOLE, "status": answer.status, "headers": headers, "body": answer.body}
            super()._start_asgi_task(cycle, partial(_whole, message))
            return
        cycle.answer(answer.status, headers, answer.body)
        cycle.on_response = _nothing

    def _on_frame(self, kind: int, payload: bytes) -> None:
        """The answer to a request that was sent whole, or its beginning."""
        link, number, cycle = self._link, self._number, self._sent
        self._number, self._sent = 0, None
        if kind != ANSWER or self.flow.write_paused:
            stream = Stream(link, number)
            link.expect(number, stream.on_frame)
            stream.on_frame(kind, payload)
            super()._start_asgi_task(cycle, partial(_continue, stream))
            return
        link.forget(number)
        answer = frames.decode_answer(payload)
        try:
            if (b"content-length", b"%d" % len(answer.body)) in answer.headers:
                cycle.answer(answer.status, answer.headers, answer.body)
                cycle.on_response = _nothing  # else the connection and it would keep each other in memory
                return
            _now(cycle.send({"type": "http.response.start", "status": answer.status, "headers": answer.headers}))
            if self.flow.write_paused:
                super()._start_asgi_task(cycle, partial(_end, answer.body))
                return
            _now(cycle.send({"type": "http.response.body", "body": answer.body}))
            cycle.on_response = _nothing
        except Exception:
            log.exception("an answer that can't be sent")
            self.transport.close()


def _nothing() -> None:
    """Done already."""


def _now(sending: Coroutine[Any, Any, None]) -> None:
    """Run what doesn't wait for anything."""
    try:
        sending.send(None)
    except StopIteration:
        return
    raise RuntimeError("uvicorn waits to send, though it may write")


async def _whole(message: dict[str, Any], scope: Any, receive: Any, send: Any) -> None:
    """The application that answers with `message` once the client takes more."""
    await send(message)


async def _end(body: bytes, scope: Any, receive: Any, send: Any) -> None:
    """The application that sends the rest of an answer."""
    await send({"type": "http.response.body", "body": body})


async def _continue(stream: Stream, scope: Any, receive: Any, send: Any) -> None:
    """The application that answers as `stream` says."""
    connection: Connection = scope["state"]["connection"]
    connection.stream = stream
    if connection.transport.is_closing():
        stream.leave()
    try:
        await stream.answer(send)
    finally:
        connection.stream = None
        stream.end()


class PlatformLink(frames.Channel):
    """The socket to the platform, and the ASGI application over it.

    largest    answer of a worker, and `max_input` of a call, in bytes
    borrowing  the calls that need not go over it
    take_lent  takes the workers that have come
    """

    take_lent: Callable[[], None]

    def __init__(self, largest: int, max_input: int) -> None:
        super().__init__()
        self.borrowing = Borrowing(self, largest, max_input)
        self._streams: dict[int, OnFrame] = {}
        self._number = 0
        self._turn = turn_of(self._loop)
        self.stop: asyncio.Future[None] = self._loop.create_future()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        waits = any(name == b"expect" for name, _ in scope["headers"])
        stream = Stream(self)
        stream.number = self.request(stream.on_frame, scope, None, waits)
        stream.forward(receive, 0 if waits else WINDOW)
        await _continue(stream, scope, receive, send)

    def request(self, on_frame: OnFrame, scope: Any, body: bytes | None, waits: bool) -> int:
        """Pass on the request of `scope`, whose answer is for `on_frame`; its number."""
        number = self.next_number()
        self._streams[number] = on_frame
        self.send(REQUEST, number, frames.encode(frames.request_of(scope, body, waits)))
        return number

    def next_number(self) -> int:
        """A number for one more request."""
        self._number = self._number % 0xFFFFFFFF + 1
        return self._number

    def expect(self, number: int, on_frame: OnFrame) -> None:
        """What comes for request `number` is for `on_frame` from now on."""
        self._streams[number] = on_frame

    def forget(self, number: int) -> None:
        """Nothing more is expected for request `number`."""
        self._streams.pop(number, None)

    def data_received(self, data: bytes) -> None:
        self._turn.during(super().data_received, data)  # answers to many connections

    def on_frame(self, kind: int, number: int, payload: bytes) -> None:
        on_frame = self._streams.get(number) if kind < STOP else None
        if on_frame is not None:
            on_frame(kind, payload)
        elif kind == KNOWN:
            self.borrowing.known(number, payload)
        elif kind == OFFER:
            self.borrowing.offered(number)
        elif kind == RECALL:
            self.take_lent()  # that one was sent before
            self.borrowing.recall(number)
        elif kind == FORGET:
            self.borrowing.forget(number)
        elif kind == STOP and not self.stop.done():
            self.stop.set_result(None)
        # else a client has gone, for whom it was

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self.stop.done():
            os._exit(1)  # killed: nobody can be answered any more
        self._loop.call_later(LONGER, os._exit, 1)  # for what clients have not taken yet
        for on_frame in tuple(self._streams.values()):
            on_frame(BROKEN, b"")


class Stream:
    """A request and its answer, in pieces."""

    def __init__(self, link: PlatformLink, number: int = 0) -> None:
        self.number = number
        self._link = link
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
            self._link.send(GONE, self.number)
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
                    self._link.credit(self.number, taken)
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
        link, number = self._link, self.number
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
        self._link.forget(self.number)
        if not self._is_answered:
            self.leave()
        if self._forwarding is not None:
            self._forwarding.cancel()
