"""What survives a power cut: a file's content, and the names in a directory, only once they are brought to disk."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: str | Path) -> None:
    """Bring the file or directory `path` to disk: of a directory the names in it, not what they stand for. Blocks."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(path: Path, text: str) -> None:
    """Have the file `path` hold `text`: at any instant it has the old content or the new one, never some. Blocks."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)
    sync(path.parent)
