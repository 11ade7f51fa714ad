"""Directories as tar archives over HTTP: stored all or none, by the rules for single files; given page by page."""

from __future__ import annotations

import http.client
import io
import itertools
import os
import random
import re
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import sqlalchemy as sa
from archives_sent import GOOD, TAR, archive, fetch, listed, send, unpacked
from hosted_site import Caller, Site

from Algorithmia.server.identity import KeyPermissions
from Algorithmia.server.services import data_batches


def test_there_and_back(me: Caller) -> None:
    directory = me.collection()
    files = {"a.txt": "hällo".encode(), "b/c.bin": b"\0\xff", "b/d/\u00e9 +%.json": b"{}", "empty": b""}
    me.put(f"{directory}/a.txt", b"before")
    assert send(me, directory, archive(*files.items())).json == {"result": {"stored": 4}}
    for name, content in files.items():
        single = me.get(f"{directory}/{quote(name)}")
        me.put(f"{directory}/single", content)
        alone = me.head(f"{directory}/single")
        assert single.body == content and single.headers["etag"] == alone.headers["etag"]
        assert single.headers["repr-digest"] == alone.headers["repr-digest"]
    assert me.head(f"{directory}/a.txt").headers["content-type"] == "text/plain; charset=utf-8"
    assert me.head(f"{directory}/b/c.bin").headers["content-type"] == "application/octet-stream"
    assert me.send("DELETE", f"{directory}/single").status == 200
    assert unpacked(fetch(me, directory)) == files
    assert unpacked(fetch(me, f"{directory}/b")) == {"c.bin": b"\0\xff", "d/\u00e9 +%.json": b"{}"}
    assert send(me, f"{directory}/b", archive(("x", b"1"))).status == 200 and me.get(f"{directory}/b/x").body == b"1"
    assert send(me, f"{directory}/new/", archive(("x", b"2"))).status == 200
    assert unpacked(fetch(me, f"{directory}/new/")) == {"x": b"2"}


def test_it_is_announced(me: Caller, site: Site) -> None:
    directory = me.collection()
    me.put(f"{directory}/a/f", b"")
    for path in (directory, f"{directory}/", f"{directory}/a"):
        assert me.get(path).headers["accept-post"] == me.head(path).headers["accept-post"] == TAR
        assert me.get(path, Accept="application/json, text/x-tar").headers["content-type"] == "application/json"
        assert me.get(path, Accept="text/html, Application/X-Tar;q=0.5").headers["content-type"] == TAR
    for path in ("", ".my", f"{directory}/a/f"):
        assert "accept-post" not in me.get(path).headers
        assert send(me, path, archive(("f", b""))).status in (400, 409)
    assert me.get(f"{directory}/a/f", Accept=TAR).headers["content-type"] != TAR
    assert fetch(me, ".my").status == 400 and fetch(me, f"{directory}/none").status == 404


def test_quotas_count_the_whole(new_site: Callable[..., Site]) -> None:
    caller = new_site(max_account_bytes=10).caller()
    directory = caller.collection()
    assert "does not fit" in send(caller, directory, archive(("a", b"12345"), ("b", b"123456"))).refused(413)
    assert listed(caller, directory) == []
    assert send(caller, directory, archive(("a", b"12345"), ("b", b"12345"))).status == 200
    assert send(caller, directory, archive(("a", b"1"), ("b", b"123456789"))).status == 200
    assert caller.get(f"/v1/users/{caller.account.username}").json["used_bytes"] == 10
    assert caller.put(f"{directory}/c", b"1").status == 413


def test_rights(me: Caller, other: Caller, site: Site) -> None:
    directory = me.collection([])
    name = directory.partition("/")[2]
    owned = f"{me.account.username}/{name}"
    assert send(me, f"{directory}_none", GOOD).refused(404)
    assert "only the owner" in send(other, owned, GOOD).refused(403) and fetch(other, owned).status == 403
    reader = site.caller(KeyPermissions(allow_data=True), account=me.account)
    writer = site.caller(KeyPermissions(allow_data_write=True), account=me.account)
    assert send(reader, directory, GOOD).status == 403 and send(writer, directory, GOOD).status == 200
    assert fetch(writer, directory).status == 403 and len(unpacked(fetch(reader, directory))) == 2
    assert me.patch(directory, {"acl": {"read": ["user://*"]}}).status == 200
    assert len(unpacked(fetch(other, owned))) == 2 and fetch(other, f"{owned}?file=first").status == 200
    nobody = Caller(site, me.account, None)
    assert send(nobody, directory, GOOD).status == fetch(nobody, directory).status == 401


