# -*- coding: utf-8 -*-
"""`algo cp`: every direction, the naming rules, trees, pipes, and what happens when something goes wrong."""
import os
import socket
import time

import pytest
from wire import WireServer, answer

from Algorithmia.cli import copying, progress
from Algorithmia.parallel import Crew, Stopped

CONTENT = bytes(bytearray(range(256))) * 40
IS_DIRECTORY = answer({}, headers=["X-Data-Type: directory"])


@pytest.fixture
def here(tmpdir):
    """A working directory with a picture in it."""
    place = tmpdir.mkdir("here")
    place.join("friends.jpg").write_binary(CONTENT)
    return place


@pytest.fixture
def cp(algo, here):
    """``cp(...)`` runs `algo cp` in `here`."""

    def run(*words, **options):
        return algo("cp", *words, cwd=here, **options)

    return run


def test_upload_into_a_directory(cp, collection):
    for source in ("./friends.jpg", "friends.jpg", "file://friends.jpg"):
        ran = cp(source, collection.uri)
        assert ran.status == 0 and ran.stderr == ""
        assert ran.text == "Uploaded %s/friends.jpg\nFinished uploading 1 file(s)\n" % collection.uri
    assert collection.file("friends.jpg").getBytes() == CONTENT
    assert cp("friends.jpg", collection.uri + "/").status == 0


def test_upload_under_another_name_and_over_it(cp, collection, here):
    assert cp("friends.jpg", collection.uri + "/other.jpg").text.startswith("Uploaded %s/other.jpg\n" % collection.uri)
    here.join("friends.jpg").write("new")
    assert cp("friends.jpg", collection.uri + "/other.jpg").status == 0
    assert collection.file("other.jpg").getString() == "new"


def test_download(cp, collection, here):
    collection.file("a.png").put(CONTENT)
    ran = cp(collection.uri + "/a.png", "./b.png")
    assert ran.text == "Downloaded %s/a.png (10kB)\nFinished downloading 1 file(s)\n" % collection.uri
    assert here.join("b.png").read_binary() == CONTENT
    assert cp(collection.uri + "/a.png", ".").status == 0 and here.join("a.png").read_binary() == CONTENT
    target = here.mkdir("d")
    assert cp(collection.uri + "/a.png", "file://" + str(target)).status == 0
    assert target.join("a.png").read_binary() == CONTENT
    assert cp(collection.uri + "/a.png", "d/c.png", "-q").stdout == b""
    assert sorted(os.listdir(str(target))) == ["a.png", "c.png"]


def test_the_documents(cp, algo, here):
    assert algo("mkdir", ".my/img_directory").status == 0
    assert cp("./friends.jpg", "data://.my/img_directory").status == 0
    assert algo("ls", ".my/img_directory").text == "friends.jpg\n"
    assert cp("data://.my/img_directory/friends.jpg", "./detected_faces.png").status == 0
    assert here.join("detected_faces.png").read_binary() == CONTENT
    assert algo("rmdir", "-f", ".my/img_directory").status == 0


def test_empty_file(cp, collection, here):
    here.join("empty").write("")
    assert cp("empty", collection.uri).status == 0 and cp(collection.uri + "/empty", "back").status == 0
    assert here.join("back").size() == 0


def test_remote_to_remote(cp, collection):
    collection.file("a.txt").put("x")
    ran = cp(collection.uri + "/a.txt", collection.uri + "/b.txt")
    assert ran.text == "Copied {0}/a.txt to {0}/b.txt\nFinished copying 1 file(s)\n".format(collection.uri)
    assert collection.file("b.txt").getString() == "x"
    assert cp(collection.uri + "/a.txt", collection.uri).status == 2
    assert collection.file("a.txt").getString() == "x"


