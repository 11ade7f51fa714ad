"""Collections and files as rows: the statements of hosted data, each built once, on a connection that's given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..db import schema
from ..db.inserts import insert_unless_there
from ..db.values import new_id, now_ms
from .data_access import Place
from .digests import MD5, SHA256, XXH128, Digest

_accounts, _collections, _files = schema.accounts, schema.collections, schema.files


@dataclass(frozen=True, slots=True)
class Collection:
    """A directory with files in it. `acl_read` is the stored form of `acl.py`."""

    id: str
    account_id: str
    acl_read: str


@dataclass(frozen=True, slots=True)
class File:
    """A file's row, or what stands for one elsewhere (without `blob_id`, and with whatever ETag there is).

    modified_at  milliseconds since the epoch
    """

    id: str
    name: str
    size: int
    etag: str
    content_type: str
    blob_id: str
    modified_at: int
    sha256: str | None = None
    xxh128: str | None = None

    @property
    def digests(self) -> list[Digest]:
        """Of the content, as far as they're known; the quickest to compare comes first."""
        known = [Digest(name, text) for name, text in ((XXH128, self.xxh128), (SHA256, self.sha256)) if text]
        return known or ([Digest(MD5, self.etag)] if self.blob_id else [])


# Collection and file in one statement: this is what every download and upload asks.
_LOCATE = (
    sa.select(
        _collections.c.id.label("collection_id"),
        _collections.c.account_id,
        _collections.c.acl_read,
        *(_files.c[name].label(f"file_{name}") for name in File.__dataclass_fields__),
    )
    .select_from(
        _collections.outerjoin(
            _files, sa.and_(_files.c.collection_id == _collections.c.id, _files.c.name == sa.bindparam("file"))
        )
    )
    .where(_collections.c.space == sa.bindparam("space"), _collections.c.name == sa.bindparam("collection"))
)
_LOCATE_OWN = _LOCATE.where(_collections.c.account_id == sa.bindparam("account_id"))
_LOCATE_OTHERS = _LOCATE.where(
    _collections.c.account_id
    == sa.select(_accounts.c.id).where(_accounts.c.username_key == sa.bindparam("owner")).scalar_subquery()
)
# PostgreSQL has writers side by side; those of one collection wait for each other. This is a statement of its own,
# because one that waits sees the rows that it waited for as they are then, but all others as they were before.
_LOCK_OWN = (
    sa.select(_collections.c.id)
    .where(
        _collections.c.space == sa.bindparam("space"),
        _collections.c.name == sa.bindparam("collection"),
        _collections.c.account_id == sa.bindparam("account_id"),
    )
    .with_for_update()
)
_KEPT = sa.select(
    _files.c.id, _files.c.collection_id, _files.c.blob_id, _files.c.name, _files.c.size, _files.c.modified_at
)
_INSERT_FILE = _files.insert()
_UPDATE_FILE = _files.update().where(_files.c.id == sa.bindparam("file_id"))
_DELETE_FILES = _files.delete().where(_files.c.id.in_(sa.bindparam("ids", expanding=True)))
_MOVE = _collections.update().values(space=sa.bindparam("to"), name=_collections.c.id)
_CHARGE = (
    _accounts.update()
    .where(_accounts.c.id == sa.bindparam("account"))
    .values(used_bytes=_accounts.c.used_bytes + sa.bindparam("size", type_=sa.BigInteger))
)


def locate(
    connection: sa.Connection, place: Place, file: str = "", for_update: bool = False
) -> tuple[Collection | None, File | None]:
    """The collection at `place`, and its file called `file`, as far as they're there.

    for_update  and keep others from changing them until this transaction ends
    """
    values = {"space": place.space, "collection": place.collection, "file": file}
    if place.account_id is None:
        row = connection.execute(_LOCATE_OTHERS, {**values, "owner": place.owner}).first()
    else:
        own = {**values, "account_id": place.account_id}
        # SQLite has one writer at a time, and this is in the way of each.
        if for_update and connection.dialect.name != "sqlite" and connection.execute(_LOCK_OWN, own).first() is None:
            return None, None
        row = connection.execute(_LOCATE_OWN, own).first()
    if row is None:
        return None, None
    collection = Collection(*row[:3])
    return collection, None if row.file_id is None else File(*row[3:])


