# -*- coding: utf-8 -*-
"""Small files that travel together: `algo cp` and `algo sync` say and do what they say and do of single ones."""
import os
import signal
import threading

import pytest
from wire import WireServer, answer

IS_COLLECTION = answer({}, headers=["X-Data-Type: directory", "Accept-Post: application/x-tar"])


@pytest.fixture
def tree(tmpdir):
    place = tmpdir.mkdir("tree")
    for number in range(300):
        place.join("f%03d" % number).write(u"%d" % number)
    place.join("empty").write("")
    place.join("large").write_binary(os.urandom(300000))
    place.mkdir("a").mkdir("b").join(u"h\xe4gar the horrible + 1%.txt").write("x")
    place.join("a", "g" * 200).write("y")
    os.utime(str(place.join("f000")), (1500000000, 1500000000))
    return place


def content(place):
    return {path.relto(place): path.read_binary() for path in place.visit() if path.check(file=True)}


def test_a_tree_up_and_down(algo, tree, collection, tmpdir):
    ran = algo("cp", "-r", tree, collection.uri)
    assert ran.status == 0 and len(ran.text.splitlines()) == 305
    assert ran.text.endswith("Finished uploading 304 file(s)\n") and ran.stderr.startswith("304 file(s), ")
    assert "Uploaded %s/a/b/h" % collection.uri in ran.text and "Uploaded %s/large\n" % collection.uri in ran.text
    assert collection.file("f007").stat().content_type == "text/plain; charset=utf-8"
    ran = algo("cp", "-r", collection.uri, tmpdir.join("down"))
    assert ran.status == 0 and ran.text.endswith("Finished downloading 304 file(s)\n")
    assert content(tmpdir.join("down")) == content(tree)
    told = collection.file("f007").stat().last_modified
    assert abs(tmpdir.join("down", "f007").mtime() - (told - type(told)(1970, 1, 1)).total_seconds()) < 1
    assert algo("sync", collection.uri, tmpdir.join("down")).stdout == b""
    assert algo("cp", "-n", collection.uri + "/f*", tmpdir.join("down")).stderr.count("it exists") == 300
    assert algo("cp", "-r", "--checksum", tree, collection.uri).stderr.count("it is the same") == 304


def test_the_platforms_folders(algo, tree, collection, tmpdir):
    algo("cp", "-r", tree, collection.uri)
    assert algo("ls", collection.uri + "/a").text.splitlines() == ["b/", "g" * 200]
    assert algo("du", collection.uri + "/a").text.splitlines()[-1].split() == ["2", "2", collection.uri + "/a"]
    assert "directory" in algo("stat", collection.uri + "/a/b").text
    assert algo("cp", collection.uri + "/a/g*", tmpdir).status == 0 and tmpdir.join("g" * 200).read() == "y"
    assert algo("mv", collection.uri + "/a/" + "g" * 200, collection.uri + "/c/d/e").status == 0
    assert algo("cat", collection.uri + "/c/d/e").stdout == b"y" and not collection.file("a/" + "g" * 200).exists()
    assert algo("cp", "-r", collection.uri + "/c", collection.uri + "/d").status == 0
    assert collection.file("d/d/e").getString() == "y"


def test_filters_decide_before(algo, tree, collection, tmpdir):
    ran = algo("cp", "-r", tree, collection.uri, "--exclude", "*", "--include", "f00?", "--include", "a/*", "--dry-run")
    assert ran.text.count("Would upload") == 12 and list(collection.list()) == []
    algo("cp", "-r", tree, collection.uri, "--exclude", "*", "--include", "f00?", "--include", "a/*")
    assert len(list(collection.files())) == 10 and len(list(collection.dir("a").files())) == 1
    ran = algo("cp", collection.uri + "/f00*", tmpdir, "--exclude", "f003")
    assert ran.text.count("Downloaded") == 9 and not tmpdir.join("f003").check()


