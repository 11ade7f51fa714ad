"""`algo du`, `stat`, `chmod`, `mv`."""
import errno
import hashlib
import json
import os
import stat
import threading

import pytest
from wire import WireServer, answer

from Algorithmia import acl


@pytest.fixture
def here(tmpdir):
    place = tmpdir.mkdir("here")
    place.join("a").write("content")
    return place


def test_du(algo, client, collection):
    collection.file("a").put("x" * 1500)
    collection.file("b").put("y")
    name = collection.getName()
    assert algo("du", ".my/" + name).text == "1501 2  %s\n" % collection.uri
    assert algo("du", "-H", ".my/%s/a" % name).text == "1.5k 1  %s/a\n" % collection.uri
    lines = algo("du").text.splitlines()
    assert lines[-1].endswith("  data://.my")
    assert [line for line in lines if line.endswith("1501 2  " + collection.uri)]
    assert algo("du", "--json", collection.uri).text == '[{"uri":"%s","size":1501,"files":2}]\n' % collection.uri
    assert algo("du", "data://.my/no_such").status == 4


def test_stat(algo, collection):
    collection.file("a.txt").put("12345")
    ran = algo("stat", collection.uri + "/a.txt")
    assert ran.status == 0 and hashlib.sha256(b"12345").hexdigest() in ran.text and "text/plain" in ran.text
    (row,) = json.loads(algo("stat", "--json", collection.uri + "/*.txt").text)
    assert row["size"] == 5 and row["type"] == "file"
    assert row["digest"] == "sha-256:" + hashlib.sha256(b"12345").hexdigest()
    assert row["last_modified"].endswith("Z")
    assert algo("stat", "--json", collection.uri).text == (
        '[{"uri":"%s","type":"directory","readable_by":"my-algos"}]\n' % collection.uri
    )
    assert algo("stat", collection.uri + "/nothing").status == 4


def test_chmod(algo, collection):
    for name, kind in (("public", acl.AclType.public), ("private", acl.AclType.private),
                       ("my-algos", acl.AclType.my_algos)):
        ran = algo("chmod", name, collection.uri)
        assert ran.text == "Changed %s: %s\n" % (collection.uri, name)
        assert collection.get_permissions().read_acl is kind
    assert algo("chmod", "755", collection.uri).status == 2
    assert algo("chmod", "public", "data://.my/no_such").status == 4


def test_mv_within_data(algo, client, collection):
    collection.file("a").put("content")
    ran = algo("mv", collection.uri + "/a", collection.uri + "/b")
    assert ran.text == "Moved {0}/a to {0}/b\n".format(collection.uri) and ran.status == 0
    assert [item.getName() for item in collection.files()] == ["b"] and collection.file("b").getString() == "content"
    ran = algo("mv", "--dry-run", collection.uri + "/b", collection.uri + "/c")
    assert ran.text.startswith("Would move") and collection.file("b").exists()
    collection.file("c").put("kept")
    assert algo("mv", "-n", collection.uri + "/b", collection.uri + "/c").status == 0
    assert collection.file("c").getString() == "kept" and collection.file("b").exists()


def test_mv_up_and_down(algo, collection, here):
    assert algo("mv", "a", collection.uri, cwd=here).status == 0
    assert here.listdir() == [] and collection.file("a").getString() == "content"
    assert algo("mv", collection.uri + "/*", ".", cwd=here).status == 0
    assert here.join("a").read() == "content" and list(collection.files()) == []


def test_a_file_is_not_moved_onto_itself_under_another_name(algo, client, collection):
    collection.file("a").put("content")
    for owner in (client.username(), client.username().upper(), ".my"):
        for name in ("a", ""):
            ran = algo("mv", collection.uri + "/a", "data://%s/%s/%s" % (owner, collection.getName(), name))
            assert ran.status == 2 and collection.file("a").getString() == "content"


def test_connectors_that_may_be_the_same(cli, profile):
    there = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nX-Data-Type: file\r\n\r\n"

    def reply(connection, request):  # to a key that may not see which connectors there are
        connection.sendall(there if request.method == "HEAD" else answer({"error": {"message": "no"}}, "403 No"))

    with WireServer(reply) as platform:
        profile(platform.address)
        assert cli("mv", "s3://bucket/key", "s3+lab://bucket/key").status == 2
    assert {request.method for request in platform.requests} == {"GET", "HEAD"}


