"""Hosted data and connectors over HTTP: ``/v1/data``, ``/v1/connector`` and ``/v1/hostedData``."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

import anyio
import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ..app import Route, json_response, platform_of
from ..auth import require_standard
from ..errors import BadRequest
from ..identity import Identity
from ..services import data_copying, data_paths, digests
from ..services.acl import AclDocument
from ..services.data import OpenFile
from ..services.data_paths import Kind, Target
from ..services.data_store import DataStore, IsDirectory, OpenedFile, UploadInProgress
from ..services.data_uploads import Stored, UploadRequest
from ..services.preconditions import Conditions
from . import archives, uploads
from .file_response import file_response
from .parsing import flag, read_json
from .receiving import PIECE, pieces, write_body, write_pieces

_Parse = Callable[[bytes], Target]
P = ParamSpec("P")
T = TypeVar("T")


class NewCollection(msgspec.Struct):
    """The body of POST."""

    name: str
    acl: AclDocument | None = None


class AclChange(msgspec.Struct):
    """The body of PATCH."""

    acl: AclDocument


class Verbs:
    """The handlers of one form of data path; `parse` reads that form."""

    def __init__(self, parse: _Parse) -> None:
        self._parse = parse

    def methods(self) -> dict[str, Callable[[Request], Awaitable[Response]]]:
        """Handler by HTTP method."""
        return {
            "GET": _echoed(self.get),
            "HEAD": _echoed(self.head),
            "PUT": _echoed(self.put),
            "POST": _echoed(self.post),
            "PATCH": _echoed(self.patch),
            "DELETE": _echoed(self.delete),
            "COPY": _echoed(self.copy),
            "OPTIONS": uploads.options(self._begin, self.methods),
        }

    async def get(self, request: Request) -> Response:
        identity, target, store = await self._resolved(request)
        if target.kind is Kind.FILE:
            try:
                opened = await _opened(request, store, identity, target)
            except IsDirectory as found:
                target = found.directory
            else:
                return file_response(opened, request.headers, threads=store.threads)
        if archives.is_wanted(request, target):
            return await archives.send(request, identity, target)
        marker = request.query_params.get("marker", "")
        document = await _blocking(store, store.list_directory, identity, target, marker, flag(request, "acl"))
        answer = json_response(document, headers={"X-Data-Type": "directory", **archives.offer(target)})
        answer.headers[digests.HEADER] = digests.Digest(digests.SHA256, hashlib.sha256(answer.body).hexdigest()).member
        return answer

    async def head(self, request: Request) -> Response:
        identity, target, store = await self._resolved(request)
        if target.kind is Kind.FILE:
            try:
                opened = await _opened(request, store, identity, target, False)
            except IsDirectory as found:
                target = found.directory
            else:
                return file_response(opened, request.headers, is_head=True)
        await _blocking(store, store.check_directory, identity, target)
        headers = {"X-Data-Type": "directory", **archives.offer(target)}
        return Response(headers=headers, media_type="application/json")

    async def put(self, request: Request) -> Response:
        identity, target, store = await self._begin(request)
        if uploads.begins(request):
            return await uploads.create(request, identity, target)
        wanted = UploadRequest(
            identity,
            target,
            request.headers.get("content-type"),
            _announced_size(request),
            _conditions(request),
            digests.parse(request.headers.get(digests.HEADER)),
            digests.wanted(request.headers.get(digests.WANTED)),
        )
        stored = await _receive(request, store, wanted)
        headers = {"ETag": f'"{stored.etag}"', **digests.header(stored.digests)}
        return json_response({"result": stored.uri}, headers=headers)

    async def post(self, request: Request) -> Response:
        identity, target, store = await self._begin(request)
        if uploads.begins(request):
            return await uploads.create(request, identity, target)
        if archives.is_sent(request, target):
            return await archives.receive(request, identity, target)
        body = await read_json(request, NewCollection, '{"name": "images", "acl": {"read": ["user://*"]}}')
        uri = await _blocking(store, store.create_collection, identity, target, body.name, body.acl)
        return json_response({"result": uri})

    async def patch(self, request: Request) -> Response:
        identity, target, store = await self._begin(request)
        body = await read_json(request, AclChange, '{"acl": {"read": []}}')
        await _blocking(store, store.set_acl, identity, target, body.acl)
        return Response()

    async def delete(self, request: Request) -> Response:
        identity, target, store = await self._resolved(request)
        if target.kind is Kind.FILE:
            try:
                deleted = await _blocking(store, store.delete_file, identity, target, _conditions(request))
            except IsDirectory as found:
                target = found.directory
            else:
                return json_response({"result": {"deleted": deleted}})
        deleted = await _blocking(store, store.delete_directory, identity, target, flag(request, "force"))
        return json_response({"result": {"deleted": deleted}})

    async def copy(self, request: Request) -> Response:
        """As WebDAV's: to the data URI in ``Destination``, and with ``Overwrite: F`` only if there is nothing."""
        identity, source, _ = await self._begin(request)
        destination = data_paths.parse(_destination(request))
        stores = platform_of(request).stores
        conditions = _conditions(request)
        if request.headers.get("overwrite", "T").strip().upper() == "F":
            conditions = Conditions(conditions.if_match, "*")
        stored = await _blocking(
            stores.of(destination if destination.connector else source),
            data_copying.copy,
            stores,
            identity,
            source,
            destination,
            conditions,
        )
        headers = {"ETag": f'"{stored.etag}"', **digests.header(stored.digests)}
        return json_response({"result": stored.uri}, headers=headers)

    async def _begin(self, request: Request) -> tuple[Identity, Target, DataStore]:
        platform = platform_of(request)
        identity = await platform.authenticator.authenticate(request)
        require_standard(identity)
        target = self._parse(request.scope["tail"])
        return identity, target, platform.stores.of(target)

    async def _resolved(self, request: Request) -> tuple[Identity, Target, DataStore]:
        """As `_begin`, with a target that is a file or a directory; what's hosted is looked up only by the verb."""
        identity, target, store = await self._begin(request)
        if target.kind is Kind.CONNECTED:
            target = await _blocking(store, store.resolve, identity, target)
        return identity, target, store


