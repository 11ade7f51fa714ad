"""`algo local fsck`: a store that was damaged by hand, and what is found and repaired of it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from platforms import ROOT, Server, clean_environment

from Algorithmia.server import maintenance
from Algorithmia.server.db.database import Database
from Algorithmia.server.services import storage_check
from Algorithmia.server.services.storage_check import StorageCheck
from Algorithmia.server.storage.local import LocalBlobStore

CONTENTS = {"a": b"first file", "b": b"second file", "large": os.urandom(400_000)}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: Any) -> Path:
    """The home of a platform with files, which has been stopped."""
    home = tmp_path_factory.mktemp("template")
    platform = Server(home)
    client = platform.client()
    client.dir("data://.my/kept").create()
    for name, content in CONTENTS.items():
        client.file(f"data://.my/kept/{name}").put(content)
    assert platform.stop() == 0
    return home


class Store:
    """A stopped platform to be damaged."""

    def __init__(self, home: Path, output: Any) -> None:
        self.home = home
        self._output = output
        self.blobs = home / "platform" / "blobs"

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.home / "platform" / "platform.db")) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def blob_id(self, name: str) -> str:
        return str(self.sql("SELECT blob_id FROM files WHERE name = ?", name)[0][0])

    def path(self, name: str) -> Path:
        blob_id = self.blob_id(name)
        return self.blobs / blob_id[:2] / blob_id

    def put(self, path: str, content: bytes = b"x", seconds_ago: int = 0) -> Path:
        (self.blobs / path).parent.mkdir(exist_ok=True)
        (self.blobs / path).write_bytes(content)
        then = time.time() - seconds_ago
        os.utime(self.blobs / path, (then, then))
        return self.blobs / path

    def fsck(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        status = maintenance.main(["fsck", "--home", str(self.home), "--json", *arguments])
        printed = self._output.readouterr()
        assert printed.err == ""
        return status, json.loads(printed.out)

    def found(self, *arguments: str) -> list[tuple[str, str]]:
        status, report = self.fsck(*arguments)
        assert status == 1 and report["ok"] is False
        return [(finding["kind"], finding["subject"]) for finding in report["findings"]]

    def is_well(self) -> bool:
        status, report = self.fsck("--checksum")
        return status == 0 and bool(report["ok"]) and report["findings"] == []


@pytest.fixture
def store(stopped: Path, tmp_path: Path, capsys: Any) -> Store:
    shutil.copytree(stopped, tmp_path / "home")
    return Store(tmp_path / "home", capsys)


def run(*arguments: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "Algorithmia", "local", *arguments],
        env={**clean_environment(home), "PYTHONPATH": ROOT, **variables},
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_sound_store(store: Store) -> None:
    status, report = store.fsck("--checksum")
    assert (status, report["findings"], report["files"]) == (0, [], 3)
    assert report["bytes"] == sum(map(len, CONTENTS.values()))
    done = run("fsck", "--home", str(store.home), home=store.home)
    assert (done.returncode, done.stdout) == (0, "")
    assert "3 files (400021 bytes) in local looked at; all is well" in done.stderr


def test_missing_content(store: Store) -> None:
    store.path("a").unlink()
    assert store.found() == [("missing", "data://tester/kept/a")]
    # Nothing that is repaired brings it back, and nothing that is repaired hides that it's gone.
    assert store.found("--repair") == [("missing", "data://tester/kept/a")]
    assert store.sql("SELECT name FROM files ORDER BY name") == [("a",), ("b",), ("large",)]


def test_truncated_content(store: Store) -> None:
    os.truncate(store.path("large"), 399_999)
    assert store.found("--repair") == [("size", "data://tester/kept/large")]
    assert store.path("large").stat().st_size == 399_999


def test_flipped_bit(store: Store) -> None:
    content = bytearray(store.path("large").read_bytes())
    content[200_000] ^= 1
    store.path("large").write_bytes(content)
    assert store.fsck()[0] == 0
    assert store.found("--checksum", "--repair") == [("content", "data://tester/kept/large")]
    assert store.path("large").read_bytes() == content


def test_files_from_before_there_was_sha_256_are_compared_too(store: Store) -> None:
    store.sql("UPDATE files SET sha256 = NULL")
    assert store.is_well()
    store.path("b").write_bytes(b"second life")
    assert store.found("--checksum") == [("content", "data://tester/kept/b")]


def test_several_things_at_once_for_a_person(store: Store) -> None:
    store.path("a").unlink()
    blob_id = "0" * 32
    store.put(f"00/{blob_id}")
    done = run("fsck", "--home", str(store.home), home=store.home)
    assert done.returncode == 1
    assert "missing       data://tester/kept/a: its content is gone; bring it back" in done.stdout
    assert f"unreferenced  {blob_id}: 1 bytes that no file refers to" in done.stdout
    assert "; 2 findings" in done.stderr


def test_content_that_no_file_refers_to(store: Store) -> None:
    blob_id = "f" * 32
    stray = store.put(f"ff/{blob_id}", b"lost", seconds_ago=3700)
    assert store.found() == [("unreferenced", blob_id)]
    assert stray.exists()
    status, report = store.fsck("--repair")
    assert (status, report["findings"][0]["repaired"]) == (0, True)
    assert f"; moved to lost+found/{blob_id}" in report["findings"][0]["said"]
    assert not stray.exists() and store.is_well()
    assert (store.blobs / "lost+found" / blob_id).read_bytes() == b"lost"


@pytest.mark.parametrize("seconds_ago", [3500, -100])
def test_content_that_no_file_refers_to_yet(store: Store, seconds_ago: int) -> None:
    blob_id = "f" * 32
    stray = store.put(f"ff/{blob_id}", seconds_ago=seconds_ago)
    assert store.found("--repair") == [("unreferenced", blob_id)]
    assert stray.exists()


def test_content_newer_than_a_database_from_a_backup(store: Store) -> None:
    kept = store.path("a")
    day_ago = time.time() - 86400
    os.utime(kept, (day_ago, day_ago))
    store.sql("DELETE FROM files WHERE name = 'a'")
    store.sql("UPDATE files SET modified_at = ?", int(day_ago * 1000) - 1000)
    status, report = store.fsck("--repair")
    assert status == 1 and kept.exists()
    assert "newer than every file that the database knows" in report["findings"][0]["said"]


def test_content_whose_row_came_meanwhile(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the object of an upload in parts looks: older than an hour when it appears, and then comes the row."""
    database = Database(f"sqlite:///{shutil.copytree(stopped, tmp_path / 'home')}/platform/platform.db")
    blobs = LocalBlobStore(tmp_path / "home" / "platform" / "blobs")
    [blob_id] = blobs.create_many([b"of parts"])
    blobs.publish(blob_id)
    day_ago = time.time() - 86400
    os.utime(blobs.root / blob_id[:2] / blob_id, (day_ago, day_ago))
    answers = {blob_id: [None, "data://tester/kept/parts"]}
    uri_of = storage_check.stored_files.uri_of
    monkeypatch.setattr(
        storage_check.stored_files,
        "uri_of",
        lambda database, blob: answers[blob].pop(0) if blob in answers else uri_of(database, blob),
    )
    try:
        assert list(StorageCheck(database, blobs, repairs=True, shared=True).findings()) == []
    finally:
        database.close()
    assert answers == {blob_id: []} and (blobs.root / blob_id[:2] / blob_id).exists()


