"""Ids and times in the form that the schema stores, and times in the form that the API shows."""

from __future__ import annotations

import re
import time
import uuid
from datetime import datetime, timezone

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def new_id() -> str:
    """A fresh random id (UUID text)."""
    return str(uuid.uuid4())


def is_id(text: str) -> bool:
    """Whether `text` has the form of an id: a UUID in lower case."""
    return _ID.fullmatch(text) is not None


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def iso_time(milliseconds: int) -> str:
    """`milliseconds` since the epoch as ``YYYY-MM-DDTHH:MM:SS.mmmZ``: old clients insist on the fraction and the Z."""
    moment = datetime.fromtimestamp(milliseconds // 1000, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"