def test_spaces_of_algorithms(me: Caller, site: Site) -> None:
    running = site.running(me, session="batches")
    for path in (".session", ".algo/temp", ".algo/perm"):
        assert unpacked(fetch(running, path)) == {}
        assert send(running, path, GOOD).json == {"result": {"stored": 2}}
        assert list(unpacked(fetch(running, path))) == ["first", "second"]
    assert len(unpacked(fetch(me, f".algo/{me.account.username}/Algo/perm"))) == 2
    assert send(me, ".session", GOOD).status == send(me, ".algo/temp", GOOD).status == 400
    site.data.session_is_live = lambda session: False
    assert "has ended" in send(site.running(me, session="over"), ".session", GOOD).refused(404)
    site.data.session_is_live = lambda session: True


def test_files_and_folders_in_each_others_way(me: Caller) -> None:
    directory = me.collection()
    for name in ("a/b/c", "file"):
        me.put(f"{directory}/{name}", b"old")
    for name in ("a/b", "a", "file/x", "file/x/y"):
        refused = send(me, directory, archive(("0", b""), (name, b"new"), ("z", b"")))
        assert f"{directory}/{name} can't be stored" in refused.refused(409) and listed(me, directory) == ["file"]
    deep = archive(*((f"a/x{number}/y/z", b"") for number in range(900)), ("a/b/c", b"new"), ("a/bc", b""))
    assert send(me, directory, deep).json == {"result": {"stored": 902}}
    assert me.get(f"{directory}/a/b/c").body == b"new"
    assert "can't be stored" in send(me, directory, archive(("a", b""))).refused(409)
    crowded = archive(*((f"c{number:04}", b"") for number in range(999)))
    assert send(me, directory, crowded).status == 200
    assert send(me, directory, archive(("c0000x/y", b""), *((f"e{number}", b"") for number in range(9)))).status == 200
    refused = send(me, directory, archive(("b", b""), ("c0000x", b""), ("zz", b"")))
    assert "c0000x can't be stored" in refused.refused(409)


def test_deep_folders_take_few_statements(me: Caller, site: Site) -> None:
    directory = me.collection()
    deepest = f"{directory}/" + "/".join("x" * 500)
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    sa.event.listen(site.database._engine, "before_cursor_execute", note)
    try:
        own = archive(*((f"{number}/" + "a/" * 18 + "file", b"") for number in range(1000)))
        for path, body in ((directory, own), (deepest, archive(*((f"{number}", b"") for number in range(1000))))):
            assert send(me, path, body).status == 200
    finally:
        sa.event.remove(site.database._engine, "before_cursor_execute", note)
    assert len(statements) < 40, len(statements)
    assert "/x/1/x can't be stored" in send(me, deepest, archive(("1/x", b""))).refused(409)
    assert "/x/x can't be stored" in send(me, deepest[:-2], archive(("new", b""), ("x", b""))).refused(409)


def test_pages(me: Caller) -> None:
    directory = me.collection()
    names = [f"f{number:02}" for number in range(24)] + ["sub/a", "sub/b"]
    assert send(me, directory, archive(*((name, name.encode()) for name in names))).status == 200
    me.put(f"{directory}/f05", b"x" * 300_000)
    found: dict[str, bytes] = {}
    path, left_out, count = directory, 0, 0
    while path:
        answer = fetch(me, path)
        found.update(unpacked(answer))
        left_out += int(answer.headers.get("x-left-out", 0))
        link = re.fullmatch(r'<(\?marker=[\w-]+)>; rel="next"', answer.headers.get("link", ""))
        path = directory + link[1] if link else ""
        count += 1
    assert found == {name: name.encode() for name in names if name != "f05"} and (left_out, count) == (1, 3)
    assert fetch(me, f"{directory}?marker=x").error["code"] == 5002
    assert fetch(me, f"{directory}?marker={me.get(directory).json['marker']}").error["code"] == 5002


