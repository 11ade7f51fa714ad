"""`algo cp`: which files are copied, which are left alone, what is said, and what an interrupt leaves."""
import errno
import os
import signal
import time

import pytest
from wire import WireServer, answer

from Algorithmia.cli.filters import Filter

NAMES = ("a.csv", "b.csv", "b.txt", "c.png")
IS_DIRECTORY = answer({}, headers=["X-Data-Type: directory"])


@pytest.fixture
def here(tmpdir):
    place = tmpdir.mkdir("here")
    for name in NAMES:
        place.join(name).write(name)
    return place


def names(collection):
    return sorted(item.getName() for item in collection.files())


def test_the_last_pattern_that_fits_decides():
    chosen = Filter([(False, "*"), (True, "*.csv"), (False, "b*")])
    assert [name for name in NAMES if chosen(name)] == ["a.csv"]
    assert Filter()("anything") and Filter(None)("sub/thing")
    assert not Filter([(False, "sub/*")])("sub/deep/thing")
    assert not Filter()("d/.name.%s.part" % ("0" * 32)) and Filter()(".name.part")


def test_include_and_exclude(algo, collection, here):
    ran = algo("cp", "-r", here, collection.uri, "--exclude", "*", "--include", "*.csv", "--exclude=b*")
    assert ran.status == 0 and names(collection) == ["a.csv"]
    assert algo("cp", "*", collection.uri, "--exclude", "*.png", cwd=here).status == 0
    assert names(collection) == ["a.csv", "b.csv", "b.txt"]
    down = here.mkdir("down")
    assert algo("cp", "-r", collection.uri, down.join("tree"), "--exclude", "*.csv").status == 0
    assert os.listdir(str(down.join("tree"))) == ["b.txt"]
    assert algo("cp", collection.uri + "/*", down, "--include", "*", "--exclude", "b.*").status == 0
    assert sorted(os.listdir(str(down))) == ["a.csv", "tree"]


def test_no_clobber(algo, collection, here):
    collection.file("a.csv").put("kept")
    ran = algo("cp", "-n", "a.csv", "b.csv", collection.uri, cwd=here)
    assert ran.status == 0 and "Skipped %s/a.csv: it exists\n" % collection.uri in ran.stderr
    assert ran.text == "Uploaded {0}/b.csv\nFinished uploading 1 file(s)\n".format(collection.uri)
    assert collection.file("a.csv").getString() == "kept"
    assert algo("cp", "-n", collection.uri + "/a.csv", here).status == 0
    assert here.join("a.csv").read() == "a.csv"
    assert algo("cp", "-n", collection.uri + "/a.csv", collection.uri + "/b.csv").status == 0
    assert collection.file("b.csv").getString() == "b.csv"


def test_checksum(algo, collection, here):
    assert algo("cp", "-r", here, collection.uri).status == 0
    collection.file("b.csv").put("B.csv")
    here.join("b.txt").write("longer than before")
    ran = algo("cp", "-r", "--checksum", here, collection.uri)
    assert ran.text.endswith("Finished uploading 2 file(s)\n")
    assert ran.stderr.count("it is the same\n") == 2
    assert collection.file("b.csv").getString() == "b.csv"
    ran = algo("cp", "--checksum", collection.uri + "/*", here)
    assert ran.status == 0 and ran.stdout == b"" and ran.stderr.count("Skipped") == 4
    here.join("a.csv").write("A.csv")
    ran = algo("cp", "--checksum", collection.uri + "/*", here, "-q")
    assert (ran.stdout, ran.stderr) == (b"", "") and here.join("a.csv").read() == "a.csv"
    ran = algo("cp", "--checksum", collection.uri + "/a.csv", collection.uri + "/copy")
    assert "Copied" in ran.text
    assert "the same" in algo("cp", "--checksum", collection.uri + "/a.csv", collection.uri + "/copy").stderr


def test_dry_run(algo, client, collection, here):
    ran = algo("cp", "--dry-run", "a.csv", "b.csv", collection.uri, cwd=here)
    assert ran.text == "Would upload {0}/a.csv\nWould upload {0}/b.csv\n".format(collection.uri)
    assert ran.status == 0 and ran.stderr == "" and names(collection) == []
    assert algo("cp", "-r", "--dry-run", here, "data://.my/never_made").status == 0
    assert not client.dir("data://.my/never_made").exists()
    collection.file("x").put("x")
    ran = algo("cp", "-r", "--dry-run", collection.uri, here.join("no"))
    assert ran.text == "Would download %s/x to %s\n" % (collection.uri, here.join("no", "x"))
    assert not here.join("no").check()
    ran = algo("cp", "--dry-run", collection.uri + "/x", collection.uri + "/y")
    assert ran.text == "Would copy {0}/x to {0}/y\n".format(collection.uri)


