"""Files over HTTP: put, get, head, delete, with every header that changes what is stored."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from typing import Any
from urllib.parse import quote

import pytest
from hosted_site import Caller

from Algorithmia.server.db.database import Database


@pytest.fixture
def directory(me: Caller) -> str:
    return me.collection()


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


def test_garbage_rows_go_with_a_later_write(me: Caller, directory: str) -> None:
    def rows(database: Database) -> int:
        with database.read() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM garbage").scalar_one())

    me.put(f"{directory}/f", b"1")
    for content in (b"2", b"3", b"4"):
        me.put(f"{directory}/f", content)
    assert rows(me.site.database) == 1
