"""What the platform says of its files over a clean connection, and what must not be left on its disk."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import sqlite3
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

from benchmarks import harness
from benchmarks.server import Server

from .contents import Content, Contents

_PIECE = 1024 * 1024
_TIMEOUT = 60.0
# The first sweep is a minute after the start.
_SWEEP_LIMIT = 100.0
_LOOKS = 10


class Changed(Exception):
    """Something was still being stored while it was looked at."""


class Remote:
    """The files of the account ``tester``, read from the platform itself."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def read(self, path: str) -> Content | None:
        """What is at ``data://.my/PATH``; None if there is nothing. Raises RuntimeError."""
        with self._response("GET", path) as response:
            if response.status == 404:
                response.read()
                return None
            self._check(response, path)
            digest, size = hashlib.sha256(), 0
            while data := response.read(_PIECE):
                digest.update(data)
                size += len(data)
        return Content(digest.hexdigest(), size)

    def tree(self, path: str) -> Contents:
        """All files below the directory ``data://.my/PATH`` by their paths in it; none if there is no such one."""
        for _ in range(_LOOKS):
            try:
                return self._tree(path)
            except Changed as change:
                problem = change
                time.sleep(0.2)  # what had arrived from a client that is gone is stored yet
        raise RuntimeError(str(problem))

    def _tree(self, path: str) -> Contents:
        found: Contents = {}
        marker: str | None = ""
        while marker is not None:
            query = f"?marker={quote(marker)}" if marker else ""
            with self._response("GET", path, query) as response:
                if response.status == 404:
                    response.read()
                    return {}
                self._check(response, path)
                page = json.loads(response.read())
            for file in page.get("files", ()):
                content = self.read(f"{path}/{file['filename']}")
                if content is None or content.size != file["size"]:
                    raise Changed(f"{path}/{file['filename']} is listed with {file['size']} bytes, has {content}")
                found[file["filename"]] = content
            for folder in page.get("folders", ()):
                below = self._tree(f"{path}/{folder['name']}")
                found.update({f"{folder['name']}/{name}": content for name, content in below.items()})
            marker = page.get("marker")
        return found

    def make_collection(self, name: str) -> None:
        with self._response("POST", "", body=json.dumps({"name": name}).encode()) as response:
            self._check(response, name)
            response.read()

    @contextlib.contextmanager
    def _response(self, method: str, path: str, query: str = "", body: bytes = b""):  # type: ignore[no-untyped-def]
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=_TIMEOUT)
        try:
            headers = {"Authorization": f"Simple {self._server.key()}"}
            connection.request(method, quote(f"/v1/data/.my/{path}".rstrip("/")) + query, body, headers)
            yield connection.getresponse()
        finally:
            connection.close()

    @staticmethod
    def _check(response: http.client.HTTPResponse, path: str) -> None:
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {response.read(300)!r}")


def age(state: Path) -> int:
    """Make all unfinished uploads so old that they have expired; returns how many. The server must be down."""
    with contextlib.closing(_database(state, "rw")) as database, database:
        if not _has(database, "uploads"):
            return 0
        return database.execute("UPDATE uploads SET created_at = 1, touched_at = 1").rowcount


def wait_for_sweep(state: Path) -> None:
    """Until no unfinished upload is left, or it takes too long, which `leftovers` will say."""
    deadline = time.monotonic() + _SWEEP_LIMIT
    with contextlib.closing(_database(state, "ro")) as database:
        while _has(database, "uploads") and database.execute("SELECT count(*) FROM uploads").fetchone()[0]:
            if time.monotonic() > deadline:
                return
            time.sleep(0.1)


def leftovers(state: Path) -> list[str]:
    """What is wrong in the state directory of a platform that was swept and is down: blobs and rows don't agree."""
    wrong = []
    with contextlib.closing(_database(state, "ro")) as database:
        rows = database.execute("SELECT blob_id, name, size, sha256 FROM files").fetchall()
        for table in ("garbage", "uploads"):
            if _has(database, table):
                (count,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
                if count:
                    wrong.append(f"{count} rows are left in {table}")
        (health,) = database.execute("PRAGMA integrity_check").fetchone()
    if health != "ok":
        wrong.append(f"the database is damaged: {health}")
    blobs = state / "blobs"
    found = {path.name: path for path in blobs.rglob("*") if path.is_file()}
    for name, path in found.items():
        if path.parent != blobs / name[:2]:
            wrong.append(f"{path.relative_to(state)} is left over")
    wrong += [f"blob {name} has no row" for name in found.keys() - {row[0] for row in rows}]
    for blob_id, name, size, sha256 in rows:
        content = Content.of_file(found[blob_id]) if blob_id in found else None
        if content is None:
            wrong.append(f"the blob {blob_id} of {name} is missing")
        elif content.size != size or sha256 not in (None, content.sha256):
            wrong.append(f"the blob {blob_id} of {name} is {content}, its row says {size} bytes {sha256}")
    return wrong


def check_by_command(home: Path) -> str | None:
    """What `algo local fsck` says against the platform of `home`, which is down; None if all is well."""

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*harness.our_algo(), "local", *arguments],
            env=harness.our_environment(home),
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
        )

    if b"fsck" not in run("--help").stdout:
        return None
    done = run("fsck")
    return None if done.returncode == 0 else (done.stdout + done.stderr).decode("utf-8", "replace")[-1000:]


def _database(state: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{state / 'platform.db'}?mode={mode}", uri=True, timeout=30.0)


def _has(database: sqlite3.Connection, table: str) -> bool:
    found = database.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))
    return found.fetchone() is not None