def _echoed(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """`handler`, whose answers name the target that the request arrived with: no digest covers that of a request, and a
    damaged one can mean another file."""

    async def handle(request: Request) -> Response:
        answer = await handler(request)
        query = request.scope["query_string"]
        target = request.scope["raw_path"] + (b"?" + query if query else b"")
        answer.headers["X-Request-Target"] = target.decode("latin-1")
        return answer

    return handle


async def _blocking(store: DataStore, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """What `function` returns, called in one of the threads that `store` may use."""
    return await anyio.to_thread.run_sync(lambda: function(*arguments, **options), limiter=store.threads)


async def _opened(
    request: Request, store: DataStore, identity: Identity, target: Target, with_content: bool = True
) -> OpenedFile:
    """The file, with the digest that the request wants of the whole, if that can be had."""
    wish = digests.wanted(request.headers.get(digests.WANTED))
    previous = ""
    while True:
        opened = await _blocking(store, store.open_file, identity, target, with_content)
        if wish != digests.SHA256 or not isinstance(opened, OpenFile) or "range" in request.headers:
            return opened
        try:
            file = await platform_of(request).data.late_digests.with_sha256(opened.file)
            return replace(opened, file=file)
        except FileNotFoundError:
            # Replaced meanwhile: the row has a newer blob. Not so twice for one.
            if opened.file.blob_id == previous:
                return opened
            previous = opened.file.blob_id
            opened.close()
        except BaseException:
            opened.close()
            raise


async def list_hosted(request: Request) -> Response:
    """``GET /v1/hostedData``: all collections of the caller."""
    platform = platform_of(request)
    identity = await platform.authenticator.authenticate(request)
    require_standard(identity)
    return json_response({"result": await run_in_threadpool(platform.data.list_hosted, identity)})


async def _receive(request: Request, store: DataStore, wanted: UploadRequest) -> Stored:
    def blocking(function: Callable[[], T]) -> Awaitable[T]:
        return _blocking(store, function)

    # Who says how much will come, or waits for a "100 Continue", learns before sending it that it's not wanted.
    if (wanted.size or 0) >= PIECE or "expect" in request.headers:
        async with _upload(store, wanted) as upload:
            await write_body(request, wanted.size, upload.write, blocking, store.threads)
            return await blocking(upload.commit)
    async with aclosing(pieces(request)) as coming:
        first = await anext(coming)
        if sum(map(len, first)) < PIECE:
            return await _blocking(store, store.store, wanted, first)
        async with _upload(store, wanted) as upload:
            await write_pieces(coming, upload.write, blocking, first)
            return await blocking(upload.commit)


@asynccontextmanager
async def _upload(store: DataStore, wanted: UploadRequest) -> AsyncGenerator[UploadInProgress, None]:
    """An upload that leaves nothing behind when it isn't committed."""
    upload = await _blocking(store, store.begin_upload, wanted)
    try:
        yield upload
    finally:
        # Shielded: a cancelled request must not leave its staged file behind.
        with anyio.CancelScope(shield=True):
            await _blocking(store, upload.abort)


def _destination(request: Request) -> bytes:
    """The path of the data URI in the Destination header, which is percent-encoded as in the request line."""
    uri = request.headers.get("destination", "")
    if "://" not in uri:
        raise BadRequest(f"Destination: {uri[:100]!r} is not a data URI, such as data://.my/collection/file")
    return uri.removeprefix("data://").encode("ascii", "replace")


def _conditions(request: Request) -> Conditions:
    return Conditions(request.headers.get("if-match"), request.headers.get("if-none-match"))


def _announced_size(request: Request) -> int | None:
    text = request.headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise BadRequest(f"Content-Length: {text[:60]} is not a number of bytes")
    return int(text)


_DATA: dict[str, Any] = Verbs(data_paths.parse).methods()
ROUTES = [
    Route(b"/v1/data", _DATA, exact=True),
    Route(b"/v1/data/", _DATA),
    Route(b"/v1/connector/", Verbs(data_paths.parse_connector).methods()),
    Route(b"/v1/hostedData", {"GET": list_hosted}, exact=True),
]
