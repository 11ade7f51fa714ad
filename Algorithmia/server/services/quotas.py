"""How much the files of an account may take together. What they take is kept with the rows (`data_records.py`)."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from ..db import schema
from ..errors import TooLarge

_accounts = schema.accounts
_USAGE = sa.select(_accounts.c.used_bytes, _accounts.c.quota_bytes).where(_accounts.c.id == sa.bindparam("account"))


class QuotaExceeded(TooLarge):
    """413: the account may not store that much. Waiting doesn't help, so it's none of the 5xx.

    missing  by how many bytes it's too much, as far as that's known
    """

    missing = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What the files of an account take, and may take (0: no limit), in bytes.

    begun  what its unfinished uploads come to, which counts as if they were complete
    """

    used: int
    quota: int
    begun: int = 0

    def room_for(self, replaced: int) -> int | None:
        """How large a file may be that replaces one of `replaced` bytes (0 for a new one); None without a limit.

        One that is no larger always may, also where the quota was made smaller than what is there.
        """
        return max(self.quota - self.used - self.begun, 0) + replaced if self.quota else None


class Quotas:
    """Quotas of a platform.

    default  what accounts may store that have no quota of their own, in bytes; 0 is no limit
    """

    def __init__(self, default: int) -> None:
        self._default = default

    def usage(self, connection: sa.Connection, account_id: str) -> Usage:
        """Of the account, as `connection` sees it."""
        used, quota = connection.execute(_USAGE, {"account": account_id}).one()
        return Usage(used, self._default if quota is None else quota)

    def check(self, connection: sa.Connection, account_id: str, added: int, uri: str) -> None:
        """Raises QuotaExceeded if the `added` bytes, which the account has just been charged with, are too much.

        To be asked in the transaction that adds them, so that uploads side by side can't get past it together.
        """
        if added > 0:
            usage = self.usage(connection, account_id)
            if usage.quota and usage.used > usage.quota:
                raise exceeded(Usage(usage.used - added, usage.quota), uri)


def exceeded(usage: Usage, uri: str, missing: int = 0) -> QuotaExceeded:
    """The error for `uri` being `missing` bytes too much for an account whose other files come to `usage`."""
    stored = f"{uri} does not fit: its account stores {usage.used} of the {usage.quota} bytes that it may"
    remedy = "Remove files (algo du tells what takes how much)"
    if usage.begun:
        stored += f", and has begun uploads that come to {usage.begun} more"
        remedy += ", complete or cancel those uploads (a day after the last sign of one it goes by itself)"
    problem = QuotaExceeded(f"{stored}. {remedy}, or ask an administrator of the platform for a larger quota")
    problem.missing = missing
    return problem