def test_several_sources(cp, collection, here):
    here.join("b").write("b")
    ran = cp("friends.jpg", "-c", "2", "b", collection.uri)
    assert ran.status == 0 and ran.text.endswith("Finished uploading 2 file(s)\n")
    assert len(list(collection.list())) == 2
    back = here.mkdir("back")
    assert cp(collection.uri + "/friends.jpg", collection.uri + "/b", "back").status == 0
    assert sorted(os.listdir(str(back))) == ["b", "friends.jpg"]


def test_several_sources_need_a_directory(cp, collection, here):
    for target in (collection.uri + "/no", ".my/never_made"):
        ran = cp("friends.jpg", "friends.jpg", target if "://" in target else "data://" + target)
        assert ran.status == 2 and "directory" in ran.stderr
    assert cp(collection.uri + "/a", collection.uri + "/b", "nowhere").status == 2
    assert list(collection.list()) == []


def test_sources_that_would_meet(cp, collection, here):
    here.mkdir("x").join("friends.jpg").write("other")
    ran = cp("friends.jpg", "x/friends.jpg", collection.uri)
    assert ran.status == 2 and "would both become" in ran.stderr


def test_wildcards(cp, collection, here):
    for name in ("a.txt", "b.txt", "c.png"):
        collection.file(name).put(name)
    target = here.mkdir("out")
    ran = cp(collection.uri + "/*.txt", "out")
    assert ran.status == 0 and sorted(os.listdir(str(target))) == ["a.txt", "b.txt"]
    assert "Downloaded %s/a.txt (5B)" % collection.uri in ran.text
    assert cp(collection.uri + "/*", "missing").status == 2
    assert cp(collection.uri + "/*.jpg", "out").status == 4
    assert cp(collection.uri + "/*", "-").text == "a.txtb.txtc.png"


def test_local_wildcards_that_no_shell_expanded(cp, collection, here):
    here.join("a.txt").write("a")
    here.join("b.txt").write("b")
    assert cp("*.txt", collection.uri).status == 0
    assert sorted(item.getName() for item in collection.list()) == ["a.txt", "b.txt"]
    assert cp("*.none", collection.uri).status == 4


def test_pipes(cp, collection):
    ran = cp("-", collection.uri + "/piped", stdin=CONTENT)
    assert ran.text == "Uploaded %s/piped\nFinished uploading 1 file(s)\n" % collection.uri
    ran = cp(collection.uri + "/piped", "-")
    assert ran.stdout == CONTENT and "Downloaded" in ran.stderr
    assert cp(collection.uri + "/piped", "-", "-q").stderr == ""
    assert cp("-", collection.uri, stdin=b"x").status == 2


def test_a_device_is_written_to(cp, collection):
    collection.file("a").put("x")
    assert cp(collection.uri + "/a", "/dev/null").status == 0
    assert not os.path.isfile("/dev/null")


@pytest.mark.parametrize("words", [("a", "b"), ("-", "b"), ("a", "-"), ("a", "b", "c"), ("data://.my/c/x", "a", "b")])
def test_local_to_local(cli, words):
    ran = cli("cp", *words)
    assert ran.status == 2 and "at least one of the operands must be a path to a remote data source data://" in ran.err


def test_too_few(cli):
    assert cli("cp", "data://.my/a").status == 2


def test_unknown_protocol(cli):
    ran = cli("cp", "a", "http://example.com/")
    assert ran.status == 2 and "http://" in ran.err


def test_missing_things(cp, collection, here):
    ran = cp("nothing.jpg", collection.uri)
    assert (ran.status, ran.stdout) == (4, b"") and "nothing.jpg: no such file" in ran.stderr
    ran = cp(collection.uri + "/nothing", ".")
    assert (ran.status, ran.stdout) == (4, b"") and "nothing" in ran.stderr
    assert os.listdir(str(here)) == ["friends.jpg"]
    collection.file("a").put("x")
    assert cp(collection.uri + "/a", "no/such/").status == 4
    ran = cp(collection.uri + "/a", "no/such")
    assert ran.status == 4 and "no/such: there is no directory no\n" in ran.stderr
    ran = cp(collection.uri, ".")
    assert ran.status == 1 and "cp -r" in ran.stderr


