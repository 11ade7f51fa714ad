"""Removing many files: out of view at once, in batches, continued after a crash, a kill or a stop; and what expires."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from hosted_site import Caller, Site

from Algorithmia.server.services import data_folders, data_records, data_removal
from Algorithmia.server.services.housekeeping import Housekeeping


def filled(caller: Caller, count: int) -> str:
    directory = caller.collection()
    for number in range(count):
        assert caller.put(f"{directory}/d/{number:03}", b"x" * number).status == 200
    return directory


def rows(site: Site, table: str) -> int:
    with site.database.read() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def used(caller: Caller) -> int:
    return int(caller.get(f"/v1/users/{caller.account.username}").json["used_bytes"])


def test_gone_at_once_although_files_are_left(new_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_removal, "_BATCH", 10)
    monkeypatch.setattr(data_removal, "_PATIENCE", 0.0)
    site = new_site()
    me = site.caller()
    directory = filled(me, 25)
    asked = []
    site.data.removal.on_rest = lambda: asked.append(1)
    assert me.delete(f"{directory}?force=true").json == {"result": {"deleted": 25}}
    assert asked == [1]
    assert site.data.removal.has_rest()
    assert len(site.blob_files()) == 25
    for path in (directory, f"{directory}/d", f"{directory}/d/001"):
        assert me.get(path).status == me.delete(path).status == 404
    assert me.put(f"{directory}/d/001", b"x").status == 404
    assert me.get(".my").json == {}
    assert me.get("/v1/hostedData").json == {"result": []}
    # The name is free; what comes under it is nothing that goes.
    assert me.post(".my", {"name": directory[4:]}).status == 200
    me.put(f"{directory}/new", b"new")
    assert used(me) == sum(range(25)) + 3
    site.data.removal.go_on()
    assert not site.data.removal.has_rest()
    assert me.get(f"{directory}/new").body == b"new"
    assert (len(site.blob_files()), rows(site, "files"), rows(site, "collections"), used(me)) == (1, 1, 1, 3)


@pytest.mark.parametrize("moment", ["condemned", "rows", "contents"])
@pytest.mark.parametrize("is_folder", [False, True])
def test_crash_while_removing(
    new_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, moment: str, is_folder: bool
) -> None:
    """At any moment: what is left is removed after the start, of a folder after it's asked for again."""
    monkeypatch.setattr(data_removal, "_BATCH", 10)
    site = new_site()
    me = site.caller()
    directory = filled(me, 35)
    me.put(f"{directory}/stays", b"x")

    class Died(BaseException):
        pass

    delete = type(site.blobs).delete
    calls = []

    def die(*arguments: Any) -> None:
        calls.append(1)
        if moment != "contents" or len(calls) > 15:
            raise Died
        delete(*arguments)

    place = {
        "condemned": (data_records, "files_between"),
        "rows": (data_removal.Removal, "_unlink"),
        "contents": (type(site.blobs), "delete"),
    }[moment]
    identity = site.accounts.find_identity(me.key or "")
    assert identity is not None
    with monkeypatch.context() as patch:
        from Algorithmia.server.services.data_paths import parse

        patch.setattr(*place, die)
        target = parse(f"{directory}/{'d/' if is_folder else ''}".encode())
        with pytest.raises(Died):
            site.data.delete_directory(identity, target, force=True)
    site.stop()
    again = new_site(site.settings.home)
    caller = Caller(again, me.account, me.key)
    if is_folder:
        left = caller.delete(f"{directory}/d?force=true").json["result"]["deleted"]
        assert left == {"condemned": 35, "rows": 25, "contents": 15}[moment]
        assert caller.get(f"{directory}/stays").body == b"x"
        assert caller.delete(f"{directory}?force=true").json == {"result": {"deleted": 1}}
    else:
        assert caller.get(directory).status == 404
        again.data.removal.go_on()
    assert (again.blob_files(), rows(again, "files"), rows(again, "collections"), used(caller)) == ([], 0, 0, 0)
    again.stop()
    assert rows(new_site(site.settings.home), "garbage") == 0


