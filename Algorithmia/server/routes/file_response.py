"""Answers that carry a file: conditions, ranges, headers, and the bytes from an open descriptor."""

from __future__ import annotations

import asyncio
import io
import os
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from email.utils import format_datetime, parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from starlette.datastructures import Headers
from starlette.responses import Response

from .. import direct
from ..connectors.base import Reader
from ..errors import ApiProblem, BadRequest, PreconditionFailed
from ..services import digests
from ..services.data_records import File
from ..services.data_store import OpenedFile
from ..services.preconditions import matches

if TYPE_CHECKING:
    from anyio import CapacityLimiter

_CHUNK = 512 * 1024
# Of parts up to this size a digest can be had.
_CHECKED = 64 * 1024 * 1024
_RANGE = re.compile(r"bytes\s*=\s*(?:(\d{1,19})\s*-\s*(\d{0,19})|-\s*(\d{1,19}))\s*", re.ASCII | re.IGNORECASE)


class RangeNotSatisfiable(ApiProblem):
    """416: the range lies behind the end of the file."""

    status = 416


def file_response(
    opened: OpenedFile, sent: Headers, is_head: bool = False, threads: CapacityLimiter | None = None
) -> Response:
    """The answer to GET or HEAD for a file.

    sent     the request's headers: If-Match, If-None-Match, If-Modified-Since, If-Range, Range and Accept are honoured
    threads  what bounds the threads that read the file; None: the platform's own

    Raises BadRequest for a malformed range, RangeNotSatisfiable, PreconditionFailed. `opened` is used up in any case.
    """
    try:
        response = _response(opened, sent, is_head, threads)
    except BaseException:
        opened.close()
        raise
    return response


def _response(opened: OpenedFile, sent: Headers, is_head: bool, threads: CapacityLimiter | None) -> Response:
    file = opened.file
    headers = {
        "X-Data-Type": "file",
        "ETag": f'"{file.etag}"',
        "Last-Modified": format_datetime(_modified(file), usegmt=True),
        "Accept-Ranges": "bytes",
        # What somebody uploaded is data: no browser may take it for a page of this site.
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",
        **digests.header(file.digests),
    }
    if "if-match" in sent and not matches(sent["if-match"], file.etag):
        raise PreconditionFailed(f'the file is now "{file.etag}", which If-Match: {sent["if-match"][:100]} rules out')
    if _is_unmodified(file, sent):
        opened.close()
        return Response(status_code=304, headers=headers)
    start, stop = 0, file.size
    status = 200
    # HEAD describes the whole file: a range has a meaning for GET only.
    if not is_head and "range" in sent and _range_applies(file, sent):
        found = _range(sent["range"], file.size)
        if found is not None:
            start, stop = found
            status = 206
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
    # Clients that ask for bytes and nothing else treat text as text, and damage it: published Node does.
    only_bytes = sent.get("accept", "").strip() == "application/octet-stream"
    headers["Content-Type"] = "application/octet-stream" if only_bytes else file.content_type
    headers["Content-Length"] = str(stop - start)
    wish = None
    if status == 206 and stop - start <= _CHECKED:
        wish = digests.wanted(sent.get(digests.PART_WANTED))
    if is_head or opened.content is not None:
        part = opened.content[start:stop] if opened.content else b""
        if wish is not None:
            headers.update(_digest_of_part(wish, [part]))
        return Response(part, status, headers)
    return StreamedFile(opened, start, stop - start, status, headers, threads, wish)


def _digest_of_part(algorithm: str, pieces: Iterable[bytes]) -> dict[str, str]:
    hasher = digests.new(algorithm)
    for piece in pieces:
        hasher.update(piece)
    return {digests.PART_HEADER: digests.Digest(algorithm, hasher.hexdigest()).member}


def _pieces(descriptor: int, start: int, length: int) -> Iterator[bytes]:
    while length and (data := os.pread(descriptor, min(length, _CHUNK), start)):
        yield data
        start, length = start + len(data), length - len(data)


