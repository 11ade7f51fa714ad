"""Large uploads over connections that break: they go on where they were, in this process or in a later one."""
import io
import json
import os
import stat
import sys
import time

import pytest
from breaking import BreakingWay
from wire import WireServer, answer

import Algorithmia
from Algorithmia import config, downloads, errors, resumption, sending, transfer, uploads
from Algorithmia._compat import PY2

CONTENT = bytes(bytearray(range(256))) * 25000


class Once(object):
    """What can be read once only."""

    def __init__(self, content):
        self.read = io.BytesIO(content).read


@pytest.fixture(autouse=True)
def soon_large(monkeypatch):
    """Files needn't be very large to be sent in parts, and pauses are short."""
    monkeypatch.setattr(uploads, "LARGE", 1024 * 1024)
    monkeypatch.setattr(downloads, "LARGE", 1024 * 1024)
    monkeypatch.setattr(sending, "WINDOW", 1024 * 1024)
    monkeypatch.setattr(resumption, "_LONGEST_PAUSE", 0.05)


@pytest.fixture
def through(server):
    """A function that makes a way that breaks and a client that takes it: ``through(up=[1000000])``."""
    opened = []

    def make(**options):
        retries = options.pop("retries", 3)
        way = BreakingWay(server.address, **options)
        opened.append(way)
        way.__enter__()
        return way, Algorithmia.Client(server.key, way.address, retries=retries)

    yield make
    for way in opened:
        way.__exit__()


@pytest.fixture
def path(tmpdir):
    tmpdir.join("up").write_binary(CONTENT)
    return str(tmpdir.join("up"))


def methods(way):
    return [head.split()[0] for head in way.heads]


def notes():
    try:
        return os.listdir(os.path.join(config.home(), "uploads"))
    except OSError:
        return []


def test_a_large_file_goes_in_parts_where_that_is_offered(through, collection, path):
    way, client = through()
    moved = []
    transfer.upload(client, path, collection.uri + "/f", moved.append)
    transfer.upload(client, path, collection.uri + "/g")
    assert collection.file("f").getBytes() == collection.file("g").getBytes() == CONTENT
    assert sum(moved) == len(CONTENT) and methods(way).count("OPTIONS") == 1 and "PUT" not in methods(way)
    assert notes() == []


@pytest.mark.parametrize("up", [[3000000], [1000000, 2000000, 500000, 1000000], [200]])
def test_a_broken_upload_goes_on(through, collection, path, up):
    way, client = through(up=up)
    moved = []
    transfer.upload(client, path, collection.uri + "/f", moved.append)
    assert collection.file("f").getBytes() == CONTENT and sum(moved) == len(CONTENT) and not way.up
    assert methods(way).count("POST") == 1 or up == [200]
    assert notes() == []


def test_it_ends_when_nothing_arrives_any_more_and_the_next_process_goes_on(through, collection, path):
    way, client = through(up=[3000000, 300, 300, 300, 300, 300, 300, 300, 300, 300, 300, 300], retries=1)
    with pytest.raises(errors.UnreachableError):
        transfer.upload(client, path, collection.uri + "/f")
    assert not collection.file("f").exists() and len(notes()) == 1
    note = os.path.join(config.home(), "uploads", notes()[0])
    with open(note) as handle:
        remembered = json.load(handle)
    assert remembered["path"] == os.path.realpath(path) and client.apiKey not in json.dumps(remembered)
    assert os.name == "nt" or stat.S_IMODE(os.stat(note).st_mode) == 0o600
    way.up, again, moved = [], Algorithmia.Client(client.apiKey, way.address), []
    del way.heads[:]
    transfer.upload(again, path, collection.uri + "/f", moved.append)
    assert collection.file("f").getBytes() == CONTENT and sum(moved) == len(CONTENT) and moved[0] > 1000000
    assert "POST" not in methods(way) and notes() == []


