"""Removing many files: a batch per transaction, so that others hardly wait, and restartable at any point.

A collection is out of sight with one change of its row (it moves to the space `DELETED`, where nothing looks for
files); its files follow, and what a request or a crash leaves of them, `go_on` removes later. A folder has no row,
so its files go while it is seen to shrink; whoever asked asks again if that is interrupted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from ..db.database import Database
from ..db.values import now_ms
from ..errors import ApiProblem, Code, Unavailable
from . import data_folders, data_records
from .data_paths import ALGO
from .data_records import Collection
from .garbage import Garbage

log = logging.getLogger("algorithmia.storage")

# The space of collections that were removed, and still have files.
DELETED = "deleted"
_BATCH = 500
# Seconds that a request waits for the files of a collection to go; they needn't have gone for it to succeed.
_PATIENCE = 10.0
_TEMPORARY_MS = 24 * 3600 * 1000


class DeletionStopped(ApiProblem):
    """500: removing a directory failed on the way; ``deleted`` in the error says how many files are gone."""

    status = 500
    default_code = Code.INTERNAL


class Removal:
    """Every method blocks, and may be called from any thread.

    on_rest  called when there is something left for `go_on` to do
    """

    def __init__(self, database: Database, garbage: Garbage) -> None:
        self._database = database
        self._garbage = garbage
        self._stopping = threading.Event()
        self.on_rest: Callable[[], None] = lambda: None

    def stop(self) -> None:
        """End what is under way, between two batches: the platform is about to stop."""
        self._stopping.set()

    def condemn(self, connection: sa.Connection, collection: Collection) -> None:
        """Take `collection` and its files out of sight, once the transaction on `connection` is committed."""
        data_records.move_collection(connection, collection.id, DELETED)

    def condemn_space(self, space: str) -> None:
        """`condemn` all collections of `space`."""
        with self._database.write() as connection:
            data_records.move_space(connection, space, DELETED)

    def collection(self, collection: Collection) -> int:
        """Remove the files of a condemned collection; how many it has. If that takes long, `go_on` does the rest."""
        with self._database.read() as connection:
            count = data_records.count_files(connection, collection.id)
        if not self._finish(collection, time.monotonic() + _PATIENCE):
            self.on_rest()
        return count

    def folder(self, collection: Collection, folder: str) -> int:
        """Remove the files of `folder`; how many there were. Raises DeletionStopped."""
        deleted = 0
        start, end = data_folders.stretch(folder)
        try:
            while not self._stopping.is_set():
                with self._database.write() as connection:
                    if not data_records.lock_collections(connection, [collection.id]):
                        return deleted  # it was removed altogether
                    batch = data_records.files_between(connection, collection.id, start, end, _BATCH)
                    self._delete(connection, collection.account_id, batch)
                deleted += len(batch)
                self._unlink(batch)
                if len(batch) < _BATCH:
                    return deleted
                # Onwards, so that it ends although somebody stores files there all the while.
                start, _ = data_folders.stretch(folder, batch[-1].name)
        except (sa.exc.SQLAlchemyError, Unavailable) as problem:
            raise _stopped("failed", deleted) from problem
        raise _stopped("was interrupted, because the platform stops,", deleted)

    def has_rest(self) -> bool:
        """Whether `go_on` has anything to do."""
        with self._database.read() as connection:
            return bool(data_records.collection_rows(connection, DELETED, limit=1))

    def go_on(self) -> None:
        """Remove what is left of condemned collections."""
        with self._database.read() as connection:
            rows = data_records.collection_rows(connection, DELETED)
        for row in rows:
            self._finish(Collection(row.id, row.account_id, row.acl_read))

    def expire(self) -> None:
        """Remove files in ``.algo/OWNER/NAME/temp`` folders that are older than a day."""
        before = now_ms() - _TEMPORARY_MS
        while not self._stopping.is_set():
            # Looked for without holding up whoever writes: mostly there are none.
            with self._database.read() as connection:
                found = data_records.expired_files(connection, ALGO, "/temp", before, _BATCH)
            if not found:
                return
            with self._database.write() as connection:
                within = data_records.lock_collections(connection, {row.collection_id for row in found})
                batch = data_records.expired_files(connection, ALGO, "/temp", before, _BATCH, within)
                by_account: dict[str, list[sa.Row[Any]]] = defaultdict(list)
                for row in batch:
                    by_account[row.account_id].append(row)
                for account_id, rows in sorted(by_account.items()):  # see lock_collections
                    self._delete(connection, account_id, rows)
            self._unlink(batch)

    def _finish(self, collection: Collection, deadline: float | None = None) -> bool:
        """Remove the files of a condemned collection, and then itself; whether it came to the end."""
        start, end = data_folders.stretch("")
        try:
            while not self._stopping.is_set() and (deadline is None or time.monotonic() < deadline):
                with self._database.write() as connection:
                    if not data_records.lock_collections(connection, [collection.id]):
                        return True  # by another thread
                    batch = data_records.files_between(connection, collection.id, start, end, _BATCH)
                    self._delete(connection, collection.account_id, batch)
                    is_last = len(batch) < _BATCH
                    if is_last:
                        data_records.delete_collection(connection, collection)
                self._unlink(batch)
                if is_last:
                    return True
        except (sa.exc.SQLAlchemyError, Unavailable):
            log.exception("files of a removed collection are still there; they go at the next sweep")
        return False

    def _delete(self, connection: sa.Connection, account_id: str, batch: Sequence[sa.Row[Any]]) -> None:
        data_records.delete_files(connection, account_id, [(row.id, row.size) for row in batch])
        self._garbage.add(connection, [row.blob_id for row in batch])

    def _unlink(self, batch: Sequence[sa.Row[Any]]) -> None:
        self._garbage.unlink([row.blob_id for row in batch])


def _stopped(how: str, deleted: int) -> DeletionStopped:
    message = f"removing the directory {how} after {deleted} files; repeat the request to go on"
    return DeletionStopped(message, extra={"deleted": deleted})
