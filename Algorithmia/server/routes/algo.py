"""Calling algorithms over HTTP: ``POST /v1/algo/...`` and, for pages in browsers, ``/v1/web/algo/...``."""

from __future__ import annotations

import asyncio
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ..app import ASGIResponse, Route, Shortcut, WholeAnswer, header_text, platform_of, shown_path
from ..auth import require_standard
from ..call_heads import digest
from ..departures import Receive
from ..engine.base import ContentType
from ..errors import ApiProblem, BadRequest, Code, TooLarge, UnsupportedMediaType
from ..identity import Identity
from ..lent_calls import Lesson
from ..services.algorithms import Reference, Resolved
from ..services.call_documents import DEFAULT, RAW, VOID, Answer, CallOptions

if TYPE_CHECKING:
    from ..lent_calls import ForwardedRequest
    from ..platform import Platform

_MAX_TIMEOUT = 3000.0
_MAX_CACHED = 1024
_OUTPUTS = (DEFAULT, RAW, VOID)
_MOST_KNOWN = 4096
_TRUE, _FALSE = ("true", "1"), ("false", "0", "")
_PREFIX = re.compile(r"/*(?:algo:/+)?")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CONTENT_TYPES: dict[str, ContentType] = {
    "application/json": "json",
    "text/plain": "text",
    "application/text": "text",
    "application/octet-stream": "binary",
    "application/x-octet-stream": "binary",
}
_CONTENT_TYPE_HELP = (
    "send application/json, text/plain or application/octet-stream, "
    "such as: curl -H 'Content-Type: text/plain' -d 'HAL 9000'"
)
# Answering before the body has been read breaks the connection of clients that read only afterwards; this much more
# than the limit is read and dropped for them.
_PATIENCE = 4

_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "X-Request-Id, X-Error-Message, Retry-After",
}
_PREFLIGHT = {
    **_CORS,
    "Access-Control-Allow-Methods": "POST, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Accept, X-Requested-With",
    "Access-Control-Max-Age": "86400",
}


async def call(request: Request) -> WholeAnswer:
    """``POST /v1/algo/OWNER/NAME[/VERSION]`` (or the algorithm's UUID): run the algorithm, answer with its result."""
    return _response(await _call(request, None))


async def call_from_web(request: Request) -> WholeAnswer:
    """``POST /v1/web/algo/...``: the same for a page in a browser, wherever it was loaded from."""
    try:
        answer = await _call(request, _page_host(request))
    except ApiProblem as problem:
        problem.headers.update(_CORS)
        raise
    response = _response(answer)
    response.headers += [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in _CORS.items()]
    return response


async def preflight(request: Request) -> Response:
    """``OPTIONS /v1/web/algo/...``: a browser asks whether a page may call."""
    return Response(status_code=204, headers=_PREFLIGHT)


async def _call(request: Request, origin: str | None) -> Answer:
    platform = platform_of(request)
    known_calls = platform.known_calls
    state = known_calls.state() if known_calls is not None and origin is None else None
    identity = await platform.authenticator.authenticate(request)
    require_standard(identity)
    options = parse_options(request.scope["query_string"])
    resolved = await platform.invoker.admit(parse_reference(request.scope["tail"]), identity, origin)
    headers = request.headers
    content_type = parse_content_type(headers.get("content-type", ""), headers.get("content-encoding", ""))
    label = f"{resolved.build.owner}/{resolved.build.name}/{resolved.version}"
    call = KnownCall(identity, resolved, options, content_type, label)
    if known_calls is not None and state is not None:
        known_calls.remember(request.scope, call, state)
    announced = headers.get("content-length", "")
    size = int(announced) if announced.isdigit() else 0
    limit = platform.settings.max_input_bytes
    if size > limit * _PATIENCE or (size > limit and "expect" in headers):
        raise _too_large(limit, size)
    return await _run(platform, call, request.receive, request.scope, None)


