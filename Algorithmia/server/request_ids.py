"""Ids of requests and of the sessions of calls: random UUIDs, made without asking the system for each."""

from __future__ import annotations

import random

_bits = random.SystemRandom().getrandbits(128)
_draw = random.Random(_bits).getrandbits  # noqa: S311  (ids, no secrets)
# What of a UUID is random, and what it says of itself: version 4, variant 1.
_RANDOM = ~(0xF << 76 | 0x3 << 62)
_FIXED = 0x4 << 76 | 0x2 << 62


def new_uuid() -> str:
    """A random UUID's text. It can be guessed by whoever knows enough others: never use it as a secret."""
    digits = (_draw(128) & _RANDOM | _FIXED).to_bytes(16, "big").hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
