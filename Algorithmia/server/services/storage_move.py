"""File contents from one blob store to another: each read, compared with its row, written, read again, and only then
there for good. What is there already is read, too, and copied only if it isn't what the row says: so it can be stopped
and begun anew at any time, whatever became of its notes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from ..db import schema
from ..db.database import Database
from ..storage.base import BlobStore, Entry, is_blob_id
from . import stored_files
from .garbage import Garbage
from .stored_files import StoredFile, WrongContent

_REMOTE_WORKERS = 8


@dataclass(frozen=True, slots=True)
class NotCopied:
    """A file that stays behind: its URI, and what is wrong with its content in the old store."""

    uri: str
    said: str


class StorageMove:
    """One run over all files; nobody else may be at work on the database or the stores.

    After `copy`: `files` and `bytes` that the new store holds, and how many of the files it held before, `skipped`.
    """

    def __init__(
        self,
        database: Database,
        source: BlobStore,
        target: BlobStore,
        progress: Callable[[int, int], None] = lambda files, size: None,
    ) -> None:
        self._database = database
        self._source = source
        self._target = target
        self._progress = progress
        self.files = 0
        self.bytes = 0
        self.skipped = 0

    def copy(self) -> Iterator[NotCopied]:
        """Copy what isn't there yet; what can't be, because the old store has not what the row says, is told.

        Raises OSError when either store fails.
        """
        Garbage(self._database, self._source).recover()
        # Of an earlier run: what was written and not yet read again. Uploads that people may resume stay.
        self._target.recover(lambda blob_id: False, self._is_begun, ())
        held = (entry for entry in self._target.entries() if is_blob_id(entry.name))
        pairs = stored_files.beside(stored_files.in_order(self._database), held)
        workers = _REMOTE_WORKERS if self._source.is_remote or self._target.is_remote else 1
        known = ((file, entry) for file, entry in pairs if file is not None)
        for file, was_there, problem in stored_files.in_parallel(self._settle, known, workers):
            if problem is not None:
                yield problem
                continue
            self.files += 1
            self.bytes += file.size
            self.skipped += was_there
            self._progress(self.files, self.bytes)

    def _settle(self, pair: tuple[StoredFile, Entry | None]) -> tuple[StoredFile, bool, NotCopied | None]:
        file, entry = pair
        problem = None
        was_there = entry is not None and self._holds(file, entry)
        try:
            if not was_there:
                self._copy(file, entry)
        except FileNotFoundError:
            problem = self._left(file, "its content is gone")
        except WrongContent as wrong:
            problem = self._left(file, f"its content {wrong}")
        return file, was_there, problem

    def _holds(self, file: StoredFile, entry: Entry) -> bool:
        """Whether the new store has the content. That it's there isn't enough: a run may have ended before it read it
        again, and the old store, which has its notes in the same place, may have settled the note since."""
        if entry.size != file.size:
            return False
        try:
            stored_files.read_checked(self._target, file)
        except (WrongContent, FileNotFoundError):
            return False
        return True

    def _copy(self, file: StoredFile, before: Entry | None) -> None:
        if before is not None:  # and is something else, so it's none of ours
            self._target.delete(file.blob_id)
        writer = self._target.create(blob_id=file.blob_id)
        try:
            stored_files.read_checked(self._source, file, writer.write)
            writer.finish()
            try:
                stored_files.read_checked(self._target, file)
            except (WrongContent, FileNotFoundError) as problem:
                raise OSError(f"blob {file.blob_id} was written, and what the new store has of it {problem}") from None
        except BaseException:
            writer.abort()
            raise
        self._target.publish(file.blob_id)

    def _left(self, file: StoredFile, said: str) -> NotCopied:
        return NotCopied(stored_files.uri_of(self._database, file.blob_id) or file.blob_id, said)

    def _is_begun(self, blob_id: str) -> bool:
        statement = sa.select(schema.uploads.c.id).where(schema.uploads.c.blob_id == blob_id)
        with self._database.read() as connection:
            return connection.execute(statement).first() is not None