def test_each_file_has_its_own_error(algo, tree, collection, tmpdir):
    tree.join("no\x01name").write("x")
    ran = algo("cp", "-r", tree, collection.uri)
    assert ran.status == 1 and ran.stderr.count("control character") == 1
    assert ran.text.endswith("Finished uploading 304 file(s)\n") and len(list(collection.files())) == 302
    target = tmpdir.mkdir("down")
    target.mkdir("f001").join("inside").write("in the way")
    target.join("elsewhere").write("")
    target.join("f002").mksymlinkto(target.join("elsewhere"))
    ran = algo("cp", "-r", collection.uri + "/f*", target)
    assert ran.status != 0 and "f001" in ran.stderr and target.join("elsewhere").read() == "2"
    assert ran.text.endswith("Finished downloading 299 file(s)\n") and target.join("f002").islink()
    assert not [path for path in target.listdir() if path.basename.endswith(".part")]


def test_one_by_one_where_nothing_is_offered(cli, profile, tree):
    with WireServer(answer({}, headers=["X-Data-Type: directory"])) as platform:
        profile(platform.address)
        ran = cli("cp", "-r", tree.join("a"), tree.join("f*"), "data://.my/c")
    assert ran.status == 2  # directories in directories
    with WireServer(answer({}, headers=["X-Data-Type: directory"])) as platform:
        profile(platform.address)
        ran = cli("cp", tree.join("f*"), "data://.my/c")
    methods = [request.method for request in platform.requests]
    assert ran.status == 0 and methods.count("PUT") == 300 and methods.count("HEAD") == 2


def test_a_group_that_is_refused_goes_one_by_one(cli, profile, tree):
    def reply(connection, request):
        status = "429 Too Many Requests" if request.method == "POST" else "200 OK"
        connection.sendall(IS_COLLECTION if request.method == "HEAD" else answer({"result": "x"}, status=status))

    with WireServer(reply) as platform:
        profile(platform.address)
        ran = cli("cp", tree.join("f*"), "data://.my/c")
    methods = [request.method for request in platform.requests]
    assert ran.status == 0 and methods.count("PUT") == 300 and methods.count("POST") == 1


@pytest.mark.parametrize("body", [b"", b"x" * 512, b"\0" * 1024])
def test_an_archive_that_is_none_is_not_taken(cli, profile, tmpdir, body):
    files = [{"filename": "f%d" % number, "size": 1} for number in range(5)]

    def reply(connection, request):
        if request.method == "HEAD":
            connection.sendall(IS_COLLECTION)
        elif request.path == "/v1/data/.my/c" and request.query.startswith("file="):
            connection.sendall(answer(body=body, headers=["Content-Type: application/x-tar"]))
        elif request.path == "/v1/data/.my/c":
            connection.sendall(answer({"files": files}, headers=["X-Data-Type: directory"]))
        else:
            connection.sendall(answer(body=b"x", headers=["X-Data-Type: file"]))

    with WireServer(reply) as platform:
        profile(platform.address)
        ran = cli("cp", "-r", "data://.my/c", tmpdir.join("down"))
    assert ran.status == 0 and content(tmpdir.join("down")) == {"f%d" % number: b"x" for number in range(5)}


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
@pytest.mark.parametrize("direction", ["up", "down"])
def test_an_interrupt_leaves_nothing(algo_process, profile, tree, tmpdir, direction):
    files = [{"filename": "f%d" % number, "size": 1} for number in range(5)]
    listing = answer({"files": files}, headers=["X-Data-Type: directory", "Accept-Post: application/x-tar"])
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nContent-Type: application/x-tar\r\n\r\n"
    stalled = threading.Event()

    def reply(connection, request):
        if request.query.startswith("file=") or request.headers.get("content-type") == "application/x-tar":
            connection.sendall(head + b"half")
            stalled.set()
        else:
            connection.sendall(IS_COLLECTION if request.method == "HEAD" else listing)

    with WireServer(reply) as platform:
        profile(platform.address)
        target = tmpdir.mkdir("target")
        operands = ("data://.my/c", target) if direction == "down" else ("--exclude", "large", tree, "data://.my/c")
        process = algo_process("cp", "-r", *operands)
        assert stalled.wait(60)
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130 and content(target) == {}
    assert direction == "down" or not [request for request in platform.requests if request.method == "PUT"]