class StreamedFile(Response):
    """`length` bytes from `start` of an opened file, which is closed in the end. A file that's too short breaks the
    connection: the promised length can't be kept, and a clean end would look like the whole file.

    wish  the algorithm of the digest that is to go ahead of them, where they can be read twice without asking twice
    """

    def __init__(
        self,
        opened: OpenedFile,
        start: int,
        length: int,
        status: int,
        headers: dict[str, str],
        threads: CapacityLimiter | None = None,
        wish: str | None = None,
    ) -> None:
        super().__init__(None, status, headers)
        self._wish = wish
        self._blocking = partial(anyio.to_thread.run_sync, limiter=threads)
        self._opened = opened
        self._start = start
        self._length = length

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            # First, because a store that is elsewhere can still refuse, and an answer that has begun can't.
            source = await self._blocking(self._opened.reader, self._start, self._length)
            if self._wish is not None and isinstance(source, io.FileIO):
                pieces = _pieces(source.fileno(), self._start, self._length)
                few = scope["platform"].data.hashing
                self.headers.update(await anyio.to_thread.run_sync(_digest_of_part, self._wish, pieces, limiter=few))
            await self._send(source, scope, receive, send)
        finally:
            self._opened.close()

    async def _send(self, source: Reader, scope: Any, receive: Any, send: Any) -> None:
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            try:
                is_sent = await self._send_directly(source, scope)
            except (direct.Gone, direct.Stalled):
                return  # and so is the connection
            if is_sent:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            left = self._length
            while left and not gone.done():
                data = await self._blocking(source.read, min(_CHUNK, left))
                if not data:
                    raise OSError(f"the file ended {left} bytes early")
                left -= len(data)
                await send({"type": "http.response.body", "body": data, "more_body": left > 0})
        finally:
            gone.cancel()

    async def _send_directly(self, source: Reader, scope: Any) -> bool:
        """Whether the content could be sent from descriptor to descriptor."""
        if self._length < direct.WORTHWHILE or not isinstance(source, io.FileIO):
            return False
        patience = scope["platform"].settings.request_timeout or None
        return await direct.send(scope, source.fileno(), self._start, self._length, patience)


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _modified(file: File) -> datetime:
    return datetime.fromtimestamp(file.modified_at // 1000, timezone.utc)


def _is_unmodified(file: File, sent: Headers) -> bool:
    # If-None-Match decides alone where it's given (RFC 9110, 13.2.2).
    if "if-none-match" in sent:
        return matches(sent["if-none-match"], file.etag)
    since = _date(sent.get("if-modified-since", ""))
    return since is not None and _modified(file) <= since


def _range_applies(file: File, sent: Headers) -> bool:
    condition = sent.get("if-range")
    if condition is None:
        return True
    since = _date(condition)
    return since == _modified(file) if since else condition.strip() == f'"{file.etag}"'


def _date(text: str) -> datetime | None:
    """An HTTP date; None for anything else, which is to be ignored."""
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)


def _range(header: str, size: int) -> tuple[int, int] | None:
    """Start and end of the one range asked for; None to answer with everything.

    Raises BadRequest, RangeNotSatisfiable.
    """
    if not header.strip().lower().startswith("bytes") or "," in header:
        return None
    found = _RANGE.fullmatch(header.strip())
    if found is None:
        raise BadRequest(f"Range: {header[:60]} is not valid; for example bytes=0-99")
    first, last, suffix = found.groups()
    if suffix is not None:
        start, stop = max(0, size - int(suffix)), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            raise BadRequest(f"Range: {header[:60]} ends before it begins")
    if start >= stop:
        raise RangeNotSatisfiable(
            f"Range: {header[:60]} lies outside the file of {size} bytes", headers={"Content-Range": f"bytes */{size}"}
        )
    return start, stop