def test_a_changed_file_is_sent_from_its_beginning(through, collection, path):
    way, client = through(up=[3000000] + [300] * 20, retries=0)
    with pytest.raises(errors.UnreachableError):
        transfer.upload(client, path, collection.uri + "/f")
    with open(path, "r+b") as changed:
        changed.write(b"changed")
    os.utime(path, (1, 1))
    way.up = []
    transfer.upload(client, path, collection.uri + "/f")
    assert collection.file("f").getBytes() == b"changed" + CONTENT[7:] and methods(way).count("POST") == 2


def test_what_the_platform_has_dropped_is_sent_anew(through, server, collection, path):
    way, client = through(up=[3000000] + [300] * 20, retries=0)
    with pytest.raises(errors.UnreachableError):
        transfer.upload(client, path, collection.uri + "/f")
    with open(os.path.join(config.home(), "uploads", notes()[0])) as handle:
        upload = json.load(handle)["upload"]
    for attempt in range(100):
        try:
            server.client().request("DELETE", upload)
            break
        except errors.ConflictError:  # by what was broken off, which reaches the platform only now
            assert attempt < 99
            time.sleep(0.05)
    way.up = []
    transfer.upload(client, path, collection.uri + "/f")
    assert collection.file("f").getBytes() == CONTENT


def test_damage_is_repaired_once(through, collection, path):
    way, client = through(flip=[3000000])
    collection.file("f").put("before")
    moved = []
    transfer.upload(client, path, collection.uri + "/f", moved.append)
    assert collection.file("f").getBytes() == CONTENT and sum(moved) == len(CONTENT)
    collection.file("f").put("before")
    way, client = through(flip=[3000000, 3000000 + len(CONTENT)])
    with pytest.raises(errors.CorruptedTransferError):
        transfer.upload(client, path, collection.uri + "/f")
    assert collection.file("f").getString() == "before" and notes() == []


@pytest.mark.parametrize("size", [0, 1000, 1024 * 1024, 1024 * 1024 + 1, len(CONTENT)])
def test_streams_that_can_be_read_once(through, collection, size):
    _, client = through(up=[800000, 700000, 900000] if size > 2000000 else [])
    moved = []
    client.file(collection.uri + "/f").put_stream(Once(CONTENT[:size]), moved.append)
    assert collection.file("f").getBytes() == CONTENT[:size] and sum(moved) == size
    client.file(collection.uri + "/g").put_stream(Once(CONTENT[:size]), size=size)
    assert collection.file("g").getBytes() == CONTENT[:size]


def test_streams_of_another_length_than_announced(collection):
    for size, stored in ((2000000, False), (len(CONTENT) + 1, False)):
        if stored is False and size > len(CONTENT):
            with pytest.raises(errors.DataApiError, match="changed meanwhile"):
                collection.file("f").put_stream(Once(CONTENT), size=size)
            assert not collection.file("f").exists()
        else:
            collection.file("g").put_stream(Once(CONTENT), size=size)
            assert collection.file("g").getBytes() == CONTENT[:size]


def test_a_file_that_shrinks(collection, path):
    class Shrinking(io.FileIO):
        def readinto(self, view):
            return 0

    request, seen = collection.client.request, []

    def noting(method, *arguments, **options):
        seen.append(method)
        return request(method, *arguments, **options)

    collection.client.request = noting
    with Shrinking(path) as source, pytest.raises(errors.DataApiError, match="changed meanwhile"):
        collection.file("f").put_stream(source)
    assert seen[-1] == "DELETE"
    assert not collection.file("f").exists()


def test_conditions_and_refusals(through, collection, path):
    _, client = through()
    with pytest.raises(errors.NotFoundError):
        transfer.upload(client, path, collection.uri + "_missing/f")
    assert notes() == []


def test_a_session_of_requests_is_used(server, collection, path):
    client = Algorithmia.Client(server.key, server.address)
    assert client.requestSession
    transfer.upload(client, path, collection.uri + "/f")
    client.file(collection.uri + "/g").put_stream(Once(CONTENT))
    assert collection.file("f").getBytes() == collection.file("g").getBytes() == CONTENT


