"""Moving content between local files, streams and data URIs, in bounded memory and with progress.

A download gets its final name only when it is complete. `DataFile` and `algo cp` sit on these functions; how it is done
is in `downloads`, `uploads` and what they use. `progress` is called with the number of bytes just moved (negative when
some are moved again).
"""
import io

from . import errors
from .bodies import Body, as_body, is_rewindable, remaining_size
from .downloads import download, download_to
from .local_files import replacing, set_time, write_local
from .uri import data_uri, is_local, quote_path

__all__ = [
    "Body",
    "as_body",
    "copy_remote",
    "download",
    "download_to",
    "is_to_be_continued",
    "is_rewindable",
    "remaining_size",
    "replacing",
    "set_time",
    "upload",
    "upload_from",
    "write_local",
]

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Optional  # noqa: F401

    from ._types import Progress, Readable  # noqa: F401
    from .client import Client  # noqa: F401


def is_to_be_continued():
    # type: () -> bool
    """Whether this process has left something that a later call for the same files goes on with."""
    from . import partial_files, upload_notes

    return bool(partial_files.unfinished or upload_notes.unfinished)


def upload(client, local_path, uri, progress=None):
    # type: (Client, str, str, Progress) -> None
    """Store the local file at `local_path` as `uri`. Interrupted, a large one is continued by the next call."""
    from . import uploads

    with io.open(local_path, "rb", buffering=0) as source:
        if is_local(uri):
            upload_from(client, source, uri, progress)
        else:
            uploads.store(client.file(uri), source, progress, path=local_path)


def upload_from(client, source, uri, progress=None):
    # type: (Client, Readable, str, Progress) -> None
    """Store what can be read from `source`, a binary file object, as `uri`."""
    client.file(uri).put_stream(source, progress=progress)


def copy_remote(client, source_uri, target_uri, progress=None):
    # type: (Client, str, str, Progress) -> Optional[int]
    """Copy between two data URIs of one client: on the platform, if it can, else through this machine's memory in
    bounded pieces. Returns the size in bytes, if it is known."""
    source, target = client.file(source_uri), client.file(target_uri)
    stat = source.stat()
    if _copied_there(client, source, target):
        if progress is not None and stat.size:
            progress(stat.size)
        return stat.size
    from . import uploads

    with source.open("rb") as content:
        uploads.store(target, content, progress, stat.content_type, stat.size, stat.digest, is_near=False)
    return stat.size


# What platforms answer that know no such verb; an error of the copy itself comes up again without it.
_NO_COPY = (400, 404, 405, 501)


def _copied_there(client, source, target):
    # type: (Client, Any, Any) -> bool
    """Whether the platform copied by itself, as WebDAV's COPY asks."""
    response = client.request(
        "COPY",
        source.url,
        headers={"Destination": data_uri(target._place[0], quote_path(target._place[1]))},
        family=errors.DATA,
        subject=source.uri,
        read_timeout=None,
        also_ok=_NO_COPY,
    )
    return 200 <= response.status < 300
