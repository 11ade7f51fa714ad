"""Storing one file so that what the platform has is what was read here.

The digest of a small file goes ahead of it: the platform stores nothing else. That of a large one, or of a stream that
can be read once only, is computed while it is sent, and compared with the one in the answer. Damage is repaired by
sending once more.
"""
from . import digests, errors, transfer

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, Optional  # noqa: F401

    from urllib3 import BaseHTTPResponse  # noqa: F401

    from ._types import Progress, Readable  # noqa: F401
    from .datafile import DataFile  # noqa: F401

# Up to here, reading twice costs less than what it saves: the second time it is in the system's memory.
ANNOUNCED = 16 * 1024 * 1024


def store(data_file, source, progress=None, content_type=None, size=None, digest=None, is_near=True):
    # type: (DataFile, Readable, Progress, Optional[str], Optional[int], Optional[str], bool) -> None
    """Store what can be read from `source`, a binary file object, as `data_file`.

    digest   of the content, if it's known already
    is_near  whether reading `source` twice costs little

    Raises CorruptedTransferError if it arrives damaged (twice, where `source` can be read again).
    """
    body, size = transfer.as_body(source, progress, size, hashing=True)
    rewindable = transfer.is_rewindable(body)
    start = body.tell() if rewindable else 0
    announced = digest
    if announced is None and is_near and rewindable and size is not None and size <= ANNOUNCED:
        announced = _read_ahead(body, start, size)
    for is_last in (not rewindable, True):
        response = None
        try:
            response = _send(data_file, body, size, announced, content_type, rewindable)
        except errors.CorruptedTransferError:
            if is_last:
                raise
        if response is not None:
            arrived = digests.told(response.headers)
            if not digests.differ(arrived, announced or body.digest()):
                return
            if is_last:
                _withdraw(data_file, response.headers.get("ETag"))
                raise errors.CorruptedTransferError(
                    "%s arrived damaged at the platform; it was removed again" % data_file.uri
                )
        body.seek(start)
        announced = digest or _read_ahead(body, start, size)


def store_bytes(data_file, data, content_type):
    # type: (DataFile, bytes, Optional[str]) -> None
    """Store `data` as `data_file`; damaged, it is sent once more."""
    headers = digests.headers(digests.of_bytes(data))
    try:
        data_file._request("PUT", body=data, headers=headers, content_type=content_type)
    except errors.CorruptedTransferError:
        data_file._request("PUT", body=data, headers=headers, content_type=content_type)


def _send(data_file, body, size, announced, content_type, rewindable):
    # type: (DataFile, transfer.Body, Optional[int], Optional[str], Optional[str], bool) -> BaseHTTPResponse
    headers = {}  # type: Dict[str, str]
    body.hashing = announced is None
    if size is not None:
        headers["Content-Length"] = str(size)
    if announced is not None:
        headers.update(digests.headers(announced))
    content = body if size != 0 else b""  # type: Any
    return data_file._request("PUT", body=content, headers=headers, content_type=content_type, retry=rewindable)


def _read_ahead(body, start, size):
    # type: (transfer.Body, int, Optional[int]) -> str
    digest = digests.of_stream(body.source, size)
    body.source.seek(start)
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
