"""Digests in headers (RFC 9530): what a file's content is, and what an upload's must be.

MD5 only, which is hashed in any case for the ETag. It finds damage on the way; against attackers there is HTTPS.
"""

from __future__ import annotations

import base64
import binascii
import re

from ..errors import BadRequest

HEADER = "Repr-Digest"
_MEMBER = re.compile(r"(?:^|,)\s*md5\s*=\s*:([^:]*):\s*(?:;[^,]*)?(?=,|$)")


class CorruptedContent(BadRequest):
    """400: what arrived is not what was announced. The header of the answer names what did."""


def parse(header: str | None) -> str | None:
    """The MD5 (hexadecimal) in a Repr-Digest header; None without one. Raises BadRequest for one that's malformed."""
    found = _MEMBER.search(header or "")
    if found is None:
        return None
    try:
        digest = base64.b64decode(found.group(1), validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != 16:
        raise BadRequest(f"{HEADER}: {(header or '')[:80]} is not valid: the base64 of an MD5 has 24 characters")
    return digest.hex()


def member(digest: str) -> str:
    """The value of a Repr-Digest header for an MD5 in hexadecimal."""
    return f"md5=:{base64.b64encode(bytes.fromhex(digest)).decode()}:"


def check(announced: str | None, arrived: str, uri: str) -> None:
    """Raises CorruptedContent unless `arrived` is what was `announced`, if anything was."""
    if announced is not None and announced != arrived:
        raise CorruptedContent(
            f"{uri}: the content that arrived has MD5 {arrived} instead of {announced}, which {HEADER} announces: it "
            "was damaged on the way, or changed meanwhile. Nothing was stored; send it again",
            headers={HEADER: member(arrived)},
        )
