"""Writing local files so that each appears under its name only when it is complete and on disk."""
import atexit
import binascii
import contextlib
import errno
import io
import os
import re

from . import abandoned
from ._compat import replace_file

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from datetime import datetime  # noqa: F401
    from typing import IO, Any, Callable, Dict, Iterator, Optional, Tuple  # noqa: F401

    from ._types import Progress, Readable, Writable  # noqa: F401

CHUNK = 1024 * 1024
# What Windows takes for something else, or drops: streams of a file, wildcards, devices, dots and blanks at the end.
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*\\\x01-\x1f]|[. ]\Z')
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9])[ ]*(\.|\Z)", re.IGNORECASE)
# What a write to an open file says, without naming it.
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
# What is to be done with files that are being written, should the process end; each with the process that writes it.
_unfinished = {}  # type: Dict[str, Tuple[int, Callable[[], object]]]
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)  # Windows would translate line ends


@contextlib.contextmanager
def replacing(local_path):
    # type: (str) -> Iterator[IO[bytes]]
    """A binary file object whose content takes the name `local_path` in one step, when the block ends well.

    Links are followed; a device or pipe is written to directly, since it must stay what it is.
    """
    local_path = os.path.realpath(local_path)
    if not is_replaceable(local_path):
        with open(local_path, "wb") as device:
            yield device
        return
    abandoned.sweep(os.path.dirname(local_path))
    temporary = temporary_name(local_path, random_key())
    mode = mode_of(local_path)
    # A new file gets what the umask leaves. (To ask for the umask is to change it, for all threads.)
    handle = os.open(temporary, _CREATE, 0o666 if mode is None else 0o600)
    remember(temporary, lambda: os.unlink(temporary))
    try:
        with io.open(handle, "wb") as target:
            yield target
            target.flush()
            os.fsync(target.fileno())
        if mode is not None:
            os.chmod(temporary, mode)
        replace_file(temporary, local_path)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        forget(temporary)


def sync_directory(path):
    # type: (str) -> None
    """Bring the names in the directory `path` to disk, where directories can be opened, as on Windows they can't."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except (OSError, IOError) as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF):  # file systems that have nothing to sync
            raise
    finally:
        os.close(handle)


def is_file_name(name, windows=os.name == "nt"):
    # type: (str, bool) -> bool
    """Whether `name`, from a listing, can be one part of a local path, and leads nowhere else."""
    if name in ("", ".", "..") or "\0" in name or "/" in name or os.sep in name:
        return False
    return not windows or not (_NOT_ON_WINDOWS.search(name) or _DEVICES.match(name))


@contextlib.contextmanager
def naming(local_path):
    # type: (str) -> Iterator[None]
    """A context in which errors of disks name `local_path`, and not nothing, or the temporary name beside it."""
    try:
        yield
    except (IOError, OSError) as error:
        name = getattr(error, "filename", None)
        if (name is None and error.errno in _OF_DISKS) or (name and str(name).endswith(".part")):
            error.filename = local_path
        raise


def is_replaceable(local_path):
    # type: (str) -> bool
    """Whether what is at `local_path`, if anything, is a file, and no device or pipe."""
    return os.path.isfile(local_path) or not os.path.exists(local_path)


def temporary_name(local_path, key):
    # type: (str, str) -> str
    """Where content is kept before it becomes `local_path`: beside it, hidden."""
    directory, name = os.path.split(local_path)
    return os.path.join(directory, ".%s.%s.part" % (name[:50], key))  # which is up to 200 bytes, of 255


def random_key():
    # type: () -> str
    """A key for `temporary_name` that nothing else has: 32 hexadecimal digits."""
    return binascii.hexlify(os.urandom(16)).decode("ascii")


def remember(path, at_exit):
    # type: (str, Callable[[], object]) -> None
    """Have `at_exit` called if this process ends before it `forget`s the file at `path`."""
    _unfinished[path] = os.getpid(), at_exit


def forget(path):
    # type: (str) -> None
    """See `remember`."""
    _unfinished.pop(path, None)


@atexit.register
def _settle_unfinished():
    # type: () -> None
    """A process that is told to end doesn't wait for threads that wait for a network."""
    for owner, at_exit in list(_unfinished.values()):
        if owner == os.getpid():
            try:
                at_exit()
            except (OSError, IOError):
                pass  # its thread was quicker


def write_local(source, local_path, progress=None):
    # type: (Readable, str, Progress) -> int
    """Write what can be read from `source` to `local_path`, in one step; returns the number of bytes."""
    with replacing(local_path) as target:
        return pump(source.read, target, progress)


def pump(read, target, progress):
    # type: (Callable[[int], bytes], Writable, Progress) -> int
    """Write all that `read` gives to `target`; returns the number of bytes."""
    total = 0
    while True:
        data = read(CHUNK)
        if not data:
            return total
        target.write(data)
        total += len(data)
        if progress is not None:
            progress(len(data))


def set_time(path, moment):
    # type: (str, datetime) -> None
    """Make `moment` (naive UTC) the time of change of the file at `path`; nothing for devices and pipes."""
    import calendar

    if os.path.isfile(path):
        seconds = calendar.timegm(moment.timetuple())
        os.utime(path, (seconds, seconds))


def mode_of(path):
    # type: (str) -> Optional[int]
    """The permissions of the file at `path`; None if there is none."""
    try:
        return os.stat(path).st_mode & 0o777
    except OSError:
        return None
