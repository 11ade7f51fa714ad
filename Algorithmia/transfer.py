"""Moving content between local files, streams and data URIs, in bounded memory and with progress.

A download gets its final name only when it is complete. `DataFile` and `algo cp` sit on these functions.
`progress` is called with the number of bytes just moved (negative when a repeated request starts over).
"""
import contextlib
import io
import os
import uuid

from . import errors
from ._compat import PY2, replace_file
from .uri import is_local

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import IO, Any, Callable, Dict, Iterator, Optional, Tuple  # noqa: F401

    from ._types import Progress, Readable, Writable  # noqa: F401
    from .client import Client  # noqa: F401

CHUNK = 1024 * 1024
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)  # Windows would translate line ends


@contextlib.contextmanager
def replacing(local_path):
    # type: (str) -> Iterator[IO[bytes]]
    """A binary file object whose content takes the name `local_path` in one step, when the block ends well.

    Links are followed; a device or pipe is written to directly, since it must stay what it is.
    """
    local_path = os.path.realpath(local_path)
    if os.path.exists(local_path) and not os.path.isfile(local_path):
        with open(local_path, "wb") as device:
            yield device
        return
    directory, name = os.path.split(local_path)
    temporary = os.path.join(directory, ".%s.%s.part" % (name[:100], uuid.uuid4().hex))
    mode = _mode_of(local_path)
    # A new file gets what the umask leaves. (To ask for the umask is to change it, for all threads.)
    handle = os.open(temporary, _CREATE, 0o666 if mode is None else 0o600)
    try:
        with os.fdopen(handle, "wb") as target:
            yield target
            target.flush()
            os.fsync(target.fileno())
        if mode is not None:
            os.chmod(temporary, mode)
        replace_file(temporary, local_path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_local(source, local_path, progress=None):
    # type: (Readable, str, Progress) -> int
    """Write what can be read from `source` to `local_path`, in one step; returns the number of bytes."""
    with replacing(local_path) as target:
        return _pump(source.read, target, progress)


def download(client, uri, local_path, progress=None, expect=None):
    # type: (Client, str, str, Progress, Progress) -> int
    """Copy the file at `uri` to `local_path`; returns its size in bytes.

    The content arrives under a temporary name beside `local_path` and is renamed when it is complete and on disk.
    Raises the errors of `Client.request`, and OSError for the local side.
    """
    with replacing(local_path) as target:
        return download_to(client, uri, target, progress, expect)


def download_to(client, uri, target, progress=None, expect=None):
    # type: (Client, str, Writable, Progress, Progress) -> int
    """Write the content of the file at `uri` to `target`, a binary file object; returns the number of bytes.

    expect  called with the size, if the platform tells it, before the first byte
    """
    source = client.file(uri)
    if is_local(uri):
        with open(source.path, "rb") as local:
            return _pump(local.read, target, progress)
    response = client.request("GET", source.url, stream=True, family=errors.DATA, subject=source.uri)
    if response.headers.get("X-Data-Type") == "directory":
        response.close()
        raise errors.DataApiError("unable to get file %s - it is a directory" % source.uri)
    length = response.headers.get("Content-Length")
    if expect is not None and length is not None:
        expect(int(length))

    def read(size):
        # type: (int) -> bytes
        with client.reading(source.uri):  # and only that: a full disk here is not a broken connection
            return response.read(size)

    try:
        return _pump(read, target, progress)
    finally:
        response.close()  # read to its end, it has given its connection back already


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
    # type: (Client, str, str, Progress) -> None
    """Copy between two data URIs of one client, through this machine's memory in bounded pieces."""
    target = client.file(target_uri)
    stat = client.file(source_uri).stat()
    with client.file(source_uri).open("rb") as source:
        target.put_stream(source, progress=progress, content_type=stat.content_type, size=stat.size)


class ProgressReader(object):
    """A binary file object that tells `progress` how much was read; a rewind is told as a negative number."""

    def __init__(self, source, progress):
        # type: (Any, Progress) -> None
        self._source = source
        self._progress = progress

    def read(self, size=-1):
        # type: (int) -> bytes
        data = self._source.read(size)
        if self._progress is not None and data:
            self._progress(len(data))
        return data

    def tell(self):
        # type: () -> int
        if not hasattr(self._source, "tell"):
            raise io.UnsupportedOperation("tell")
        return self._source.tell()

    def seek(self, offset, whence=0):
        # type: (int, int) -> int
        before = self._source.tell()
        self._source.seek(offset, whence)
        after = self._source.tell()
        if self._progress is not None and after != before:
            self._progress(after - before)
        return after


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


def as_body(source, progress=None, size=None):
    # type: (Any, Progress, Optional[int]) -> Tuple[Any, Dict[str, str]]
    """``(body, headers)`` of a request that sends what `source`, a binary file object, holds from where it stands.

    progress  called with the number of bytes just sent
    size      bytes that will be read, if known; else it is found out, or the body is sent in chunks
    """
    if size is None:
        size = remaining_size(source)
    if size is None and PY2:  # httplib can't send a body of unknown length
        from . import temporary

        source, size = temporary.spooled(source)
    headers = {} if size is None else {"Content-Length": str(size)}
    return (ProgressReader(source, progress) if size != 0 else b""), headers


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


def _mode_of(path):
    # type: (str) -> Optional[int]
    """The permissions of the file at `path`; None if there is none."""
    try:
        return os.stat(path).st_mode & 0o777
    except OSError:
        return None
