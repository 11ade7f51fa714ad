"""Times on the wire to naive UTC datetimes; anything unreadable is None, never an error."""
import re
from datetime import datetime

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Optional  # noqa: F401

_ISO = re.compile(r"^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:Z|\+00:?00)?$")


def parse_timestamp(text):
    # type: (Optional[str]) -> Optional[datetime]
    """A listing's ``2016-01-06T00:52:34.000Z``, with or without fraction and zone."""
    match = _ISO.match(text) if text else None
    if match is None:
        return None
    fraction = (match.group(7) or "").ljust(6, "0")[:6]
    year, month, day, hour, minute, second = [int(part) for part in match.groups()[:6]]
    try:
        return datetime(year, month, day, hour, minute, second, int(fraction))
    except ValueError:
        return None


def parse_http_date(text):
    # type: (Optional[str]) -> Optional[datetime]
    """A header's ``Wed, 06 Jan 2016 00:52:34 GMT``."""
    if not text:
        return None
    from email.utils import parsedate

    parts = parsedate(text)
    try:
        return datetime(*parts[:6]) if parts else None
    except ValueError:
        return None
