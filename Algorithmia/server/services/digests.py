"""Digests of contents, and the headers that name them: ``Repr-Digest`` and ``Want-Repr-Digest`` for the whole
of a file, ``Content-Digest`` and ``Want-Content-Digest`` for a part of it that is sent (RFC 9530).

They find damage on the way, at rest, and between clients and platform. SHA-256 and MD5 of what is small: the API has
always shown the MD5 as ETag. Of large files XXH3 with 128 bits, which takes a tenth of the time, so that a transfer
waits for disk and network instead; it is their ETag, in the same form. It is no proof against somebody who makes two
contents that have the same one on purpose: whoever needs that asks for the SHA-256, which is then computed as well.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import xxhash

from ..errors import BadRequest

HEADER = "Repr-Digest"
WANTED = "Want-Repr-Digest"
PART_HEADER = "Content-Digest"
PART_WANTED = "Want-Content-Digest"
MD5, SHA256, XXH128 = "md5", "sha-256", "xxh128"
# What large uploads are best announced by, as the value of `WANTED`.
PREFERRED = f"{XXH128}=10, {SHA256}=5"
# Beyond this, MD5 and SHA-256 only for those who want them.
SMALL = 16 * 1024 * 1024
# The strongest first.
_BYTES = {SHA256: 32, XXH128: 16, MD5: 16}
_NAMES = "|".join(_BYTES)
_MEMBER = re.compile(rf"(?:^|,)\s*({_NAMES})\s*=\s*:([^:]*):\s*(?:;[^,]*)?(?=,|$)")
_WISH = re.compile(rf"(?:^|,)\s*({_NAMES})\s*=\s*(\d{{1,2}})\s*(?=,|$)")


class CorruptedContent(BadRequest):
    """400: what arrived is not what was announced. The header of the answer names what did."""


@dataclass(frozen=True, slots=True)
class Digest:
    """What `algorithm` ("sha-256", "xxh128" or "md5") makes of some content, in hexadecimal."""

    algorithm: str
    hexadecimal: str

    def __str__(self) -> str:
        return f"{self.algorithm.upper()} {self.hexadecimal}"

    @property
    def member(self) -> str:
        """The value of a Repr-Digest header."""
        return f"{self.algorithm}=:{base64.b64encode(bytes.fromhex(self.hexadecimal)).decode()}:"


def new(algorithm: str) -> Any:
    """A hash object."""
    if algorithm == XXH128:
        return xxhash.xxh3_128()
    return hashlib.sha256() if algorithm == SHA256 else hashlib.md5(usedforsecurity=False)


class Hasher:
    """Takes content in pieces, and knows then what it was.

    announced  what it should be
    wanted     the algorithm whose digest will be asked for, whatever the size
    size       of the content, where that's known: it saves what is for small contents only
    """

    def __init__(self, announced: Digest | None = None, wanted: str | None = None, size: int | None = None) -> None:
        self._announced = announced
        self._asked = {wanted, announced.algorithm if announced else None}
        self._large = new(XXH128)
        # Further hash objects, by algorithm; they go once the content is too large for them.
        self._others = {name: new(name) for name in (MD5, SHA256) if self._goes_with(name, size or 0)}
        self._size = 0

    def update(self, data: bytes | memoryview) -> None:
        """Append `data`."""
        self._size += len(data)
        self._large.update(data)
        for name in [name for name in self._others if not self._goes_with(name, self._size)]:
            del self._others[name]
        for other in self._others.values():
            other.update(data)

    def can_check(self, announced: Digest | None) -> bool:
        """Whether `expect` isn't too late for `announced`."""
        return announced is None or announced.algorithm == XXH128 or announced.algorithm in self._others

    def expect(self, announced: Digest | None) -> None:
        """Have `check` compare with `announced`, which was told only now."""
        self._announced = announced
        if announced is not None:
            self._asked.add(announced.algorithm)  # more may come before it's compared

    @property
    def etag(self) -> str:
        """The ETag of the content, 32 hexadecimal digits."""
        is_small = self._size <= SMALL and MD5 in self._others
        return str((self._others[MD5] if is_small else self._large).hexdigest())

    @property
    def sha256(self) -> str | None:
        """In hexadecimal; None if nobody wanted it of this much."""
        return self._others[SHA256].hexdigest() if SHA256 in self._others else None

    @property
    def xxh128(self) -> str | None:
        """In hexadecimal; None for small contents, which have the SHA-256, unless somebody compares them by this."""
        is_small = self._size <= SMALL and SHA256 in self._others and XXH128 not in self._asked
        return None if is_small else str(self._large.hexdigest())

    @property
    def digests(self) -> list[Digest]:
        """What to tell whoever asks."""
        texts = {XXH128: self.xxh128, SHA256: self.sha256}
        return [Digest(name, text) for name, text in texts.items() if text]

    def check(self, uri: str) -> None:
        """Raises CorruptedContent unless the content is what was announced, if anything was. `uri` is where it goes."""
        announced = self._announced
        if announced is None:
            return
        hasher = self._large if announced.algorithm == XXH128 else self._others[announced.algorithm]
        arrived = Digest(announced.algorithm, hasher.hexdigest())
        if arrived != announced:
            raise CorruptedContent(
                f"{uri}: the content that arrived has {arrived} instead of {announced}, which {HEADER} announces: it "
                "was damaged on the way, or changed meanwhile. Nothing was stored; send it again",
                headers={HEADER: arrived.member},
            )

    def _goes_with(self, name: str, size: int) -> bool:
        return size <= SMALL or name in self._asked


def header(known: Iterable[Digest]) -> dict[str, str]:
    """The header that names the digests that are `known`, if any are."""
    return {HEADER: members} if (members := ", ".join(digest.member for digest in known)) else {}


def parse(header: str | None) -> Digest | None:
    """The strongest digest in a Repr-Digest header; None without one.

    Raises BadRequest for one that's malformed.
    """
    found = dict(_MEMBER.findall(header or ""))
    for algorithm, size in _BYTES.items():
        if algorithm in found:
            try:
                digest = base64.b64decode(found[algorithm], validate=True)
            except ValueError:
                digest = b""
            if len(digest) != size:
                raise BadRequest(
                    f"{HEADER}: {(header or '')[:80]} is not valid: {algorithm} takes the base64 of {size} bytes"
                )
            return Digest(algorithm, digest.hex())
    return None


def wanted(header: str | None) -> str | None:
    """The algorithm that a header such as Want-Repr-Digest prefers; None if it names none that there is."""
    wishes = {name: int(weight) for name, weight in _WISH.findall(header or "") if int(weight)}
    return max(wishes, key=wishes.__getitem__, default=None)
