"""The platform's side of a gateway: requests come as frames, and the application answers them as it does uvicorn's."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ..engine.base import Back, Begun
from ..exchange import EXTENSIONS, WHOLE
from . import frames
from .frames import (
    ANSWER,
    ANSWERED,
    BROKEN,
    CALLED,
    CLOSED,
    CREDIT,
    FORGET,
    FORGOTTEN,
    GONE,
    KNOWN,
    LAST,
    LOG,
    OFFER,
    PIECE,
    PIECE_SIZE,
    READY,
    RECALL,
    REQUEST,
    RETURNED,
    START,
    WINDOW,
    Channel,
)

if TYPE_CHECKING:
    from ..lent_calls import LentCalls, Lesson

log = logging.getLogger("algorithmia.gateway")

# An ASGI application: scope, receive, send.
Application = Callable[[Any, Any, Any], Awaitable[None]]

# Heads that a gateway knows, and seconds for which lessons are kept that it has forgotten.
_MOST_TAUGHT = 1024
_LATE = 10.0

_ASGI = {"version": "3.0", "spec_version": "2.3"}  # what uvicorn says


class GatewayLink(Channel):
    """The end of the socket of one gateway.

    tasks        where the tasks of requests are kept while they run
    lent_calls   hears of the calls that the gateway makes by itself
    largest      answer of a worker, in bytes
    ready        done once the gateway takes connections
    connections  how many it has
    passage      over which it gets connections, and workers
    """

    passage: socket.socket

    def __init__(
        self, application: Application, tasks: set[asyncio.Task[None]], lent_calls: LentCalls, largest: int
    ) -> None:
        super().__init__(frames.MAX_PAYLOAD + largest)
        self.application = application
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.connections = 0
        self._tasks = tasks
        self._lent_calls = lent_calls
        self._streams: dict[int, Stream] = {}
        self._held: list[Stream] = []
        self._lessons: dict[int, Lesson] = {}
        self._taught: dict[bytes, tuple[int, int]] = {}  # digests of heads: numbers of lesson and group
        self._lesson = 0
        self._forgetting: dict[int, asyncio.Future[None]] = {}
        self._forgotten = 0

    def on_frame(self, kind: int, number: int, payload: bytes) -> None:
        if kind == REQUEST:
            self._begin(number, frames.decode_request(payload))
        elif kind == CALLED:
            self._called(frames.decode_called(payload))
        elif kind == CLOSED:
            self.connections -= 1
        elif kind == READY:
            if not self.ready.done():
                self.ready.set_result(None)
        elif kind == LOG:
            line = frames.decode_line(payload)
            logging.getLogger(line.logger).log(line.level, "%s", line.text)
        elif kind == ANSWERED:
            told = frames.decode_answered(payload)
            answer = told.kind, told.content_type, told.seconds, told.body
            self._begin(number, told.request, Begun(self, 0, 0, told.seconds, told.since, answer), told.lesson)
        elif kind == RETURNED:
            self._returned(number, frames.decode_returned(payload))
        elif kind == FORGOTTEN:
            forgetting = self._forgetting.pop(number, None)
            if forgetting is not None:
                forgetting.set_result(None)
        else:
            found = self._streams.get(number)
            if found is not None:  # else it has been answered meanwhile
                found.on_frame(kind, payload)

    def _begin(self, number: int, request: frames.Request, begun: Begun | None = None, lesson: int = 0) -> None:
        stream = self._streams[number] = Stream(self, number, request, begun, self._lessons.get(lesson))
        task = self._loop.create_task(stream.run())
        task.add_done_callback(self._tasks.discard)
        self._tasks.add(task)

    # -- calls that it makes by itself, see `engine.base.Borrower` and `lent_calls.Gateway` -------------------------

    def offer(self, group: int) -> None:
        """A worker of that group may come."""
        self.send(OFFER, group)

    def lend(self, loan: int, group: int, calls: int, number: int, descriptors: tuple[int, int]) -> None:
        """Pass on a worker's socket. Raises OSError."""
        socket.send_fds(self.passage, [frames.encode((loan, group, calls, number))], descriptors)

    def recall(self, loan: int) -> None:
        """Have a worker given back."""
        self.send(RECALL, loan)

    def knows(self, head: bytes, group: int) -> bool:
        """Whether it was taught that calls with this head are for that group."""
        return head in self._taught and self._taught[head][1] == group

    def teach(self, head: bytes, group: int, lesson: Lesson) -> None:
        """Have it make such calls with workers of that group."""
        if len(self._taught) >= _MOST_TAUGHT:
            self.forget()
        if head in self._taught:  # for a group that has gone
            self._drop_later([self._taught[head][0]])
        number = self._lesson = self._lesson % 0xFFFFFFFF + 1
        self._lessons[number] = lesson
        self._taught[head] = number, group
        call, options = lesson.call, lesson.call.options
        known = head, group, call.content_type, options.output, options.timing, call.resolved.source_visible
        self.send(KNOWN, number, frames.encode(known))

    def forget(self) -> asyncio.Future[None]:
        """Have it forget all that; done once it has, or has gone."""
        number = self._forgotten = self._forgotten % 0xFFFFFFFF + 1
        forgetting = self._forgetting[number] = self._loop.create_future()
        self.send(FORGET, number)
        self._drop_later([lesson for lesson, _ in self._taught.values()])
        self._taught.clear()
        if self.lost.done():
            forgetting.set_result(None)
        return forgetting

    def abort(self) -> None:
        """Close the socket now, which ends the gateway."""
        if self._transport is not None:
            self._transport.abort()

    def _drop_later(self, numbers: list[int]) -> None:
        """Forget these lessons, but not at once: the gateway tells of calls that have begun already."""
        self._loop.call_later(_LATE, self._drop_lessons, numbers)

    def _drop_lessons(self, numbers: list[int]) -> None:
        for number in numbers:
            self._lessons.pop(number, None)

    def _called(self, calls: list[frames.Called]) -> None:
        lessons = self._lessons
        self._lent_calls.report(
            (lessons[call.lesson], call.request_id, call.seconds, call.running)
            for call in calls
            if call.lesson in lessons
        )

    def _returned(self, loan: int, told: frames.Returned) -> None:
        running, begun = told.running, None
        if running is not None:
            begun = Begun(self, loan, running.number, running.seconds, running.since)
        back = Back(told.calls, told.latest, told.is_broken, told.is_slow, begun)
        self._lent_calls.returned(self, loan, back)
        if running is not None:
            self._begin(running.stream, running.request, begun, running.lesson)

    # -- answers ----------------------------------------------------------------------------------------------------

    def hold(self, stream: Stream) -> None:
        """`stream` has the head of an answer. What follows in this turn of the loop goes with it."""
        self._held.append(stream)
        self.schedule()

    def before_flush(self) -> None:
        if self._held:
            held, self._held = self._held, []
            for stream in held:
                stream.start()

    def end(self, number: int) -> None:
        """Nothing more is expected for stream `number`."""
        self._streams.pop(number, None)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for stream in tuple(self._streams.values()):
            stream.on_frame(GONE, b"")
        for forgetting in self._forgetting.values():
            forgetting.set_result(None)
        self._forgetting.clear()
        self._lent_calls.remove(self)

    def drop(self, begun: Begun) -> None:
        """Nobody runs this call on, unless somebody has begun to."""
        self._lent_calls.drop(begun)


