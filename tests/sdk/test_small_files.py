# -*- coding: utf-8 -*-
"""Small files that travel together, seen from the SDK: whole, verified, and alone where that doesn't go well."""
import base64
import hashlib
import io
import os
import stat
import tarfile

import pytest
from wire import WireServer, answer

import Algorithmia
from Algorithmia import errors, tar_files
from Algorithmia.arrivals import Arrivals, is_plain
from Algorithmia.local_files import is_file_name
from Algorithmia.uri import split_hosted

NAMES = [u"f%d" % number for number in range(6)]


def packed(files):
    return b"".join(
        tar_files.header(name, len(content), 5) + content + tar_files.padding(len(content)) for name, content in files
    ) + tar_files.END


def content_of(place):
    return {path.relto(place): path.read_binary() for path in place.visit() if path.check(file=True)}


def platform_with(archive, digest=None, stored=6):
    """A platform with the collection .my/c, which gives `archive` whatever is asked for, and ``x`` for single files."""
    digest = hashlib.sha256(archive).digest() if digest is None else digest
    encoded = base64.b64encode(digest).decode("ascii")
    headers = ["Content-Type: application/x-tar", "Repr-Digest: sha-256=:%s:" % encoded]
    listing = {"files": [{"filename": name, "size": 1} for name in NAMES]}

    def reply(connection, request):
        if request.method == "HEAD":
            document = answer({}, headers=["X-Data-Type: directory", "Accept-Post: text/x, Application/X-Tar; q=1"])
        elif request.method == "POST" and request.headers["content-type"] == "application/x-tar":
            document = answer({"result": {"stored": stored}})
        elif request.query.startswith("file="):
            document = answer(body=archive, headers=headers)
        elif request.path == "/v1/data/.my/c":
            document = answer(listing, headers=["X-Data-Type: directory"])
        else:
            document = answer(body=b"x", headers=["X-Data-Type: file"])
        connection.sendall(document)

    return WireServer(reply)


def fetched(archive, tmpdir, digest=None):
    """What a download comes to, and how many files were asked for alone."""
    with platform_with(archive, digest) as platform:
        moved = []
        directory = Algorithmia.client("simKEY", platform.address).dir("data://.my/c")
        directory.download(str(tmpdir.join("down")), moved.append)
    single = [request for request in platform.requests if request.path.startswith("/v1/data/.my/c/")]
    assert sum(moved) == sum(path.size() for path in tmpdir.join("down").listdir())
    return content_of(tmpdir.join("down")), len(single)


def test_all_in_one_request(tmpdir):
    files = [(name, name.encode("ascii")) for name in NAMES]
    assert fetched(packed(files), tmpdir) == (dict(files), 0)
    assert tmpdir.join("down", "f0").mtime() == 5


@pytest.mark.parametrize(
    ("files", "alone"),
    [
        ([(name, b"y") for name in NAMES[:4]], 2),
        ([(u"../f0", b"y"), (u"/f0", b"y"), (u"f0/f0", b"y"), (u"f1", b"y")], 5),
        ([(u"other%d" % number, b"y") for number in range(6)], 6),
        ([(u"f%d" % number, b"y") for number in range(9)], 6),
    ],
)
def test_only_what_was_asked_for_is_taken(tmpdir, files, alone):
    content, single = fetched(packed(files), tmpdir)
    assert single == alone and sorted(content) == NAMES and list(content.values()).count(b"x") == alone


def test_damage(tmpdir):
    files = [(name, b"y") for name in NAMES]
    assert fetched(packed(files), tmpdir, hashlib.sha256(b"else").digest()) == ({name: b"x" for name in NAMES}, 6)


def test_an_archive_that_breaks_off(tmpdir):
    files = [(name, b"y") for name in NAMES]
    assert fetched(packed(files)[:-1024], tmpdir) == ({name: b"x" for name in NAMES}, 6)


def test_what_is_stored_is_counted(tmpdir):
    for name in NAMES:
        tmpdir.join(name).write("x")
    for stored, alone in ((6, 0), (5, 6)):
        with platform_with(b"", stored=stored) as platform:
            Algorithmia.client("simKEY", platform.address).dir("data://.my/c").upload(str(tmpdir))
        assert [request.method for request in platform.requests].count("PUT") == alone


@pytest.mark.parametrize("session", [False, True])
def test_up_and_down(client, collection, tmpdir, session):
    if session:
        assert client.requestSession
    place = tmpdir.mkdir("up")
    for number in range(40):
        place.join(u"\u4e00" * 70 + u" %d+%%" % number).write_binary(os.urandom(100000))
    place.mkdir("in").mkdir("side").join("n" * 200).write("x")
    moved = []
    collection.upload(str(place), moved.append)
    assert sum(moved) == 4000001
    collection.download(str(tmpdir.join("down")))
    assert content_of(tmpdir.join("down")) == content_of(place)


def test_a_callback_that_raises_leaves_nothing(collection, tmpdir):
    for number in range(20):
        collection.file("f%d" % number).put("x" * 100)
    target = tmpdir.mkdir("down")
    target.join("f3").write("before")

    def progress(count):
        raise KeyError("mine")

    with pytest.raises(KeyError):
        collection.download(str(target), progress)
    assert content_of(target) == {"f3": b"before"}


