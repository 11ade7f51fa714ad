"""If-Match and If-None-Match: conditions on the current state of a file."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import PreconditionFailed


@dataclass(frozen=True, slots=True)
class Conditions:
    """The two headers as they came; None when absent. An ETag here is without its quotes."""

    if_match: str | None = None
    if_none_match: str | None = None

    def check(self, etag: str | None, uri: str) -> None:
        """Raises PreconditionFailed unless a file with `etag` (None: no file) at `uri` meets both conditions."""
        if self.if_match is not None and not matches(self.if_match, etag):
            state = f'is now "{etag}"' if etag else "doesn't exist"
            raise PreconditionFailed(f"{uri} {state}, which If-Match: {self.if_match[:100]} rules out")
        if self.if_none_match is not None and matches(self.if_none_match, etag):
            raise PreconditionFailed(f"{uri} exists already, which If-None-Match: {self.if_none_match[:100]} rules out")


UNCONDITIONAL = Conditions()


def matches(header: str, etag: str | None) -> bool:
    """Whether the list of ETags in `header`, or its ``*``, covers `etag` (None: no file, covered by nothing)."""
    if etag is None:
        return False
    tags = [tag.strip() for tag in header.split(",")]
    # Quotes are optional: the API documents bare ETags.
    return "*" in tags or etag in (tag.removeprefix("W/").strip('"') for tag in tags)
