"""Folders below collections: they come and go with files whose names have slashes. Over HTTP, as clients see them."""

from __future__ import annotations

import io
import re
import tarfile
import threading
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from hosted_site import Caller, Site

from Algorithmia.server.services import data_folders, data_removal


def keys(document: dict[str, Any]) -> list[str]:
    """Files, and folders with a slash, in the order that they have together."""
    folders = [f"{folder['name']}/" for folder in document.get("folders", [])]
    return sorted(folders + [file["filename"] for file in document.get("files", [])])


def pages(caller: Caller, path: str) -> list[list[str]]:
    document = caller.get(path).json
    found = [keys(document)]
    while document.get("marker"):
        assert len(found) < 50
        document = caller.get(f"{path}?marker={document['marker']}").json
        found.append(keys(document))
    return found


def test_files_in_folders(me: Caller) -> None:
    directory = me.collection()
    assert me.put(f"{directory}/a/b/f.txt", b"deep").json == {"result": f"data://{directory}/a/b/f.txt"}
    assert me.put(f"{directory}/a/g", b"less").status == 200
    assert me.get(f"{directory}/a/b/f.txt").body == b"deep"
    assert me.get(f"{directory}%2Fa%2Fb%2Ff.txt").body == b"deep"
    assert me.head(f"{directory}/a/b/f.txt").headers["content-type"].startswith("text/plain")
    assert keys(me.get(directory).json) == ["a/"]
    for path in (f"{directory}/a", f"{directory}/a/"):
        answer = me.get(path)
        assert answer.headers["x-data-type"] == "directory"
        assert keys(answer.json) == ["b/", "g"]
        assert me.head(path).headers["x-data-type"] == "directory"
    assert [(file["filename"], file["size"]) for file in me.get(f"{directory}/a/b").json["files"]] == [("f.txt", 4)]
    assert me.delete(f"{directory}/a/b/f.txt").json == {"result": {"deleted": 1}}
    # With its last file a folder goes.
    for path in (f"{directory}/a/b", f"{directory}/a/b/", f"{directory}/a/b/f.txt"):
        assert me.get(path).status == me.head(path).status == me.delete(path).status == 404
        assert me.get(path).message == f"path not found: data://{path.rstrip('/')}"
    assert keys(me.get(f"{directory}/a").json) == ["g"]


def test_what_is_a_file_is_no_folder(me: Caller) -> None:
    directory = me.collection()
    me.put(f"{directory}/a/b/f", b"x")
    me.put(f"{directory}/plain", b"x")
    for name, obstacle in [
        ("a", "a is a folder"),
        ("a/b", "a/b is a folder"),
        ("plain/f", "plain is a file"),
        ("plain/deep/f", "plain is a file"),
        ("a/b/f/g", "a/b/f is a file"),
    ]:
        # Small, large (which is refused before it's sent), and copied.
        answers = [
            me.put(f"{directory}/{name}", b"y"),
            me.send("PUT", f"{directory}/{name}", None, {"Content-Length": "5000000"}),
            me.send("COPY", f"{directory}/plain", None, {"Destination": f"data://{directory}/{name}"}),
        ]
        for answer in answers:
            assert answer.status == 409
            assert f"data://{directory}/{name} can't be stored: {obstacle}" in answer.message
    for path in (f"{directory}/plain/", f"{directory}/plain/x", f"{directory}/a/b/f/"):
        assert me.get(path).status == 404
    assert me.put(f"{directory}/a/", b"y").status == 400
    # Names that only look alike are no obstacle.
    for name in ("a0", "a-", "a.b", "ab/f", "plai/f", "plain0", "A", "a/B", "a/b0", "a/b-/f"):
        assert me.put(f"{directory}/{name}", b"z").status == 200
    assert me.put(f"{directory}/a/b/f", b"again").status == 200
    assert me.get(f"{directory}/a/b/f").body == b"again"


def test_files_and_folders_that_race_for_a_name(me: Caller) -> None:
    directory = me.collection()
    for attempt in range(5):
        statuses: dict[str, int] = {}

        def store(name: str, statuses: dict[str, int] = statuses) -> None:
            statuses[name] = me.put(f"{directory}/{name}", b"x").status

        names = [f"n{attempt}{below}" for below in ("", "/f", "/f/g")]
        threads = [threading.Thread(target=store, args=[name]) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses.values()) == [200, 409, 409]


