"""Which database a state directory and a store belong to: any other knows none of their files, and would remove them.

The file ``database`` in the state directory remembers where the database is and the platform's id; a store elsewhere
remembers the id. That is an old row's, so a copy of a database has it, too: hence the file says where, besides.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from .. import durable
from ..db import schema
from ..db.database import Database
from ..storage.base import BlobStore, is_blob_id
from ..storage.locations import Location, StorageProblem

# Every platform has it from its first start on, and no account is ever deleted.
_OLDEST_ACCOUNT = "demo"
_OWN = "platform.db"
_FILE = "database"


class Owner(NamedTuple):
    """A database: where it is, without credentials, and the platform's id; none before the first start has ended."""

    address: str
    id: str | None


def of_database(database: Database, state: Path) -> Owner:
    """What tells `database` from others."""
    accounts = schema.accounts
    with database.read() as connection:
        statement = sa.select(accounts.c.id).where(accounts.c.username_key == _OLDEST_ACCOUNT)
        account_id = connection.execute(statement).scalar()
    digest = account_id and hashlib.sha256(f"platform {account_id}".encode()).hexdigest()[:32]
    return Owner(address_of(database, state), digest)


def check(state: Path, database: Database, blobs: BlobStore, location: Location, is_known: bool = False) -> Owner:
    """The owner that `database` is. Raises StorageProblem when the files in `state` or in `blobs` are another's.

    is_known  also raise it when neither remembers whose they are
    """
    found = of_database(database, state)
    before = _remembered(state)
    file = state / _FILE
    if before is not None and before.address != found.address:
        raise StorageProblem(
            f"this platform's database is {before.address}, not {found.address}: {_remedy(before.address)}; or, if "
            f"it was moved there, remove the file {file}, which remembers it, and start the platform"
        )
    if before is not None and before.id != found.id:
        raise StorageProblem(
            f"the database {found.address} is not the one that the files of {state} belong to, although it is in its "
            f"place: bring that back from a backup; or, if it is to be another one from now on, remove the file {file}"
        )
    holder = blobs.owner()
    if holder is not None and holder != found.id:
        raise StorageProblem(
            f"{location} holds the files of another platform than that of the database {found.address}: choose a "
            "prefix of its own with --storage, or the --database that they belong to; or, if they are to be this "
            f"platform's from now on, remove the object {location}/platform"
        )
    if found.id is None and blobs.is_remote and any(is_blob_id(entry.name) for entry in blobs.entries()):
        raise StorageProblem(
            f"{location} holds files already, of which the database {found.address}, a fresh one, knows nothing: "
            "choose a prefix of its own with --storage, or the --database that they belong to"
        )
    if is_known and before is None and holder is None:
        raise StorageProblem(
            f"nothing tells yet that the files of {state} belong to the database {found.address}: start the platform "
            "with its database once, and stop it, or choose another --database"
        )
    return found


def remember(state: Path, database: Database, blobs: BlobStore) -> None:
    """From now on the files in `state` and in `blobs` belong to `database`."""
    found = of_database(database, state)
    if found.id is None:
        raise ValueError(f"the database has no account {_OLDEST_ACCOUNT}")
    if _remembered(state) != found:
        durable.replace(state / _FILE, f"{found.address}\n{found.id}\n")
    claim(blobs, found.id)


def claim(blobs: BlobStore, owner: str) -> None:
    """From now on `blobs` belongs to `owner`."""
    if blobs.owner() != owner:
        blobs.set_owner(owner)


def address_of(database: Database, state: Path) -> str:
    """Where `database` is, as people write it, without credentials."""
    url = database.url
    if database.is_sqlite:
        path = Path(str(url.database)).resolve()
        # The platform's own moves with its directory.
        return _OWN if path == (state / _OWN).resolve() else f"sqlite:///{path}"
    # The rest of it are credentials, the driver and its options.
    query = {name: url.query[name] for name in ("host", "port") if name in url.query}
    return sa.URL.create(
        url.get_backend_name(), host=url.host, port=url.port, database=url.database, query=query
    ).render_as_string()


def _remembered(state: Path) -> Owner | None:
    try:
        address, _, owner = (state / _FILE).read_text().strip().partition("\n")
    except FileNotFoundError:
        return None
    return Owner(address, owner)


def _remedy(address: str) -> str:
    if address == _OWN:
        return "leave out --database (and ALGORITHMIA_DATABASE)"
    return f"give --database {address}, with its credentials if any"
