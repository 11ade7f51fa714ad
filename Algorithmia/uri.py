"""Data URIs and algorithm references, and the API paths that they stand for. Percent-encoding happens only here.

A data URI is ``PROTOCOL[+LABEL]://PATH``; without a protocol it means hosted data. An algorithm reference is
``[algo://]OWNER/NAME[/VERSION]``. Facts: the API documents for data ("Data URIs", "HTTP paths") and algorithms
("URLs").
"""
import re

from ._compat import quote_bytes, string_types, to_bytes, to_text

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Dict, Optional, Text, Tuple, Union  # noqa: F401

HOSTED = "data"
CONNECTORS = ("data", "s3", "dropbox", "azureblob", "gs")
_PROTOCOL = re.compile(r"^([A-Za-z0-9]+(?:\+[A-Za-z0-9_]+)?)://")
_UUID = re.compile(r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
# Sub-delimiters that may stand unencoded in a path segment; `+` stays encoded because form-decoders make it a space.
_SEGMENT_SAFE = "!$'()*,;=:@"


def quote_segment(text):
    # type: (Union[Text, bytes]) -> str
    """One path segment, percent-encoded as UTF-8, so that any name survives."""
    return quote_bytes(to_bytes(text), _SEGMENT_SAFE)


def quote_path(path):
    # type: (Union[Text, bytes]) -> str
    """A path whose ``/`` separate segments, percent-encoded."""
    return quote_bytes(to_bytes(path), _SEGMENT_SAFE + "/")


def is_local(text):
    # type: (str) -> bool
    """Whether `text` is a ``file://`` URI."""
    return text.startswith("file://")


def is_remote(text):
    # type: (str) -> bool
    """Whether `text` names data on the platform by an explicit protocol, such as ``data://`` or ``s3+label://``."""
    match = _PROTOCOL.match(text)
    return match is not None and match.group(1).split("+")[0].lower() in CONNECTORS


def parse_data_uri(text):
    # type: (str) -> Tuple[str, str]
    """``(connector, path)`` of a data URI: ``("data", ".my/c/f")``, ``("s3+lab", "bucket/key")``.

    A missing protocol means hosted data. One leading ``/`` of a hosted path is dropped.
    Raises ValueError for a protocol that is not a connector.
    """
    if not isinstance(text, string_types):
        raise ValueError("a data URI is a string, such as data://.my/collection/file; not %r" % (text,))
    match = _PROTOCOL.match(text)
    if not match:
        return HOSTED, text[1:] if text.startswith("/") else text
    connector, path = match.group(1), text[match.end() :]
    protocol, plus, label = connector.partition("+")
    protocol = protocol.lower()
    if protocol not in CONNECTORS:
        raise ValueError("%r is not a data URI: its protocol is not one of %s" % (text, ", ".join(CONNECTORS)))
    if protocol == HOSTED and path.startswith("/"):
        path = path[1:]
    return protocol + plus + label, path


def data_uri(connector, path):
    # type: (str, str) -> str
    """The data URI of `path` at `connector`."""
    return "%s://%s" % (connector, path)


def api_path(connector, path):
    # type: (str, str) -> str
    """The API path of data: ``/v1/data/...`` for hosted data, ``/v1/connector/ID/...`` for the other connectors."""
    if connector == HOSTED:
        return "/v1/data/" + quote_path(path)
    return "/v1/connector/%s/%s" % (quote_bytes(to_bytes(connector), "+"), quote_path(path))


def join(parent, name):
    # type: (str, str) -> str
    """`name` below `parent`, with one ``/`` between them."""
    if parent.endswith("/") or not parent:
        return parent + name
    return parent + "/" + name


def base_name(uri):
    # type: (str) -> str
    """The last segment of a URI or path, ignoring a trailing ``/``; empty for a root."""
    path = uri.split("://", 1)[-1].rstrip("/")
    return path.rsplit("/", 1)[-1]


def split_hosted(path):
    # type: (str) -> Optional[Tuple[str, str]]
    """Collection and name of the file or folder at a hosted path: ``('.my/c', 'a/b')``; None for what is higher up."""
    parts = path.split("/")
    depth = 2
    if parts[0] == ".session":
        depth = 1
    elif parts[0] == ".algo":
        depth = 2 if parts[1:2] in (["temp"], ["perm"]) else 4
    if len(parts) <= depth or not all(parts):
        return None
    return "/".join(parts[:depth]), "/".join(parts[depth:])


def parent_and_base(path):
    # type: (str) -> Tuple[str, str]
    """``('a/b', 'c')`` for ``a/b/c``; ``('data://foo', 'bar')`` for ``data://foo/bar``.

    Raises ValueError when there is no base: ``/``, the empty string, or a trailing slash.
    """
    match = re.match(r"^(.*)/([^/]+)$", path, re.DOTALL)
    if match is None:
        if path and "/" not in path:
            return "", path
        raise ValueError("%r has no last part" % (path,))
    parent, base = match.groups()
    if not parent or re.match(r"^[A-Za-z0-9+_]+://?$", parent):  # /foo, data:///foo and data://foo
        parent += "/"
    return parent, base


class AlgorithmRef(object):
    """A parsed algorithm reference: `owner`, `name`, `version` (None if not given), `query` (options in the reference).

    ``algo://OWNER/NAME``, ``/OWNER/NAME``, a trailing slash, ``?timeout=10`` and a bare algorithm id are accepted.
    Raises ValueError ``Invalid algorithm URI: ...`` for anything else.
    """

    def __init__(self, text):
        # type: (str) -> None
        if not isinstance(text, string_types):
            raise ValueError("Invalid algorithm URI: %r" % (text,))
        path, _, query = text.partition("?")
        path = re.sub(r"^algo:/*", "", path.strip()).strip("/")
        parts = path.split("/")
        if len(parts) < 3 and _UUID.match(parts[0]):
            parts.insert(0, "")
        elif not re.match(r"^[A-Za-z0-9_][\w\-.]*$", parts[0]):
            raise ValueError("Invalid algorithm URI: %s" % text)
        if len(parts) not in (2, 3) or not parts[1]:
            raise ValueError("Invalid algorithm URI: %s" % text)
        self.owner, self.name = parts[0], parts[1]
        self.version = parts[2] if len(parts) == 3 else None  # type: Optional[str]
        pairs = [pair.partition("=") for pair in query.split("&") if pair]
        self.query = {name: value for name, _, value in pairs}  # type: Dict[str, str]

    @property
    def path(self):
        # type: () -> str
        """``OWNER/NAME[/VERSION]``"""
        return "/".join(part for part in (self.owner, self.name, self.version) if part)

    @property
    def call_path(self):
        # type: () -> str
        """The API path that calls the algorithm."""
        return "/v1/algo/" + quote_path(self.path)

    @property
    def resource_path(self):
        # type: () -> str
        """The API path that manages the algorithm."""
        return "/v1/algorithms/" + quote_path("/".join(part for part in (self.owner, self.name) if part))

    def __str__(self):
        # type: () -> str
        return "algo://" + to_text(self.path)
