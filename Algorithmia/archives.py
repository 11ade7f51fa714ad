"""Zip and tar archives, packed and unpacked without trusting them."""
import gzip
import os
import shutil
import struct
import zipfile
import zlib

from . import tar_files
from ._compat import native

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import IO  # noqa: F401

MAX_UNPACKED = 20 * 1024 * 1024 * 1024
MAX_RATIO = 1100  # beyond what deflate reaches on real data
MAX_TAR = 256 * 1024 * 1024  # it's in memory
_MAX_MEMBERS = 100000
_COPY = 1024 * 1024


def pack(path, archive):
    # type: (str, str) -> None
    """Write the file or directory at `path` into the zip file `archive`; names are relative to it."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, True) as target:
        if not os.path.isdir(path):
            target.write(path, os.path.basename(path))
            return
        for folder, _, names in os.walk(path):
            for name in sorted(names):
                full = os.path.join(folder, name)
                target.write(full, os.path.relpath(full, path))


def unpack(archive, directory):
    # type: (str, str) -> str
    """Unpack the zip file `archive` into `directory`; returns the path of its single file, or else `directory`.

    Raises ValueError for a member that would land outside `directory`, a link, or an unpacked size no honest archive
    has; nothing of such a member is written.
    """
    written = []
    with zipfile.ZipFile(archive) as source:
        _check_sizes(source, os.path.getsize(archive))
        for member in source.infolist():
            target = safe_join(directory, member.filename)
            if (member.external_attr >> 16) & 0o170000 == 0o120000:
                raise ValueError("the archive holds a symbolic link: %r" % member.filename)
            if member.filename.endswith("/"):
                _make(target)
                continue
            _make(os.path.dirname(target))
            with source.open(member) as content, open(target, "wb") as output:
                shutil.copyfileobj(content, output, _COPY)
            written.append(target)
    return written[0] if len(written) == 1 else directory


def unpack_tar(fileobj, directory):
    # type: (IO[bytes], str) -> None
    """Unpack a gzipped tar, files and directories only, into `directory`. Raises ValueError as `unpack` does, and for
    an archive that is damaged; nothing is written then.
    """
    try:
        with gzip.GzipFile(fileobj=fileobj, mode="rb") as source:
            archive = source.read(MAX_TAR + 1)
    except (EOFError, IOError, struct.error, zlib.error) as error:
        raise ValueError("this is no gzipped archive, or it is damaged: %s" % error)
    if len(archive) > MAX_TAR:
        raise ValueError("the archive unpacks to more than %d bytes" % MAX_TAR)
    found = [
        (safe_join(directory, native(name)), content, tar_files.is_program(header))
        for name, content, _, header in tar_files.members(archive, _MAX_MEMBERS)
    ]
    for target, content, is_program in found:
        if content is None:
            _make(target)
            continue
        _make(os.path.dirname(target))
        with open(target, "wb") as output:
            output.write(content)
        os.chmod(target, 0o755 if is_program else 0o644)


def safe_join(directory, name):
    # type: (str, str) -> str
    """Path of archive member `name` below `directory`. Raises ValueError if it would be elsewhere."""
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in name:
        raise ValueError("the archive holds a name that leads outside it: %r" % name)
    root = os.path.realpath(directory)
    target = os.path.realpath(os.path.join(root, *[part for part in parts if part not in ("", ".")]))
    if target != root and not target.startswith(root + os.sep):
        raise ValueError("the archive holds a name that leads outside it: %r" % name)
    return target


def _check_sizes(source, packed):
    # type: (zipfile.ZipFile, int) -> None
    unpacked = sum(member.file_size for member in source.infolist())
    if unpacked > MAX_UNPACKED or unpacked > max(packed, 1024) * MAX_RATIO:
        raise ValueError("the archive would unpack from %d to %d bytes; refused" % (packed, unpacked))


def _make(directory):
    # type: (str) -> None
    if not os.path.isdir(directory):
        os.makedirs(directory)
