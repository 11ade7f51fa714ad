"""Whose files are: what a process of another user may write to, and how the server gets it back.

What is inside was made by programs that nobody trusts, so no link is followed, and nothing is looked at by a name that
they could still exchange.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

# Of directories in directories: each one costs a descriptor while what is inside is looked at.
MAX_DEPTH = 256


def give(path: Path, user: int) -> None:
    """Make `path` and all below it `user`'s. Blocks. Raises OSError."""
    for directory, name in _entries(path):
        os.chown(name, user, user, dir_fd=directory, follow_symlinks=False)


def take_back(path: Path) -> None:
    """Make `path` and all below it the server's own, readable for everybody, writable for nobody else. Blocks."""
    user, group = os.geteuid(), os.getegid()
    for directory, name in _entries(path):
        # Before what is inside is looked at: from then on nobody else can exchange it.
        if user == 0:
            os.chown(name, user, group, dir_fd=directory, follow_symlinks=False)
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            os.chmod(name, 0o755, dir_fd=directory)
        elif stat.S_ISREG(mode):
            os.chmod(name, 0o755 if mode & 0o111 else 0o644, dir_fd=directory)


def _entries(path: Path) -> Iterator[tuple[int, str]]:
    """``(descriptor of the directory, name)`` of `path` and all below it, from the top, following no link.

    Raises OSError (ELOOP) for what is nested deeper than `MAX_DEPTH`.
    """
    top = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield top, path.name
    finally:
        os.close(top)
    if path.is_symlink() or not path.is_dir():
        return

    def fail(problem: OSError) -> None:
        raise problem

    deepest = os.fspath(path).count(os.sep) + MAX_DEPTH
    for directory, directories, files, descriptor in os.fwalk(path, onerror=fail):
        if directory.count(os.sep) > deepest:
            raise OSError(errno.ELOOP, "directories are nested too deeply", str(path))
        for name in (*directories, *files):
            yield descriptor, name
