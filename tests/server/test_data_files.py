"""Files over HTTP: put, get, head, delete, with every header that changes the answer."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
import sqlalchemy as sa
from hosted_site import Caller, Site
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Algorithmia.server.db.database import Database
from Algorithmia.server.services import data as data_service
from Algorithmia.server.services import data_uploads


@pytest.fixture
def directory(me: Caller) -> str:
    return me.collection()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def test_put_and_get(me: Caller, directory: str) -> None:
    content = b"\x00\x01content"
    stored = me.put(f"{directory}/f.bin", content)
    etag = f'"{hashlib.md5(content).hexdigest()}"'
    assert (stored.status, stored.json, stored.headers["etag"]) == (200, {"result": f"data://{directory}/f.bin"}, etag)
    got = me.get(f"{directory}/f.bin")
    assert (got.status, got.body) == (200, content)
    expected = {
        "x-data-type": "file",
        "etag": etag,
        "accept-ranges": "bytes",
        "content-length": "9",
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox",
        "content-type": "application/octet-stream",
    }
    assert expected.items() <= got.headers.items()
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", got.headers["last-modified"])
    head = me.head(f"{directory}/f.bin")
    volatile = ("x-request-id", "date")
    assert (head.status, head.body) == (200, b"")
    assert {**got.headers, **dict.fromkeys(volatile)} == {**head.headers, **dict.fromkeys(volatile)}


def test_result_is_in_the_callers_words(me: Caller, directory: str) -> None:
    name = me.account.username
    full = directory.replace(".my", name)
    assert me.put(f"{full}/f").json == {"result": f"data://{full}/f"}
    assert me.put(f"data://{directory}/f").json == {"result": f"data://{directory}/f"}
    assert me.put(f"/v1/connector/data/{directory}/f").json == {"result": f"data://{directory}/f"}
    assert me.put(quote(f"{directory}/f", safe="")).json == {"result": f"data://{directory}/f"}


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 1024 * 1024 - 1, 1024 * 1024, 3_500_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_sizes(me: Caller, directory: str, size: int, chunked: bool) -> None:
    content = os.urandom(size)
    body: Any = (content[start : start + 100_000] for start in range(0, size, 100_000)) if chunked else content
    stored = me.send("PUT", f"{directory}/f", body, encode_chunked=chunked, headers=_chunked(chunked))
    assert stored.status == 200
    assert stored.headers["etag"] == f'"{hashlib.md5(content).hexdigest()}"'
    got = me.get(f"{directory}/f")
    assert got.body == content
    assert got.headers["content-length"] == str(size)
    assert me.site.staged() == []


def _chunked(chunked: bool) -> dict[str, str]:
    return {"Transfer-Encoding": "chunked"} if chunked else {}


@pytest.mark.parametrize(
    "name", ["a b", "a+b", "a#b?c", "a%2Fb", "ä€😀", "100%", "-rf", "a'\"<>&", "x" * 1024, "con", ".hidden"]
)
def test_names(me: Caller, directory: str, name: str) -> None:
    path = f"{directory}/{quote(name, safe='')}"
    assert me.put(path, name.encode()).json == {"result": f"data://{directory}/{name}"}
    assert me.get(path).body == name.encode()
    assert [file["filename"] for file in me.get(directory).json["files"]] == [name]
    assert me.delete(path).json == {"result": {"deleted": 1}}
    assert me.get(path).status == 404


def test_names_never_touch_the_disk(me: Caller, directory: str) -> None:
    before = set(me.site.blob_files())
    assert me.put(f"{directory}/..%2f..%2f..%2fevil").status == 400
    assert me.put(f"{directory}/passwd", b"x").status == 200
    [new] = set(me.site.blob_files()) - before
    assert re.fullmatch(r"[0-9a-f]{2}/[0-9a-f]{32}", str(new.relative_to(me.site.blobs.root)))


def test_overwrite_replaces_the_content(me: Caller, directory: str) -> None:
    blobs = set(me.site.blob_files())
    for content in (b"one", b"two", b"three"):
        assert me.put(f"{directory}/f", content).status == 200
        assert me.get(f"{directory}/f").body == content
    assert len(set(me.site.blob_files()) - blobs) == 1


def test_overwrite_does_not_break_a_download(me: Caller, directory: str) -> None:
    content = os.urandom(8_000_000)
    me.put(f"{directory}/f", content)
    connection = me.connect()
    connection.request("GET", f"/v1/data/{directory}/f", headers={"Authorization": str(me.key)})
    response = connection.getresponse()
    start = response.read(1000)
    assert me.put(f"{directory}/f", b"new").status == 200
    assert start + response.read() == content
    connection.close()


def test_put_needs_its_collection(me: Caller) -> None:
    for size in (10, 2_000_000):
        answer = me.put(".my/missing/f", b"x" * size)
        assert answer.status == 404
        assert "data://.my/missing" in answer.message
        assert "algo mkdir data://.my/missing" in answer.message
    assert me.site.staged() == []


@pytest.mark.parametrize("path", ["", ".my", ".my/c", ".my/c/d/f/", ".my/c/f/", ".algo", ".algo/o/n", ".session"])
def test_put_needs_a_file_name(me: Caller, path: str) -> None:
    assert me.put(path, b"x").status == 400


def test_missing(me: Caller, directory: str) -> None:
    for path in (f"{directory}/f", ".my/missing/f", "nobody/c/f", f"{directory}/d/f", f"{directory}/d/"):
        assert me.get(path).status == 404
        assert me.delete(path).message.startswith("path not found")
        head = me.head(path)
        assert (head.status, head.body) == (404, b"")
        assert "path not found" in head.headers["x-error-message"]


@pytest.mark.parametrize(
    ("name", "sent", "content", "expected"),
    [
        ("f", "text/csv", b"a", "text/csv"),
        ("f.png", "application/json", b"{}", "application/json"),
        ("f.png", None, b"x", "image/png"),
        ("f.png", "application/x-www-form-urlencoded", b"x", "image/png"),
        ("f.txt", None, "ä".encode(), "text/plain; charset=utf-8"),
        ("f.txt", None, "ä".encode("latin-1"), "text/plain"),
        ("f.json", None, b"{}", "application/json"),
        ("f.tar.gz", None, b"x", "application/gzip"),
        ("f", None, "ä€".encode(), "text/plain; charset=utf-8"),
        ("f", None, b"", "text/plain; charset=utf-8"),
        ("f", None, b"a\x00", "application/octet-stream"),
        ("f", None, b"\xff", "application/octet-stream"),
        ("f", None, "€".encode()[:2], "application/octet-stream"),
        ("f", "nonsense", b"a", "text/plain; charset=utf-8"),
        ("f", "text/" + "x" * 500, b"\x00", "application/octet-stream"),
        ("a:b.x:y", None, b"\x00", "application/octet-stream"),
    ],
)
def test_content_types(me: Caller, directory: str, name: str, sent: str | None, content: bytes, expected: str) -> None:
    headers = {"Content-Type": sent} if sent else {}
    assert me.put(f"{directory}/{name}", content, **headers).status == 200
    assert me.get(f"{directory}/{name}").headers["content-type"] == expected


def test_text_split_inside_a_character_is_text(me: Caller, directory: str) -> None:
    me.put(f"{directory}/f", "€".encode() * 1_000_000)
    assert me.get(f"{directory}/f").headers["content-type"] == "text/plain; charset=utf-8"


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


def test_conditional_put_and_delete(me: Caller, directory: str) -> None:
    path = f"{directory}/f"
    for size in (10, 1_500_000):
        assert me.put(path, b"x", If_Match='"any"').status == 412
        assert me.put(path, b"x", If_Match="*").status == 412
        assert me.put(path, b"x" * size, If_None_Match="*").status == 200
        refused = me.put(path, b"y" * size, If_None_Match="*")
        assert refused.status == 412
        etag = me.head(path).headers["etag"]
        assert me.put(path, b"y" * size, If_Match='"other"').status == 412
        assert me.get(path).body == b"x" * size
        assert me.put(path, b"y" * size, If_Match=etag).status == 200
        assert me.delete(path, If_Match=etag).status == 412
        assert me.delete(path).status == 200
    assert me.site.staged() == []


def test_only_one_of_many_creators_wins(me: Caller, directory: str) -> None:
    statuses: list[int] = []

    def create(index: int) -> None:
        statuses.append(me.put(f"{directory}/f", b"%d" % index, If_None_Match="*").status)

    threads = [threading.Thread(target=create, args=[index]) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [412] * 7
    assert me.site.staged() == []


def raw_put(me: Caller, path: str, headers: str, body: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", me.site.port), timeout=10)
    head = f"PUT /v1/data/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: {me.key}\r\n{headers}\r\n\r\n"
    connection.sendall(head.encode("latin-1") + body)
    return connection


@pytest.mark.parametrize("size", [1000, 3_000_000])
@pytest.mark.parametrize("framing", ["Content-Length: 9000000", "Transfer-Encoding: chunked"])
def test_short_body_leaves_nothing(me: Caller, directory: str, size: int, framing: str) -> None:
    me.put(f"{directory}/f", b"before")
    blobs = sorted(me.site.blob_files())
    body = b"x" * size if "Length" in framing else b"%x\r\n" % size + b"x" * size + b"\r\n"
    connection = raw_put(me, f"{directory}/f", framing, body)
    if size > 2_000_000:
        wait_for(lambda: bool(me.site.staged()))
    connection.close()
    # A body that is cut at once may not even have been begun: what counts is how it ends.
    wait_for(lambda: sorted(me.site.blob_files()) == blobs)
    assert me.get(f"{directory}/f").body == b"before"


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: abc",
        "Content-Length: -1",
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: " + "9" * 400,
    ],
)
def test_odd_lengths(me: Caller, directory: str, headers: str) -> None:
    with raw_put(me, f"{directory}/f", headers, b"x") as connection:
        status = connection.recv(4096)
        assert re.match(rb"HTTP/1.1 4\d\d ", status), status


@pytest.mark.parametrize("path", ["\xff", ".my/\xe4/f", "%", "%zz", "%00", "\x01"])
def test_odd_bytes_in_the_path(me: Caller, path: str) -> None:
    with raw_put(me, path, "Content-Length: 1", b"x") as connection:
        assert re.match(rb"HTTP/1.1 4\d\d ", connection.recv(4096))


def test_expect_continue_is_refused_before_the_body(me: Caller) -> None:
    with raw_put(me, ".my/missing/f", "Content-Length: 10\r\nExpect: 100-continue", b"") as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 404 ")
    directory = me.collection()
    with raw_put(me, f"{directory}/f", "Content-Length: 2\r\nExpect: 100-continue", b"") as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"ok")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_refusal_reaches_a_client_that_sends_everything_first(me: Caller) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(50):
            yield b"x" * 100_000

    url = f"{me.site.address}/v1/data/.my/missing/f"
    answer = requests.put(url, data=pieces(), headers={"Authorization": str(me.key)}, timeout=30)
    assert answer.status_code == 404


def test_size_limit(new_site: Callable[..., Site]) -> None:
    me = new_site(max_file_bytes=2_000_000).caller()
    directory = me.collection()
    assert me.put(f"{directory}/f", b"x" * 2_000_000).status == 200
    assert me.put(f"{directory}/f", b"x" * 2_000_001).status == 413
    many = (b"x" * 500_000 for _ in range(5))
    assert me.send("PUT", f"{directory}/f", many, _chunked(True), encode_chunked=True).status == 413
    assert me.get(f"{directory}/f").headers["content-length"] == "2000000"
    assert me.site.staged() == []


def test_stalled_upload_is_given_up(new_site: Callable[..., Site]) -> None:
    me = new_site(request_timeout=0.2).caller()
    directory = me.collection()
    with raw_put(me, f"{directory}/f", "Content-Length: 5000000", b"x" * 2_000_000) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")
    wait_for(lambda: me.site.staged() == [])


def test_no_space_for_metadata(new_site: Callable[..., Site]) -> None:
    me = new_site().caller()
    directory = me.collection()

    def shrink(connection: Any) -> None:
        connection.connection.driver_connection.execute("PRAGMA max_page_count=1")  # no more than there are

    sa.event.listen(me.site.database._engine, "begin", shrink)
    names = (f"{number:03}" + "x" * 900 for number in range(1000))
    answer = next(answer for name in names if (answer := me.put(f"{directory}/{name}", b"x")).status != 200)
    assert (answer.status, answer.message) == (503, "no space left on the platform's disk; nothing was changed")
    assert me.site.staged() == []
    many = (me.post(".my", {"name": f"d{number}"}) for number in range(1000))
    refused = next(answer for answer in many if answer.status != 200)
    assert (refused.status, refused.message) == (503, answer.message)
    assert me.get(f"{directory}").status == 200


def test_full_disk(me: Caller, directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*arguments: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", no_space)
    for size in (10, 3_000_000):
        answer = me.put(f"{directory}/f", b"x" * size)
        assert (answer.status, answer.message) == (503, "no space left on the platform's disk; nothing was stored")
    monkeypatch.undo()
    assert me.site.staged() == []
    assert me.get(f"{directory}/f").status == 404


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


@pytest.mark.parametrize("moment", ["before commit", "before publish"])
def test_crash_leaves_old_or_new(new_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """What a process leaves that dies between the steps of an overwrite; the next one brings it in order."""
    site = new_site()
    me = site.caller()
    directory = me.collection()
    me.put(f"{directory}/f", b"old")

    class Died(BaseException):
        pass

    def die(*arguments: Any) -> None:
        raise Died

    place = data_uploads.Upload if moment == "before commit" else site.blobs
    with monkeypatch.context() as patch:
        patch.setattr(place, "put" if moment == "before commit" else "publish", die)
        identity = site.accounts.find_identity(str(me.key))
        from Algorithmia.server.services.data_paths import parse

        request = data_uploads.UploadRequest(identity, parse(f"{directory}/f".encode()))  # type: ignore[arg-type]
        with pytest.raises(Died):
            site.data.store(request, [b"new"])
    assert len(site.staged()) == 1
    site.stop()
    again = new_site(site.settings.home)
    assert again.staged() == []
    caller = Caller(again, me.account, me.key)
    assert caller.get(f"{directory}/f").body == (b"old" if moment == "before commit" else b"new")
    assert len(again.blob_files()) == 1


def test_garbage_rows_go_with_a_later_write(me: Caller, directory: str) -> None:
    def rows(database: Database) -> int:
        with database.read() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM garbage").scalar_one())

    me.put(f"{directory}/f", b"1")
    for content in (b"2", b"3", b"4"):
        me.put(f"{directory}/f", content)
    assert rows(me.site.database) == 1


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
            digest = hashlib.sha256()
            for piece in answer.iter_content(1024 * 1024):
                digest.update(piece)
        assert answer.headers["etag"] == f'"{digest.hexdigest()[:32]}"'
        assert _peak(server.pid) - before < 30_000_000
        server.stdin.close()  # type: ignore[union-attr]


def _peak(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


methods = st.sampled_from(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"])
segments = st.sampled_from(
    [
        ".my",
        ".algo",
        ".session",
        "temp",
        "c",
        "f",
        "..",
        "%2e%2e",
        "%2F",
        "%00",
        "%FF",
        "data:",
        "s3+x:",
        "",
        "+",
        "%",
        "o",
    ]
)
odd_headers = st.dictionaries(
    st.sampled_from(
        ["Range", "If-Match", "If-None-Match", "If-Range", "If-Modified-Since", "Content-Type", "Accept", "Expect"]
    ),
    st.one_of(
        st.sampled_from(["bytes=0-", "bytes=--", "*", '"', "W/", "100-continue", "text/plain\x80", "9" * 400]),
        st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30),
    ),
    max_size=3,
)
queries = st.sampled_from(["", "?marker=%ff", "?acl=%00&acl", "?force=true&force=no", "?marker=n-4oKs", "?&&==&%"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(methods, st.lists(segments, max_size=6), queries, odd_headers, st.binary(max_size=40))
def test_nothing_that_a_client_sends_is_the_servers_fault(
    me: Caller, method: str, path: list[str], query: str, headers: dict[str, str], body: bytes
) -> None:
    connection = me.connect()
    connection.putrequest(method, f"/v1/data/{'/'.join(path)}{query}", skip_accept_encoding=True)
    for name, value in {"Authorization": str(me.key), **headers}.items():
        connection.putheader(name, value.strip().encode("latin-1"))
    if method not in ("GET", "HEAD"):
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(None if method in ("GET", "HEAD") else body)
    response = connection.getresponse()
    assert response.status < 500, response.read()
    connection.close()
