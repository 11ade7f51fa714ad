"""Directories over HTTP: making, listing page by page, access lists, removing; algorithm and session spaces."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hosted_site import Caller, Site

from Algorithmia.server.identity import KeyPermissions
from Algorithmia.server.services import data_removal


def names(document: dict[str, Any]) -> list[str]:
    return [folder["name"] for folder in document.get("folders", [])] + [
        file["filename"] for file in document.get("files", [])
    ]


def pages(caller: Caller, path: str) -> list[dict[str, Any]]:
    found = [caller.get(path).json]
    while found[-1].get("marker"):
        assert len(found) < 20
        found.append(caller.get(f"{path}?marker={found[-1]['marker']}").json)
    return found


def test_roots(me: Caller) -> None:
    for path in ("", "/v1/data", "data://", "/v1/connector/data/", "/v1/connector/data"):
        answer = me.get(path)
        assert answer.json == {"folders": [{"name": me.account.username}]}
        assert answer.headers["x-data-type"] == "directory"
    assert me.get(".my").json == {}
    assert me.post(".my", {"name": "first"}).json == {"result": "data://.my/first"}
    assert me.post(me.account.username, {"name": "second"}).json == {"result": f"data://{me.account.username}/second"}
    assert (
        me.get(".my").json
        == me.get(f"{me.account.username}/").json
        == {"folders": [{"name": "first"}, {"name": "second"}]}
    )
    assert me.get(".my/first").json == {}


def test_listing_of_files(me: Caller) -> None:
    directory = me.collection()
    me.put(f"{directory}/b", b"123")
    me.put(f"{directory}/a", b"")
    document = me.get(f"{directory}/").json
    assert [file.pop("last_modified")[-1] for file in document["files"]] == ["Z", "Z"]
    assert document == {"files": [{"filename": "a", "size": 0}, {"filename": "b", "size": 3}]}
    stamp = me.get(directory).json["files"][0]["last_modified"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp)


@pytest.mark.parametrize("count", [9, 10, 11, 20, 25])
def test_pages(me: Caller, count: int) -> None:
    directory = me.collection()
    wanted = sorted(f"{'ä' if index % 2 else 'f'}{index}" for index in range(count))
    for name in wanted:
        me.send("PUT", f"{directory}/{name.encode().hex()}")
    found = pages(me, directory)
    assert [name for page in found for name in names(page)] == sorted(name.encode().hex() for name in wanted)
    assert [len(names(page)) for page in found] == [min(10, count - start) for start in range(0, count, 10)]


def test_pages_of_collections(me: Caller, other: Caller) -> None:
    wanted = [f"c{index:02}" for index in range(25)]
    for index, name in enumerate(wanted):
        me.post(".my", {"name": name, "acl": {"read": ["user://*"] if index % 2 else []}})
    assert [name for page in pages(me, ".my") for name in names(page)] == wanted
    assert [name for page in pages(other, me.account.username) for name in names(page)] == wanted[1::2]


@pytest.mark.parametrize("marker", ["x", "n-", "n-!!", "n-%FF", "n-_w", "%00", "n-" + "a" * 9])
def test_bad_markers(me: Caller, marker: str) -> None:
    answer = me.get(f"{me.collection()}?marker={marker}")
    if marker == "n-":
        assert answer.status == 200
    else:
        assert (answer.status, answer.json["error"]["code"]) == (400, 5002)


def test_empty_marker_is_none(me: Caller) -> None:
    assert me.get(f"{me.collection()}?marker=").status == 200


def test_head(me: Caller) -> None:
    for path in ("", ".my", me.collection(), ".algo"):
        answer = me.head(path)
        assert (answer.status, answer.headers["x-data-type"], answer.body) == (200, "directory", b"")
    for path in (".my/missing", "nobody", ".algo/o", ".algo/o/n/temp"):
        answer = me.head(path)
        assert answer.status == 404
        assert answer.headers["x-error-message"] == f"path not found: data://{path}"


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "a/b", "..", "a" * 31, "ä", "a\n"])
def test_bad_names(me: Caller, name: str) -> None:
    assert me.post(".my", {"name": name}).status == 400


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        b"\xff\xfe",
        "null",
        "[]",
        "{}",
        '{"name": 1}',
        '{"name": null}',
        '{"name": "a", "acl": []}',
        '{"name": "a", "acl": {}}',
        '{"name": "a", "acl": {"read": "user://*"}}',
        '{"name": "a", "acl": {"read": [1]}}',
        '{"name": "a", "acl": {"read": ["user://ada"]}}',
        '{"name": "a", "acl": {"read": [], "write": ["user://*"]}}',
        '{"name": NaN}',
        "[" * 60_000,
        '{"name": "\\ud800"}',
    ],
)
def test_malformed_bodies(me: Caller, body: Any) -> None:
    assert me.post(".my", body).status == 400
    directory = me.collection()
    assert me.patch(directory, body).status == 400


def test_huge_body(me: Caller) -> None:
    assert me.post(".my", b" " * 100_000).status == 413


def test_creation_conflicts_and_places(me: Caller, other: Caller) -> None:
    assert me.post(".my", {"name": "twice"}).status == 200
    again = me.post(".my/", {"name": "twice"})
    assert again.status == 409
    assert again.message == "directory data://.my/twice exists already"
    assert me.post(".my", {"name": "Twice"}).status == 200
    for path in ("", ".my/twice", ".my/twice/f", ".algo", ".algo/o/n", ".session"):
        assert me.post(path, {"name": "x"}).status == 400
    assert me.post(other.account.username, {"name": "x"}).status == 403
    assert me.post("nobody", {"name": "x"}).status == 404


def test_concurrent_creation_makes_one(me: Caller) -> None:
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(me.post(".my", {"name": "race"}).status)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [409] * 7


@pytest.mark.parametrize(
    ("acl", "shown"),
    [
        (None, ["algo://.my/*"]),
        (["user://*"], ["user://*"]),
        (["algo://.my/*"], ["algo://.my/*"]),
        ([], []),
        (["algo://.my/*", "user://*"], ["user://*"]),
    ],
)
def test_acl_documents(me: Caller, acl: list[str] | None, shown: list[str]) -> None:
    directory = me.collection(acl)
    assert me.get(f"{directory}?acl=true").json == {"acl": {"read": shown}}
    for value in ("True", "1", "TRUE"):
        assert "acl" in me.get(f"{directory}?acl={value}").json
    for value in ("false", "0", ""):
        assert "acl" not in me.get(f"{directory}?acl={value}").json
    assert "acl" not in me.get(".my?acl=true").json


def test_patch_acl(me: Caller, other: Caller) -> None:
    directory = me.collection()
    theirs = directory.replace(".my", me.account.username)
    assert other.get(theirs).status == 403
    answer = me.patch(directory, {"acl": {"read": ["user://*"]}})
    assert (answer.status, answer.body) == (200, b"")
    assert other.get(theirs).status == 200
    assert other.patch(theirs, {"acl": {"read": []}}).status == 403
    assert me.patch(".my/missing", {"acl": {"read": []}}).status == 404
    for path in ("", ".my", f"{directory}/f", ".algo/o/n/temp"):
        assert me.patch(path, {"acl": {"read": []}}).status == 400


def test_who_may_read(site: Site, me: Caller, other: Caller) -> None:
    """The three access lists, for another user, for my algorithm and for a stranger's one, both called by that user."""
    stranger = site.caller()
    mine = site.running(other, me.account)
    strange = site.running(other, stranger.account)
    for acl, allowed in [
        (["user://*"], {"other", "mine", "strange"}),
        (["algo://.my/*"], {"mine"}),
        ([], set()),
    ]:
        own = me.collection(acl)
        directory = own.replace(".my", me.account.username)
        me.put(f"{own}/f", b"x")
        for name, caller in [("other", other), ("mine", mine), ("strange", strange)]:
            status = 200 if name in allowed else 403
            for path in (f"{directory}/f", directory):
                assert caller.get(path).status == caller.head(path).status == status, (acl, name)
            missing = 404 if name in allowed else 403
            assert caller.get(f"{directory}/missing").status == missing
            for answer in (caller.put(f"{directory}/f", b"y"), caller.delete(f"{directory}/f")):
                assert answer.status == 403
            assert caller.delete(f"{directory}?force=true").status == 403
            collection = directory.split("/")[1]
            assert (collection in names(caller.get(me.account.username).json)) == (name in allowed)
        assert site.running(me, stranger.account).get(f"{own}/f").body == b"x"


