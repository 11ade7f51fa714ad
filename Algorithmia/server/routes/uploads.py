"""Resumable uploads over HTTP: begun on a file's own path, continued, asked after and cancelled at ``/v1/uploads/ID``.

The subset of draft-ietf-httpbis-resumable-upload that docs/reference/transfers.md describes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ..app import Route, json_response, platform_of
from ..auth import require_standard
from ..db.values import new_id
from ..errors import ApiProblem, BadRequest, CallTimeout, Conflict, NotFound, UnsupportedMediaType
from ..identity import Identity
from ..services import digests
from ..services.data_access import require_write
from ..services.data_paths import Kind, Target
from ..services.data_uploads import UploadRequest
from ..services.preconditions import Conditions
from ..services.resumable_upload import ResumableUpload, Unfinished
from ..services.resumable_uploads import ResumableUploads
from ..turns import TakenOver
from .receiving import write_directly

PREFIX = "/v1/uploads/"
MEDIA_TYPE = "application/partial-upload"
_PIECE = 1024 * 1024
_MAX_DIGITS = 18

T = TypeVar("T")


def begins(request: Request) -> bool:
    """Whether `request`, for a file, says that it is only the beginning of an upload."""
    complete = _complete(request)
    return complete is False or (complete is True and request.method == "POST")


def options(
    begin: Callable[[Request], Awaitable[tuple[Identity, Target, Any]]], methods: Callable[[], dict[str, Any]]
) -> Callable[[Request], Awaitable[Response]]:
    """The handler of OPTIONS for the data paths that `begin` resolves and `methods` serves."""

    async def answer(request: Request) -> Response:
        _, target, _ = await begin(request)
        headers = {"Allow": ", ".join(sorted(methods()))}
        if target.kind is Kind.FILE and not target.connector:
            headers["Accept-Patch"] = MEDIA_TYPE
            headers["Upload-Limit"] = _limits(platform_of(request).uploads)
            headers[digests.WANTED] = digests.PREFERRED
        return Response(status_code=204, headers=headers)

    return answer


async def create(request: Request, identity: Identity, target: Target) -> Response:
    """Begin an upload to `target`; the request may have its first bytes with it."""
    if target.connector:
        raise BadRequest(f"{target.uri}: connectors take a file whole, with one PUT and no Upload-Complete")
    complete = _complete(request) is True
    size = _integer(request, "upload-length")
    wanted = UploadRequest(
        identity,
        target,
        request.headers.get("content-type"),
        _integer(request, "content-length") if complete and size is None else size,
        Conditions(request.headers.get("if-match"), request.headers.get("if-none-match")),
        wanted=_wanted(request),
    )
    digest = _digest(request)
    if complete:
        _require_proof(target.uri, wanted.size, digest)
    uploads = platform_of(request).uploads
    upload_id = new_id()
    async with _turn(uploads, upload_id):
        upload = await run_in_threadpool(uploads.begin, wanted, upload_id)
        try:
            response = await _continued(request, uploads, upload, complete, digest)
        except BaseException:
            # Nobody has been told where to go on with it.
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(upload.discard)
            raise
    if response.status_code == 204:
        response.status_code = 201
        response.headers["Location"] = PREFIX + upload_id
    return response


async def head(request: Request) -> Response:
    """Where an upload stands. A request that is still sending to it is ended first, so that the answer stays true."""
    identity, uploads, upload_id = await _begin(request)
    async with _turn(uploads, upload_id):
        row, size = await run_in_threadpool(uploads.state, identity, upload_id)
    headers = _state(uploads, row, size)
    if row.size is not None:
        headers["Upload-Length"] = str(row.size)
    return Response(status_code=204, headers=headers)


async def patch(request: Request) -> Response:
    """Append what the request carries, and make the file of it if that completes the upload."""
    identity, uploads, upload_id = await _begin(request)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise UnsupportedMediaType(f"Content-Type: {media_type[:60] or 'none'}: uploads take {MEDIA_TYPE}")
    offset, complete = _integer(request, "upload-offset"), _complete(request)
    if offset is None or complete is None:
        raise BadRequest("appending to an upload takes the headers Upload-Offset: NUMBER and Upload-Complete: ?0 or ?1")
    digest = _digest(request)
    length = _integer(request, "upload-length")
    wanted = digest.algorithm if digest else _wanted(request)
    async with _turn(uploads, upload_id):
        upload = await run_in_threadpool(uploads.resume, identity, upload_id, offset, length, wanted)
        return await _continued(request, uploads, upload, complete, digest)


async def delete(request: Request) -> Response:
    """Cancel an upload, and the request that is sending to it."""
    identity, uploads, upload_id = await _begin(request)
    async with _turn(uploads, upload_id):
        await run_in_threadpool(uploads.cancel, identity, upload_id)
    return Response(status_code=204)


async def _begin(request: Request) -> tuple[Identity, ResumableUploads, str]:
    """Who asks for which upload. Raises NotAuthorized, and NotFound before anything is done to somebody else's."""
    platform = platform_of(request)
    identity = await platform.authenticator.authenticate(request)
    require_standard(identity)
    require_write(identity)
    upload_id = request.scope["tail"].decode("ascii", "replace")
    await run_in_threadpool(platform.uploads.find, identity, upload_id)
    return identity, platform.uploads, upload_id


