"""Connectors of accounts: which storage of theirs the data API reaches, with which credentials and restrictions."""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..connectors import PROTOCOLS, Driver, check_protocol, open_driver
from ..connectors.base import Account as ProviderAccount
from ..connectors.credentials import checked
from ..connectors.endpoints import Guard
from ..connectors.globs import Glob
from ..db import schema
from ..db.database import Database
from ..db.values import iso_time, new_id, now_ms
from ..errors import BadRequest, Conflict, NotFound, Unavailable
from ..identity import Account
from .cipher import Cipher, WrongKey

_LABEL = re.compile(r"[A-Za-z0-9_]{1,64}")
_MAX_PATH, _MAX_CONNECTORS, _MAX_DRIVERS = 1024, 100, 64
_DEFAULT_LABEL = "default"

_table = schema.connectors


@dataclass(frozen=True, slots=True)
class Given:
    """What a request says of a connector; None: not given. Its credentials never appear in messages."""

    protocol: str | None = None
    label: str | None = None
    is_default: bool | None = None
    cred_type: str | None = None
    cred_data: Mapping[str, Any] | None = None
    path: str | None = None
    writeable: bool | None = None
    endpoint: str | None = None

    def __repr__(self) -> str:
        return f"Given({self.protocol!r}, {self.label!r})"


@dataclass(frozen=True, slots=True)
class Connected:
    """A connector ready for use.

    name       ``PROTOCOL+LABEL``
    glob       what may be reached
    """

    name: str
    driver: Driver
    glob: Glob
    writeable: bool


