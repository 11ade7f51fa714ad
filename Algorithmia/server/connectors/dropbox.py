"""Dropbox, through its own package. Paths are below the root folder; their case doesn't matter there, here it does."""

from __future__ import annotations

import io
import logging
from datetime import timezone
from typing import Any

from ..errors import NotFound
from .base import PIECE, READ_SECONDS, Account, Driver, Entry, MissingPackage, Page, Reader
from .endpoints import guarded_session

_MAX_LIMIT = 2000
# What the words of its errors mean in HTTP.
_STATUS = {
    "not_found": 404,
    "not_file": 404,
    "not_folder": 404,
    "restricted_content": 403,
    "no_write_permission": 403,
    "insufficient_space": 507,
    "too_many_write_operations": 429,
    "conflict": 409,
}


class Dropbox(Driver):
    """A `Driver` with an access token, or with a refresh token that gets access tokens."""

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        try:
            import dropbox
        except ImportError:
            raise MissingPackage("dropbox", "dropbox") from None
        for name in ("dropbox", "urllib3"):
            logging.getLogger(name).setLevel(logging.WARNING)
        given = account.credentials
        session = None
        if account.endpoint:
            endpoint = account.endpoint

            def moved(url: str) -> str:
                return endpoint + "/" + url.split("/", 3)[3]

            session = guarded_session(account.guard, moved=moved)
        # A refresh token is of use only together with the app that it was given to.
        refresh = given.get("refresh_token") if given.get("app_key") else None
        self._client: Any = dropbox.Dropbox(
            given["access_token"],
            oauth2_refresh_token=refresh,
            app_key=given.get("app_key"),
            app_secret=given.get("app_secret"),
            session=session,
            timeout=READ_SECONDS,
            max_retries_on_error=2,
            max_retries_on_rate_limit=1,
        )

    def stat(self, path: str) -> Entry | None:
        found = self._metadata(path) if path else None
        return _entry(found, path) if found is not None and hasattr(found, "rev") else None

    def is_directory(self, path: str) -> bool:
        if not path:
            return True
        found = self._metadata(path)
        return found is not None and not hasattr(found, "rev")

    def page(self, directory: str, token: str = "", limit: int = 1000, recursive: bool = False) -> Page:
        with self.translated(directory):
            if token:
                found = self._client.files_list_folder_continue(token)
            else:
                found = self._client.files_list_folder(
                    _remote(directory), recursive=recursive, limit=min(limit, _MAX_LIMIT)
                )
        folders, files = [], []
        start = f"{_remote(directory)}/"
        for item in found.entries:
            # A token says for itself which folder it is for: it may not be this one.
            if not (item.path_lower or "").startswith(start.lower()):
                continue
            path = f"{directory}/{item.path_display[len(start) :]}".removeprefix("/")
            if hasattr(item, "rev"):
                files.append(_entry(item, path))
            elif not recursive and type(item).__name__ == "FolderMetadata":
                folders.append(path)
        return Page(folders, files, found.cursor if found.has_more else "")

    def open(self, entry: Entry, start: int, length: int) -> Reader:
        with self.translated(entry.path):
            ranged = self._client.clone(headers={"Range": f"bytes={start}-{start + length - 1}"})
            _, response = ranged.files_download(f"rev:{entry.version}")
        return _Download(response)

    def put(self, path: str, source: io.BufferedReader, size: int | None, content_type: str) -> str:
        from dropbox.files import CommitInfo, UploadSessionCursor, WriteMode

        with self.translated(path):
            piece = source.read(2 * PIECE)
            if len(piece) < 2 * PIECE:
                stored = self._client.files_upload(piece, _remote(path), WriteMode.overwrite)
                return str(stored.content_hash or stored.rev)
            # Until it is finished, a session is no file.
            session = self._client.files_upload_session_start(piece).session_id
            sent = len(piece)
            while True:
                piece = source.read(2 * PIECE)
                cursor = UploadSessionCursor(session, sent)
                if len(piece) < 2 * PIECE:
                    break
                self._client.files_upload_session_append_v2(piece, cursor)
                sent += len(piece)
            commit = CommitInfo(_remote(path), WriteMode.overwrite)
            stored = self._client.files_upload_session_finish(piece, cursor, commit)
        return str(stored.content_hash or stored.rev)

    def delete(self, path: str) -> None:
        with self.translated(path):
            self._client.files_delete_v2(_remote(path))

    def make_directory(self, path: str) -> None:
        with self.translated(path):
            self._client.files_create_folder_v2(_remote(path))

    def remove_directory(self, path: str) -> None:
        try:
            self.delete(path)
        except NotFound:
            return

    def status_of(self, problem: Exception) -> tuple[int, str]:
        from dropbox.exceptions import ApiError, AuthError, BadInputError, HttpError, RateLimitError

        if isinstance(problem, ApiError):
            word = _word(problem.error)
            return _STATUS.get(word, 400), word
        if isinstance(problem, AuthError):
            return 403, "the access token is not accepted"
        if isinstance(problem, RateLimitError):
            return 429, ""
        if isinstance(problem, BadInputError):
            return 400, ""
        if isinstance(problem, HttpError):
            return int(problem.status_code or 0), ""
        return 0, ""

    def _metadata(self, path: str) -> Any:
        """What is at `path`; None when nothing is."""
        try:
            with self.translated(path):
                return self._client.files_get_metadata(_remote(path))
        except NotFound:
            return None


class _Download:
    """The body of an answer."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._response.raw.read(None if size < 0 else size)
        return data

    def close(self) -> None:
        self._response.close()


def _remote(path: str) -> str:
    return f"/{path}" if path else ""


def _word(error: Any) -> str:
    """The innermost tag of an error: ``not_found`` of ``path/not_found/...``."""
    word = ""
    while error is not None and getattr(error, "_tag", None):
        word = str(error._tag)
        if word in _STATUS:
            break
        # Upload errors hold the reason one level deeper.
        error = getattr(error, "_value", None)
        error = getattr(error, "reason", error)
    return word[:60]


def _entry(found: Any, path: str) -> Entry:
    modified = found.server_modified.replace(tzinfo=timezone.utc)
    return Entry(
        path,
        found.size,
        str(found.content_hash or found.rev),
        int(modified.timestamp() * 1000),
        "application/octet-stream",
        found.rev,
    )
