"""Hosted data in PostgreSQL, where writers run side by side: several change the same file, folder or collection."""

from __future__ import annotations

import glob
import http.client
import io
import json
import os
import pwd
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from answers import Answer, exchange

from Algorithmia.server.db.database import Database
from Algorithmia.server.services.data_removal import Removal
from Algorithmia.server.services.garbage import Garbage
from Algorithmia.server.settings import Settings
from Algorithmia.server.storage.local import LocalBlobStore
from tests.platforms import Server

pytest.importorskip("psycopg")

_PROGRAMS = [*glob.glob("/usr/lib/postgresql/*/bin"), os.path.dirname(os.path.realpath(shutil.which("initdb") or "/"))]
_NUMBER = 6


class Platform:
    """A platform in a process of its own, and the database that it uses."""

    def __init__(self, server: Server, url: str) -> None:
        self.server = server
        self.engine = sa.create_engine(url)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        address = urlsplit(self.server.address)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return exchange(connection, method, path, body, {"Authorization": f"Simple {self.server.key}", **sent})

    def collection(self, name: str) -> str:
        body = json.dumps({"name": name})
        assert self.send("POST", "/v1/data/.my", body, Content_Type="application/json").status == 200
        return f"/v1/data/.my/{name}"

    def accounts_agree(self) -> int:
        """How many files there are, after comparing what is on disk and in the accounts with their rows."""
        with self.engine.connect() as connection:
            query = "SELECT count(*), coalesce(sum(size), 0), (SELECT sum(used_bytes) FROM accounts) FROM files"
            count, size, used = connection.execute(sa.text(query)).one()
            blobs = set(connection.execute(sa.text("SELECT blob_id FROM files")).scalars())
        assert used == size
        stored = [
            (os.path.basename(folder), name)
            for folder, _, names in os.walk(self.server.home)
            if "/blobs/" in folder
            for name in names
        ]
        assert not [name for folder, name in stored if folder == "staging"]
        assert {name for _, name in stored} == blobs
        return int(count)


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """A database server of this module's own, on a socket in a directory; the URL for it."""
    programs = next((path for path in _PROGRAMS if os.path.exists(f"{path}/pg_ctl")), None)
    if programs is None:
        pytest.skip("PostgreSQL isn't installed (Debian's package postgresql)")
    # Short, because it's part of the socket's address; and PostgreSQL doesn't run as root.
    directory = tempfile.mkdtemp(prefix="pg", dir="/tmp")
    options: dict[str, Any] = {"cwd": directory, "stdout": subprocess.DEVNULL, "check": True}
    if os.geteuid() == 0:
        user = pwd.getpwnam("nobody")
        os.chown(directory, user.pw_uid, user.pw_gid)
        options.update(user=user.pw_uid, group=user.pw_gid, extra_groups=[])
    control = [f"{programs}/pg_ctl", "-w", "-D", f"{directory}/data"]
    try:
        initdb = [f"{programs}/initdb", "-D", f"{directory}/data", "-U", "tests", "-A", "trust", "-N", "-E", "UTF8"]
        subprocess.run([*initdb, "--no-instructions"], **options)
        settings = f"-k {directory} -c listen_addresses='' -c fsync=off -c deadlock_timeout=100ms"
        subprocess.run([*control, "-l", f"{directory}/log", "-o", settings, "start"], **options)
        try:
            yield f"postgresql+psycopg://tests@/postgres?host={directory}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **options)
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def platform(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    server = Server(tmp_path_factory.mktemp("platform"), "--port", "0", "--database", database)
    found = Platform(server, database)
    yield found
    found.engine.dispose()
    server.stop()


def at_once(*actions: Callable[[], Answer | None]) -> Counter[int]:
    """Run `actions` side by side; how often each status came. Fails for any of 500 and more."""
    results: list[Answer | None] = []
    barrier = threading.Barrier(len(actions))

    def run(action: Callable[[], Answer | None]) -> None:
        barrier.wait(60)
        results.append(action())

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == len(actions)
    answers = [result for result in results if result is not None]
    assert not [answer for answer in answers if answer.status >= 500]
    return Counter(answer.status for answer in answers)


def archive(names: list[str], content: bytes) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as packed:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return target.getvalue()


def put(platform: Platform, path: str, size: int, **headers: str) -> Callable[[], Answer]:
    return lambda: platform.send("PUT", path, b"x" * size, **headers)


def post(platform: Platform, path: str, names: list[str], size: int) -> Callable[[], Answer]:
    body = archive(names, b"x" * size)
    return lambda: platform.send("POST", path, body, Content_Type="application/x-tar")


def delete(platform: Platform, path: str) -> Callable[[], Answer]:
    return lambda: platform.send("DELETE", path)


def test_one_file_is_overwritten(platform: Platform) -> None:
    file = platform.collection("overwritten") + "/file"
    before = platform.accounts_agree()
    for turn in range(4):
        sizes = range(turn * 1000 + 1, turn * 1000 + 1 + _NUMBER)
        assert at_once(*(put(platform, file, size) for size in sizes)) == {200: _NUMBER}
        assert len(platform.send("GET", file).body) in sizes
    assert platform.accounts_agree() == before + 1


def test_new_files_are_made(platform: Platform) -> None:
    directory = platform.collection("made")
    before = platform.accounts_agree()
    for turn in range(3):
        names = [f"{turn}a", f"{turn}b/c", f"{turn}d"]
        singles = [put(platform, f"{directory}/{name}", size) for size in (10, 20, 30) for name in names]
        archives = [post(platform, directory, names, size) for size in (40, 50, 60)]
        assert at_once(*singles, *archives) == {200: len(singles) + len(archives)}
    for name in ("0b", "0a/x"):  # a folder and a file, which are in the way
        assert at_once(post(platform, directory, ["new", name], 10)) == {409: 1}
    assert platform.accounts_agree() == before + 9


def test_conditions_are_on_what_is_there(platform: Platform) -> None:
    file = platform.collection("conditions") + "/file"
    for turn in range(3):
        new = [put(platform, f"{file}{turn}", 10 + size, If_None_Match="*") for size in range(_NUMBER)]
        assert at_once(*new) == {200: 1, 412: _NUMBER - 1}
        etag = platform.send("HEAD", f"{file}{turn}").headers["etag"]
        changes = [put(platform, f"{file}{turn}", 100 + size, If_Match=etag) for size in range(_NUMBER)]
        assert at_once(*changes) == {200: 1, 412: _NUMBER - 1}
    platform.accounts_agree()


def test_folders_are_removed(platform: Platform) -> None:
    directory = platform.collection("removed")
    before = platform.accounts_agree()
    for turn in range(3):
        folder = f"{directory}/folder{turn}"
        names = [f"{number}" for number in range(30)]
        assert post(platform, folder, names, 1000)().status == 200
        whole = [delete(platform, f"{folder}/?force=true")] * 4
        found = at_once(*whole, *(delete(platform, f"{folder}/{name}") for name in names[:4]))
        assert set(found) <= {200, 404}
        assert platform.accounts_agree() == before
    assert post(platform, directory, ["a", "b/c", "b/d"], 1000)().status == 200
    found = at_once(*[delete(platform, f"{directory}?force=true")] * 3, delete(platform, f"{directory}/b?force=true"))
    assert set(found) <= {200, 404}
    assert platform.accounts_agree() == before


def test_collections_come_by_themselves(platform: Platform) -> None:
    before = platform.accounts_agree()
    for turn in range(3):
        directory = f"/v1/data/.algo/tester/name{turn}/perm"
        singles = [put(platform, f"{directory}/file", 10 + size) for size in range(_NUMBER)]
        assert at_once(*singles, post(platform, directory, ["file", "other"], 5)) == {200: _NUMBER + 1}
    assert platform.accounts_agree() == before + 6


def test_what_expires_is_written_again(platform: Platform, database: str) -> None:
    before = platform.accounts_agree()
    blobs = LocalBlobStore(Settings(home=Path(platform.server.home)).state / "blobs")
    others = [Database(database) for _ in range(3)]
    removals = [Removal(other, Garbage(other, blobs)) for other in others]
    try:
        for turn in range(3):
            directories = [f"/v1/data/.algo/tester/expiring{turn}{number}/temp" for number in range(3)]
            for directory in directories:
                assert post(platform, directory, ["old", "file"], 100)().status == 200
            with platform.engine.begin() as connection:
                connection.execute(sa.text("UPDATE files SET modified_at = 0 WHERE size = 100"))
            puts = [put(platform, f"{directory}/file", 50) for directory in directories]
            assert at_once(*puts, *(removal.expire for removal in removals)) == {200: len(puts)}
            for directory in directories:
                assert platform.send("GET", f"{directory}/file").body == b"x" * 50
                assert platform.send("GET", f"{directory}/old").status == 404
    finally:
        for other in others:
            other.close()
    assert platform.accounts_agree() == before + 9
