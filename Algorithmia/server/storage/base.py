"""What a blob store is: immutable contents under random ids. Names, owners and types are the database's business."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import BinaryIO, Protocol


class BlobWriter(Protocol):
    """A blob being written. It ends with exactly one of `finish` and `abort`."""

    id: str

    def write(self, data: bytes) -> None:
        """Append `data`. Raises OSError, such as when the disk is full."""

    def finish(self) -> None:
        """Make the content durable. It can be opened from now on, and survives a crash once something refers to it."""

    def abort(self) -> None:
        """Remove what was written; harmless after a failed `write` or `finish`."""


class BlobStore(Protocol):
    """Contents by id. Every method may block, and may be called from any thread."""

    def create(self) -> BlobWriter:
        """Begin a new blob with a fresh id."""
        ...

    def publish(self, blob_id: str) -> None:
        """File a finished blob under its final place, after the reference to it is durable."""

    def open_blob(self, blob_id: str) -> BinaryIO:
        """The content for reading, unbuffered. It stays readable while open, also when deleted meanwhile.

        Raises FileNotFoundError when there's no such blob (any more).
        """
        ...

    def delete(self, blob_id: str) -> None:
        """Remove a blob; nothing when there is none."""

    def recover(self, is_referenced: Callable[[str], bool], garbage: Iterable[str]) -> None:
        """After a crash: publish each unpublished blob that `is_referenced`, drop the others, and delete `garbage`."""
