"""Contents that can't be removed when they should be: when they are, and what is left of them in the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from Algorithmia.server.db import schema
from Algorithmia.server.db.database import Database
from Algorithmia.server.services.garbage import Garbage
from Algorithmia.server.storage.local import LocalBlobStore


class Away(LocalBlobStore):
    """A store that can't be reached while `is_away`."""

    is_away = False

    def delete_many(self, blob_ids: Sequence[str]) -> None:
        if self.is_away:
            raise OSError("not to be reached")
        super().delete_many(blob_ids)


@pytest.fixture
def database(tmp_path: Path) -> Any:
    database = Database(f"sqlite:///{tmp_path}/platform.db")
    database.upgrade()
    yield database
    database.close()


def listed(database: Database) -> set[str]:
    with database.read() as connection:
        return set(connection.execute(sa.select(schema.garbage.c.blob_id)).scalars())


def let_go(database: Database, garbage: Garbage, *blob_ids: str) -> None:
    with database.write() as connection:
        garbage.add(connection, blob_ids)
    garbage.unlink(blob_ids)


def test_what_could_not_be_removed_goes_with_what_can(database: Database, tmp_path: Path) -> None:
    blobs = Away(tmp_path / "blobs")
    garbage = Garbage(database, blobs)
    first, second, third = blobs.create_many([b"1", b"2", b"3"])
    blobs.is_away = True
    let_go(database, garbage, first, second)
    assert sorted(blobs.staged()) == sorted((first, second, third))
    garbage.unlink([])  # a file that replaces none: nothing to try
    blobs.is_away = False
    let_go(database, garbage, third)
    assert blobs.staged() == []
    let_go(database, garbage)
    assert listed(database) == set()


def test_a_start_makes_up_for_it(database: Database, tmp_path: Path) -> None:
    blobs = Away(tmp_path / "blobs")
    (blob_id,) = blobs.create_many([b"1"])
    blobs.is_away = True
    let_go(database, Garbage(database, blobs), blob_id)
    assert listed(database) == {blob_id}
    blobs.is_away = False
    Garbage(database, blobs).recover()
    assert (blobs.staged(), listed(database)) == ([], set())
