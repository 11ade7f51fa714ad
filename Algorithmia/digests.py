"""Digests of contents: computed while bytes move, and compared with what the other side says.

The platform names the SHA-256 of a file in ``Repr-Digest: sha-256=:BASE64:`` (RFC 9530), and refuses a PUT whose
content isn't the one that the same header of the request announces. Of large files it names the XXH3-128 instead, which
takes a tenth of the time; where the package xxhash is missing it is asked for the SHA-256. What older versions have
stored is named by its MD5. Digests are passed on as texts: hexadecimal, those of XXH3-128 behind ``xxh128:``; the
length tells the others apart. Servers that name no digest are believed as they are.
"""
import base64
import binascii
import hashlib
import re
import threading

from six.moves import queue

try:
    import xxhash
except ImportError:  # it comes with the extras `cli` and `server`
    xxhash = None  # type: ignore[assignment]
if not hasattr(xxhash, "xxh3_128"):  # versions before 2
    xxhash = None  # type: ignore[assignment]

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, Mapping, Optional  # noqa: F401

    from ._types import BytesLike, Readable  # noqa: F401

WANTED = "Want-Repr-Digest"
XXH128, SHA256, MD5 = "xxh128", "sha-256", "md5"  # as headers say it
_HEADER = "Repr-Digest"
_PREFIX = XXH128 + ":"
_MEMBER = re.compile(r"(?:^|,)\s*(xxh128|sha-256|md5)\s*=\s*:([A-Za-z0-9+/=]+):\s*(?:;[^,]*)?(?=,|$)")
_DIGITS = {XXH128: 32, SHA256: 64, MD5: 32}
_ETAG = re.compile(r'"?([0-9a-f]{32})"?$')
_PIECE = 1024 * 1024
_LARGE = 4 * 1024 * 1024
_TICK = 0.2


def new(like=None):
    # type: (Optional[str]) -> Any
    """A hash object without content, for a digest to be compared with `like`."""
    name = SHA256 if like is None else algorithm(like)
    if name == XXH128:
        return Xxh128()
    if name == SHA256:
        return hashlib.sha256()
    try:  # systems that forbid MD5 for security allow it for what it's used for here
        return hashlib.md5(usedforsecurity=False)  # 3.9
    except TypeError:
        return hashlib.md5()  # noqa: S324


class Xxh128(object):
    """A hash object for large contents, whose `hexdigest` says so."""

    def __init__(self):
        # type: () -> None
        self._hash = xxhash.xxh3_128()
        self.update = self._hash.update

    def hexdigest(self):
        # type: () -> str
        """The digest of all that it was given."""
        return _PREFIX + str(self._hash.hexdigest())


def large(offer):
    # type: (str) -> Any
    """A hash object for a large upload to a platform that offers to compare by `offer` (see ``Want-Repr-Digest``)."""
    return Xxh128() if xxhash is not None and XXH128 in offer else hashlib.sha256()


def wish(digest=None):
    # type: (Any) -> Dict[str, str]
    """The request header that asks for a digest like that of the hash object `digest`, or for one that can be compared
    here; empty where any can."""
    if isinstance(digest, Xxh128):
        return {WANTED: XXH128 + "=1"}  # even of what turns out to be small
    return {} if xxhash is not None and digest is None else {WANTED: SHA256 + "=1"}


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
        while self._thread.is_alive():  # a signal's exception in `update` can have taken the next wake-up away
            try:
                self._pieces.put(None, True, _TICK)
            except queue.Full:
                pass
            self._thread.join(_TICK)

    def _work(self):
        # type: () -> None
        for piece in iter(self._pieces.get, None):
            self._hash.update(piece)


def headers(digest):
    # type: (str) -> Dict[str, str]
    """The request header that announces `digest` (hexadecimal)."""
    name = algorithm(digest)
    digits = digest[-_DIGITS[name] :].encode("ascii")
    return {_HEADER: "%s=:%s:" % (name, base64.b64encode(binascii.unhexlify(digits)).decode("ascii"))}


def algorithm(digest):
    # type: (str) -> str
    """What made `digest`, as headers say it."""
    if digest.startswith(_PREFIX):
        return XXH128
    return MD5 if len(digest) == _DIGITS[MD5] else SHA256


def labelled(digest):
    # type: (str) -> str
    """``ALGORITHM:HEXADECIMAL``, for people."""
    return "%s:%s" % (algorithm(digest), digest.rpartition(":")[2])


def differ(digest, other):
    # type: (Optional[str], Optional[str]) -> bool
    """Whether these are known to be of different contents."""
    return bool(digest and other and algorithm(digest) == algorithm(other) and digest != other)


def told(answer, like=None):
    # type: (Mapping[str, str], Optional[str]) -> Optional[str]
    """The digest that headers of an answer name, of several the one to be compared with `like`, or else the one that
    is compared best; None if they name none."""
    found = dict(_MEMBER.findall(answer.get(_HEADER) or ""))
    names = (SHA256, MD5) if xxhash is None else (XXH128, SHA256, MD5)
    for name in (algorithm(like),) + names if like else names:
        try:
            digest = binascii.hexlify(base64.b64decode(found.get(name, "").encode("ascii"))).decode("ascii")
        except (ValueError, TypeError, binascii.Error):
            continue
        if len(digest) == _DIGITS[name]:
            return str(_PREFIX + digest if name == XXH128 else digest)
    return None


def is_named(answer):
    # type: (Mapping[str, str]) -> bool
    """Whether headers of an answer name any digest, even one that can't be compared here."""
    return _HEADER in answer


def wish_of_part():
    # type: () -> Dict[str, str]
    """The request header that asks for the digest of what comes, where that is a part of a file."""
    return {"Want-Content-Digest": SHA256 + "=1" if xxhash is None else "%s=2, %s=1" % (XXH128, SHA256)}


def is_damaged(answer, data):
    # type: (Mapping[str, str], bytes) -> bool
    """Whether `data`, the body of an answer with these headers, is known not to be what was sent."""
    sent = told({_HEADER: answer.get("Content-Digest", "")})
    return sent is not None and differ(sent, of_bytes(data, sent))


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
