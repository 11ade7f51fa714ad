"""Which published version a version text means; pure functions. Facts: "Version resolution", algorithm document."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

Number = tuple[int, int, int]

_PART = r"(?:0|[1-9][0-9]{0,8})"
_NUMBER = re.compile(rf"({_PART})\.({_PART})\.({_PART})")
_PREFIX = re.compile(rf"({_PART})(?:\.({_PART}))?(?:\.[*x])*")
_HASH = re.compile(r"[0-9a-fA-F]{40}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a version text asks for. Exactly one of these holds:

    prefix          numbers that a *public* version must begin with, the newest wins; empty: the newest of all
    exact           one version, public or private
    commit          40 hexadecimal digits, lower case: the build of that commit, published or not
    latest_private  the newest private version
    """

    prefix: tuple[int, ...] = ()
    exact: Number | None = None
    commit: str | None = None
    latest_private: bool = False


@lru_cache(maxsize=1024)
def parse(text: str) -> Wanted | None:
    """What `text` asks for: empty or ``latest``, ``latestPrivate``, ``1.2.3``, ``1.2.*``, ``1.2.x``, ``1.2``, ``1.*``,
    or a commit's 40 digits. None if it's none of these."""
    if text in ("", "latest"):
        return Wanted()
    if text == "latestPrivate":
        return Wanted(latest_private=True)
    if number := parse_number(text):
        return Wanted(exact=number)
    if _HASH.fullmatch(text):
        return Wanted(commit=text.lower())
    match = _PREFIX.fullmatch(text)
    if match is None or text.count(".") > 2:
        return None
    return Wanted(prefix=tuple(int(part) for part in match.groups() if part is not None))


def parse_number(text: str) -> Number | None:
    """``1.2.3`` as numbers; None for anything else."""
    match = _NUMBER.fullmatch(text)
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]))


def format_number(number: Number) -> str:
    """The canonical text of a version."""
    return "{}.{}.{}".format(*number)


def newest(numbers: Iterable[Number], prefix: tuple[int, ...] = ()) -> Number | None:
    """The highest of `numbers` that begin with `prefix`; None if none does."""
    return max((number for number in numbers if number[: len(prefix)] == prefix), default=None)
