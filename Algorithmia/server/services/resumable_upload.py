"""One upload that is continued: its row, its staged blob, and what one request adds to it."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import sqlalchemy as sa

from ..db import schema
from ..db.values import now_ms
from ..errors import BadRequest, Conflict, NotFound
from ..storage.base import BlobWriter
from . import data_records
from .content_types import ContentType
from .data_access import require_own
from .data_uploads import Stored, Stores, Upload, UploadRequest, disk_errors
from .digests import CorruptedContent, Digest, Hasher
from .quotas import exceeded

log = logging.getLogger("algorithmia.storage")

# Seconds that an upload is kept for after the last sign of it.
MAX_AGE = 24 * 3600
# Per account: more are refused until some are completed, cancelled or too old.
MAX_UNFINISHED = 100
_TOUCH_SECONDS = 600.0
_PIECE = 1024 * 1024
# Bytes after which one looks again whether there is still room, at the latest: other uploads go on meanwhile.
_LOOK_EVERY = 16 * 1024 * 1024
# Threads that read what has come already; commits read for themselves if need be.
_READERS = threading.BoundedSemaphore(2)

_uploads = schema.uploads


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A row of `uploads`."""

    id: str
    account_id: str
    target: str
    content_type: str | None
    size: int | None
    conditions: str
    blob_id: str
    touched_at: int

    @property
    def seconds_left(self) -> int:
        """How long it will be kept if nothing comes any more."""
        return max(0, MAX_AGE - (now_ms() - self.touched_at) // 1000)


@dataclass(slots=True)
class Digested:
    """What is known of the first `size` bytes of an upload."""

    hash: Hasher
    type: ContentType
    size: int


class ResumableUpload(Upload):
    """One request's part in an upload: any number of `write`, then `commit`, `abort` or `discard`.

    `abort` lets go of it and keeps what has come, since that's what such an upload is for.
    """

    def __init__(
        self,
        stores: Stores,
        request: UploadRequest,
        row: Unfinished | None = None,
        digested: Digested | None = None,
        keep: Callable[[str, Digested], None] = lambda upload_id, digested: None,
    ) -> None:
        self.row = row
        self._keep = keep
        self._ended = False
        self._touched = time.monotonic()
        self._catching = threading.Lock()
        self._look_at = sys.maxsize  # the size from which on to look whether there's still room
        super().__init__(stores, request, whole=row is not None)
        self._size = self._writer.size
        self._hashed = 0
        self._expected: Digest | None = None
        if digested is not None and digested.size <= self._size:
            self._hash, self._type, self._hashed = digested.hash, digested.type, digested.size

    @property
    def size(self) -> int:
        """Bytes that have come so far."""
        return self._size

    @property
    def blob_id(self) -> str:
        """Where they are."""
        return self._writer.id

    def write(self, data: bytes) -> None:
        self._check_total(self._size + len(data))
        with self._busy, disk_errors():
            if self._ended:
                raise Conflict("another request has taken over this upload")
            try:
                self._writer.write(data)
            finally:
                is_next = self._hashed == self._size
                was, self._size = self._size, self._writer.size
            if is_next:
                self._hash.update(data)
                self._type.feed(data)
                self._hashed = was + len(data)
        if time.monotonic() - self._touched > _TOUCH_SECONDS:
            self._touch()

    def expect(self, digest: Digest | None) -> None:
        """Have `commit` compare with `digest`."""
        self._expected = digest

    def read_up(self) -> None:
        """Begin to hash what came before this request, on a thread, while more comes."""
        if self._hashed < self._size and _READERS.acquire(blocking=False):
            threading.Thread(target=self._read_up_and_release, daemon=True, name="upload-digest").start()

    def commit(self) -> Stored:
        """As `Upload.commit`. Damaged content is dropped; after another refusal the upload can be completed later."""
        row = self.row
        if row is not None and row.size is not None and self._size != row.size:
            raise BadRequest(
                f"upload {row.id} of {row.size} bytes can't be complete with {self._size} of them: send the rest first"
            )
        with self._catching:
            if not self._hash.can_check(self._expected):  # all of it has to be read once more
                self._hash = Hasher(self._expected, size=self._size)
                self._type = ContentType(self._request.content_type, self._request.target.file)
                self._hashed = 0
            self._hash.expect(self._expected)
        self._hash_rest()
        try:
            stored = super().commit()
        except CorruptedContent:
            self.discard()
            raise
        self._ended = True
        return stored

    def abort(self) -> None:
        self._ended = True
        with self._catching, self._busy:
            if not self._done:
                self._done = True
                with suppress(OSError):
                    self._writer.suspend()
                if self.row is None:  # nothing refers to it yet
                    self._stores.blobs.delete(self._writer.id)
                else:
                    self._keep(self.row.id, Digested(self._hash, self._type, self._hashed))

    def discard(self) -> None:
        """End the upload and remove what has come of it."""
        self.abort()
        if self.row is not None:
            remove(self._stores, [self.row])

    def _begin_blob(self) -> BlobWriter:
        self._check_quota(self._request.size or 0)
        blobs = self._stores.blobs
        return blobs.create(resumable=True) if self.row is None else blobs.resume(self.row.blob_id)

    def _check_quota(self, size: int) -> None:
        # Nobody may fill the disk with uploads that are never completed.
        target = self._request.target
        with self._stores.database.read() as connection:
            account_id = require_own(self._place, target)
            usage = self._stores.quotas.usage(connection, account_id)
            if not usage.quota:
                return
            _, existing = data_records.locate(connection, self._place, target.file)
            others = rows(connection, _uploads.c.account_id == account_id)
        others = [row for row in others if self.row is None or row.id != self.row.id]
        usage = replace(usage, begun=_begun(self._stores, others, target.uri))
        self._replaces = existing.size if existing else 0
        self._room = room = usage.room_for(self._replaces) or 0
        if size > room:
            raise exceeded(usage, target.uri, size - room)
        # The less room there is, the sooner it may be gone.
        self._look_at = size + min(_LOOK_EVERY, max(_PIECE, (room - size) // 8))

    def _settle(self, connection: sa.Connection) -> None:
        row = self.row
        if row is None or not connection.execute(_uploads.delete().where(_uploads.c.id == row.id)).rowcount:
            raise NotFound("the upload was cancelled, or is too old: begin it anew")

    def _check_total(self, size: int) -> None:
        self._check_size(size)
        if size > self._look_at:
            self._check_quota(size)
        if self.row is not None and self.row.size is not None and size > self.row.size:
            self.discard()
            raise BadRequest(
                f"upload {self.row.id} was announced with {self.row.size} bytes, and more came: it was dropped"
            )

    def _touch(self) -> None:
        self._touched = time.monotonic()
        if self.row is not None:
            with self._stores.database.write() as connection:
                connection.execute(_uploads.update().where(_uploads.c.id == self.row.id).values(touched_at=now_ms()))

    def _read_up_and_release(self) -> None:
        try:
            self._hash_rest()
        except OSError:
            log.debug("upload %s: gone while it was read", self._writer.id)
        finally:
            _READERS.release()

    def _hash_rest(self) -> None:
        """Hash what has been written and not hashed yet. Writes go on meanwhile, and take over once this is done."""
        with self._catching:
            if self._hashed == self._size:
                return
            with self._stores.blobs.open_blob(self._writer.id) as content:
                content.seek(self._hashed)
                while True:
                    with self._busy:
                        left = self._size - self._hashed
                    if not left or self._ended:
                        return
                    data = content.read(min(left, _PIECE))
                    if not data:
                        raise OSError(f"staged blob {self._writer.id} is {left} bytes too short")
                    self._hash.update(data)
                    self._type.feed(data)
                    with self._busy:
                        self._hashed += len(data)


def rows(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> list[Unfinished]:
    """The rows that meet all `conditions`, a hundred at most."""
    columns = [_uploads.c[name] for name in Unfinished.__dataclass_fields__]
    statement = sa.select(*columns).where(*conditions).limit(MAX_UNFINISHED)
    return [Unfinished(*row) for row in connection.execute(statement)]


def arrived(stores: Stores, row: Unfinished) -> int | None:
    """How much of the upload has come; None if that is on another server's disk, or it has just ended."""
    try:
        writer = stores.blobs.resume(row.blob_id)
    except FileNotFoundError:
        return None
    writer.suspend()
    return writer.size


def _begun(stores: Stores, rows: list[Unfinished], uri: str) -> int:
    """How many bytes the uploads `rows` are to be counted for by one to `uri`: as if they were complete, but of those
    to one target only one can become its file. So its largest counts, or all that has come if that is more; and of
    those to `uri` itself what has come."""
    come: dict[str, int] = defaultdict(int)
    largest: dict[str, int] = defaultdict(int)
    for row in rows:
        size = arrived(stores, row) or 0
        come[row.target] += size
        largest[row.target] = max(largest[row.target], size, row.size or 0)
    return sum(come[target] if target == uri else max(come[target], largest[target]) for target in come)


def remove(stores: Stores, rows: list[Unfinished]) -> None:
    """Forget `rows`, and remove what has come of them."""
    with stores.database.write() as connection:
        # One that was completed meanwhile has no row any more, and its blob is a file's.
        gone = [
            row.blob_id
            for row in rows
            if connection.execute(_uploads.delete().where(_uploads.c.id == row.id)).rowcount
        ]
        stores.garbage.add(connection, gone)
    stores.garbage.unlink(gone)