def test_platforms_that_know_nothing_of_it_get_one_put(path):
    refusal = answer({"error": {"message": "OPTIONS is not offered here"}}, "405 Method Not Allowed")
    with WireServer(refusal, answer({"result": "data://.my/c/f"})) as platform:
        client = Algorithmia.Client("simKEY", platform.address)
        transfer.upload(client, path, "data://.my/c/f")
        client.file("data://.my/c/f").put_stream(Once(CONTENT))
    assert [request.method for request in platform.requests] == ["OPTIONS", "PUT", "PUT"]
    assert [request.body for request in platform.requests[1:]] == [CONTENT, CONTENT]


def test_an_upload_elsewhere_gets_no_key(path):
    offer = b"HTTP/1.1 204 No Content\r\nAccept-Patch: application/partial-upload\r\n\r\n"
    begun = answer({}, "201 Created", ["Location: http://evil.example.com/v1/uploads/1"])
    with WireServer(offer, begun) as platform:
        with pytest.raises(errors.DataApiError, match="doesn't say where"):
            transfer.upload(Algorithmia.Client("simKEY", platform.address), path, "data://.my/c/f")


def test_an_answer_that_was_lost(through, collection, path):
    """The upload was complete, and the platform had said so."""
    way, client = through()
    transfer.upload(client, path, collection.uri + "/first")  # so that it knows what is offered
    answered = []
    request = client.request

    def losing(method, *arguments, **options):
        response = request(method, *arguments, **options)
        if options.get("headers", {}).get("Upload-Complete") == "?1" and not answered:
            answered.append(response)
            raise errors.UnreachableError("the connection broke")
        return response

    client.request = losing
    transfer.upload(client, path, collection.uri + "/f")
    assert answered and collection.file("f").getBytes() == CONTENT and notes() == []


def test_old_notes_are_swept(through, collection, path, tmpdir):
    way, client = through(up=[3000000] + [300] * 20, retries=0)
    directory = os.path.join(config.home(), "uploads")
    os.makedirs(directory)
    old = os.path.join(directory, "0" * 32 + ".json")
    open(old, "w").close()
    os.utime(old, (time.time() - 10 * 24 * 3600,) * 2)
    with pytest.raises(errors.UnreachableError):
        transfer.upload(client, path, collection.uri + "/f")
    assert len(notes()) == 1 and not os.path.exists(old)


def test_who_has_too_many_unfinished_uploads_sends_it_whole(path):
    offer = b"HTTP/1.1 204 No Content\r\nAccept-Patch: application/partial-upload\r\n\r\n"
    refusal = answer({"error": {"message": "too many"}}, "429 Too Many Requests")
    with WireServer(offer, refusal, answer({"result": "data://.my/c/f"})) as platform:
        transfer.upload(Algorithmia.Client("simKEY", platform.address), path, "data://.my/c/f")
    assert [request.method for request in platform.requests] == ["OPTIONS", "POST", "PUT"]
    assert platform.requests[2].body == CONTENT


def test_heads_that_are_damaged(collection, server, path):
    """A request may be refused, or be another one, for a bit of its head: once is no reason to give up."""
    client = Algorithmia.Client(server.key, server.address)
    request, damaged, seen = client.request, [], []

    def damaging(method, target, **options):
        headers = dict(options.get("headers") or {})
        name = (method, headers.get("Upload-Complete"))
        seen.append(method)
        if name in damage and name not in damaged:
            damaged.append(name)
            options["headers"] = dict(headers, **damage[name])
        return request(method, target, **options)

    client.request = damaging
    for number, damage in enumerate([
        {("PATCH", "?1"): {"Upload-Complete": "?0"}},
        {("PATCH", "?1"): {"Upload-Complete": "x"}},
        {("PATCH", "?0"): {"Upload-Offset": "7"}},
        {("PATCH", "?0"): {"Authorization": "simNOBODY"}, ("HEAD", None): {"Authorization": "simNOBODY"}},
        {("PATCH", "?0"): {"Upload-Complete": "?1"}},
    ]):
        del damaged[:], seen[:]
        transfer.upload(client, path, "%s/f%d" % (collection.uri, number))
        assert collection.file("f%d" % number).getBytes() == CONTENT and len(damaged) == len(damage)
        assert seen.count("POST") == 1 and notes() == []