def test_owner_names_ignore_case(me: Caller) -> None:
    directory = me.collection().replace(".my", me.account.username.upper())
    assert me.put(f"{directory}/f").json == {"result": f"data://{directory}/f"}


@pytest.mark.parametrize(
    ("permissions", "read", "write"),
    [
        (KeyPermissions(), 403, 403),
        (KeyPermissions(allow_data=True), 200, 403),
        (KeyPermissions(allow_data_write=True), 403, 200),
        (KeyPermissions(allow_data=True, allow_data_write=True), 200, 200),
    ],
)
def test_key_permissions(site: Site, me: Caller, permissions: KeyPermissions, read: int, write: int) -> None:
    limited = site.caller(permissions, account=me.account)
    directory = me.collection()
    me.put(f"{directory}/f", b"x")
    for path in ("", ".my", directory, f"{directory}/f"):
        assert limited.get(path).status == limited.head(path).status == read
    assert limited.get("/v1/hostedData").status == read
    assert limited.put(f"{directory}/g", b"x").status == write
    assert limited.put(f"{directory}/h", b"x" * 1_100_000).status == write
    assert limited.patch(directory, {"acl": {"read": []}}).status == write
    assert limited.post(".my", {"name": "made"}).status == write
    assert limited.delete(f"{directory}/f").status == write
    assert limited.delete(f"{directory}?force=true").status == write


