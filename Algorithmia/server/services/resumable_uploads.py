"""Uploads that outlive their connections, and the platform's process: begun, continued where they stopped, completed.

What an upload is and where it goes is a row in `uploads`; what has come of it is its staged blob, whose size is the
offset to go on from. So nothing has to be written down while bytes arrive, and nothing that has arrived is lost. Only
`commit` makes a file of it, in the transaction that removes the row.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from urllib.parse import quote

import msgspec
import sqlalchemy as sa

from ..db import schema
from ..db.values import new_id, now_ms
from ..errors import BadRequest, Conflict, NotFound, TooManyRequests
from ..identity import Identity
from ..storage.base import BlobWriter
from ..turns import Takeovers
from . import data_paths, data_records
from .content_types import ContentType
from .data_access import require_own
from .data_uploads import Stored, Stores, Upload, UploadRequest, disk_errors
from .digests import CorruptedContent, Digest, Hasher
from .preconditions import Conditions
from .quotas import Usage, exceeded

log = logging.getLogger("algorithmia.storage")

# Seconds that an upload is kept for after the last sign of it.
MAX_AGE = 24 * 3600
# Per account: more are refused until some are completed, cancelled or too old.
MAX_UNFINISHED = 100
_TOUCH_SECONDS = 600.0
_PIECE = 1024 * 1024
# Uploads whose digest so far is remembered; that of others is computed anew.
_REMEMBERED = 256
# Threads that read what has come already; commits read for themselves if need be.
_READERS = threading.BoundedSemaphore(2)
_BATCH = MAX_UNFINISHED

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


class MismatchingOffset(Conflict):
    """409: what was sent doesn't begin where the upload stands. The header of the answer says where that is."""

    def __init__(self, upload_id: str, expected: int, provided: int) -> None:
        super().__init__(
            f"upload {upload_id} stands at {expected}, not at {provided}: go on with the byte at Upload-Offset",
            headers={"Upload-Offset": str(expected), "Upload-Complete": "?0"},
        )


@dataclass(slots=True)
class _Digested:
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
        digested: _Digested | None = None,
        keep: Callable[[str, _Digested], None] = lambda upload_id, digested: None,
    ) -> None:
        self.row = row
        self._keep = keep
        self._ended = False
        self._touched = time.monotonic()
        self._catching = threading.Lock()
        super().__init__(stores, request, whole=row is not None)
        self._size = self._writer.size
        self._hashed = 0
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
        self._hash.expect(digest)

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
                    self._keep(self.row.id, _Digested(self._hash, self._type, self._hashed))

    def discard(self) -> None:
        """End the upload and remove what has come of it."""
        self.abort()
        if self.row is not None:
            _remove(self._stores, [self.row])

    def _begin_blob(self) -> BlobWriter:
        self._check_quota(self._request.size or 0)
        blobs = self._stores.blobs
        return blobs.create(resumable=True) if self.row is None else blobs.resume(self.row.blob_id)

    def _check_quota(self, size: int) -> None:
        # Nobody may fill the disk with uploads that are never completed: what has been begun counts as if it were.
        target = self._request.target
        with self._stores.database.read() as connection:
            account_id = require_own(self._place, target)
            usage = self._stores.quotas.usage(connection, account_id)
            if not usage.quota:
                return
            _, existing = data_records.locate(connection, self._place, target.file)
            rows = _rows(connection, _uploads.c.account_id == account_id)
        begun = sum(_size(self._stores, row) for row in rows if self.row is None or row.id != self.row.id)
        usage = Usage(usage.used + begun, usage.quota)
        self._replaces = existing.size if existing else 0
        self._room = usage.room_for(self._replaces)
        if self._room is not None and size > self._room:
            raise exceeded(usage, target.uri)

    def _settle(self, connection: sa.Connection) -> None:
        row = self.row
        if row is None or not connection.execute(_uploads.delete().where(_uploads.c.id == row.id)).rowcount:
            raise NotFound("the upload was cancelled, or is too old: begin it anew")

    def _check_total(self, size: int) -> None:
        self._check_size(size)
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


