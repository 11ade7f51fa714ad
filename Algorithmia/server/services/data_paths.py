"""From the path of a data request, as bytes off the wire, to the `Target` that it names. No look at what exists."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from enum import Enum, auto
from urllib.parse import unquote_to_bytes

from ..errors import BadRequest

HOSTED = "hosted"
ALGO = "algo"
SESSION = "session"
CONNECTED = "connected"

MAX_NAME_BYTES = 1024
_MAX_CONNECTED_BYTES = 4096
# Protocols that connectors can have; which of them a platform offers is the drivers' business.
PROTOCOLS = ("azureblob", "dropbox", "gs", "s3")
_CONNECTOR = re.compile(r"([A-Za-z0-9]{1,32})(?:\+([A-Za-z0-9_]{1,64}))?", re.ASCII)
_URI = re.compile(r"([A-Za-z0-9]+(?:\+\w*)?)://(.*)", re.DOTALL)
_SHORT_FOLDERS = ("temp", "perm")
# What the collections table has room for: OWNER/NAME/FOLDER.
_ALGO_LIMITS = (30, 64, 64)


class Kind(Enum):
    """What a path can name."""

    ROOT = auto()  # data://
    ACCOUNT = auto()  # data://OWNER
    COLLECTION = auto()  # a directory with files in it, of any space
    FOLDER = auto()  # below a collection: implied by the names of the files in it
    FILE = auto()  # or a folder, for readers: only the store knows which of the two a name without a slash is
    ALGO_LEVEL = auto()  # data://.algo, .algo/OWNER, .algo/OWNER/NAME
    CONNECTED = auto()  # of a connector: only its provider knows whether it's a file or a directory


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names.

    uri         as the caller wrote it, without a trailing slash
    space       `HOSTED`, `ALGO`, `SESSION` or `CONNECTED`
    owner       the account, in the hosted space; None is the caller's own (``.my``)
    collection  its name; in the algorithm space OWNER/NAME/FOLDER, or only FOLDER when `is_short`; for `ALGO_LEVEL`
                what there is of OWNER/NAME
    file        the file's name, with slashes where it's in folders
    folder      the folder's, likewise, without a slash at either end
    is_short    ``.algo/temp`` or ``.algo/perm``: below the algorithm that makes the request
    connector   ``PROTOCOL`` or ``PROTOCOL+LABEL``, the protocol in lower case; empty for data of the platform's own
    path        inside the connector, without a slash at either end
    """

    kind: Kind
    uri: str
    space: str = HOSTED
    owner: str | None = None
    collection: str = ""
    file: str = ""
    is_short: bool = False
    connector: str = ""
    path: str = ""
    folder: str = ""

    @property
    def as_folder(self) -> Target:
        """The folder that has the name of this file."""
        return replace(self, kind=Kind.FOLDER, file="", folder=self.file)


def parse(tail: bytes) -> Target:
    """The target of ``/v1/data/TAIL``: a path of hosted data, or a whole URI such as ``s3+label://bucket/key``.

    tail  still percent-encoded

    Raises BadRequest for a path that nothing can have.
    """
    path = _decode(tail)
    uri = _URI.fullmatch(path)
    return _at(uri[1], uri[2]) if uri else _hosted(path)


def below(directory: Target, name: str) -> Target:
    """The file `name`, which may have slashes in it, in the hosted `directory`. Raises BadRequest as `parse` does."""
    for segment in name.split("/"):
        _check(segment)
    file = f"{directory.folder}/{name}" if directory.folder else name
    _check_length(file)
    return replace(directory, kind=Kind.FILE, uri=f"{directory.uri}/{name}", file=file, folder="")


def parse_connector(tail: bytes) -> Target:
    """As `parse`, for ``/v1/connector/TAIL``, where TAIL is ``PROTOCOL[+LABEL]/PATH``."""
    connector, _, path = _decode(tail).partition("/")
    return _at(connector, path)


def _decode(tail: bytes) -> str:
    # Java and Scala encode the whole path like a form field, slashes included; only they send %2F without any slash.
    if b"/" not in tail and b"%2f" in tail.lower():
        tail = tail.replace(b"+", b" ")
    try:
        return unquote_to_bytes(tail).decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("the path is not valid UTF-8 after percent-decoding") from None