def test_pages_are_bounded_in_bytes(me: Caller) -> None:
    directory = me.collection()
    for group in range(2):
        files = ((f"{group}{number:02}", bytes([number]) * 260_000) for number in range(9))
        assert send(me, directory, archive(*files)).status == 200
    first = fetch(me, directory)
    assert len(first.body) < data_batches.PAGE_BYTES + 65536 and "link" in first.headers
    assert fetch(me, f"{directory}?file=000&file=001").headers.get("link") is None


def test_named_files(me: Caller) -> None:
    directory = me.collection()
    me.put(f"{directory}/large", b"x" * 300_000)
    assert send(me, directory, archive(("a b", b"1"), ("s/\u00e9", b"2"), ("c", b"3"))).status == 200
    answer = fetch(me, f"{directory}?file=a%20b&file=s%2F%C3%A9&file=large&file=none&file=../x")
    assert unpacked(answer) == {"a b": b"1", "s/\u00e9": b"2"} and answer.headers["x-left-out"] == "1"
    assert unpacked(fetch(me, f"{directory}/s?file=%C3%A9&file=c")) == {"\u00e9": b"2"}
    assert fetch(me, f"{directory}?" + "&".join(["file=x"] * 1001)).status == 400


def test_times_travel(me: Caller) -> None:
    directory = me.collection()
    send(me, directory, archive(("a", b"1")))
    told = parsedate_to_datetime(me.head(f"{directory}/a").headers["last-modified"]).timestamp()
    with tarfile.open(fileobj=io.BytesIO(fetch(me, directory).body)) as packed:
        assert packed.getmember("a").mtime == told and packed.getmember("a").mode == 0o644


def test_a_file_that_is_replaced_while_it_is_packed(me: Caller, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = me.collection()
    send(me, directory, archive(("a", b"1"), ("b", b"1"), ("c", b"1")))
    real, gone = site.blobs.open_blob, itertools.count()

    def open_blob(blob_id: str) -> Any:
        if next(gone) == 1:
            me.put(f"{directory}/b", b"2")
            me.send("DELETE", f"{directory}/c")
        return real(blob_id)

    monkeypatch.setattr(site.blobs, "open_blob", open_blob)
    assert unpacked(fetch(me, directory)) == {"a": b"1", "b": b"2"}


def test_connectors_take_none(me: Caller) -> None:
    refused = send(me, "/v1/connector/s3/bucket/x", GOOD)
    assert refused.status >= 400 and "accept-post" not in refused.headers


def test_all_or_nothing_when_killed(start_server: Callable[..., Any], tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    platform = start_server(home=home)
    seed = random.randrange(2**32)
    pauses = random.Random(seed)

    def request(method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(urlsplit(platform.address).netloc, timeout=30)
        try:
            connection.request(method, f"/v1/data/{path}", body, {"Authorization": platform.key, **headers})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    assert request("POST", ".my", b'{"name": "c"}')[0] == 200
    stored = begun = -1

    def write(versions: Iterator[int]) -> None:
        nonlocal stored, begun
        for version in versions:
            begun = version
            body = archive(*((f"f{number}", b"%d %d" % (version, number)) for number in range(60)))
            try:
                if request("POST", ".my/c", body, **{"Content-Type": TAR})[0] != 200:
                    return
            except (OSError, http.client.HTTPException):
                return
            stored = version

    versions = itertools.count()
    for _ in range(3):
        writer = threading.Thread(target=write, args=(versions,))
        writer.start()
        time.sleep(pauses.uniform(0.1, 0.5))
        platform.kill()
        writer.join()
        platform = start_server(home=home)
        status, body = request("GET", ".my/c", Accept=TAR)
        with tarfile.open(fileobj=io.BytesIO(body)) as packed:
            found = [packed.extractfile(member).read().split() for member in packed]  # type: ignore[union-attr]
        assert len({version for version, _ in found}) <= 1, (seed, found)
        assert len(found) == (60 if found else 0) and (found or stored == -1)
        if found:
            assert stored <= int(found[0][0]) <= begun, seed
        blobs = home / "platform" / "blobs"
        assert sum(len(files) for _, _, files in os.walk(blobs)) == len(found)
