"""Writing one file: bytes go to a staged blob while they're hashed; `commit` makes them the file, all at once."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..db.database import Database
from ..db.values import now_ms
from ..errors import ApiProblem, BadRequest, Conflict, NotFound, TooLarge, Unavailable
from ..identity import Identity
from ..storage.base import BlobStore, BlobWriter
from . import acl, data_folders, data_records
from .content_types import ContentType
from .data_access import place_of, require_own, require_write
from .data_paths import HOSTED, SESSION, Kind, Target
from .digests import Digest, Hasher
from .garbage import Garbage
from .preconditions import UNCONDITIONAL, Conditions
from .quotas import Quotas, exceeded

log = logging.getLogger("algorithmia.storage")


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """What a caller wants to store.

    content_type  as sent, or None
    size          as announced, or None
    digest        what the content must have, or None
    wanted        the algorithm of the digest that the caller will compare, or None
    """

    identity: Identity
    target: Target
    content_type: str | None = None
    size: int | None = None
    conditions: Conditions = UNCONDITIONAL
    digest: Digest | None = None
    wanted: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that has been stored: where, in the caller's words, and the ETag (no quotes) of its content.

    digests  of the content, as far as they're known
    """

    uri: str
    etag: str
    size: int
    digests: Sequence[Digest] = ()


@dataclass(frozen=True, slots=True)
class Stores:
    """What an upload writes to.

    live_sessions    (account id, session id) of the sessions that have files
    session_is_live  whether the call tree of a session still runs
    """

    database: Database
    blobs: BlobStore
    garbage: Garbage
    quotas: Quotas
    max_file_bytes: int
    live_sessions: set[tuple[str, str]]
    session_is_live: Callable[[str], bool]