def _at(connector: str, path: str) -> Target:
    """The target at `path` of `connector`, which may be hosted data."""
    if connector.lower() == "data":
        return _hosted(path)
    found = _CONNECTOR.fullmatch(connector)
    if not found:
        raise BadRequest(f"{connector[:60]!r} is not a connector: expected PROTOCOL or PROTOCOL+LABEL")
    protocol, label = found[1].lower(), found[2]
    if protocol not in PROTOCOLS:
        raise BadRequest(
            f"no data connector {connector} is possible: the protocols are data, {', '.join(PROTOCOLS)}"
        )
    path = path.removeprefix("/")
    is_directory = not path or path.endswith("/")
    path = path.removesuffix("/")
    identifier = f"{protocol}+{label}" if label else protocol
    uri = f"{identifier}://{path}"
    for segment in path.split("/"):
        # Between here and a provider are libraries that tidy such paths: what they make of them wasn't checked.
        if segment in (".", ".."):
            raise BadRequest(f"the path has {segment!r} in it; connectors have no relative paths")
    if len(path.encode("utf-8", "surrogatepass")) > _MAX_CONNECTED_BYTES:
        raise BadRequest(f"the path {path[:40]!r}... is longer than {_MAX_CONNECTED_BYTES} bytes of UTF-8")
    if any(unicodedata.category(character) == "Cc" for character in path):
        raise BadRequest(f"the path {path[:60]!r} has a control character in it")
    kind = Kind.COLLECTION if is_directory else Kind.CONNECTED
    return Target(kind, uri, CONNECTED, connector=identifier, path=path)


def _hosted(path: str) -> Target:
    path = path.removeprefix("/")
    is_directory = path.endswith("/")
    path = path.removesuffix("/")
    uri = f"data://{path}"
    if not path:
        return Target(Kind.ROOT, uri)
    first, *rest = segments = path.split("/")
    for segment in segments:
        _check(segment)
    if first == ".algo":
        target = _algorithm(uri, rest)
    elif first == ".session":
        target = _collection(uri, SESSION, None, "", rest)
    elif not rest:
        target = Target(Kind.ACCOUNT, uri, HOSTED, None if first == ".my" else first)
    else:
        target = _collection(uri, HOSTED, None if first == ".my" else first, rest[0], rest[1:])
    _check_length(target.file)
    return target.as_folder if is_directory and target.kind is Kind.FILE else target


def _check(segment: str) -> None:
    if not segment:
        raise BadRequest("the path has an empty name in it (two slashes in a row)")
    if segment in (".", ".."):
        raise BadRequest(f"the path has {segment!r} in it; hosted data has no relative paths")
    _check_length(segment)
    # What is printable has none; the first test is much the quicker one.
    if not segment.isprintable() and any(unicodedata.category(character) == "Cc" for character in segment):
        raise BadRequest(f"the name {segment[:60]!r} has a control character in it")


def _check_length(name: str) -> None:
    # Every character takes at least one byte; the first test keeps the second one cheap.
    if len(name) > MAX_NAME_BYTES or len(name.encode("utf-8")) > MAX_NAME_BYTES:
        raise BadRequest(f"the name {name[:40]!r}... is longer than {MAX_NAME_BYTES} bytes of UTF-8")


def _algorithm(uri: str, names: list[str]) -> Target:
    if names and names[0] in _SHORT_FOLDERS:
        return _collection(uri, ALGO, None, names[0], names[1:], is_short=True)
    for name, limit in zip(names, _ALGO_LIMITS, strict=False):
        if len(name) > limit:
            raise BadRequest(
                f"{name[:60]!r} is too long: data://.algo/OWNER/NAME/FOLDER allows {limit} characters here"
            )
    if len(names) < 3:
        return Target(Kind.ALGO_LEVEL, uri, ALGO, collection="/".join(names))
    return _collection(uri, ALGO, None, "/".join(names[:3]), names[3:])


def _collection(
    uri: str, space: str, owner: str | None, collection: str, rest: list[str], is_short: bool = False
) -> Target:
    kind = Kind.FILE if rest else Kind.COLLECTION
    return Target(kind, uri, space, owner, collection, "/".join(rest), is_short)
