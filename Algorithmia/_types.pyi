"""Types that the SDK's type comments share. Only checkers read this: at run time there is no such module."""

from collections.abc import Callable, Iterable, Mapping
from types import EllipsisType
from typing import Any, Protocol, TypeAlias

from typing_extensions import Self  # noqa: UP035  (typing has it from 3.11 on)
from urllib3 import BaseHTTPResponse

from .client import Client
from .uri import AlgorithmRef

class Readable(Protocol):
    """A binary file object, as far as the SDK reads from it."""

    def read(self, size: int = ..., /) -> Any: ...

class Writable(Protocol):
    """A binary file object, as far as the SDK writes to it."""

    def write(self, data: bytes, /) -> Any: ...

BytesLike: TypeAlias = bytes | bytearray | memoryview
Body: TypeAlias = str | bytes | memoryview | Readable | Iterable[bytes] | None
CaCert: TypeAlias = str | bool | None
Json: TypeAlias = dict[str, Any]
Progress: TypeAlias = Callable[[int], object] | None
Query: TypeAlias = str | Mapping[str, Any] | None
# Seconds; None: no limit; not given (an Ellipsis): what the client was made with.
ReadTimeout: TypeAlias = float | None | EllipsisType

class Sender(Protocol):
    """What `Transport` and `SessionTransport` have in common."""

    def send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Body,
        stream: bool,
        read_timeout: float | None,
        retry: bool,
    ) -> BaseHTTPResponse: ...

# What the mixins expect of the class that they are mixed into.

class ManagementBase:
    client: Client
    ref: AlgorithmRef

class BatchBase:
    client: Client
    path: str
    output_type: Any
    query_parameters: dict[str, Any]
    def __init__(self, client: Client, algoRef: Any) -> None: ...
    def pipe(self, input1: Any) -> Any: ...

class SendingBase:
    apiAddress: str
    def request(self, method: str, path: str, *args: Any, **options: Any) -> BaseHTTPResponse: ...

class RequestingBase:
    def username(self) -> str: ...
    def request(self, method: str, path: str, *args: Any, **options: Any) -> BaseHTTPResponse: ...
    def _parsed(self, response: BaseHTTPResponse) -> Any: ...
    def _as_requests(self, response: BaseHTTPResponse, method: str, url: str) -> Any: ...

class FileBase:
    def getBytes(self) -> bytes: ...
    def getFile(self, as_path: bool = ..., mode: str | None = ...) -> Any: ...
    def putFile(self, path: str) -> Self: ...
    def _put_typed(self, data: bytes, content_type: str | None) -> Self: ...
