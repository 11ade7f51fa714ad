"""Folders below collections: nothing but the slashes in files' names, as in object stores. Here is what they take.

A folder's files are one stretch of the index on (collection, name), because names are compared byte by byte: SQLite
does, and in PostgreSQL the column has the collation C. Every statement here is a few look-ups in that index, however
many files there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
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
# Names as one text: statements with thousands of parameters take long to build, while others wait to write.
_NAMES = {"sqlite": "json_each(:names)", "postgresql": "json_array_elements_text(CAST(:names AS json))"}
_FILES_AMONG = """
SELECT value FROM {names}
WHERE EXISTS (SELECT 1 FROM files WHERE files.collection_id = :collection AND files.name = value)
"""
_FOLDERS_AMONG = """
SELECT value FROM {names} WHERE EXISTS (
    SELECT 1 FROM files
    WHERE files.collection_id = :collection AND files.name >= value || '/' AND files.name < value || :behind_slash
)
"""
_FILES_AMONGS = {dialect: sa.text(_FILES_AMONG.format(names=names)) for dialect, names in _NAMES.items()}
_FOLDERS_AMONGS = {dialect: sa.text(_FOLDERS_AMONG.format(names=names)) for dialect, names in _NAMES.items()}
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
    above = list(_above(name))
    if above:
        file = connection.execute(_ANY_OF, {"collection": collection_id, "names": above}).scalar()
        if file is not None:
            return _file_there(file)
    return _folder_there(name) if exists(connection, collection_id, name) else ""


def all_in_the_way(connection: sa.Connection, collection_id: str, names: Sequence[str]) -> dict[str, str]:
    """`in_the_way` for many new files at once, which may be in each other's way, too: what is in whose way."""
    dialect = connection.dialect.name
    above = _folders_of(names)
    values = {"collection": collection_id, "names": json.dumps(list(above))}
    files = above.intersection(names)
    folders = set(files)
    if above:
        files.update(connection.execute(_FILES_AMONGS[dialect], values).scalars())
    values = {"collection": collection_id, "names": json.dumps(names), "behind_slash": _BEHIND_SLASH}
    folders.update(connection.execute(_FOLDERS_AMONGS[dialect], values).scalars())
    obstacles: dict[str, str] = {}
    for folder in sorted(above, key=len) if files else ():
        obstacle = obstacles.get(_parent(folder)) or (folder if folder in files else "")
        if obstacle:
            obstacles[folder] = obstacle
    found = {name: _file_there(obstacles[_parent(name)]) for name in names if _parent(name) in obstacles}
    found.update((name, _folder_there(name)) for name in folders)
    return found


def _folders_of(names: Iterable[str]) -> set[str]:
    """The folders that files with these `names` are in, and those that these are in."""
    found: set[str] = set()
    for name in names:
        folder = _parent(name)
        while folder and folder not in found:  # if it is, so are those above
            found.add(folder)
            folder = _parent(folder)
    return found


def _parent(name: str) -> str:
    """The folder that a file or folder is in; empty when it's in none."""
    return name.rpartition("/")[0]


def _above(name: str) -> Iterator[str]:
    """The folders that `name` is in."""
    return (name[:place] for place, letter in enumerate(name) if letter == "/")


def _file_there(name: str) -> str:
    return f"{name} is a file there, so it can't be a folder, too"


def _folder_there(name: str) -> str:
    return f"{name} is a folder with files there, so it can't be a file, too"


def stretch(folder: str, after: str = "") -> tuple[str, str]:
    """Where names below `folder` begin, or those behind the full name `after`, and where they end (exclusively)."""
    start, end = _bounds(folder)
    return (after + _NEXT if after else start), end


def _bounds(folder: str) -> tuple[str, str]:
    return (f"{folder}/", folder + _BEHIND_SLASH) if folder else ("", _BEHIND_ALL)


def _behind(prefix: str, key: str) -> str:
    return prefix + (key[:-1] + _BEHIND_SLASH if key.endswith("/") else key + _NEXT)
