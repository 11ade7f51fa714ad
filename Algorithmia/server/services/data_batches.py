"""Many small files of hosted data in one go, as tar archives: stored all or none, and read a page at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ... import tar_files
from ..errors import ApiProblem, BadRequest, TooManyRequests
from ..identity import Identity
from ..storage.base import BlobWriter
from . import data_folders, data_listing, data_paths, data_records, page_markers
from .data_access import place_of, require_read, require_write
from .data_paths import Kind, Target
from .data_uploads import Stores, Upload, UploadRequest, disk_errors
from .digests import Digest, Hasher

log = logging.getLogger("algorithmia.storage")

# Of an archive that is sent here: what is in it is in memory until it's on disk.
MAX_BYTES = 16 * 1024 * 1024
MAX_FILES = 1000
# Names of folders in it, one after the other: each is looked up while others wait to write.
_MAX_FOLDERS = 20 * MAX_FILES
# Of an archive that is sent from here, and of one file in it.
PAGE_BYTES = 4 * 1024 * 1024
SMALL_FILE = 256 * 1024
# Of all archives that come and go at a time.
_ROOM = 128 * 1024 * 1024
# Requests to an object store.
_AT_ONCE = 16
_MARKERS = "t"


@dataclass(frozen=True, slots=True)
class Page:
    """Files of a directory as an archive.

    left_out  how many were too large for it
    marker    of the next page; empty when this is the last one
    """

    archive: bytes
    left_out: int = 0
    marker: str = ""


class Batches:
    """Archives in and out of hosted data. Every method blocks, but for `room`; any thread may call them."""

    def __init__(self, stores: Stores, page_size: int) -> None:
        self._stores = stores
        self._page_size = min(page_size, MAX_FILES)
        self._room = _ROOM
        self._lock = threading.Lock()

    @contextmanager
    def room(self, size: int) -> Iterator[None]:
        """Room in memory for an archive of `size` bytes. Raises TooManyRequests when there's none left."""
        with self._lock:
            if size > self._room:
                raise TooManyRequests("too many archives are on their way; come later, or move the files one by one")
            self._room -= size
        try:
            yield
        finally:
            with self._lock:
                self._room += size

    def store(self, identity: Identity, directory: Target, archive: bytes, announced: Digest | None = None) -> int:
        """Store the files in `archive` in `directory`, all of them or none; how many there were.

        Raises CorruptedContent when it isn't what was `announced`, BadRequest for an archive that holds anything else,
        and for each of its files what `Upload` raises.
        """
        require_write(identity)
        hasher = Hasher(announced, size=len(archive))
        hasher.update(archive)
        hasher.check(directory.uri)
        members = self._members(identity, directory, archive)
        if not members:
            return 0
        with disk_errors():
            blob_ids = self._stores.blobs.create_many([member.held.content for member in members])
        for member, blob_id in zip(members, blob_ids, strict=True):
            member.held.id = blob_id
        # Should the transaction fail, whether it took effect is unknown: the next start can tell whose the blobs are.
        try:
            with self._stores.database.write() as connection:
                replaced = _Member.put_all(connection, members)
        except ApiProblem:
            for blob_id in blob_ids:
                with suppress(OSError):
                    self._stores.blobs.delete(blob_id)
            raise
        try:
            self._stores.blobs.publish_many(blob_ids)
        except OSError:
            log.exception("blobs stay staged until the next start")
        self._stores.garbage.unlink(replaced)
        return len(members)

    def page(self, identity: Identity, directory: Target, marker: str = "") -> Page:
        """The next small files in `directory` and the folders below it, in the order of their names.

        Raises NotFound, NotAuthorized, BadRequest.
        """
        after = page_markers.place_of(_MARKERS, marker)
        start, end = data_folders.stretch(directory.folder, after)
        with self._collection(identity, directory) as (connection, collection):
            rows: list[sa.Row[Any]] = []
            if collection is not None:
                rows = data_records.files_between(connection, collection.id, start, end, self._page_size + 1)
            if not rows and not after and directory.folder:
                raise data_listing.not_found(directory)
        content = total = left_out = 0
        chosen = []
        for row in rows[: self._page_size]:
            if row.size > SMALL_FILE:
                left_out += 1
            elif total + row.size > PAGE_BYTES:
                break
            else:
                total += row.size
                chosen.append(row)
            content += 1
        following = page_markers.marker_for(_MARKERS, rows[content - 1].name) if content < len(rows) else ""
        return Page(self._archive(directory, chosen), left_out, following)

    def pick(self, identity: Identity, directory: Target, names: Sequence[str]) -> Page:
        """The files of `directory` called `names`, but for those that aren't there, or don't fit.

        Raises NotFound, NotAuthorized, BadRequest.
        """
        if len(names) > MAX_FILES:
            raise BadRequest(f"{len(names)} files are asked for at once; at most {MAX_FILES} can be")
        prefix = f"{directory.folder}/" if directory.folder else ""
        with self._collection(identity, directory) as (connection, collection):
            rows: list[sa.Row[Any]] = []
            if collection is not None:
                rows = data_records.files_called(connection, collection.id, [prefix + name for name in names])
        total = 0
        chosen = []
        for row in rows:
            if row.size <= SMALL_FILE and total + row.size <= PAGE_BYTES:
                total += row.size
                chosen.append(row)
        return Page(self._archive(directory, chosen), len(rows) - len(chosen))

    @contextmanager
    def _collection(
        self, identity: Identity, directory: Target
    ) -> Iterator[tuple[sa.Connection, data_records.Collection | None]]:
        require_read(identity)
        if directory.kind not in (Kind.COLLECTION, Kind.FOLDER):
            raise BadRequest(f"{directory.uri} can't be had as an archive; collections and folders in them can")
        with self._stores.database.read() as connection:
            place = place_of(directory, identity)
            yield connection, data_listing.readable_collection(connection, identity, directory, place)

    def _archive(self, directory: Target, rows: Sequence[sa.Row[Any]]) -> bytes:
        inside = len(directory.folder) + 1 if directory.folder else 0
        pieces: list[bytes] = []
        for row, content in self._read_all(rows):
            if row is not None:
                pieces += (tar_files.header(row.name[inside:], len(content), row.modified_at // 1000), content)
                pieces.append(tar_files.padding(len(content)))
        pieces.append(tar_files.END)
        return b"".join(pieces)

    def _read_all(self, rows: Sequence[sa.Row[Any]]) -> Iterator[tuple[sa.Row[Any] | None, bytes]]:
        """`_read` for each. (Small files are read from a local disk in less time than threads take to hand them on.)"""
        if not self._stores.blobs.is_remote:
            yield from map(self._read, rows)
            return
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield from pool.map(self._read, rows)

    def _read(self, found: sa.Row[Any]) -> tuple[sa.Row[Any] | None, bytes]:
        """The row and the content of a file; no row if it is gone, or has grown too large, since it was looked up."""
        row: sa.Row[Any] | None = found
        while row is not None and row.size <= SMALL_FILE:
            with suppress(FileNotFoundError), self._stores.blobs.open_blob(row.blob_id) as blob:
                content = blob.read(row.size + 1)
                if len(content) != row.size:
                    raise OSError(f"blob {row.blob_id} has {len(content)} bytes instead of {row.size}")
                return row, content
            # Overwritten and collected meanwhile: the row has a newer blob. Not so twice for one.
            with self._stores.database.read() as connection:
                fresh = next(iter(data_records.files_called(connection, row.collection_id, [row.name])), None)
            if fresh is not None and fresh.blob_id == row.blob_id:
                raise FileNotFoundError(f"there is no blob {row.blob_id}")
            row = fresh
        return None, b""

    def _members(self, identity: Identity, directory: Target, archive: bytes) -> list[_Member]:
        if directory.kind not in (Kind.COLLECTION, Kind.FOLDER):
            raise BadRequest(f"{directory.uri} takes no archives; collections such as data://.my/name do")
        members: dict[str, _Member] = {}
        folders = 0
        try:
            for name, content, _ in tar_files.read(archive, MAX_FILES):
                folders += name.count("/")
                if folders > _MAX_FOLDERS:
                    raise BadRequest(f"the archive's names have more than {_MAX_FOLDERS} folders; send fewer at a time")
                if name in members:
                    raise BadRequest(f"the archive holds {name[:200]!r} twice; nothing was stored")
                request = UploadRequest(identity, _below(directory, name), size=len(content))
                members[name] = _Member(self._stores, request, content)
        except tar_files.ArchiveError as problem:
            raise BadRequest(f"{problem}; nothing was stored") from None
        return list(members.values())


class _Held:
    """A blob writer that keeps what it's given, until all files of the archive are written together."""

    def __init__(self) -> None:
        self.id = ""
        self.content = b""

    @property
    def size(self) -> int:
        return len(self.content)

    def write(self, data: bytes | memoryview) -> None:
        self.content += data

    def finish(self) -> None: ...

    def suspend(self) -> None: ...

    def abort(self) -> None: ...


class _Member(Upload):
    """The upload of one file of an archive, by all the rules for single ones."""

    def __init__(self, stores: Stores, request: UploadRequest, content: memoryview) -> None:
        self.held = _Held()
        super().__init__(stores, request, whole=True)
        self.write(bytes(content))

    def _begin_blob(self) -> BlobWriter:
        return self.held


def _below(directory: Target, name: str) -> Target:
    try:
        return data_paths.below(directory, name)
    except BadRequest as problem:
        raise BadRequest(f"the archive holds {name[:200]!r}: {problem.message}; nothing was stored") from None
