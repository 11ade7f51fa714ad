"""Uploads that are continued: the protocol of docs/reference/transfers.md, its refusals, and breaks of all kinds."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from platforms import new_key

from Algorithmia.server.db import schema
from Algorithmia.server.db.database import Database
from Algorithmia.server.db.values import now_ms
from Algorithmia.server.services import resumable_uploads
from Algorithmia.server.services.data import HostedData
from Algorithmia.server.settings import Settings
from Algorithmia.server.storage.local import LocalBlobStore

CONTENT = bytes(range(256)) * 20_000
PART = "application/partial-upload"


def repr_digest(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


class Site:
    """Requests with one key."""

    def __init__(self, address: str, key: str) -> None:
        self.address = address
        self.host = urlsplit(address).netloc
        self.key = key

    def __call__(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {"Authorization": self.key, **named})
            response = connection.getresponse()
            response.body = response.read()  # type: ignore[attr-defined]
            return response
        finally:
            connection.close()

    def begin(self, path: str, size: int | None = None, **headers: str) -> str:
        if size is not None:
            headers["Upload_Length"] = str(size)
        response = self("POST", path, b"", Upload_Complete="?0", **headers)
        assert response.status == 201, response.body
        location: str = response.headers["Location"]
        return location

    def append(self, upload: str, offset: int, body: bytes, complete: bool = False, **headers: str) -> Any:
        headers.update(Content_Type=PART, Upload_Offset=str(offset), Upload_Complete="?1" if complete else "?0")
        return self("PATCH", upload, body, **headers)

    def offset(self, upload: str) -> int:
        response = self("HEAD", upload)
        assert response.status == 204
        return int(response.headers["Upload-Offset"])

    def open_append(self, upload: str, offset: int, length: int, first: bytes) -> socket.socket:
        """A connection on which an append has begun: `first` of `length` bytes are on their way."""
        host, port = self.host.split(":")
        connection = socket.create_connection((host, int(port)), timeout=60)
        head = (
            f"PATCH {upload} HTTP/1.1\r\nHost: x\r\nAuthorization: {self.key}\r\nContent-Type: {PART}\r\n"
            f"Upload-Offset: {offset}\r\nUpload-Complete: ?0\r\nContent-Length: {length}\r\n\r\n"
        )
        connection.sendall(head.encode() + first)
        return connection


@pytest.fixture
def site(server: Any) -> Site:
    return Site(server.address, server.key)


@pytest.fixture
def path(collection: Any) -> str:
    """The API path of a file that isn't there."""
    return str(collection.file("f").url)


def arrived(server: Any, size: int) -> None:
    """Wait until the platform has `size` bytes of what came last, without asking it, which would end who sends it."""
    staging = Path(server.home) / "platform" / "blobs" / "staging"
    until = time.monotonic() + 60
    while max((entry.stat() for entry in os.scandir(staging)), key=lambda found: found.st_mtime_ns).st_size < size:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_what_is_offered(site: Site, path: str, collection: Any) -> None:
    response = site("OPTIONS", path)
    assert response.status == 204 and response.headers["Accept-Patch"] == PART
    assert "max-age=86400" in response.headers["Upload-Limit"] and "PUT" in response.headers["Allow"]
    for other in (path.rpartition("/")[0], "/v1/data/s3+nothing://bucket/key"):
        response = site("OPTIONS", other)
        assert response.status == 204
        assert response.headers["Upload-Limit"] is None and response.headers["Accept-Patch"] is None
    assert Site(site.address, "simWRONG")("OPTIONS", path).status == 401


