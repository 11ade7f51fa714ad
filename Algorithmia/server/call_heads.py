"""What of a request's head decides which call it is: the same head again is the same call but for its input."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

_LONGEST = 2048
_LOOKED_AT = frozenset((b"authorization", b"content-type", b"content-encoding", b"expect"))


def digest(scope: Any) -> bytes | None:
    """A digest of what decides about the call in the head of `scope`; None if more than that has to be looked at.

    A digest, since the key is in it: keys are kept nowhere as they are, and aren't compared byte by byte.
    """
    authorization = content_type = None
    for name, value in scope["headers"]:
        if name == b"authorization" and authorization is None:
            authorization = value
        elif name == b"content-type" and content_type is None:
            content_type = value
        elif name in _LOOKED_AT or (name == b"content-length" and len(value) > 7):
            return None  # twice the same header, too: somebody else's may be behind one's own
    head = b"\0".join((scope["raw_path"], scope["query_string"], authorization or b"", content_type or b""))
    return sha256(head).digest() if len(head) <= _LONGEST else None