def test_a_missing_collection_is_named(cp):
    for source in ("friends.jpg", "-"):
        ran = cp(source, "data://.my/no_such")
        assert (ran.status, ran.stdout) == (4, b"") and "algo mkdir data://.my/no_such" in ran.stderr


def test_the_protocol_is_needed(cp):
    ran = cp("friends.jpg", ".my/images")
    assert ran.status == 2 and "write data://.my/images" in ran.stderr


def test_the_others_are_copied(cp, collection, here):
    here.join("b").write("b")
    ran = cp("friends.jpg", "nothing", "b", collection.uri)
    assert ran.status == 4 and ran.text.endswith("Finished uploading 2 file(s)\n")


def test_directories_need_the_option(cp, collection, here):
    here.mkdir("d").join("f").write("f")
    ran = cp("d", collection.uri)
    assert ran.status == 1 and "-r" in ran.stderr and list(collection.list()) == []


def test_trees(cp, algo, client, here):
    tree = here.mkdir("tree_up")
    tree.join("a").write("a")
    tree.join("b").write("b")
    ran = cp("-r", "tree_up", "data://.my")
    assert ran.status == 0 and ran.text.endswith("Finished uploading 2 file(s)\n"), ran
    made = client.dir("data://.my/tree_up")
    assert sorted(item.getName() for item in made.list()) == ["a", "b"]
    assert cp("-r", "tree_up", "data://.my/tree_two").status == 0
    assert cp("-r", "tree_up", "data://.my/tree_two").status == 0  # exists now: goes into it
    assert sorted(item.getName() for item in client.dir("data://.my/tree_two").list()) == ["a", "b"]
    assert cp("-r", "data://.my/tree_up", "down").status == 0
    assert sorted(os.listdir(str(here.join("down")))) == ["a", "b"]
    assert cp("-r", "data://.my/tree_up", "down").status == 0
    assert sorted(os.listdir(str(here.join("down", "tree_up")))) == ["a", "b"]
    assert cp("-r", "data://.my/tree_up", "data://.my/tree_three").status == 0
    assert client.file("data://.my/tree_three/b").getString() == "b"
    assert algo("rmdir", "-f", ".my/tree_up", ".my/tree_two", ".my/tree_three").status == 0


def test_a_directory_does_not_replace_a_file(cp, collection, here):
    here.mkdir("d").join("f").write("f")
    collection.file("f").put("x")
    assert cp("-r", "d", collection.uri + "/f").status == 2


@pytest.mark.parametrize("name", ["../evil", "..", "a/b", ""])
def test_names_that_lead_elsewhere(cli, profile, tmpdir, name):
    listing = answer({"files": [{"filename": name, "size": 1}]}, headers=["X-Data-Type: directory"])
    target = tmpdir.mkdir("in").mkdir("side")
    tmpdir.join("in", "evil").write("mine")
    with WireServer(listing) as platform:
        profile(platform.address)
        ran = cli("cp", "-r", "data://.my/c", target)
        again = cli("cp", "data://.my/c/*", target)
    assert ran.status == again.status == 1 and "Traceback" not in ran.err + again.err
    assert [path.basename for path in tmpdir.join("in").visit() if path.check(file=1)] == ["evil"]
    assert tmpdir.join("in", "evil").read() == "mine"
    if name == "..":
        assert "local file name" in ran.err


def test_one_request_per_file(cli, profile, tmpdir):
    for name in ("a", "b", "c"):
        tmpdir.join(name).write(name)
    with WireServer(IS_DIRECTORY, answer({"result": "x"})) as platform:
        profile(platform.address)
        ran = cli("cp", tmpdir.join("a"), tmpdir.join("b"), tmpdir.join("c"), "data://.my/d")
    assert ran.status == 0
    assert [request.method for request in platform.requests] == ["HEAD", "PUT", "PUT", "PUT"]
    assert sorted(request.target for request in platform.requests[1:]) == ["/v1/data/.my/d/" + name for name in "abc"]


