"""Hosted data: every verb on directories and files, with the rights that it needs. No HTTP here.

Metadata is in the database, contents are in the blob store; `docs/architecture.md` says what is on disk when.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

import sqlalchemy as sa
from anyio import CapacityLimiter

from ..db.database import Database
from ..errors import ApiProblem, BadRequest, Conflict
from ..identity import Identity
from ..settings import Settings
from ..storage.base import BlobStore
from . import acl, data_folders, data_listing, data_records
from .data_access import Place, place_of, require_own, require_read, require_write
from .data_batches import Batches
from .data_paths import HOSTED, SESSION, Kind, Target
from .data_removal import Removal
from .data_store import IsDirectory
from .data_uploads import Stored, Stores, Upload, UploadRequest
from .garbage import Garbage
from .late_digests import LateDigests
from .preconditions import UNCONDITIONAL, Conditions
from .quotas import Quotas, Usage

SMALL_FILE = 256 * 1024

_COLLECTION_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]{0,29}")
# How many requests may wait for blobs that are elsewhere.
_REMOTE_THREADS = 64
# Parts that are hashed at a time before they are sent: the platform's own threads are for everybody.
_HASHING = 4


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file opened for reading: the whole of `content` when it's small, else `handle`, which the taker closes."""

    file: data_records.File
    content: bytes | None = None
    handle: BinaryIO | None = None

    def reader(self, start: int, length: int) -> BinaryIO:
        """The handle, at `start`."""
        if self.handle is None:
            raise ValueError(f"{self.file.name} was opened for its description only")
        self.handle.seek(start)
        return self.handle

    def close(self) -> None:
        """Close the handle, if there is one."""
        if self.handle:
            self.handle.close()


