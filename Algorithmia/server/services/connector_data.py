"""The verbs of the data API on connectors: rights and restrictions here, the rest is the provider's driver."""

from __future__ import annotations

import io
import mimetypes
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from anyio import CapacityLimiter

from ..connectors.base import Driver, Entry, Reader
from ..db.values import iso_time
from ..errors import ApiProblem, BadRequest, Conflict, NotAuthorized
from ..identity import Identity
from . import page_markers
from .acl import AclDocument
from .connector_upload import ConnectorUpload
from .connectors import Connected, Connectors
from .data_access import require_read, require_write
from .data_listing import not_found
from .data_paths import Kind, Target
from .data_records import File
from .data_removal import DeletionStopped
from .data_uploads import Stored, UploadRequest
from .preconditions import UNCONDITIONAL, Conditions

_MARKERS = "c"
# Slow providers hold up each other, but never hosted data or calls.
_THREADS = 32


class RemoteFile:
    """A file of a provider: its description, and any one part of its content."""

    content = None

    def __init__(self, driver: Driver, entry: Entry) -> None:
        self._driver = driver
        self._entry = entry
        self._reader: Reader | None = None
        self.file = File(
            "", entry.name, entry.size, entry.etag, _content_type(entry.content_type), "", entry.modified_at
        )

    def reader(self, start: int, length: int) -> Reader:
        """The bytes from the provider, as it still has them. Raises PreconditionFailed when they were replaced."""
        if not length:
            return io.BytesIO()
        self._reader = _Reading(self._driver, self._entry, start, length)
        return self._reader

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()


class _Reading:
    """A driver's reader whose failures, too, are told in our terms."""

    def __init__(self, driver: Driver, entry: Entry, start: int, length: int) -> None:
        self._driver, self._entry = driver, entry
        self._source = driver.open(entry, start, length)

    def read(self, size: int = -1) -> bytes:
        with self._driver.translated(self._entry.path):
            return self._source.read(size)

    def close(self) -> None:
        self._source.close()