class Stream:
    """One request: the functions `receive` and `send` that ASGI applications are given.

    gateway, begun, lesson  see `lent_calls.ForwardedRequest`
    """

    __slots__ = (
        "_body",
        "_credit",
        "_has_news",
        "_head",
        "_is_complete",
        "_is_gone",
        "_link",
        "_more_body",
        "_news",
        "_number",
        "_request",
        "_sent",
        "_taken",
        "_waits",
        "begun",
        "gateway",
        "lesson",
    )

    def __init__(
        self, link: GatewayLink, number: int, request: frames.Request, begun: Begun | None, lesson: Lesson | None
    ) -> None:
        self.gateway = self._link = link
        self.begun = begun
        self.lesson = lesson
        self._number = number
        self._request = request
        self._body: list[bytes] = [request.body] if request.body else []
        self._more_body = request.body is None
        self._has_news = not self._more_body
        self._waits = request.waits
        self._news: asyncio.Event | None = None  # for `receive`; made by whoever has to wait
        self._taken = 0  # bytes for which the gateway hasn't got credit again yet
        self._head: Any = None  # of an answer, not sent yet
        self._sent: asyncio.Event | None = None  # for `send`
        self._credit = WINDOW
        self._is_gone = self._is_complete = False

    async def run(self) -> None:
        """Have the application answer; whatever becomes of it, the gateway is told."""
        link, request = self._link, self._request
        raw_path = request.raw_path
        path = raw_path.decode("ascii")
        scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": request.version,
            "method": request.method,
            "scheme": request.scheme,
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": request.query,
            "root_path": "",
            "headers": request.headers,
            "client": request.client,
            "server": request.server,
            "state": {},
            "extensions": EXTENSIONS,
            "forwarded": self,
        }
        try:
            await link.application(scope, self.receive, self.send)
        except asyncio.CancelledError:
            pass  # the end of the platform's patience at shutdown
        except Exception as problem:
            # The application has logged what there is to log; all that is left is to break the connection.
            log.debug("no answer: %s", problem)
        finally:
            link.end(self._number)
            if self.begun is not None:
                link.drop(self.begun)
            if not (self._is_complete or self._is_gone):
                self.start()
                link.send(BROKEN, self._number)

    # -- frames ---------------------------------------------------------------------------------------------------

    def on_frame(self, kind: int, payload: bytes) -> None:
        """What the gateway says of this request."""
        if kind in (PIECE, LAST):
            self._body.append(payload)
            self._more_body = kind == PIECE
            self._has_news = True
        elif kind == GONE:
            self._is_gone = True
        elif kind == CREDIT:
            self._credit += frames.decode_count(payload)
        else:
            raise ValueError(f"a frame of kind {kind}")
        if self._news is not None and kind != CREDIT:
            self._news.set()
        if self._sent is not None and kind in (CREDIT, GONE):
            self._sent.set()

    def start(self) -> None:
        """Send the head of the answer if it is waiting for a body."""
        if self._head is not None:
            (status, headers), self._head = self._head, None
            if not self._is_gone:
                self._link.send(START, self._number, frames.encode((status, headers, b"")))

    # -- ASGI -----------------------------------------------------------------------------------------------------

    async def receive(self) -> dict[str, Any]:
        """What has come of the body; then, once there is nothing more to wait for, that the client has gone."""
        if self._waits:
            self._waits = False
            if not self._is_complete:
                self._link.credit(self._number, WINDOW)
        while not (self._has_news or self._is_gone or self._is_complete):
            if self._news is None:
                self._news = asyncio.Event()
            self._news.clear()
            await self._news.wait()
        # Of a call that has begun the body comes first: it is stopped and counted as others are.
        if self._is_complete or (self._is_gone and not (self.begun is not None and self._has_news)):
            return {"type": "http.disconnect"}
        self._has_news = False
        parts, self._body = self._body, []
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        if self._more_body:
            self._taken += len(body)
            if self._taken >= WINDOW // 2:
                self._link.credit(self._number, self._taken)
                self._taken = 0
        return {"type": "http.request", "body": body, "more_body": self._more_body}

    async def send(self, message: dict[str, Any]) -> None:
        """Send some of the answer, as soon as the gateway can take it. Nothing happens once the client has gone."""
        if self._is_gone or self._is_complete:
            return
        if message["type"] == WHOLE and len(message["body"]) <= PIECE_SIZE:
            self._complete()
            answer = frames.encode((message["status"], message["headers"], message["body"]))
            self._link.send(ANSWER, self._number, answer)
            return
        if message["type"] in ("http.response.start", WHOLE):
            self._head = message["status"], message["headers"]
            self._link.hold(self)
            if message["type"] != WHOLE:
                return
        body = message.get("body", b"")
        is_last = not message.get("more_body", False)
        if self._head is not None and is_last and len(body) <= PIECE_SIZE:
            (status, headers), self._head = self._head, None
            self._complete()
            self._link.send(ANSWER, self._number, frames.encode((status, headers, body)))
            return
        self.start()
        rest = memoryview(body)
        while len(rest) > PIECE_SIZE or (rest and not is_last):
            if not await self._may_send():
                return
            self._send_piece(PIECE, rest[:PIECE_SIZE])
            rest = rest[PIECE_SIZE:]
        if is_last and await self._may_send():
            self._complete()
            self._send_piece(LAST, rest)

    def _send_piece(self, kind: int, piece: memoryview) -> None:
        self._credit -= len(piece)
        self._link.send(kind, self._number, bytes(piece))

    async def _may_send(self) -> bool:
        """Wait until the gateway can take more; whether the client is still there then."""
        while self._credit <= 0 and not self._is_gone:
            if self._sent is None:
                self._sent = asyncio.Event()
            self._sent.clear()
            await self._sent.wait()
        await self._link.writable()
        return not self._is_gone

    def _complete(self) -> None:
        self._is_complete = True
        if self._news is not None:
            self._news.set()