def account_id_of(connection: sa.Connection, username_key: str) -> str | None:
    """The id of the account with that lower-case name."""
    return connection.execute(sa.select(_accounts.c.id).where(_accounts.c.username_key == username_key)).scalar()


def insert_collection(connection: sa.Connection, space: str, account_id: str, name: str, acl_read: str) -> Collection:
    """Add a collection. Raises sqlalchemy's IntegrityError when there's one of that name."""
    row = _collection_row(space, account_id, name, acl_read)
    connection.execute(_collections.insert(), row)
    return Collection(row["id"], account_id, acl_read)


def insert_implied(
    connection: sa.Connection, space: str, account_id: str, name: str, acl_read: str
) -> Collection | None:
    """Add a collection that comes by itself; None when there's one of that name: somebody else has just added it."""
    row = _collection_row(space, account_id, name, acl_read)
    added = connection.execute(insert_unless_there(_collections, connection.dialect.name), row).rowcount
    return Collection(row["id"], account_id, acl_read) if added else None


def _collection_row(space: str, account_id: str, name: str, acl_read: str) -> dict[str, Any]:
    return {
        "id": new_id(),
        "space": space,
        "account_id": account_id,
        "name": name,
        "acl_read": acl_read,
        "created_at": now_ms(),
    }


def update_acl(connection: sa.Connection, collection: Collection, acl_read: str) -> None:
    """Change who may read `collection`."""
    connection.execute(_collections.update().where(_collections.c.id == collection.id).values(acl_read=acl_read))


def put_file(connection: sa.Connection, collection: Collection, existing: File | None, values: dict[str, Any]) -> None:
    """Add a file to `collection`, or give `existing` new contents, and charge the account with the difference.

    values  columns of the files table

    Whether the account may store that much is the caller's to check (`Quotas.check`), in the same transaction.
    """
    if existing is None:
        connection.execute(_INSERT_FILE, {"id": new_id(), "collection_id": collection.id, **values})
    else:
        connection.execute(_UPDATE_FILE, {"file_id": existing.id, **values})
    _charge(connection, collection.account_id, values["size"] - (existing.size if existing else 0))


def put_files(
    connection: sa.Connection, collection: Collection, there: Mapping[str, sa.Row[Any]], rows: Sequence[dict[str, Any]]
) -> int:
    """`put_file` for many at once; by how much they grow together.

    there  what `files_called` found of them
    """
    added = [{"id": new_id(), "collection_id": collection.id, **row} for row in rows if row["name"] not in there]
    changed = [{"file_id": there[row["name"]].id, **row} for row in rows if row["name"] in there]
    if added:
        connection.execute(_INSERT_FILE, added)
    if changed:
        connection.execute(_UPDATE_FILE, changed)
    grown = sum(row["size"] for row in rows) - sum(file.size for file in there.values())
    _charge(connection, collection.account_id, grown)
    return grown


def delete_files(connection: sa.Connection, account_id: str, files: Sequence[tuple[str, int]]) -> None:
    """Remove the rows of files (id and size) of that account, which is credited with them.

    They were looked up in this transaction, and their collection was locked before. Their blobs are the caller's to
    collect.
    """
    if files:
        removed = connection.execute(_DELETE_FILES, {"ids": [file_id for file_id, _ in files]}).rowcount
        if removed != len(files):
            raise RuntimeError(f"{removed} files were removed instead of {len(files)}: their collection isn't locked")
        _charge(connection, account_id, -sum(size for _, size in files))


def delete_collection(connection: sa.Connection, collection: Collection) -> None:
    """Remove the row of an empty collection."""
    connection.execute(_collections.delete().where(_collections.c.id == collection.id))


def move_collection(connection: sa.Connection, collection_id: str, space: str) -> None:
    """Move the collection to `space`, where its id is its name."""
    connection.execute(_MOVE.where(_collections.c.id == collection_id), {"to": space})


def move_space(connection: sa.Connection, source: str, space: str) -> None:
    """`move_collection` for all collections that are in the space `source`."""
    connection.execute(_MOVE.where(_collections.c.space == source), {"to": space})