class HostedData:
    """The data API. Every method blocks, and may be called from any thread.

    removal       of many files at once, and of those whose time is up
    quotas        what accounts may store
    late_digests  for who can compare nothing else
    hashing       bounds the threads that hash parts of files before they are sent
    """

    def __init__(self, database: Database, blobs: BlobStore, settings: Settings) -> None:
        # Local disks answer in bounded time: the platform's own threads wait for them.
        self.threads = CapacityLimiter(_REMOTE_THREADS) if blobs.is_remote else None
        self._database = database
        self._blobs = blobs
        self._page_size = settings.page_size
        self._garbage = Garbage(database, blobs)
        self.removal = Removal(database, self._garbage)
        self.quotas = Quotas(settings.max_account_bytes)
        self._live_sessions: set[tuple[str, str]] = set()
        # Who runs calls says which sessions live; until somebody does, all do.
        self.session_is_live: Callable[[str], bool] = lambda session_id: True
        self._stores = Stores(
            database,
            blobs,
            self._garbage,
            self.quotas,
            settings.max_file_bytes,
            self._live_sessions,
            lambda session_id: self.session_is_live(session_id),
        )
        self.batches = Batches(self._stores, settings.page_size)
        self.late_digests = LateDigests(database, blobs)
        self.hashing = CapacityLimiter(_HASHING)

    @property
    def stores(self) -> Stores:
        """What uploads write to."""
        return self._stores

    def recover(self) -> None:
        """At start: settle what a crash left behind, and drop what belonged to sessions of the process before.

        What takes long is left for later (`Removal.go_on`).
        """
        self.removal.condemn_space(SESSION)
        self._garbage.recover()

    def resolve(self, identity: Identity, target: Target) -> Target:
        """`target` itself: reading it says whether a name without a slash is a file or a folder."""
        return target

    def open_file(self, identity: Identity, target: Target, with_content: bool = True) -> OpenFile:
        """The file `target`, and, unless only its description is wanted, its content as of now.

        Raises NotFound, NotAuthorized, BadRequest, IsDirectory.
        """
        require_read(identity)
        place = place_of(target, identity)
        previous = ""
        while True:
            with self._database.read() as connection:
                collection, file = data_records.locate(connection, place, target.file)
                if collection is not None:
                    data_listing.require_readable(collection, identity, target)
                if file is None:
                    raise _missing(connection, collection, target)
            if not with_content:
                return OpenFile(file)
            try:
                handle = self._blobs.open_blob(file.blob_id)
            except FileNotFoundError:
                # Overwritten and collected between the look-up and now: the row has a newer blob. Not so twice for one.
                if file.blob_id == previous:
                    raise
                previous = file.blob_id
                continue
            return self._opened(file, handle)

    def list_directory(
        self, identity: Identity, target: Target, marker: str = "", with_acl: bool = False
    ) -> dict[str, Any]:
        """A page of the directory `target`, as the API's document. Raises NotFound, NotAuthorized, BadRequest."""
        require_read(identity)
        with self._database.read() as connection:
            return data_listing.directory_document(connection, identity, target, marker, with_acl, self._page_size)

    def check_directory(self, identity: Identity, target: Target) -> None:
        """Raises what `list_directory` would."""
        require_read(identity)
        with self._database.read() as connection:
            data_listing.check_directory(connection, identity, target)

    def list_hosted(self, identity: Identity) -> list[dict[str, Any]]:
        """All collections of the caller, in the form of ``/v1/hostedData``."""
        require_read(identity)
        with self._database.read() as connection:
            rows = data_records.collection_rows(connection, HOSTED, identity.account.id)
        username = identity.account.username
        return [
            {
                "id": row.id,
                "object_id": row.id,
                "collection_name": row.name,
                "username": username,
                "acl": {
                    "read_w": row.acl_read == acl.PUBLIC,
                    "read_g": False,
                    "read_u": True,
                    "read_a": row.acl_read != acl.PRIVATE,
                },
                "location": f"data://{username}/{row.name}",
            }
            for row in rows
        ]

    def create_collection(self, identity: Identity, target: Target, name: str, document: acl.AclDocument | None) -> str:
        """Make the collection `name` below the account `target`, and return its URI in the caller's words.

        Raises BadRequest (name, ACL, or a place that has no sub-directories), NotAuthorized, NotFound, Conflict.
        """
        require_write(identity)
        if target.kind in (Kind.COLLECTION, Kind.FOLDER, Kind.FILE):
            raise BadRequest(
                f"folders come by themselves, with their first file: store one as {target.uri}/{name[:30]}/FILE"
            )
        if target.kind is not Kind.ACCOUNT:
            raise BadRequest(f"directories can be made directly below an account only, as in data://.my/{name[:30]}")
        if not _COLLECTION_NAME.fullmatch(name):
            raise BadRequest(
                f"directory name {name[:60]!r} is not valid: at most 30 letters, digits and underscores, the "
                "first one a letter"
            )
        acl_read = acl.stored_form(document) if document else acl.MY_ALGORITHMS
        place = place_of(target, identity)
        if place.account_id is None:
            self.check_directory(identity, target)
        account_id = require_own(place, target)
        uri = f"{target.uri}/{name}"
        try:
            with self._database.write() as connection:
                data_records.insert_collection(connection, HOSTED, account_id, name, acl_read)
        except sa.exc.IntegrityError:
            raise Conflict(f"directory {uri} exists already") from None
        return uri

    def set_acl(self, identity: Identity, target: Target, document: acl.AclDocument) -> None:
        """Change who may read the collection `target`. Raises BadRequest, NotFound, NotAuthorized."""
        require_write(identity)
        if target.kind is not Kind.COLLECTION or target.space != HOSTED:
            raise BadRequest(f"{target.uri} has no ACL; only collections such as data://.my/name do")
        acl_read = acl.stored_form(document)
        with self._database.write() as connection:
            data_records.update_acl(connection, self._own_collection(connection, identity, target), acl_read)

    def begin_upload(self, request: UploadRequest) -> Upload:
        """Begin to store a file whose content comes piece by piece. Raises what `Upload` does."""
        return Upload(self._stores, request)

    def store(self, request: UploadRequest, content: Iterable[bytes]) -> Stored:
        """Store a file whose content is at hand. Raises what `Upload` does."""
        upload = Upload(self._stores, request, whole=True)
        try:
            for piece in content:
                upload.write(piece)
            return upload.commit()
        finally:
            upload.abort()

    def delete_file(self, identity: Identity, target: Target, conditions: Conditions = UNCONDITIONAL) -> int:
        """Remove the file `target`; 1, as the API counts it.

        Raises NotFound, NotAuthorized, PreconditionFailed, IsDirectory.
        """
        require_write(identity)
        place = place_of(target, identity)
        with self._database.write() as connection:
            collection, file = data_records.locate(connection, place, target.file, for_update=True)
            if collection is not None:
                require_own(place, target)
            if file is None:
                raise _missing(connection, collection, target)
            conditions.check(file.etag, target.uri)
            assert collection is not None
            data_records.delete_files(connection, collection.account_id, [(file.id, file.size)])
            self._garbage.add(connection, [file.blob_id])
        self._garbage.unlink([file.blob_id])
        return 1

    def delete_directory(self, identity: Identity, target: Target, force: bool = False) -> int:
        """Remove the collection or folder `target`, with `force` also its files; how many files there were.

        Raises NotFound, NotAuthorized, BadRequest, Conflict when there are files and no `force`; DeletionStopped for a
        folder.
        """
        require_write(identity)
        if target.kind not in (Kind.COLLECTION, Kind.FOLDER):
            place_of(target, identity)
            raise BadRequest(f"{target.uri} can't be removed; remove the directories below it one by one")
        with self._database.write() as connection:
            collection = self._own_collection(connection, identity, target, for_update=True)
            is_empty = not data_folders.exists(connection, collection.id, target.folder)
            if is_empty and target.folder:
                raise data_listing.not_found(target)
            if not force and not is_empty:
                raise Conflict(f"directory {target.uri} is not empty; remove it together with its files by force=true")
            if is_empty:
                data_records.delete_collection(connection, collection)
                return 0
            if not target.folder:
                self.removal.condemn(connection, collection)
        if target.folder:
            return self.removal.folder(collection, target.folder)
        return self.removal.collection(collection)

    def end_session(self, account_id: str, session_id: str) -> None:
        """Remove the files of a session that's over. Returns at once when it has none (see `has_session_files`)."""
        if not self.has_session_files(account_id, session_id):
            return
        self._live_sessions.discard((account_id, session_id))
        with self._database.write() as connection:  # after an upload that is just committing
            collection, _ = data_records.locate(connection, Place(SESSION, account_id, "", session_id))
            if collection is None:
                return
            self.removal.condemn(connection, collection)
        self.removal.collection(collection)

    def usage(self, account_id: str) -> Usage:
        """What the files of the account take, and may take."""
        with self._database.read() as connection:
            return self.quotas.usage(connection, account_id)

    def has_session_files(self, account_id: str, session_id: str) -> bool:
        """Whether `end_session` has anything to do. Doesn't block."""
        return (account_id, session_id) in self._live_sessions

    @staticmethod
    def _opened(file: data_records.File, handle: BinaryIO) -> OpenFile:
        if file.size > SMALL_FILE:
            return OpenFile(file, handle=handle)
        with handle:
            content = handle.read(file.size + 1)
        if len(content) != file.size:
            raise OSError(f"blob {file.blob_id} has {len(content)} bytes instead of {file.size}")
        return OpenFile(file, content)

    @staticmethod
    def _own_collection(
        connection: sa.Connection, identity: Identity, target: Target, for_update: bool = False
    ) -> data_records.Collection:
        place = place_of(target, identity)
        collection, _ = data_records.locate(connection, place, for_update=for_update)
        if collection is None:
            raise data_listing.not_found(target)
        require_own(place, target)
        return collection


def _missing(connection: sa.Connection, collection: data_records.Collection | None, target: Target) -> ApiProblem:
    """The error for a file that isn't there: it may be a folder."""
    if collection is not None and data_folders.exists(connection, collection.id, target.file):
        return IsDirectory(target.as_folder)
    return data_listing.not_found(target)
