"""The database: transactions, start-up, and migrations that agree with the schema."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory

from Algorithmia.server.db import database as database_module
from Algorithmia.server.db import migrations, schema
from Algorithmia.server.db.database import Database, UnknownSchema
from Algorithmia.server.db.migrations import HEAD


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(f"sqlite:///{tmp_path / 'platform.db'}")
    yield found
    found.close()


def migrate_from_nothing(database: Database) -> None:
    """Run every revision in order, as a database of the first version would have gone through them."""
    with database.write() as connection:
        context = MigrationContext.configure(connection)
        with Operations.context(context):
            for script in reversed(list(scripts().walk_revisions())):
                script.module.upgrade()


def add_account(connection: sa.Connection, name: str) -> None:
    connection.execute(schema.accounts.insert().values(id=name, username=name, username_key=name, created_at=0))


def test_revisions_listed_without_alembic_are_those_that_alembic_finds() -> None:
    found = [script.revision for script in scripts().walk_revisions()]
    assert tuple(reversed(found)) == migrations.REVISIONS
    assert scripts().get_heads() == [migrations.HEAD]


def columns_and_indexes(database: Database) -> object:
    """What SQLite itself says about each table, defaults included (alembic misreads empty ones)."""

    def about(table: str) -> object:
        columns = connection.exec_driver_sql(f"PRAGMA table_info({table})").all()
        # All but the number of each, which says in which order they were made: a table has its indexes in a set.
        indexes = connection.exec_driver_sql(f"PRAGMA index_list({table})").all()
        return columns, sorted(tuple(index)[1:] for index in indexes)

    with database.read() as connection:
        return [about(table) for table in sorted(schema.metadata.tables)]


def test_migrations_lead_to_the_schema(database: Database, tmp_path: Path) -> None:
    migrate_from_nothing(database)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    fresh = Database(f"sqlite:///{tmp_path / 'fresh.db'}")
    fresh.upgrade()
    assert columns_and_indexes(fresh) == columns_and_indexes(database)
    fresh.close()


def test_fresh_database_is_stamped_and_matches(database: Database) -> None:
    database.upgrade()
    database.upgrade()
    with database.read() as connection:
        context = MigrationContext.configure(connection)
        assert context.get_current_revision() == migrations.HEAD
        assert compare_metadata(context, schema.metadata) == []


def add_revision(monkeypatch: pytest.MonkeyPatch, folder: Path, upgrade: str) -> None:
    """Make `folder` the migrations: those there are, and one more."""
    shutil.copytree(Path(migrations.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "next.py").write_text(
        f"import sqlalchemy as sa\nfrom alembic import op\nrevision, down_revision = 'next', {HEAD!r}\n{upgrade}"
    )
    monkeypatch.setattr(database_module, "_MIGRATIONS", folder)
    monkeypatch.setattr(database_module, "REVISIONS", (*migrations.REVISIONS, "next"))
    monkeypatch.setattr(database_module, "HEAD", "next")


def test_older_database_is_upgraded(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A database of today's revision with rows in it meets a later one that rebuilds a table they refer to."""
    database.upgrade()
    with database.write() as connection:
        add_account(connection, "ada")
        connection.execute(
            schema.collections.insert().values(
                id="c", space="hosted", account_id="ada", name="c", acl_read="", created_at=0
            )
        )
    future = tmp_path / "migrations %"
    add_revision(
        monkeypatch,
        future,
        "def upgrade():\n    with op.batch_alter_table('accounts', recreate='always') as table:\n"
        "        table.add_column(sa.Column('extra', sa.Text, nullable=False, server_default='x'))\n"
    )
    database.upgrade()
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT extra FROM accounts").scalar() == "x"
        assert connection.exec_driver_sql("SELECT count(*) FROM collections").scalar() == 1
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "next"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_failed_migration_changes_nothing(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    database.upgrade()
    future = tmp_path / "migrations"
    add_revision(
        monkeypatch,
        future,
        "def upgrade():\n    op.drop_table('garbage')\n    raise RuntimeError('half-way')\n"
    )
    with pytest.raises(RuntimeError, match="half-way"):
        database.upgrade()
    with database.read() as connection:
        assert sa.inspect(connection).has_table("garbage")
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == HEAD


def test_newer_database_is_refused_with_the_fix(database: Database) -> None:
    database.upgrade()
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UnknownSchema, match=r"'9999'.*newer version.*pip install --upgrade"):
        database.upgrade()


def test_foreign_database_is_refused(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE files (a)")
    with pytest.raises(UnknownSchema, match="files.*does not belong"):
        database.upgrade()


def test_write_rolls_back_on_errors(database: Database) -> None:
    database.upgrade()
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        add_account(connection, "ada")
        raise ZeroDivisionError
    with database.read() as connection:
        assert connection.execute(sa.select(schema.accounts)).all() == []


def test_durability_settings(database: Database) -> None:
    database.upgrade()
    with database.read() as connection:
        found = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert found == ["wal", 2, 1, 30000]


def test_reader_sees_one_state_beside_a_writer(database: Database) -> None:
    database.upgrade()
    count = sa.select(sa.func.count()).select_from(schema.accounts)
    with database.read() as reader:
        assert reader.execute(count).scalar() == 0
        with database.write() as writer:
            add_account(writer, "ada")
        assert reader.execute(count).scalar() == 0
    with database.read() as reader:
        assert reader.execute(count).scalar() == 1


def test_concurrent_writers_lose_nothing(database: Database) -> None:
    database.upgrade()
    with database.write() as connection:
        add_account(connection, "counter")
    failures: list[BaseException] = []

    def count_up() -> None:
        try:
            for _ in range(20):
                with database.write() as connection:
                    value = connection.execute(sa.select(schema.accounts.c.created_at)).scalar_one()
                    connection.execute(schema.accounts.update().values(created_at=value + 1))
        except BaseException as problem:
            failures.append(problem)

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with database.read() as connection:
        assert connection.execute(sa.select(schema.accounts.c.created_at)).scalar() == 80


def test_files_are_private(database: Database) -> None:
    database.upgrade()
    path = Path(str(database.url.database))
    with database.write() as connection:
        add_account(connection, "ada")
        assert {os.stat(name).st_mode & 0o777 for name in path.parent.glob("platform.db*")} == {0o600}


def test_start_needs_neither_alembic_nor_the_orm(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom Algorithmia.server.db.database import Database\n"
        f"for _ in range(2):\n    d = Database('sqlite:///{tmp_path}/p.db'); d.upgrade(); d.close()\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('alembic', 'mako') or m.startswith('sqlalchemy.orm')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
