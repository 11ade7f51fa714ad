"""Quotas: what an account stores is known at every moment, and never more than it may. Over HTTP."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hosted_site import Caller, Site

from Algorithmia.server.identity import STANDARD_KEY, Identity, KeyPermissions
from Algorithmia.server.services import data_paths
from Algorithmia.server.services.data_uploads import UploadRequest
from Algorithmia.server.services.quotas import QuotaExceeded
from Algorithmia.server.services.resumable_uploads import ResumableUploads

MIB = 1024 * 1024


def used(caller: Caller) -> int:
    """What the platform says that the account stores, which must be what its files come to."""
    user = caller.get(f"/v1/users/{caller.account.username}").json
    statement = sa.text(
        "SELECT COALESCE(SUM(files.size), 0) FROM files JOIN collections ON collections.id = files.collection_id "
        "WHERE collections.account_id = :account"
    )
    with caller.site.database.read() as connection:
        assert connection.execute(statement, {"account": caller.account.id}).scalar() == user["used_bytes"]
    return int(user["used_bytes"])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A platform on which everybody may store 3 MiB."""
    found = Site(tmp_path_factory.mktemp("site"), max_account_bytes=3 * MIB)
    yield found
    found.stop()


def set_quota(caller: Caller, quota: Any) -> None:
    answer = caller.site.admin().send("PUT", f"/v1/users/{caller.account.username}", {"quota_bytes": quota})
    assert answer.status == 200, answer


def test_every_change_of_files_counts(site: Site, me: Caller) -> None:
    directory = me.collection()
    assert used(me) == 0
    assert me.get(f"/v1/users/{me.account.username}").json["quota_bytes"] is None
    me.put(f"{directory}/a", b"x" * 100)
    me.put(f"{directory}/a/b", b"refused")
    me.put(f"{directory}/d/b", b"x" * 2_000_000)
    assert used(me) == 2_000_100
    me.put(f"{directory}/a", b"x" * 40)
    me.send("COPY", f"{directory}/a", None, {"Destination": f"data://{directory}/d/c"})
    assert used(me) == 2_000_080
    me.delete(f"{directory}/a")
    assert used(me) == 2_000_040
    me.delete(f"{directory}/d?force=true")
    assert used(me) == 0
    me.put(f"{directory}/a", b"x" * 7)
    me.put(f"{directory}/b", b"")
    me.delete(f"{directory}?force=true")
    assert used(me) == 0


def test_the_owner_of_the_collection_pays(site: Site, me: Caller, other: Caller) -> None:
    running = site.running(me, other.account)
    running.put(".algo/temp/f", b"x" * 10)
    running.put(".session/f", b"x" * 100)
    assert (used(me), used(other)) == (110, 0)
    site.data.end_session(me.account.id, "s1")
    assert used(me) == 10
    with site.database.write() as connection:
        connection.exec_driver_sql("UPDATE files SET modified_at = modified_at - 25 * 3600 * 1000")
    site.data.removal.expire()
    assert used(me) == 0


def test_what_is_too_much_is_refused(small: Site) -> None:
    me = small.caller()
    directory = me.collection()
    assert me.put(f"{directory}/a", b"x" * (2 * MIB)).status == 200
    url = f"{directory}/b"
    # Announced, it isn't even sent; small, in pieces without an end in sight, and copied it's refused, too.
    answers = [
        me.send("PUT", url, None, {"Content-Length": str(2 * MIB)}),
        me.put(url, b"x" * (MIB + 1)),
        me.send("PUT", url, iter([b"x" * MIB, b"x" * MIB, b"x" * MIB]), encode_chunked=True),
        me.send("COPY", f"{directory}/a", None, {"Destination": f"data://{url}"}),
        small.running(me).put(".session/f", b"x" * (MIB + 1)),
        small.running(me).put(".algo/temp/f", b"x" * (MIB + 1)),
    ]
    for answer in answers:
        assert answer.status == 413
        assert f"stores {2 * MIB} of the {3 * MIB} bytes that it may" in answer.message
        assert "algo du" in answer.message and "ask an administrator" in answer.message
    assert used(me) == 2 * MIB
    assert small.staged() == []
    assert me.get(url).status == 404
    # To the last byte; and then what takes no more than it replaces.
    assert me.put(url, b"x" * MIB).status == 200
    assert me.put(f"{directory}/c", b"x").status == 413
    assert me.put(f"{directory}/c", b"").status == 200
    assert me.put(f"{directory}/a", b"y" * (2 * MIB)).status == 200
    assert me.put(f"{directory}/a", b"y" * (2 * MIB + 1)).status == 413
    assert me.put(url, b"x" * (MIB - 1)).status == 200
    assert me.put(f"{directory}/c", b"x").status == 200
    me.delete(f"{directory}/a")
    assert me.put(f"{directory}/d", b"x" * (2 * MIB)).status == 200
    # Others have a quota of their own.
    theirs = small.caller()
    assert theirs.put(f"{theirs.collection()}/f", b"x" * (3 * MIB)).status == 200