class _turn:
    """The turn of an upload. What was ended by a later request is told so."""

    def __init__(self, uploads: ResumableUploads, upload_id: str) -> None:
        self._turn = uploads.turns.of(upload_id)
        self._id = upload_id

    async def __aenter__(self) -> None:
        await self._turn.__aenter__()

    async def __aexit__(self, *exc_info: Any) -> bool | None:
        try:
            return await self._turn.__aexit__(*exc_info)
        except TakenOver:
            raise Conflict(f"a later request for upload {self._id} has taken over from this one") from None


async def _continued(
    request: Request, uploads: ResumableUploads, upload: ResumableUpload, complete: bool, digest: digests.Digest | None
) -> Response:
    row = upload.row
    assert row is not None
    try:
        if complete:
            _require_proof(f"upload {row.id}", row.size, digest)
        await _append(request, upload)
        if not complete:
            return Response(status_code=204, headers=_state(uploads, row, upload.size))
        upload.expect(digest)
        # Shielded: who comes meanwhile shall find it completed, or not, but not in between.
        with anyio.CancelScope(shield=True):
            try:
                stored = await run_in_threadpool(upload.commit)
            except ApiProblem as problem:
                problem.headers["Upload-Complete"] = "?1"  # everything came: this is what has become of it
                raise
        headers = {"ETag": f'"{stored.etag}"', "Upload-Complete": "?1", "Upload-Offset": str(stored.size)}
        return json_response({"result": stored.uri}, headers=headers | digests.header(stored.digests))
    finally:
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(upload.abort)


def _require_proof(what: str, size: int | None, digest: digests.Digest | None) -> None:
    # One damaged byte in a head makes ?1 of ?0.
    if size is None and digest is None:
        raise BadRequest(
            f"{what} of unknown length can be completed with {digests.HEADER}: sha-256=:BASE64: (or xxh128) only"
        )


async def _append(request: Request, upload: ResumableUpload) -> None:
    """Write what comes, each piece while the next one is being received, and all that came before a break."""
    if await write_directly(request, _integer(request, "Content-Length"), upload.write):
        return
    chunks: list[bytes] = []
    size = 0
    writing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    writing.set_result(None)
    patience = platform_of(request).settings.request_timeout or None
    stream = request.stream()
    try:
        while True:
            chunk = None
            with anyio.move_on_after(patience):
                chunk = await anext(stream, b"")
            if chunk is None:
                raise CallTimeout(f"the upload stalled: nothing received for {patience:g} s")
            if not chunk:
                break
            chunks.append(chunk)
            size += len(chunk)
            if size >= _PIECE:
                # Shielded: cancelled, it would be given up while its thread may yet have to begin, and what comes
                # next would overtake it.
                await asyncio.shield(writing)
                writing = asyncio.ensure_future(run_in_threadpool(upload.write, b"".join(chunks)))
                chunks, size = [], 0
    finally:
        with anyio.CancelScope(shield=True):
            await writing
            if chunks:
                await run_in_threadpool(upload.write, b"".join(chunks))


def _state(uploads: ResumableUploads, row: Unfinished, size: int) -> dict[str, str]:
    return {
        "Upload-Offset": str(size),
        "Upload-Complete": "?0",
        "Upload-Limit": _limits(uploads, row.seconds_left),
        "Cache-Control": "no-store",
    }


def _limits(uploads: ResumableUploads, seconds_left: int | None = None) -> str:
    limits = uploads.limits
    if seconds_left is not None:
        limits["max-age"] = seconds_left
    return ", ".join(f"{name}={value}" for name, value in limits.items())


def _complete(request: Request) -> bool | None:
    """Upload-Complete; None without it, or with a value that isn't a structured field's boolean."""
    return {"?0": False, "?1": True}.get(request.headers.get("upload-complete", "").strip())


def _integer(request: Request, name: str) -> int | None:
    text = request.headers.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise BadRequest(f"{name.title()}: {text[:60]} is not a number of bytes")
    return int(text)


def _digest(request: Request) -> digests.Digest | None:
    digest = digests.parse(request.headers.get(digests.HEADER))
    if digest is not None and digest.algorithm == digests.MD5:
        raise BadRequest(f"{digests.HEADER}: resumable uploads are compared by xxh128 or sha-256, not by md5")
    return digest


def _wanted(request: Request) -> str | None:
    wish = digests.wanted(request.headers.get(digests.WANTED))
    return None if wish == digests.MD5 else wish


async def _unknown(request: Request) -> Response:
    raise NotFound("uploads are begun on the path of the file that they're to become: OPTIONS there says how")


ROUTES = [
    Route(PREFIX.rstrip("/").encode(), {"GET": _unknown, "POST": _unknown}, exact=True),
    Route(PREFIX.encode(), {"HEAD": head, "PATCH": patch, "DELETE": delete}),
]