def test_a_summary_of_several(algo, collection, here):
    ran = algo("cp", "-r", here, collection.uri)
    assert ran.stderr.startswith("4 file(s), 20B in ") and ran.stderr.endswith("B/s)\n")
    assert algo("cp", here.join("a.csv"), collection.uri).stderr == ""
    assert algo("cp", "-q", "-r", here, collection.uri).stderr == ""


def test_downloads_keep_the_time_of_change(cli, profile, tmpdir):
    with WireServer(answer(body=b"x", headers=["Last-Modified: Wed, 06 Jan 2016 00:52:34 GMT"])) as platform:
        profile(platform.address)
        assert cli("cp", "data://.my/c/f", tmpdir.join("f")).status == 0
    assert tmpdir.join("f").mtime() == 1452041554


def test_a_damaged_upload_is_an_error_of_its_own(cli, profile, tmpdir):
    tmpdir.join("f").write("content")
    arrived = ["Repr-Digest: md5=:AAAAAAAAAAAAAAAAAAAAAA==:"]
    refusal = answer({"error": {"message": "damaged"}}, "400 Bad Request", arrived)
    with WireServer(IS_DIRECTORY, refusal) as platform:
        profile(platform.address)
        ran = cli("cp", tmpdir.join("f"), "data://.my/c")
    assert ran.status == 1 and "damaged" in ran.err
    assert [request.method for request in platform.requests] == ["HEAD", "PUT", "PUT"]


def test_platforms_that_do_not_copy(cli, profile):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"
    for status in ("404 Not Found", "405 Method Not Allowed", "501 Not Implemented"):
        refusal = answer({"error": {"message": "no"}}, status)
        with WireServer(head, head, refusal, answer(body=b"content"), answer({"result": "x"})) as platform:
            profile(platform.address)
            ran = cli("cp", "data://.my/c/f", "data://.my/c/g h")
        assert ran.status == 0, ran
        assert [request.method for request in platform.requests] == ["HEAD", "HEAD", "COPY", "GET", "PUT"]
        assert platform.requests[2].headers["destination"] == "data://.my/c/g%20h"


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_an_interrupt_leaves_nothing_half_written(algo_process, profile, tmpdir):
    target = tmpdir.mkdir("target")

    def stall(connection, request):
        if request.method == "GET" and "marker" not in request.target and request.target.endswith(("f", "g")):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nX-Data-Type: file\r\n\r\nhalf")
        else:
            connection.sendall(IS_DIRECTORY)

    with WireServer(stall) as platform:
        profile(platform.address)
        process = algo_process("cp", "data://.my/c/f", "data://.my/c/g", target)
        for _ in range(600):
            if len([path for path in target.listdir() if path.basename.endswith(".part")]) == 2:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130 and target.listdir() == []


def test_links_in_a_directory(algo, collection, here):
    tree = here.mkdir("tree")
    tree.join("b").mksymlinkto("nowhere")
    tree.join("c").mksymlinkto(here.mkdir("other"))
    for name in ("a", "d"):
        tree.join(name).write(name)
    tree.join("e").mksymlinkto(tree.join("d"))
    ran = algo("cp", "-r", tree, collection.uri)
    assert ran.status and "b: no such file" in ran.stderr and "c: a link to a directory" in ran.stderr, ran
    assert sorted(item.getName() for item in collection.list()) == ["a", "d", "e"]
    ran = algo("cp", "-r", "--exclude", "b", tree, collection.uri)
    assert ran.status == 0 and "no such file" not in ran.stderr, ran


def test_a_full_disk_names_the_file(cli, profile, tmpdir, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with WireServer(answer(body=b"x", headers=["X-Data-Type: file"])) as platform:
        profile(platform.address)
        monkeypatch.setattr(os, "fsync", full)
        ran = cli("cp", "data://.my/c/f", tmpdir.join("g"))
    assert ran.status and "%s: no space" % tmpdir.join("g") in ran.err, ran
    assert not [path for path in tmpdir.listdir() if path.basename.startswith((".g.", "g"))]


def test_names_do_not_drive_the_terminal(cli, profile, tmpdir):
    with WireServer(answer(body=b"x", headers=["X-Data-Type: file"])) as platform:
        profile(platform.address)
        ran = cli("cp", u"data://.my/c/\x1b[2Jf", tmpdir.join("g"), terminal=True)
    assert u"Downloaded data://.my/c/?[2Jf" in ran.out, ran
