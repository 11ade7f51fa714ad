"""What a driver is: files and directories of one storage provider, by paths. Drivers block, and know no accounts.

A path has no slash at either end. What its first name means is the provider's: a bucket (S3, Google), or already a
directory of the one container (Azure) or of the root folder (Dropbox).
"""

from __future__ import annotations

import io
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from ..errors import ApiProblem, BadRequest, Code, NotAuthorized, NotFound, PreconditionFailed, Unavailable
from .endpoints import AddressRefused, Guard

log = logging.getLogger("algorithmia.connectors")

# A provider's answer must begin within this time, and a connection be made; then the request counts as failed.
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
# What is held in memory of an upload or a download: some pieces of this size.
PIECE = 4 * 1024 * 1024


class ProviderFailure(ApiProblem):
    """502: the storage provider answered something that makes no sense here."""

    status = 502
    default_code = Code.INTERNAL


class MissingPackage(ApiProblem):
    """501: the platform was installed without the package that this provider needs."""

    status = 501

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this platform can't use the connector: its Python package {package} is not installed. The operator can "
            f"add it with: pip install algorithmia[{extra}]"
        )


class UploadStopped(Exception):
    """The source of an upload ended before its time: nothing may be stored."""


class Reader(Protocol):
    """Bytes that come one after the other."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Account:
    """What gives access to a provider.

    name         of the connector, for messages: ``s3+LABEL``
    credentials  as `credentials.py` checked them
    endpoint     where a custom server is, or empty for the provider's own
    guard        which addresses may be connected to
    """

    name: str
    credentials: Mapping[str, str] = field(repr=False)
    endpoint: str
    guard: Guard


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as the provider describes it.

    etag         without quotes; changes with the content
    modified_at  milliseconds since the epoch
    version      names this content to `Driver.open`, which refuses to read another
    """

    path: str
    size: int
    etag: str
    modified_at: int
    content_type: str = "application/octet-stream"
    version: str = ""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a listing: whole paths. `token` gets the next page; it is empty on the last one."""

    folders: Sequence[str] = ()
    files: Sequence[Entry] = ()
    token: str = ""


class Driver(ABC):
    """One provider with one set of credentials. Every method blocks, and may be called from any thread.

    They raise the ApiProblems of `problem_of`; no message holds more of the provider's words than its error code,
    because those can quote credentials.
    """

    def __init__(self, account: Account) -> None:
        self.account = account

    def may_hold_files(self, path: str) -> bool:
        """Whether `path` is at a level where there can be files, and directories can come and go."""
        return bool(path)

    @abstractmethod
    def stat(self, path: str) -> Entry | None:
        """The file at `path`; None when there is none."""

    @abstractmethod
    def is_directory(self, path: str) -> bool:
        """Whether `path` is a directory (or bucket, or the root)."""

    @abstractmethod
    def page(self, directory: str, token: str = "", limit: int = 1000, recursive: bool = False) -> Page:
        """Up to `limit` entries of `directory`. With `recursive`, all files below it, and no folders.

        A file whose path is `directory` itself with a slash behind it is the mark of an empty directory.
        """

    @abstractmethod
    def open(self, entry: Entry, start: int, length: int) -> Reader:
        """`length` bytes from `start` of that very content. Raises PreconditionFailed if it was replaced."""

    @abstractmethod
    def put(self, path: str, source: io.BufferedReader, size: int | None, content_type: str) -> str:
        """Store what `source` gives until its end, and return the ETag. `size` is what to expect, if that is known.

        When reading `source` raises, nothing is stored, and what was there stays.
        """

    @abstractmethod
    def delete(self, path: str) -> None:
        """Remove the file at `path`. Whether there was one is the caller's to know."""

    def delete_many(self, paths: Sequence[str]) -> Iterator[int]:
        """Remove files of one directory; yields how many are gone, step by step."""
        for path in paths:
            self.delete(path)
            yield 1

    @abstractmethod
    def make_directory(self, path: str) -> None:
        """Make an empty directory."""

    @abstractmethod
    def remove_directory(self, path: str) -> None:
        """Remove what keeps the empty directory `path` visible, if anything does."""

    @contextmanager
    def translated(self, path: str) -> Iterator[None]:
        """Turns whatever the provider's library raises into an ApiProblem about `path`."""
        try:
            yield
        except (ApiProblem, UploadStopped):
            raise
        except Exception as problem:
            refused = _address_refused(problem)
            if refused is not None:
                raise BadRequest(f"connector {self.account.name}: {refused}") from None
            if _stopped(problem):
                raise UploadStopped from None
            status, code = self.status_of(problem)
            log.info("%s: %s (%s %s)", self.account.name, type(problem).__name__, status, code)
            # Not chained: the library's text can hold signed addresses.
            raise problem_of(f"{self.account.name}://{path}", status, code or type(problem).__name__) from None

    @abstractmethod
    def status_of(self, problem: Exception) -> tuple[int, str]:
        """The HTTP status and error code that `problem` stands for; 0 when the provider didn't answer."""


def problem_of(uri: str, status: int, code: str) -> ApiProblem:
    """What a provider's answer means in our terms."""
    if status == 404:
        return NotFound(f"path not found: {uri}")
    if status in (401, 403):
        return NotAuthorized(
            f"the storage provider refuses access to {uri} ({code}); check the connector's credentials and their rights"
        )
    if status == 412:
        return PreconditionFailed(f"{uri} was changed meanwhile ({code})")
    if status == 0:
        return Unavailable(f"the storage provider of {uri} can't be reached ({code})")
    if status in (408, 429) or status >= 500:
        return Unavailable(f"the storage provider can't serve {uri} now ({status} {code}); try again later")
    if status in (400, 409, 411, 413, 416):
        return BadRequest(f"the storage provider refuses the request for {uri} ({status} {code})")
    return ProviderFailure(f"the storage provider answered {status} {code} for {uri}")


def split_bucket(path: str) -> tuple[str, str]:
    """The bucket of `path`, and the key in it, which may be empty."""
    bucket, _, key = path.partition("/")
    return bucket, key


def _chain(problem: BaseException) -> Iterator[BaseException]:
    """`problem`, what caused it, and what it wraps."""
    todo: list[BaseException] = [problem]
    seen: set[int] = set()
    while todo:
        this = todo.pop()
        if id(this) in seen:
            continue
        seen.add(id(this))
        yield this
        wrapped = [*this.args, this.__cause__, this.__context__, getattr(this, "reason", None)]
        todo.extend(item for item in wrapped if isinstance(item, BaseException))


def _address_refused(problem: BaseException) -> AddressRefused | None:
    return next((item for item in _chain(problem) if isinstance(item, AddressRefused)), None)


def _stopped(problem: BaseException) -> bool:
    return any(isinstance(item, UploadStopped) for item in _chain(problem))
