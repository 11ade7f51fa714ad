"""Copying a file from one place of the platform to another, hosted or connected, without a detour over the caller."""

from __future__ import annotations

from collections.abc import Iterator

from ..connectors.base import Reader
from ..errors import BadRequest
from ..identity import Identity
from .data_paths import Kind, Target
from .data_store import DataStores, OpenedFile
from .data_uploads import Stored, UploadRequest
from .preconditions import UNCONDITIONAL, Conditions

_PIECE = 1024 * 1024


def copy(
    stores: DataStores, identity: Identity, source: Target, destination: Target, conditions: Conditions = UNCONDITIONAL
) -> Stored:
    """Make `destination` a copy of the file `source`, as it is now; `conditions` are on what is there already.

    Blocks. The copy is hashed on its way: content that rotted on the platform's disk isn't passed on as if it were
    sound.
    Raises what reading and storing raise, and CorruptedContent.
    """
    for target in (source, destination):
        if target.kind not in (Kind.FILE, Kind.CONNECTED):
            raise BadRequest(f"{target.uri} is a directory; files are copied one by one")
    source = stores.of(source).resolve(identity, source)
    opened = stores.of(source).open_file(identity, source)
    try:
        file = opened.file
        digest = next(iter(file.digests), None)
        request = UploadRequest(identity, destination, file.content_type, file.size, conditions, digest)
        upload = stores.of(destination).begin_upload(request)
        try:
            for piece in _pieces(opened):
                upload.write(piece)
            return upload.commit()
        finally:
            upload.abort()
    finally:
        opened.close()


def _pieces(opened: OpenedFile) -> Iterator[bytes]:
    if opened.content is not None:
        yield opened.content
        return
    left = opened.file.size
    reader: Reader = opened.reader(0, left)
    while left:
        piece = reader.read(min(_PIECE, left))
        if not piece:
            raise OSError(f"the file ended {left} bytes early")
        left -= len(piece)
        yield piece
