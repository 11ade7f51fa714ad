"""Whether metadata and bytes agree: every file's row against the blob store, and the counts against the rows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from ..db import schema
from ..db.database import Database
from ..storage.base import BlobStore, Entry, is_blob_id
from . import stored_files
from .garbage import Garbage
from .stored_files import StoredFile, WrongContent

# What was stored just now may be about to get its row.
_SETTLED_SECONDS = 3600
_REMOTE_WORKERS = 8
_REMEDY = "bring it back from a backup, or delete the file"

_files, _garbage, _uploads = schema.files, schema.garbage, schema.uploads
_collections, _accounts = schema.collections, schema.accounts
_REFERENCED_GARBAGE = sa.select(_garbage.c.blob_id).where(_garbage.c.blob_id == _files.c.blob_id)
_USED = (
    sa.select(sa.func.coalesce(sa.func.sum(_files.c.size), 0))
    .select_from(_files.join(_collections))
    .where(_collections.c.account_id == _accounts.c.id)
    .scalar_subquery()
)
_NEWEST = sa.select(sa.func.max(_files.c.modified_at))
_WRONG_COUNTS = sa.select(_accounts.c.id, _accounts.c.username, _accounts.c.used_bytes, _USED).where(
    _accounts.c.used_bytes != _USED
)


@dataclass(slots=True)
class Finding:
    """Something that isn't as it should be.

    kind      of a file's content: missing, size, content, unreadable; of what no file needs: unreferenced, stray;
              garbage: listed for removal, and a file needs it; upload: it can't be taken up again; count: an account's
              bytes
    subject   what it's about: the file's URI, the blob's id, the path or the account
    said      what is wrong
    repaired  whether it has been put right
    """

    kind: str
    subject: str
    said: str
    blob: str | None = None
    repaired: bool = False

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class StorageCheck:
    """One look at everything.

    checksums  read all contents, too
    repairs    move aside what no file needs, and correct counts; a file's row and its bytes are never touched
    shared     other servers may be at work on the same database and store
    progress   is told after each file how many were looked at

    After `findings`: `files` and `bytes` that were looked at, and `leftovers`, blobs that the next start removes.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        *,
        checksums: bool = False,
        repairs: bool = False,
        shared: bool = False,
        progress: Callable[[int, int], None] = lambda files, size: None,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._checksums = checksums
        self._repairs = repairs
        self._shared = shared
        self._progress = progress
        self._counting = threading.Lock()
        self.files = 0
        self.bytes = 0
        self.leftovers = 0

    def findings(self) -> Iterator[Finding]:
        """Look, and repair if that's wanted. Raises OSError when the store can't be listed."""
        yield from self._garbage()
        if self._repairs:
            Garbage(self._database, self._blobs).recover()
        staged = set(self._blobs.staged())
        yield from self._contents(staged)
        yield from self._unfinished(staged)
        yield from self._counts()

    def _garbage(self) -> Iterator[Finding]:
        """Rows that would have the next start remove what a file needs."""
        with self._database.read() as connection:
            found = list(connection.execute(_REFERENCED_GARBAGE).scalars())
        for blob_id in found:
            finding = self._finding("garbage", blob_id, "its content is listed for removal although the file is there")
            if self._repairs:
                with self._database.write() as connection:
                    connection.execute(_garbage.delete().where(_garbage.c.blob_id == blob_id))
                finding.repaired = True
            yield finding

    def _contents(self, staged: set[str]) -> Iterator[Finding]:
        strays: list[Entry] = []

        def blobs_only() -> Iterator[Entry]:
            for entry in self._blobs.entries():
                if is_blob_id(entry.name):
                    yield entry
                else:
                    strays.append(entry)

        def examine(
            pair: tuple[StoredFile | None, Entry | None],
        ) -> tuple[StoredFile | None, Finding | None, Entry | None]:
            file, entry = pair
            if file is not None:
                return file, self._examine(file, entry, entry is None and file.blob_id in staged), None
            return None, self._unreferenced(entry) if entry else None, entry

        with self._database.read() as connection:
            newest = connection.execute(_NEWEST).scalar()
        workers = _REMOTE_WORKERS if self._checksums and self._blobs.is_remote else 1
        pairs = stored_files.beside(stored_files.in_order(self._database), blobs_only())
        for file, finding, entry in stored_files.in_parallel(examine, pairs, workers):
            if file is not None:
                self.files += 1
                self.bytes += file.size
                self._progress(self.files, self.bytes)
            if self._repairs and finding is not None and entry is not None:
                finding = self._set_aside(finding, entry, newest)
            if finding is not None:
                yield finding
            while strays:
                yield self._stray(strays.pop())
        yield from map(self._stray, strays)

    def _examine(self, file: StoredFile, entry: Entry | None, is_staged: bool) -> Finding | None:
        try:
            if entry is None and not is_staged:
                raise FileNotFoundError
            if self._checksums:
                stored_files.read_checked(self._blobs, file)
            elif entry is None or entry.size != file.size:
                self._check_size(file)
        except FileNotFoundError:
            return self._of_file("missing", file, f"its content is gone; {_REMEDY}")
        except WrongContent as problem:
            kind = "size" if "bytes instead of" in str(problem) else "content"
            return self._of_file(kind, file, f"its content {problem}; {_REMEDY}")
        except OSError as problem:
            return self._of_file("unreadable", file, f"its content can't be read: {problem.strerror or problem}")
        return None

    def _check_size(self, file: StoredFile) -> None:
        with self._blobs.open_blob(file.blob_id) as handle:
            size = handle.seek(0, 2)
        if size != file.size:
            raise WrongContent(f"has {size} bytes instead of {file.size}")

    def _of_file(self, kind: str, file: StoredFile, said: str) -> Finding | None:
        # With several servers, the file may just have been removed, or have other content now.
        uri = stored_files.uri_of(self._database, file.blob_id)
        return None if uri is None else Finding(kind, uri, said, file.blob_id)

    def _unreferenced(self, entry: Entry) -> Finding | None:
        if self._shared and time.time() - entry.modified_at < _SETTLED_SECONDS:
            return None
        if stored_files.uri_of(self._database, entry.name) is not None:  # since a moment ago
            return None
        with self._database.read() as connection:
            statement = sa.select(_garbage.c.blob_id).where(_garbage.c.blob_id == entry.name)
            if connection.execute(statement).first():
                with self._counting:
                    self.leftovers += 1
                return None
        return Finding("unreferenced", entry.name, f"{entry.size} bytes that no file refers to", entry.name)

    def _set_aside(self, finding: Finding, entry: Entry, newest: int | None) -> Finding | None:
        """What is left to say about it."""
        if newest is None:
            finding.said += "; left alone, because the database knows no file at all: it may be the wrong one"
        elif entry.modified_at * 1000 >= newest:
            finding.said += "; left alone, because it's newer than every file that the database knows: that may be old"
        elif time.time() - entry.modified_at < _SETTLED_SECONDS:
            finding.said += "; left alone, because it's not an hour old"
        # Again: of an object that came in parts, the time is that of the first, and the row may be there by now.
        elif stored_files.uri_of(self._database, entry.name) is not None:
            return None
        else:
            finding.said += f"; moved to {self._blobs.set_aside(entry.name)}"
            finding.repaired = True
        return finding

    def _unfinished(self, staged: set[str]) -> Iterator[Finding]:
        """Uploads that were begun, against what has come of them."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(_uploads.c.blob_id, _uploads.c.target))
            begun = {row.blob_id: row.target for row in rows}
        waiting = staged - begun.keys()
        self.leftovers += sum(stored_files.uri_of(self._database, blob_id) is None for blob_id in waiting)
        # What has come of an upload is on the disk of the server where it was begun, which may be another one. Those
        # that nobody goes on with are forgotten when they are too old.
        for blob_id in () if self._shared else begun.keys() - staged:
            said = "what has come of this upload is gone; it has to be begun anew"
            finding = Finding("upload", begun[blob_id], said, blob_id)
            if self._repairs:
                with self._database.write() as connection:
                    connection.execute(_uploads.delete().where(_uploads.c.blob_id == blob_id))
                finding.repaired = True
            yield finding

    def _counts(self) -> Iterator[Finding]:
        with self._database.read() as connection:
            wrong = list(connection.execute(_WRONG_COUNTS))
        for account_id, username, counted, used in wrong:
            finding = Finding("count", username, f"its files take {used} bytes, and {counted} are counted")
            if self._repairs:
                with self._database.write() as connection:
                    connection.execute(_accounts.update().where(_accounts.c.id == account_id).values(used_bytes=_USED))
                finding.repaired = True
            yield finding

    def _finding(self, kind: str, blob_id: str, said: str) -> Finding:
        return Finding(kind, stored_files.uri_of(self._database, blob_id) or blob_id, said, blob_id)

    @staticmethod
    def _stray(entry: Entry) -> Finding:
        return Finding("stray", entry.name, f"{entry.size} bytes that are none of the platform's; they are left alone")
