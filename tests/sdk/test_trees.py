"""Files and whole directories up and down by the SDK's own verbs."""
import errno
import os
import threading

import pytest
from wire import WireServer, answer

import Algorithmia
from Algorithmia import errors

CONTENT = bytes(bytearray(range(256))) * 2000


@pytest.fixture
def tree(tmpdir):
    place = tmpdir.mkdir("tree")
    for number in range(20):
        place.join("f%02d" % number).write_binary(CONTENT + b"%d" % number)
    return place


def test_a_file_up_and_down(collection, tmpdir):
    tmpdir.join("up").write_binary(CONTENT)
    moved = []
    item = collection.file("f").upload(str(tmpdir.join("up")), moved.append)
    assert sum(moved) == len(CONTENT) and item.getBytes() == CONTENT
    del moved[:]
    assert item.download(str(tmpdir.join("down")), moved.append) == str(tmpdir.join("down"))
    assert sum(moved) == len(CONTENT) and tmpdir.join("down").read_binary() == CONTENT
    place = tmpdir.mkdir("d")
    assert item.download(str(place)) == str(place.join("f")) and place.join("f").read_binary() == CONTENT


def test_a_directory_up_and_down(client, tree, tmpdir):
    directory = client.dir("data://.my/trees_made")
    moved, inside = [], []

    def progress(count):
        assert not inside  # one thread at a time
        inside.append(1)
        moved.append(count)
        inside.pop()

    try:
        assert directory.upload(str(tree), progress) is directory
        total = sum(path.size() for path in tree.listdir())
        assert sum(moved) == total and len(list(directory.files())) == 20
        directory.upload(str(tree))  # again, over what is there
        del moved[:]
        target = tmpdir.join("new", "place")
        assert directory.download(str(target), progress, concurrency=3) == str(target)
        assert sum(moved) == total
        assert {path.basename: path.read_binary() for path in target.listdir()} == {
            path.basename: path.read_binary() for path in tree.listdir()
        }
        assert directory.upload(str(tree.join("f00"))).file("f00").exists()
    finally:
        directory.delete(force=True)


def test_directories_in_directories(client, tree, tmpdir):
    tree.mkdir("inner").join("deep").write("x")
    tree.mkdir("empty")
    directory = client.dir("data://.my/trees_nested")
    try:
        directory.upload(str(tree))
        assert [item.getName() for item in directory.dirs()] == ["inner"]
        assert directory.dir("inner").file("deep").getString() == "x"
        directory.download(str(tmpdir.join("down")))
        assert tmpdir.join("down", "inner", "deep").read() == "x" and tmpdir.join("down", "f00").check()
        directory.dir("inner").upload(str(tmpdir.join("down", "inner")))
        directory.dir("inner").dir("below").upload(str(tmpdir.join("down", "inner")))
        assert directory.file("inner/below/deep").getString() == "x"
    finally:
        directory.delete(force=True)


def test_directories_in_directories_are_refused_where_names_are_flat(tree):
    tree.mkdir("inner")
    with WireServer(answer({"result": "data://.my/c"}), answer(headers=["X-Data-Type: directory"])) as platform:
        with pytest.raises(errors.DataApiError, match="inner"):
            Algorithmia.client("simKEY", platform.address).dir("data://.my/c").upload(str(tree))
    assert [request.method for request in platform.requests] == ["POST", "HEAD"]


def test_the_first_error_ends_it(collection, tree):
    tree.join("a\x01").write("a name that the platform refuses")
    with pytest.raises(errors.BadRequestError):
        collection.upload(str(tree), concurrency=2)
    assert len(list(collection.files())) < 20
    with pytest.raises((IOError, OSError)):
        collection.upload(str(tree.join("nothing")))


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="this is about links")
def test_links_that_lead_nowhere_are_told_at_the_end(client, collection, tmpdir):
    tree = tmpdir.mkdir("tree")
    tree.join("0").mksymlinkto("nowhere")
    tree.join("1").write("x")
    copy = client.dir("file://" + str(tmpdir.join("copy")))
    for directory in (collection, copy):
        with pytest.raises(OSError) as caught:
            directory.upload(str(tree))
        assert caught.value.errno == errno.ENOENT and caught.value.filename == str(tree.join("0"))
        assert [item.getName() for item in directory.files()] == ["1"]
    tree.mkdir("2").join("3").mksymlinkto("nowhere")
    tree.join("4").write("x")
    with pytest.raises(OSError) as caught:
        collection.upload(str(tree))
    assert caught.value.errno == errno.ENOENT
    assert str(tree.join("0")) in str(caught.value) and str(tree.join("2", "3")) in str(caught.value)
    assert sorted(item.getName() for item in collection.files()) == ["1", "4"]


def test_an_error_of_the_callback_ends_it(collection, tree):
    def progress(count):
        raise KeyError("mine")

    with pytest.raises(KeyError):
        collection.upload(str(tree), progress)


def test_many_threads_share_a_client(collection, tmpdir):
    problems = []

    def work(number):
        try:
            path = str(tmpdir.join("t%d" % number))
            content = CONTENT + b"%d" % number
            for _ in range(3):
                collection.file("t%d" % number).put(content).download(path)
                with open(path, "rb") as handle:
                    assert handle.read() == content
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


@pytest.mark.parametrize("name", ["..", ".", "a\0b"])
def test_names_that_lead_elsewhere(tmpdir, name):
    target = tmpdir.mkdir("in").mkdir("side")
    listing = answer({"files": [{"filename": name, "size": 1}]}, headers=["X-Data-Type: directory"])
    with WireServer(listing, answer(body=b"x")) as platform:
        with pytest.raises(errors.DataApiError, match="local file name"):
            Algorithmia.client("simKEY", platform.address).dir("data://.my/c").download(str(target))
    assert [path.basename for path in tmpdir.join("in").visit()] == ["side"]


def test_directories_of_connectors_come_with_what_they_hold(tmpdir):
    listing = answer({"folders": [{"name": "sub"}], "files": [{"filename": "f", "size": 1}]},
                     headers=["X-Data-Type: directory"])
    below = answer({"files": [{"filename": "g", "size": 1}]}, headers=["X-Data-Type: directory"])
    with WireServer(listing, below, answer(body=b"x")) as platform:
        directory = Algorithmia.client("simKEY", platform.address).dir("s3://bucket/top")
        directory.download(str(tmpdir.join("down")), concurrency=1)
        assert directory.upload(str(tmpdir.join("down")), concurrency=1) is directory
    assert sorted(os.listdir(str(tmpdir.join("down")))) == ["f", "sub"]
    puts = [request.target for request in platform.requests if request.method == "PUT"]
    assert puts == ["/v1/connector/s3/bucket/top/f", "/v1/connector/s3/bucket/top/sub/g"]


def test_local_ones_have_the_same_verbs(client, tree, tmpdir):
    copy = client.dir("file://" + str(tmpdir.join("copy"))).upload(str(tree))
    assert len(list(copy.files())) == 20
    assert copy.download(str(tmpdir.join("third"))) == str(tmpdir.join("third"))
    assert tmpdir.join("third", "f07").read_binary() == CONTENT + b"7"
    item = client.file("file://" + str(tmpdir.join("x"))).upload(str(tree.join("f01")))
    assert item.download(str(tmpdir.join("y"))) == str(tmpdir.join("y")) and tmpdir.join("y").size() == item_size(tree)


def item_size(tree):
    return tree.join("f01").size()
