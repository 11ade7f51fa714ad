"""SHA-256 of large files for those who can compare nothing else: computed when first asked for, and then remembered."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace

import anyio
from anyio import CapacityLimiter

from ..db import schema
from ..db.database import Database
from ..errors import ApiProblem, Code, Unavailable
from ..storage.base import BlobStore
from . import digests
from .data_records import File

log = logging.getLogger("algorithmia.storage")

# Nobody waits for the digest of more than that: reading it takes longer than clients are patient.
MOST = 16 * 1024**3
# Of all that are asked for: everybody may ask for those of public files, and nobody shall keep others from theirs.
_AT_ONCE = 2
_PIECE = 1024 * 1024

_files = schema.files


class DamagedContent(ApiProblem):
    """500: what the disk holds is not what was stored. Told rather than sent to who couldn't find out."""

    status = 500
    default_code = Code.INTERNAL


class LateDigests:
    """What is being computed now; who asks for the same file meanwhile waits for the same result."""

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self._database = database
        self._blobs = blobs
        self._threads = CapacityLimiter(_AT_ONCE)
        self._running: dict[str, asyncio.Future[str]] = {}

    async def with_sha256(self, file: File) -> File:
        """`file` with its SHA-256; as it is, if that's too large.

        Raises DamagedContent, and FileNotFoundError if it has just been replaced.
        """
        if file.sha256 or not file.blob_id or file.size > MOST:
            return file
        running = self._running.get(file.blob_id)
        if running is None:
            compute = anyio.to_thread.run_sync(self._sha256, file, limiter=self._threads)
            running = self._running[file.blob_id] = asyncio.ensure_future(compute)
            running.add_done_callback(lambda done: self._end(file.blob_id, done))
        # Shielded: who goes away doesn't take it from others.
        return replace(file, sha256=await asyncio.shield(running))

    def _end(self, blob_id: str, done: asyncio.Future[str]) -> None:
        del self._running[blob_id]
        if not done.cancelled():
            done.exception()  # whoever has waited for it was told

    def _sha256(self, file: File) -> str:
        known = file.digests[0]
        hasher, check = digests.new(digests.SHA256), digests.new(known.algorithm)
        with self._blobs.open_blob(file.blob_id) as content:
            while data := content.read(_PIECE):
                hasher.update(data)
                check.update(data)
        if check.hexdigest() != known.hexadecimal:
            log.error("the content of blob %s is damaged: it isn't that of %s", file.blob_id, known)
            raise DamagedContent(f"{file.name} is damaged on the platform's disk: its content isn't that of {known}")
        sha256 = str(hasher.hexdigest())
        with suppress(Unavailable), self._database.write() as connection:
            same = (_files.c.id == file.id, _files.c.blob_id == file.blob_id)
            connection.execute(_files.update().where(*same).values(sha256=sha256))
        return sha256
