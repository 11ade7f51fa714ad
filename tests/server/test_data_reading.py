"""Files over HTTP as they are read: parts, conditions, and what happens to them meanwhile."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import requests
import xxhash
from hosted_site import Caller

from Algorithmia.server.services import data as data_service


@pytest.fixture
def directory(me: Caller) -> str:
    return me.collection()


@pytest.mark.parametrize("size", [1000, 1_000_000])
@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=990-", 990, None),
        ("bytes=-5", -5, None),
        ("bytes=-9999999999", 0, None),
        ("bytes=5-9999999999", 5, None),
        ("Bytes = 3 - 4", 3, 5),
    ],
)
def test_ranges(me: Caller, directory: str, size: int, header: str, start: int, stop: int | None) -> None:
    content = os.urandom(size)
    me.put(f"{directory}/f", content)
    got = me.get(f"{directory}/f", Range=header)
    assert got.status == 206
    assert got.body == content[start:stop]
    first, last, whole = map(int, re.findall(r"\d+", got.headers["content-range"]))
    assert (content[first : last + 1], whole) == (got.body, size)
    assert me.head(f"{directory}/f", Range=header).headers["content-length"] == str(size)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("bytes=1000-", 416),
        ("bytes=-0", 416),
        ("bytes=9-2", 400),
        ("bytes=", 400),
        ("bytes=a-b", 400),
        ("bytes=-", 400),
        ("bytes=" + "9" * 5000 + "-", 400),
        ("bytes=0-1,5-6", 200),
        ("lines=0-1", 200),
        ("", 200),
    ],
)
def test_odd_ranges(me: Caller, directory: str, header: str, status: int) -> None:
    me.put(f"{directory}/f", b"x" * 1000)
    answer = me.get(f"{directory}/f", Range=header)
    assert answer.status == status
    if status == 416:
        assert answer.headers["content-range"] == "bytes */1000"


def test_range_of_an_empty_file(me: Caller, directory: str) -> None:
    me.put(f"{directory}/f", b"")
    assert me.get(f"{directory}/f", Range="bytes=0-").status == 416


def test_conditional_get(me: Caller, directory: str) -> None:
    for size in (10, 1_000_000):
        etag = me.put(f"{directory}/f", b"x" * size).headers["etag"]
        modified = me.get(f"{directory}/f").headers["last-modified"]
        for headers, status in [
            ({"If-None-Match": etag}, 304),
            ({"If-None-Match": f'"other", W/{etag}'}, 304),
            ({"If-None-Match": etag.strip('"')}, 304),
            ({"If-None-Match": "*"}, 304),
            ({"If-None-Match": '"other"'}, 200),
            ({"If-None-Match": '"other"', "If-Modified-Since": modified}, 200),
            ({"If-Modified-Since": modified}, 304),
            ({"If-Modified-Since": formatdate(0, usegmt=True)}, 200),
            ({"If-Modified-Since": "yesterday"}, 200),
            ({"If-Modified-Since": "Mon, 99 Foo 2020 99:99:99 GMT"}, 200),
            ({"If-Modified-Since": "Mon, 01 Jan 99999999999 00:00:00 GMT"}, 200),
            ({"If-Match": etag}, 200),
            ({"If-Match": '"other"'}, 412),
            ({"Range": "bytes=0-3", "If-Range": etag}, 206),
            ({"Range": "bytes=0-3", "If-Range": '"other"'}, 200),
            ({"Range": "bytes=0-3", "If-Range": modified}, 206),
            ({"Range": "bytes=0-3", "If-Range": formatdate(0, usegmt=True)}, 200),
        ]:
            answer = me.get(f"{directory}/f", **headers)
            assert answer.status == status, headers
            if status == 304:
                assert (answer.body, answer.headers["etag"]) == (b"", etag)


def test_missing_content_breaks_the_answer(me: Caller, directory: str) -> None:
    me.put(f"{directory}/small", b"x" * 100)
    before = set(me.site.blob_files())
    me.put(f"{directory}/large", b"x" * 3_000_000)
    [blob] = set(me.site.blob_files()) - before
    os.truncate(blob, 1_000_000)
    with pytest.raises(Exception, match="IncompleteRead"):
        me.get(f"{directory}/large")
    blob.unlink()
    assert me.get(f"{directory}/large").status == 500


def test_reader_finds_the_newer_blob(me: Caller, directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overwritten and collected between a reader's look at the row and its open."""
    me.put(f"{directory}/f", b"old")
    open_blob = me.site.blobs.open_blob

    def overwrite_first(blob_id: str) -> Any:
        monkeypatch.undo()
        assert me.put(f"{directory}/f", b"new").status == 200
        return open_blob(blob_id)

    monkeypatch.setattr(me.site.blobs, "open_blob", overwrite_first)
    assert me.get(f"{directory}/f").body == b"new"


def test_download_stops_when_the_client_leaves(me: Caller, directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    me.put(f"{directory}/f", b"x" * 60_000_000)
    closed = threading.Event()
    original = data_service.HostedData._opened

    def watch(file: Any, handle: Any) -> Any:
        class Watched:
            reads = 0

            def seek(self, position: int) -> int:
                return int(handle.seek(position))

            def read(self, size: int) -> bytes:
                Watched.reads += 1
                return bytes(handle.read(size))

            def close(self) -> None:
                handle.close()
                closed.set()

        watch.watched = Watched  # type: ignore[attr-defined]
        return original(file, Watched())  # type: ignore[arg-type]

    monkeypatch.setattr(data_service.HostedData, "_opened", staticmethod(watch))
    connection = me.connect()
    connection.request("GET", f"/v1/data/{directory}/f", headers={"Authorization": str(me.key)})
    connection.getresponse().read(1000)
    connection.close()
    assert closed.wait(10)
    assert watch.watched.reads < 60_000_000 / 512 / 1024  # type: ignore[attr-defined]


_SERVER_ONLY = """
import sys
sys.path.insert(0, {folder!r})
from pathlib import Path
from hosted_site import Site
me = Site(Path({home!r})).caller()
print(me.site.port, me.key, me.collection(), flush=True)
sys.stdin.read()
"""


def test_memory_stays_flat_while_streaming(tmp_path: Path) -> None:
    """300 MB up, chunked, and down again: the server's peak may grow by its buffers, not by the file."""
    program = _SERVER_ONLY.format(folder=str(Path(__file__).parent), home=str(tmp_path))
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program], **pipes) as server:
        port, key, directory = server.stdout.readline().split()  # type: ignore[union-attr]
        url = f"http://127.0.0.1:{port}/v1/data/{directory}/f"
        headers = {"Authorization": key}
        megabyte = os.urandom(1024 * 1024)
        before = _peak(server.pid)
        assert requests.put(url, data=(megabyte for _ in range(300)), headers=headers, timeout=60).status_code == 200
        with requests.get(url, headers=headers, stream=True, timeout=60) as answer:
            digest = xxhash.xxh3_128()
            for piece in answer.iter_content(1024 * 1024):
                digest.update(piece)
        assert answer.headers["etag"] == f'"{digest.hexdigest()}"'
        assert _peak(server.pid) - before < 30_000_000
        server.stdin.close()  # type: ignore[union-attr]


def _peak(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024
