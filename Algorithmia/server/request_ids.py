"""Ids of requests and of the sessions of calls: random UUIDs, made without asking the system for each."""

from __future__ import annotations

import random

_bits = random.SystemRandom().getrandbits(128)
_source = random.Random(_bits)  # noqa: S311  (ids, no secrets)
_DIGITS, _TOGETHER = 32, 64
_VARIANT = {digit: "89ab"[number % 4] for number, digit in enumerate("0123456789abcdef")}
# Digits for the next ones. Threads may take from it at the same time.
_drawn: list[str] = []


def new_uuid() -> str:
    """A random UUID's text. It can be guessed by whoever knows enough others: never use it as a secret."""
    try:
        digits = _drawn.pop()
    except IndexError:
        digits = _draw()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"


def _draw() -> str:
    """Digits for one, and for some more."""
    text = _source.randbytes(_DIGITS // 2 * _TOGETHER).hex()
    _drawn.extend(text[start : start + _DIGITS] for start in range(_DIGITS, len(text), _DIGITS))
    return text[:_DIGITS]