def test_a_failure_on_the_way(me: Caller, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_removal, "_BATCH", 5)
    files_between = data_records.files_between
    calls: list[int] = []

    def fail_at_third(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise sa.exc.OperationalError("", {}, Exception("disk I/O error"))
        return files_between(*arguments)

    directory = filled(me, 12)
    with monkeypatch.context() as patch:
        patch.setattr(data_records, "files_between", fail_at_third)
        answer = me.delete(f"{directory}/d?force=true")
        assert (answer.status, answer.json["error"]["deleted"]) == (500, 10)
        assert "repeat the request" in answer.message
        # It's out of sight, and the rest is done later: nothing that whoever asked need know.
        calls.clear()
        whole = filled(me, 12)
        calls.clear()
        assert me.delete(f"{whole}?force=true").json == {"result": {"deleted": 12}}
    assert [file["filename"] for file in me.get(f"{directory}/d").json["files"]] == ["010", "011"]
    assert me.get(whole).status == 404
    site.data.removal.go_on()
    assert not site.data.removal.has_rest()


def test_nothing_is_synced_file_by_file(me: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = filled(me, 12)
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    assert me.delete(f"{directory}?force=true").json == {"result": {"deleted": 12}}
    assert synced == []


def test_a_stop_ends_it_between_two_batches(new_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_removal, "_BATCH", 5)
    site = new_site()
    me = site.caller()
    directory, other = filled(me, 12), filled(me, 12)
    unlink = data_removal.Removal._unlink

    def stop_then_unlink(removal: data_removal.Removal, batch: Any) -> None:
        removal.stop()
        unlink(removal, batch)

    monkeypatch.setattr(data_removal.Removal, "_unlink", stop_then_unlink)
    answer = me.delete(f"{directory}/d?force=true")
    assert (answer.status, answer.json["error"]["deleted"]) == (500, 5)
    assert me.delete(f"{other}?force=true").json == {"result": {"deleted": 12}}
    assert site.data.removal.has_rest()
    assert len(site.blob_files()) == 7 + 12


def test_what_writers_wait_for_is_found_by_indexes(site: Site) -> None:
    seen: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        seen.append((statement, parameters))

    start, end = data_folders.stretch("d", "d/x")
    sa.event.listen(site.database._engine, "before_cursor_execute", note)
    try:
        with site.database.write() as connection:
            data_records.files_between(connection, "c", start, end, 500)
            data_records.count_files(connection, "c")
            with pytest.raises(RuntimeError):  # there are none
                data_records.delete_files(connection, "a", [("f", 1), ("g", 2)])
            data_records.expired_files(connection, "algo", "/temp", 0, 500)
            data_records.expired_files(connection, "algo", "/temp", 0, 500, ["c", "d"])
            data_records.lock_collections(connection, ["c", "d"])
            data_records.move_collection(connection, "c", "deleted")
            data_records.collection_rows(connection, "deleted", limit=1)
    finally:
        sa.event.remove(site.database._engine, "before_cursor_execute", note)
    assert len(seen) == 8
    with site.database.read() as connection:
        for statement, parameters in seen:
            plan = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            for line in plan:
                assert line.startswith(("SEARCH", "LIST SUBQUERY", "USE TEMP B-TREE FOR ORDER BY")), (statement, plan)
                assert "TEMP" not in line or "collections.name" in statement, (statement, plan)


def request(platform: Any, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(platform.address).netloc, timeout=60)
    try:
        connection.request(method, f"/v1/data/{path}", body, {"Authorization": platform.key})
        response = connection.getresponse()
        content = response.read()
        is_document = response.getheader("Content-Type") == "application/json"
        return response.status, json.loads(content) if content and is_document else content
    finally:
        connection.close()


def blobs(home: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(home / "platform" / "blobs"))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def multiply(home: Path, count: int) -> None:
    """Make `count` more of the one file that there is: rows and contents, while no platform runs."""
    with sqlite3.connect(home / "platform" / "platform.db") as database:
        database.row_factory = sqlite3.Row
        template = dict(database.execute("SELECT * FROM files").fetchone())
        made = [
            {**template, "id": str(uuid.uuid4()), "name": f"d/{number:06}", "blob_id": uuid.uuid4().hex}
            for number in range(count)
        ]
        database.executemany(f"INSERT INTO files VALUES ({', '.join(f':{name}' for name in template)})", made)
        database.execute("UPDATE accounts SET used_bytes = used_bytes + ?", [count * template["size"]])
    database.close()
    shards = home / "platform" / "blobs"
    for row in made:
        shard = shards / row["blob_id"][:2]
        shard.mkdir(exist_ok=True)
        os.close(os.open(shard / row["blob_id"], os.O_CREAT | os.O_WRONLY))


def test_killed_while_removing(start_server: Callable[..., Any], tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    platform = start_server(home=home)
    assert request(platform, "POST", ".my", b'{"name": "c"}')[0] == 200
    assert request(platform, "PUT", ".my/c/f", b"x")[0] == 200
    platform.stop()
    multiply(home, 8000)
    platform = start_server(home=home)
    before = blobs(home)
    assert before == 8001
    outcome: list[str] = []

    def remove() -> None:
        try:
            outcome.append(str(request(platform, "DELETE", ".my/c?force=true")))
        except (OSError, http.client.HTTPException):
            outcome.append("killed")

    thread = threading.Thread(target=remove)
    thread.start()
    wait_until(lambda: blobs(home) < before)
    platform.kill()
    thread.join()
    left = blobs(home)
    platform = start_server(home=home)
    assert request(platform, "GET", ".my/c")[0] == 404
    assert request(platform, "GET", ".my")[1] == {}
    if outcome == ["killed"]:
        assert left > 0
    wait_until(lambda: blobs(home) == 0)
    # Of the same kind: temporary files and unfinished uploads whose day is over, and a removed collection that no
    # request is about any more.
    assert request(platform, "POST", ".my", b'{"name": "c"}')[0] == 200
    assert request(platform, "PUT", ".my/c/f", b"x")[0] == 200
    for folder in ("temp", "perm"):
        assert request(platform, "PUT", f".algo/demo/Hello/{folder}/deep/f", b"x")[0] == 200
    platform.kill()
    with sqlite3.connect(home / "platform" / "platform.db") as database:
        database.execute("UPDATE collections SET space = 'deleted', name = id WHERE name = 'c'")
        database.execute("UPDATE files SET modified_at = modified_at - 25 * 3600 * 1000")
        (account,) = database.execute("SELECT account_id FROM collections").fetchone()
        for age in (0, 25):
            upload, touched_at = uuid.uuid4().hex, int((time.time() - age * 3600) * 1000)
            database.execute(
                "INSERT INTO uploads (id, account_id, target, conditions, blob_id, created_at, touched_at) "
                "VALUES (?, ?, 'data://.my/c/u', '[null,null]', ?, 0, ?)",
                [upload, account, upload, touched_at],
            )
            (home / "platform" / "blobs" / "staging" / upload).write_bytes(b"x")
    database.close()
    platform = start_server(home=home)
    wait_until(lambda: blobs(home) == 2)
    assert request(platform, "GET", ".algo/demo/Hello/perm/deep/f")[0] == 200
    assert request(platform, "GET", ".algo/demo/Hello/temp/deep/f")[0] == 404
    assert platform.stop() == 0


def test_housekeeping() -> None:
    """A sweep at once when there's something to do, again when it's woken, all of its jobs; an end on demand."""
    events: list[str] = []
    is_stopping = threading.Event()

    def fail() -> None:
        events.append("fails")
        raise OSError("disk")

    def work() -> None:
        events.append("works")

    def hold() -> None:
        events.append("begun")
        is_stopping.wait(60)
        events.append("ended")

    async def run() -> None:
        first = Housekeeping([fail, work], lambda: None)
        first.wake()  # not started yet: nothing that anybody waits for
        first.start(at_once=True)
        while len(events) < 2:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(first.wake)
        while len(events) < 4:
            await asyncio.sleep(0.01)
        await first.close()
        second = Housekeeping([hold], is_stopping.set)
        second.start(at_once=True)
        while "begun" not in events:
            await asyncio.sleep(0.01)
        await second.close()
        third = Housekeeping([work], lambda: None)
        third.start(at_once=False)
        await third.close()
        await Housekeeping([work], lambda: None).close()

    asyncio.run(run())
    assert events == ["fails", "works"] * 2 + ["begun", "ended"]