def test_removing(me: Caller) -> None:
    directory = me.collection()
    assert me.delete(directory).json == {"result": {"deleted": 0}}
    assert me.get(directory).status == 404
    assert me.delete(directory).message == f"path not found: data://{directory}"
    directory = me.collection()
    me.put(f"{directory}/f", b"x")
    refused = me.delete(f"{directory}/")
    assert refused.status == 409
    assert me.get(f"{directory}/f").body == b"x"
    assert me.delete(f"{directory}?force=false").status == 409
    assert me.delete(f"{directory}/?force=True").json == {"result": {"deleted": 1}}
    for path in ("", ".my", ".algo"):
        assert me.delete(f"{path}?force=true").status == 400


def test_removing_much(new_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_removal, "_BATCH", 10)
    site = new_site()
    me = site.caller()
    for count in (9, 10, 25):
        directory = me.collection()
        for index in range(count):
            me.put(f"{directory}/{index}", b"x")
        assert me.delete(f"{directory}?force=1").json == {"result": {"deleted": count}}
    assert site.blob_files() == []


def test_hosted_data(me: Caller) -> None:
    me.post(".my", {"name": "a", "acl": {"read": ["user://*"]}})
    me.post(".my", {"name": "b"})
    me.post(".my", {"name": "c", "acl": {"read": []}})
    found = me.get("/v1/hostedData").json["result"]
    keys = ("read_w", "read_g", "read_u", "read_a")
    assert {row["collection_name"]: [row["acl"][key] for key in keys] for row in found} == {
        "a": [True, False, True, True],
        "b": [False, False, True, True],
        "c": [False, False, True, False],
    }
    assert {row["username"] for row in found} == {me.account.username}
    assert found[0]["location"] == f"data://{me.account.username}/a"


def test_algorithm_space(site: Site, me: Caller, other: Caller) -> None:
    author = site.caller()
    owner = author.account.username
    running = site.running(me, author.account, "Faces")
    assert running.get(".algo/temp").json == {}
    assert running.put(".algo/temp/out.png", b"png").json == {"result": "data://.algo/temp/out.png"}
    assert running.put(f".algo/{owner}/Faces/models/m", b"m").status == 200
    assert running.get(".algo/temp/out.png").body == b"png"
    assert names(running.get(f".algo/{owner}/Faces/temp").json) == ["out.png"]
    # The calling user sees it from outside, by the long form.
    assert me.get(f".algo/{owner}/Faces/temp/out.png").body == b"png"
    assert [names(me.get(path).json) for path in (".algo", f".algo/{owner}", f".algo/{owner}/Faces")] == [
        [owner],
        ["Faces"],
        ["models", "temp"],
    ]
    assert me.put(f".algo/{owner}/Faces/perm/mine", b"1").status == 200
    assert running.get(".algo/perm/mine").body == b"1"
    assert me.delete(f".algo/{owner}/Faces/perm?force=true").json == {"result": {"deleted": 1}}
    # Nobody else does: neither another user, nor the author, nor the same algorithm called by another user.
    for caller in (other, author, site.running(other, author.account, "Faces")):
        assert caller.get(f".algo/{owner}/Faces/temp/out.png").status == 404
    # Another algorithm called by the same user doesn't either.
    spy = site.running(me, author.account, "Spy")
    for path in (f".algo/{owner}/Faces/temp/out.png", f".algo/{owner}/Faces", f".algo/{owner}", ".algo"):
        assert spy.get(path).status == 403
    assert spy.put(f".algo/{owner}/Faces/temp/out.png", b"x").status == 403
    assert spy.get(".algo/temp").json == {}
    assert "acl" not in me.get(f".algo/{owner}/Faces/temp?acl=true").json


def test_algorithm_space_similar_names(me: Caller) -> None:
    for name in ("o/N", "o/n", "o/n_", "o/nx", "o/n%25"):
        assert me.put(f".algo/{name}/temp/f").status == 200
    assert names(me.get(".algo/o").json) == ["N", "n", "n%", "n_", "nx"]
    assert names(me.get(".algo/o/n_").json) == ["temp"]
    assert me.get(".algo/o/_").status == 404


