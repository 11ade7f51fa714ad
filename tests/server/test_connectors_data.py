"""The verbs of the data API on connectors: one suite for all providers, each a real emulator."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import operations
import pytest
from answers import Answer
from hosted_site import Caller, Site
from storage_providers import PROVIDERS, Provider, running

from Algorithmia.server.identity import KeyPermissions

_names = itertools.count(1)
MIB = 1024 * 1024


@pytest.fixture(scope="module", params=sorted(PROVIDERS))
def provider(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    yield from running(request.param, tmp_path_factory.mktemp("emulator"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Site]:
    found = Site(tmp_path_factory.mktemp("site"), page_size=10, connector_hosts=provider.host)
    yield found
    found.stop()


@pytest.fixture
def me(site: Site) -> Caller:
    return site.caller()


@pytest.fixture
def connect(provider: Provider) -> Callable[..., str]:
    """A function that gives a caller a connector: ``connect(me, label="lab", **members)``; its id."""

    def make(caller: Caller, label: str = "lab", **members: Any) -> str:
        body = {**provider.body, "label": label, "writeable": True, **members}
        answer = caller.send("POST", f"/v1/users/{caller.account.username}/connectors", body)
        assert answer.status == 200, answer
        name: str = answer.json["connector_id"]
        return name

    return make


@pytest.fixture
def folder(me: Caller, provider: Provider, connect: Callable[..., str]) -> str:
    """The URI of a place of this test's own, below which nothing is."""
    return f"{connect(me)}://{inside(provider, f'd{next(_names)}')}"


def inside(provider: Provider, name: str) -> str:
    return f"{provider.root}/{name}" if provider.root else name


def path_of(uri: str) -> str:
    return uri.partition("://")[2]


def put(me: Caller, uri: str, content: bytes = b"x") -> Answer:
    answer = me.put(uri, content)
    assert answer.status == 200, answer
    return answer


def settled(site: Site, before: int) -> None:
    """Wait until the request that was sent after `before` others has come to its end."""
    for _ in range(600):
        if site.activity.total > before and site.activity.in_flight == 0:
            return
        time.sleep(0.05)
    raise AssertionError("the platform still works on a request whose client is gone")


def listing(me: Caller, uri: str) -> tuple[list[str], list[str]]:
    """All folders and files of a directory, page by page."""
    folders: list[str] = []
    files: list[str] = []
    query = ""
    for _ in range(100):
        answer = me.get(uri + query)
        assert answer.status == 200, answer
        assert answer.headers["x-data-type"] == "directory"
        folders += [item["name"] for item in answer.json.get("folders", [])]
        files += [item["filename"] for item in answer.json.get("files", [])]
        if not answer.json.get("marker"):
            return sorted(folders), sorted(files)
        query = f"?marker={answer.json['marker']}"
    raise AssertionError("the listing has no end")


# -- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 70_000, 9 * MIB + 1, 40 * MIB])
def test_what_is_put_comes_back(me: Caller, folder: str, size: int) -> None:
    content = os.urandom(size)
    stored = put(me, f"{folder}/file.bin", content)
    assert stored.json == {"result": f"{folder}/file.bin"}
    answer = me.get(f"{folder}/file.bin")
    assert answer.status == 200 and hashlib.md5(answer.body).digest() == hashlib.md5(content).digest()
    assert answer.headers["x-data-type"] == "file"
    assert answer.headers["content-length"] == str(size)
    assert answer.headers["etag"] == stored.headers["etag"]
    assert parsedate_to_datetime(answer.headers["last-modified"])


def test_head_describes_a_file_without_its_content(me: Caller, folder: str) -> None:
    put(me, f"{folder}/a.txt", b"hello")
    whole = me.get(f"{folder}/a.txt")
    answer = me.head(f"{folder}/a.txt")
    assert (answer.status, answer.body) == (200, b"")
    for name in ("x-data-type", "content-length", "etag", "last-modified", "content-type", "accept-ranges"):
        assert answer.headers[name] == whole.headers[name]


