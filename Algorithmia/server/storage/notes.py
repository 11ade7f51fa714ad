"""Ids written down as empty files in a directory: what a later start has to look at, should this one end too early."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..durable import sync
from .base import checked, is_blob_id


class Notes:
    """A durable set of blob ids in the directory `root`, which is made on first use. Any thread may call."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, blob_id: str) -> None:
        """Write `blob_id` down; it survives this process, and a power cut after `sync`."""
        path = self._path(blob_id)
        try:
            _touch(path)
        except FileNotFoundError:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            _touch(path)

    def sync(self) -> None:
        """Make every note durable."""
        sync(self.root)

    def remove(self, blob_id: str) -> None:
        """Strike `blob_id` out. Raises FileNotFoundError when it isn't there."""
        os.unlink(self._path(blob_id))

    def discard(self, blob_id: str) -> None:
        """Strike `blob_id` out if it's there."""
        with suppress(FileNotFoundError):
            self.remove(blob_id)

    def __contains__(self, blob_id: str) -> bool:
        return os.path.exists(self._path(blob_id))

    def all(self) -> list[str]:
        """What is written down."""
        try:
            return [name for name in os.listdir(self.root) if is_blob_id(name)]
        except FileNotFoundError:
            return []

    def _path(self, blob_id: str) -> str:
        return f"{self.root}/{checked(blob_id)}"


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
