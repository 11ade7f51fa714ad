"""Blobs on a local disk: ``staging/ID`` until something durable refers to them, then ``ab/ID``."""

from __future__ import annotations

import logging
import os
import re
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..durable import sync

log = logging.getLogger("algorithmia.storage")

_BLOB_ID = re.compile(r"[0-9a-f]{32}")
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class LocalBlobWriter:
    """Writes one blob into the staging directory of `store`."""

    def __init__(self, store: LocalBlobStore) -> None:
        self.id = uuid.uuid4().hex
        self._store = store
        self._path = store.staging / self.id
        self._descriptor = os.open(self._path, _WRITE_FLAGS, 0o600)

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def finish(self) -> None:
        os.fsync(self._descriptor)
        self._close()
        # The entry itself must survive too, before a row that points at it does.
        self._store.sync_staging()

    def abort(self) -> None:
        self._close()
        with suppress(FileNotFoundError):
            os.unlink(self._path)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class LocalBlobStore:
    """A `BlobStore` below the directory `root`, which is made on first use and readable to its owner only."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.staging = root / "staging"

    def create(self) -> LocalBlobWriter:
        try:
            return LocalBlobWriter(self)
        except FileNotFoundError:
            self._make_directories()
            return LocalBlobWriter(self)

    def publish(self, blob_id: str) -> None:
        target = self._shard(blob_id)
        try:
            os.rename(self._staged(blob_id), target)
        except FileNotFoundError:
            # The first blob of this shard; if it's the source that's missing, the second attempt says so.
            with suppress(FileExistsError):
                os.mkdir(os.path.dirname(target), 0o700)
            os.rename(self._staged(blob_id), target)

    def open_blob(self, blob_id: str) -> BinaryIO:
        # A blob moves once, from staging to its shard: it may do so between the first two looks.
        for path in (self._shard(blob_id), self._staged(blob_id)):
            with suppress(FileNotFoundError):
                return open(path, "rb", buffering=0)
        return open(self._shard(blob_id), "rb", buffering=0)

    def delete(self, blob_id: str) -> None:
        # In the order in which a blob moves, or one that moves between the two looks would stay for ever.
        for path in (self._staged(blob_id), self._shard(blob_id)):
            with suppress(FileNotFoundError):
                os.unlink(path)

    def recover(self, is_referenced: Callable[[str], bool], garbage: Iterable[str]) -> None:
        self._make_directories()
        for blob_id in garbage:
            self.delete(blob_id)
        for name in os.listdir(self.staging):
            if not _BLOB_ID.fullmatch(name):
                log.warning("left alone: %s is not a blob", self.staging / name)
            elif is_referenced(name):
                self.publish(name)
            else:
                os.unlink(self.staging / name)

    def sync_staging(self) -> None:
        """Make the entries of the staging directory durable."""
        sync(self.staging)

    def _make_directories(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.staging.mkdir(exist_ok=True, mode=0o700)

    def _staged(self, blob_id: str) -> str:
        return f"{self.staging}/{self._checked(blob_id)}"

    def _shard(self, blob_id: str) -> str:
        return f"{self.root}/{self._checked(blob_id)[:2]}/{blob_id}"

    @staticmethod
    def _checked(blob_id: str) -> str:
        # Ids never come from outside; this keeps it so.
        if not _BLOB_ID.fullmatch(blob_id):
            raise ValueError(f"not a blob id: {blob_id!r}")
        return blob_id
