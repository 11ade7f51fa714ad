"""`algo sync`: in every direction only what differs is moved, and nothing is deleted that wasn't asked for."""
import os

import pytest

from Algorithmia.cli.moving import COPY, DOWNLOAD, UPLOAD
from Algorithmia.cli.syncing import Entry, _differs


@pytest.fixture
def here(tmpdir):
    place = tmpdir.mkdir("here")
    for name in ("a", "b"):
        place.join(name).write(name)
        os.utime(str(place.join(name)), (1500000000, 1500000000))
    return place


@pytest.fixture
def sync(algo, tmpdir):
    def run(*words):
        return algo("sync", *words, cwd=tmpdir)

    return run


def names(collection):
    return sorted(item.getName() for item in collection.files())


def test_up_only_what_differs(sync, collection, here):
    ran = sync("here", collection.uri)
    assert ran.status == 0 and ran.text.endswith("Finished uploading 2 file(s)\n")
    assert sync("here", collection.uri).text == ""
    here.join("a").write("longer")
    here.join("c").write("c")
    assert sync("file://here", collection.uri + "/").text.endswith("Finished uploading 2 file(s)\n")
    assert collection.file("a").getString() == "longer" and names(collection) == ["a", "b", "c"]
    here.join("b").write("B")
    os.utime(str(here.join("b")), (3000000000, 3000000000))
    assert sync("here", collection.uri).text.startswith("Uploaded %s/b\n" % collection.uri)


def test_down_and_back(sync, collection, tmpdir):
    for name in ("a", "b"):
        collection.file(name).put(name)
    assert sync(collection.uri, "new/place").text.endswith("Finished downloading 2 file(s)\n")
    place = tmpdir.join("new", "place")
    assert sync(collection.uri, "new/place").text == "" and sync("new/place", collection.uri).text == ""
    os.utime(str(place.join("a")), (1500000000, 1500000000))
    assert sync(collection.uri, "new/place").text.endswith("Finished downloading 1 file(s)\n")
    os.utime(str(place.join("a")), (1500000000, 1500000000))
    assert sync("--checksum", collection.uri, "new/place").text == ""
    place.join("a").write("A")
    assert sync("--checksum", collection.uri, "new/place").text.endswith("Finished downloading 1 file(s)\n")
    assert place.join("a").read() == "a"


def test_from_one_collection_to_another(sync, client, collection):
    collection.file("a").put("a")
    other = client.dir(collection.uri + "_2")
    try:
        assert sync(collection.uri, other.uri).text.endswith("Finished copying 1 file(s)\n")
        assert other.file("a").getString() == "a" and sync(collection.uri, other.uri).text == ""
        collection.file("a").put("A")
        other.file("surplus").put("x")
        ran = sync(collection.uri, other.uri, "--checksum", "--delete")
        assert ran.text.endswith("Deleted %s/surplus\n" % other.uri) and names(other) == ["a"]
        assert other.file("a").getString() == "A"
    finally:
        other.delete(force=True)


def test_delete(sync, collection, here):
    collection.file("old").put("x")
    collection.file("keep.me").put("x")
    assert sync("here", collection.uri).status == 0 and names(collection) == ["a", "b", "keep.me", "old"]
    ran = sync("here", collection.uri, "--delete", "--dry-run", "--exclude", "keep.*")
    assert ran.text == "Would delete %s/old\n" % collection.uri and "old" in names(collection)
    assert sync("here", collection.uri, "--delete", "--exclude", "keep.*").text == "Deleted %s/old\n" % collection.uri
    assert names(collection) == ["a", "b", "keep.me"]


def test_local_deletes_stay_inside(sync, collection, tmpdir):
    outside = tmpdir.mkdir("outside")
    outside.join("precious").write("x")
    place = tmpdir.mkdir("place")
    place.mkdir("sub").join("old").write("x")
    place.join("link").mksymlinkto(outside)
    place.join("file_link").mksymlinkto(outside.join("precious"))
    collection.file("a").put("a")
    ran = sync(collection.uri, "place", "--delete")
    deleted = [line.split("place/")[1] for line in ran.text.splitlines() if line.startswith("Deleted")]
    assert ran.status == 0 and sorted(deleted) == ["file_link", "sub/old"]
    assert outside.join("precious").read() == "x" and place.join("link").check(link=1)


def test_nothing_is_deleted_when_something_failed(sync, collection, here):
    collection.file("old").put("x")
    here.join("a\x01b").write("no such name on the platform")
    ran = sync("here", collection.uri, "--delete")
    assert ran.status == 1 and "nothing was deleted" in ran.stderr and names(collection) == ["a", "b", "old"]


