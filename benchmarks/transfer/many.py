"""One collection with a million files: pages of its listing, inserts, deletes and memory, at either end of them.

Files are stored and removed over HTTP, one request each, while the collection has a few hundred and while it has all of
them. What is in between is put in while no server runs, since it's not what is measured: rows in the database, and an
empty content for each in the blob store, as if they had been uploaded. All are below one folder, so that the page of
the collection itself, which shows nothing but that folder, has something to skip.

``python benchmarks/run.py million --files 1000000``
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import sqlite3
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.embedded.memory import MIB
from benchmarks.report import Report
from benchmarks.server import Server

from .memory import Growth, occupied

_COLLECTION = "million"
_FOLDER = f".my/{_COLLECTION}/deep"
# Single requests whose rate is measured, at either end.
_SINGLE = 300
_PAGES = 20
_MOST_GROWTH = 64 * MIB
_NOTHING = b""


def run(files: int) -> Report:
    """Measure with a collection of `files` files."""
    started = time.monotonic()
    report = Report(f"a collection of {files:,} files")
    with tempfile.TemporaryDirectory(prefix="algorithmia-million-") as place:
        server = Server(Path(place))
        try:
            _measure(server, files, report)
        finally:
            server.end()
    report.seconds = time.monotonic() - started
    return report


def _measure(server: Server, files: int, report: Report) -> None:
    with _started(server) as client:
        client.request("POST", ".my", json.dumps({"name": _COLLECTION}).encode())
        early = _single_files(client, "early")
    fill(server.state, files - _SINGLE)
    with _started(server) as client:
        client.request("GET", f"{_FOLDER}/")  # connections to the database, and what else is made once
        before = occupied(server.pid)
        pages, listed = _walk(client)
        late = _single_files(client, "late")
        grown = occupied(server.pid) - before
        whole = statistics.median(_timed(lambda: client.request("GET", f".my/{_COLLECTION}")) for _ in range(_PAGES))
        with Growth(server.pid) as growth:
            rates, answered = _remove_all(server, client)
    first, last = (statistics.median(some) for some in (pages[:_PAGES], pages[-_PAGES:]))
    report.counts.update({"files listed": listed, "pages": len(pages)})
    report.remarks += [
        f"page of 1,000 files: first {first * 1e3:.1f} ms, last {last * 1e3:.1f} ms, ratio {last / first:.2f} (<= 2)",
        f"page of the collection, with the folder alone: {whole * 1e3:.1f} ms",
        *(
            f"{verb} one by one: {rate:.0f}/s with few files, {late[verb]:.0f}/s with all of them"
            for verb, rate in early.items()
        ),
        f"removing all: answered after {answered:.1f} s; {rates[0]:,.0f} files/s at first, {rates[1]:,.0f} at last",
        f"memory: {before / MIB:.0f} MiB before, {grown / MIB:+.1f} MiB after listing and storing, "
        f"{growth.bytes / MIB:+.1f} MiB at most while removing",
    ]
    if listed != files:
        report.violations.append(f"{listed} files are listed")
    if last > 2 * first:
        report.violations.append("the last pages take more than twice as long as the first ones")
    for bytes_ in (grown, growth.bytes):
        if bytes_ > _MOST_GROWTH:
            report.violations.append(f"the server grew by {bytes_ / MIB:.0f} MiB")


class Client:
    """One connection to the server."""

    def __init__(self, server: Server) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
        self._headers = {"Authorization": server.key()}

    def request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The answer's body. Raises RuntimeError unless the status is 200."""
        self._connection.request(method, f"/v1/data/{path}", body, self._headers)
        response = self._connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status} {content[:300]!r}")
        return content

    def close(self) -> None:
        """Close it."""
        self._connection.close()


def fill(state: Path, count: int) -> None:
    """Put `count` empty files into the one collection that there is. No server may run."""
    blobs = state / "blobs"
    for number in range(256):
        (blobs / f"{number:02x}").mkdir(exist_ok=True)
    now = int(time.time() * 1000)
    content = hashlib.md5(_NOTHING).hexdigest(), hashlib.sha256(_NOTHING).hexdigest()
    with contextlib.closing(sqlite3.connect(state / "platform.db")) as database:
        database.execute("PRAGMA cache_size = -400000")
        (collection,) = database.execute("SELECT id FROM collections WHERE name = ?", [_COLLECTION]).fetchone()

        def rows() -> Iterator[tuple[object, ...]]:
            for number in range(count):
                blob_id = uuid.uuid4().hex
                os.close(os.open(f"{blobs}/{blob_id[:2]}/{blob_id}", os.O_CREAT | os.O_WRONLY, 0o600))
                yield str(uuid.uuid4()), collection, f"deep/file-{number:08}", 0, *content, "text/plain", blob_id, now

        with database:
            database.executemany(
                "INSERT INTO files (id, collection_id, name, size, etag, sha256, content_type, blob_id, modified_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows(),
            )
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextlib.contextmanager
def _started(server: Server) -> Iterator[Client]:
    server.spawn()
    server.wait_until_ready()
    client = Client(server)
    try:
        yield client
    finally:
        client.close()
        server.end()


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _single_files(client: Client, prefix: str) -> dict[str, float]:
    """Files stored, read and removed a second. `_SINGLE` stay when it's ``early``."""
    rates = {}
    for method, body in (("PUT", b"x"), ("GET", None), ("DELETE", None)):
        if method == "DELETE" and prefix == "early":
            for number in range(_SINGLE):  # these go instead
                client.request("PUT", f"{_FOLDER}/other-{number:05}", b"x")
            prefix = "other"
        paths = [f"{_FOLDER}/{prefix}-{number:05}" for number in range(_SINGLE)]
        rates[method] = _SINGLE / _timed(lambda: [client.request(method, path, body) for path in paths])
    return rates


def _walk(client: Client) -> tuple[list[float], int]:
    """Seconds for each page of the folder, and how many files they show."""
    pages, listed, marker = [], 0, ""
    while True:
        started = time.perf_counter()
        content = client.request("GET", f"{_FOLDER}/?marker={marker}")
        pages.append(time.perf_counter() - started)
        document = json.loads(content)
        listed += len(document["files"])
        marker = document.get("marker")
        if not marker:
            return pages, listed


def _remove_all(server: Server, client: Client) -> tuple[tuple[float, float], float]:
    """Files removed a second in the first and in the last third, and the seconds until the request is answered."""
    with contextlib.closing(sqlite3.connect(f"file:{server.state / 'platform.db'}?mode=ro", uri=True)) as database:

        def left() -> int:
            return int(database.execute("SELECT count(*) FROM files").fetchone()[0])

        began = time.perf_counter()
        samples = [(began, left())]
        answered: list[float] = []

        def remove() -> None:
            client.request("DELETE", f".my/{_COLLECTION}?force=true")
            answered.append(time.perf_counter() - began)

        thread = threading.Thread(target=remove)
        thread.start()
        while samples[-1][1]:
            time.sleep(0.05)
            samples.append((time.perf_counter(), left()))
        thread.join()
    third = samples[0][1] // 3
    over = {count: next(moment for moment, rest in samples if rest <= count) for count in (2 * third, third, 0)}
    return (third / (over[2 * third] - began), third / (over[0] - over[third])), answered[0]
