"""Moving content between local files, streams and data URIs, in bounded memory and with progress.

A download gets its final name only when it is complete. `DataFile` and `algo cp` sit on these functions.
`progress` is called with the number of bytes just moved (negative when a repeated request starts over).
"""
import calendar
import io
import os

from . import digests, errors
from ._compat import PY2
from .arrivals import replacing
from .dates import parse_http_date
from .uri import data_uri, is_local, quote_path

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from datetime import datetime  # noqa: F401
    from typing import IO, Any, Callable, Optional, Tuple  # noqa: F401

    from ._types import Progress, Readable, Writable  # noqa: F401
    from .client import Client  # noqa: F401

CHUNK = 1024 * 1024
PIECE = 256 * 1024


def write_local(source, local_path, progress=None):
    # type: (Readable, str, Progress) -> int
    """Write what can be read from `source` to `local_path`, in one step; returns the number of bytes."""
    with replacing(local_path) as target:
        return _pump(source.read, target, progress)


def download(client, uri, local_path, progress=None, expect=None, keep_time=False):
    # type: (Client, str, str, Progress, Progress, bool) -> int
    """Copy the file at `uri` to `local_path`; returns its size in bytes.

    The content arrives under a temporary name beside `local_path` and is renamed when it is complete and on disk.
    Damaged content is fetched once more.

    keep_time  give the local file the remote one's time of change, where the platform tells it

    Raises the errors of `Client.request`, CorruptedTransferError, and OSError for the local side.
    """
    with replacing(local_path) as target:
        try:
            size, changed = _fetch(client, uri, target, progress, expect)
        except errors.CorruptedTransferError as error:
            if not _start_over(target):
                raise
            if progress is not None:
                progress(-error.received)
            size, changed = _fetch(client, uri, target, progress, None)
    if keep_time and changed is not None:
        set_time(local_path, changed)
    return size


def download_to(client, uri, target, progress=None, expect=None):
    # type: (Client, str, Writable, Progress, Progress) -> int
    """Write the content of the file at `uri` to `target`, a binary file object; returns the number of bytes.

    expect  called with the size, if the platform tells it, before the first byte

    Raises CorruptedTransferError, when everything has been written, if it was damaged on the way.
    """
    return _fetch(client, uri, target, progress, expect)[0]


def _fetch(client, uri, target, progress, expect):
    # type: (Client, str, Writable, Progress, Progress) -> Tuple[int, Optional[datetime]]
    """As `download_to`; returns the size and the time of change."""
    source = client.file(uri)
    if is_local(uri):
        with open(source.path, "rb") as local:
            return _pump(local.read, target, progress), None
    response = client.request("GET", source.url, stream=True, family=errors.DATA, subject=source.uri)
    if response.headers.get("X-Data-Type") == "directory":
        response.close()
        raise errors.DataApiError("unable to get file %s - it is a directory" % source.uri)
    length = response.headers.get("Content-Length")
    if expect is not None and length is not None:
        expect(int(length))
    told = digests.told(response.headers)
    digest = digests.hasher(int(length or 0), told) if told else None
    incoming = _Incoming(client, source, response, digest)
    try:
        size = _pump(incoming.read, target, progress)
        if digest is not None and digest.hexdigest() != told:
            problem = errors.CorruptedTransferError("%s was damaged on its way here" % source.uri)
            problem.received = size
            raise problem
    finally:
        incoming.close()
    return size, parse_http_date(response.headers.get("Last-Modified"))


class _Incoming(object):
    """The content of a file as it comes. Where the connection breaks it goes on with the rest on another one, as long
    as the file is the same and something comes each time."""

    def __init__(self, client, source, response, digest):
        # type: (Client, Any, Any, Any) -> None
        self._client = client
        self._source = source
        self._response = response
        self._digest = digest
        self._etag = response.headers.get("ETag") if response.headers.get("Accept-Ranges") == "bytes" else None
        self._got = 0
        self._began_at = 0  # where this connection began

    def read(self, size):
        # type: (int) -> bytes
        while True:
            try:
                with self._client.reading(self._source.uri):  # and only that: a full disk here is no broken connection
                    data = self._response.read(size)
                break
            except errors.UnreachableError:
                if not self._etag or (self._began_at and self._got == self._began_at) or not self._goes_on():
                    raise
        self._got += len(data)
        if self._digest is not None:
            self._digest.update(data)
        return data

    def _goes_on(self):
        # type: () -> bool
        """Ask for the rest; whether it comes."""
        self._response.close()
        self._began_at = self._got
        response = self._client.request(
            "GET",
            self._source.url,
            headers={"Range": "bytes=%d-" % self._got, "If-Match": str(self._etag)},
            stream=True,
            family=errors.DATA,
            subject=self._source.uri,
            also_ok=(412, 416),
        )
        self._response = response
        return response.status == 206

    def close(self):
        # type: () -> None
        """Let go of the connection. (Read to its end, it has been given back already.)"""
        self._response.close()
        digests.close(self._digest)


def _start_over(target):
    # type: (IO[bytes]) -> bool
    """Whether `target` could be emptied."""
    try:
        target.seek(0)
        target.truncate()
    except (OSError, IOError):
        return False
    return True


