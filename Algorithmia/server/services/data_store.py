"""What serves the verbs of the data API: hosted data does, and so do the connectors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..connectors.base import Reader
from ..errors import BadRequest
from ..identity import Identity
from .acl import AclDocument
from .data_paths import Target
from .data_records import File
from .data_uploads import Stored, UploadRequest
from .preconditions import UNCONDITIONAL, Conditions

if TYPE_CHECKING:
    from anyio import CapacityLimiter


class IsDirectory(BadRequest):
    """400: what was to be a file is a directory, which whoever takes either goes on with: `directory`."""

    def __init__(self, directory: Target) -> None:
        super().__init__(f"{directory.uri} is a directory; name a file in it")
        self.directory = directory


class UploadInProgress(Protocol):
    """An upload: any number of `write`, then `commit` or `abort`; `abort` is always harmless."""

    def write(self, data: bytes) -> None: ...

    def commit(self) -> Stored: ...

    def abort(self) -> None: ...


class OpenedFile(Protocol):
    """A file opened for reading: the whole of `content` when it's at hand; else `reader` gives any part of it."""

    @property
    def file(self) -> File: ...

    @property
    def content(self) -> bytes | None: ...

    def reader(self, start: int, length: int) -> Reader:
        """Something that reads `length` bytes, or more, from `start`. Called once. Blocks."""
        ...

    def close(self) -> None:
        """Let go of the file and its reader; harmless twice."""


class DataStore(Protocol):
    """Directories and files by `Target`, with the rights that each verb needs. Every method blocks.

    threads  what bounds the threads that wait for this store; None: the platform's own
    """

    @property
    def threads(self) -> CapacityLimiter | None: ...

    def resolve(self, identity: Identity, target: Target) -> Target:
        """`target` with its kind, where only the store knows what a path names. Raises NotFound."""
        ...

    def open_file(self, identity: Identity, target: Target, with_content: bool = True) -> OpenedFile:
        """The file `target`. Raises NotFound, and IsDirectory when it turns out to be one."""
        ...

    def list_directory(
        self, identity: Identity, target: Target, marker: str = "", with_acl: bool = False
    ) -> dict[str, Any]: ...

    def check_directory(self, identity: Identity, target: Target) -> None: ...

    def create_collection(
        self, identity: Identity, target: Target, name: str, document: AclDocument | None
    ) -> str: ...

    def set_acl(self, identity: Identity, target: Target, document: AclDocument) -> None: ...

    def begin_upload(self, request: UploadRequest) -> UploadInProgress: ...

    def store(self, request: UploadRequest, content: Iterable[bytes]) -> Stored: ...

    def delete_file(self, identity: Identity, target: Target, conditions: Conditions = UNCONDITIONAL) -> int:
        """Remove the file `target`; 1. Raises as `open_file` does."""
        ...

    def delete_directory(self, identity: Identity, target: Target, force: bool = False) -> int: ...


@dataclass(frozen=True, slots=True)
class DataStores:
    """Every store of a platform."""

    hosted: DataStore
    connectors: DataStore

    def of(self, target: Target) -> DataStore:
        """The store that `target` is in."""
        return self.connectors if target.connector else self.hosted
