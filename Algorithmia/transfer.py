"""Moving content between local files, streams and data URIs, in bounded memory and with progress.

A download gets its final name only when it is complete. `DataFile` and `algo cp` sit on these functions.
`progress` is called with the number of bytes just moved (negative when a repeated request starts over).
"""
import contextlib
import os
import tempfile

from . import errors
from ._compat import replace_file
from .uri import is_local

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import IO, Any, Callable, Iterator, Optional  # noqa: F401

    from ._types import Progress, Readable, Writable  # noqa: F401
    from .client import Client  # noqa: F401

CHUNK = 1024 * 1024


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
    prefix = ".%s." % os.path.basename(local_path)[:100]
    handle, temporary = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=os.path.dirname(local_path))
    try:
        with os.fdopen(handle, "wb") as target:
            yield target
            target.flush()
            os.fsync(target.fileno())
        os.chmod(temporary, _mode_for(local_path))
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
        response.release_conn()


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

    def __init__(self, source, progress, size=None):
        # type: (Any, Progress, Optional[int]) -> None
        self._source = source
        self._progress = progress
        self._told = 0
        self._limit = size

    def read(self, size=-1):
        # type: (int) -> bytes
        data = self._source.read(size)
        self._told += len(data)
        if self._progress is not None and data:
            self._progress(len(data))
        return data

    def tell(self):
        # type: () -> int
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


def _mode_for(path):
    # type: (str) -> int
    """Permissions for a downloaded file: those it has, else what the umask leaves of 0666."""
    try:
        return os.stat(path).st_mode & 0o777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