def set_time(path, moment):
    # type: (str, datetime) -> None
    """Make `moment` (naive UTC) the time of change of the file at `path`; nothing for devices and pipes."""
    if os.path.isfile(path):
        seconds = calendar.timegm(moment.timetuple())
        os.utime(path, (seconds, seconds))


def upload(client, local_path, uri, progress=None):
    # type: (Client, str, str, Progress) -> None
    """Store the local file at `local_path` as `uri`."""
    with open(local_path, "rb") as source:
        upload_from(client, source, uri, progress)


def upload_from(client, source, uri, progress=None):
    # type: (Client, Readable, str, Progress) -> None
    """Store what can be read from `source`, a binary file object, as `uri`."""
    client.file(uri).put_stream(source, progress=progress)


def copy_remote(client, source_uri, target_uri, progress=None):
    # type: (Client, str, str, Progress) -> Optional[int]
    """Copy between two data URIs of one client: on the platform, if it can, else through this machine's memory in
    bounded pieces. Returns the size in bytes, if it is known."""
    source, target = client.file(source_uri), client.file(target_uri)
    stat = source.stat()
    if _copied_there(client, source, target):
        if progress is not None and stat.size:
            progress(stat.size)
        return stat.size
    from . import uploads

    with source.open("rb") as content:
        uploads.store(target, content, progress, stat.content_type, stat.size, stat.digest, is_near=False)
    return stat.size


# What platforms answer that know no such verb; an error of the copy itself comes up again without it.
_NO_COPY = (400, 404, 405, 501)


def _copied_there(client, source, target):
    # type: (Client, Any, Any) -> bool
    """Whether the platform copied by itself, as WebDAV's COPY asks."""
    response = client.request(
        "COPY",
        source.url,
        headers={"Destination": data_uri(target._place[0], quote_path(target._place[1]))},
        family=errors.DATA,
        subject=source.uri,
        read_timeout=None,
        also_ok=_NO_COPY,
    )
    return 200 <= response.status < 300


class Body(object):
    """What a request sends of `source`, a binary file object: counted, hashed, and no more than was announced.

    progress  called with the number of bytes just read; a rewind is told as a negative number
    size      bytes to send, or None for all that there are
    hashing   whether `digest` will be wanted
    """

    def __init__(self, source, progress, size, hashing=True):
        # type: (Any, Progress, Optional[int], bool) -> None
        self.source = source
        self.hashing = hashing
        self._progress = progress
        self._size = size
        self._sent = 0
        self._digest = digests.new()

    def digest(self):
        # type: () -> str
        """Hexadecimal digest of what was read since the last rewind."""
        return self._digest.hexdigest()

    def read(self, size=-1):
        # type: (int) -> bytes
        # Whoever sends asks for 8 or 16 KiB, which would be most of the work, and takes what it gets.
        size = PIECE if size is None or size < PIECE else size
        if self._size is not None:
            size = min(size, self._size - self._sent)
        data = self.source.read(size) if size else b""
        if not data and self._size is not None and self._sent < self._size:
            raise errors.DataApiError(
                "what was to be sent ended after %d of %d bytes: it changed meanwhile" % (self._sent, self._size)
            )
        self._sent += len(data)
        if self.hashing:
            self._digest.update(data)
        if self._progress is not None and data:
            self._progress(len(data))
        return data

    def tell(self):
        # type: () -> int
        if not hasattr(self.source, "tell"):
            raise io.UnsupportedOperation("tell")
        return self.source.tell()

    def seek(self, offset, whence=0):
        # type: (int, int) -> int
        """Go back to where reading began: there is no other use for it."""
        self.source.seek(offset, whence)
        if self._progress is not None and self._sent:
            self._progress(-self._sent)
        self._sent = 0
        self._digest = digests.new()
        return self.source.tell()


def _pump(read, target, progress):
    # type: (Callable[[int], bytes], Writable, Progress) -> int
    total = 0
    while True:
        data = read(CHUNK)
        if not data:
            return total
        target.write(data)
        total += len(data)
        if progress is not None:
            progress(len(data))


def as_body(source, progress=None, size=None, hashing=False):
    # type: (Any, Progress, Optional[int], bool) -> Tuple[Body, Optional[int]]
    """What `source`, a binary file object, holds from where it stands, as the body of a request; and its size.

    progress  called with the number of bytes just sent
    size      bytes that will be read, if known; else it is found out. None: the body is sent in chunks
    hashing   whether the body's digest will be wanted
    """
    if size is None:
        size = remaining_size(source)
    if size is None and PY2:  # httplib can't send a body of unknown length
        from . import temporary

        source, size = temporary.spooled(source)
    return Body(source, progress, size, hashing), size


def remaining_size(source):
    # type: (Any) -> Optional[int]
    """Bytes between where `source` stands and its end, or None if it can't tell."""
    try:
        position = source.tell()
        source.seek(0, os.SEEK_END)
        size = source.tell() - position
        source.seek(position)
        return size
    except (AttributeError, OSError, IOError, ValueError):
        return None


def is_rewindable(source):
    # type: (Any) -> bool
    """Whether `source` can be read again from where it stands."""
    try:
        source.seek(source.tell())
    except (AttributeError, OSError, IOError, ValueError):
        return False
    return True
