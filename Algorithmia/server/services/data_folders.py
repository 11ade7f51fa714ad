"""Folders below collections: nothing but the slashes in files' names, as in object stores. Here is what they take.

A folder's files are one stretch of the index on (collection, name), because names are compared byte by byte: SQLite
does, and in PostgreSQL the column has the collation C. Every statement here is a few look-ups in that index, however
many files there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from ..db import schema
from .data_paths import MAX_NAME_BYTES

_files = schema.files

# What follows "/" in ASCII: FOLDER0 comes right behind everything that begins with FOLDER/.
_BEHIND_SLASH = "0"
# No name has control characters, so NAME\1 comes right behind NAME.
_NEXT = "\x01"
# Behind every name that there can be.
_BEHIND_ALL = "\U0010ffff" * (MAX_NAME_BYTES // 4 + 1)

_IN_STRETCH = sa.and_(
    _files.c.collection_id == sa.bindparam("collection"),
    _files.c.name >= sa.bindparam("start"),
    _files.c.name < sa.bindparam("end"),
)
_STRETCH = (
    sa.select(_files.c.name, _files.c.size, _files.c.modified_at)
    .where(_IN_STRETCH)
    .order_by(_files.c.name)
    .limit(sa.bindparam("limit", type_=sa.Integer))
)
_FIRST = sa.select(_files.c.name).where(_IN_STRETCH).order_by(_files.c.name).limit(1)
_ANY_OF = (
    sa.select(_files.c.name)
    .where(_files.c.collection_id == sa.bindparam("collection"))
    .where(_files.c.name.in_(sa.bindparam("names", expanding=True)))
    .limit(1)
)
# Each step finds the next file, from behind the last one or, when that was in a folder, from behind the folder.
_LEVEL = """
WITH RECURSIVE level(name, step) AS (
    SELECT (
        SELECT name FROM files WHERE collection_id = :collection AND name >= :start AND name < :end
        ORDER BY name LIMIT 1
    ), 1
    UNION ALL
    SELECT (
        SELECT files.name FROM files
        WHERE files.collection_id = :collection AND files.name < :end AND files.name >= CASE
            WHEN {instr}(substr(level.name, :inside), '/') > 0
            THEN substr(level.name, 1, :inside - 2 + {instr}(substr(level.name, :inside), '/')) || :behind_slash
            ELSE level.name || :next
        END
        ORDER BY files.name LIMIT 1
    ), level.step + 1
    FROM level WHERE level.name IS NOT NULL AND level.step < :steps
)
SELECT level.name, files.size, files.modified_at
FROM level JOIN files ON files.collection_id = :collection AND files.name = level.name
ORDER BY level.step
"""
_LEVELS = {"sqlite": sa.text(_LEVEL.format(instr="instr")), "postgresql": sa.text(_LEVEL.format(instr="strpos"))}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a folder (no size) directly below a collection or folder.

    key  the name; a folder's ends with a slash, which is what it is sorted by
    """

    key: str
    size: int | None = None
    modified_at: int = 0


def level(connection: sa.Connection, collection_id: str, folder: str, after: str, limit: int) -> list[Entry]:
    """Up to `limit` entries directly below `folder` (empty: the collection itself) behind the key `after`, in order."""
    prefix, end = _bounds(folder)
    start = _behind(prefix, after) if after else prefix
    values = {"collection": collection_id, "start": start, "end": end}
    rows = connection.execute(_STRETCH, {**values, "limit": limit}).all()
    inside = len(prefix)
    files = next((index for index, row in enumerate(rows) if "/" in row.name[inside:]), len(rows))
    entries = [Entry(row.name[inside:], row.size, row.modified_at) for row in rows[:files]]
    if files == len(rows):
        return entries
    steps = {
        **values,
        "start": rows[files].name,
        "inside": inside + 1,
        "behind_slash": _BEHIND_SLASH,
        "next": _NEXT,
        "steps": limit - files,
    }
    for row in connection.execute(_LEVELS[connection.dialect.name], steps):
        name, slash, _ = row.name[inside:].partition("/")
        entries.append(Entry(f"{name}/") if slash else Entry(name, row.size, row.modified_at))
    return entries


def exists(connection: sa.Connection, collection_id: str, folder: str) -> bool:
    """Whether `folder` has files, which is what makes it one."""
    start, end = _bounds(folder)
    return connection.execute(_FIRST, {"collection": collection_id, "start": start, "end": end}).first() is not None


def in_the_way(connection: sa.Connection, collection_id: str, name: str) -> str:
    """Why there can't be a new file called `name`: a file that would have to be a folder, or the other way round.

    Empty when there can be. To be asked in the transaction that adds the file.
    """
    segments = name.split("/")[:-1]
    if segments:
        above = ["/".join(segments[: count + 1]) for count in range(len(segments))]
        file = connection.execute(_ANY_OF, {"collection": collection_id, "names": above}).scalar()
        if file is not None:
            return f"{file} is a file there, so it can't be a folder, too"
    if exists(connection, collection_id, name):
        return f"{name} is a folder with files there, so it can't be a file, too"
    return ""


def stretch(folder: str, after: str = "") -> tuple[str, str]:
    """Where names below `folder` begin, or those behind the full name `after`, and where they end (exclusively)."""
    start, end = _bounds(folder)
    return (after + _NEXT if after else start), end


def _bounds(folder: str) -> tuple[str, str]:
    return (f"{folder}/", folder + _BEHIND_SLASH) if folder else ("", _BEHIND_ALL)


def _behind(prefix: str, key: str) -> str:
    return prefix + (key[:-1] + _BEHIND_SLASH if key.endswith("/") else key + _NEXT)