class Connectors:
    """The connectors of all accounts. Every method blocks.

    allowed_hosts  the setting ``connector_hosts``
    """

    def __init__(self, database: Database, cipher: Cipher, allowed_hosts: str) -> None:
        self._database = database
        self._cipher = cipher
        self._guard = Guard(allowed_hosts)
        # Making a client of a provider takes longer than most requests to it.
        self._drivers: OrderedDict[tuple[str, int], Driver] = OrderedDict()
        self._lock = threading.Lock()

    def list(self, account: Account) -> list[dict[str, Any]]:
        """The connectors of `account`, by protocol and label."""
        statement = sa.select(_table).where(_table.c.account_id == account.id)
        with self._database.read() as connection:
            rows = connection.execute(statement.order_by(_table.c.protocol, _table.c.label)).all()
        return [_document(account, row) for row in rows]

    def get(self, account: Account, name: str) -> dict[str, Any]:
        """The connector `name`: PROTOCOL+LABEL, or PROTOCOL for the default one. Raises NotFound."""
        return _document(account, self._row(account, name))

    def create(self, account: Account, given: Given) -> dict[str, Any]:
        """Add a connector. Raises BadRequest, Conflict when there is one of that protocol and label."""
        protocol = (given.protocol or "").lower()
        check_protocol(protocol)
        label = given.label if given.label is not None else _DEFAULT_LABEL
        if not _LABEL.fullmatch(label):
            raise BadRequest(f"label {label[:80]!r} is not valid: use up to 64 letters, digits and underscores")
        if given.cred_data is None:
            raise BadRequest(f"cred_data is missing: {', '.join(PROTOCOLS[protocol].required)}")
        endpoint, credentials = self._checked(protocol, given.cred_type, given.cred_data, given.endpoint or "")
        now = now_ms()
        values = {
            "id": new_id(),
            "account_id": account.id,
            "protocol": protocol,
            "label": label,
            "is_default": bool(given.is_default),
            "path": _checked_path("*" if given.path is None else given.path),
            "writeable": bool(given.writeable),
            "endpoint": endpoint,
            "encrypted_credentials": self._cipher.encrypt(json.dumps(credentials)),
            "created_at": now,
            "modified_at": now,
        }
        try:
            with self._database.write() as connection:
                count = connection.execute(
                    sa.select(sa.func.count()).select_from(_table).where(_table.c.account_id == account.id)
                ).scalar_one()
                if count >= _MAX_CONNECTORS:
                    raise BadRequest(f"{account.username} has {count} connectors, the most there may be")
                if given.is_default:
                    _clear_default(connection, account, protocol)
                connection.execute(_table.insert().values(**values))
                row = connection.execute(sa.select(_table).where(_table.c.id == values["id"])).one()
        except sa.exc.IntegrityError:
            raise Conflict(
                f"{account.username} has a connector {protocol}+{label} already; edit or delete that one"
            ) from None
        return _document(account, row)

    def edit(self, account: Account, name: str, given: Given) -> dict[str, Any]:
        """Change a connector; protocol and label stay. Raises NotFound, BadRequest."""
        row = self._row(account, name)
        if given.protocol not in (None, row.protocol) or given.label not in (None, row.label):
            raise BadRequest(f"protocol and label of a connector can't change: this one is {row.protocol}+{row.label}")
        changes: dict[str, Any] = {}
        if given.path is not None:
            changes["path"] = _checked_path(given.path)
        for field in ("is_default", "writeable"):
            if getattr(given, field) is not None:
                changes[field] = getattr(given, field)
        if given.endpoint not in (None, row.endpoint) and given.cred_data is None:
            # Or a new address would be given the old credentials.
            raise BadRequest("a new endpoint needs cred_data too: the stored credentials are not sent elsewhere")
        if given.cred_data is not None:
            endpoint = row.endpoint if given.endpoint is None else given.endpoint
            cred_type = given.cred_type or PROTOCOLS[row.protocol].cred_type
            changes["endpoint"], credentials = self._checked(row.protocol, cred_type, given.cred_data, endpoint)
            changes["encrypted_credentials"] = self._cipher.encrypt(json.dumps(credentials))
        # Drivers are kept by this time: it must differ from the one before.
        changes["modified_at"] = max(now_ms(), row.modified_at + 1)
        with self._database.write() as connection:
            if given.is_default:
                _clear_default(connection, account, row.protocol)
            done = connection.execute(_table.update().where(_table.c.id == row.id).values(**changes)).rowcount
            if not done:
                raise _none(account, name)
            row = connection.execute(sa.select(_table).where(_table.c.id == row.id)).one()
        return _document(account, row)

    def delete(self, account: Account, name: str) -> None:
        """Remove a connector, and forget its credentials. Raises NotFound."""
        row = self._row(account, name)
        with self._database.write() as connection:
            connection.execute(_table.delete().where(_table.c.id == row.id))
        with self._lock:
            self._drivers.pop((row.id, row.modified_at), None)

    def test(self, account: Account, name: str) -> None:
        """Ask the provider for something that the connector may see. Raises what the data API would."""
        row = self._row(account, name)
        connected = self.open(account, f"{row.protocol}+{row.label}")
        connected.driver.page(connected.glob.directory, limit=1)

    def open(self, account: Account, name: str) -> Connected:
        """The connector `name` of `account`, for use. Raises BadRequest if there is none, Unavailable and others."""
        try:
            row = self._row(account, name)
        except NotFound as problem:
            # Not "not found": that would say that the file isn't there.
            raise BadRequest(problem.message) from None
        full_name = f"{row.protocol}+{row.label}"
        key = (row.id, row.modified_at)
        with self._lock:
            driver = self._drivers.get(key)
            if driver is not None:
                self._drivers.move_to_end(key)
        if driver is None:
            try:
                credentials = json.loads(self._cipher.decrypt(row.encrypted_credentials))
            except WrongKey:
                raise Unavailable(
                    f"the credentials of {full_name} were stored with another {self._cipher.key_file.name} than the "
                    "platform has now: restore that file, or store them again"
                ) from None
            driver = open_driver(row.protocol, ProviderAccount(full_name, credentials, row.endpoint, self._guard))
            with self._lock:
                self._drivers[key] = driver
                while len(self._drivers) > _MAX_DRIVERS:
                    self._drivers.popitem(last=False)
        return Connected(full_name, driver, Glob(row.path), row.writeable)

    # -- below -----------------------------------------------------------------------------------------------------

    def _row(self, account: Account, name: str) -> Any:
        protocol, plus, label = name.partition("+")
        statement = sa.select(_table).where(_table.c.account_id == account.id, _table.c.protocol == protocol.lower())
        statement = statement.where(_table.c.label == label if plus else _table.c.is_default)
        with self._database.read() as connection:
            row = connection.execute(statement).first()
        if row is None:
            raise _none(account, name)
        return row

    def _checked(
        self, protocol: str, cred_type: str | None, cred_data: Mapping[str, Any], endpoint: str
    ) -> tuple[str, dict[str, str]]:
        credentials = checked(protocol, cred_type or "", cred_data)
        if "storage_uri" in credentials:
            if endpoint not in ("", credentials["storage_uri"]):
                raise BadRequest(f"{protocol} has no endpoint but the storage_uri in cred_data")
            endpoint = credentials["storage_uri"]
        endpoint = self._guard.check_url(endpoint) if endpoint else ""
        # Its constructor refuses what can't work, such as a key that is none.
        open_driver(protocol, ProviderAccount(protocol, credentials, endpoint, self._guard))
        return endpoint, credentials


def _clear_default(connection: sa.Connection, account: Account, protocol: str) -> None:
    connection.execute(
        _table.update()
        .where(_table.c.account_id == account.id, _table.c.protocol == protocol)
        .values(is_default=False)
    )


def _checked_path(path: str) -> str:
    path = path.removeprefix("/")
    if not path or len(path) > _MAX_PATH or not path.isprintable():
        raise BadRequest(f"path {path[:80]!r} is not a glob such as bucket/folder/* (at most {_MAX_PATH} characters)")
    return path


def _none(account: Account, name: str) -> NotFound:
    kind = "" if "+" in name else "default "
    return NotFound(
        f"no data connector {name[:100]} is configured on this platform: {account.username} has no {kind}connector of "
        "that name; see algo connectors ls"
    )


def _document(account: Account, row: Any) -> dict[str, Any]:
    return {
        "connector_id": f"{row.protocol}+{row.label}",
        "username": account.username,
        "label": row.label,
        "protocol": row.protocol,
        "is_default": row.is_default,
        "permissions": ["read", "write"] if row.writeable else ["read"],
        "cred_type": PROTOCOLS[row.protocol].cred_type,
        "path": row.path,
        "writeable": row.writeable,
        "endpoint": row.endpoint,
        "created": iso_time(row.created_at),
        "modified": iso_time(row.modified_at),
        "resource_type": "connector",
    }