async def _run(platform: Platform, known: KnownCall, receive: Receive, scope: Any, head: bytes | None) -> Answer:
    """Read the input and run the call. Raises ClientDisconnect when the client goes away before it has its answer.

    head  the digest by which the call was recognized
    """
    options = known.options
    request: ForwardedRequest | None = scope.get("forwarded")
    origin = None
    if request is not None and (head is not None or request.begun is not None):
        origin = _Origin(request, known, scope, head)
    notes = scope["notes"] = {"algorithm": known.label}
    body = await _read_body(receive, platform.settings.max_input_bytes)
    work = platform.invoker.invoke(
        known.resolved, known.identity, options, known.content_type, body, scope["request_id"], notes, origin
    )
    if options.output == VOID:
        return await work
    wait = platform.departures.watch(receive)
    try:
        return await work
    except asyncio.CancelledError:
        if wait.has_left:
            raise ClientDisconnect() from None
        raise
    finally:
        platform.departures.forget(wait)


@dataclass(frozen=True, slots=True)
class KnownCall:
    """A call but for its input: everything that its head says, looked up and allowed. The log has its `label`."""

    identity: Identity
    resolved: Resolved
    options: CallOptions
    content_type: ContentType
    label: str


class _Origin:
    """A call that comes from a gateway, see `engine.base.Origin`. `head`: by which it was recognized, if it was."""

    __slots__ = ("_head", "_known", "_scope", "begun", "borrower")

    def __init__(self, request: ForwardedRequest, known: KnownCall, scope: Any, head: bytes | None) -> None:
        self.borrower = request.gateway
        self.begun = request.begun
        self._known = known
        self._scope = scope
        self._head = head

    def allow(self, group: int) -> None:
        """Have the gateway make calls like this one with the workers of `group` that it is lent."""
        head = self._head
        if head is None or self.borrower.knows(head, group):
            return
        platform: Platform = self._scope["platform"]
        if platform.known_calls is not None and platform.known_calls.find(head) is self._known:
            known = self._known
            entry = {
                "method": "POST",
                "path": shown_path(self._scope),
                "status": 200,
                "account": known.identity.account.username,
                "algorithm": known.label,
            }
            self.borrower.teach(head, group, Lesson(known, entry))


class KnownCalls:
    """Calls like earlier ones, recognized by their heads as they were sent.

    An entry counts for as long as neither keys nor algorithms have changed.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._entries: dict[bytes, KnownCall] = {}
        self._state = (-1, -1)

    def shortcut(self, scope: Any) -> Shortcut | None:
        """How to answer the request of `scope`, if it is a call like an earlier one."""
        if scope["method"] != "POST":
            return None
        request: ForwardedRequest | None = scope.get("forwarded")
        key = known = None
        if request is not None and request.begun is not None and request.lesson is not None:
            known = request.lesson.call  # allowed when it began, whatever has changed since
        else:
            key = digest(scope)
            known = self.find(key) if key is not None else None
        if known is None:
            return None

        async def answer(scope: Any, receive: Receive) -> ASGIResponse:
            scope["account"] = known.identity.account.username
            return _response(await _run(self._platform, known, receive, scope, key))

        return answer

    def find(self, head: bytes) -> KnownCall | None:
        """The call whose head has this digest, if it is known and nothing has changed."""
        known = self._entries.get(head)
        return known if known is not None and self._state == self.state() else None

    def remember(self, scope: Any, call: KnownCall, state: tuple[int, int]) -> None:
        """`call` is what the head of `scope` asks for; `state` is what `state` said before that was looked up."""
        key = digest(scope)
        # Keys of running algorithms mean something else each time.
        if key is None or call.identity.call is not None or call.resolved.needs_build or state != self.state():
            return
        if state != self._state or len(self._entries) >= _MOST_KNOWN:
            self._entries.clear()
            self._state = state
        self._entries[key] = call

    def state(self) -> tuple[int, int]:
        """Changes whenever keys or algorithms do."""
        return self._platform.authenticator.generation, self._platform.algorithms.generation


def parse_reference(tail: bytes) -> Reference:
    """The algorithm that the rest of a call's raw path names. What makes no sense is a reference that nothing has."""
    if len(tail) > _MAX_CACHED:  # longer than any can be; the cache must not be filled with such
        return Reference(tail[:_MAX_CACHED].decode("ascii", "replace"), id="?")
    return _parse_reference(tail)


@lru_cache(maxsize=4096)
def _parse_reference(tail: bytes) -> Reference:
    text = unquote_to_bytes(tail).decode("utf-8", "replace")
    text = text[_PREFIX.match(text).end() :]  # type: ignore[union-attr]
    parts = text.removesuffix("/").split("/")
    if _UUID.fullmatch(parts[0]) and len(parts) <= 2:
        return Reference(text, id=parts[0].lower(), version="".join(parts[1:]))
    if not 2 <= len(parts) <= 3 or not parts[0]:
        return Reference(text, id=text or "?")
    return Reference(text, parts[0], parts[1], "".join(parts[2:]))