class ConnectorData:
    """The data API on the connectors of whoever asks. Every method blocks, and may be called from any thread."""

    def __init__(self, connectors: Connectors, page_size: int) -> None:
        self._connectors = connectors
        self._page_size = page_size
        self.threads = CapacityLimiter(_THREADS)

    def resolve(self, identity: Identity, target: Target) -> Target:
        """`target` as a file or as a directory. Raises NotFound, NotAuthorized."""
        _require_any(identity)
        connected = self._connectors.open(identity.account, target.connector)
        if connected.glob.matches(target.path) and connected.driver.stat(target.path) is not None:
            return replace(target, kind=Kind.FILE)
        if connected.glob.reaches(target.path) and connected.driver.is_directory(target.path):
            return replace(target, kind=Kind.COLLECTION)
        if not connected.glob.matches(target.path) and not connected.glob.reaches(target.path):
            raise _outside(connected, target)
        raise not_found(target)

    def open_file(self, identity: Identity, target: Target, with_content: bool = True) -> RemoteFile:
        """The file `target`. Raises NotFound, NotAuthorized."""
        require_read(identity)
        connected = self._connectors.open(identity.account, target.connector)
        entry = self._entry(connected, target)
        if entry is None:
            raise not_found(target)
        return RemoteFile(connected.driver, entry)

    def list_directory(
        self, identity: Identity, target: Target, marker: str = "", with_acl: bool = False
    ) -> dict[str, Any]:
        """A page of the directory `target`. Raises NotFound, NotAuthorized, BadRequest."""
        require_read(identity)
        token = page_markers.place_of(_MARKERS, marker)
        connected = self._reaching(identity, target)
        page = connected.driver.page(target.path, token, self._page_size)
        if not (token or page.folders or page.files or connected.driver.is_directory(target.path)):
            raise not_found(target)
        start = f"{target.path}/" if target.path else ""
        folders = [
            path[len(start) :]
            for path in page.folders
            if _is_child(path, start) and connected.glob.reaches(path)
        ]
        files = [
            {"filename": entry.path[len(start) :], "last_modified": iso_time(entry.modified_at), "size": entry.size}
            for entry in page.files
            if _is_child(entry.path, start) and connected.glob.matches(entry.path)
        ]
        document: dict[str, Any] = {}
        if folders:
            document["folders"] = [{"name": name} for name in folders]
        if files:
            document["files"] = files
        if page.token:
            document["marker"] = page_markers.marker_for(_MARKERS, page.token)
        return document

    def check_directory(self, identity: Identity, target: Target) -> None:
        """Raises what `list_directory` would."""
        require_read(identity)
        connected = self._reaching(identity, target)
        if not connected.driver.is_directory(target.path):
            raise not_found(target)

    def create_collection(self, identity: Identity, target: Target, name: str, document: AclDocument | None) -> str:
        """Make the directory `name` in `target`. Raises BadRequest, NotAuthorized, Conflict."""
        require_write(identity)
        if document is not None:
            raise BadRequest(f"directories of {target.connector} have no ACL: the provider decides who may read them")
        if name in ("", ".", "..") or "/" in name or len(name) > 255 or not name.isprintable():
            raise BadRequest(f"directory name {name[:60]!r} is not valid: at most 255 characters, and no slash")
        path = f"{target.path}/{name}" if target.path else name
        below = replace(target, path=path, uri=f"{target.uri.removesuffix('/')}/{name}")
        if not target.path:
            below = replace(below, uri=f"{target.connector}://{name}")
        connected = self._writable(identity, below)
        if not connected.glob.matches(f"{path}/"):
            raise _outside(connected, below)
        if connected.driver.is_directory(path) or connected.driver.stat(path) is not None:
            raise Conflict(f"{below.uri} exists already")
        connected.driver.make_directory(path)
        return below.uri

    def set_acl(self, identity: Identity, target: Target, document: AclDocument) -> None:
        """Raises BadRequest: only hosted collections have an ACL."""
        raise BadRequest(f"{target.uri} has no ACL; only collections such as data://.my/name do")

    def begin_upload(self, request: UploadRequest) -> ConnectorUpload:
        """Begin to store a file. Raises NotFound, NotAuthorized, BadRequest, PreconditionFailed.

        Conditions are looked at now; the provider isn't asked to look again at the end.
        """
        target = request.target
        require_write(request.identity)
        if target.kind is Kind.COLLECTION:
            raise BadRequest(f"{target.uri} is a directory; name a file in it")
        connected = self._writable(request.identity, target)
        if not connected.glob.matches(target.path):
            raise _outside(connected, target)
        if not connected.driver.may_hold_files(target.path):
            raise BadRequest(f"{target.uri} can't be a file: files are in buckets, as in {target.uri}/name")
        if request.conditions != UNCONDITIONAL:
            entry = connected.driver.stat(target.path)
            request.conditions.check(entry.etag if entry else None, target.uri)
        content_type = mimetypes.guess_type(target.path)[0] or "application/octet-stream"

        def put(source: io.BufferedReader) -> str:
            return connected.driver.put(target.path, source, request.size, content_type)

        return ConnectorUpload(target.uri, request.size, put, request.digest)

    def store(self, request: UploadRequest, content: Iterable[bytes]) -> Stored:
        """Store a file whose content is at hand."""
        pieces = list(content)
        upload = self.begin_upload(replace(request, size=sum(map(len, pieces))))
        try:
            for piece in pieces:
                upload.write(piece)
            return upload.commit()
        finally:
            upload.abort()

    def delete_file(self, identity: Identity, target: Target, conditions: Conditions = UNCONDITIONAL) -> int:
        """Remove the file `target`; 1. Raises NotFound, NotAuthorized, PreconditionFailed."""
        require_write(identity)
        connected = self._writable(identity, target)
        entry = self._entry(connected, target)
        if entry is None:
            raise not_found(target)
        conditions.check(entry.etag, target.uri)
        connected.driver.delete(target.path)
        return 1

    def delete_directory(self, identity: Identity, target: Target, force: bool = False) -> int:
        """Remove the directory `target`, with `force` also what is below it; how many files there were.

        Files outside the connector's path restriction stay, and with them the directory.
        Raises NotFound, NotAuthorized, BadRequest, Conflict when there is something and no `force`; DeletionStopped.
        """
        require_write(identity)
        connected = self._writable(identity, target)
        if not target.path or not connected.driver.may_hold_files(target.path):
            raise BadRequest(f"{target.uri} can't be removed; remove the directories below it one by one")
        if not connected.glob.reaches(target.path):
            raise _outside(connected, target)
        if not connected.driver.is_directory(target.path):
            raise not_found(target)
        mark = f"{target.path}/"
        if not force:
            page = connected.driver.page(target.path, limit=2)
            if page.folders or page.token or any(entry.path != mark for entry in page.files):
                raise Conflict(f"directory {target.uri} is not empty; remove it together with its files by force=true")
            if not connected.glob.matches(mark):
                raise _outside(connected, target)
            connected.driver.remove_directory(target.path)
            return 0
        return self._delete_below(connected, target, mark)

    # -- below -----------------------------------------------------------------------------------------------------

    def _delete_below(self, connected: Connected, target: Target, mark: str) -> int:
        deleted = 0
        kept = False
        token = ""
        try:
            while True:
                page = connected.driver.page(target.path, token, recursive=True)
                below = [entry.path for entry in page.files if entry.path.startswith(mark)]
                files = [path for path in below if not path.endswith("/")]
                doomed = [path for path in files if connected.glob.matches(path)]
                kept = kept or len(doomed) < len(files)
                for count in connected.driver.delete_many(doomed):
                    deleted += count
                # What keeps empty directories visible is no file, and not counted.
                marks = [path for path in below if path.endswith("/") and connected.glob.matches(path)]
                for _ in connected.driver.delete_many(marks):
                    pass
                token = page.token
                if not token:
                    break
            if not kept and connected.glob.matches(mark):
                connected.driver.remove_directory(target.path)
        except ApiProblem as problem:
            message = f"removing {target.uri} failed after {deleted} files: {problem.message}"
            raise DeletionStopped(message, extra={"deleted": deleted}) from None
        return deleted

    def _entry(self, connected: Connected, target: Target) -> Entry | None:
        if not connected.glob.matches(target.path):
            raise _outside(connected, target)
        return connected.driver.stat(target.path)

    def _reaching(self, identity: Identity, target: Target) -> Connected:
        """The connector of the directory `target`. Raises NotAuthorized when it's outside the path restriction."""
        connected = self._connectors.open(identity.account, target.connector)
        if not connected.glob.reaches(target.path):
            raise _outside(connected, target)
        return connected

    def _writable(self, identity: Identity, target: Target) -> Connected:
        connected = self._connectors.open(identity.account, target.connector)
        if not connected.writeable:
            raise NotAuthorized(
                f"connector {connected.name} is read-only, so {target.uri} can't be changed; its owner can allow "
                "writing (writeable: true)"
            )
        return connected


def _require_any(identity: Identity) -> None:
    """Raises NotAuthorized for a key that may neither read nor write data: it learns nothing of what there is."""
    if identity.permissions.allow_data_write:
        return
    require_read(identity)


def _outside(connected: Connected, target: Target) -> NotAuthorized:
    return NotAuthorized(f"{target.uri} is outside what connector {connected.name} may reach (its path restriction)")


def _is_child(path: str, start: str) -> bool:
    name = path[len(start) :]
    return path.startswith(start) and bool(name) and "/" not in name


def _content_type(text: str) -> str:
    """`text` if it can be a header's value."""
    return text if text.isascii() and text.isprintable() and len(text) < 200 else "application/octet-stream"
