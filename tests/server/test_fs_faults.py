"""`client.fs()` where things go wrong: damage, breaks, platforms without ranges, refusals, and little memory."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from damage import DamagingWay
from platforms import ROOT, Server, clean_environment
from wire import Recorded, WireServer, answer

import Algorithmia

fsspec = pytest.importorskip("fsspec", reason="file systems need fsspec")

MIB = 1024 * 1024
CONTENT = bytes(range(256)) * 1000


def filesystem(address: str, key: str = "key", **options: Any) -> Any:
    return Algorithmia.Client(key, address, **options).fs()


# -- damage and breaks -------------------------------------------------------------------------------------------


def test_damage_is_found_and_repaired(server: Server, collection: Any) -> None:
    path = f"data/{collection.path}/f"
    with DamagingWay(server.address, up=1) as way, filesystem(way.address, server.key).open(path, "wb") as target:
        target.write(CONTENT)
    with DamagingWay(server.address, up=1) as way:
        filesystem(way.address, server.key).pipe(f"{path}2", CONTENT)
    with DamagingWay(server.address, down=1) as way:
        assert filesystem(way.address, server.key).cat([path, f"{path}2"]) == {path: CONTENT, f"{path}2": CONTENT}


def test_damage_that_stays_is_reported(server: Server, collection: Any, tmp_path: Path) -> None:
    path = f"data/{collection.path}/f"
    with DamagingWay(server.address, up=9) as way:
        fs = filesystem(way.address, server.key)
        for store in (lambda: fs.pipe(path, CONTENT), lambda: write(fs, path)):
            with pytest.raises(OSError) as raised:
                store()
            assert raised.value.errno == errno.EIO and not fs.exists(path)
        way.up = 0
        fs.pipe(path, CONTENT)
        for read in (lambda: fs.cat(path), lambda: fs.open(path).read(), lambda: fs.get(path, str(tmp_path / "f"))):
            way.down = 9
            with pytest.raises(OSError, match="damaged") as raised:
                read()
            assert raised.value.errno == errno.EIO
            way.down = 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [len(CONTENT), 9 * MIB])
def test_damage_of_parts_is_found_too(server: Server, collection: Any, size: int) -> None:
    path = f"data/{collection.path}/f"
    content = (CONTENT * (size // len(CONTENT) + 1))[:size]
    with DamagingWay(server.address) as way:
        fs = filesystem(way.address, server.key)
        fs.pipe(path, content)
        way.down = 1
        assert fs.cat_file(path, 1000, size - 1000) == content[1000:-1000] and way.down == 0
        with fs.open(path, block_size=size // 2) as source:
            source.seek(size // 4)
            way.down = 1
            assert source.read(5000) == content[size // 4 :][:5000] and way.down == 0
        way.down = 9
        with pytest.raises(OSError, match="damaged") as raised:
            fs.tail(path, 100)
        assert raised.value.errno == errno.EIO and way.down == 7


def write(fs: Any, path: str) -> None:
    with fs.open(path, "wb") as target:
        target.write(CONTENT)


def describe(request: Recorded, *headers: str) -> bytes:
    """A platform's answer for the file `CONTENT`, ranges honoured if `headers` say so."""
    part, status = CONTENT, "200 OK"
    if "range" in request.headers and "Accept-Ranges: bytes" in headers:
        start, _, last = request.headers["range"].removeprefix("bytes=").partition("-")
        part, status = CONTENT[int(start) : int(last) + 1 if last else None], "206 Partial Content"
    whole = answer(status=status, headers=["X-Data-Type: file", *headers], body=part)
    return whole[: -len(part)] if request.method == "HEAD" else whole


