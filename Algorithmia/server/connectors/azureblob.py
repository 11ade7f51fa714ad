"""Azure blobs, through azure-storage-blob. Paths are inside the one container that the credentials are for."""

from __future__ import annotations

import io
import logging
from typing import Any

from ..errors import BadRequest, NotFound
from .base import CONNECT_SECONDS, PIECE, READ_SECONDS, Account, Driver, Entry, MissingPackage, Page, Reader
from .endpoints import guarded_session


class AzureBlob(Driver):
    """A `Driver` with a shared access signature. Its address is always somebody's choice, so the guard always looks."""

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        try:
            from azure.core.pipeline.transport import RequestsTransport
            from azure.storage.blob import ContainerClient, LinearRetry
        except ImportError:
            raise MissingPackage("azure-storage-blob", "azure") from None
        # Signatures are part of the addresses that their messages show.
        for name in ("azure", "urllib3"):
            logging.getLogger(name).setLevel(logging.WARNING)
        given = account.credentials
        self._container: Any = ContainerClient(
            account.endpoint,
            given["container_name"],
            credential=given["sas_token"].removeprefix("?"),
            transport=RequestsTransport(
                session=guarded_session(account.guard), session_owner=False, use_env_settings=False
            ),
            retry_policy=LinearRetry(backoff=1, retry_total=2),
            permit_redirects=False,
            connection_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_single_get_size=PIECE,
            max_chunk_get_size=PIECE,
            max_single_put_size=2 * PIECE,
            max_block_size=2 * PIECE,
        )

    def stat(self, path: str) -> Entry | None:
        try:
            with self.translated(path):
                return _entry(self._container.get_blob_client(path).get_blob_properties(), path)
        except NotFound:
            return None

    def is_directory(self, path: str) -> bool:
        try:
            with self.translated(path):
                prefix = f"{path}/" if path else None
                pages = self._container.list_blob_names(name_starts_with=prefix, results_per_page=1).by_page()
                return bool(list(next(pages, ()))) or not path
        except NotFound:
            return False

    def page(self, directory: str, token: str = "", limit: int = 1000, recursive: bool = False) -> Page:
        prefix = f"{directory}/" if directory else None
        ask = self._container.list_blobs if recursive else self._container.walk_blobs
        with self.translated(directory):
            pages = ask(name_starts_with=prefix, results_per_page=limit).by_page(token or None)
            items = list(next(pages, ()))
        folders = [item.name.removesuffix("/") for item in items if not hasattr(item, "etag")]
        files = [_entry(item, item.name) for item in items if hasattr(item, "etag")]
        return Page(folders, files, pages.continuation_token or "")

    def open(self, entry: Entry, start: int, length: int) -> Reader:
        from azure.core import MatchConditions

        with self.translated(entry.path):
            found = self._container.get_blob_client(entry.path).download_blob(
                start, length, etag=entry.version, match_condition=MatchConditions.IfNotModified, max_concurrency=1
            )
        return _Download(found)

    def put(self, path: str, source: io.BufferedReader, size: int | None, content_type: str) -> str:
        from azure.storage.blob import ContentSettings

        with self.translated(path):
            stored = self._container.get_blob_client(path).upload_blob(
                source,
                length=size,
                overwrite=True,
                max_concurrency=1,
                content_settings=ContentSettings(content_type=content_type),
            )
        return str(stored["etag"]).strip('"')

    def delete(self, path: str) -> None:
        with self.translated(path):
            self._container.get_blob_client(path).delete_blob(delete_snapshots="include")

    def make_directory(self, path: str) -> None:
        with self.translated(path):
            self._container.get_blob_client(f"{path}/").upload_blob(b"", overwrite=True)

    def remove_directory(self, path: str) -> None:
        try:
            with self.translated(path):
                self._container.get_blob_client(f"{path}/").delete_blob()
        except NotFound:
            return

    def status_of(self, problem: Exception) -> tuple[int, str]:
        from azure.core.exceptions import HttpResponseError

        if isinstance(problem, HttpResponseError):
            code = getattr(problem, "error_code", None)
            return problem.status_code or 0, str(getattr(code, "value", code) or "")[:60]
        if isinstance(problem, ValueError):
            raise BadRequest("the storage provider's library refuses the request") from None
        return 0, ""


class _Download:
    """A blob's part as it is fetched, piece by piece."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._source.read(size)
        return data

    def close(self) -> None:
        """Nothing stays open between pieces."""


def _entry(found: Any, path: str) -> Entry:
    return Entry(
        path,
        found.size,
        found.etag.strip('"'),
        int(found.last_modified.timestamp() * 1000),
        found.content_settings.content_type or "application/octet-stream",
        found.etag,
    )
