"""The one place that opens database connections and transactions, and that brings a database up to date.

Reads run side by side; writes are short and, on SQLite, one at a time, so that none of them ever meets a busy
database half-way.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from ..errors import Unavailable
from .migrations import HEAD, REVISIONS
from .schema import metadata

# Alembic's own table, declared here so that a fresh database can be stamped without importing alembic (0.3 s).
_alembic_version = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

_MIGRATIONS = Path(__file__).parent / "migrations"
_READERS = 16


class UnknownSchema(Exception):
    """The database isn't one that this version can use; the message says what to do about it."""


class Database:
    """Connections to one database.

    url  a SQLAlchemy URL: a SQLite file or PostgreSQL

    Nothing is opened before first use. All methods may be called from any thread.
    """

    def __init__(self, url: str | sa.URL) -> None:
        self.url = sa.make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite and not self.url.database:
            raise ValueError("an in-memory SQLite database cannot be shared between threads; name a file")
        options: dict[str, Any] = {} if self.is_sqlite else {"pool_pre_ping": True}
        # Requests are bounded by the thread pool; a second, smaller bound here could only time out.
        self._engine = sa.create_engine(
            self.url,
            pool_size=_READERS,
            max_overflow=-1,
            hide_parameters=True,  # errors go to the log, and rows hold what callers sent
            **options,
        )
        self._writes = self._engine
        self._writer: AbstractContextManager[Any] = nullcontext()
        if self.is_sqlite:
            event.listen(self._engine, "connect", _configure_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
            self._writes = self._engine.execution_options(begin_mode="IMMEDIATE")
            self._writer = threading.Lock()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection that sees one unchanging state of the database for the length of the block."""
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction: committed when the block ends, rolled back when it raises. Keep the block short.

        Raises Unavailable when the disk is full; nothing has changed then.
        """
        try:
            with self._writer, self._writes.begin() as connection:
                yield connection
        except sa.exc.OperationalError as problem:
            if "disk is full" in str(problem.orig):  # SQLite's words; they came with a code of their own in 3.11 only
                raise Unavailable("no space left on the platform's disk; nothing was changed") from problem
            raise

    def upgrade(self) -> None:
        """Create the tables of a fresh database, or migrate an older one; nothing when it's up to date.

        Raises UnknownSchema when the database is newer than this version, or isn't one of ours.
        """
        if self.is_sqlite:
            self._create_private_file()
        revision = self._revision()
        if revision == HEAD:
            return
        if revision is None:
            with self.write() as connection:
                metadata.create_all(connection)
                _alembic_version.create(connection)
                connection.execute(_alembic_version.insert().values(version_num=HEAD))
        elif revision in REVISIONS:
            self._migrate()
        else:
            raise UnknownSchema(
                f"the database at {self._name} has schema revision {revision!r}, which this version (up to {HEAD!r}) "
                "does not know: it was made by a newer version. Run pip install --upgrade 'algorithmia[server]', or "
                "start with another --home or --database"
            )

    def close(self) -> None:
        """Close every idle connection; further use opens new ones."""
        self._engine.dispose()

    @property
    def _name(self) -> str:
        return self.url.render_as_string(hide_password=True)

    def _create_private_file(self) -> None:
        # SQLite would make the file readable to everybody; its -wal and -shm files take over this mode.
        path = Path(str(self.url.database))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def _revision(self) -> str | None:
        with self.read() as connection:
            inspector = sa.inspect(connection)
            if inspector.has_table(_alembic_version.name):
                found = connection.execute(sa.select(_alembic_version.c.version_num)).scalars().all()
                if len(found) == 1:
                    return str(found[0])
                raise UnknownSchema(
                    f"the database at {self._name} is stamped with {len(found)} revisions instead of one"
                )
            ours = set(metadata.tables).intersection(inspector.get_table_names())
        if ours:
            raise UnknownSchema(
                f"the database at {self._name} has tables named {', '.join(sorted(ours))} but no schema revision: it "
                "does not belong to this platform. Start with another --home or --database"
            )
        return None

    def _migrate(self) -> None:
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        with self._writer, self._writes.connect() as connection:
            if self.is_sqlite:
                # Altering a SQLite table rebuilds it, and dropping the old copy would cascade to the rows that refer
                # to it. The pragma is ignored inside a transaction, so it goes in before one begins.
                raw: Any = connection.connection.driver_connection
                raw.execute("PRAGMA foreign_keys=OFF")
            with connection.begin():
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                if self.is_sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                    raise UnknownSchema(
                        f"migrating the database at {self._name} would break references; it is unchanged"
                    )
            connection.invalidate()


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # SQLAlchemy emits BEGIN itself (its documented recipe), so that a write takes its lock at the start.
    connection.isolation_level = None
    cursor = connection.cursor()
    # The wait comes first: switching to WAL needs a lock too.
    for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    mode = connection.get_execution_options().get("begin_mode", "DEFERRED")
    raw: Any = connection.connection.driver_connection
    raw.execute(f"BEGIN {mode}")