def test_an_upload_in_parts(site: Site, path: str, collection: Any) -> None:
    upload = site.begin(path, len(CONTENT), Content_Type="image/png")
    assert site.offset(upload) == 0
    half = len(CONTENT) // 2
    response = site.append(upload, 0, CONTENT[:half])
    assert response.status == 204 and response.headers["Upload-Offset"] == str(half)
    response = site("HEAD", upload)
    assert response.headers["Upload-Length"] == str(len(CONTENT)) and response.headers["Upload-Complete"] == "?0"
    assert response.headers["Cache-Control"] == "no-store" and "max-age=" in response.headers["Upload-Limit"]
    assert site.append(upload, half, CONTENT[half:]).status == 204
    assert not collection.file("f").exists()  # all of it came, and still nobody said so
    response = site.append(upload, len(CONTENT), b"", complete=True, Repr_Digest=repr_digest(CONTENT))
    assert response.status == 200 and response.headers["Upload-Complete"] == "?1"
    assert response.headers["Repr-Digest"] == repr_digest(CONTENT)
    stat = collection.file("f").stat()
    assert collection.file("f").getBytes() == CONTENT and stat.content_type == "image/png"
    assert stat.etag == response.headers["ETag"] == f'"{hashlib.md5(CONTENT).hexdigest()}"'
    assert site("HEAD", upload).status == 404 and site.append(upload, 0, b"x").status == 404


def test_what_is_on_another_servers_disk_is_kept(site: Site, server: Any, path: str, tmp_path: Path) -> None:
    """Servers that share a database: the one that was asked by mistake doesn't know it, and takes nothing away."""
    staging = Path(server.home) / "platform" / "blobs" / "staging"
    before = set(os.listdir(staging))
    upload = site.begin(path)
    assert site.append(upload, 0, b"first").status == 204
    [blob] = set(os.listdir(staging)) - before
    (staging / blob).rename(tmp_path / blob)
    assert site("HEAD", upload).status == 404
    assert site.append(upload, 5, b"second").status == 404
    (tmp_path / blob).rename(staging / blob)
    assert site.offset(upload) == 5
    digest = repr_digest(b"firstsecond")
    assert site.append(upload, 5, b"second", complete=True, Repr_Digest=digest).status == 200


def test_an_upload_of_unknown_length_that_begins_with_content(site: Site, path: str, collection: Any) -> None:
    response = site("PUT", path, b"first ", Upload_Complete="?0")
    assert response.status == 201 and response.headers["Upload-Offset"] == "6"
    upload = response.headers["Location"]
    assert site("HEAD", upload).headers["Upload-Length"] is None
    response = site.append(upload, 6, b"", complete=True)
    assert response.status == 400 and b"of unknown length can be completed with Repr-Digest" in response.body
    response = site.append(upload, 6, b"and last", complete=True, Repr_Digest=repr_digest(b"first and last"))
    assert response.status == 200 and collection.file("f").getString() == "first and last"
    response = site("POST", path, b"whole", Upload_Complete="?1")
    assert response.status == 200 and collection.file("f").getString() == "whole"
    site("PUT", path, b"plain", Upload_Complete="?1")
    assert collection.file("f").getString() == "plain"


def test_refusals(site: Site, path: str, collection: Any) -> None:
    upload = site.begin(path, 10)
    response = site.append(upload, 5, b"x")
    assert response.status == 409 and response.headers["Upload-Offset"] == "0"
    assert b"stands at 0, not at 5" in response.body
    assert site("PATCH", upload, b"x", Content_Type="text/plain", Upload_Offset="0", Upload_Complete="?0").status == 415
    assert site("PATCH", upload, b"x", Content_Type=PART, Upload_Complete="?0").status == 400
    assert site("PATCH", upload, b"x", Content_Type=PART, Upload_Offset="0", Upload_Complete="0").status == 400
    assert site("PATCH", upload, b"x", Content_Type=PART, Upload_Offset="-1", Upload_Complete="?0").status == 400
    assert site.append(upload, 0, b"x", Upload_Length="11").status == 400
    assert site.append(upload, 0, b"", complete=True).status == 400  # ten bytes are missing
    assert site.append(upload, 0, b"x", Repr_Digest="md5=:1B2M2Y8AsgTpgAmY7PhCfg==:").status == 400
    assert site.offset(upload) == 0
    assert site.append(upload, 0, b"x" * 11).status == 400 and site("HEAD", upload).status == 404
    for method in ("HEAD", "PATCH", "DELETE"):
        assert site(method, "/v1/uploads/nothing", Content_Type=PART).status == 404
    assert site("GET", "/v1/uploads").status == 404
    directory = path.rpartition("/")[0]
    assert site("POST", directory, b"", Upload_Complete="?0").status == 400
    assert site("POST", directory + "_missing/f", b"", Upload_Complete="?0").status == 404
    assert site("PUT", "/v1/data/s3+nothing://bucket/key", b"x", Upload_Complete="?0").status == 400
    assert not collection.file("f").exists()