def test_links_that_lead_nowhere(sync, collection, here):
    here.join("0").mksymlinkto("nowhere")
    collection.file("0").put("what the link meant")
    ran = sync("here", collection.uri, "--delete")
    assert ran.status and "0: no such file" in ran.stderr and "nothing was deleted" in ran.stderr, ran
    assert ran.text.endswith("Finished uploading 2 file(s)\n") and names(collection) == ["0", "a", "b"]
    assert sync("here", collection.uri, "--exclude", "0").status == 0

    collection.file("0").delete()
    here.join("b").remove()
    ran = sync(collection.uri, "here")
    assert ran.status == 0 and "skipped here/0: no such file" in ran.stderr, ran
    assert here.join("b").read() == "b" and here.join("0").check(link=1)


def test_a_source_that_is_missing_deletes_nothing(sync, client, collection, tmpdir):
    collection.file("f").put("x")
    tmpdir.mkdir("full").join("f").write("x")
    assert sync("nowhere", collection.uri, "--delete").status == 4
    assert sync("data://.my/no_such_collection", "full", "--delete").status == 4
    assert names(collection) == ["f"] and tmpdir.join("full", "f").check()


def test_nested_directories(sync, client, collection, here, tmpdir):
    here.mkdir("inner").join("f").write("x")
    here.mkdir("empty")
    ran = sync("here", collection.uri, "--exclude", "inner/*")
    assert ran.status == 0 and names(collection) == ["a", "b"]
    assert sync("here", collection.uri).text.startswith("Uploaded %s/inner/f\n" % collection.uri)
    assert sync("here", collection.uri).text == ""
    assert sync(collection.uri, "there").status == 0
    assert tmpdir.join("there", "inner", "f").read() == "x" and tmpdir.join("there", "a").read() == "a"
    here.join("inner", "f").remove()
    assert sync("here", collection.uri, "--delete").text == "Deleted %s/inner/f\n" % collection.uri
    assert list(collection.dirs()) == []
    assert sync("here", collection.uri + "/below/there").status == 0
    assert names(collection.dir("below").dir("there")) == ["a", "b"]


def test_a_place_inside_the_other_under_another_name(algo, sync, client, collection):
    collection.file("k/f").put("x")
    collection.file("g").put("x")
    mine, below = "data://%s/%s" % (client.username(), collection.getName()), collection.uri + "/k"
    for source, target in ((below, mine), (collection.uri, mine + "/k")):
        for words in ((source, target), (target, source)):
            ran = sync("--delete", *words)
            assert ran.status == 2 and "not apart" in ran.stderr, ran
    for words in (("-r", collection.uri, mine + "/k"), ("-r", below, mine + "/k/k"), (below + "/f", mine + "/k/")):
        ran = algo("cp", *words)
        assert ran.status == 2 and ("itself" in ran.stderr or "same" in ran.stderr), ran
    assert algo("cp", below + "/f", collection.uri + "/g", mine + "/k/").status == 2  # the first is its own target
    assert names(collection) == ["g"] and names(collection.dir("k")) in (["f"], ["f", "g"])


def test_a_source_is_no_target_of_the_same_copy(algo, collection):
    for name in ("a/x", "a/a/x"):
        collection.file(name).put(name)
    ran = algo("cp", "-r", collection.uri + "/a", collection.uri)
    assert ran.status == 2 and collection.file("a/x").getString() == "a/x"


def test_dry_run_makes_nothing(sync, client, here, tmpdir):
    ran = sync("here", "data://.my/never_made", "--dry-run")
    assert ran.text == "Would upload data://.my/never_made/a\nWould upload data://.my/never_made/b\n"
    assert not client.dir("data://.my/never_made").exists()


@pytest.mark.parametrize("words", [("a",), ("a", "b"), ("a", "data://.my"), ("a", "ftp://x/"), ("a", "b", "data://.my/c"),
                                   ("data://.my/c", "data://.my/c/")])
def test_usage(cli, profile, words):
    profile("http://127.0.0.1:1")
    assert cli("sync", *words).status == 2


def test_times():
    older, newer = Entry("x", 1, 5.2), Entry("x", 1, 7.0)
    assert _differs(UPLOAD, newer, older) and not _differs(UPLOAD, older, newer)
    assert _differs(COPY, newer, older) and not _differs(COPY, older, older)
    assert _differs(DOWNLOAD, older, newer) and not _differs(DOWNLOAD, older, Entry("x", 1, 5.0))
    assert _differs(UPLOAD, Entry("x", 2, 1), newer) and not _differs(DOWNLOAD, Entry("x", 1, None), newer)