def archive(*names: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as target:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 1
            target.addfile(member, io.BytesIO(b"y"))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("names", "obstacle"),
    [
        (["a", "a-"], "a is a folder"),
        (["a", "a/c"], "a is a f"),
        (["x", "x.txt", "x/y"], "x is a file"),
        (["plain/f", "q"], "plain is a file"),
        (["A", "a", "z"], "a is a folder"),
        (["a-", "a0", "a/c", "q/r/s", "q/r0"], ""),
    ],
)
def test_archives_keep_to_that(site: Site, me: Caller, names: list[str], obstacle: str) -> None:
    directory = me.collection()
    me.put(f"{directory}/a/b", b"x")
    me.put(f"{directory}/plain", b"x")
    for order in (names, names[::-1]):
        answer = me.send("POST", directory, archive(*order), {"Content-Type": "application/x-tar"})
        if obstacle:
            assert (answer.status, obstacle in answer.message) == (409, True), answer
            assert keys(me.get(directory).json) == ["a/", "plain"]
        else:
            assert answer.json == {"result": {"stored": len(names)}}
            assert keys(me.get(directory).json) == ["a-", "a/", "a0", "plain", "q/"]


# In the order of their bytes, with the slash that a folder has: it is behind "-" and ".", and before "0".
MIXED = ["a", "a b", "a-", "a.b", "b-", "b/", "b0", "b00", "c/", "d", "e-/", "e/", "e0", "f", "ß", "ä/", "€/"]


@pytest.mark.parametrize("size", [1, 3, 16, 17, 18, 1000])
@pytest.mark.parametrize("folder", ["", "deep/er/"])
def test_pages_are_in_one_order(new_site: Callable[..., Site], size: int, folder: str) -> None:
    me = new_site(page_size=size).caller()
    directory = me.collection()
    assert sorted(MIXED) == MIXED
    for key in reversed(MIXED):
        for below in ("x", "y/z", "~") if key.endswith("/") else ("",):
            assert me.put(f"{directory}/{folder}{quote(key)}{below}", b"x").status == 200
    me.put(f"{directory}/deep-", b"x")
    me.put(f"{directory}/deep/er0", b"x")
    wanted = sorted([*MIXED, "deep-", "deep/"]) if not folder else MIXED
    found = pages(me, f"{directory}/{folder}")
    assert [key for page in found for key in page] == wanted
    assert [len(page) for page in found] == [min(size, len(wanted) - at) for at in range(0, len(wanted), size)]
    # A marker of something that's gone since is as good as any.
    if size == 1:
        marker = me.get(f"{directory}/{folder}").json["marker"]
        me.delete(f"{directory}/{folder}a")
        assert keys(me.get(f"{directory}/{folder}?marker={marker}").json) == ["a b"]


def test_folders_are_skipped_not_read(site: Site, me: Caller) -> None:
    """A page costs a look-up for each of its entries, whatever is below them."""
    directory = me.collection()
    me.put(f"{directory}/first", b"x")
    with site.database.write() as connection:
        template = connection.exec_driver_sql("SELECT * FROM files ORDER BY modified_at DESC LIMIT 1").mappings().one()
        rows = [
            {**template, "id": f"{name}", "name": name, "blob_id": uuid.uuid4().hex}
            for folder in range(5)
            for name in (f"f{folder}/{number:04}" for number in range(2000))
        ]
        connection.execute(sa.insert(sa.table("files", *(sa.column(name) for name in template))), rows)
        collection = template["collection_id"]
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    with site.database.read() as connection:
        raw: Any = connection.connection.driver_connection
        raw.set_progress_handler(count, 10)
        try:
            for after, wanted in [("", ["f0/", "f1/", "f2/", "f3/", "f4/", "first"]), ("f3/", ["f4/", "first"])]:
                entries = data_folders.level(connection, collection, "", after, 7)
                assert [entry.key for entry in entries] == wanted
            assert data_folders.exists(connection, collection, "f4")
            assert data_folders.in_the_way(connection, collection, "f4/1999/x") == (
                "f4/1999 is a file there, so it can't be a folder, too"
            )
        finally:
            raw.set_progress_handler(None, 0)
    assert steps < 200  # 10,000 files would take 10,000 of them
    assert me.delete(f"{directory}?force=true").json == {"result": {"deleted": 10_001}}


def test_the_index_answers(site: Site) -> None:
    """No statement of a folder reads the table from one end to the other, or sorts."""
    from sqlalchemy.dialects import sqlite

    with site.database.read() as connection:
        among = data_folders._FILES_AMONGS["sqlite"], data_folders._FOLDERS_AMONGS["sqlite"]
        for statement in (data_folders._STRETCH, data_folders._FIRST, data_folders._LEVELS["sqlite"], *among):
            compiled = statement.compile(dialect=sqlite.dialect(paramstyle="named"))
            values = {**dict.fromkeys(compiled.params, 1), "names": '["a", "b"]'}
            plan = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values)]
            on_files = [line for line in plan if "files" in line]
            assert on_files, plan
            assert all(re.search(r"INDEX \S+ \(collection_id=\? AND name", line) for line in on_files), plan
            if statement is not data_folders._LEVELS["sqlite"]:
                assert not any("B-TREE" in line for line in plan), plan


