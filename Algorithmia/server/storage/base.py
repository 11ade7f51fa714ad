"""What a blob store is: immutable contents under random ids. Names, owners and types are the database's business."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple, Protocol

# What a server that starts writes elsewhere, to see whether it can, and removes.
PROBE = "probe"
# What says in a store elsewhere whose it is.
OWNER = "platform"
# Where blobs go that nothing needs as far as anybody can tell, and that a person has to decide about.
LOST = "lost+found"
_BLOB_ID = re.compile(r"[0-9a-f]{32}")


def is_blob_id(name: str) -> bool:
    """Whether `name` has the form of an id."""
    return _BLOB_ID.fullmatch(name) is not None


def checked(blob_id: str) -> str:
    """`blob_id`. Raises ValueError for anything that has not the form of one: ids never come from outside."""
    if not is_blob_id(blob_id):
        raise ValueError(f"not a blob id: {blob_id!r}")
    return blob_id


class Entry(NamedTuple):
    """What a store holds under one name: an id, or the path of something that is no blob.

    modified_at  seconds since the epoch
    """

    name: str
    size: int
    modified_at: float


class BlobWriter(Protocol):
    """A blob being written. It ends with exactly one of `finish`, `suspend` and `abort`."""

    id: str

    @property
    def size(self) -> int:
        """How many bytes have been written, those from before a `suspend` included."""
        ...

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`, which may be overwritten once this returns. Raises OSError, such as when the disk is full."""

    def finish(self) -> None:
        """Make the content durable. It can be opened from now on, and survives a crash once something refers to it."""

    def suspend(self) -> None:
        """Let go of the blob without removing it: `BlobStore.resume` goes on where this stops.

        What was written survives the end of the process, but is durable only after `finish`. Harmless after a failed
        `write`. Of a blob that was created as `resumable` only.
        """

    def abort(self) -> None:
        """Remove what was written; harmless after a failed `write` or `finish`."""


class BlobStore(Protocol):
    """Contents by id. Every method may block, and may be called from any thread.

    is_remote  whether it's reached over a network, and may take its time
    """

    @property
    def is_remote(self) -> bool: ...

    def owner(self) -> str | None:
        """Id of the platform whose files these are; None when that isn't told, or when the disk says it all."""
        ...

    def set_owner(self, owner: str) -> None:
        """Remember it. Nothing where the disk says it all."""

    def create(self, resumable: bool = False, blob_id: str | None = None) -> BlobWriter:
        """Begin a new blob.

        resumable  it may be suspended: a store elsewhere keeps it on the server's own disk until it is finished
        blob_id    its id, when it has one in another store; else it gets a fresh one
        """
        ...

    def resume(self, blob_id: str) -> BlobWriter:
        """The unfinished blob, to be continued at its `size`; until it's finished, `open_blob` reads what is there.

        The caller sees to it that a blob has one writer at a time. Raises FileNotFoundError when there is no such blob.
        """
        ...

    def create_many(self, contents: Sequence[bytes]) -> list[str]:
        """New blobs, one for each of `contents` in their order, all of them finished: cheaper than one by one.

        Raises OSError, and then leaves nothing.
        """
        ...

    def publish(self, blob_id: str) -> None:
        """File a finished blob under its final place, after the reference to it is durable.

        Raises FileNotFoundError when it has been deleted meanwhile.
        """

    def publish_many(self, blob_ids: Sequence[str]) -> None:
        """`publish` each of `blob_ids`, or those of them that have not been deleted meanwhile."""

    def open_blob(self, blob_id: str) -> BinaryIO:
        """The content for reading and seeking, unbuffered. It stays readable while open, also when deleted meanwhile.

        Raises FileNotFoundError when there's no such blob (any more).
        """
        ...

    def delete(self, blob_id: str) -> None:
        """Remove a blob; nothing when there is none."""

    def delete_many(self, blob_ids: Sequence[str]) -> None:
        """`delete` each of `blob_ids`: as many as can be, also when it raises OSError for some."""

    def set_aside(self, blob_id: str) -> str:
        """Move a published blob to where only a person finds it, and nothing removes it: the path in the store.

        Raises FileNotFoundError when there is none.
        """
        ...

    def recover(
        self, is_referenced: Callable[[str], bool], is_unfinished: Callable[[str], bool], garbage: Iterable[str]
    ) -> None:
        """After a crash: settle each unpublished blob, and delete `garbage`.

        One that `is_referenced` is published, one that `is_unfinished` can be resumed as before, others are dropped.
        """

    def entries(self) -> Iterator[Entry]:
        """Everything that is published, ids in order; and whatever else lies there, anywhere between them.

        What was set aside is not told.
        """
        ...

    def staged(self) -> list[str]:
        """The ids of what is not published."""
        ...
