"""Bodies of requests that are read from file objects: counted, hashed, and no more than was announced."""
import io
import os

from . import digests, errors
from ._compat import PY2

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Optional, Tuple  # noqa: F401

    from ._types import Progress  # noqa: F401

PIECE = 256 * 1024


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
            raise ended_early(self._sent, self._size)
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


def ended_early(sent, size):
    # type: (int, int) -> errors.DataApiError
    """The error for a source that has less than was announced."""
    return errors.DataApiError(
        "what was to be sent ended after %d of %d bytes: it changed meanwhile" % (sent, size)
    )


def as_body(source, progress=None, size=None, hashing=False):
    # type: (Any, Progress, Optional[int], bool) -> Tuple[Body, Optional[int]]
    """What `source`, a binary file object, holds from where it stands, as the body of a request; and its size.

    progress  called with the number of bytes just sent
    size      bytes that will be read, if known; else it is found out. None: the body is sent in chunks
    hashing   whether the body's digest will be wanted
    """
    if size is None:
        source, size = sized(source)
    return Body(source, progress, size, hashing), size


def sized(source):
    # type: (Any) -> Tuple[Any, Optional[int]]
    """`source`, or what can be read instead of it, and how many bytes that is, if that can be known."""
    size = remaining_size(source)
    if size is None and PY2:  # httplib can't send a body of unknown length
        from . import temporary

        return temporary.spooled(source)
    return source, size


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
