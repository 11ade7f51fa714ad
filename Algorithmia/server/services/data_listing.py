"""Listings of hosted data, a page at a time, as the documents of the API."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ..db.values import iso_time
from ..errors import NotAuthorized, NotFound
from ..identity import Identity
from . import acl, data_folders, data_records, page_markers
from .data_access import Place, place_of
from .data_paths import ALGO, HOSTED, Kind, Target

_MARKERS = "n"


def directory_document(
    connection: sa.Connection, identity: Identity, target: Target, marker: str, with_acl: bool, page_size: int
) -> dict[str, Any]:
    """One page of the directory `target`: ``folders`` and ``files`` if there are any, ``marker`` if more follow.

    marker  of the page before, or empty for the first page

    Raises NotFound, NotAuthorized, BadRequest (a marker that isn't ours: code 5002).
    """
    after = page_markers.place_of(_MARKERS, marker)
    place = place_of(target, identity)
    if target.kind is Kind.ROOT:
        return _folders([identity.account.username], page_size)
    if target.kind is Kind.ACCOUNT:
        return _folders(_collections(connection, identity, target, place, after, page_size + 1), page_size)
    if target.kind is Kind.ALGO_LEVEL:
        names = [name for name in _algorithm_level(connection, target, place) if name > after]
        return _folders(names[: page_size + 1], page_size)
    collection = readable_collection(connection, identity, target, place)
    entries = data_folders.level(connection, collection.id, target.folder, after, page_size + 1) if collection else []
    if not entries and target.folder:
        _require_folder(connection, collection, target)
    document = _entries(entries, page_size)
    if with_acl and collection and place.space == HOSTED and not target.folder:
        document["acl"] = acl.document_of(collection.acl_read)
    return document


def check_directory(connection: sa.Connection, identity: Identity, target: Target) -> None:
    """Raises NotFound or NotAuthorized unless `identity` could list the directory `target`."""
    place = place_of(target, identity)
    if target.kind is Kind.ACCOUNT:
        _collections(connection, identity, target, place, "", 1)
    elif target.kind is Kind.ALGO_LEVEL:
        _algorithm_level(connection, target, place)
    elif target.kind in (Kind.COLLECTION, Kind.FOLDER):
        collection = readable_collection(connection, identity, target, place)
        if target.folder:
            _require_folder(connection, collection, target)


def readable_collection(
    connection: sa.Connection, identity: Identity, target: Target, place: Place
) -> data_records.Collection | None:
    """The collection at `place`; None for one that's implied and has no files yet.

    Raises NotFound, NotAuthorized.
    """
    collection, _ = data_records.locate(connection, place)
    if collection is None:
        if place.is_implied:
            return None
        raise not_found(target)
    require_readable(collection, identity, target)
    return collection


def require_readable(collection: data_records.Collection, identity: Identity, target: Target) -> None:
    """Raises NotAuthorized unless the ACL of `collection` lets `identity` read in it."""
    if not acl.may_read(collection.acl_read, collection.account_id, identity):
        raise NotAuthorized(
            f"{target.uri} is not readable for {identity.account.username}; its owner decides that by its ACL"
        )


def not_found(target: Target) -> NotFound:
    """The error for a target that doesn't exist."""
    return NotFound(f"path not found: {target.uri}")


def _require_folder(
    connection: sa.Connection, collection: data_records.Collection | None, target: Target
) -> None:
    if collection is None or not data_folders.exists(connection, collection.id, target.folder):
        raise not_found(target)


def _collections(
    connection: sa.Connection, identity: Identity, target: Target, place: Place, after: str, limit: int
) -> list[str]:
    if place.account_id is not None:
        return data_records.collections_after(connection, HOSTED, place.account_id, after, limit, None)
    owner_id = data_records.account_id_of(connection, place.owner)
    if owner_id is None:
        raise not_found(target)
    forms = acl.readable_forms(owner_id, identity)
    return data_records.collections_after(connection, HOSTED, owner_id, after, limit, forms)


def _algorithm_level(connection: sa.Connection, target: Target, place: Place) -> list[str]:
    """Names directly below ``.algo``, ``.algo/OWNER`` or ``.algo/OWNER/NAME``, in order."""
    assert place.account_id is not None
    prefix = f"{place.collection}/" if place.collection else ""
    found = data_records.names_below(connection, ALGO, place.account_id, prefix)
    if not found and prefix and not place.is_implied:
        raise not_found(target)
    return sorted({name[len(prefix) :].partition("/")[0] for name in found})


def _folders(names: list[str], page_size: int) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if names:
        document["folders"] = [{"name": name} for name in names[:page_size]]
    return _with_marker(document, names, page_size)


def _entries(entries: list[data_folders.Entry], page_size: int) -> dict[str, Any]:
    folders: list[dict[str, Any]] = []
    files: list[dict[str, Any]] = []
    for entry in entries[:page_size]:
        if entry.size is None:
            folders.append({"name": entry.key[:-1]})
        else:
            files.append({"filename": entry.key, "last_modified": iso_time(entry.modified_at), "size": entry.size})
    document: dict[str, Any] = {}
    if folders:
        document["folders"] = folders
    if files:
        document["files"] = files
    return _with_marker(document, [entry.key for entry in entries], page_size)


def _with_marker(document: dict[str, Any], names: list[str], page_size: int) -> dict[str, Any]:
    if len(names) > page_size:
        document["marker"] = page_markers.marker_for(_MARKERS, names[page_size - 1])
    return document