@pytest.mark.parametrize("verb", ["GET", "PUT", "DELETE", "HEAD"])
def test_short_forms_need_a_running_algorithm(me: Caller, verb: str) -> None:
    answer = me.send(verb, ".algo/temp/f", b"x" if verb == "PUT" else None)
    assert answer.status == 400
    assert "data://.algo/OWNER/NAME/temp" in answer.headers["x-error-message"]
    answer = me.send(verb, ".session/f", b"x" if verb == "PUT" else None)
    assert answer.status == 400
    assert "inside a running algorithm" in answer.headers["x-error-message"]


def test_session_space(site: Site, me: Caller, other: Caller) -> None:
    first = site.running(me, session="one")
    child = site.running(me, other.account, "Child", session="one")
    second = site.running(me, session="two")
    blobs = len(site.blob_files())
    assert first.get(".session").json == {}
    assert first.get(".session/f").status == 404
    assert not site.data.has_session_files(me.account.id, "one")
    assert first.put(".session/f", b"shared").json == {"result": "data://.session/f"}
    assert child.get(".session/f").body == b"shared"
    assert names(child.get(".session").json) == ["f"]
    assert second.get(".session/f").status == 404
    assert site.running(other, session="one").get(".session/f").status == 404
    second.put(".session/g", b"x")
    assert site.data.has_session_files(me.account.id, "one")
    site.data.end_session(me.account.id, "one")
    site.data.end_session(me.account.id, "one")
    site.data.end_session(me.account.id, "never")
    assert first.get(".session/f").status == 404
    assert names(second.get(".session").json) == ["g"]
    assert len(site.blob_files()) == blobs + 1
    site.data.end_session(me.account.id, "two")
    assert len(site.blob_files()) == blobs
    # Not part of what the user has.
    assert me.get(".my").json == {}


def test_restart_ends_sessions_and_old_temporaries(new_site: Callable[..., Site]) -> None:
    site = new_site()
    me = site.caller()
    running = site.running(me)
    running.put(".session/f", b"x")
    running.put(".algo/temp/old", b"x")
    running.put(".algo/perm/old", b"x")
    with site.database.write() as connection:
        connection.exec_driver_sql("UPDATE files SET modified_at = modified_at - 25 * 3600 * 1000")
    running.put(".algo/temp/new", b"x")
    site.stop()
    again = new_site(site.settings.home)
    again.data.removal.go_on()
    again.data.removal.expire()
    owner = me.account.username
    caller = Caller(again, me.account, me.key)
    assert names(caller.get(f".algo/{owner}/Algo/temp").json) == ["new"]
    assert names(caller.get(f".algo/{owner}/Algo/perm").json) == ["old"]
    assert len(again.blob_files()) == 2
    assert again.running(me, session="s1").get(".session").json == {}


def test_connectors_are_refused_clearly(me: Caller) -> None:
    for path in ("s3+lab://b/k", "s3%2Blab%3A%2F%2Fb%2Fk", "/v1/connector/s3+lab/b/k", "dropbox://x"):
        for verb in ("GET", "PUT", "DELETE", "HEAD"):
            answer = me.send(verb, path)
            assert answer.status == 400
            assert "is configured on this platform" in answer.headers["x-error-message"]


def test_other_methods(me: Caller) -> None:
    for path in (".my", "/v1/hostedData"):
        answer = me.send("TRACE" if path == ".my" else "POST", path)
        assert answer.status == 405
        assert "GET" in answer.headers["allow"]


def test_health_needs_no_credentials(site: Site, me: Caller) -> None:
    anonymous = Caller(site, me.account, None)
    document = anonymous.get("/health").json
    assert (document["status"], document["sandbox"], document["engine"]["workers"]) == ("ok", "none", 0)
    assert json.dumps(document)
    root = anonymous.get("/")
    assert root.headers["content-type"].startswith("text/plain")
    assert site.address.encode() in root.body
    assert anonymous.get("/v1/data/").status == 401


def test_an_upload_that_outlives_its_session_is_not_stored(site: Site, me: Caller) -> None:
    inside = site.running(me, session="over")
    site.data.session_is_live = lambda session_id: session_id != "over"
    try:
        answer = inside.put(".session/f", b"late")
    finally:
        site.data.session_is_live = lambda session_id: True
    assert answer.status == 404 and "has ended" in answer.message
    assert not site.data.has_session_files(me.account.id, "over") and site.staged() == []