def test_damage_is_found_and_nothing_is_kept_of_it(site: Site, path: str, collection: Any) -> None:
    collection.file("f").put("before")
    upload = site.begin(path, len(CONTENT))
    site.append(upload, 0, CONTENT[:-1] + b"?")
    response = site.append(upload, len(CONTENT), b"", complete=True, Repr_Digest=repr_digest(CONTENT))
    assert response.status == 400 and response.headers["Repr-Digest"] == repr_digest(CONTENT[:-1] + b"?")
    assert response.headers["Upload-Complete"] == "?1" and b"Nothing was stored" in response.body
    assert site("HEAD", upload).status == 404 and collection.file("f").getString() == "before"


def test_cancelling(site: Site, path: str, collection: Any) -> None:
    upload = site.begin(path)
    site.append(upload, 0, b"x")
    assert site("DELETE", upload).status == 204
    assert site("DELETE", upload).status == 404 and not collection.file("f").exists()


def test_uploads_belong_to_who_began_them(site: Site, path: str, server: Any, new_account: Any) -> None:
    upload = site.begin(path)
    site.append(upload, 0, b"mine")
    other = Site(server.address, new_account().key)
    assert other("HEAD", upload).status == other.append(upload, 4, b"x").status == other("DELETE", upload).status == 404
    assert other("POST", path, b"", Upload_Complete="?0").status in (403, 404)
    assert site.offset(upload) == 4
    assert Site(server.address, "simWRONG")("HEAD", upload).status == 401


def test_rights_are_looked_at_again(site: Site, path: str, server: Any, collection: Any, new_account: Any) -> None:
    reader = new_account(allow_data_write=False)
    assert Site(server.address, reader.key)("POST", path, b"", Upload_Complete="?0").status == 403
    upload = site.begin(path, 1, If_None_Match="*")
    site.append(upload, 0, b"x")
    collection.file("f").put("somebody was quicker")
    response = site.append(upload, 1, b"", complete=True)
    assert response.status == 412 and response.headers["Upload-Complete"] == "?1"
    collection.file("f").delete()
    assert site.append(upload, 1, b"", complete=True).status == 200  # it was kept: the world may change again
    upload = site.begin(path.replace("/f", "/missing_later"), 1)
    site.append(upload, 0, b"x")
    collection.delete(force=True)
    assert site.append(upload, 1, b"", complete=True).status == 404
    collection.create()


def test_what_fails_before_anybody_knows_of_it_leaves_nothing(new_site: Callable[..., Any]) -> None:
    platform = new_site(request_timeout=1)
    me = platform.caller()
    path = f"/v1/data/{me.collection()}/f"

    def leaves_nothing() -> bool:
        with platform.database.read() as connection:
            return not platform.staged() and not connection.execute(sa.select(schema.uploads.c.id)).all()

    whole = {"Upload-Complete": "?1"}
    refused = me.send("POST", path, iter([b"x" * 10]), whole, encode_chunked=True)
    assert "of unknown length can be completed with Repr-Digest" in refused.refused(400) and leaves_nothing()
    assert me.send("POST", path, b"xy", {**whole, "Repr-Digest": repr_digest(b"x")}).status == 400 and leaves_nothing()
    assert me.send("POST", path, b"xy", {**whole, "Upload-Length": "3"}).status == 400 and leaves_nothing()
    stalled = me.send("POST", path, None, {"Upload-Complete": "?0", "Content-Length": "9"})
    assert stalled.status == 408 and leaves_nothing()
    connection = me.connect()
    connection.putrequest("POST", path)
    for name, value in {"Authorization": me.key, "Upload-Complete": "?0", "Content-Length": "3000000"}.items():
        connection.putheader(name, value)
    connection.endheaders(CONTENT[:1_500_000])
    until = time.monotonic() + 60
    while not platform.staged():
        assert time.monotonic() < until
        time.sleep(0.01)
    connection.close()
    while not leaves_nothing():
        assert time.monotonic() < until
        time.sleep(0.01)
    assert me.send("POST", path, iter([b"x"]), {**whole, "Repr-Digest": repr_digest(b"x")}).status == 200
    assert leaves_nothing()


