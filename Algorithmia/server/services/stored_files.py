"""Rows of files for those who look after whole stores: in the order of their blobs, beside what a store holds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sa

from ..db import schema
from ..db.database import Database
from ..storage.base import BlobStore, Entry
from . import digests
from .digests import MD5, SHA256, XXH128, Digest

_PAGE = 1000
_PIECE = 1024 * 1024
_WAITING = 4

_files, _collections, _accounts = schema.files, schema.collections, schema.accounts
_ROWS = (
    sa.select(_files.c.blob_id, _files.c.size, _files.c.etag, _files.c.sha256, _files.c.xxh128)
    .where(_files.c.blob_id > sa.bindparam("after"))
    .order_by(_files.c.blob_id)
    .limit(_PAGE)
)
_NAME = (
    sa.select(_collections.c.space, _accounts.c.username, _collections.c.name, _files.c.name)
    .select_from(_files.join(_collections).join(_accounts))
    .where(_files.c.blob_id == sa.bindparam("blob"))
)
_TOTAL = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(_files.c.size), 0)).select_from(_files)

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What a row says of its blob."""

    blob_id: str
    size: int
    etag: str
    sha256: str | None
    xxh128: str | None

    @property
    def digest(self) -> Digest:
        """The one that takes the least time to compare."""
        if self.xxh128:
            return Digest(XXH128, self.xxh128)
        return Digest(SHA256, self.sha256) if self.sha256 else Digest(MD5, self.etag)


class WrongContent(Exception):
    """A blob's content is not what the row says; the message says what it is."""


def total(database: Database) -> tuple[int, int]:
    """How many files there are, and their bytes."""
    with database.read() as connection:
        count, size = connection.execute(_TOTAL).one()
    return count, int(size)


def in_order(database: Database) -> Iterator[StoredFile]:
    """Every file, by the ids of the blobs."""
    after = ""
    while True:
        with database.read() as connection:
            page = [StoredFile(*row) for row in connection.execute(_ROWS, {"after": after})]
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].blob_id


def uri_of(database: Database, blob_id: str) -> str | None:
    """The URI of the file whose content the blob is; None when there is none (any more)."""
    with database.read() as connection:
        row = connection.execute(_NAME, {"blob": blob_id}).first()
    if row is None:
        return None
    space, username, collection, name = row
    if space == "hosted":
        return f"data://{username}/{collection}/{name}"
    return f"data://.{space}/{collection}/{name}"


def beside(files: Iterable[StoredFile], entries: Iterable[Entry]) -> Iterator[tuple[StoredFile | None, Entry | None]]:
    """Each file with what a store holds of it, and what it holds besides; both come in the order of their ids."""
    holds = iter(entries)
    entry = next(holds, None)
    for file in files:
        while entry is not None and entry.name < file.blob_id:
            yield None, entry
            entry = next(holds, None)
        if entry is not None and entry.name == file.blob_id:
            yield file, entry
            entry = next(holds, None)
        else:
            yield file, None
    while entry is not None:
        yield None, entry
        entry = next(holds, None)


def read_checked(blobs: BlobStore, file: StoredFile, take: Callable[[bytes], None] | None = None) -> None:
    """Read the content of `file`, giving it to `take`. Raises WrongContent in the end if it isn't what the row says.

    Raises FileNotFoundError and OSError, too.
    """
    hasher = digests.new(file.digest.algorithm)
    size = 0
    with blobs.open_blob(file.blob_id) as handle:
        while data := handle.read(_PIECE):
            size += len(data)
            hasher.update(data)
            if take is not None:
                take(data)
    if size != file.size:
        raise WrongContent(f"has {size} bytes instead of {file.size}")
    if hasher.hexdigest() != file.digest.hexadecimal:
        raise WrongContent(f"has {Digest(file.digest.algorithm, hasher.hexdigest())} instead of {file.digest}")


def in_parallel(function: Callable[[Item], Answer], items: Iterable[Item], workers: int) -> Iterator[Answer]:
    """``map(function, items)`` by so many threads; of the items, only some more than that are there at a time."""
    if workers == 1:
        yield from map(function, items)
        return
    waiting: deque[Future[Answer]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= _WAITING * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
