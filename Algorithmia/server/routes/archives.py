"""Directories of hosted data as tar archives, both ways: many small files in one request."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, aclosing
from typing import Any, TypeVar

import anyio
from starlette.requests import Request
from starlette.responses import Response

from ...tar_files import CONTENT_TYPE
from .. import direct
from ..app import json_response, platform_of
from ..errors import CallTimeout, TooLarge
from ..identity import Identity
from ..services import digests
from ..services.data_batches import MAX_BYTES, PAGE_BYTES, Page
from ..services.data_paths import Kind, Target
from .receiving import pieces

# What an answer is sent in, each once most of the one before has gone.
_PIECE = 64 * 1024

T = TypeVar("T")


def offer(target: Target) -> dict[str, str]:
    """The headers by which an answer about the directory `target` says that it takes archives, and gives them."""
    if target.connector or target.kind not in (Kind.COLLECTION, Kind.FOLDER):
        return {}
    return {"Accept-Post": CONTENT_TYPE, "Vary": "Accept"}


def is_sent(request: Request, target: Target) -> bool:
    """Whether the body of `request` is an archive for `target`."""
    return not target.connector and _kind(request.headers.get("content-type", "")) == CONTENT_TYPE


def is_wanted(request: Request, target: Target) -> bool:
    """Whether `request` asks for `target` as an archive."""
    wanted = request.headers.get("accept", "")
    return not target.connector and CONTENT_TYPE in (_kind(kind) for kind in wanted.split(","))


async def receive(request: Request, identity: Identity, target: Target) -> Response:
    """Store the files in the body of `request` in `target`, all of them or none."""
    batches = platform_of(request).data.batches
    announced = digests.parse(request.headers.get(digests.HEADER) or request.headers.get("content-digest"))
    size = request.headers.get("content-length", "")
    # Without a length it may be anything: there is room for the most then.
    with batches.room(_checked(int(size)) if size.isdecimal() else MAX_BYTES):
        archive = await _body(request)
        directory = target.as_folder if target.kind is Kind.FILE else target
        stored = await _blocking(request, lambda: batches.store(identity, directory, archive, announced))
    return json_response({"result": {"stored": stored}})


async def send(request: Request, identity: Identity, target: Target) -> Response:
    """A page of the directory `target`, or the files that the query names."""
    batches = platform_of(request).data.batches
    with ExitStack() as stack:
        stack.enter_context(batches.room(PAGE_BYTES))
        names, marker = request.query_params.getlist("file"), request.query_params.get("marker", "")
        if names:
            page = await _blocking(request, lambda: batches.pick(identity, target, names))
        else:
            page = await _blocking(request, lambda: batches.page(identity, target, marker))
        return _Archive(page, stack.pop_all())


class _Archive(Response):
    """A page on its way; `room` is given back when it has gone."""

    def __init__(self, page: Page, room: AbstractContextManager[Any]) -> None:
        hasher = digests.Hasher(wanted=digests.SHA256, size=len(page.archive))
        hasher.update(page.archive)
        headers = {"X-Data-Type": "directory", "Vary": "Accept", **digests.header(hasher.digests)}
        if page.marker:
            headers["Link"] = f'<?marker={page.marker}>; rel="next"'
        if page.left_out:
            headers["X-Left-Out"] = str(page.left_out)
        super().__init__(page.archive, headers=headers, media_type=CONTENT_TYPE)
        self._room = room

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        with self._room:
            # In one piece, it would be in the connection's buffer at once, and stay for as long as the client likes.
            patience = scope["platform"].settings.request_timeout or None
            try:
                for message in self._messages():
                    with anyio.fail_after(patience):
                        await send(message)
            except TimeoutError:
                if not direct.abandon(scope):
                    raise CallTimeout(f"the client took nothing of an archive for {patience:g} s") from None

    def _messages(self) -> Iterator[dict[str, Any]]:
        yield {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        for start in range(0, len(self.body), _PIECE):
            end = start + _PIECE
            body = bytes(self.body[start:end])
            yield {"type": "http.response.body", "body": body, "more_body": end < len(self.body)}


async def _blocking(request: Request, function: Callable[[], T]) -> T:
    return await anyio.to_thread.run_sync(function, limiter=platform_of(request).data.threads)


async def _body(request: Request) -> bytes:
    coming: AsyncGenerator[list[bytes], None] = pieces(request)
    chunks: list[bytes] = []
    size = 0
    async with aclosing(coming):
        async for piece in coming:
            chunks += piece
            size = _checked(size + sum(map(len, piece)))
    return b"".join(chunks)


def _checked(size: int) -> int:
    if size > MAX_BYTES:
        raise TooLarge(f"the archive is larger than {MAX_BYTES} bytes; send several, or large files one by one")
    return size


def _kind(text: str) -> str:
    return text.partition(";")[0].strip().lower()
