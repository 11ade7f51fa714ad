"""Digests of contents: computed while bytes move, and compared with what the other side says.

The platform names the SHA-256 of a file in ``Repr-Digest: sha-256=:BASE64:`` (RFC 9530), and refuses a PUT whose
content isn't the one that the same header of the request announces. What older versions have stored is named by its
MD5. Digests are passed on as hexadecimal texts, whose length says which of the two they are. Servers that name no
digest are believed as they are.
"""
import base64
import binascii
import hashlib
import re
import threading

from six.moves import queue

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, Mapping, Optional  # noqa: F401

    from ._types import BytesLike, Readable  # noqa: F401

_HEADER = "Repr-Digest"
_MEMBER = re.compile(r"(?:^|,)\s*(sha-256|md5)\s*=\s*:([A-Za-z0-9+/=]+):\s*(?:;[^,]*)?(?=,|$)")
_SHA256, _MD5 = 64, 32  # digits
_ETAG = re.compile(r'"?([0-9a-f]{32})"?$')
_PIECE = 1024 * 1024
_LARGE = 4 * 1024 * 1024


def new(like=None):
    # type: (Optional[str]) -> Any
    """A hash object without content, for a digest to be compared with `like`."""
    if like is None or len(like) != _MD5:
        return hashlib.sha256()
    try:  # systems that forbid MD5 for security allow it for what it's used for here
        return hashlib.md5(usedforsecurity=False)  # 3.9
    except TypeError:
        return hashlib.md5()  # noqa: S324


def hasher(size=None, like=None):
    # type: (Optional[int], Optional[str]) -> Any
    """As `new`, for content of `size` bytes, with a thread of its own where that pays. `close` it in any case."""
    return Background(like) if (size or 0) > _LARGE else new(like)


def close(hasher):
    # type: (Any) -> None
    """End the thread of `hasher`, if it has one; harmless twice."""
    if isinstance(hasher, Background):
        hasher.close()


class Background(object):
    """A hash object that works in a thread of its own while the next piece is on its way. `close` it in any case."""

    def __init__(self, like=None):
        # type: (Optional[str]) -> None
        self._hash = new(like)
        self._pieces = queue.Queue(4)  # type: Any
        self._thread = threading.Thread(target=self._work)
        self._thread.daemon = True
        self._thread.start()

    def update(self, data):
        # type: (bytes) -> None
        """Hash `data`, which must not change any more."""
        self._pieces.put(data)

    def hexdigest(self):
        # type: () -> str
        """The digest of all pieces; there can be no more."""
        self.close()
        return self._hash.hexdigest()

    def close(self):
        # type: () -> None
        """End the thread; harmless twice."""
        if self._thread.is_alive():
            self._pieces.put(None)
            self._thread.join()

    def _work(self):
        # type: () -> None
        for piece in iter(self._pieces.get, None):
            self._hash.update(piece)


def headers(digest):
    # type: (str) -> Dict[str, str]
    """The request header that announces `digest` (hexadecimal)."""
    encoded = base64.b64encode(binascii.unhexlify(digest.encode("ascii"))).decode("ascii")
    return {_HEADER: "%s=:%s:" % (algorithm(digest), encoded)}


def algorithm(digest):
    # type: (str) -> str
    """What made `digest`, as headers say it."""
    return "md5" if len(digest) == _MD5 else "sha-256"


def differ(digest, other):
    # type: (Optional[str], Optional[str]) -> bool
    """Whether these are known to be of different contents."""
    return bool(digest and other and len(digest) == len(other) and digest != other)


def told(answer):
    # type: (Mapping[str, str]) -> Optional[str]
    """The digest (hexadecimal) that headers of an answer name, SHA-256 rather than MD5; None if they name none."""
    found = dict(_MEMBER.findall(answer.get(_HEADER) or ""))
    for name, digits in (("sha-256", _SHA256), ("md5", _MD5)):
        try:
            digest = binascii.hexlify(base64.b64decode(found.get(name, "").encode("ascii"))).decode("ascii")
        except (ValueError, TypeError, binascii.Error):
            continue
        if len(digest) == digits:
            return str(digest)
    return None


def of_etag(etag):
    # type: (Optional[str]) -> Optional[str]
    """The digest that an ETag of hosted data is; None for any other ETag."""
    found = _ETAG.match(etag or "")
    return str(found.group(1)) if found else None


def of_bytes(data, like=None):
    # type: (BytesLike, Optional[str]) -> str
    """Digest of `data`, to be compared with `like`."""
    digest = new(like)
    digest.update(data)
    return digest.hexdigest()


def of_stream(source, size=None, like=None):
    # type: (Readable, Optional[int], Optional[str]) -> str
    """Digest of what can be read from `source`, or of its next `size` bytes, to be compared with `like`."""
    digest = new(like)
    while size is None or size > 0:
        data = source.read(_PIECE if size is None else min(_PIECE, size))
        if not data:
            break
        digest.update(data)
        size = None if size is None else size - len(data)
    return digest.hexdigest()


def of_file(path, like=None):
    # type: (str, Optional[str]) -> str
    """Digest of the local file at `path`, to be compared with `like`."""
    with open(path, "rb") as source:
        return of_stream(source, None, like)