def parse_options(query: bytes) -> CallOptions:
    """The options of a query string; unknown names are ignored. Raises BadRequest for values that make no sense."""
    return _parse_options(query) if len(query) <= _MAX_CACHED else _parse_options.__wrapped__(query)


@lru_cache(maxsize=1024)
def _parse_options(query: bytes) -> CallOptions:
    if not query:
        return CallOptions()
    values = dict(parse_qsl(query.decode("ascii", "replace"), keep_blank_values=True))
    output = values.get("output", "") or DEFAULT
    if output not in _OUTPUTS:
        raise BadRequest(f"output={output[:80]} is not one of {', '.join(_OUTPUTS)}")
    return CallOptions(
        timeout=_parse_timeout(values.get("timeout", "")),
        stdout=_parse_flag("stdout", values.get("stdout", "")),
        output=output,
        timing=_parse_flag("timing", values.get("timing", "")),
    )


def _parse_timeout(text: str) -> float:
    if not text:
        return CallOptions().timeout
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _MAX_TIMEOUT:
        raise BadRequest(f"timeout={text[:80]} is not a number of seconds above 0 and up to {_MAX_TIMEOUT:g}")
    return seconds


def _parse_flag(name: str, text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise BadRequest(f"{name}={text[:80]} is neither true nor false")


@lru_cache(maxsize=256)
def parse_content_type(header: str, encoding: str) -> ContentType:
    """What kind of input the headers announce. Raises BadRequest if they don't say, UnsupportedMediaType."""
    media_type, _, parameters = header.partition(";")
    media_type = media_type.strip().lower()
    if not media_type:
        raise BadRequest(f"missing Content-Type: {_CONTENT_TYPE_HELP}")
    if encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType(f"Content-Encoding {encoding[:80]!r} is not supported: send the input as it is")
    kind = _CONTENT_TYPES.get(media_type)
    if kind is None:
        hint = " (curl sends it unless told otherwise)" if media_type == "application/x-www-form-urlencoded" else ""
        raise UnsupportedMediaType(f"unsupported Content-Type {media_type[:80]!r}{hint}: {_CONTENT_TYPE_HELP}")
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", parameters, re.IGNORECASE)
    if kind != "binary" and charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii", "ascii"):
        raise UnsupportedMediaType(f"unsupported charset {charset[1][:80]!r}: send UTF-8")
    return kind


async def _read_body(receive: Receive, limit: int) -> bytes:
    """The whole body. Raises TooLarge as soon as it is known to be far beyond `limit` bytes, and ClientDisconnect."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) <= limit:  # as nearly always
            return body
    chunks: list[bytes] = []
    read = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientDisconnect()
        chunk = message.get("body", b"")
        read += len(chunk)
        if read <= limit:
            chunks.append(chunk)
        elif read > limit * _PATIENCE:
            raise _too_large(limit, 0)
        else:
            chunks.clear()
        if not message.get("more_body", False):
            break
        message = await receive()
    if read > limit:
        raise _too_large(limit, read)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(limit: int, size: int) -> TooLarge:
    found = f"has {size} bytes" if size > limit else "is larger"
    return TooLarge(
        f"the input {found} and the limit is {limit} bytes: put it into a file with the Data API (such as "
        "data://.my/COLLECTION/NAME) and send its URI",
        Code.INPUT_VALIDATION,
    )


def _page_host(request: Request) -> str:
    """Host of the page that makes the request, as its browser says; "" if it does not."""
    page = request.headers.get("origin") or request.headers.get("referer") or ""
    try:
        return urlsplit(page).hostname or ""
    except ValueError:
        return ""


def _response(answer: Answer) -> WholeAnswer:
    headers = [(b"content-type", answer.media_type.encode("latin-1"))]
    if answer.status >= 400:
        headers.append((b"x-error-message", header_text(answer.body.decode("utf-8")).encode("ascii")))
    return WholeAnswer(answer.body, answer.status, headers)


ROUTES = [
    Route(b"/v1/algo/", {"POST": call}),
    Route(b"/v1/web/algo/", {"POST": call_from_web, "OPTIONS": preflight}),
]