def test_nothing_is_removed_for_a_database_that_knows_no_file(store: Store) -> None:
    kept = store.path("a")
    store.sql("DELETE FROM files")
    status, report = store.fsck("--repair")
    assert status == 1 and kept.exists()
    assert {finding["kind"] for finding in report["findings"]} == {"unreferenced", "count"}
    assert "it may be the wrong one" in report["findings"][0]["said"]


def test_what_is_no_blob(store: Store) -> None:
    stray = store.put("ab/notes.txt")
    assert store.found("--repair") == [("stray", "ab/notes.txt")]
    assert stray.exists()


def test_leftovers_that_a_start_removes(store: Store) -> None:
    waiting, staged = "e" * 32, "d" * 32
    garbage = store.put(f"ee/{waiting}")
    store.sql("INSERT INTO garbage VALUES (?)", waiting)
    store.put(f"staging/{staged}")
    status, report = store.fsck()
    assert (status, report["leftovers"]) == (0, 2)
    assert garbage.exists()
    status, report = store.fsck("--repair")
    assert (status, report["leftovers"]) == (0, 0)
    assert not garbage.exists() and not (store.blobs / "staging" / staged).exists()


def test_content_that_is_committed_and_not_yet_published(store: Store) -> None:
    store.path("a").rename(store.blobs / "staging" / store.blob_id("a"))
    assert store.is_well()
    os.truncate(store.blobs / "staging" / store.blob_id("a"), 1)
    assert store.found() == [("size", "data://tester/kept/a")]


def test_listed_for_removal_although_the_file_is_there(store: Store) -> None:
    store.sql("INSERT INTO garbage VALUES (?)", store.blob_id("a"))
    assert store.found() == [("garbage", "data://tester/kept/a")]
    assert store.fsck("--repair")[0] == 0
    assert store.path("a").read_bytes() == CONTENTS["a"] and store.is_well()


def test_start_removes_no_content_that_a_file_needs(store: Store) -> None:
    store.sql("INSERT INTO garbage VALUES (?)", store.blob_id("a"))
    platform = Server(store.home)
    try:
        assert platform.client().file("data://.my/kept/a").getBytes() == CONTENTS["a"]
    finally:
        platform.stop()


def test_bytes_of_an_account(store: Store) -> None:
    store.sql("UPDATE accounts SET used_bytes = used_bytes + 5 WHERE username = 'tester'")
    assert store.found() == [("count", "tester")]
    assert store.fsck("--repair")[0] == 0
    assert store.is_well()


def test_upload_of_which_nothing_is_left(store: Store) -> None:
    account = store.sql("SELECT id FROM accounts WHERE username = 'tester'")[0][0]
    store.sql(
        "INSERT INTO uploads (id, account_id, target, conditions, blob_id, created_at, touched_at) "
        "VALUES ('u', ?, 'data://.my/kept/new', '{}', ?, 0, 0)",
        account,
        "c" * 32,
    )
    assert store.found() == [("upload", "data://.my/kept/new")]
    store.put("staging/" + "c" * 32)
    assert store.is_well()
    (store.blobs / "staging" / ("c" * 32)).unlink()
    # Where servers share a database, it may be on another one's disk.
    shared = ("--database", f"sqlite:///{store.home}/platform/platform.db")
    assert store.fsck("--repair", *shared)[0] == 0
    assert store.sql("SELECT id FROM uploads") == [("u",)]
    assert store.fsck("--repair")[0] == 0
    assert store.sql("SELECT id FROM uploads") == []


def test_running_platform_is_told_apart(start_server: Any) -> None:
    platform = start_server()
    done = run("fsck", "--home", platform.home, home=Path(platform.home))
    assert done.returncode == 1
    assert f"algo local fsck: a platform already runs at {platform.address}" in done.stderr
    assert "algo local stop" in done.stderr


def test_no_platform(tmp_path: Path) -> None:
    done = run("fsck", home=tmp_path)
    assert done.returncode == 1
    assert f"there is no platform in {tmp_path}/.algorithmia; choose its --home" in done.stderr