class ResumableUploads:
    """Every unfinished upload of a platform. Every method but those of `turns` blocks.

    turns  who writes to an upload now: one request at a time, and a later one ends the one before
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self.turns = Takeovers()
        self._digested: OrderedDict[str, _Digested] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def limits(self) -> dict[str, int]:
        """What ``Upload-Limit`` says of every upload."""
        limits = {"max-size": self._stores.max_file_bytes} if self._stores.max_file_bytes else {}
        return {**limits, "min-size": 0, "max-age": MAX_AGE}

    def begin(self, request: UploadRequest) -> ResumableUpload:
        """A new upload, whose first bytes may be written at once.

        Raises what `Upload` does, and TooManyRequests when the account has too many that are unfinished.
        """
        upload = ResumableUpload(self._stores, request, keep=self._remember)
        try:
            now = now_ms()
            row = Unfinished(
                new_id(),
                request.identity.account.id,
                request.target.uri,
                request.content_type,
                request.size,
                msgspec.json.encode([request.conditions.if_match, request.conditions.if_none_match]).decode(),
                upload.blob_id,
                now,
            )
            with self._stores.database.write() as connection:
                self._check_number(connection, row.account_id)
                values = {name: getattr(row, name) for name in Unfinished.__dataclass_fields__}
                connection.execute(_uploads.insert().values(created_at=now, **values))
        except BaseException:
            upload.abort()
            raise
        upload.row = row
        return upload

    def state(self, identity: Identity, upload_id: str) -> tuple[Unfinished, int]:
        """The upload, and where it stands. Raises NotFound."""
        row = self.find(identity, upload_id)
        writer = self._resumed(row)
        size = writer.size
        writer.suspend()
        return row, size

    def resume(
        self, identity: Identity, upload_id: str, offset: int, length: int | None = None
    ) -> ResumableUpload:
        """The upload, to go on with its byte at `offset`.

        length  of the whole, which may have become known only now

        Raises NotFound, MismatchingOffset, and BadRequest for a `length` that is not what was announced.
        """
        row = self.find(identity, upload_id)
        if length is not None and row.size is not None and length != row.size:
            raise BadRequest(f"upload {row.id} was announced with {row.size} bytes, and now with {length}")
        if length is not None:
            row = replace(row, size=length)
        if_match, if_none_match = msgspec.json.decode(row.conditions)
        request = UploadRequest(
            identity,
            data_paths.parse(quote(row.target, safe="/:").encode("ascii")),
            row.content_type,
            row.size,
            Conditions(if_match, if_none_match),
        )
        with self._lock:
            digested = self._digested.pop(upload_id, None)
        try:
            upload = ResumableUpload(self._stores, request, row, digested, self._remember)
        except FileNotFoundError:
            raise self._lost(row) from None
        if offset != upload.size:
            upload.abort()
            raise MismatchingOffset(upload_id, upload.size, offset)
        with self._stores.database.write() as connection:
            values = {"touched_at": now_ms(), "size": row.size}
            connection.execute(_uploads.update().where(_uploads.c.id == row.id).values(values))
        upload.read_up()
        return upload

    def cancel(self, identity: Identity, upload_id: str) -> None:
        """Remove the upload and what has come of it. Raises NotFound."""
        row = self.find(identity, upload_id)
        with self._lock:
            self._digested.pop(upload_id, None)
        _remove(self._stores, [row])

    def find(self, identity: Identity, upload_id: str) -> Unfinished:
        """The upload. Raises NotFound, also for one of another account."""
        with self._stores.database.read() as connection:
            found = _rows(connection, _uploads.c.id == upload_id, _uploads.c.account_id == identity.account.id)
        if not found:
            raise _not_found(upload_id)
        return found[0]

    def _resumed(self, row: Unfinished) -> BlobWriter:
        try:
            return self._stores.blobs.resume(row.blob_id)
        except FileNotFoundError:
            raise self._lost(row) from None

    def _lost(self, row: Unfinished) -> NotFound:
        """The error for an upload whose content is gone: it can never be continued. (A disk forgot it, or it ended.)"""
        with self._stores.database.write() as connection:
            connection.execute(_uploads.delete().where(_uploads.c.id == row.id))
        return _not_found(row.id)

    def _check_number(self, connection: sa.Connection, account_id: str) -> None:
        number = connection.execute(
            sa.select(sa.func.count()).select_from(_uploads).where(_uploads.c.account_id == account_id)
        ).scalar_one()
        if number >= MAX_UNFINISHED:
            raise TooManyRequests(
                f"this account has {number} unfinished uploads, as many as it may: complete or cancel (DELETE) some, "
                "or send the file with one PUT",
                retry_after=60,
            )

    def _remember(self, upload_id: str, digested: _Digested) -> None:
        with self._lock:
            self._digested[upload_id] = digested
            if len(self._digested) > _REMEMBERED:
                self._digested.popitem(last=False)


def expire_uploads(stores: Stores) -> int:
    """Remove the uploads of which nothing has come for `MAX_AGE`; how many there were."""
    before = now_ms() - MAX_AGE * 1000
    expired = 0
    while True:
        with stores.database.read() as connection:
            rows = _rows(connection, _uploads.c.touched_at < before)
        if not rows:
            return expired
        _remove(stores, rows)
        expired += len(rows)


def _rows(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> list[Unfinished]:
    columns = [_uploads.c[name] for name in Unfinished.__dataclass_fields__]
    return [Unfinished(*row) for row in connection.execute(sa.select(*columns).where(*conditions).limit(_BATCH))]


def _size(stores: Stores, row: Unfinished) -> int:
    """How large the upload will be, or is by now."""
    if row.size is not None:
        return row.size
    try:
        writer = stores.blobs.resume(row.blob_id)
    except FileNotFoundError:
        return 0
    writer.suspend()
    return writer.size


def _remove(stores: Stores, rows: list[Unfinished]) -> None:
    with stores.database.write() as connection:
        # One that was completed meanwhile has no row any more, and its blob is a file's.
        gone = [
            row.blob_id
            for row in rows
            if connection.execute(_uploads.delete().where(_uploads.c.id == row.id)).rowcount
        ]
        stores.garbage.add(connection, gone)
    stores.garbage.unlink(gone)


def _not_found(upload_id: str) -> NotFound:
    return NotFound(f"no upload {upload_id[:40]}: it was completed, cancelled, or begun too long ago by this account")
