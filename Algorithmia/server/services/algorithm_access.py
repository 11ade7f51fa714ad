"""Which algorithms a caller gets to see, and what of them: the one place that decides it for management and git.

An algorithm that is not the caller's exists for them once it has a public version; before that it is "not found", as
calling it would be. Calling itself is decided in `algorithms.py` and `invoke.py`. All functions block.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from ..db import schema
from ..db.database import Database
from ..db.values import is_id
from ..errors import Code, NotAuthorized, NotFound
from ..identity import Identity
from .algorithm_settings import PUBLIC

# Anything else is not worth a look into the database.
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Viewed:
    """An algorithm as one caller sees it. `owner` is the account's name as it is written, `created_at` milliseconds.

    is_owner          the caller's account owns it
    may_read_source   the source, and with it builds, logs and output, is the caller's to read
    """

    id: str
    account_id: str
    owner: str
    name: str
    details: dict[str, Any]
    settings: dict[str, Any]
    created_at: int
    is_owner: bool
    may_read_source: bool

    @property
    def reference(self) -> str:
        return f"algo://{self.owner}/{self.name}"


class AlgorithmAccess:
    """Finds algorithms for callers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, owner: str, name: str, identity: Identity) -> Viewed:
        """The algorithm OWNER/NAME, or, with an empty `owner`, the one whose id is `name`. Raises NotFound (1000)."""
        if not is_possible(owner, name):
            raise _not_found(owner, name)
        algorithms, accounts = schema.algorithms, schema.accounts
        condition = (
            sa.and_(accounts.c.username == owner, algorithms.c.name == name)
            if owner
            else algorithms.c.id == name
        )
        columns = (algorithms, accounts.c.username, has_public_version().label("is_public"))
        with self._database.read() as connection:
            row = connection.execute(sa.select(*columns).join(accounts).where(condition)).one_or_none()
        is_owner = row is not None and row.account_id == identity.account.id and identity.acts_for_itself
        if row is None or not (is_owner or row.is_public):
            raise _not_found(owner, name)
        settings = msgspec.json.decode(row.settings)
        return Viewed(
            id=row.id,
            account_id=row.account_id,
            owner=row.username,
            name=row.name,
            details=msgspec.json.decode(row.details),
            settings=settings,
            created_at=row.created_at,
            is_owner=is_owner,
            may_read_source=(is_owner and identity.permissions.allow_algo_management)
            or settings.get("source_visibility") == "open",
        )


def has_public_version() -> sa.Exists:
    """The condition on a row of `algorithms` that others may know of it."""
    versions = schema.versions
    return (
        sa.select(versions.c.id)
        .where(versions.c.algorithm_id == schema.algorithms.c.id, versions.c.callability == PUBLIC)
        .exists()
    )


def is_name(text: str) -> bool:
    """Whether `text` has the form of an algorithm's name."""
    return _NAME.fullmatch(text) is not None


def is_possible(owner: str, name: str) -> bool:
    """Whether there could be an algorithm OWNER/NAME or, with an empty `owner`, one whose id is `name`."""
    return is_name(owner) and is_name(name) if owner else is_id(name)


def _not_found(owner: str, name: str) -> NotFound:
    shown = f"{owner[:60]}/{name[:60]}" if owner else name[:60]
    return NotFound(f"algorithm algo://{shown} not found", Code.ALGORITHM_NOT_FOUND)


def require_management(identity: Identity) -> None:
    """Raises NotAuthorized unless the key may manage its account's algorithms."""
    if not identity.permissions.allow_algo_management:
        raise NotAuthorized(
            "Caller is not authorized to perform the operation: this needs an API key with allow_algo_management "
            "(\"Allow this key to manage my algorithms\")"
        )


def require_owner(viewed: Viewed, identity: Identity) -> None:
    """Raises NotAuthorized unless `identity` may manage the algorithm."""
    if not viewed.is_owner:
        raise NotAuthorized(
            f"Caller is not authorized to perform the operation: {viewed.reference} belongs to {viewed.owner}"
        )
    require_management(identity)


def require_source(viewed: Viewed, identity: Identity) -> None:
    """Raises NotAuthorized unless `identity` may read the source, the builds and their logs."""
    if not viewed.may_read_source:
        require_owner(viewed, identity)
        raise NotAuthorized()