def test_uploads_that_are_continued(small: Site) -> None:
    me = small.caller()
    directory = me.collection()
    me.put(f"{directory}/a", b"x" * MIB)
    begin = {"Upload-Complete": "?0", "Upload-Length": str(2 * MIB + 1)}
    assert me.send("POST", f"{directory}/b", b"", begin).status == 413
    begun = me.send("POST", f"{directory}/b", b"x" * MIB, {"Upload-Complete": "?0"})
    assert begun.status == 201
    # What has come doesn't count yet; the end does.
    assert used(me) == MIB
    assert me.put(f"{directory}/c", b"x" * (3 * MIB // 2)).status == 200
    rest = {
        "Upload-Complete": "?1",
        "Upload-Offset": str(MIB),
        "Content-Type": "application/partial-upload",
        "Repr-Digest": f"sha-256=:{base64.b64encode(hashlib.sha256(b'x' * MIB).digest()).decode()}:",
    }
    url = begun.headers["location"]
    assert me.send("PATCH", url, b"", rest).status == 413
    assert used(me) == 5 * MIB // 2
    me.delete(f"{directory}/c")
    assert me.send("PATCH", url, b"", rest).status == 200
    assert used(me) == 2 * MIB
    assert small.staged() == []


def test_uploads_that_are_continued_side_by_side(small: Site) -> None:
    me = small.caller()
    directory = me.collection()
    set_quota(me, 8 * MIB)
    identity = Identity(me.account, STANDARD_KEY, permissions=KeyPermissions.everything())
    uploads = ResumableUploads(small.data.stores)
    writing = []
    for name in "abcdef":
        request = UploadRequest(identity, data_paths.parse(f"{directory}/{name}".encode()))
        writing.append(uploads.begin(request, f"side-by-side-{name}"))
    refusals = 0
    for _ in range(8):
        for upload in list(writing):
            try:
                upload.write(b"x" * MIB)
            except QuotaExceeded as problem:
                assert "complete or cancel" in problem.message
                refusals += 1
                writing.remove(upload)
                upload.abort()
    assert refusals == 6 and not writing
    assert 8 * MIB <= sum(path.stat().st_size for path in small.staged()) <= (8 + 6) * MIB
    for name in "abcdef":
        uploads.cancel(identity, f"side-by-side-{name}")
    assert small.staged() == []


def test_an_upload_that_is_being_sent_to_stays(small: Site) -> None:
    me = small.caller()
    directory = me.collection()
    begin = {"Upload-Complete": "?0", "Upload-Length": str(3 * MIB)}
    first = me.send("POST", f"{directory}/f", b"", begin).headers["location"]
    connection = me.connect()
    connection.putrequest("PATCH", first)
    headers = {"Upload-Offset": "0", "Upload-Complete": "?0", "Content-Type": "application/partial-upload"}
    for name, value in {"Authorization": me.key, "Content-Length": str(3 * MIB), **headers}.items():
        connection.putheader(name, value)
    connection.endheaders(b"x" * (3 * MIB // 2))
    until = time.monotonic() + 60
    while not any(path.stat().st_size >= MIB for path in small.staged()):
        assert time.monotonic() < until
        time.sleep(0.01)
    refused = me.send("POST", f"{directory}/f", b"", begin)
    assert refused.status == 413 and "begun uploads" in refused.message
    connection.close()
    while (answer := me.send("POST", f"{directory}/f", b"", begin)).status != 201:  # until that is noticed
        assert time.monotonic() < until
        time.sleep(0.01)
    assert me.send("HEAD", first).status == 404
    assert me.delete(answer.headers["location"]).status == 204 and small.staged() == []


def test_archives(small: Site) -> None:
    me = small.caller()
    directory = me.collection()
    blobs = len(small.blob_files())

    def store(*sizes: int) -> Any:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as target:
            for number, size in enumerate(sizes):
                member = tarfile.TarInfo(f"d/{number}")
                member.size = size
                target.addfile(member, io.BytesIO(b"x" * size))
        return me.send("POST", directory, packed.getvalue(), {"Content-Type": "application/x-tar"})

    assert store(MIB, MIB, MIB, 1).status == 413
    assert (used(me), len(small.blob_files())) == (0, blobs)
    assert store(MIB, MIB, MIB).status == 200
    assert store(MIB, MIB - 1, MIB + 1).status == 200
    assert used(me) == 3 * MIB
    assert store(MIB, MIB, MIB + 1).status == 413
    assert (used(me), len(small.blob_files())) == (3 * MIB, blobs + 3)


def test_uploads_side_by_side(small: Site) -> None:
    me = small.caller()
    directory = me.collection()
    for size in (MIB - 1, MIB + 1):
        statuses: list[int] = []

        def store(number: int, size: int = size, statuses: list[int] = statuses) -> None:
            statuses.append(me.put(f"{directory}/{number}", b"x" * size).status)

        threads = [threading.Thread(target=store, args=[number]) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        fitting = 3 * MIB // size
        assert sorted(statuses) == [200] * fitting + [413] * (6 - fitting)
        assert used(me) == fitting * size
        for number in range(6):
            me.delete(f"{directory}/{number}")
    assert used(me) == 0


def test_quotas_of_single_accounts(small: Site) -> None:
    me = small.caller()
    name = me.account.username
    directory = me.collection()
    set_quota(me, 5 * MIB)
    assert me.get(f"/v1/users/{name}").json["quota_bytes"] == 5 * MIB
    assert me.put(f"{directory}/a", b"x" * (4 * MIB)).status == 200
    # Less than there is: nothing goes, and only what is smaller comes.
    set_quota(me, MIB)
    assert me.put(f"{directory}/b", b"x").status == 413
    assert me.put(f"{directory}/a", b"x" * (4 * MIB + 1)).status == 413
    assert me.put(f"{directory}/a", b"x" * (4 * MIB - 1)).status == 200
    set_quota(me, 0)
    assert me.get(f"/v1/users/{name}").json["quota_bytes"] is None
    assert me.put(f"{directory}/b", b"x" * (2 * MIB)).status == 200
    set_quota(me, None)
    assert me.get(f"/v1/users/{name}").json["quota_bytes"] == 3 * MIB
    assert me.put(f"{directory}/c", b"x").status == 413


def test_who_sets_quotas(site: Site, me: Caller, other: Caller) -> None:
    url = f"/v1/users/{me.account.username}"
    for caller in (me, other, site.running(me), site.running(me, other.account)):
        for body in ({"quota_bytes": 0}, {"quota_bytes": None}, {}):
            assert caller.send("PUT", url, body).status == 403
    assert Caller(site, me.account, None).send("PUT", url, {"quota_bytes": 0}).status == 401
    admin = site.admin()
    for quota in (-1, "1", 1.5, True, 2**63, [1]):
        assert admin.send("PUT", url, {"quota_bytes": quota}).status == 400
    assert admin.send("PUT", "/v1/users/nobody_here", {"quota_bytes": 1}).status == 404
    assert other.get(url).status == 403


def test_administrators_change_users(site: Site, me: Caller, other: Caller) -> None:
    url = f"/v1/users/{me.account.username}"
    admin = site.admin()
    site.accounts.update(other.account, {"email": "taken@example.com"})
    changed = admin.send("PUT", url, {"email": "me@example.com", "fullname": "Me", "unknown": 1}).json
    assert (changed["email"], changed["fullname"], changed["quota_bytes"]) == ("me@example.com", "Me", None)
    assert admin.send("PUT", url, {"company_role": "Boss", "username": me.account.username}).json["fullname"] == "Me"
    assert admin.send("PUT", url, {"email": "ME@example.com"}).status == 200
    assert admin.send("PUT", url, {"email": "Taken@example.com"}).json["error"]["code"] == 3004
    assert admin.send("PUT", url, {"email": "nope"}).json["error"]["code"] == 3001
    assert admin.send("PUT", url, {"username": "else"}).status == 400
    assert me.get(url).json["company_role"] == "Boss"


def test_migration_counts_what_is_there(new_site: Callable[..., Site], tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    from Algorithmia.server.db import database

    site = new_site()
    me, other = site.caller(), site.caller()
    me.put(f"{me.collection()}/a", b"x" * 10)
    me.put(f"{me.collection()}/b", b"x" * 5)
    site.database.close()
    config = Config()
    config.set_main_option("script_location", str(database._MIGRATIONS))
    for step in (command.downgrade, command.upgrade):
        with site.database.write() as connection:
            config.attributes["connection"] = connection
            step(config, "0004" if step is command.downgrade else "head")
    assert (used(me), used(other)) == (15, 0)
