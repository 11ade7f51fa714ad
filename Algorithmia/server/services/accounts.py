"""Accounts and their API keys. A key's text exists only in the answer that creates it; the database keeps its hash."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from ..db import schema
from ..db.database import Database
from ..db.values import new_id, now_ms
from ..errors import ApiProblem, BadRequest, Code, Conflict, NotAuthorized, NotFound
from ..identity import ADMIN_KEY, STANDARD_KEY, Account, Identity, KeyPermissions

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")
_MAX_NAME = 30
# data://.algo/temp/... and .algo/perm/... would be ambiguous; the other two look like .my and .session.
RESERVED_NAMES = frozenset({"temp", "perm", "my", "session"})

KEY_LENGTH = 28
_KEY_PREFIX = "sim"
_KEY_ALPHABET = string.ascii_letters + string.digits
_KEY_TYPES = frozenset({STANDARD_KEY, ADMIN_KEY})


def new_key() -> str:
    """A fresh key: ``sim`` and 25 random letters and digits (148 bits)."""
    return _KEY_PREFIX + "".join(secrets.choice(_KEY_ALPHABET) for _ in range(KEY_LENGTH - len(_KEY_PREFIX)))


def key_digest(key: str) -> str:
    """The SHA-256 of `key` as hexadecimal text: what is stored, and what identities are cached by."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Profile:
    """An account with what is known about its person. `created_at` is milliseconds since the epoch."""

    account: Account
    email: str
    fullname: str
    company_name: str
    company_role: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as it is shown: its mask, never its text. `created_at` is milliseconds since the epoch."""

    id: str
    label: str
    mask: str
    key_type: str
    permissions: KeyPermissions
    created_at: int


class Accounts:
    """Who there is, and which keys act for them. Every method blocks on the database.

    on_key_change  called after every change that may alter what a key means
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.on_key_change: list[Callable[[], None]] = []

    def create(
        self,
        username: str,
        email: str = "",
        fullname: str = "",
        company_name: str = "",
        company_role: str = "",
    ) -> Profile:
        """Make an account.

        Raises BadRequest for a name that breaks the rule, Conflict when the name (in any case) or the e-mail address
        belongs to another account.
        """
        self.check_name(username)
        table = schema.accounts
        profile = Profile(Account(new_id(), username), email, fullname, company_name, company_role, now_ms())
        with self.database.write() as connection:
            taken = connection.execute(
                sa.select(table.c.username).where(table.c.username_key == username.lower())
            ).scalar()
            if taken is not None:
                raise Conflict(f"username {username} has been taken (by {taken})", Code.USERNAME_TAKEN)
            self._check_email(connection, email, profile.account.id)
            connection.execute(
                table.insert().values(
                    id=profile.account.id,
                    username=username,
                    username_key=username.lower(),
                    email=email,
                    fullname=fullname,
                    company_name=company_name,
                    company_role=company_role,
                    created_at=profile.created_at,
                )
            )
        return profile

    @staticmethod
    def check_name(username: str) -> None:
        """Raises BadRequest when no account may be called `username`."""
        if len(username) > _MAX_NAME or not _NAME.fullmatch(username):
            raise BadRequest(
                f"username {username[:60]!r} is not valid: at most {_MAX_NAME} letters, digits and underscores, "
                "beginning with a letter",
                Code.MALFORMED_USER,
            )
        if username.lower() in RESERVED_NAMES:
            raise BadRequest(f"username {username} is reserved; choose another", Code.MALFORMED_USER)

    def ensure_account(self, username: str) -> Account:
        """The account called `username` (in any case), made if there's none yet. Raises BadRequest for a bad name."""
        found = self._find(username)
        return found.account if found else self.create(username).account

    def get(self, name_or_id: str) -> Profile:
        """The account of that name (in any case) or id. Raises NotFound."""
        found = self._find(name_or_id)
        if found is None:
            raise NotFound(f"user {name_or_id[:60]} not found", Code.USER_NOT_FOUND)
        return found

    def update(self, account: Account, changes: Mapping[str, str | int | None]) -> Profile:
        """Change columns of the account. Raises Conflict when an e-mail address belongs to another one."""
        table = schema.accounts
        with self.database.write() as connection:
            self._check_email(connection, str(changes.get("email", "")), account.id)
            if changes:
                connection.execute(table.update().where(table.c.id == account.id).values(**changes))
        return self.get(account.id)

    def list_accounts(self, after: str = "", limit: int = 50) -> list[Profile]:
        """Up to `limit` accounts in the order of their lower-case names, beginning behind the name `after`."""
        key = schema.accounts.c.username_key
        statement = sa.select(schema.accounts).where(key > after.lower()).order_by(key).limit(limit)
        with self.database.read() as connection:
            return [_profile(row) for row in connection.execute(statement)]

    def create_key(
        self,
        account: Account,
        label: str,
        permissions: KeyPermissions | None = None,
        key_type: str = STANDARD_KEY,
    ) -> str:
        """Make a key for `account` and return its text, which can't be had again. The default permits nothing."""
        return self.issue_key(account, label, permissions, key_type)[0]

    def issue_key(
        self,
        account: Account,
        label: str,
        permissions: KeyPermissions | None = None,
        key_type: str = STANDARD_KEY,
    ) -> tuple[str, Key]:
        """As `create_key`, with the record of the key as well."""
        if key_type not in _KEY_TYPES:
            raise ApiProblem(f"no such key type: {key_type[:60]}; there are {', '.join(sorted(_KEY_TYPES))}")
        text = new_key()
        key = Key(new_id(), label, f"{text[:5]}...{text[-4:]}", key_type, permissions or KeyPermissions(), now_ms())
        with self.database.write() as connection:
            connection.execute(
                schema.api_keys.insert().values(
                    id=key.id,
                    account_id=account.id,
                    label=label,
                    key_hash=key_digest(text),
                    mask=key.mask,
                    key_type=key_type,
                    permissions=msgspec.json.encode(key.permissions).decode(),
                    created_at=key.created_at,
                )
            )
        self._keys_changed()
        return text, key

    def list_keys(self, account: Account) -> list[Key]:
        """The keys of `account`, oldest first."""
        table = schema.api_keys
        statement = sa.select(table).where(table.c.account_id == account.id).order_by(table.c.created_at, table.c.id)
        with self.database.read() as connection:
            return [_key(row) for row in connection.execute(statement)]

    def delete_key(self, account: Account, key_id: str, only_type: str | None = None) -> None:
        """Remove a key of `account` (with `only_type`, one of that type); it stops working at once.

        Raises NotFound, NotAuthorized for a key of another type.
        """
        table = schema.api_keys
        statement = table.delete().where(table.c.account_id == account.id, table.c.id == key_id)
        if only_type is not None:
            statement = statement.where(table.c.key_type == only_type)
        with self.database.write() as connection:
            deleted = connection.execute(statement).rowcount
        if not deleted and any(key.id == key_id for key in self.list_keys(account)):
            raise NotAuthorized("only an administrator's key can remove an administrator's key")
        if not deleted:
            raise NotFound(f"user {account.username} has no key {key_id[:60]}")
        self._keys_changed()

    def find_identity(self, key: str) -> Identity | None:
        """Whom `key` acts for, or None when there's no such key."""
        digest = key_digest(key)
        with self.database.read() as connection:
            row = connection.execute(_IDENTITY, {"digest": digest}).first()
        if row is None or not hmac.compare_digest(row.key_hash, digest):
            return None
        return Identity(
            account=Account(row.account_id, row.username),
            key_type=row.key_type,
            key_id=row.id,
            permissions=_permissions(row.permissions),
        )

    @staticmethod
    def _check_email(connection: sa.Connection, email: str, account_id: str) -> None:
        table = schema.accounts
        same = sa.select(table.c.id).where(sa.func.lower(table.c.email) == email.lower(), table.c.id != account_id)
        if email and connection.execute(same.limit(1)).first():
            raise Conflict(f"email address {email} has been taken", Code.EMAIL_TAKEN)

    def _find(self, name_or_id: str) -> Profile | None:
        table = schema.accounts
        # An id has dashes, which no name has.
        same = table.c.id == name_or_id if "-" in name_or_id else table.c.username_key == name_or_id.lower()
        with self.database.read() as connection:
            row = connection.execute(sa.select(table).where(same)).first()
        return _profile(row) if row else None

    def _keys_changed(self) -> None:
        for callback in self.on_key_change:
            callback()


_IDENTITY = (
    sa.select(schema.api_keys, schema.accounts.c.username)
    .join(schema.accounts, schema.accounts.c.id == schema.api_keys.c.account_id)
    .where(schema.api_keys.c.key_hash == sa.bindparam("digest"))
)


def _profile(row: sa.Row[tuple[object, ...]]) -> Profile:
    return Profile(
        Account(row.id, row.username), row.email, row.fullname, row.company_name, row.company_role, row.created_at
    )


def _key(row: sa.Row[tuple[object, ...]]) -> Key:
    return Key(row.id, row.label, row.mask, row.key_type, _permissions(row.permissions), row.created_at)


def _permissions(text: str) -> KeyPermissions:
    return msgspec.json.decode(text, type=KeyPermissions)
