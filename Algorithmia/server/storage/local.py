"""Blobs on a local disk: ``staging/ID`` until something durable refers to them, then ``ab/ID``."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..durable import sync
from .base import LOST, Entry, checked, is_blob_id

log = logging.getLogger("algorithmia.storage")

_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_RESUME_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
# So much may wait in memory to be written to the disk: what piles up there costs time when it's synced.
_WAITING = 16 * 1024 * 1024
# Directories of the stores' own; the second is of one elsewhere (`objects.py`).
_NOT_PUBLISHED = ("staging", "unsettled", LOST)
# Of the contents that are written together: how many descriptors they may take.
_OPEN_AT_ONCE = 256


class LocalBlobWriter:
    """Writes one blob into the staging directory of `store`: a new one, or with `resumes` the one that is there."""

    def __init__(self, store: LocalBlobStore, blob_id: str, resumes: bool = False) -> None:
        self.id = blob_id
        self._store = store
        self._path = store.staged_path(blob_id)
        self._descriptor = os.open(self._path, _RESUME_FLAGS if resumes else _CREATE_FLAGS, 0o600)
        self._size = os.fstat(self._descriptor).st_size if resumes else 0
        self._on_its_way = self._size

    @property
    def size(self) -> int:
        return self._size

    def write(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            written = os.write(self._descriptor, rest)
            self._size += written
            rest = rest[written:]
        if self._size - self._on_its_way >= _WAITING:
            self._begin_to_sync()

    def finish(self) -> None:
        self.finish_content()
        # The entry itself must survive too, before a row that points at it does.
        self._store.sync_staging()

    def finish_content(self) -> None:
        """`finish` but for the directory's entry, which the store then makes durable for many at once."""
        os.fsync(self._descriptor)
        self._close()

    def suspend(self) -> None:
        self._close()

    def abort(self) -> None:
        self._close()
        with suppress(FileNotFoundError):
            os.unlink(self._path)

    def _begin_to_sync(self) -> None:
        # Says that nobody will read this soon. Linux then begins to write it, and keeps it in memory meanwhile.
        if hasattr(os, "posix_fadvise"):
            length = self._size - self._on_its_way
            os.posix_fadvise(self._descriptor, self._on_its_way, length, os.POSIX_FADV_DONTNEED)
        self._on_its_way = self._size

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class LocalBlobStore:
    """A `BlobStore` below the directory `root`, which is made on first use and readable to its owner only."""

    is_remote = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self.staging = root / "staging"

    def owner(self) -> str | None:
        return None  # the state directory, which it's in, tells

    def set_owner(self, owner: str) -> None:
        pass

    def create(self, resumable: bool = False, blob_id: str | None = None) -> LocalBlobWriter:
        new_id = uuid.uuid4().hex if blob_id is None else blob_id
        try:
            return LocalBlobWriter(self, new_id)
        except FileNotFoundError:
            self.make_directories()
            return LocalBlobWriter(self, new_id)

    def resume(self, blob_id: str) -> LocalBlobWriter:
        return LocalBlobWriter(self, blob_id, resumes=True)

    def create_many(self, contents: Sequence[bytes]) -> list[str]:
        ids: list[str] = []
        try:
            for start in range(0, len(contents), _OPEN_AT_ONCE):
                self._create_some(contents[start : start + _OPEN_AT_ONCE], ids)
            if ids:
                self.sync_staging()
        except BaseException:
            for blob_id in ids:
                with suppress(OSError):
                    self.delete(blob_id)
            raise
        return ids

    def _create_some(self, contents: Sequence[bytes], ids: list[str]) -> None:
        """Blobs with `contents`, on disk but for their names, which come to `ids`."""
        writers: list[LocalBlobWriter] = []
        try:
            for content in contents:
                writers.append(self.create())
                ids.append(writers[-1].id)
                writers[-1].write(content)
            # All are on their way to the disk by now, so that few of these have to wait for it.
            for writer in writers:
                writer.finish_content()
        finally:
            for writer in writers:
                writer.suspend()

    def publish(self, blob_id: str) -> None:
        target = self._shard(blob_id)
        try:
            os.rename(self.staged_path(blob_id), target)
        except FileNotFoundError:
            # The first blob of this shard; if it's the source that's missing, the second attempt says so.
            with suppress(FileExistsError):
                os.mkdir(os.path.dirname(target), 0o700)
            os.rename(self.staged_path(blob_id), target)

    def publish_many(self, blob_ids: Sequence[str]) -> None:
        for blob_id in blob_ids:
            with suppress(FileNotFoundError):
                self.publish(blob_id)

    def open_blob(self, blob_id: str) -> BinaryIO:
        # A blob moves once, from staging to its shard: it may do so between the first two looks.
        for path in (self._shard(blob_id), self.staged_path(blob_id)):
            with suppress(FileNotFoundError):
                return open(path, "rb", buffering=0)
        return open(self._shard(blob_id), "rb", buffering=0)

    def open_staged(self, blob_id: str) -> BinaryIO:
        """`open_blob` of one that isn't published."""
        return open(self.staged_path(blob_id), "rb", buffering=0)

    def delete_staged(self, blob_id: str) -> None:
        """`delete` of one that isn't published."""
        with suppress(FileNotFoundError):
            os.unlink(self.staged_path(blob_id))

    def delete(self, blob_id: str) -> None:
        # In the order in which a blob moves, or one that moves between the two looks would stay for ever.
        for path in (self.staged_path(blob_id), self._shard(blob_id)):
            with suppress(FileNotFoundError):
                os.unlink(path)

    def delete_many(self, blob_ids: Sequence[str]) -> None:
        problem: OSError | None = None
        for blob_id in blob_ids:
            try:
                self.delete(blob_id)
            except OSError as failed:
                problem = failed
        if problem is not None:
            raise problem

    def set_aside(self, blob_id: str) -> str:
        (self.root / LOST).mkdir(exist_ok=True, mode=0o700)
        os.rename(self._shard(blob_id), self.root / LOST / blob_id)
        return f"{LOST}/{blob_id}"

    def recover(
        self, is_referenced: Callable[[str], bool], is_unfinished: Callable[[str], bool], garbage: Iterable[str]
    ) -> None:
        self.make_directories()
        for blob_id in garbage:
            self.delete(blob_id)
        for name in os.listdir(self.staging):
            if not is_blob_id(name):
                log.warning("left alone: %s is not a blob", self.staging / name)
            elif is_referenced(name):
                self.publish(name)
            elif not is_unfinished(name):
                os.unlink(self.staging / name)

    def entries(self) -> Iterator[Entry]:
        for shard in sorted(_names(self.root)):
            if shard in _NOT_PUBLISHED:
                continue
            if len(shard) == 2 and os.path.isdir(self.root / shard):
                for name in sorted(_names(self.root / shard)):
                    is_blob = is_blob_id(name) and name.startswith(shard)
                    yield from _entry(self.root / shard / name, name if is_blob else f"{shard}/{name}")
            else:
                yield from _entry(self.root / shard, shard)

    def staged(self) -> list[str]:
        return [name for name in _names(self.staging) if is_blob_id(name)]

    def sync_staging(self) -> None:
        """Make the entries of the staging directory durable."""
        sync(self.staging)

    def make_directories(self) -> None:
        """Make what isn't there yet."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.staging.mkdir(exist_ok=True, mode=0o700)

    def staged_path(self, blob_id: str) -> str:
        """Where the blob is until it is published."""
        return f"{self.staging}/{checked(blob_id)}"

    def _shard(self, blob_id: str) -> str:
        return f"{self.root}/{checked(blob_id)[:2]}/{blob_id}"


def _names(directory: Path) -> list[str]:
    """What is in `directory`, if there is one."""
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _entry(path: Path, name: str) -> Iterator[Entry]:
    with suppress(FileNotFoundError):  # removed since it was listed
        found = os.stat(path)
        yield Entry(name, found.st_size, found.st_mtime)
