"""Large downloads that aren't complete yet, kept beside their target, so that the next run goes on with them.

The file ``.NAME.KEY.part`` holds the beginning of the content, without gaps; KEY is made of NAME, data URI and ETag.
While parts of it are filled out of order it is one byte longer than all of the content, so that what a killed process
leaves is seen to be of no use. A process that writes one has it locked, under this one name, until it is done with it.
"""
import errno
import hashlib
import os
import re
import stat
import threading
import time

from . import abandoned, local_files
from ._compat import PY2, replace_file

try:
    import fcntl as _fcntl
except ImportError:  # Windows: two processes that download the same into one place write the same
    _fcntl = None  # type: ignore[assignment]

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Optional, Set, Tuple  # noqa: F401

_WINDOWS = os.name == "nt"  # where open files can be neither renamed nor removed
_MAX_AGE = 7 * 24 * 3600.0
# Neither through a link, nor waiting for whoever has the other end of a pipe: the names can be foreseen.
_AS_IT_IS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | _AS_IT_IS
_KEY = re.compile(r"[0-9a-f]{16}\Z")
unfinished = set()  # type: Set[str]  # those of this process that the next one can go on with, as it stands


class Part(object):
    """What there is of the download of `uri`, as of `etag`, to `local_path`. End it by `finish`, `keep` or `remove`.

    held  bytes that are there already
    """

    def __init__(self, local_path, uri, etag):
        # type: (str, str, str) -> None
        self._target = local_path
        self._mode = local_files.mode_of(local_path)
        key = _hashed(os.path.basename(local_path)) + _hashed("%s\n%s" % (uri, etag))
        self._kept = local_files.temporary_name(local_path, key)
        self.path = self._kept
        abandoned.sweep(os.path.dirname(local_path))
        _sweep(local_path, self._kept)
        handle = self._locked()
        if handle is None:  # somebody else downloads it, too, or has put something there
            self.path = local_files.temporary_name(local_path, local_files.random_key())
            handle = os.open(self.path, _FLAGS | os.O_EXCL, self._creation_mode())
            local_files.remember(self.path, lambda: os.unlink(self.path))
        self.handle = handle  # type: int
        self.held = os.fstat(handle).st_size
        self._writing = threading.Lock()
        self._ended = False
        self._frontier = None  # type: Any
        self._size = None  # type: Optional[int]  # of all of the content, once there may be gaps
        self._is_kept = False
        if self.path == self._kept:
            unfinished.add(self._kept)

    def _creation_mode(self):
        # type: () -> int
        return 0o666 if self._mode is None else 0o600

    def _locked(self):
        # type: () -> Optional[int]
        """The file under its usual name, opened and ours; None if it is somebody else's."""
        while True:
            try:
                handle = os.open(self._kept, _FLAGS, self._creation_mode())
            except (OSError, IOError):
                return None  # if nothing can be written here, another name will show it
            try:
                if _fcntl is not None:
                    _fcntl.flock(handle, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
                is_there = _is_at(self._kept, handle)
            except (OSError, IOError) as problem:
                os.close(handle)
                if problem.errno not in (errno.EACCES, errno.EAGAIN, errno.ENOLCK, errno.EOPNOTSUPP):
                    raise
                return None
            if is_there and _is_our_own(handle):
                return handle
            os.close(handle)
            if is_there or os.path.islink(self._kept):
                return None
            # It got its final name, or was removed, just before it was ours.

    def write(self, view, position):
        # type: (Any, int) -> bool
        """Write `view` at `position`; whether it did: nothing once it has ended, whichever thread is late."""
        with self._writing:
            if self._ended:
                return False
            if hasattr(os, "pwrite"):
                while len(view):
                    count = os.pwrite(self.handle, view, position)
                    view, position = view[count:], position + count
            else:
                os.lseek(self.handle, position, os.SEEK_SET)
                while len(view):
                    view = view[os.write(self.handle, view) :]
        return True

    def start_syncing(self, stretch):
        # type: (Tuple[int, int]) -> None
        """Have the system begin to bring what lies between two positions to disk, so that `finish` finds less to do."""
        try:
            if hasattr(os, "posix_fadvise") and not self._ended:
                os.posix_fadvise(self.handle, stretch[0], stretch[1] - stretch[0], os.POSIX_FADV_DONTNEED)
        except OSError:
            pass  # then `finish` does all of it

    def readinto(self, view, position):
        # type: (Any, int) -> int
        """Read what has been written at `position`."""
        if hasattr(os, "preadv"):
            return os.preadv(self.handle, [view], position)
        with self._writing:
            os.lseek(self.handle, position, os.SEEK_SET)
            data = os.read(self.handle, len(view))
        view[: len(data)] = data
        return len(data)

    @property
    def may_have_gaps(self):
        # type: () -> bool
        """Whether `allow_gaps` is possible here."""
        return not _WINDOWS

    def empty(self):
        # type: () -> None
        """Forget what is there."""
        os.ftruncate(self.handle, 0)
        self.held = 0

    def allow_gaps(self, frontier, size):
        # type: (Any, int) -> None
        """From now on it may have gaps behind what `frontier()` gives; it is to have `size` bytes."""
        os.ftruncate(self.handle, size + 1)
        self._frontier, self._size = frontier, size
        if self.path == self._kept:
            local_files.remember(self.path, self.keep)

    def finish(self):
        # type: () -> None
        """Bring it to disk and give it the name that it is to have."""
        with self._writing:
            self._ended = True
        if self._size is not None:
            os.ftruncate(self.handle, self._size)
        os.fsync(self.handle)
        if not _is_at(self.path, self.handle):
            raise IOError(errno.ENOENT, "it was removed or replaced while it was written", self.path)
        if self._mode is not None:
            os.chmod(self.path, self._mode)
        if _WINDOWS:
            self._close()
        replace_file(self.path, self._target)
        self._close()

    def keep(self):
        # type: () -> bool
        """Leave it for the next run, up to its first gap; whether there is anything to go on with."""
        with self._writing:
            self._ended = True
        if self.path != self._kept:
            self.remove()
            return False
        size = os.fstat(self.handle).st_size if self._frontier is None else self._frontier()
        if not size:
            self.remove()
            return False
        if self._frontier is not None:
            os.ftruncate(self.handle, size)
        self._is_kept = _is_at(self.path, self.handle)
        self._close()
        return self._is_kept

    def remove(self):
        # type: () -> None
        """Leave nothing."""
        with self._writing:
            self._ended = True
        is_there = self.handle >= 0 and _is_at(self.path, self.handle)  # at the end another thread may be quicker
        if _WINDOWS:
            self._close()
        try:
            if is_there:
                os.unlink(self.path)
        except OSError:
            pass
        self._close()

    def _close(self):
        # type: () -> None
        local_files.forget(self.path)
        if not self._is_kept:
            unfinished.discard(self._kept)
        handle, self.handle = self.handle, -1
        if handle >= 0:
            os.close(handle)


def _sweep(local_path, current):
    # type: (str, str) -> None
    """Remove what earlier downloads to `local_path` left that nobody will continue."""
    directory = os.path.dirname(local_path)
    # Of long names the files have only the beginning, which others may have, too.
    prefix = os.path.basename(local_files.temporary_name(local_path, ""))[: -len(".part")]
    own = prefix + _hashed(os.path.basename(local_path))
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for name in names:
        if name.startswith(own) and name.endswith(".part") and _KEY.match(name[len(prefix) : -len(".part")]):
            path = os.path.join(directory, name)
            try:
                if path != current or os.path.getmtime(path) < time.time() - _MAX_AGE:
                    _remove_abandoned(path)
            except (OSError, IOError):
                pass  # somebody else has it, or was quicker


def _hashed(text):
    # type: (Any) -> str
    if not isinstance(text, bytes):  # names of files needn't be UTF-8
        text = text.encode("utf-8", "replace" if PY2 else "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:8]


def _remove_abandoned(path):
    # type: (str) -> None
    if _fcntl is None:  # nobody knows whether it is being written: `abandoned` takes it once it's old
        return
    handle = os.open(path, os.O_RDONLY | _AS_IT_IS)
    try:
        _fcntl.flock(handle, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
        if _is_at(path, handle):
            os.unlink(path)
    finally:
        os.close(handle)


def _is_at(path, handle):
    # type: (str, int) -> bool
    """Whether the open file `handle` is what is called `path`."""
    try:
        there = os.lstat(path)
    except OSError:
        return False
    if _WINDOWS:  # where 2.7 can't tell, and an open file keeps its name
        return not stat.S_ISLNK(there.st_mode)
    here = os.fstat(handle)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _is_our_own(handle):
    # type: (int) -> bool
    """Whether the open file is one that we have made, and nobody has under another name."""
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        return False
    return _WINDOWS or (found.st_nlink == 1 and found.st_uid == os.geteuid())