def test_a_connection_that_breaks_is_made_anew() -> None:
    breaks = []

    def reply(connection: Any, request: Recorded) -> None:
        whole = describe(request, "Accept-Ranges: bytes", 'ETag: "1"')
        if request.method == "GET" and len(breaks) < 2:
            breaks.append(request)
            connection.sendall(whole[: len(whole) // 2])
            connection.shutdown(2)
            return
        connection.sendall(whole)

    with WireServer(reply) as platform:
        fs = filesystem(platform.address)
        with fs.open("data/.my/c/f", block_size=100_000) as source:
            assert source.read(200_000) == CONTENT[:200_000] and source.read() == CONTENT[200_000:]
        assert len(breaks) == 2 and {request.headers["if-match"] for request in breaks} == {'"1"'}


def test_a_platform_without_ranges() -> None:
    with WireServer(lambda connection, request: connection.sendall(describe(request))) as platform:
        fs = filesystem(platform.address)
        with fs.open("data/.my/c/f", block_size=1000) as source:
            for offset, length in ((0, 10), (200_000, 20), (5, 100_000), (255_990, 50)):
                source.seek(offset)
                assert source.read(length) == CONTENT[offset : offset + length]
        assert fs.cat_file("data/.my/c/f", 10, 20) == CONTENT[10:20]
        assert fs.cat_file("data/.my/c/f", -10) == CONTENT[-10:]


def test_names_that_lead_elsewhere_are_left_out() -> None:
    listing = {
        "folders": [{"name": name} for name in ("", ".", "..", "...")],
        "files": [{"filename": name, "size": 1, "last_modified": "2020-01-01T00:00:00.000Z"} for name in ("..", "a")],
    }
    with WireServer(answer(listing, headers=["X-Data-Type: directory"])) as platform:
        fs = filesystem(platform.address)
        assert fs.ls("data/.my/c", detail=False) == ["data/.my/c/...", "data/.my/c/a"]


# -- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "number"),
    [
        (400, OSError, errno.EINVAL),
        (401, PermissionError, errno.EACCES),
        (403, PermissionError, errno.EACCES),
        (404, FileNotFoundError, errno.ENOENT),
        (408, TimeoutError, errno.ETIMEDOUT),
        (413, OSError, errno.EFBIG),
        (429, OSError, errno.EBUSY),
        (500, OSError, errno.EIO),
        (504, TimeoutError, errno.ETIMEDOUT),
        (507, OSError, errno.ENOSPC),
    ],
)
def test_refusals_are_errors_of_the_system(status: int, kind: type[OSError], number: int) -> None:
    refusal = answer({"error": {"message": "no, because"}}, status=f"{status} No")
    headless = refusal[: refusal.index(b"\r\n\r\n") + 4]

    def reply(connection: Any, request: Recorded) -> None:
        connection.sendall(headless if request.method == "HEAD" else refusal)

    with WireServer(reply) as platform:
        fs = filesystem(platform.address, retries=0)
        for refused in (fs.ls, fs.cat_file, fs.rm_file, lambda path: fs.pipe(path, b""), fs.info):
            with pytest.raises(kind) as raised:
                refused("data/.my/c/f")
            assert raised.value.errno == number
            assert isinstance(raised.value.__cause__, Algorithmia.errors.ApiError)
        with pytest.raises(kind) as raised, fs.open("data/.my/c/f", "wb") as target:
            target.write(b"x")
        assert "no, because" in str(raised.value)


def test_a_platform_that_is_gone() -> None:
    with WireServer() as platform:
        address = platform.address
    fs = filesystem(address, retries=0)
    for refused in (fs.ls, fs.exists, fs.cat_file, fs.open, lambda path: fs.pipe(path, b"")):
        with pytest.raises(OSError) as raised:
            refused("data/.my/c/f")
        assert isinstance(raised.value, Algorithmia.errors.UnreachableError)


# -- memory ------------------------------------------------------------------------------------------------------

GROWTH = """
import os, resource, sys
import Algorithmia
fs = Algorithmia.client(sys.argv[1], sys.argv[2]).fs()
path = sys.argv[3]
fs.pipe(path, b"x")
fs.cat(path)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
piece = os.urandom(1 << 20)
with fs.open(path, "wb") as target:
    for _ in range(150):
        target.write(piece)
with fs.open(path) as source:
    while source.read(1 << 20):
        pass
fs.get(path, sys.argv[4])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_is_bounded(server: Server, collection: Any, tmp_path: Path) -> None:
    environment = {**clean_environment(tmp_path), "PYTHONPATH": ROOT}
    arguments = [server.key, server.address, f"data/{collection.path}/f", str(tmp_path / "f")]
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, *arguments], env=environment, capture_output=True, timeout=120, check=True
    )
    assert os.path.getsize(tmp_path / "f") == 150 * MIB
    assert int(done.stdout) < 64, "MiB more than before 150 MiB were written and read"
