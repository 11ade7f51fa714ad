"""The templates that new algorithms begin with: a language's files, as they are or with owner and name filled in."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

from ..languages.base import Language

_OWNER, _NAME = "__USER__", "__ALGO__"
_IGNORED = frozenset({"__pycache__", ".pytest_cache"})


def filled(language: Language, owner: str, name: str) -> dict[str, tuple[bytes, bool]]:
    """The template's files for the algorithm OWNER/NAME: path -> content, and whether it is executable. Blocks."""
    files: dict[str, tuple[bytes, bool]] = {}
    for path, content, executable in _files(language):
        try:
            content = _fill(content.decode("utf-8"), owner, name).encode("utf-8")
        except UnicodeDecodeError:
            pass  # a binary file has nothing to fill in
        files[_fill(path, owner, name)] = (content, executable)
    if not files:
        files["README.md"] = (f"# {name}\n".encode(), False)
    return files


def archive(language: Language) -> bytes:
    """The template as a gzipped tar, the same bytes every time. Blocks."""
    import gzip
    import tarfile

    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for path, content, executable in _files(language):
            member = tarfile.TarInfo(path)
            member.size = len(content)
            member.mode = 0o755 if executable else 0o644
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _files(language: Language) -> Iterator[tuple[str, bytes, bool]]:
    root = language.directory / "template"
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if path.is_file() and not _IGNORED.intersection(relative.parts) and path.suffix != ".pyc":
            yield relative.as_posix(), path.read_bytes(), os.access(path, os.X_OK)


def _fill(text: str, owner: str, name: str) -> str:
    return text.replace(_OWNER, owner).replace(_NAME, name)
