"""Markers of listings' pages: where the next page begins, in a form that is good in a URL and that clients pass on."""

from __future__ import annotations

import base64
import binascii

from ..errors import BadRequest, Code


def marker_for(kind: str, place: str) -> str:
    """The marker of `place`, which only listings of the same `kind` (a letter) take."""
    return f"{kind}-" + base64.urlsafe_b64encode(place.encode("utf-8")).decode("ascii").rstrip("=")


def place_of(kind: str, marker: str) -> str:
    """What `marker_for` was given; "" for no marker. Raises BadRequest (5002) for anything else."""
    if not marker:
        return ""
    text = marker.removeprefix(f"{kind}-")
    try:
        if text == marker:
            raise ValueError("not one of ours")
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("utf-8")
    except (ValueError, binascii.Error):
        raise BadRequest(
            f"marker {marker[:60]!r} is not valid; use the one of the page before", Code.INVALID_MARKER
        ) from None
