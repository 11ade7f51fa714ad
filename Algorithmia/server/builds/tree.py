"""Directories that builds write: measured, made immutable, brought to disk, removed. Everything here blocks.

What is in them was written by programs that nobody trusts, so no link is followed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..engine.ownership import MAX_DEPTH

_libc: Any = None

# Of a directory; names in it must fit too. Nothing can be opened by a path of 4096 bytes.
_LONGEST_PATH = 4096 - 256
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def size(*paths: Path, limit: int = 0) -> int:
    """Bytes that the files below `paths` take up on disk; counting stops beyond `limit` (0: never).

    Raises OSError (ELOOP) for directories nested so deeply that what is in them can't be counted.
    """
    total = 0
    pending = [(os.fspath(path), 0) for path in paths]
    seen: set[tuple[int, int]] = set()
    while pending:
        directory, depth = pending.pop()
        if depth > MAX_DEPTH or len(os.fsencode(directory)) >= _LONGEST_PATH:
            raise OSError(errno.ELOOP, "directories are nested too deeply", directory[:200])
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                        if (status.st_dev, status.st_ino) in seen:
                            continue
                        seen.add((status.st_dev, status.st_ino))
                    # A page for the name itself: millions of empty files fill a disk too.
                    total += status.st_blocks * 512 + 4096
                    if entry.is_dir(follow_symlinks=False):
                        pending.append((entry.path, depth + 1))
                    if limit and total > limit:
                        return total
    return total


def seal(path: Path) -> None:
    """Take the right to write from everybody, give everybody the right to read, and drop set-user-id bits."""
    for _, _, files, directory in os.fwalk(path, follow_symlinks=False):
        for name in files:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            mode = status.st_mode
            if stat.S_ISREG(mode):
                if status.st_nlink > 1:  # its other names may be where later builds can write
                    _unlink_from_others(name, directory)
                os.chmod(name, 0o555 if mode & 0o111 else 0o444, dir_fd=directory)
            elif not stat.S_ISLNK(mode):  # devices, sockets and pipes are no part of a build
                os.unlink(name, dir_fd=directory)
        os.fchmod(directory, 0o555)


def _unlink_from_others(name: str, directory: int) -> None:
    """Make `name` a file of its own, with the same content."""
    temporary = f".{os.getpid()}.{name}"[:200]
    reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    with open(reading, "rb") as source:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(temporary, flags, 0o600, dir_fd=directory), "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        times = os.stat(reading)
        os.utime(temporary, ns=(times.st_atime_ns, times.st_mtime_ns), dir_fd=directory)
    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)


def link_leading_out(path: Path, places: Iterable[str]) -> str | None:
    """A symbolic link below `path` that leads neither there nor into one of `places`; None if there is none."""
    allowed = [os.path.realpath(place) + os.sep for place in (str(path), *places)]
    for directory, directories, files in os.walk(path):
        for name in (*directories, *files):
            full = os.path.join(directory, name)
            if os.path.islink(full):
                target = os.path.realpath(full) + os.sep
                if not any(target.startswith(place) for place in allowed):
                    return os.path.relpath(full, path)
    return None


def sync(path: Path) -> None:
    """Bring everything below `path` to disk: one call for its whole file system, faster than one for each file."""
    global _libc
    if _libc is None:
        _libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if not hasattr(_libc, "syncfs"):
            os.sync()
        elif _libc.syncfs(descriptor):
            raise OSError(ctypes.get_errno(), "can't bring the build to disk")
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove the file or directory `path`, sealed or not; nothing if there is none. What can't be removed stays."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    with contextlib.suppress(OSError):
        path.chmod(0o700)
        top = os.open(path, _DIRECTORY)
        try:
            _empty(top)
        finally:
            os.close(top)
        path.rmdir()


def _empty(top: int) -> None:
    """Remove all that is in the directory `top`, however deep: what lies deeper is first moved up into it."""
    numbers = itertools.count()
    pending = _clear(top, top, None)
    while pending:
        name = pending.pop()
        with contextlib.suppress(OSError):
            os.chmod(name, 0o700, dir_fd=top)
            directory = os.open(name, _DIRECTORY, dir_fd=top)
            try:
                pending += _clear(directory, top, numbers)
            finally:
                os.close(directory)
            os.rmdir(name, dir_fd=top)


def _clear(directory: int, top: int, numbers: Iterator[int] | None) -> list[str]:
    """Remove the files in `directory`, and move its directories into `top`; the names that they have there."""
    found = []
    with os.scandir(directory) as entries:
        inside = list(entries)
    for entry in inside:
        with contextlib.suppress(OSError):
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=directory)
            elif numbers is None:
                found.append(entry.name)
            else:
                os.chmod(entry.name, 0o700, dir_fd=directory)
                moved = f".removed.{os.getpid()}.{next(numbers)}"
                os.rename(entry.name, moved, src_dir_fd=directory, dst_dir_fd=top)
                found.append(moved)
    return found
