"""Files in and out of repositories without trust: a commit's files onto the disk, archives and files into a commit.

git's own checkout would obey attributes that the project brings along (conversions that grow files, substitutions), so
contents are written here as they are stored, after sizes and names have been looked at.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from ..errors import BadRequest, TooLarge
from ..languages.base import BuildProblem
from .program import EMAIL, NAME, Git, GitError

MAX_FILES = 20_000
_MAX_LISTING = 16 * 1024 * 1024
_MAX_PATH = 1024
_MAX_LINK = 1024
_PIECE = 1024 * 1024
_LISTING_SECONDS = 60.0
_COPY_SECONDS = 300.0

_DIRECTORY, _LINK, _SUBMODULE, _PROGRAM, _FILE = b"040000", b"120000", b"160000", b"100755", b"100644"
_LINE = re.compile(rb"(\d{6}) \w+ ([0-9a-f]{40,64}) +(\d+|-|BAD)\t(.+)", re.DOTALL)

# Contents by path, each alone or with whether it may be executed.
Files = Mapping[str, "bytes | tuple[bytes, bool]"]


class SourceFile(NamedTuple):
    """One file on its way into a commit; `content` is read once, before the next file is asked for."""

    name: bytes
    mode: bytes
    size: int
    content: IO[bytes]


class _Entry(NamedTuple):
    mode: bytes
    object_id: bytes
    path: bytes


def export(git: Git, repository: Path, commit: str, target: Path, max_bytes: int) -> None:
    """Write the files of `commit` into the empty directory `target`. Submodules become empty directories.

    Raises BuildProblem for sources that are too large or too many, for names that are no plain paths, and for links
    that lead outside.
    """
    root = os.fsencode(os.path.realpath(target))
    links: list[tuple[bytes, bytes]] = []
    try:
        entries = _listing(git, repository, commit, max_bytes)
        with git.open(repository, "cat-file", "--batch", seconds=_COPY_SECONDS) as process:
            assert process.stdin and process.stdout
            for entry in entries:
                path = os.path.join(root, entry.path)
                if entry.mode in (_DIRECTORY, _SUBMODULE):
                    os.makedirs(path, 0o755, exist_ok=True)
                    continue
                process.stdin.write(entry.object_id + b"\n")
                process.stdin.flush()
                size = _announced(process.stdout)
                if entry.mode == _LINK:
                    links.append((entry.path, _exactly(process.stdout, min(size, _MAX_LINK))))
                    if size > _MAX_LINK:
                        raise BuildProblem(f"the link {_shown(entry.path)} is longer than {_MAX_LINK} bytes")
                else:
                    _write(process.stdout, path, size, 0o755 if entry.mode == _PROGRAM else 0o644)
                _exactly(process.stdout, 1)
    except GitError as problem:
        raise BuildProblem(f"the files of commit {commit} can't be read: {problem}") from None
    except OSError as problem:
        raise BuildProblem(f"the files of commit {commit} can't be written: {problem.strerror or problem}") from None
    # Last, so that nothing was written through one.
    _make_links(root, links)


def _listing(git: Git, repository: Path, commit: str, max_bytes: int) -> list[_Entry]:
    """What `commit` holds. Directories are counted too: a few that hold each other many times have endless paths."""
    entries: list[_Entry] = []
    total = 0
    arguments = ("ls-tree", "-r", "-t", "-z", "--long", "--full-tree", commit)
    with git.open(repository, *arguments, seconds=_LISTING_SECONDS) as process:
        assert process.stdout
        for record in _records(process.stdout):
            match = _LINE.fullmatch(record)
            if match is None:
                raise BuildProblem(f"commit {commit} holds an entry that can't be read: {_shown(record)}")
            mode, object_id, size, path = match.groups()
            _check_path(path)
            if size.isdigit():
                total += int(size)
            elif mode not in (_DIRECTORY, _SUBMODULE):
                raise BuildProblem(f"commit {commit} lacks the content of {_shown(path)}")
            entries.append(_Entry(mode, object_id, path))
            if len(entries) > MAX_FILES:
                raise BuildProblem(f"the source has more than {MAX_FILES} files and directories")
            if total > max_bytes:
                raise BuildProblem(
                    f"the source unpacks to more than {max_bytes} bytes: keep large files in hosted data (data://), "
                    "or raise the platform's --max-source-bytes"
                )
    return entries


def _records(stream: IO[bytes]) -> Iterator[bytes]:
    """NUL-terminated records of `stream`, all of them together at most `_MAX_LISTING` long."""
    rest = b""
    size = 0
    while piece := stream.read1(65536):  # type: ignore[attr-defined]
        size += len(piece)
        if size > _MAX_LISTING:
            raise BuildProblem("the names of the source's files are too long, or too many")
        *records, rest = (rest + piece).split(b"\0")
        yield from records


def _check_path(path: bytes) -> None:
    for part in path.split(b"/"):
        if part in (b"", b".", b"..") or part.lower() == b".git" or len(part) > 255:
            raise BuildProblem(f"the source holds a name that it may not: {_shown(path)}")
    if len(path) > _MAX_PATH:
        raise BuildProblem(f"the source holds a path longer than {_MAX_PATH} bytes: {_shown(path)}")


def _announced(answers: IO[bytes]) -> int:
    words = answers.readline(200).split()
    if len(words) != 3 or words[1] != b"blob":
        raise GitError(f"an object is missing or damaged: {_shown(b' '.join(words))}")
    return int(words[2])


def _write(source: IO[bytes], path: bytes, size: int, mode: int) -> None:
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, mode), "wb", buffering=0) as output:
        os.fchmod(output.fileno(), mode)
        while size:
            piece = _exactly(source, min(size, _PIECE))
            output.write(piece)
            size -= len(piece)


def _exactly(source: IO[bytes], size: int) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise GitError("git ended in the middle of a file")
    return data


def _make_links(root: bytes, links: list[tuple[bytes, bytes]]) -> None:
    for path, link in links:
        if link.startswith(b"/") or b"\0" in link:
            raise BuildProblem(f"the link {_shown(path)} leads outside of the source: {_shown(link)}")
        full = os.path.join(root, path)
        try:
            os.makedirs(os.path.dirname(full), 0o755, exist_ok=True)
            os.symlink(link, full)
        except OSError as problem:
            raise BuildProblem(f"the link {_shown(path)} can't be made: {problem.strerror}") from None
    # With all of them in place: a link may lead through others.
    for path, link in links:
        full = os.path.join(root, path)
        real = os.path.realpath(full)
        if real != root and not real.startswith(root + b"/"):
            for other, _ in links:
                os.unlink(os.path.join(root, other))
            raise BuildProblem(f"the link {_shown(path)} leads outside of the source: {_shown(link)}")


def given_files(files: Files) -> Iterator[SourceFile]:
    """The files of a mapping, in the order of their names."""
    for name in sorted(files):
        content = files[name]
        data, is_program = (content, False) if isinstance(content, bytes) else content
        path = name.encode("utf-8")
        _check_path(path)
        yield SourceFile(path, _PROGRAM if is_program else _FILE, len(data), io.BytesIO(data))


def directory_contents(directory: Path) -> dict[str, bytes | tuple[bytes, bool]]:
    """The files below `directory`, which is trusted and small, without what Python leaves behind."""
    return {
        path.relative_to(directory).as_posix(): (path.read_bytes(), os.access(path, os.X_OK))
        for path in sorted(directory.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def archived_files(archive: Path, max_bytes: int) -> Iterator[SourceFile]:
    """The files of the gzipped tar `archive`; a ``.git`` in it is left out.

    Raises BadRequest for what is no such archive or holds more than files and directories with plain names, TooLarge.
    """
    import tarfile

    total = count = 0
    try:
        with gzip.open(archive, "rb") as unpacked:
            bounded = _Bounded(unpacked, max_bytes)
            with tarfile.open(fileobj=bounded, mode="r:") as members:
                for member in members:
                    count += 1
                    total += max(0, member.size)
                    if count > MAX_FILES or total > max_bytes:
                        raise _too_large(max_bytes)
                    path = _member_path(member.name)
                    if path is None or member.isdir():
                        continue
                    if member.issym():
                        link = os.fsencode(member.linkname)
                        yield SourceFile(path, _LINK, len(link), io.BytesIO(link))
                        continue
                    content = members.extractfile(member) if member.isfile() else None
                    if content is None:
                        raise BadRequest(
                            f"the archive holds {_shown(path)}, which is neither a file nor a directory: leave it out"
                        )
                    yield SourceFile(path, _PROGRAM if member.mode & 0o100 else _FILE, member.size, content)
        if not count:
            raise BadRequest("the archive holds no files: pack the project's directory, with tar -czf")
    except (tarfile.TarError, UnicodeError) as problem:
        raise _no_archive(problem) from None


def _member_path(name: str) -> bytes | None:
    """The path of an archive's member; None for what isn't part of the source."""
    if name.startswith("/") or "\\" in name or "\0" in name:
        raise BadRequest(f"the archive holds a name that leads outside it: {_shown(os.fsencode(name))}")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or any(part.lower() == ".git" for part in parts):
        return None
    path = os.fsencode("/".join(parts))
    try:
        _check_path(path)
    except BuildProblem as problem:
        raise BadRequest(str(problem)) from None
    return path


def write_import(
    stream: IO[bytes],
    reference: str,
    message: str,
    author: str,
    when: int,
    parent: str | None,
    files: Iterator[SourceFile],
) -> None:
    """Write to `stream`, the input of ``git fast-import``, one commit that consists of `files`.

    when    seconds since the epoch
    parent  the commit before; None for the first
    """
    text = message.rstrip().encode("utf-8", "replace") + b"\n"
    # These would end the name.
    person = author.translate({ord(character): None for character in "<>\n\r\0"}).encode("utf-8", "replace")
    email = EMAIL.encode("ascii")
    stream.write(b"feature done\ncommit %b\n" % reference.encode("ascii"))
    stream.write(b"author %b <%b> %d +0000\n" % (person, email, when))
    stream.write(b"committer %b <%b> %d +0000\n" % (NAME.encode("ascii"), email, when))
    stream.write(b"data %d\n%b\n" % (len(text), text))
    if parent:
        stream.write(b"from %b\n" % parent.encode("ascii"))
    stream.write(b"deleteall\n")
    for file in files:
        stream.write(b"M %b inline %b\ndata %d\n" % (file.mode, _quoted(file.name), file.size))
        written = 0
        while piece := file.content.read(_PIECE):
            stream.write(piece)
            written += len(piece)
        if written != file.size:
            raise BadRequest(f"{_shown(file.name)} has {written} bytes, not {file.size}")
        stream.write(b"\n")
    stream.write(b"\ndone\n")


def _quoted(path: bytes) -> bytes:
    escaped = path.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"%b"' % escaped


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(
        f"the source has more than {MAX_FILES} files or {max_bytes} bytes: keep large files in hosted data (data://)"
    )


@contextmanager
def _honest() -> Iterator[None]:
    """Contents are read by whoever takes them, outside of `archived_files`: an archive may break off there too."""
    try:
        yield
    except (zlib.error, EOFError, gzip.BadGzipFile) as problem:
        raise _no_archive(problem) from None


def _no_archive(problem: Exception) -> BadRequest:
    return BadRequest(f"the body is not a gzipped tar archive ({problem}): make it with tar -czf")


class _Bounded(io.RawIOBase):
    """A stream that ends in an error after what an honest archive may have, and gives no large piece at once."""

    def __init__(self, stream: gzip.GzipFile, max_bytes: int) -> None:
        self._stream = stream
        self._limit = max_bytes + 4096 * MAX_FILES
        self._max_bytes = max_bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        # Headers are read in one piece: one of many megabytes is no honest one.
        if size < 0 or size > _PIECE or self._stream.tell() > self._limit:
            raise _too_large(self._max_bytes)
        with _honest():
            return self._stream.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence != os.SEEK_SET or offset > self._limit:
            raise _too_large(self._max_bytes)
        with _honest():
            return self._stream.seek(offset)

    def tell(self) -> int:
        return self._stream.tell()


def _shown(text: bytes) -> str:
    return ascii(text[:200].decode("utf-8", "replace"))