def lock_collections(connection: sa.Connection, ids: Iterable[str]) -> list[str]:
    """Keep others from changing these collections until this transaction ends; which of them there are."""
    # In order, so that no two wait for each other.
    statement = sa.select(_collections.c.id).where(_collections.c.id.in_(ids)).order_by(_collections.c.id)
    return list(connection.execute(statement.with_for_update()).scalars())


def count_files(connection: sa.Connection, collection_id: str) -> int:
    """How many files a collection has."""
    statement = sa.select(sa.func.count()).select_from(_files).where(_files.c.collection_id == collection_id)
    return connection.execute(statement).scalar_one()


def files_called(connection: sa.Connection, collection_id: str, names: Sequence[str]) -> list[sa.Row[Any]]:
    """What `_KEPT` says of the files with these `names`, as far as they're there, in order."""
    statement = _KEPT.where(_files.c.collection_id == collection_id, _files.c.name.in_(names)).order_by(_files.c.name)
    return list(connection.execute(statement))


def files_between(
    connection: sa.Connection, collection_id: str, start: str, end: str, limit: int
) -> list[sa.Row[Any]]:
    """What `_KEPT` says of up to `limit` files from the name `start` to before `end`, in order."""
    statement = (
        _KEPT.where(_files.c.collection_id == collection_id, _files.c.name >= start, _files.c.name < end)
        .order_by(_files.c.name)
        .limit(limit)
    )
    return list(connection.execute(statement))


def collections_after(
    connection: sa.Connection, space: str, account_id: str, after: str, limit: int, acl_forms: tuple[str, ...] | None
) -> list[str]:
    """Names of up to `limit` collections behind the name `after`, in order; with `acl_forms`, only of those forms."""
    statement = (
        sa.select(_collections.c.name)
        .where(_collections.c.space == space, _collections.c.account_id == account_id, _collections.c.name > after)
        .order_by(_collections.c.name)
        .limit(limit)
    )
    if acl_forms is not None:
        statement = statement.where(_collections.c.acl_read.in_(acl_forms))
    return list(connection.execute(statement).scalars())


def names_below(connection: sa.Connection, space: str, account_id: str, prefix: str) -> list[str]:
    """Names of all collections that begin with `prefix`, in order."""
    statement = (
        sa.select(_collections.c.name)
        .where(
            _collections.c.space == space,
            _collections.c.account_id == account_id,
            _collections.c.name.startswith(prefix, autoescape=True),
        )
        .order_by(_collections.c.name)
    )
    # SQLite's LIKE ignores the case of letters.
    return [name for name in connection.execute(statement).scalars() if name.startswith(prefix)]


def collection_rows(
    connection: sa.Connection, space: str, account_id: str | None = None, limit: int | None = None
) -> list[sa.Row[Any]]:
    """Id, account_id, name and acl_read of the collections of `space`, in order; with `account_id`, of that account."""
    statement = (
        sa.select(_collections.c.id, _collections.c.account_id, _collections.c.name, _collections.c.acl_read)
        .where(_collections.c.space == space)
        .order_by(_collections.c.name)
        .limit(limit)
    )
    if account_id is not None:
        statement = statement.where(_collections.c.account_id == account_id)
    return list(connection.execute(statement))


def expired_files(
    connection: sa.Connection, space: str, suffix: str, before: int, limit: int, within: Sequence[str] | None = None
) -> list[sa.Row[Any]]:
    """Id, blob_id, size, collection_id and account_id of up to `limit` files that were last written before `before`, in
    collections of `space` whose name ends with `suffix`; with `within`, only in those of these ids.
    """
    statement = (
        sa.select(_files.c.id, _files.c.blob_id, _files.c.size, _files.c.collection_id, _collections.c.account_id)
        .join(_collections, _collections.c.id == _files.c.collection_id)
        .where(
            _collections.c.space == space,
            _collections.c.name.endswith(suffix, autoescape=True),
            _files.c.modified_at < before,
        )
        .limit(limit)
    )
    if within is not None:
        statement = statement.where(_files.c.collection_id.in_(within))
    return list(connection.execute(statement))


def _charge(connection: sa.Connection, account_id: str, size: int) -> None:
    if size:
        connection.execute(_CHARGE, {"account": account_id, "size": size})
