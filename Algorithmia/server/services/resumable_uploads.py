"""Uploads that outlive their connections, and the platform's process: begun, continued where they stopped, completed.

What an upload is and where it goes is a row in `uploads`; what has come of it is its staged blob, whose size is the
offset to go on from. So nothing has to be written down while bytes arrive, and nothing that has arrived is lost. Only
`commit` makes a file of it, in the transaction that removes the row.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from urllib.parse import quote

import msgspec
import sqlalchemy as sa

from ..db import schema
from ..db.values import now_ms
from ..errors import BadRequest, Conflict, NotFound, TooManyRequests
from ..identity import Identity
from ..storage.base import BlobWriter
from ..turns import Takeovers
from . import data_paths
from .data_uploads import Stores, UploadRequest
from .preconditions import Conditions
from .quotas import QuotaExceeded
from .resumable_upload import MAX_AGE, MAX_UNFINISHED, Digested, ResumableUpload, Unfinished, arrived, remove, rows

# Uploads whose digest so far is remembered; that of others is computed anew.
_REMEMBERED = 256

_uploads = schema.uploads


class MismatchingOffset(Conflict):
    """409: what was sent doesn't begin where the upload stands. The header of the answer says where that is."""

    def __init__(self, upload_id: str, expected: int, provided: int) -> None:
        super().__init__(
            f"upload {upload_id} stands at {expected}, not at {provided}: go on with the byte at Upload-Offset",
            headers={"Upload-Offset": str(expected), "Upload-Complete": "?0"},
        )


class ResumableUploads:
    """Every unfinished upload of a platform. Every method but those of `turns` blocks.

    turns  who writes to an upload now: one request at a time, and a later one ends the one before
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self.turns = Takeovers()
        self._digested: OrderedDict[str, Digested] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def limits(self) -> dict[str, int]:
        """What ``Upload-Limit`` says of every upload."""
        limits = {"max-size": self._stores.max_file_bytes} if self._stores.max_file_bytes else {}
        return {**limits, "min-size": 0, "max-age": MAX_AGE}

    def begin(self, request: UploadRequest, upload_id: str) -> ResumableUpload:
        """A new upload, whose first bytes may be written at once.

        upload_id  that it is to have; its turn is the caller's

        Others to the same target make way if no request is on them: those of which nothing has come, because whoever
        began them may never have been told of them, and all of them if the account's quota has no room beside them.

        Raises what `Upload` does, and TooManyRequests when the account has too many that are unfinished.
        """
        try:
            upload = ResumableUpload(self._stores, request, keep=self._remember)
        except QuotaExceeded as problem:
            if not self._make_way(request, problem.missing):
                raise
            upload = ResumableUpload(self._stores, request, keep=self._remember)
        try:
            self._make_way(request)
            now = now_ms()
            row = Unfinished(
                upload_id,
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
        self,
        identity: Identity,
        upload_id: str,
        offset: int,
        length: int | None = None,
        wanted: str | None = None,
    ) -> ResumableUpload:
        """The upload, to go on with its byte at `offset`.

        length  of the whole, which may have become known only now
        wanted  the algorithm of the digest that it will be compared by, as far as that's known

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
            wanted=wanted,
        )
        with self._lock:
            digested = self._digested.pop(upload_id, None)
        try:
            upload = ResumableUpload(self._stores, request, row, digested, self._remember)
        except FileNotFoundError:
            raise _not_found(row.id) from None
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
        remove(self._stores, [row])

    def find(self, identity: Identity, upload_id: str) -> Unfinished:
        """The upload. Raises NotFound, also for one of another account."""
        with self._stores.database.read() as connection:
            found = rows(connection, _uploads.c.id == upload_id, _uploads.c.account_id == identity.account.id)
        if not found:
            raise _not_found(upload_id)
        return found[0]

    def _make_way(self, request: UploadRequest, missing: int = 0) -> bool:
        """Remove the idle uploads to the target of `request` that are empty, or with `missing` all of them, if that
        makes room for so many bytes; whether there were any."""
        conditions = (_uploads.c.account_id == request.identity.account.id, _uploads.c.target == request.target.uri)
        with self._stores.database.read() as connection:
            found = rows(connection, *conditions)
        idle = [(row, arrived(self._stores, row)) for row in found if not self.turns.is_taken(row.id)]
        if missing:
            gone = [row for row, size in idle if size is not None]
            if sum(size or 0 for _, size in idle) < missing:
                return False
        else:
            gone = [row for row, size in idle if size == 0]
        if gone:
            remove(self._stores, gone)
        return bool(gone)

    def _resumed(self, row: Unfinished) -> BlobWriter:
        try:
            return self._stores.blobs.resume(row.blob_id)
        except FileNotFoundError:
            # It has just ended, or is on another server's disk.
            raise _not_found(row.id) from None

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

    def _remember(self, upload_id: str, digested: Digested) -> None:
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
            found = rows(connection, _uploads.c.touched_at < before)
        if not found:
            return expired
        remove(stores, found)
        expired += len(found)


def _not_found(upload_id: str) -> NotFound:
    return NotFound(f"no upload {upload_id[:40]}: it was completed, cancelled, or begun too long ago by this account")
