"""Small local files that arrive together: each gets its name only when all of them are complete and on disk."""
import os
import stat

from . import abandoned
from ._compat import replace_file
from .local_files import forget, mode_of, random_key, remember, temporary_name

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import List, Optional  # noqa: F401

    from ._types import BytesLike  # noqa: F401

_BINARY = getattr(os, "O_BINARY", 0)  # Windows would translate line ends
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY


def is_plain(path):
    # type: (str) -> bool
    """Whether `path` is free, or a file's: neither a link nor a directory nor a device."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return True


class Arrivals(object):
    """All are written before the first waits for the disk, and are on disk before the first has its name. `discard`
    them in any case."""

    def __init__(self):
        # type: () -> None
        self._unsettled = []  # type: List[_Arrival]

    def write(self, path, content, seconds):
        # type: (str, BytesLike, int) -> None
        """Add the file that is to be called `path`, which `is_plain`, and its time of change since the epoch."""
        arrival = _Arrival(path, seconds)
        self._unsettled.append(arrival)
        arrival.write(content)

    def settle(self):
        # type: () -> None
        """Bring all to disk, and then give them their names."""
        for arrival in self._unsettled:
            arrival.sync()
        while self._unsettled:
            self._unsettled[-1].settle()
            self._unsettled.pop()

    def discard(self):
        # type: () -> None
        """Remove those that have no names yet."""
        while self._unsettled:
            self._unsettled.pop().discard()


class _Arrival(object):
    """The file that is to be called `path`, under a temporary name beside it."""

    def __init__(self, path, seconds):
        # type: (str, int) -> None
        self._path = path
        self._seconds = seconds
        self._mode = mode_of(path)
        abandoned.sweep(os.path.dirname(path))
        self._temporary = temporary_name(path, random_key())
        # A new file gets what the umask leaves. (To ask for the umask is to change it, for all threads.)
        self._handle = os.open(self._temporary, _CREATE, 0o666 if self._mode is None else 0o600)
        remember(self._temporary, lambda: os.unlink(self._temporary))

    def write(self, content):
        # type: (BytesLike) -> None
        with os.fdopen(self._handle, "wb", 0) as target:
            target.write(content)

    def sync(self):
        # type: () -> None
        # Opened once more: as many open files as there are in a group are too many for some systems.
        handle = os.open(self._temporary, os.O_RDWR | _BINARY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def settle(self):
        # type: () -> None
        if self._mode is not None:
            os.chmod(self._temporary, self._mode)
        replace_file(self._temporary, self._path)
        forget(self._temporary)
        os.utime(self._path, (self._seconds, self._seconds))  # what looks old under the other name may be swept away

    def discard(self):
        # type: () -> None
        forget(self._temporary)
        try:
            os.unlink(self._temporary)
        except OSError:
            pass  # interrupted between getting the name and saying so
