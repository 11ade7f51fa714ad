"""The ASGI application: finds the route, gives every request an id, maps every error to the API's document, and logs.

Routes are data: each `routes/*` module has ``ROUTES``, a list of `Route`. The longest matching prefix of the *raw*
path wins, so that percent-encoded slashes reach the handler as they were sent.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from .errors import ApiProblem, Code, MethodNotAllowed, NotFound, Unavailable
from .exchange import WHOLE
from .logs import RequestLog
from .request_ids import new_uuid

if TYPE_CHECKING:
    from .lent_calls import ForwardedRequest
    from .platform import Platform

log = logging.getLogger("algorithmia.http")

# What answers is an ASGI application, as Starlette's responses are.
ASGIResponse = Callable[[Any, Any, Any], Awaitable[None]]
Handler = Callable[[Request], Awaitable[ASGIResponse]]
Shortcut = Callable[[Any, Any], Awaitable[ASGIResponse]]
_encode_json = msgspec.json.encode
_NO_NOTES: dict[str, Any] = {}
# Paths may have 64 KiB; log and messages show how they begin.
_MAX_PATH_SHOWN = 2048


@dataclass(frozen=True, slots=True)
class Route:
    """Requests whose raw path starts with `prefix` go to ``methods[METHOD]``; the handler finds the rest of the raw
    path, still encoded, as ``request.scope["tail"]`` (bytes)."""

    prefix: bytes
    methods: Mapping[str, Handler]
    exact: bool = False


def platform_of(request: Request) -> Platform:
    """The platform that serves `request`."""
    platform: Platform = request.scope["platform"]
    return platform


def request_id_of(request: Request) -> str:
    """The id of `request`, as in the X-Request-Id header of its answer."""
    request_id: str = request.scope["request_id"]
    return request_id


class WholeAnswer:
    """An answer whose body is here, sent as one message where that is understood. `headers` need not say its length."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, body: bytes, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.body = body
        self.status = status
        self.headers = [(b"content-length", b"%d" % len(body)), *headers]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if WHOLE in scope.get("extensions", ()):
            await send({"type": WHOLE, "status": self.status, "headers": self.headers, "body": self.body})
            return
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


def shown_path(scope: Any) -> str:
    """The path of a request, as the log shows it."""
    path: bytes = scope.get("raw_path", b"")[:_MAX_PATH_SHOWN]
    return path.decode("ascii", "replace")


def json_response(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An ``application/json`` answer; `document` is anything msgspec encodes."""
    return Response(_encode_json(document), status, headers, media_type="application/json")


def error_document(problem: ApiProblem, request_id: str) -> dict[str, Any]:
    """The API's error envelope. The `id` is the request's, so that support can find it in the log."""
    error: dict[str, Any] = {"message": problem.message, "id": request_id.removeprefix("req-")}
    if problem.code is not None:
        error["code"] = problem.code
    if problem.error_type:
        error["error_type"] = problem.error_type
    error.update(problem.extra)
    return {"error": error}


def header_text(text: str) -> str:
    """`text` made fit for a header value: one line of printable ASCII, at most 500 characters."""
    line = "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
    return line.encode("ascii", "backslashreplace").decode("ascii")[:500]


def error_response(problem: ApiProblem, request_id: str) -> Response:
    """The answer for `problem`, with the X-Error-Message header that HEAD callers and old clients read."""
    headers = {"X-Error-Message": header_text(problem.message), **problem.headers}
    return json_response(error_document(problem, request_id), problem.status, headers)


class Gate(Protocol):
    """What answers wait for.

    is_closed  whether what was changed isn't known everywhere yet
    """

    @property
    def is_closed(self) -> bool: ...

    async def opened(self) -> None:
        """Return once it is."""


class Application:
    """One ASGI callable over a `Platform` and the routes of its services.

    requests  the log of them
    gate      holds answers up, if any are to be; but not those of shortcuts, which change nothing
    shortcut  given a scope, the function of scope and receive that answers it without further ado, or None
    """

    def __init__(
        self, platform: Platform, routes: list[Route], shortcut: Callable[[Any], Shortcut | None] | None = None
    ) -> None:
        self.platform = platform
        self._shortcut = shortcut or (lambda scope: None)
        self.routes = sorted(routes, key=lambda route: -len(route.prefix))
        self.requests = RequestLog()
        self.gate: Gate | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            raise NotImplementedError(f"no {scope['type']} protocol here")

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        try:
            await self.platform.start()
        except Exception as problem:
            log.exception("start-up failed")
            await send({"type": "lifespan.startup.failed", "message": str(problem)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.platform.close()
        self.requests.flush()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Any, receive: Any, send: Any) -> None:
        began = time.perf_counter()
        request_id = f"req-{new_uuid()}"
        scope["platform"] = self.platform
        scope["request_id"] = request_id
        shortcut = self._shortcut(scope)
        gate = self.gate if shortcut is None else None
        answer = shortcut or self._find_answer
        status = 0
        forwarded: ForwardedRequest | None = scope.get("forwarded")
        if forwarded is not None and forwarded.begun is not None:
            began = forwarded.begun.since

        async def send_with_id(message: Any) -> None:
            nonlocal status
            if "status" in message:
                if gate is not None and gate.is_closed:
                    await gate.opened()
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id.encode("ascii")))
            await send(message)

        self.platform.activity.begin()
        try:
            response = await answer(scope, receive)
            await response(scope, receive, send_with_id)
        except ClientDisconnect:
            log.info("client went away", extra={"request_id": request_id})
        except asyncio.CancelledError:
            # Nothing but the end of the platform's patience at shutdown does that.
            log.info("ended by the shutdown", extra={"request_id": request_id})
            if status:
                raise
            refusal = Unavailable("the platform is shutting down and has ended this request")
            await error_response(refusal, request_id)(scope, receive, send_with_id)
        except ApiProblem as refused:
            if status:
                log.warning("response broken off: %s", refused.message, extra={"request_id": request_id})
                raise
            await error_response(refused, request_id)(scope, receive, send_with_id)
        except Exception:
            log.exception("response failed" if status else "unexpected error", extra={"request_id": request_id})
            if status:
                raise  # The length was promised: break the connection rather than end a body early.
            problem = ApiProblem("internal server error", Code.INTERNAL)
            problem.status = 500
            await error_response(problem, request_id)(scope, receive, send_with_id)
        finally:
            self.platform.activity.end(status)
            self.requests.add(
                {
                    "request_id": request_id,
                    "method": scope["method"],
                    "path": shown_path(scope),
                    "status": status,
                    "seconds": int((time.perf_counter() - began) * 1e6) / 1e6,
                    "account": scope.get("account", ""),
                    **scope.get("notes", _NO_NOTES),
                }
            )

    async def _find_answer(self, scope: Any, receive: Any) -> ASGIResponse:
        request = Request(scope, receive)
        return await self._find(request)(request)

    def _find(self, request: Request) -> Handler:
        raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode("utf-8")
        for route in self.routes:
            if raw == route.prefix or (not route.exact and raw.startswith(route.prefix)):
                handler = route.methods.get(request.method)
                if handler is None:
                    allowed = ", ".join(sorted(route.methods))
                    problem = MethodNotAllowed(f"{request.method} is not offered here; use {allowed}")
                    problem.headers["Allow"] = allowed
                    raise problem
                request.scope["tail"] = raw[len(route.prefix) :]
                return handler
        shown = raw[:_MAX_PATH_SHOWN].decode("ascii", "replace")
        raise NotFound(f"no such route: {request.method} {shown}")
