"""Digests of contents, and the header that names them (RFC 9530, ``Repr-Digest``).

SHA-256 of everything: that finds damage on the way, at rest, and between clients and platform. MD5, which takes twice
as long, of what is small: the API has always shown it as ETag. Large files have the beginning of the SHA-256 as ETag,
in the same form. An MD5 that a client announces is checked, too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from ..errors import BadRequest

HEADER = "Repr-Digest"
# Beyond this, no MD5.
SMALL = 16 * 1024 * 1024
_BYTES = {"sha-256": 32, "md5": 16}
_MEMBER = re.compile(r"(?:^|,)\s*(sha-256|md5)\s*=\s*:([^:]*):\s*(?:;[^,]*)?(?=,|$)")


class CorruptedContent(BadRequest):
    """400: what arrived is not what was announced. The header of the answer names what did."""


@dataclass(frozen=True, slots=True)
class Digest:
    """What `algorithm` ("sha-256" or "md5") makes of some content, in hexadecimal."""

    algorithm: str
    hexadecimal: str

    def __str__(self) -> str:
        return f"{self.algorithm.upper()} {self.hexadecimal}"

    @property
    def member(self) -> str:
        """The value of a Repr-Digest header."""
        return f"{self.algorithm}=:{base64.b64encode(bytes.fromhex(self.hexadecimal)).decode()}:"


class Hasher:
    """Takes content in pieces, and knows then what it was.

    announced  what it should be, which may ask for an MD5 of large content, too
    """

    def __init__(self, announced: Digest | None = None) -> None:
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._announced = announced
        self._wants_md5 = announced is not None and announced.algorithm == "md5"
        self._size = 0

    def update(self, data: bytes | memoryview) -> None:
        """Append `data`."""
        self._sha256.update(data)
        self._size += len(data)
        if self._size <= SMALL or self._wants_md5:
            self._md5.update(data)

    def expect(self, announced: Digest | None) -> None:
        """Have `check` compare with `announced`, which was told only now; an MD5 of large content is too late then."""
        self._announced = announced
        self._wants_md5 = announced is not None and announced.algorithm == "md5"

    @property
    def etag(self) -> str:
        """The ETag of the content, 32 hexadecimal digits."""
        return self._md5.hexdigest() if self._size <= SMALL else self._sha256.hexdigest()[:32]

    @property
    def sha256(self) -> str:
        """In hexadecimal."""
        return self._sha256.hexdigest()

    @property
    def digest(self) -> Digest:
        """What to tell whoever asks."""
        return Digest("sha-256", self.sha256)

    def check(self, uri: str) -> None:
        """Raises CorruptedContent unless the content is what was announced, if anything was. `uri` is where it goes."""
        announced = self._announced
        if announced is None:
            return
        arrived = Digest("md5", self._md5.hexdigest()) if self._wants_md5 else self.digest
        if arrived != announced:
            raise CorruptedContent(
                f"{uri}: the content that arrived has {arrived} instead of {announced}, which {HEADER} announces: it "
                "was damaged on the way, or changed meanwhile. Nothing was stored; send it again",
                headers={HEADER: arrived.member},
            )


def parse(header: str | None) -> Digest | None:
    """The digest in a Repr-Digest header, SHA-256 rather than MD5; None without one.

    Raises BadRequest for one that's malformed.
    """
    found = dict(_MEMBER.findall(header or ""))
    for algorithm, size in _BYTES.items():
        if algorithm in found:
            try:
                digest = base64.b64decode(found[algorithm], validate=True)
            except binascii.Error:
                digest = b""
            if len(digest) != size:
                raise BadRequest(
                    f"{HEADER}: {(header or '')[:80]} is not valid: {algorithm} takes the base64 of {size} bytes"
                )
            return Digest(algorithm, digest.hex())
    return None