def test_the_collection_decides(client, new_account, server, collection, tmpdir):
    for name in NAMES:
        tmpdir.join(name).write("x")
    other = server.client(new_account(allow_data=True).key)
    with pytest.raises(errors.PermissionDeniedError):
        other.dir(collection.uri.replace(".my", client.username())).upload(str(tmpdir))
    assert list(collection.files()) == []


# -- files that arrive together --------------------------------------------------------------------------------------


def test_arrivals(tmpdir):
    tmpdir.join("old").write("old")
    os.chmod(str(tmpdir.join("old")), 0o640)
    arrivals = Arrivals()
    arrivals.write(str(tmpdir.join("old")), b"new", 1)
    arrivals.write(str(tmpdir.join("fresh")), memoryview(b"fresh"), 2)
    assert tmpdir.join("old").read() == "old" and not tmpdir.join("fresh").check() and len(tmpdir.listdir()) == 3
    arrivals.settle()
    arrivals.discard()
    assert content_of(tmpdir) == {"old": b"new", "fresh": b"fresh"}
    assert (tmpdir.join("old").mtime(), tmpdir.join("fresh").mtime()) == (1, 2)
    assert stat.S_IMODE(os.stat(str(tmpdir.join("old"))).st_mode) == 0o640
    with pytest.raises((OSError, IOError)):
        arrivals.write(str(tmpdir.join("nowhere", "x")), b"", 0)


def test_arrivals_that_are_given_up(tmpdir):
    tmpdir.join("old").write("old")
    arrivals = Arrivals()
    arrivals.write(str(tmpdir.join("old")), b"new", 1)
    arrivals.discard()
    arrivals.discard()
    assert content_of(tmpdir) == {"old": b"old"}


def test_what_is_no_plain_file(tmpdir):
    tmpdir.join("file").write("")
    tmpdir.join("link").mksymlinkto(tmpdir.join("file"))
    assert is_plain(str(tmpdir.join("file"))) and is_plain(str(tmpdir.join("none")))
    assert not is_plain(str(tmpdir.join("link"))) and not is_plain(str(tmpdir)) and not is_plain(os.devnull)


# -- archives and paths ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [u"a", u"a b/c", u"n" * 100, u"n" * 101, u"d/" * 200 + u"f", u"\xe9", u"a=~"])
def test_archives_are_everybodys(name):
    data = packed([(name, b"abc"), (u"last", b"")])
    assert [(title, content.tobytes(), seconds) for title, content, seconds in tar_files.read(data, 2)] == [
        (name, b"abc", 5),
        (u"last", b"", 5),
    ]
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        member = archive.getmembers()[0]
        assert (member.size, member.mtime, member.mode, member.isreg()) == (3, 5, 0o644, True)
        assert archive.extractfile(member).read() == b"abc"
        title = member.name
    assert (title if isinstance(title, type(u"")) else title.decode("utf-8")) == name


def test_archives_that_are_none():
    for data in (b"", b"x" * 512, b"\0" * 511, packed([(u"a", b"x")])[:1500], packed([(u"a", b"")]) + b"x"):
        with pytest.raises(tar_files.ArchiveError):
            list(tar_files.read(data, 9))
    with pytest.raises(tar_files.ArchiveError, match="more than 1"):
        list(tar_files.read(packed([(u"a", b""), (u"b", b"")]), 1))


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        (".my/c/f", (".my/c", "f")),
        ("me/c/a/b", ("me/c", "a/b")),
        (".session/f", (".session", "f")),
        (".algo/temp/f", (".algo/temp", "f")),
        (".algo/o/n/perm/a/f", (".algo/o/n/perm", "a/f")),
        (".my/c", None),
        (".my", None),
        (".session", None),
        (".algo/o/n/perm", None),
        (".my/c/", None),
        (".my/c//f", None),
    ],
)
def test_where_names_begin(path, parts):
    assert split_hosted(path) == parts


def test_an_archive_without_end(tmpdir):
    sent = []

    def reply(connection, request):
        if request.query.startswith("file="):
            size = 300 * 1024 * 1024
            head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-tar\r\nContent-Length: %d\r\n\r\n" % size
            connection.sendall(head.encode("ascii"))
            for _ in range(300):
                connection.sendall(b"x" * 1024 * 1024)
                sent.append(1)
            return
        plain(connection, request)

    platform = platform_with(b"")
    plain, platform.replies = platform.replies[0], [reply]
    with platform:
        Algorithmia.client("simKEY", platform.address).dir("data://.my/c").download(str(tmpdir.join("down")))
    assert content_of(tmpdir.join("down")) == {name: b"x" for name in NAMES}
    assert len(sent) < 150  # the rest of it nobody took


@pytest.mark.parametrize("name", [
    u"a:b", u"a?", u"a*", u"a|", u"<a", u"a>", u'a"', u"a\\b", u"a.", u"a ", u"nul", u"NUL.txt", u"Com1", u"lpt9 .x",
    u"a\x01",
])
def test_names_that_mean_something_else_on_windows(name):
    assert not is_file_name(name, windows=True) and is_file_name(name, windows=False)


def test_names_everywhere():
    for name in (u"", u".", u"..", u"a/b", u"a\0"):
        assert not is_file_name(name, windows=True) and not is_file_name(name, windows=False)
    for name in (u"a b", u".a", u"null", u"com", u"com10", u"con_a", u"\u00fc"):
        assert is_file_name(name, windows=True)
