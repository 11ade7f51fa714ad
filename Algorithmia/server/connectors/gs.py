"""Google Cloud Storage, through google-cloud-storage. Paths are BUCKET/KEY; the root lists the project's buckets."""

from __future__ import annotations

import base64
import binascii
import io
import logging
from typing import Any

from ..errors import BadRequest, NotFound
from .base import (
    CONNECT_SECONDS,
    PIECE,
    READ_SECONDS,
    Account,
    Driver,
    Entry,
    MissingPackage,
    Page,
    Reader,
    split_bucket,
)
from .endpoints import guarded_session

_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_TIMEOUT = (CONNECT_SECONDS, READ_SECONDS)
_RETRY_SECONDS = 10.0


class GoogleStorage(Driver):
    """A `Driver` with a service account's key. A custom server gets no token: Google's are for Google."""

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        try:
            import google.cloud.storage as storage
            from google.auth.credentials import AnonymousCredentials
            from google.auth.transport.requests import AuthorizedSession
            from google.cloud.storage.retry import DEFAULT_RETRY
        except ImportError:
            raise MissingPackage("google-cloud-storage", "gs") from None
        for name in ("google", "urllib3"):
            logging.getLogger(name).setLevel(logging.WARNING)
        email = account.credentials["email"]
        # NAME@PROJECT.iam.gserviceaccount.com
        project = account.credentials.get("project_id") or email.partition("@")[2].partition(".")[0] or "unknown"
        credentials: Any = AnonymousCredentials() if account.endpoint else _credentials(account.credentials)
        session = guarded_session(account.guard if account.endpoint else None, AuthorizedSession(credentials))
        options = {"api_endpoint": account.endpoint} if account.endpoint else None
        self._options: dict[str, Any] = {"timeout": _TIMEOUT, "retry": DEFAULT_RETRY.with_timeout(_RETRY_SECONDS)}
        self._client: Any = storage.Client(project, credentials, _http=session, client_options=options)

    def may_hold_files(self, path: str) -> bool:
        return "/" in path

    def stat(self, path: str) -> Entry | None:
        bucket, key = split_bucket(path)
        if not key:
            return None
        with self.translated(path):
            found = self._client.bucket(bucket).get_blob(key, **self._options)
        return _entry(found, path) if found else None

    def is_directory(self, path: str) -> bool:
        bucket, key = split_bucket(path)
        if not bucket:
            return True
        try:
            with self.translated(path):
                prefix = f"{key}/" if key else None
                found = self._client.list_blobs(bucket, prefix=prefix, page_size=1, **self._options)
                return bool(list(next(found.pages, ()))) or not key
        except NotFound:
            return False

    def page(self, directory: str, token: str = "", limit: int = 1000, recursive: bool = False) -> Page:
        bucket, key = split_bucket(directory)
        with self.translated(directory):
            if not bucket:
                found = self._client.list_buckets(page_size=limit, page_token=token or None, **self._options)
                return Page([item.name for item in next(found.pages, ())], (), found.next_page_token or "")
            found = self._client.list_blobs(
                bucket,
                prefix=f"{key}/" if key else None,
                delimiter=None if recursive else "/",
                page_size=limit,
                page_token=token or None,
                **self._options,
            )
            files = [_entry(item, f"{bucket}/{item.name}") for item in next(found.pages, ())]
        folders = [f"{bucket}/{prefix.removesuffix('/')}" for prefix in sorted(found.prefixes)]
        return Page(folders, files, found.next_page_token or "")

    def open(self, entry: Entry, start: int, length: int) -> Reader:
        bucket, key = split_bucket(entry.path)
        blob = self._client.bucket(bucket).blob(key, generation=int(entry.version))
        return _Download(blob, start, length, self._options)

    def put(self, path: str, source: io.BufferedReader, size: int | None, content_type: str) -> str:
        bucket, key = split_bucket(path)
        blob = self._client.bucket(bucket).blob(key, chunk_size=2 * PIECE)
        with self.translated(path):
            blob.upload_from_file(source, size=size, content_type=content_type, **self._options)
        return _entry(blob, path).etag

    def delete(self, path: str) -> None:
        bucket, key = split_bucket(path)
        with self.translated(path):
            self._client.bucket(bucket).blob(key).delete(**self._options)

    def make_directory(self, path: str) -> None:
        bucket, key = split_bucket(path)
        if not key:
            raise BadRequest("buckets can't be created through a connector; create them with their provider")
        with self.translated(path):
            self._client.bucket(bucket).blob(f"{key}/").upload_from_string(b"", **self._options)

    def remove_directory(self, path: str) -> None:
        try:
            self.delete(f"{path}/")
        except NotFound:
            return

    def status_of(self, problem: Exception) -> tuple[int, str]:
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import RefreshError

        if isinstance(problem, GoogleAPICallError):
            return int(problem.code or 0), ""
        if isinstance(problem, RefreshError):
            return 403, "the service account's key is not accepted"
        status = getattr(getattr(problem, "response", None), "status_code", 0)
        return status if isinstance(status, int) else 0, ""


class _Download:
    """A part of one generation of an object, fetched piece by piece."""

    def __init__(self, blob: Any, start: int, length: int, options: dict[str, Any]) -> None:
        self._blob, self._next, self._end = blob, start, start + length
        self._options = options
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        if not self._rest and self._next < self._end:
            stop = min(self._next + PIECE, self._end)
            self._rest = self._blob.download_as_bytes(
                start=self._next, end=stop - 1, raw_download=True, checksum=None, **self._options
            )
            if len(self._rest) != stop - self._next:
                raise OSError(f"{len(self._rest)} bytes came instead of {stop - self._next}")
            self._next = stop
        data = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(data) :]
        return data

    def close(self) -> None:
        self._rest = b""


def _credentials(given: Any) -> Any:
    from google.oauth2.service_account import Credentials

    information = {
        "type": "service_account",
        "client_email": given["email"],
        "private_key_id": given["private_key_id"],
        "private_key": given["private_key"].replace("\\n", "\n"),
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    try:
        return Credentials.from_service_account_info(information, scopes=[_SCOPE])
    except ValueError:
        raise BadRequest("cred_data: private_key is not a private key in PEM form") from None


def _entry(found: Any, path: str) -> Entry:
    try:
        etag = binascii.hexlify(base64.b64decode(found.md5_hash or "")).decode("ascii")
    except ValueError:
        etag = ""
    # Objects that were composed have no MD5.
    return Entry(
        path,
        found.size or 0,
        etag or str(found.generation),
        int(found.updated.timestamp() * 1000) if found.updated else 0,
        found.content_type or "application/octet-stream",
        str(found.generation),
    )
