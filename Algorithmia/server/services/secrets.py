"""Secrets of algorithms: encrypted in the database, given to workers as environment variables, never shown again."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..db import schema
from ..db.database import Database
from ..db.values import is_id, iso_time, new_id, now_ms
from ..errors import BadRequest, Code, Conflict, NotFound, Unavailable
from .algorithm_access import Viewed
from .cipher import Cipher, WrongKey

PROVIDER_ID = "0d4b8f52-7c27-5a0e-9d57-1f0f5f9e8c11"
PROVIDER: dict[str, Any] = {
    "id": PROVIDER_ID,
    "name": "Internal",
    "description": "Encrypted in the platform's database",
    "moduleName": "internal",
    "factoryClassName": "internal",
    "interfaceVersion": "1.0",
    "isEnabled": True,
    "isDefault": True,
    "created": "2022-01-01T00:00:00.000Z",
    "modified": "2022-01-01T00:00:00.000Z",
}

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_RESERVED_PREFIXES = ("ALGORITHMIA_", "LD_", "PYTHON", "LC_")
_RESERVED = frozenset({"PATH", "HOME", "LANG", "TMPDIR", "USER", "SHELL", "PWD", "IFS", "ENV", "BASH_ENV"})
_MAX_NAME, _MAX_DESCRIPTION, _MAX_VALUE, _MAX_SECRETS = 256, 4096, 64 * 1024, 100


@dataclass(frozen=True, slots=True)
class Given:
    """What a request says of a secret; None: not given. Its value never appears in messages."""

    short_name: str | None = None
    description: str | None = None
    secret_key: str | None = None
    secret_value: str | None = None

    def __repr__(self) -> str:
        return f"Given({self.secret_key!r})"


class Secrets:
    """The secrets of all algorithms. All methods block.

    recycle  ends the workers of an algorithm, given its id
    """

    def __init__(self, database: Database, cipher: Cipher, recycle: Callable[[str], None]) -> None:
        self._database = database
        self._cipher = cipher
        self._recycle = recycle

    def list(self, viewed: Viewed) -> list[dict[str, Any]]:
        """The algorithm's secrets without their values, oldest first."""
        secrets = schema.secrets
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(secrets)
                .where(secrets.c.algorithm_id == viewed.id)
                .order_by(secrets.c.created_at, secrets.c.id)
            ).all()
        return [_document(row) for row in rows]

    def create(self, viewed: Viewed, given: Given) -> dict[str, Any]:
        """Store a secret. Raises BadRequest, Conflict if there is one for that variable."""
        if not given.secret_key:
            raise BadRequest("secret_key is missing: the environment variable's name", Code.MALFORMED_SECRET)
        if given.secret_value is None:
            raise BadRequest("secret_value is missing", Code.SECRET_NEEDS_VALUE)
        _check(given)
        secrets, now = schema.secrets, now_ms()
        values = {
            "id": new_id(),
            "algorithm_id": viewed.id,
            "short_name": given.short_name or given.secret_key,
            "description": given.description or "",
            "secret_key": given.secret_key,
            "encrypted_value": self._cipher.encrypt(given.secret_value),
            "created_at": now,
            "modified_at": now,
        }
        try:
            with self._database.write() as connection:
                exists = sa.select(schema.algorithms.c.id).where(schema.algorithms.c.id == viewed.id)
                if connection.execute(exists).scalar() is None:
                    raise NotFound(f"algorithm {viewed.reference} not found", Code.ALGORITHM_NOT_FOUND)
                count = connection.execute(
                    sa.select(sa.func.count()).select_from(secrets).where(secrets.c.algorithm_id == viewed.id)
                ).scalar_one()
                if count >= _MAX_SECRETS:
                    raise BadRequest(f"{viewed.reference} has {count} secrets, the most there may be")
                connection.execute(secrets.insert().values(**values))
                row = connection.execute(sa.select(secrets).where(secrets.c.id == values["id"])).one()
        except sa.exc.IntegrityError:
            raise Conflict(
                f"{viewed.reference} has a secret for {given.secret_key} already; edit or delete that one",
                Code.SECRET_CONSTRAINT,
            ) from None
        self._recycle(viewed.id)
        return _document(row)

    def edit(self, viewed: Viewed, secret_id: str, given: Given) -> dict[str, Any]:
        """Change a secret; its variable's name stays. Raises NotFound (8008), BadRequest."""
        _check(given)
        secrets = schema.secrets
        this = self._this(viewed, secret_id)
        encrypted = None if given.secret_value is None else self._cipher.encrypt(given.secret_value)
        with self._database.write() as connection:
            row = connection.execute(sa.select(secrets).where(this)).one_or_none()
            if row is None:
                raise _no_secret(viewed, secret_id)
            if given.secret_key not in (None, row.secret_key):
                raise BadRequest(
                    f"the variable of a secret can't change: this one is {row.secret_key}; delete it and make another",
                    Code.SECRET_CONSTRAINT,
                )
            changes: dict[str, Any] = {
                "short_name": given.short_name or None,
                "description": given.description,
                "encrypted_value": encrypted,
                "modified_at": now_ms(),
            }
            changes = {name: value for name, value in changes.items() if value is not None}
            connection.execute(secrets.update().where(this).values(**changes))
            row = connection.execute(sa.select(secrets).where(this)).one()
        self._recycle(viewed.id)
        return _document(row)

    def delete(self, viewed: Viewed, secret_id: str) -> None:
        """Remove a secret. Raises NotFound (8008)."""
        with self._database.write() as connection:
            gone = connection.execute(schema.secrets.delete().where(self._this(viewed, secret_id))).rowcount
        if not gone:
            raise _no_secret(viewed, secret_id)
        self._recycle(viewed.id)

    def values_of(self, algorithm_id: str) -> dict[str, str]:
        """The environment variables of an algorithm's workers. Raises Unavailable if they can't be decrypted."""
        secrets = schema.secrets
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(secrets.c.secret_key, secrets.c.encrypted_value).where(
                    secrets.c.algorithm_id == algorithm_id
                )
            ).all()
        try:
            return {row.secret_key: self._cipher.decrypt(row.encrypted_value) for row in rows}
        except WrongKey:
            names = ", ".join(row.secret_key for row in rows)
            raise Unavailable(
                f"its secrets ({names}) were stored with another {self._cipher.key_file.name} than the platform has "
                "now: restore that file, or store them again"
            ) from None

    # -- below -----------------------------------------------------------------------------------------------------

    def _this(self, viewed: Viewed, secret_id: str) -> sa.ColumnElement[bool]:
        if not is_id(secret_id):
            raise _no_secret(viewed, secret_id)
        return sa.and_(schema.secrets.c.id == secret_id, schema.secrets.c.algorithm_id == viewed.id)


