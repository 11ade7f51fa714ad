"""Large downloads that aren't complete yet, kept beside their target, so that the next run goes on with them.

The file ``.NAME.KEY.part`` holds the beginning of the content, without gaps; KEY is made of NAME, data URI and ETag.
While parts of it are filled out of order it is called ``.NAME.KEY.gaps.part``, and what a killed process leaves under
that name is of no use. A process that writes one has it locked.
"""
import errno
import hashlib
import os
import re
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
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_KEY = re.compile(r"[0-9a-f]{16}(\.gaps)?\Z")
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
        self._with_gaps = local_files.temporary_name(local_path, key + ".gaps")
        self.path = self._kept
        abandoned.sweep(os.path.dirname(local_path))
        _sweep(local_path, self._kept)
        handle = self._locked()
        if handle is None:  # somebody else downloads it, too
            self.path = local_files.temporary_name(local_path, local_files.random_key())
            handle = os.open(self.path, _FLAGS | os.O_EXCL, self._creation_mode())
            local_files.remember(self.path, lambda: os.unlink(self.path))
        self.handle = handle  # type: int
        self.held = os.fstat(handle).st_size
        self._writing = threading.Lock()
        self._ended = False
        self._frontier = None  # type: Any
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
            handle = os.open(self._kept, _FLAGS, self._creation_mode())
            if _fcntl is None:
                return handle
            try:
                _fcntl.flock(handle, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
                if os.fstat(handle).st_ino == os.stat(self._kept).st_ino:
                    return handle
            except (OSError, IOError) as problem:
                if problem.errno not in (errno.ENOENT, errno.EACCES, errno.EAGAIN, errno.ENOLCK, errno.EOPNOTSUPP):
                    os.close(handle)
                    raise
                if problem.errno != errno.ENOENT:
                    os.close(handle)
                    return None
            os.close(handle)  # it got its final name, or was removed, just before it was ours

    def write(self, view, position):
        # type: (Any, int) -> None
        """Write `view` at `position`; nothing once it has ended, whichever thread is late."""
        with self._writing:
            if self._ended:
                return
            if hasattr(os, "pwrite"):
                while len(view):
                    count = os.pwrite(self.handle, view, position)
                    view, position = view[count:], position + count
            else:
                os.lseek(self.handle, position, os.SEEK_SET)
                while len(view):
                    view = view[os.write(self.handle, view) :]

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

    def allow_gaps(self, frontier):
        # type: (Any) -> None
        """From now on it may have gaps behind what `frontier()` gives."""
        self._frontier = frontier
        if self.path == self._kept:
            os.rename(self._kept, self._with_gaps)
            self.path = self._with_gaps
            local_files.remember(self.path, self.keep)

    def finish(self):
        # type: () -> None
        """Bring it to disk and give it the name that it is to have."""
        self._ended = True
        os.fsync(self.handle)
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
        if self.path not in (self._kept, self._with_gaps):
            self.remove()
            return False
        size = os.fstat(self.handle).st_size if self._frontier is None else self._frontier()
        if not size:
            self.remove()
            return False
        if self._frontier is not None:
            os.ftruncate(self.handle, size)
            replace_file(self.path, self._kept)
        self._is_kept = True
        self._close()
        return True

    def remove(self):
        # type: () -> None
        """Leave nothing."""
        with self._writing:
            self._ended = True
        if _WINDOWS:
            self._close()
        try:
            os.unlink(self.path)
        except OSError:
            pass  # at the end of the process another thread may have been quicker
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
    handle = os.open(path, os.O_RDONLY)
    try:
        _fcntl.flock(handle, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
        os.unlink(path)
    finally:
        os.close(handle)
