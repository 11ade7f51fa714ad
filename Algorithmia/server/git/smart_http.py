"""Smart HTTP: a bridge between ASGI and ``git http-backend``, streaming both ways with bounded memory.

One git process per request, in a group of its own, which ends with the request. A push is special at its end: once all
of it has come it is carried through, whether or not the pusher is still there; its post-receive hook talks to the
bridge over a socket that it inherits, and what `Exchange.pushed` answers is shown to the pusher.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from ..app import header_text
from ..errors import ApiProblem, CallTimeout, Unavailable
from .hooks import DESCRIPTOR_VARIABLE
from .news import Update, first_of, heard, show
from .program import GitError, kill_group
from .repositories import MASTER, Repositories

log = logging.getLogger("algorithmia.git")

UPLOAD_PACK = "git-upload-pack"
RECEIVE_PACK = "git-receive-pack"
SERVICES = (UPLOAD_PACK, RECEIVE_PACK)

_MAX_PROCESSES = 12
# Of one account, so that nobody who stalls transfers keeps the others from theirs.
_MAX_OF_ACCOUNT = 4
# Pushes whose build is being shown: they cost no processor time, and so no place among the others.
_MAX_WATCHERS = 60
_PLACE_PATIENCE = 120.0
_PROCESSOR_SECONDS = 900.0
_LONGEST_EXCHANGE = 3600.0
_PIECE = 64 * 1024
# What a fetch says is a list of commits that it wants and has.
_MAX_FETCH_REQUEST = 32 * 1024 * 1024
# How long the processes of a push may take once its sender has gone and all of it is here.
_GRACE = 60.0
_END_PATIENCE = 3.0
_PROTOCOL = re.compile(r"version=[0-9](?::[a-z0-9=:-]{1,60})?")

_CHUNKED = [(b"cache-control", b"no-cache, max-age=0, must-revalidate"), (b"pragma", b"no-cache")]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request of git's protocol, already permitted.

    service    `UPLOAD_PACK` or `RECEIVE_PACK`
    advertise  whether it asks for the list of references (``info/refs``), which comes before each service
    namespace  the version whose references are meant; "" for the repository's own
    pushed     called once with what a push has changed; its pieces are shown to the pusher as they come. Not cancelled
               before it has given its first piece
    """

    algorithm_id: str
    service: str
    advertise: bool
    account: str
    namespace: str = ""
    pushed: Callable[[list[Update]], AsyncGenerator[bytes, None]] | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Bridge:
    """Runs exchanges, a bounded number of them at once.

    request_timeout  how long a client may pause in its body; 0 is no limit
    """

    def __init__(self, repositories: Repositories, max_push_bytes: int, request_timeout: float) -> None:
        self.repositories = repositories
        self.git = repositories.git
        self.max_push_bytes = max_push_bytes
        self.request_timeout = request_timeout or None
        self._places = asyncio.Semaphore(_MAX_PROCESSES)
        self._places_of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._watchers = 0
        self.closing = asyncio.Event()
        self._tidying: set[asyncio.Task[None]] = set()

    async def open(self, exchange: Exchange) -> GitResponse:
        """The response that runs `exchange`. Raises Unavailable when too many others run, or without git."""
        backend = await run_in_threadpool(lambda: self.git.http_backend)
        own = self._places_of.setdefault(exchange.account, asyncio.Semaphore(_MAX_OF_ACCOUNT))
        place = Place(own, self._places)
        await place.take()
        return GitResponse(self, exchange, backend, place)

    def begin_shutdown(self) -> None:
        """Let nobody wait for a build any more; transfers go on. On the event loop."""
        self.closing.set()

    @contextmanager
    def watching(self) -> Iterator[bool]:
        """A place among those whose builds are shown; False if there is none."""
        is_watched = self._watchers < _MAX_WATCHERS
        self._watchers += is_watched
        try:
            yield is_watched
        finally:
            self._watchers -= is_watched

    @asynccontextmanager
    async def changing(self, algorithm_id: str) -> AsyncIterator[Sequence[int]]:
        """`Repositories.changing`, begun and ended in a thread: there are files to lock, to make and to remove."""
        change = self.repositories.changing(algorithm_id)
        beginning = asyncio.ensure_future(run_in_threadpool(change.__enter__))

        async def end() -> None:
            await asyncio.wait((beginning,))
            if beginning.exception() is None:
                await run_in_threadpool(change.__exit__, None, None, None)

        try:
            yield await asyncio.shield(beginning)
        finally:
            # What was begun is ended, whoever gives up waiting for it.
            await asyncio.shield(end())

    def tidy(self, algorithm_id: str) -> None:
        """Let the repository be tidied in the background, if there's need."""

        async def tidy() -> None:
            with suppress(FileNotFoundError, GitError, Unavailable):
                await run_in_threadpool(self.repositories.tidy, algorithm_id)

        task = asyncio.create_task(tidy())
        self._tidying.add(task)
        task.add_done_callback(self._tidying.discard)