def _check(given: Given) -> None:
    key, value = given.secret_key, given.secret_value
    if key is not None:
        if not _VARIABLE.fullmatch(key):
            raise BadRequest(
                f"secret_key {key[:60]!r} can't name an environment variable: use letters, digits and underscores, "
                "not beginning with a digit",
                Code.SECRET_CONSTRAINT,
            )
        if key.upper() in _RESERVED or key.upper().startswith(_RESERVED_PREFIXES):
            raise BadRequest(f"secret_key {key[:60]} is a variable of the platform's own", Code.SECRET_CONSTRAINT)
    if value is not None:
        try:
            size = len(value.encode("utf-8"))
        except UnicodeEncodeError:
            raise BadRequest("secret_value is not valid text", Code.SECRET_CONSTRAINT) from None
        if "\0" in value or size > _MAX_VALUE:
            raise BadRequest(
                f"secret_value has a NUL character or more than {_MAX_VALUE} bytes", Code.SECRET_CONSTRAINT
            )
    for name, text, limit in (
        ("short_name", given.short_name, _MAX_NAME),
        ("description", given.description, _MAX_DESCRIPTION),
    ):
        if text is not None and (len(text) > limit or "\0" in text):
            raise BadRequest(f"{name} has a NUL character or more than {limit} characters", Code.SECRET_CONSTRAINT)


def _document(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "short_name": row.short_name,
        "description": row.description,
        "secret_key": row.secret_key,
        "owner_type": "algorithm",
        "owner_id": row.algorithm_id,
        "provider_id": PROVIDER_ID,
        "created": iso_time(row.created_at),
        "modified": iso_time(row.modified_at),
    }


def _no_secret(viewed: Viewed, secret_id: str) -> NotFound:
    return NotFound(f"{viewed.reference} has no secret {secret_id[:60]!r}", Code.SECRET_NOT_FOUND)
