"""Times on the wire to naive UTC datetimes; anything unreadable is None, never an error."""
import re
from datetime import datetime

_ISO = re.compile(r"^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:Z|\+00:?00)?$")


def parse_timestamp(text):
    # type: (object) -> object
    """A listing's ``2016-01-06T00:52:34.000Z``, with or without fraction and zone."""
    match = _ISO.match(text) if text else None  # type: ignore[call-overload]
    if match is None:
        return None
    fraction = (match.group(7) or "").ljust(6, "0")[:6]
    try:
        return datetime(*([int(part) for part in match.groups()[:6]] + [int(fraction)]))  # type: ignore[arg-type]
    except ValueError:
        return None


def parse_http_date(text):
    # type: (object) -> object
    """A header's ``Wed, 06 Jan 2016 00:52:34 GMT``."""
    if not text:
        return None
    from email.utils import parsedate

    parts = parsedate(text)  # type: ignore[arg-type]
    try:
        return datetime(*parts[:6]) if parts else None
    except ValueError:
        return None
