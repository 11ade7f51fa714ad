"""Ids of requests and of the sessions of calls: random UUIDs, made without asking the system for each."""

from __future__ import annotations

import random

_bits = random.SystemRandom().getrandbits(128)
_source = random.Random(_bits)  # noqa: S311  (ids, no secrets)


def new_uuid() -> str:
    """A random UUID's text. It can be guessed by whoever knows enough others: never use it as a secret."""
    bits = _source.getrandbits(128)
    digits = f"{bits:032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[bits >> 60 & 3]}{digits[17:20]}-{digits[20:]}"