def test_removing_folders(me: Caller) -> None:
    directory = me.collection()
    for name in ("a/1", "a/2", "a/b/3", "a-", "a0", "aa/4"):
        me.put(f"{directory}/{name}", b"x")
    for path in (f"{directory}/a", f"{directory}/a/", f"{directory}/a/b"):
        refused = me.delete(path)
        assert refused.status == 409
        assert refused.message == (
            f"directory data://{path.rstrip('/')} is not empty; remove it together with its files by force=true"
        )
    assert me.delete(f"{directory}/a?force=true").json == {"result": {"deleted": 3}}
    assert me.delete(f"{directory}/a?force=true").status == 404
    assert me.delete(f"{directory}/a/?force=true").status == 404
    assert keys(me.get(directory).json) == ["a-", "a0", "aa/"]
    assert me.delete(f"{directory}/aa/?force=1").json == {"result": {"deleted": 1}}
    # force=true on a file removes the file.
    assert me.delete(f"{directory}/a0?force=true").json == {"result": {"deleted": 1}}
    assert me.delete(f"{directory}?force=true").json == {"result": {"deleted": 1}}


def test_removing_large_folders(new_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_removal, "_BATCH", 10)
    site = new_site()
    me = site.caller()
    directory = me.collection()
    me.put(f"{directory}/stays", b"x")
    for count in (9, 10, 25):
        for index in range(count):
            me.put(f"{directory}/d/{index % 3}/{index}", b"x")
        assert me.delete(f"{directory}/d?force=1").json == {"result": {"deleted": count}}
    assert len(site.blob_files()) == 1


def test_folders_are_not_made(me: Caller) -> None:
    directory = me.collection()
    me.put(f"{directory}/a/f", b"x")
    for path in (directory, f"{directory}/", f"{directory}/a", f"{directory}/b/c/", f"{directory}/a/f"):
        answer = me.post(path, {"name": "made"})
        assert answer.status == 400
        assert answer.message == (
            "folders come by themselves, with their first file: store one as "
            f"data://{path.rstrip('/')}/made/FILE"
        )
    assert keys(me.get(directory).json) == ["a/"]


def test_folders_have_no_acl_of_their_own(me: Caller, other: Caller) -> None:
    directory = me.collection(["user://*"])
    me.put(f"{directory}/a/f", b"x")
    assert "acl" not in me.get(f"{directory}/a?acl=true").json
    for path in (f"{directory}/a", f"{directory}/a/", f"{directory}/a/f"):
        assert me.patch(path, {"acl": {"read": []}}).status == 400
    theirs = directory.replace(".my", me.account.username)
    assert keys(other.get(f"{theirs}/a").json) == ["f"]
    for path in (f"{theirs}/a/f", f"{theirs}/a", f"{theirs}/a/", f"{theirs}/a/new", f"{theirs}/a?force=true"):
        assert other.delete(path).status == 403
        assert other.put(path.split("?")[0].rstrip("/"), b"y").status == 403
    me.patch(directory, {"acl": {"read": []}})
    for path in (f"{theirs}/a/f", f"{theirs}/a", f"{theirs}/a/", f"{theirs}/none", f"{theirs}/none/"):
        assert other.get(path).status == other.head(path).status == 403


def test_copies(me: Caller) -> None:
    directory = me.collection()
    me.put(f"{directory}/f", b"x")
    for source, destination in [("f", "a/b/g"), ("a/b/g", "c/h"), ("c/h", "i")]:
        answer = me.send("COPY", f"{directory}/{source}", None, {"Destination": f"data://{directory}/{destination}"})
        assert answer.json == {"result": f"data://{directory}/{destination}"}
    assert me.get(f"{directory}/i").body == b"x"
    for source in ("a", "a/", "a/b"):
        answer = me.send("COPY", f"{directory}/{source}", None, {"Destination": f"data://{directory}/j"})
        assert answer.status == 400
        assert "is a directory" in answer.message


def test_other_spaces(site: Site, me: Caller) -> None:
    running = site.running(me)
    owner = me.account.username
    for space in (".session", ".algo/temp", f".algo/{owner}/Algo/models"):
        assert running.get(f"{space}/a").status == running.get(f"{space}/a/").status == 404
        assert running.put(f"{space}/a/b/f", b"x").json == {"result": f"data://{space}/a/b/f"}
        assert running.put(f"{space}/a/b", b"x").status == 409
        assert keys(running.get(f"{space}/a").json) == ["b/"]
        assert running.get(f"{space}/a/b/f").body == b"x"
    assert keys(me.get(f".algo/{owner}/Algo/temp/a/b").json) == ["f"]
    assert me.delete(f".algo/{owner}/Algo/temp/a?force=true").json == {"result": {"deleted": 1}}
    site.data.end_session(me.account.id, "s1")
    assert running.get(".session/a").status == 404