def test_both_forms_of_the_path_reach_the_same_file(me: Caller, folder: str) -> None:
    put(me, f"{folder}/f", b"same")
    connector, _, path = folder.partition("://")
    encoded = f"{folder}/f".replace("+", "%2B").replace(":", "%3A").replace("/", "%2F")
    for form in (f"/v1/connector/{connector}/{path}/f", f"/v1/data/{encoded}"):
        assert me.get(form).body == b"same"


@pytest.mark.parametrize(
    ("sent", "status", "part", "content_range"),
    [
        ("bytes=0-0", 206, slice(0, 1), "bytes 0-0/1000"),
        ("bytes=10-19", 206, slice(10, 20), "bytes 10-19/1000"),
        ("bytes=990-", 206, slice(990, 1000), "bytes 990-999/1000"),
        ("bytes=-7", 206, slice(993, 1000), "bytes 993-999/1000"),
        ("bytes=500-5000", 206, slice(500, 1000), "bytes 500-999/1000"),
        ("bytes=1000-", 416, slice(0, 0), "bytes */1000"),
        ("bytes=0-1,5-6", 200, slice(0, 1000), None),
    ],
)
def test_ranges(me: Caller, folder: str, sent: str, status: int, part: slice, content_range: str | None) -> None:
    content = os.urandom(1000)
    put(me, f"{folder}/f", content)
    answer = me.get(f"{folder}/f", Range=sent)
    assert answer.status == status
    assert answer.headers.get("content-range") == content_range
    if status != 416:
        assert answer.body == content[part]


def test_a_range_deep_in_a_large_file(me: Caller, folder: str) -> None:
    content = os.urandom(12 * MIB)
    put(me, f"{folder}/f", content)
    answer = me.get(f"{folder}/f", Range=f"bytes={9 * MIB}-{11 * MIB}")
    assert answer.status == 206 and answer.body == content[9 * MIB : 11 * MIB + 1]


def test_conditions(me: Caller, folder: str) -> None:
    etag = put(me, f"{folder}/f", b"one").headers["etag"]
    assert me.get(f"{folder}/f", If_None_Match=etag).status == 304
    assert me.get(f"{folder}/f", If_Match='"other"').status == 412
    assert me.put(f"{folder}/f", b"two", If_None_Match="*").status == 412
    assert me.put(f"{folder}/f", b"two", If_Match=etag).status == 200
    changed = me.get(f"{folder}/f")
    assert changed.body == b"two" and changed.headers["etag"] != etag
    assert me.delete(f"{folder}/f", If_Match=etag).status == 412
    assert me.put(f"{folder}/new", b"", If_None_Match="*").status == 200


def test_an_upload_without_a_length(me: Caller, folder: str) -> None:
    pieces = [os.urandom(700_000) for _ in range(30)]
    headers = {"Transfer-Encoding": "chunked"}
    answer = me.send("PUT", f"{folder}/chunked", iter(pieces), headers, encode_chunked=True)
    assert answer.status == 200, answer
    assert me.get(f"{folder}/chunked").body == b"".join(pieces)


@pytest.mark.parametrize("name", ["a b", "ü€", "a+b", "100%", "a#b?c", "a&b=c", "a'b\"c", "x" * 200])
def test_names_survive(me: Caller, folder: str, provider: Provider, name: str) -> None:
    from urllib.parse import quote

    put(me, f"{folder}/{quote(name)}", name.encode())
    assert me.get(f"{folder}/{quote(name)}").body == name.encode()
    assert listing(me, folder) == ([], [name])
    assert me.delete(f"{folder}/{quote(name)}").json == {"result": {"deleted": 1}}
    assert me.get(f"{folder}/{quote(name)}").status == 404


def test_files_of_the_provider_are_seen(me: Caller, folder: str, provider: Provider) -> None:
    provider.put(f"{path_of(folder)}/theirs.txt", b"theirs")
    assert me.get(f"{folder}/theirs.txt").body == b"theirs"
    put(me, f"{folder}/ours.txt", b"ours")
    assert any(name.endswith("/ours.txt") for name in provider.names())


def test_what_is_not_there_is_not_found(me: Caller, folder: str) -> None:
    for answer in (me.get(f"{folder}/no"), me.head(f"{folder}/no"), me.delete(f"{folder}/no"), me.get(f"{folder}/no/")):
        assert answer.status == 404
        assert answer.headers["x-error-message"].startswith("path not found: ")


