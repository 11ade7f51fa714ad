"""Adding a row that somebody else may be adding at the same time, in the words of each database."""

from __future__ import annotations

from functools import cache

import sqlalchemy as sa


@cache
def insert_unless_there(table: sa.Table, dialect: str) -> sa.Insert:
    """An INSERT that leaves rows alone whose key is there already; what it added, `rowcount` says.

    dialect  the name of the connection's

    In PostgreSQL it waits for whoever is just adding such a row. An error would end the transaction there.
    """
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # much to load, and nothing that SQLite needs

        insert: sa.Insert = postgresql.insert(table).on_conflict_do_nothing()
    else:
        from sqlalchemy.dialects import sqlite

        insert = sqlite.insert(table).on_conflict_do_nothing()
    return insert.execution_options(preserve_rowcount=True)