def test_another_upload_is_no_reason_to_give_up(collection, server, path):
    client = Algorithmia.Client(server.key, server.address)
    request, missed = client.request, []

    def missing(method, target, **options):
        if method in ("PATCH", "HEAD") and method not in missed:
            missed.append(method)
            target += "x"
        return request(method, target, **options)

    client.request = missing
    transfer.upload(client, path, collection.uri + "/f")
    assert collection.file("f").getBytes() == CONTENT and missed == ["PATCH", "HEAD"]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="there, names of files are Unicode")
def test_local_names_that_are_no_utf8(collection, tmpdir):
    path = os.path.join(str(tmpdir), b"\xff\xfe".decode("utf-8", "surrogateescape") if not PY2 else b"\xff\xfe")
    with open(path, "wb") as source:
        source.write(CONTENT)
    transfer.upload(collection.client, path, collection.uri + "/f")
    transfer.download(collection.client, collection.uri + "/f", path + path[-1:])
    with open(path + path[-1:], "rb") as target:
        assert target.read() == CONTENT


def test_platforms_that_forget_what_they_have_begun_get_it_whole(path):
    offer = b"HTTP/1.1 204 No Content\r\nAccept-Patch: application/partial-upload\r\n\r\n"
    missing = answer({"error": {"message": "no upload 1"}}, "404 Not Found")

    def serve(connection, request):
        replies = {"OPTIONS": offer, "PUT": answer({"result": "x"}),
                   "POST": answer({}, "201 Created", ["Location: /v1/uploads/1"]),
                   "HEAD": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"}
        connection.sendall(replies.get(request.method, missing))

    moved = []
    with WireServer(serve) as platform:
        transfer.upload(Algorithmia.Client("simKEY", platform.address), path, "data://.my/c/f", moved.append)
    assert platform.requests[-1].method == "PUT" and platform.requests[-1].body == CONTENT
    assert sum(moved) == len(CONTENT) and [r.method for r in platform.requests].count("POST") == 3 and notes() == []


@pytest.mark.parametrize("status", [403, 405, 501])
@pytest.mark.parametrize("is_blind", [False, True], ids=["PATCH", "all about uploads"])
@pytest.mark.parametrize("once", [False, True], ids=["file", "stream"])
def test_where_no_patch_passes_it_goes_with_one_put(path, status, is_blind, once):
    refusal = answer({"error": {"message": "not here"}}, status="%d No" % status)

    def serve(connection, request):
        replies = {
            "OPTIONS": answer(status="204 No Content", body=b"", headers=["Accept-Patch: application/partial-upload"]),
            "POST": answer({}, status="201 Created", headers=["Location: /v1/uploads/1"]),
            "PUT": answer({"result": "data://.my/c/f"}),
            "HEAD": b"HTTP/1.1 204 No Content\r\nUpload-Offset: 0\r\n\r\n",
            "DELETE": answer(status="204 No Content", body=b""),
        }
        if is_blind and "uploads" in request.path:
            replies = {"HEAD": refusal.split(b"\r\n\r\n")[0] + b"\r\n\r\n"}
        connection.sendall(replies.get(request.method, refusal))

    moved = []
    with WireServer(serve) as platform:
        client = Algorithmia.Client("simKEY", platform.address, retries=2)
        if once:
            transfer.upload_from(client, Once(CONTENT), "data://.my/c/f", moved.append)
        else:
            transfer.upload(client, path, "data://.my/c/f", moved.append)
        del platform.requests[:-1]
        transfer.upload(client, path, "data://.my/c/g")
    put = platform.requests[0]
    assert put.method == "PUT" and put.body == CONTENT and sum(moved) == len(CONTENT) and notes() == []
    assert (len(platform.requests) == 2) == (status != 403)  # which may be about the one file