# -- uploads that fail ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [1000, 3 * MIB, 30 * MIB])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_that_breaks_off_leaves_no_file(
    me: Caller, folder: str, provider: Provider, sent: int, chunked: bool
) -> None:
    put(me, f"{folder}/kept", b"before")
    for name in ("new", "kept"):
        done = me.site.activity.total
        connection = me.connect()
        connection.putrequest("PUT", f"/v1/data/{folder}/{name}")
        connection.putheader("Authorization", f"Simple {me.key}")
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        else:
            connection.putheader("Content-Length", str(100 * MIB))
        connection.endheaders()
        piece = b"y" * (MIB // 2)
        left = sent
        while left:
            part = piece[:left]
            left -= len(part)
            connection.send(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
        connection.close()
        settled(me.site, done)
    assert listing(me, folder) == ([], ["kept"])
    assert me.get(f"{folder}/kept").body == b"before"
    unfinished = getattr(provider, "unfinished", None)
    assert unfinished is None or unfinished() == 0


# -- directories ---------------------------------------------------------------------------------------------------


def test_listings_have_folders_and_files_in_pages(me: Caller, folder: str, provider: Provider) -> None:
    for index in range(23):
        put(me, f"{folder}/f{index:02}", b"x" * index)
    for index in range(12):
        put(me, f"{folder}/sub{index:02}/deep/f")
    folders, files = listing(me, folder)
    if provider.repeats_folders:
        folders = sorted(set(folders))
    assert folders == [f"sub{index:02}" for index in range(12)]
    assert files == [f"f{index:02}" for index in range(23)]
    first = me.get(folder)
    assert first.json["marker"]
    if not provider.repeats_folders:
        assert len(first.json.get("files", [])) + len(first.json.get("folders", [])) <= 10
    assert listing(me, f"{folder}/sub03/") == (["deep"], [])
    entry = me.get(f"{folder}/sub03/deep").json["files"][0]
    assert entry["filename"] == "f" and entry["size"] == 1
    assert entry["last_modified"].endswith("Z") and "." in entry["last_modified"]


def test_a_marker_that_is_not_ours_is_refused(me: Caller, folder: str) -> None:
    put(me, f"{folder}/f")
    answer = me.get(f"{folder}?marker=nonsense")
    assert (answer.status, answer.json["error"]["code"]) == (400, 5002)


def test_directories_are_made_and_removed(me: Caller, folder: str) -> None:
    parent, _, name = folder.rpartition("/")
    if parent.endswith("/"):
        parent += "/"
    answer = me.post(parent, {"name": name})
    assert (answer.status, answer.json) == (200, {"result": folder})
    assert me.head(folder).headers["x-data-type"] == "directory"
    assert listing(me, folder) == ([], [])
    assert me.post(parent, {"name": name}).status == 409
    put(me, f"{folder}/f")
    assert me.delete(folder).status == 409
    assert me.delete(f"{folder}/f").status == 200
    assert me.head(folder).status == 200
    assert me.delete(folder).json == {"result": {"deleted": 0}}
    assert me.head(folder).status == 404


def test_a_directory_is_removed_with_what_is_below(me: Caller, folder: str) -> None:
    for index in range(25):
        put(me, f"{folder}/sub{index % 3}/f{index}")
    put(me, f"{folder}x/f")
    assert me.delete(f"{folder}?force=true").json == {"result": {"deleted": 25}}
    assert me.get(folder).status == 404
    assert me.get(f"{folder}x/f").status == 200


def test_what_connectors_do_not_do_is_said(me: Caller, folder: str) -> None:
    put(me, f"{folder}/f")
    assert me.patch(folder, {"acl": {"read": []}}).status == 400
    assert me.post(folder, {"name": "x", "acl": {"read": []}}).status == 400
    assert me.post(folder, {"name": "a/b"}).status == 400
    assert me.put(f"{folder}/", b"").status == 400
    connector = folder.partition("://")[0]
    assert me.delete(f"{connector}://?force=true").status == 400
    assert me.get(f"{connector}://").status == 200


# -- rights --------------------------------------------------------------------------------------------------------


def test_connectors_are_read_only_unless_writing_is_switched_on(
    me: Caller, provider: Provider, folder: str, connect: Callable[..., str]
) -> None:
    put(me, f"{folder}/f")
    reader = f"{connect(me, 'reader', writeable=False)}://{path_of(folder)}"
    assert me.get(f"{reader}/f").body == b"x"
    for answer in (
        me.put(f"{reader}/f", b"y"),
        me.put(f"{reader}/g", b"y"),
        me.delete(f"{reader}/f"),
        me.delete(f"{reader}?force=true"),
        me.post(reader, {"name": "sub"}),
    ):
        assert answer.status == 403 and "read-only" in answer.message
    assert me.get(f"{reader}/f").body == b"x"


def test_the_path_restriction_binds_every_verb(
    me: Caller, provider: Provider, folder: str, connect: Callable[..., str]
) -> None:
    for name in ("in/a", "in/deep/b", "inside", "out/a", "f"):
        put(me, f"{folder}/{name}")
    path = path_of(folder)
    bound = f"{connect(me, 'bound', path=f'{path}/in/*')}://{path}"
    assert me.get(f"{bound}/in/a").status == 200
    assert me.put(f"{bound}/in/new", b"").status == 200
    assert listing(me, f"{bound}/in") == (["deep"], ["a", "new"])
    assert listing(me, bound) == (["in"], [])
    for verb in ("GET", "HEAD", "PUT", "DELETE"):
        for place in ("out/a", "f", "inside", "out"):
            assert me.send(verb, f"{bound}/{place}", b"").status == 403, (verb, place)
    assert me.get(f"{bound}/out/").status == 403
    assert me.post(bound, {"name": "outer"}).status == 403
    assert me.post(f"{bound}/in", {"name": "inner"}).status == 200
    assert me.get(f"{bound}/in/../out/a").status == 400
    assert me.delete(f"{bound}?force=true").json["result"]["deleted"] == 3
    assert listing(me, folder)[1] == ["f", "inside"]
    assert me.get(f"{folder}/out/a").status == 200


def test_a_marker_does_not_lead_out_of_the_restriction(
    me: Caller, provider: Provider, folder: str, connect: Callable[..., str]
) -> None:
    for index in range(12):
        put(me, f"{folder}/out/secret{index:02}")
    put(me, f"{folder}/in/a")
    marker = me.get(f"{folder}/out").json["marker"]
    path = path_of(folder)
    bound = f"{connect(me, 'bound', path=f'{path}/in/*')}://{path}"
    assert b"secret" not in me.get(f"{bound}/in?marker={marker}").body


def test_keys_need_the_data_permissions(site: Site, me: Caller, folder: str) -> None:
    put(me, f"{folder}/f")
    reads = site.caller(KeyPermissions(allow_data=True), account=me.account)
    writes = site.caller(KeyPermissions(allow_data_write=True), account=me.account)
    nothing = site.caller(KeyPermissions(), account=me.account)
    assert reads.get(f"{folder}/f").status == 200 and writes.get(f"{folder}/f").status == 403
    assert reads.put(f"{folder}/f", b"").status == 403 and writes.put(f"{folder}/f", b"z").status == 200
    for verb in ("GET", "HEAD", "PUT", "DELETE"):
        assert nothing.send(verb, f"{folder}/f", b"").status == 403
    assert reads.delete(f"{folder}/f").status == 403


def test_connectors_belong_to_their_account(site: Site, me: Caller, folder: str) -> None:
    put(me, f"{folder}/f")
    other = site.caller()
    answer = other.get(f"{folder}/f")
    assert answer.status == 400 and "no data connector" in answer.message


def test_algorithms_act_with_the_connectors_of_their_caller(site: Site, me: Caller, folder: str) -> None:
    put(me, f"{folder}/f", b"mine")
    author = site.caller()
    assert site.running(me, author.account).get(f"{folder}/f").body == b"mine"
    assert site.running(author, me.account).get(f"{folder}/f").status == 400
    inside_me = site.running(me)
    assert inside_me.send("GET", f"/v1/users/{me.account.username}/connectors").status == 403


def test_the_default_connector_needs_no_label(
    me: Caller, folder: str, provider: Provider, connect: Callable[..., str]
) -> None:
    put(me, f"{folder}/f", b"here")
    plain = f"{provider.protocol}://{path_of(folder)}/f"
    assert me.get(plain).status == 400
    connect(me, "second", is_default=True)
    assert me.get(plain).body == b"here"
    assert me.get(plain.replace(provider.protocol, provider.protocol.upper(), 1)).body == b"here"


def test_the_connection_is_tested(me: Caller, folder: str, provider: Provider, connect: Callable[..., str]) -> None:
    put(me, f"{folder}/f")
    name = folder.partition("://")[0]
    base = f"/v1/users/{me.account.username}/connectors"
    assert me.send("POST", f"{base}/{name}/test").json == {"result": {"ok": True}}


def test_documents_never_hold_credentials(me: Caller, provider: Provider, connect: Callable[..., str]) -> None:
    name = connect(me, "hidden")
    base = f"/v1/users/{me.account.username}/connectors"
    for answer in (me.send("GET", base), me.send("GET", f"{base}/{name}")):
        assert answer.status == 200
        text = json.dumps(answer.json)
        secret = ("secret_access_key", "private_key", "sas_token", "access_token")
        assert not any(provider.body["cred_data"].get(member, "\0") in text for member in secret)


def test_a_provider_that_is_gone_is_said(site: Site, me: Caller, provider: Provider) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    # Not on the platform's list: it is refused before anything is sent.
    body = {**provider.body, "label": "gone"}
    text = json.dumps(body).replace(provider.host, f"127.0.0.1:{port}")
    answer = me.send("POST", f"/v1/users/{me.account.username}/connectors", json.loads(text))
    assert answer.status == 400 and "inside the platform's own network" in answer.message


# -- digests and copies --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [5, 3 * MIB])
def test_what_is_damaged_on_its_way_is_not_stored(me: Caller, folder: str, size: int) -> None:
    put(me, f"{folder}/f", b"before")
    other = base64.b64encode(hashlib.md5(b"something else").digest()).decode()
    answer = me.send("PUT", f"{folder}/f", os.urandom(size), {"Repr-Digest": f"md5=:{other}:"})
    assert answer.status == 400 and "Nothing was stored" in answer.message
    assert me.get(f"{folder}/f").body == b"before"
    content = os.urandom(size)
    same = base64.b64encode(hashlib.md5(content).digest()).decode()
    assert me.send("PUT", f"{folder}/f", content, {"Repr-Digest": f"md5=:{same}:"}).status == 200
    assert me.get(f"{folder}/f").body == content


def test_files_are_copied_between_hosted_data_and_connectors(me: Caller, folder: str) -> None:
    content = os.urandom(3 * MIB)
    me.post(".my", {"name": "copies"})
    put(me, ".my/copies/f", content)
    for source, destination in ((".my/copies/f", f"{folder}/one"), (f"{folder}/one", f"{folder}/two"),
                                (f"{folder}/two", "data://.my/copies/g")):  # fmt: skip
        answer = me.send("COPY", source, headers={"Destination": destination})
        assert (answer.status, answer.json) == (200, {"result": destination})
        assert me.get(destination).body == content
    assert me.send("COPY", f"{folder}/none", headers={"Destination": "data://.my/copies/h"}).status == 404
    kept = {"Destination": f"{folder}/two", "Overwrite": "F"}
    assert me.send("COPY", ".my/copies/f", headers=kept).status == 412


def test_the_guide_tells_what_there_is(me: Caller, folder: str) -> None:
    """The yes and no of its table, for hosted data and for this provider."""
    assert me.post(".my", {"name": "operations"}).status == 200
    for store, place in (("hosted data", ".my/operations/d"), (folder.partition("+")[0], folder)):
        promised = operations.promised(store)
        found = operations.found(me, place)
        assert {operation: promised.get(operation) for operation in found} == found, store
        assert set(promised) <= {*found, "make or remove collections, buckets, containers"}
