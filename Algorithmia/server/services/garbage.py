"""Contents that nothing refers to any more: recorded in the transaction that let go of them, unlinked after it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

import sqlalchemy as sa

from ..db import schema
from ..db.database import Database
from ..db.inserts import insert_unless_there
from ..storage.base import BlobStore

log = logging.getLogger("algorithmia.storage")

_BATCH = 500
# The others wait for the next start.
_MOST_TRIED_AGAIN = 100_000
_DELETE = schema.garbage.delete().where(schema.garbage.c.blob_id.in_(sa.bindparam("done", expanding=True)))
# No row names both; should one ever, the file is in the right.
_UNREFERENCED = sa.select(schema.garbage.c.blob_id).where(
    ~sa.exists().where(schema.files.c.blob_id == schema.garbage.c.blob_id)
)


class Garbage:
    """The table `garbage` and the blobs that it names.

    A blob's row goes away together with some later write, so that letting go of a blob costs no transaction of its own.
    """

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self._database = database
        self._blobs = blobs
        self._unlinked: deque[str] = deque()
        self._failed: deque[str] = deque(maxlen=_MOST_TRIED_AGAIN)

    def add(self, connection: sa.Connection, blob_ids: Sequence[str]) -> None:
        """Record `blob_ids` as part of the transaction on `connection`; `unlink` them once it's committed."""
        if blob_ids:
            insert = insert_unless_there(schema.garbage, connection.dialect.name)
            connection.execute(insert, [{"blob_id": blob_id} for blob_id in blob_ids])
        # Should this transaction fail, these rows stay until the next start: they name blobs that are gone, no harm.
        done = [self._unlinked.popleft() for _ in range(min(len(self._unlinked), _BATCH))]
        if done:
            connection.execute(_DELETE, {"done": done})

    def unlink(self, blob_ids: Sequence[str]) -> None:
        """Remove the contents. What can't be removed now is tried again once other contents could be, or at a start."""
        if not blob_ids:
            return
        if not self._delete(blob_ids):
            self._failed.extend(blob_ids)
            return
        again: list[str] = []
        with suppress(IndexError):
            while len(again) < _BATCH:
                again.append(self._failed.popleft())
        if again:
            self._delete(again)

    def _delete(self, blob_ids: Sequence[str]) -> bool:
        try:
            self._blobs.delete_many(blob_ids)
        except OSError as problem:
            log.error("%d blobs could not be removed, %s and so on: %s", len(blob_ids), blob_ids[0], problem)
            return False
        self._unlinked.extend(blob_ids)
        return True

    def recover(self) -> None:
        """At start: settle what a crash left in the blob store, and empty the table."""
        with self._database.read() as connection:
            garbage = list(connection.execute(_UNREFERENCED).scalars())
        self._blobs.recover(self._named_by(schema.files), self._named_by(schema.uploads), garbage)
        for start in range(0, len(garbage), _BATCH):
            with self._database.write() as connection:
                connection.execute(_DELETE, {"done": garbage[start : start + _BATCH]})

    def _named_by(self, table: sa.Table) -> Callable[[str], bool]:
        """A function that says whether a row of `table` names a blob."""
        statement = sa.select(table.c.blob_id).where(table.c.blob_id == sa.bindparam("id"))

        def is_named(blob_id: str) -> bool:
            with self._database.read() as connection:
                return connection.execute(statement, {"id": blob_id}).first() is not None

        return is_named