class Upload:
    """One upload. After the constructor: any number of `write`, then `commit` or `abort`; `abort` is always harmless.

    whole  the content is here already, so there's no point in looking first whether it may be stored

    Raises NotFound, NotAuthorized, PreconditionFailed and so on from the constructor (unless `whole`), so that nothing
    is received that can't be stored, and from `commit`, because the world may have changed meanwhile.
    """

    def __init__(self, stores: Stores, request: UploadRequest, whole: bool = False) -> None:
        self._stores = stores
        self._request = request
        self._size = 0
        self._done = False
        # A request that's cancelled while a thread still writes for it must not close the descriptor under it.
        self._busy = threading.Lock()
        self._check_kind()
        require_write(request.identity)
        self._place = place_of(request.target, request.identity)
        # How large the file may be for its account's quota, as far as that's known already.
        self._room: int | None = None
        self._replaces = 0
        if not whole:
            with stores.database.read() as connection:
                collection, existing = data_records.locate(connection, self._place, request.target.file)
                self._check(connection, collection, existing)
                usage = stores.quotas.usage(connection, require_own(self._place, request.target))
            self._replaces = existing.size if existing else 0
            self._room = usage.room_for(self._replaces)
        self._check_size(request.size or 0)
        self._hash = Hasher(request.digest, request.wanted, request.size)
        self._type = ContentType(request.content_type, request.target.file)
        with disk_errors():
            self._writer = self._begin_blob()

    def write(self, data: bytes) -> None:
        """Append `data`. Raises TooLarge, or Unavailable when the disk is full."""
        self._size += len(data)
        self._check_size(self._size)
        with self._busy, disk_errors():
            self._hash.update(data)
            self._type.feed(data)
            self._writer.write(data)

    def commit(self) -> Stored:
        """Make what was written the file's content; durable when this returns. Raises CorruptedContent."""
        self._hash.check(self._request.target.uri)
        with self._busy:
            with disk_errors():
                self._writer.finish()
            # Should the transaction fail, whether it took effect is unknown: only the next start can tell then whose
            # the staged blob is. A refusal is known to have rolled it back.
            self._done = True
            try:
                with self._stores.database.write() as connection:
                    replaced = self.put(connection)
            except ApiProblem:
                self._done = False
                raise
            self._publish()
            self._stores.garbage.unlink(replaced)
        return Stored(self._request.target.uri, self._hash.etag, self._size, self._hash.digests)

    def abort(self) -> None:
        """Leave no trace of the upload, unless it was committed."""
        with self._busy:
            if not self._done:
                self._done = True
                with suppress(OSError):
                    self._writer.abort()

    def _publish(self) -> None:
        try:
            self._stores.blobs.publish(self._writer.id)
        except FileNotFoundError:
            log.debug("blob %s was replaced or removed before it was published", self._writer.id)
        except OSError:
            log.exception("blob %s stays staged until the next start", self._writer.id)

    def put(self, connection: sa.Connection) -> list[str]:
        """Point the file at the blob, in the transaction on `connection`; the ids of the blobs that it let go of."""
        target = self._request.target
        collection, existing = self._lock(connection)
        data_records.put_file(connection, collection, existing, self._row())
        grown = self._size - (existing.size if existing else 0)
        self._stores.quotas.check(connection, collection.account_id, grown, target.uri)
        replaced = [existing.blob_id] if existing else []
        self._stores.garbage.add(connection, replaced)
        self._settle(connection)
        return replaced

    @staticmethod
    def put_all(connection: sa.Connection, uploads: Sequence[Upload]) -> list[str]:
        """`put` for unconditional uploads to one collection, with a few statements for all of them."""
        first = uploads[0]
        target = first._request.target
        collection, _ = first._lock(connection)
        rows = [upload._row() for upload in uploads]
        names = [row["name"] for row in rows]
        there = {file.name: file for file in data_records.files_called(connection, collection.id, names)}
        fresh = {row["name"]: upload for row, upload in zip(rows, uploads, strict=True) if row["name"] not in there}
        if fresh:
            for name, obstacle in data_folders.all_in_the_way(connection, collection.id, list(fresh)).items():
                fresh[name]._refuse_for(obstacle)
        grown = data_records.put_files(connection, collection, there, rows)
        first._stores.quotas.check(connection, collection.account_id, grown, target.uri)
        replaced = [file.blob_id for file in there.values()]
        first._stores.garbage.add(connection, replaced)
        return replaced

    def _row(self) -> dict[str, Any]:
        """What the files table says of the file then."""
        return {
            "name": self._request.target.file,
            "size": self._size,
            "etag": self._hash.etag,
            "sha256": self._hash.sha256,
            "xxh128": self._hash.xxh128,
            "content_type": self._type.result(),
            "blob_id": self._writer.id,
            "modified_at": now_ms(),
        }

    def _begin_blob(self) -> BlobWriter:
        return self._stores.blobs.create()

    def _settle(self, connection: sa.Connection) -> None:
        """What else belongs to the transaction that makes the file."""

    def _lock(self, connection: sa.Connection) -> tuple[data_records.Collection, data_records.File | None]:
        """The collection and the file that is there, which nobody else changes until the transaction ends."""
        while True:
            found = data_records.locate(connection, self._place, self._request.target.file, for_update=True)
            self._check(connection, *found)
            collection = found[0] or self._create_implied(connection)
            if collection is not None:
                return collection, found[1]

    def _create_implied(self, connection: sa.Connection) -> data_records.Collection | None:
        """The collection, made now; None when somebody else has just made it."""
        place = self._place
        account_id = require_own(place, self._request.target)
        if place.space == SESSION:
            # First the note, then the question: whoever ends a session asks the other way round, so one sees the other.
            session = (account_id, place.collection)
            self._stores.live_sessions.add(session)
            if not self._stores.session_is_live(place.collection):
                self._stores.live_sessions.discard(session)
                raise NotFound("the call that this upload was made for has ended, and its session with it")
        return data_records.insert_implied(connection, place.space, account_id, place.collection, acl.PRIVATE)

    def _check_kind(self) -> None:
        target = self._request.target
        if target.kind is not Kind.FILE:
            raise BadRequest(f"{target.uri} is a directory; name a file in it")

    def _check(
        self,
        connection: sa.Connection,
        collection: data_records.Collection | None,
        existing: data_records.File | None,
    ) -> None:
        target = self._request.target
        if collection is None and self._place.space == HOSTED:
            directory = target.uri[: -len(target.file) - 1]
            raise NotFound(f"directory {directory} not found; create it with: algo mkdir {directory}")
        require_own(self._place, target)
        self._request.conditions.check(existing.etag if existing else None, target.uri)
        if collection is not None and existing is None:
            self._refuse_for(data_folders.in_the_way(connection, collection.id, target.file))

    def _refuse_for(self, obstacle: str) -> None:
        if obstacle:
            uri = self._request.target.uri
            raise Conflict(f"{uri} can't be stored: {obstacle}; remove that, or choose another name")

    def _check_size(self, size: int) -> None:
        limit = self._stores.max_file_bytes
        if limit and size > limit:
            raise TooLarge(
                f"{self._request.target.uri} is larger than the {limit} bytes that this platform allows a file"
            )
        if self._room is not None and size > self._room:
            self._check_quota(size)

    def _check_quota(self, size: int) -> None:
        """Raises QuotaExceeded unless there has come to be room for `size` bytes."""
        target = self._request.target
        with self._stores.database.read() as connection:
            usage = self._stores.quotas.usage(connection, require_own(self._place, target))
        self._room = usage.room_for(self._replaces)
        if self._room is not None and size > self._room:
            raise exceeded(usage, target.uri)


@contextmanager
def disk_errors() -> Iterator[None]:
    """A context in which a full disk is Unavailable, and a file that no disk can hold TooLarge."""
    try:
        yield
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Unavailable("no space left on the platform's disk; nothing was stored") from problem
        if problem.errno == errno.EFBIG:
            raise TooLarge("the file is larger than the platform's file system allows") from problem
        raise
