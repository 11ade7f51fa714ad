"""What large uploads send: read once more as often as it takes, hashed once, in order."""
from . import bodies, digests
from ._compat import PY2
from .buffers import SIZE, Buffers, fill, reader_of

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator, Optional  # noqa: F401

    from ._types import Progress  # noqa: F401

# How much is kept in memory of a stream that can't be read again, until the platform has it.
WINDOW = 8 * 1024 * 1024


class Content(object):
    """What `source`, a binary file object, holds: `size` bytes from where it stands. `close` it in any case.

    progress  called with the number of bytes just sent; negative when some are sent again
    """

    def __init__(self, source, size, progress=None):
        # type: (Any, int, Progress) -> None
        self.size = size  # type: Optional[int]
        self.end = size  # up to here it can be sent now
        self._source = source
        self._start = source.tell()
        self._progress = progress
        self._told = 0
        self._offer = ""
        self._begin()

    def _begin(self):
        # type: () -> None
        self._digest = digests.large(self._offer)
        self._hashed = 0
        self._buffers = Buffers(self._digest)

    def hash_for(self, offer):
        # type: (str) -> None
        """Compute the digest that suits a platform which offers to compare by `offer`; to be said before `pieces`."""
        self.close()
        self._offer = offer
        self._begin()

    def wish(self):
        # type: () -> Dict[str, str]
        """The request header that tells the platform what `digest` will be."""
        return digests.wish(self._digest)

    def advance(self):
        # type: () -> bool
        """Make more of it available behind `end`; whether there is more."""
        return False

    def start_over(self):
        # type: () -> bool
        """Forget what was hashed, to read all of it again; whether that is possible."""
        self.close()
        self._begin()
        self.tell(0)
        return True

    def rewind(self):
        # type: () -> None
        """Leave it as it was found."""
        self.tell(0)
        self._source.seek(self._start)

    def pieces(self, offset):
        # type: (int) -> Iterator[Any]
        """The bytes from `offset` to `end`, as memoryviews that are only valid until the next one is asked for."""
        self._hash_up_to(offset)
        self.tell(offset)
        self._source.seek(self._start + offset)
        read = reader_of(self._source)
        while offset < self.end:
            buffer = self._buffers.take()
            try:
                piece = buffer[: fill(read, buffer[: min(len(buffer), self.end - offset)])]
                self._hash(piece, offset)
                if not len(piece):
                    raise bodies.ended_early(offset, self.end)
                yield piece
            finally:
                self._buffers.release(buffer)
            offset += len(piece)
            self.tell(offset)

    def digest(self):
        # type: () -> str
        """Hexadecimal digest of the whole."""
        self._hash_up_to(self.end)
        self._buffers.drain()
        return self._digest.hexdigest()

    def tell(self, offset):
        # type: (int) -> None
        """Report as progress that what comes before `offset` is sent, and nothing else."""
        if self._progress is not None and offset != self._told:
            count, self._told = offset - self._told, offset
            self._progress(count)

    def close(self):
        # type: () -> None
        """End what hashes; harmless twice."""
        self._buffers.close()

    def _hash(self, piece, offset):
        # type: (Any, int) -> None
        """Hash what of `piece` hasn't been before."""
        new = piece[max(0, self._hashed - offset) :]
        if len(new):
            self._buffers.hash(new)
            self._hashed += len(new)

    def _hash_up_to(self, offset):
        # type: (int) -> None
        """Read what comes before `offset` and was sent by an earlier process."""
        if self._hashed >= offset:
            return
        self._source.seek(self._start + self._hashed)
        read = reader_of(self._source)
        while self._hashed < offset:
            buffer = self._buffers.take()
            piece = buffer[: fill(read, buffer[: min(len(buffer), offset - self._hashed)])]
            self._hash(piece, self._hashed)
            self._buffers.release(buffer)
            if not len(piece):
                raise bodies.ended_early(self._hashed, self.end)


class Stream(Content):
    """What can be read from `source` only once: the last part of it is kept until the platform has it.

    size  if it's known
    """

    def __init__(self, source, size, progress=None):
        # type: (Any, Optional[int], Progress) -> None
        self.size = size
        self.end = 0
        self._read = reader_of(source)
        self._window = memoryview(bytearray(WINDOW if size is None else min(WINDOW, size)))
        self._begins = 0  # where the window does
        self._filled = 0
        self._progress = progress
        self._told = 0
        self._offer = ""
        self._begin()

    def advance(self):
        # type: () -> bool
        self._begins = self.end
        room = len(self._window)
        if self.size is not None:
            room = min(room, self.size - self.end)
        self._filled = fill(self._read, self._window[:room])
        if self.size is not None and self._filled < room:
            raise bodies.ended_early(self.end + self._filled, self.size)
        self.end += self._filled
        return self._filled > 0

    def begins_with_all(self):
        # type: () -> Optional[bytes]
        """All that there is, if it was found to fit into the window; it has been read then. To be asked first."""
        self.advance()
        return self._window[: self._filled].tobytes() if self._filled < len(self._window) else None

    def start_over(self):
        # type: () -> bool
        return False

    def pieces(self, offset):
        # type: (int) -> Iterator[Any]
        self.tell(offset)
        self._hash(self._window[offset - self._begins : self._filled], offset)
        while offset < self.end:
            piece = self._window[offset - self._begins : self._filled][:SIZE]
            yield piece
            offset += len(piece)
            self.tell(offset)
        self._buffers.drain()  # before the window is filled again

    def rest(self):
        # type: () -> Iterator[Any]
        """All of it, for a request that can't be repeated."""
        while True:
            for piece in self.pieces(self._begins):
                yield piece
            if not self.advance():
                return

    def _hash_up_to(self, offset):
        # type: (int) -> None
        pass


class Pieces(object):
    """A request's body: what `make` gives, each time that it is sent."""

    def __init__(self, make):
        # type: (Callable[[], Iterator[Any]]) -> None
        self._make = make

    def __iter__(self):
        # type: () -> Iterator[Any]
        return self._make()


class ReadablePieces(object):
    """As `Pieces`, for those who want to `read` a body: Python 2.7's, and requests.

    len  its size, as requests looks for it
    """

    def __init__(self, make, size):
        # type: (Callable[[], Iterator[Any]], int) -> None
        self.len = size
        self._make = make
        self._pieces = make()

    def read(self, size=-1):
        # type: (int) -> bytes
        """The next piece, which may be larger than `size`: who sends takes what it gets."""
        return next((piece.tobytes() for piece in self._pieces), b"")

    def seek(self, offset, whence=0):
        # type: (int, int) -> int
        """Back to the beginning: there is no other use for it."""
        self._pieces = self._make()
        return 0

    def tell(self):
        # type: () -> int
        return 0


def body_of(client, make, size):
    # type: (Any, Callable[[], Iterator[Any]], int) -> Any
    """The body of `size` bytes that `make` gives, in the form that what sends requests of `client` takes best."""
    if not size:
        return b""
    return ReadablePieces(make, size) if PY2 or client._session is not None else Pieces(make)
