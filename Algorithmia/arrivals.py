"""Local files that get their names when they are complete and on disk, one at a time or many together."""
import atexit
import contextlib
import os
import stat
import uuid

from . import abandoned
from ._compat import replace_file

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import IO, Dict, Iterator, List, Optional, Tuple  # noqa: F401

    from ._types import BytesLike  # noqa: F401

_unfinished = {}  # type: Dict[str, int]  # temporary files, each with the process that writes it
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)  # Windows would translate line ends


class Arrival(object):
    """The file that is to be called `path`, under a temporary name beside it. It ends with `settle` or `discard`.

    path   not a link (see `os.path.realpath`), and neither a directory nor a device
    """

    def __init__(self, path):
        # type: (str) -> None
        self.path = path
        directory, name = os.path.split(path)
        abandoned.sweep(directory)
        self._temporary = os.path.join(directory, ".%s.%s.part" % (name[:100], uuid.uuid4().hex))
        self._mode = _mode_of(path)
        # A new file gets what the umask leaves. (To ask for the umask is to change it, for all threads.)
        self.handle = os.open(self._temporary, _CREATE, 0o666 if self._mode is None else 0o600)
        _unfinished[self._temporary] = os.getpid()

    def sync(self):
        # type: () -> None
        """Bring the content to disk, after `handle` was closed: many files kept open are too many for some systems."""
        handle = os.open(self._temporary, os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def settle(self, seconds=None):
        # type: (Optional[int]) -> None
        """Give it its name. The caller has seen to it that the content is on disk, and closed `handle`.

        seconds  its time of change, since the epoch
        """
        if self._mode is not None:
            os.chmod(self._temporary, self._mode)
        if seconds is not None:
            os.utime(self._temporary, (seconds, seconds))
        replace_file(self._temporary, self.path)
        _unfinished.pop(self._temporary, None)

    def discard(self):
        # type: () -> None
        """Remove it, unless it has its name; harmless twice."""
        if _unfinished.pop(self._temporary, None) is not None:
            try:
                os.unlink(self._temporary)
            except OSError:
                pass  # interrupted between getting the name and saying so


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
    arrival = Arrival(local_path)
    try:
        with os.fdopen(arrival.handle, "wb") as target:
            yield target
            target.flush()
            os.fsync(target.fileno())
        arrival.settle()
    finally:
        arrival.discard()


def is_plain(path):
    # type: (str) -> bool
    """Whether `path` is free, or a file's: neither a link nor a directory nor a device."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return True


class Arrivals(object):
    """Small files that arrive together: all are written before the first waits for the disk. `discard` in any case."""

    def __init__(self):
        # type: () -> None
        self._written = []  # type: List[Tuple[Arrival, int]]

    def write(self, path, content, seconds):
        # type: (str, BytesLike, int) -> None
        """Add the file that is to be called `path` (see `Arrival`), and its time of change."""
        arrival = Arrival(path)
        self._written.append((arrival, seconds))
        with os.fdopen(arrival.handle, "wb", 0) as target:
            target.write(content)

    def settle(self):
        # type: () -> None
        """Bring all to disk, and then give them their names."""
        for arrival, _ in self._written:
            arrival.sync()
        for arrival, seconds in self._written:
            arrival.settle(seconds)

    def discard(self):
        # type: () -> None
        """Remove those that have no names yet."""
        for arrival, _ in self._written:
            arrival.discard()


@atexit.register
def _remove_unfinished():
    # type: () -> None
    """A process that is told to end doesn't wait for threads that wait for a network."""
    for path, owner in list(_unfinished.items()):
        if owner == os.getpid():
            try:
                os.unlink(path)
            except OSError:
                pass  # its thread was quicker


def _mode_of(path):
    # type: (str) -> Optional[int]
    """The permissions of the file at `path`; None if there is none."""
    try:
        return os.stat(path).st_mode & 0o777
    except OSError:
        return None
