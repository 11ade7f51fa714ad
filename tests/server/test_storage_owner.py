"""Contents are safe from a database that knows nothing of them: an old one, an empty one, another platform's."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import storage_providers
from blob_stores import environment
from platforms import ROOT, Server, clean_environment

from Algorithmia.server import maintenance
from Algorithmia.server.db.database import Database
from Algorithmia.server.services import store_owner


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: Any) -> Path:
    """The home of a platform with a file, which has been stopped."""
    home = tmp_path_factory.mktemp("template")
    platform = Server(home)
    directory = platform.client().dir("data://.my/kept")
    directory.create()
    directory.file("a").put(b"first")
    assert platform.stop() == 0
    return home


@pytest.fixture
def home(stopped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped, tmp_path / "home"))


def refused(home: Path, *arguments: str, **variables: str) -> str:
    """What the platform says that doesn't start."""
    done = subprocess.run(
        [sys.executable, "-m", "Algorithmia", "serve", "--home", str(home), "--port", "0", *arguments],
        env={**clean_environment(home), **variables, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr
    return done.stderr


def run(home: Path, output: Any, *arguments: str) -> tuple[int, Any, str]:
    status = maintenance.main([arguments[0], "--home", str(home), "--json", *arguments[1:]])
    printed = output.readouterr()
    return status, json.loads(printed.out or "null"), printed.err


def copied(home: Path) -> tuple[Path, str]:
    """A second database with the same content, and its URL."""
    other = home.parent / "other.db"
    before = sqlite3.connect(home / "platform" / "platform.db")
    with closing(before), closing(sqlite3.connect(other)) as after:
        before.backup(after)
    return other, f"sqlite:///{other}"


def blobs(home: Path) -> list[Path]:
    return sorted(path for path in (home / "platform" / "blobs").rglob("*") if path.is_file())


def age(home: Path) -> None:
    for path in blobs(home):
        os.utime(path, (time.time() - 86400, time.time() - 86400))


def test_database_that_was_moved_and_the_old_one_still_there(home: Path, capsys: Any) -> None:
    other, url = copied(home)
    said = refused(home, "--database", url)
    assert f"this platform's database is platform.db, not {url}: leave out --database" in said
    assert f"or, if it was moved there, remove the file {home}/platform/database" in said

    (home / "platform" / "database").unlink()
    platform = Server(home, "--port", "0", "--database", url)
    platform.client().file("data://.my/kept/b").put(b"second")
    assert platform.stop() == 0
    (home / "platform" / "blobs" / "staging" / ("d" * 32)).touch()
    age(home)
    before = blobs(home)
    for command in (["fsck"], ["fsck", "--repair"]):
        status, report, said = run(home, capsys, *command)
        assert (status, report) == (2, None)
        assert f"this platform's database is {url}, not platform.db: give --database {url}" in said
    assert f"give --database {url}" in refused(home)
    assert blobs(home) == before
    status, report, _ = run(home, capsys, "fsck", "--repair", "--database", url)
    assert (status, report["files"], report["findings"]) == (0, 2, [])


def test_fresh_database_in_the_place_of_the_old_one(home: Path, capsys: Any) -> None:
    (home / "platform" / "blobs" / "staging" / ("d" * 32)).touch()
    before = blobs(home)
    for path in (home / "platform").glob("platform.db*"):
        path.rename(home / path.name)
    assert "is not the one that the files of" in refused(home)
    assert "bring that back from a backup" in run(home, capsys, "fsck", "--repair")[2]
    assert blobs(home) == before
    for path in (home / "platform").glob("platform.db*"):
        path.unlink()
    for path in home.glob("platform.db*"):
        path.rename(home / "platform" / path.name)
    platform = Server(home)
    try:
        assert platform.client().file("data://.my/kept/a").getString() == "first"
    finally:
        platform.stop()


def test_nothing_is_repaired_before_it_is_known_whose_it_is(home: Path, capsys: Any) -> None:
    """As after an upgrade from a version that didn't remember."""
    (home / "platform" / "database").unlink()
    assert run(home, capsys, "fsck")[0] == 0
    status, _, said = run(home, capsys, "fsck", "--repair")
    assert status == 2 and "start the platform with its database once" in said
    assert Server(home).stop() == 0
    assert run(home, capsys, "fsck", "--repair")[0] == 0


def test_credentials_are_not_remembered(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="PostgreSQL needs psycopg")
    for url in (
        "postgresql+psycopg://someone:secret@db.example:5433/platform?password=secret&connect_timeout=3",
        "postgresql+psycopg://db.example:5433/platform",
    ):
        database = Database(url)
        assert store_owner.address_of(database, tmp_path) == "postgresql://db.example:5433/platform"
        database.close()


@pytest.fixture(scope="module")
def moto(tmp_path_factory: Any) -> Iterator[Any]:
    pytest.importorskip("obstore", reason="object stores need obstore")
    yield from storage_providers.running("s3", tmp_path_factory.mktemp("emulator"))


def test_two_platforms_and_one_place_in_a_bucket(
    moto: Any, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for name, value in environment(moto).items():
        monkeypatch.setenv(name, value)
    first, second = tmp_path / "first", tmp_path / "second"
    for path in (first, second):
        path.mkdir()
    there = ("--storage", "s3://bucket/shared")
    platform = Server(first, "--port", "0", *there, environment=environment(moto))
    platform.client().dir("data://.my/kept").create()
    platform.client().file("data://.my/kept/a").put(b"first")
    assert platform.stop() == 0
    names = moto.names("shared/")

    said = refused(second, *there, **environment(moto))
    assert "s3://bucket/shared holds the files of another platform" in said
    assert "choose a prefix of its own with --storage, or the --database" in said
    assert "remove the object s3://bucket/shared/platform" in said
    # Not by moving there, either.
    assert "holds the files of another platform" in run(home, capsys, "migrate-storage", "s3://bucket/shared")[2]
    # Nor when the platform was led there behind its back.
    (home / "platform" / "storage").write_text("s3://bucket/shared\n")
    assert "holds the files of another platform" in run(home, capsys, "fsck", "--repair")[2]
    assert moto.names("shared/") == names and "bucket/shared/platform" in names

    # As a platform leaves it that doesn't remember yet.
    moto.put("bucket/older/00/" + "0" * 32, b"content")
    said = refused(second, "--storage", "s3://bucket/older", **environment(moto))
    assert "s3://bucket/older holds files already, of which the database platform.db, a fresh one, knows" in said
    assert len(moto.names("older/")) == 1

    # A server with a state directory of its own, and the same database: one platform.
    _, url = copied(first)
    platform = Server(second, "--port", "0", *there, "--database", url, environment=environment(moto))
    try:
        client = platform.client()
        assert client.dir("data://.my/kept").exists() and client.file("data://.my/kept/a").getString() == "first"
    finally:
        platform.stop()
