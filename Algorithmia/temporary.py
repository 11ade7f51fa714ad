"""Temporary downloads: one private directory per process, removed when the process ends."""
import atexit
import os
import shutil
import tempfile
import threading

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import IO, Optional, Tuple  # noqa: F401

    from ._types import Readable  # noqa: F401

_lock = threading.Lock()
_directory = None  # type: Optional[str]
_owner = None  # type: Optional[int]


def directory():
    # type: () -> str
    """Path of this process's temporary directory (mode 0700)."""
    global _directory, _owner
    with _lock:
        if _directory is None or _owner != os.getpid():
            _directory, _owner = tempfile.mkdtemp(prefix="algorithmia-"), os.getpid()
            atexit.register(_remove, _directory, _owner)
        return _directory


def new_path(name=""):
    # type: (str) -> str
    """A fresh path in the temporary directory, whose ending is that of `name`."""
    suffix = os.path.splitext(name)[1]
    handle, path = tempfile.mkstemp(suffix=suffix if suffix[1:].isalnum() else "", dir=directory())
    os.close(handle)
    return path


def new_directory():
    # type: () -> str
    """A fresh empty directory in the temporary directory."""
    return tempfile.mkdtemp(dir=directory())


def spooled(source):
    # type: (Readable) -> Tuple[IO[bytes], int]
    """``(file object at its start, size)``: what can be read from `source`, kept in a nameless temporary file."""
    target = tempfile.TemporaryFile()
    shutil.copyfileobj(source, target, 1024 * 1024)
    size = target.tell()
    target.seek(0)
    return target, size


def _remove(path, owner):
    # type: (str, int) -> None
    if owner == os.getpid():  # a forked child must not remove its parent's files
        shutil.rmtree(path, ignore_errors=True)