def test_only_keys_that_may_write_deal_with_uploads(site: Site, path: str, server: Any) -> None:
    upload = site.begin(path)
    for permissions in ({"allow_algo": True}, {"allow_data": True}):
        weak = Site(server.address, new_key(server, server.user, **permissions)[0])
        assert weak("HEAD", upload).status == weak("DELETE", upload).status == 403
        assert weak.append(upload, 0, b"x").status == 403
    assert site.offset(upload) == 0
    assert Site(server.address, new_key(server, server.user, allow_data_write=True)[0])("DELETE", upload).status == 204


def test_what_came_before_a_break_counts(site: Site, server: Any, path: str, collection: Any) -> None:
    upload = site.begin(path, len(CONTENT))
    sent = 1_500_000
    connection = site.open_append(upload, 0, len(CONTENT), CONTENT[:sent])
    arrived(server, 1_000_000)
    connection.close()
    offset = site.offset(upload)
    assert 1_000_000 <= offset <= sent
    assert site.append(upload, offset, CONTENT[offset:]).status == 204
    response = site.append(upload, len(CONTENT), b"", complete=True, Repr_Digest=repr_digest(CONTENT))
    assert response.status == 200 and collection.file("f").getBytes() == CONTENT


def test_a_later_request_ends_the_one_before(site: Site, server: Any, path: str, collection: Any) -> None:
    upload = site.begin(path, len(CONTENT))
    with site.open_append(upload, 0, len(CONTENT), CONTENT[:1_500_000]) as stalled:
        arrived(server, 1_000_000)
        offset = site.offset(upload)  # and doesn't wait for what never comes
        assert site.append(upload, offset, CONTENT[offset : offset + 1000]).status == 204
        with suppress(OSError):  # it may have been hung up on
            stalled.sendall(b"?" * 200_000)
        assert site.offset(upload) == offset + 1000
    rest = offset + 1000
    response = site.append(upload, rest, CONTENT[rest:], complete=True, Repr_Digest=repr_digest(CONTENT))
    assert response.status == 200 and collection.file("f").getBytes() == CONTENT


def test_many_at_once_never_mix(site: Site, path: str, collection: Any) -> None:
    upload = site.begin(path, len(CONTENT))
    statuses: list[int] = []

    def send() -> None:
        with suppress(OSError, http.client.HTTPException):
            statuses.append(site.append(upload, 0, CONTENT).status)

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    offset = site.offset(upload)
    assert set(statuses) <= {204, 409} and statuses.count(204) == (offset == len(CONTENT))
    response = site.append(upload, offset, CONTENT[offset:], complete=True, Repr_Digest=repr_digest(CONTENT))
    assert response.status == 200 and collection.file("f").getBytes() == CONTENT