def test_connectors_are_remote(cli, profile, tmpdir):
    tmpdir.join("a").write("a")
    with WireServer(answer({"result": "x"})) as platform:
        profile(platform.address)
        assert cli("cp", tmpdir.join("a"), "s3+lab://bucket/key/").out.startswith("Uploaded s3+lab://bucket/key/a\n")
    assert platform.requests[0].target == "/v1/connector/s3+lab/bucket/key/a"


def test_download_that_breaks_leaves_nothing(cli, profile, tmpdir):
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nX-Data-Type: file\r\n\r\nhalf"

    def break_off(connection, request):
        connection.sendall(half)
        connection.shutdown(socket.SHUT_RDWR)

    target = tmpdir.mkdir("d")
    target.join("f").write("before")
    with WireServer(break_off) as platform:
        profile(platform.address)
        ran = cli("cp", "data://.my/c/f", target)
    assert ran.status == 6 and "Traceback" not in ran.err
    assert target.join("f").read() == "before" and target.listdir() == [target.join("f")]


def test_progress_on_a_terminal_only(cli, profile, tmpdir):
    tmpdir.join("a").write_binary(CONTENT)
    with WireServer(IS_DIRECTORY, answer({"result": "x"})) as platform:
        profile(platform.address)
        shown = cli("cp", tmpdir.join("a"), "data://.my/d", terminal=True)
    assert shown.out == "Uploaded data://.my/d/a\nFinished uploading 1 file(s)\n"


@pytest.mark.parametrize("known", [None, 5])
def test_the_bar_learns_the_size_of_a_download(cli, profile, tmpdir, monkeypatch, known):
    bars = []

    class Bar(object):
        """What is used of tqdm's."""

        def __init__(self, env, total):
            self.total, self.n = total, 0
            bars.append(self)

        def update(self, count):
            self.n += count

        def clear(self):
            pass

        close = clear

    monkeypatch.setattr(progress, "_make_bar", Bar)
    listing = [answer({"files": [{"filename": "f", "size": known}]})] if known else []
    with WireServer(*(listing + [answer(body=b"12345", headers=["X-Data-Type: file"])])) as platform:
        profile(platform.address)
        assert cli("cp", "data://.my/c/*" if known else "data://.my/c/f", tmpdir).status == 0
    assert (bars[0].total, bars[0].n) == (5, 5)


def test_crew_runs_all_and_stops_early():
    done = list(Crew(3).run(list(range(20)), lambda job: job * 2))
    assert sorted(result for _, result, _ in done) == [2 * job for job in range(20)]
    crew, seen = Crew(2), []

    def action(job):
        seen.append(job)
        for _ in range(10000):
            crew.check()
            if job == 3:
                raise ValueError(job)
            time.sleep(0.001 if job > 3 else 0)

    work = crew.run(list(range(1000)), action)
    for _, _, error in work:
        if error is not None:
            break
    work.close()
    with pytest.raises(Stopped):
        crew.check()
    assert len(seen) < 10


def test_local_paths():
    assert copying.local_path("file:///a/b") == "/a/b" and copying.local_path("a") == "a"


def test_a_tree_with_directories_is_refused_where_names_are_flat(cli, profile, here):
    here.mkdir("nested").mkdir("inner").join("b").write("b")
    with WireServer(IS_DIRECTORY, answer({"result": "data://.my/c"}), IS_DIRECTORY) as platform:
        profile(platform.address)
        ran = cli("cp", "-r", here.join("nested"), "data://.my/c")
    assert ran.status == 2 and "nested holds the directory inner" in ran.err and ran.out == ""
    assert {request.method for request in platform.requests} == {"HEAD", "POST"}
