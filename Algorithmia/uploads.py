"""Storing one file so that what the platform has is what was read here.

The digest of a small file goes ahead of it: the platform stores nothing else. Large ones, and streams that turn out to
be large, go in a way that outlives broken connections, where the platform offers that (`resumption`); elsewhere with
one PUT, whose digest is computed while it is sent, and compared with the one in the answer. Damage is repaired by
sending once more.
"""
import io

from . import bodies, digests, errors

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, Optional  # noqa: F401

    from urllib3 import BaseHTTPResponse  # noqa: F401

    from ._types import Progress, Readable  # noqa: F401
    from .datafile import DataFile  # noqa: F401

# Up to here, reading twice costs less than what it saves: the second time it is in the system's memory.
ANNOUNCED = 16 * 1024 * 1024
# From here on, going on after a break is worth the requests that it takes.
LARGE = 16 * 1024 * 1024


def store(data_file, source, progress=None, content_type=None, size=None, digest=None, is_near=True, path=None):
    # type: (DataFile, Readable, Progress, Optional[str], Optional[int], Optional[str], bool, Optional[str]) -> None
    """Store what can be read from `source`, a binary file object, as `data_file`.

    digest   of the content, if this platform has told it
    is_near  whether reading `source` twice costs little
    path     of the local file that `source` is, if it is one: an upload of it can be continued by a later process

    Raises CorruptedTransferError if it arrives damaged (twice, where `source` can be read again).
    """
    if size is None:
        source, size = bodies.sized(source)
    rewindable = bodies.is_rewindable(source)
    if size is None or (size > LARGE and not rewindable):
        _store_stream(data_file, source, size, progress, content_type)
    elif size > LARGE and _is_offered(data_file):
        _store_large(data_file, source, size, progress, content_type, path)
    else:
        _store_whole(data_file, source, size, progress, content_type, digest, is_near, rewindable)


def store_bytes(data_file, data, content_type):
    # type: (DataFile, bytes, Optional[str]) -> None
    """Store `data` as `data_file`; damaged, it is sent once more."""
    headers = digests.headers(digests.of_bytes(data))
    try:
        data_file._request("PUT", body=data, headers=headers, content_type=content_type)
    except errors.CorruptedTransferError:
        data_file._request("PUT", body=data, headers=headers, content_type=content_type)


def _is_offered(data_file):
    # type: (DataFile) -> bool
    from . import resumption

    return resumption.is_offered(data_file)


def _store_large(data_file, source, size, progress, content_type, path):
    # type: (DataFile, Any, int, Progress, Optional[str], Optional[str]) -> None
    from . import resumption
    from .sending import Content
    from .upload_notes import Note

    content = Content(source, size, progress)
    try:
        resumption.store(data_file, content, content_type, Note(data_file, path) if path is not None else None)
    except (errors.TooManyRequestsError, resumption.LostUpload, resumption.PartsRefused):
        # Of that kind there can be no more, or none at all.
        content.rewind()
        _store_whole(data_file, source, size, progress, content_type, None, True, True)
    finally:
        content.close()


def _store_stream(data_file, source, size, progress, content_type):
    # type: (DataFile, Any, Optional[int], Progress, Optional[str]) -> None
    """Store what can be read only once."""
    from .sending import Stream, body_of

    stream = Stream(source, size, progress)
    try:
        small = stream.begins_with_all() if size is None else None
        if small is not None:
            whole = io.BytesIO(small)
            _store_whole(data_file, whole, len(small), progress, content_type, None, True, True)
        elif not _is_offered(data_file) or not _has_gone_in_parts(data_file, stream, content_type):
            stream.hash_for("")  # what is small is told by SHA-256 only
            body = body_of(data_file.client, stream.rest, -1 if size is None else size)
            response = _put(data_file, body, size, None, content_type, retry=False)
            _compare(data_file, response, stream.digest())
    finally:
        stream.close()


def _has_gone_in_parts(data_file, stream, content_type):
    # type: (DataFile, Any, Optional[str]) -> bool
    """Store `stream` in parts; whether that was possible. If not, all of it is still there."""
    from . import resumption

    try:
        resumption.store(data_file, stream, content_type)
    except resumption.PartsRefused:
        return False
    return True


def _store_whole(data_file, source, size, progress, content_type, digest, is_near, rewindable):
    # type: (DataFile, Any, int, Progress, Optional[str], Optional[str], bool, bool) -> None
    """Store it with one PUT."""
    body = bodies.Body(source, progress, size)
    start = body.tell() if rewindable else 0
    announced = digest
    if announced is None and is_near and rewindable and size <= ANNOUNCED:
        announced = _read_ahead(source, start, size)
    for is_last in (not rewindable, True):
        body.hashing = announced is None
        try:
            response = _put(data_file, body if size else b"", size, announced, content_type, rewindable)
            _compare(data_file, response, announced or body.digest(), is_last)
            return
        except errors.CorruptedTransferError:
            if is_last:
                raise
        body.seek(start)
        announced = digest or _read_ahead(source, start, size)


def _put(data_file, body, size, announced, content_type, retry):
    # type: (DataFile, Any, Optional[int], Optional[str], Optional[str], bool) -> BaseHTTPResponse
    headers = {}  # type: Dict[str, str]
    if size is not None:
        headers["Content-Length"] = str(size)
    if announced is not None:
        headers.update(digests.headers(announced))
    elif size is None or size > ANNOUNCED:
        headers[digests.WANTED] = digests.SHA256 + "=1"  # which is what it will be compared with
    return data_file._request("PUT", body=body, headers=headers, content_type=content_type, retry=retry)


def _compare(data_file, response, sent, is_last=True):
    # type: (DataFile, BaseHTTPResponse, str, bool) -> None
    """Raise CorruptedTransferError if the answer names another content than was `sent`, which `is_last` takes away."""
    if digests.differ(digests.told(response.headers, sent), sent):
        if is_last:
            _withdraw(data_file, response.headers.get("ETag"))
        raise errors.CorruptedTransferError(
            "%s arrived damaged at the platform; it was removed again" % data_file.uri
        )


def _read_ahead(source, start, size):
    # type: (Any, int, int) -> str
    digest = digests.of_stream(source, size)
    source.seek(start)
    return digest


def _withdraw(data_file, etag):
    # type: (DataFile, Optional[str]) -> None
    """Remove what arrived damaged, unless somebody has replaced it meanwhile."""
    if not etag:
        return
    try:
        data_file._request("DELETE", headers={"If-Match": etag})
    except errors.ApiError:
        pass  # it is reported as damaged in any case
