"""SHA-256 of large files for those who can compare nothing else: computed when first asked for, and then remembered."""

from __future__ import annotations

from dataclasses import replace

from ..db import schema
from ..db.database import Database
from ..storage.base import BlobStore
from . import digests
from .data_records import File

# Nobody waits for the digest of more than that: reading it takes longer than clients are patient.
MOST = 16 * 1024**3
_PIECE = 1024 * 1024

_files = schema.files


def with_sha256(database: Database, blobs: BlobStore, file: File) -> File:
    """`file` with its SHA-256; as it is, if that's too large or has just been replaced. Blocks."""
    if file.sha256 or not file.blob_id or file.size > MOST:
        return file
    hasher = digests.new(digests.SHA256)
    check = digests.new(file.digests[0].algorithm)
    try:
        with blobs.open_blob(file.blob_id) as content:
            while data := content.read(_PIECE):
                hasher.update(data)
                check.update(data)
    except FileNotFoundError:
        return file
    if check.hexdigest() != file.digests[0].hexadecimal:
        return file  # damaged on the disk: what's known of it shall not agree with the damage
    sha256 = hasher.hexdigest()
    with database.write() as connection:
        same = (_files.c.id == file.id, _files.c.blob_id == file.blob_id)
        connection.execute(_files.update().where(*same).values(sha256=sha256))
    return replace(file, sha256=sha256)