class Place:
    """One place among the git processes of an account, and among all; given back once, whoever does it first."""

    def __init__(self, *places: asyncio.Semaphore) -> None:
        self._places = places
        self._taken: list[asyncio.Semaphore] = []

    async def take(self) -> None:
        """Wait for the place. Raises Unavailable."""
        try:
            for places in self._places:
                await asyncio.wait_for(places.acquire(), _PLACE_PATIENCE)
                self._taken.append(places)
        except (TimeoutError, asyncio.TimeoutError):
            is_own = not self._taken
            self.leave()
            limit = f"{_MAX_OF_ACCOUNT} git transfers of this account" if is_own else f"{_MAX_PROCESSES} git transfers"
            raise Unavailable(f"{limit} are running, which is the limit; try again in a minute") from None
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        while self._taken:
            self._taken.pop().release()


class GitResponse(Response):
    """The answer of git to one exchange."""

    def __init__(self, bridge: Bridge, exchange: Exchange, backend: str, place: Place) -> None:
        super().__init__(None, 200)
        self._bridge = bridge
        self._exchange = exchange
        self._backend = backend
        self._place = place
        # The client has gone (or is given up), and: all of its body is here.
        self._gone = asyncio.Event()
        self._received = asyncio.Event()
        self._is_started = self._is_told = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self._exchange_all(receive, send)
        except ApiProblem as problem:
            if self._is_started:
                raise
            await refusal(problem)(scope, receive, send)
        except GitError as problem:
            if not self._is_started:
                raise
            # The connection breaks, so that nobody takes the answer for whole. Any client's nonsense leads here.
            log.info("git gave up: %s", problem, extra={"account": self._exchange.account})
            raise ClientDisconnect from None

    async def _exchange_all(self, receive: Any, send: Any) -> None:
        exchange = self._exchange
        is_push = exchange.service == RECEIVE_PACK and not exchange.advertise
        async with AsyncExitStack() as stack:
            stack.callback(self._place.leave)
            held: Sequence[int] = ()
            before = None
            if is_push:
                held = await stack.enter_async_context(self._bridge.changing(exchange.algorithm_id))
                before = await run_in_threadpool(self._bridge.repositories.head, exchange.algorithm_id)
            ours, theirs = socket.socketpair()
            stack.callback(ours.close)
            ours.setblocking(False)
            try:
                process = await self._start(theirs.fileno() if is_push else None, held)
            finally:
                theirs.close()
            try:
                await self._run(process, ours if is_push else None, receive, send)
            finally:
                if is_push:
                    await asyncio.shield(self._follow_up(before, process.returncode != 0))

    async def _follow_up(self, before: str | None, was_cut: bool) -> None:
        """After a push: if it was cut off, it may have changed master and not have said so; then this says it."""
        exchange, bridge = self._exchange, self._bridge
        if was_cut and not self._is_told and exchange.pushed is not None:
            after = await run_in_threadpool(bridge.repositories.head, exchange.algorithm_id)
            if after is not None and after != before:
                shown = exchange.pushed([Update(before or "0" * 40, after, MASTER)])
                await anext(shown, b"")
                await shown.aclose()
        bridge.tidy(exchange.algorithm_id)

    async def _start(self, news: int | None, held: Sequence[int]) -> asyncio.subprocess.Process:
        git = self._bridge.git
        environment = {**git.environment, **self._variables()}
        if news is not None:
            environment[DESCRIPTOR_VARIABLE] = str(news)
        return await asyncio.create_subprocess_exec(
            *git.command([self._backend], _PROCESSOR_SECONDS),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=_PIECE,
            cwd="/",
            env=environment,
            pass_fds=(*held, *([] if news is None else [news])),
            start_new_session=True,
        )

    def _variables(self) -> dict[str, str]:
        """The CGI request. Never with a length: waiting for one, http-backend takes no notice of the end of its input,
        and would run on, at full speed, for ever, once the platform was killed."""
        exchange, headers = self._exchange, self._exchange.headers
        path = "info/refs" if exchange.advertise else exchange.service
        variables = {
            "GIT_PROJECT_ROOT": str(self._bridge.repositories.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": "GET" if exchange.advertise else "POST",
            "PATH_INFO": f"/{exchange.algorithm_id}.git/{path}",
            "QUERY_STRING": f"service={exchange.service}" if exchange.advertise else "",
            "CONTENT_TYPE": headers.get("content-type", ""),
            "REMOTE_USER": exchange.account,
        }
        if exchange.namespace:
            variables["GIT_NAMESPACE"] = exchange.namespace
        if headers.get("content-encoding", "") in ("gzip", "x-gzip"):
            variables["HTTP_CONTENT_ENCODING"] = "gzip"
        if _PROTOCOL.fullmatch(headers.get("git-protocol", "")):
            variables["GIT_PROTOCOL"] = headers["git-protocol"]
        return variables

    async def _run(
        self, process: asyncio.subprocess.Process, news: socket.socket | None, receive: Any, send: Any
    ) -> None:
        feeding = asyncio.create_task(self._feed(process, receive))
        telling = asyncio.create_task(self._tell(news)) if news is not None else None
        answering = asyncio.create_task(self._answer(process, send))
        try:
            await asyncio.wait({answering, feeding}, timeout=_LONGEST_EXCHANGE, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done() and self._received.is_set() and telling is not None:
                # All of the push is here: it counts, though nobody waits for its answer.
                self._gone.set()
                await asyncio.wait({answering}, timeout=_GRACE)
            if answering.done():
                await answering
            elif feeding.done():
                feeding.result()  # a body that stalled
        finally:
            self._gone.set()
            await _stop(feeding, answering)
            await _end(process, news is not None)
            if telling is not None:
                # The hook has said all that it will say: what it did say counts.
                await asyncio.gather(telling, return_exceptions=True)

    async def _tell(self, news: socket.socket) -> None:
        """Hear from the hook what the push has changed, and show the pusher what comes of it."""
        pushed = self._exchange.pushed
        updates = await heard(news)
        if not updates or pushed is None:
            return
        self._is_told = True
        self._place.leave()
        with self._bridge.watching() as is_watched:
            await show(news, pushed(updates), is_watched, self._gone, self._bridge.closing)

    async def _feed(self, process: asyncio.subprocess.Process, receive: Any) -> None:
        """Give git the body, then look out for the end of the connection."""
        assert process.stdin
        is_push = self._exchange.service == RECEIVE_PACK
        # git stops by itself where a push is too large; the rest is read so that the pusher gets to see why.
        left = 2 * self._bridge.max_push_bytes + _MAX_FETCH_REQUEST if is_push else _MAX_FETCH_REQUEST
        is_open = True
        while not self._gone.is_set():
            patience = None if self._received.is_set() else self._bridge.request_timeout
            try:
                message = await asyncio.wait_for(receive(), patience)
            except (TimeoutError, asyncio.TimeoutError):
                raise CallTimeout(f"the transfer stalled: nothing received for {patience:g} s") from None
            if message["type"] == "http.disconnect":
                self._gone.set()
                return
            body = message.get("body", b"")
            left -= len(body)
            if left < 0:
                self._gone.set()
                return
            if body and is_open:
                try:
                    process.stdin.write(body)
                    await process.stdin.drain()
                except (BrokenPipeError, ConnectionResetError):
                    is_open = False
            if not message.get("more_body", False) and not self._received.is_set():
                self._received.set()
                process.stdin.close()

    async def _answer(self, process: asyncio.subprocess.Process, send: Any) -> None:
        assert process.stdout
        try:
            head = await process.stdout.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise GitError("git http-backend ended without an answer") from None
        status, headers = _parsed(head)
        await self._send(send, {"type": "http.response.start", "status": status, "headers": headers})
        while data := await process.stdout.read(_PIECE):
            await self._send(send, {"type": "http.response.body", "body": data, "more_body": True})
        ended = await process.wait()
        if ended < 0 or ended > 128:
            # What went wrong otherwise, the protocol says itself; an answer that was cut off must not look whole.
            raise GitError(f"git http-backend was ended by signal {-ended if ended < 0 else ended - 128}")
        # An end before that of the request would break the connection, and with it what was answered.
        await first_of(self._received.wait(), self._gone.wait())
        await self._send(send, {"type": "http.response.body", "body": b""})

    async def _send(self, send: Any, message: dict[str, Any]) -> None:
        # To a client that has gone, in vain; git's output is read to its end all the same.
        if not self._gone.is_set():
            self._is_started = True
            try:
                await asyncio.wait_for(send(message), self._bridge.request_timeout)
            except (TimeoutError, asyncio.TimeoutError):
                # Who asks and doesn't read would keep others from the processes for ever.
                log.info("gave up a client that takes nothing", extra={"account": self._exchange.account})
                self._gone.set()
                raise ClientDisconnect from None


async def _stop(*tasks: asyncio.Task[None]) -> None:
    """Cancel `tasks` and wait for their ends, whatever these are."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        # More than once: before Python 3.12, `wait_for` may take no notice.
        await asyncio.wait(pending, timeout=0.1)
        pending = {task for task in pending if not task.done()}
    await asyncio.gather(*tasks, return_exceptions=True)


async def _end(process: asyncio.subprocess.Process, is_push: bool) -> None:
    """Make sure that nothing of the process group is left."""
    if process.returncode is not None:
        return
    assert process.stdin
    process.stdin.close()
    if is_push:
        # At the end of its input git cleans up after itself; killed, it doesn't.
        with suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(_drained(process), _END_PATIENCE)
            return
    with suppress(ProcessLookupError, TimeoutError, asyncio.TimeoutError):
        os.killpg(process.pid, signal.SIGTERM)
        await asyncio.wait_for(_group_ended(process.pid), _END_PATIENCE)
    kill_group(process.pid)
    await _drained(process)


async def _drained(process: asyncio.subprocess.Process) -> None:
    """Read what is left of the output, which closes the pipe, and wait for the end."""
    assert process.stdout
    while await process.stdout.read(_PIECE):
        pass
    await process.wait()


async def _group_ended(group: int) -> None:
    while True:
        os.killpg(group, 0)  # raises ProcessLookupError once there's none
        await asyncio.sleep(0.02)


def refusal(problem: ApiProblem) -> Response:
    """The answer for `problem` as git shows it to a person: plain text."""
    headers = {"X-Error-Message": header_text(problem.message), **problem.headers}
    return Response(f"{problem.message}\n", problem.status, headers, media_type="text/plain")


def _parsed(head: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
    """Status and headers of a CGI answer."""
    status = 200
    headers = []
    for line in head.decode("latin-1").splitlines():
        name, _, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        if name == "status":
            status = int(value.split()[0])
        elif name in ("content-type", "content-length", "www-authenticate"):
            headers.append((name.encode("latin-1"), value.encode("latin-1")))
    return status, [*headers, *_CHUNKED]