def test_what_fails_to_arrive_stays(algo, collection, here):
    assert algo("mv", "a", "data://.my/no_such_collection/a", cwd=here).status == 4
    assert here.join("a").read() == "content"
    collection.file("a").put("content")
    assert algo("mv", collection.uri + "/a", "data://.my/no_such_collection/a").status == 4
    assert algo("mv", collection.uri + "/a", here.join("no", "such")).status == 4
    assert collection.file("a").getString() == "content"
    assert algo("mv", here, collection.uri).status == 1 and here.join("a").check()


def test_a_source_that_changes_meanwhile_stays(cli, profile, tmpdir):
    tmpdir.join("a").write("content")

    def store(connection, request):
        if request.method == "PUT":
            tmpdir.join("a").write("newer content")
        connection.sendall(answer({"result": "x"}, headers=["X-Data-Type: file"]) if request.method == "PUT" else
                           b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nX-Data-Type: file\r\n\r\n")

    with WireServer(store) as platform:
        profile(platform.address)
        ran = cli("mv", tmpdir.join("a"), "data://.my/c/f")
    assert ran.status == 1 and "changed while" in ran.err and tmpdir.join("a").read() == "newer content"


def test_a_remote_source_that_changes_meanwhile_stays(cli, profile, tmpdir):
    md5 = hashlib.md5(b"content").hexdigest()

    def serve(connection, request):
        if request.method == "HEAD":
            connection.sendall(("HTTP/1.1 200 OK\r\nContent-Length: 7\r\nETag: \"%s\"\r\n\r\n" % md5).encode("ascii"))
        elif request.method == "GET":
            connection.sendall(answer(body=b"content"))
        else:
            is_ours = request.headers.get("if-match") == '"%s"' % md5
            connection.sendall(answer({"error": {"message": "no"}}, "412 No" if is_ours else "200 OK"))

    with WireServer(serve) as platform:
        profile(platform.address)
        ran = cli("mv", "data://.my/c/f", tmpdir.join("f"))
    assert ran.status == 1 and "changed while" in ran.err and os.path.exists(str(tmpdir.join("f")))


def test_the_source_stays_until_the_copys_name_is_on_disk(cli, profile, tmpdir, monkeypatch):
    plain = os.fsync

    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        plain(handle)

    def reply(connection, request):
        whole = answer(body=b"content", headers=["X-Data-Type: file"])
        connection.sendall(whole[:-7] if request.method == "HEAD" else whole)

    with WireServer(reply) as platform:
        profile(platform.address)
        monkeypatch.setattr(os, "fsync", fsync)
        ran = cli("mv", "data://.my/c/f", tmpdir.join("f"))
    assert ran.status and tmpdir.join("f").read() == "content"
    assert "DELETE" not in {request.method for request in platform.requests}


def test_several_are_moved_at_once_and_go_after_their_copies(cli, profile):
    copying, both = [], threading.Event()

    def serve(connection, request):
        if request.method == "COPY":
            copying.append(request.target)
            if len(copying) == 2:
                both.set()
            connection.sendall(answer({}, "200 OK" if both.wait(60) else "500 Alone"))
        elif request.method == "HEAD":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nX-Data-Type: file\r\n\r\n")
        else:
            connection.sendall(answer({"result": {"deleted": 1}}))

    with WireServer(serve) as platform:
        profile(platform.address)
        ran = cli("mv", "data://.my/c/a", "data://.my/c/b", "data://.my/d/")
    assert ran.status == 0, ran
    for name in ("a", "b"):
        done = [request.method for request in platform.requests if request.target.endswith("/c/" + name)]
        assert done.index("COPY") < done.index("DELETE") and done.count("COPY") == 1


@pytest.mark.parametrize("words", [("a",), ("a", "b"), ("-", "data://.my/c/f"), ("data://.my/c/f", "-"), ("a", "x://b")])
def test_usage_of_mv(cli, profile, words):
    profile("http://127.0.0.1:1")
    assert cli("mv", *words).status == 2