def test_killed_in_the_middle(start_server: Callable[..., Any], tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    platform = start_server(home=home)
    platform.client().dir("data://.my/c").create()
    uploads = [Site(platform.address, platform.key).begin("/v1/data/.my/c/f%d" % index) for index in range(4)]
    reached = dict.fromkeys(uploads, 0)
    staging = home / "platform" / "blobs" / "staging"
    for part in (1, 2):
        site = Site(platform.address, platform.key)
        end = part * len(CONTENT) // 3
        threads = [
            threading.Thread(target=send_until_it_dies, args=(site, upload, reached[upload], end, reached))
            for upload in uploads
        ]
        for thread in threads:
            thread.start()
        while not any(reached.values()):
            time.sleep(0.01)
        platform.kill()
        for thread in threads:
            thread.join()
        platform = start_server(home=home)
        site = Site(platform.address, platform.key)
        assert len(os.listdir(staging)) == len(uploads)
        for upload in uploads:
            offset = site.offset(upload)
            assert reached[upload] <= offset <= end, "what was acknowledged is there"
            reached[upload] = offset
        assert list(platform.client().dir("data://.my/c").list()) == []
    for index, upload in enumerate(uploads):
        offset = reached[upload]
        if index == 0:
            assert site("DELETE", upload).status == 204
            continue
        response = site.append(upload, offset, CONTENT[offset:], complete=True, Repr_Digest=repr_digest(CONTENT))
        assert response.status == 200, response.body
        assert platform.client().file("data://.my/c/f%d" % index).getBytes() == CONTENT
    assert os.listdir(staging) == []
    platform.kill()
    platform = start_server(home=home)
    assert platform.client().file("data://.my/c/f1").getBytes() == CONTENT and os.listdir(staging) == []


def send_until_it_dies(site: Site, upload: str, offset: int, end: int, reached: dict[str, int]) -> None:
    for start in range(offset, end, 100_000):
        stop = min(end, start + 100_000)
        try:
            if site.append(upload, start, CONTENT[start:stop]).status != 204:
                return
        except (OSError, http.client.HTTPException):
            return
        reached[upload] = stop


def test_limits(start_server: Callable[..., Any]) -> None:
    platform = start_server("--port", "0", environment={"ALGORITHMIA_MAX_FILE_BYTES": "1000"})
    platform.client().dir("data://.my/c").create()
    site, path = Site(platform.address, platform.key), "/v1/data/.my/c/f"
    assert "max-size=1000" in site("OPTIONS", path).headers["Upload-Limit"]
    assert site("POST", path, b"", Upload_Complete="?0", Upload_Length="1001").status == 413
    upload = site.begin(path)
    assert site.append(upload, 0, b"x" * 1000).status == 204
    assert site.append(upload, 1000, b"x").status == 413 and site.offset(upload) == 1000
    for _ in range(99):
        assert site("POST", path, b"x", Upload_Complete="?0").status == 201
    response = site("POST", path, b"", Upload_Complete="?0")
    assert response.status == 429 and b"100 unfinished uploads" in response.body
    assert site("DELETE", upload).status == 204 and site.begin(path)


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    database, blobs = Database(f"sqlite:///{tmp_path}/platform.db"), LocalBlobStore(tmp_path / "blobs")
    database.upgrade()
    data = HostedData(database, blobs, Settings(home=tmp_path))
    with database.write() as connection:
        connection.execute(schema.accounts.insert().values(id="a", username="a", username_key="a", created_at=0))
        for name, age in (("old", resumable_uploads.MAX_AGE + 60), ("new", resumable_uploads.MAX_AGE - 60)):
            writer = blobs.create(resumable=True)
            writer.write(b"x")
            writer.suspend()
            connection.execute(
                schema.uploads.insert().values(
                    id=name, account_id="a", target="data://.my/c/f", conditions="[null,null]", blob_id=writer.id,
                    created_at=0, touched_at=now_ms() - age * 1000,
                )
            )
    data.recover()
    assert len(os.listdir(blobs.staging)) == 2
    assert resumable_uploads.expire_uploads(data.stores) == 1
    assert len(os.listdir(blobs.staging)) == 1
    with database.read() as connection:
        assert connection.execute(sa.select(schema.uploads.c.id)).scalars().all() == ["new"]
    assert resumable_uploads.expire_uploads(data.stores) == 0
    database.close()


def test_through_gateways(start_server: Callable[..., Any]) -> None:
    platform = start_server("--port", "0", "--gateways", "1")
    site, path = Site(platform.address, platform.key), "/v1/data/.my/c/f"
    platform.client().dir("data://.my/c").create()
    assert site("OPTIONS", path).headers["Accept-Patch"] == PART
    upload = site.begin(path, len(CONTENT))
    connection = site.open_append(upload, 0, len(CONTENT), CONTENT[:2_500_000])
    arrived(platform, 1_000_000)
    connection.close()
    offset = site.offset(upload)
    assert 1_000_000 <= offset <= 2_500_000
    with site.open_append(upload, offset, len(CONTENT), CONTENT[offset:3_900_000]):
        arrived(platform, 3_000_000)
        stalled = site.offset(upload)
    response = site.append(upload, stalled, CONTENT[stalled:], complete=True, Repr_Digest=repr_digest(CONTENT))
    assert response.status == 200 and platform.client().file("data://.my/c/f").getBytes() == CONTENT


def test_what_has_been_begun_counts_for_the_quota(server: Any, new_account: Any) -> None:
    me = new_account()
    user = f"/v1/users/{me.name}"
    Site(server.address, server.admin_key)("PUT", user, b'{"quota_bytes": 1000}', Content_Type="application/json")
    site, path = Site(server.address, me.key), "/v1/data/.my/c/f"
    server.client(me.key).dir("data://.my/c").create()
    assert site("POST", path, b"", Upload_Complete="?0", Upload_Length="1001").status == 413
    announced, unknown = site.begin(path, 600), site.begin(path + "2")
    refused = site("POST", path + "3", b"", Upload_Complete="?0", Upload_Length="401")
    assert refused.status == 413 and b"stores 0 of the 1000 bytes that it may" in refused.body
    assert b"begun uploads that come to 600 more" in refused.body and b"complete or cancel those" in refused.body
    assert site.append(unknown, 0, b"x" * 400).status == 204
    assert site.append(unknown, 400, b"x").status == 413 and site.offset(unknown) == 400
    assert site("POST", path + "3", b"", Upload_Complete="?0", Upload_Length="1").status == 413
    assert site.append(announced, 0, b"x" * 600, complete=True).status == 200
    refused = site.append(unknown, 400, b"x")
    assert refused.status == 413 and b"begun" not in refused.body
    assert site("DELETE", unknown).status == 204
    site.begin(path, 1000)


def test_uploads_to_one_target_make_way(server: Any, new_account: Any) -> None:
    me = new_account()
    user = f"/v1/users/{me.name}"
    Site(server.address, server.admin_key)("PUT", user, b'{"quota_bytes": 1000}', Content_Type="application/json")
    site, path = Site(server.address, me.key), "/v1/data/.my/c/f"
    server.client(me.key).dir("data://.my/c").create()
    # Answers that are lost: whoever began those doesn't know of them.
    lost = [site.begin(path, 600) for _ in range(5)]
    upload = site.begin(path, 600)
    assert {site("HEAD", one).status for one in lost} == {404} and site.offset(upload) == 0
    # One of which something has come stays where there's room beside it; of two to one target the larger counts.
    assert site.append(upload, 0, b"x" * 300).status == 204
    second = site.begin(path, 700)
    assert site.offset(upload) == 300
    assert site("POST", path + "2", b"", Upload_Complete="?0", Upload_Length="301").status == 413
    assert site.append(second, 0, b"x" * 100).status == 204
    other = site.begin(path + "2", 300)
    # Without room, what nobody sends to goes; but not for what would be too large anyway.
    assert site("POST", path, b"", Upload_Complete="?0", Upload_Length="701").status == 413
    assert site.offset(upload) == 300 and site.offset(second) == 100
    third = site.begin(path, 700)
    assert site("HEAD", upload).status == site("HEAD", second).status == 404
    assert site.offset(third) == site.offset(other) == 0
    assert site.append(other, 0, b"x" * 300, complete=True).status == 200
