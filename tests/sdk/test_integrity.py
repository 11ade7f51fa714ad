"""Contents that are damaged on their way: found, sent once more, and reported if that doesn't help."""
import hashlib
import io
import os
import time

import pytest
from damage import DamagingWay
from wire import WireServer, answer

import Algorithmia
from Algorithmia import digests, errors, resumption, transfer, uploads
from Algorithmia._compat import PY2

CONTENT = bytes(bytearray(range(256))) * 8000


class Once(object):
    """What can be read once only."""

    def __init__(self, content):
        self.read = io.BytesIO(content).read


@pytest.fixture
def way(server):
    """A function that makes a `DamagingWay` to the platform and a client that takes it."""
    opened = []

    def make(**counts):
        place = DamagingWay(server.address, **counts)
        opened.append(place)
        place.__enter__()
        return place, Algorithmia.client(server.key, place.address)

    yield make
    for place in opened:
        place.__exit__()


@pytest.fixture(params=["announced", "compared"])
def path(request, monkeypatch, tmpdir):
    """A file that is uploaded with its digest ahead, or compared afterwards."""
    if request.param == "compared":
        monkeypatch.setattr(uploads, "ANNOUNCED", 1000)
    tmpdir.join("up").write_binary(CONTENT)
    return str(tmpdir.join("up"))


def puts(way):
    return [request for request in way.requests if request.method == "PUT"]


def test_a_damaged_upload_is_repeated(way, collection, path):
    place, client = way(up=1)
    moved = []
    transfer.upload(client, path, collection.uri + "/f", moved.append)
    assert collection.file("f").getBytes() == CONTENT and len(puts(place)) == 2
    assert sum(moved) == len(CONTENT)


def test_an_upload_that_is_damaged_twice_is_reported(way, collection, path):
    place, client = way(up=2)
    with pytest.raises(errors.CorruptedTransferError) as caught:
        transfer.upload(client, path, collection.uri + "/f")
    assert isinstance(caught.value, errors.DataApiError) and collection.uri + "/f" in str(caught.value)
    assert len(puts(place)) == 2


def test_damaged_content_is_never_published_when_its_digest_went_ahead(way, collection):
    collection.file("f").put("before")
    place, client = way(up=4)
    for put in (lambda: client.file(collection.uri + "/f").put(CONTENT),
                lambda: client.file(collection.uri + "/f").put_stream(io.BytesIO(CONTENT))):
        with pytest.raises(errors.CorruptedTransferError) as caught:
            put()
        assert caught.value.status == 400 and "Nothing was stored" in str(caught.value)
    assert collection.file("f").getString() == "before" and len(puts(place)) == 4


@pytest.mark.skipif(PY2, reason="2.7 keeps a stream of unknown length in a file first, so it can send it again")
def test_what_can_be_read_once_is_withdrawn(way, collection, monkeypatch):
    large = CONTENT * 5
    place, client = way(up=1)
    monkeypatch.setattr(resumption, "is_offered", lambda data_file: False)
    with pytest.raises(errors.CorruptedTransferError):
        client.file(collection.uri + "/f").put_stream(Once(large))
    assert not collection.file("f").exists() and len(puts(place)) == 1
    client.file(collection.uri + "/f").put_stream(Once(large))
    assert collection.file("f").getBytes() == large
    place.up = 1
    client.file(collection.uri + "/f").put_stream(Once(CONTENT))  # small enough to be sent again
    assert collection.file("f").getBytes() == CONTENT


def test_a_damaged_download_is_repeated(way, collection, tmpdir):
    collection.file("f").put(CONTENT)
    place, client = way(down=1)
    target, moved = tmpdir.join("down"), []
    assert transfer.download(client, collection.uri + "/f", str(target), moved.append) == len(CONTENT)
    assert target.read_binary() == CONTENT and sum(moved) == len(CONTENT)
    place.down = 1
    assert client.file(collection.uri + "/f").getBytes() == CONTENT
    assert [request.method for request in place.requests] == ["GET"] * 4


def test_a_download_that_is_damaged_twice_leaves_nothing(way, collection, tmpdir):
    collection.file("f").put(CONTENT)
    _, client = way(down=2)
    target = tmpdir.mkdir("d").join("down")
    target.write("before")
    with pytest.raises(errors.CorruptedTransferError):
        transfer.download(client, collection.uri + "/f", str(target))
    assert target.read() == "before" and tmpdir.join("d").listdir() == [target]
    _, client = way(down=2)
    with pytest.raises(errors.CorruptedTransferError):
        client.file(collection.uri + "/f").getBytes()
    _, client = way(down=1)
    with pytest.raises(errors.CorruptedTransferError):  # what was written to a pipe can't be taken back
        transfer.download_to(client, collection.uri + "/f", Once(b"") and io.BytesIO())


def test_the_platform_names_digests(collection):
    sha256, md5 = (hashlib.new(name, b"12345").hexdigest() for name in ("sha256", "md5"))
    item = collection.file("f").put(b"12345")
    for method, headers in (("HEAD", {}), ("GET", {}), ("GET", {"Range": "bytes=1-2"})):
        response = collection.client.request(method, item.url, headers=headers)
        assert digests.told(response.headers) == sha256
        assert response.headers["ETag"] == '"%s"' % md5
    for digest in (sha256, md5):
        response = collection.client.request("PUT", item.url, body=b"12345", headers=digests.headers(digest))
        assert digests.told(response.headers) == sha256


def test_large_files_have_no_md5(collection, tmpdir):
    content = b"0123456789abcdef" * (1024 * 1024 + 1)
    local = tmpdir.join("large")
    local.write_binary(content)
    collection.file("f").upload(str(local))
    md5 = hashlib.md5(content).hexdigest()
    stat = collection.file("f").stat()
    assert stat.digest == digests.of_file(str(local), stat.digest)
    assert len(stat.etag) == 34 and stat.etag != '"%s"' % md5
    for headers, status in ((digests.headers(md5), 200), (digests.headers(hashlib.md5(b"").hexdigest()), 400)):
        response = collection.client.request("PUT", collection.file("f").url, body=content, headers=headers,
                                             also_ok=[400])
        assert response.status == status


@pytest.mark.parametrize("header,status", [("md5=:AAAA:", 400), ("md5=:%%:", 400), ("sha-256=:AAAA:", 400),
                                           ("sha-512=:AAAA:", 200), ("sha-256=:\xe9:", 400),
                                           ("unixsum=1, md5=:gnzLDuqKcGxMNKFokfhOew==:", 200),
                                           ("md5=:gnzLDuqKcGxMNKFokfhOeW==:", 400)])
def test_announcements(collection, header, status):
    item = collection.file("f")
    response = collection.client.request("PUT", item.url, body=b"12345", headers={"Repr-Digest": header}, also_ok=[400])
    assert response.status == status and item.exists() is (status == 200)


def test_platforms_without_digests_are_believed(tmpdir):
    with WireServer(answer({"result": "x"}), answer(body=b"content", headers=["X-Data-Type: file"])) as platform:
        client = Algorithmia.client("simKEY", platform.address)
        client.file("data://.my/c/f").put(b"x")
        assert client.file("data://.my/c/f").getBytes() == b"content"
        transfer.download(client, "data://.my/c/f", str(tmpdir.join("f")))
        client.file("data://.my/c/f").put_stream(Once(b"x"))
    assert tmpdir.join("f").read() == "content"


def test_other_headers_are_no_digests():
    for header in ("", "md5=", "md5=:?:", "sha-256=:gnzLDuqKcGxMNKFokfhOew==:", "md5=:AAAA:"):
        assert digests.told({"Repr-Digest": header}) is None
    assert digests.told({}) is None
    assert digests.told({"Repr-Digest": "sha-256=:AAAA:, md5=:gnzLDuqKcGxMNKFokfhOew==:"}) == (
        "827ccb0eea8a706c4c34a16891f84e7b"
    )
    assert digests.of_etag('"827ccb0eea8a706c4c34a16891f84e7b"') == "827ccb0eea8a706c4c34a16891f84e7b"
    for etag in (None, "", '"827ccb0eea8a706c4c34a16891f84e7b-2"', 'W/"827ccb0eea8a706c4c34a16891f84e7b"'):
        assert digests.of_etag(etag) is None


def test_a_file_that_shrinks_while_it_is_sent(collection, tmpdir):
    class Shrinking(io.BytesIO):
        def read(self, size=-1):
            return b""

    with pytest.raises(errors.DataApiError, match="changed meanwhile"):
        collection.file("f").put_stream(Shrinking(b"x" * 100))
    assert not collection.file("f").exists()


def test_a_file_that_grows_while_it_is_sent(collection):
    source = io.BytesIO(b"x" * 100)
    collection.file("f").put_stream(source, size=40)
    assert collection.file("f").getBytes() == b"x" * 40


def test_times_of_change_are_kept(collection, tmpdir):
    item = collection.file("f").put("x")
    transfer.download(collection.client, item.uri, str(tmpdir.join("f")), keep_time=True)
    import calendar

    assert int(os.stat(str(tmpdir.join("f"))).st_mtime) == calendar.timegm(item.stat().last_modified.timetuple())


@pytest.mark.parametrize("breaks", [1, 3])
def test_a_download_goes_on_where_its_connection_broke(server, collection, tmpdir, breaks):
    content = CONTENT * 4  # large enough for the thread that hashes
    item = collection.file("f").put(content)
    left, ranges = [breaks], []

    def serve(connection, request):
        ranges.append(request.headers.get("range"))
        headers = {"Range": ranges[-1]} if ranges[-1] else {}
        answered = collection.client.request("GET", item.url, headers=headers)
        lines = ["HTTP/1.1 %d OK" % answered.status] + ["%s: %s" % pair for pair in answered.headers.items()]
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        if left[0]:
            left[0] -= 1
            connection.sendall(answered.data[: len(answered.data) // 2])
            connection.shutdown(2)
        else:
            connection.sendall(answered.data)

    moved = []
    with WireServer(serve) as platform:
        client = Algorithmia.client(server.key, platform.address)
        assert transfer.download(client, item.uri, str(tmpdir.join("f")), moved.append) == len(content)
    assert tmpdir.join("f").read_binary() == content and sum(moved) == len(content)
    assert len(ranges) == breaks + 1 and all(text.startswith("bytes=") for text in ranges[1:])


def test_a_download_does_not_go_on_with_another_file(collection, tmpdir):
    first = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nETag: \"a\"\r\nAccept-Ranges: bytes\r\n\r\nhalf"

    def break_off(connection, request):
        connection.sendall(first)
        connection.shutdown(2)

    with WireServer(break_off, answer({"error": {"message": "changed"}}, "412 Precondition Failed")) as platform:
        client = Algorithmia.client("simKEY", platform.address)
        with pytest.raises(errors.DataApiError, match="replaced"):
            transfer.download(client, "data://.my/c/f", str(tmpdir.join("f")))
    assert platform.requests[1].headers["if-match"] == '"a"' and not tmpdir.join("f").check()
    with WireServer(break_off) as platform:
        with pytest.raises(errors.DataApiError, match="doesn't give"):  # a whole file where the rest was asked for
            transfer.download(Algorithmia.client("simKEY", platform.address), "data://.my/c/f", str(tmpdir.join("f")))


@pytest.mark.parametrize("head", [b"X-Data-Type: file\r\n", b"X-Data-Type: file\r\nContent-Le", b"X-Data-Ty"])
def test_an_answer_whose_head_breaks_off_is_no_empty_file(head, tmpdir):
    def break_off(connection, request):
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head)
        connection.shutdown(2)

    whole = answer(body=b"whole", headers=["X-Data-Type: file"])
    with WireServer(break_off, whole) as platform:
        client = Algorithmia.client("simKEY", platform.address)
        assert transfer.download(client, "data://.my/c/f", str(tmpdir.join("f"))) == 5
    assert tmpdir.join("f").read_binary() == b"whole"


def test_a_request_for_another_file_than_was_meant(collection, server):
    item = collection.file("meant").put("meant")
    collection.file("found").put("found")

    def misdirect(target):
        answered = Algorithmia.client(server.key, server.address).request("GET", target.replace("meant", "found"))
        headers = ["X-Data-Type: file"]
        headers += ["%s: %s" % (name, answered.headers[name]) for name in ("X-Request-Target", "Repr-Digest")]
        return answer(body=answered.data, headers=headers)

    with WireServer(misdirect(item.url)) as platform:
        with pytest.raises(errors.CorruptedTransferError) as caught:
            Algorithmia.client("simKEY", platform.address).file(item.uri).getString()
    assert "found" in str(caught.value)
    assert item.getString() == "meant"


def test_a_request_that_arrives_as_none_is_sent_again(server, tmpdir):
    refused = answer(body=b"Invalid HTTP request received.", status="400 Bad Request", headers=["Connection: close"])
    stored = answer({"result": "data://.my/c/f"})
    tmpdir.join("f").write("content")
    with WireServer(refused, stored) as platform:
        Algorithmia.client("simKEY", platform.address).file("data://.my/c/f").upload(str(tmpdir.join("f")))
    assert [request.body for request in platform.requests] == [b"content"] * 2
    with WireServer(refused, answer(body=b"content")) as platform:
        Algorithmia.client("simKEY", platform.address).file("data://.my/c/f").download(str(tmpdir.join("g")))
    assert tmpdir.join("g").read() == "content"


def test_a_damaged_listing_is_fetched_again(collection, server):
    collection.file("name").put("x")
    whole = Algorithmia.client(server.key, server.address).request("GET", collection.url)
    digest = "Repr-Digest: " + whole.headers["Repr-Digest"]
    damaged = answer(body=whole.data.replace(b"filename", b"filenam%"), headers=[digest])
    with WireServer(damaged, answer(body=whole.data, headers=[digest]), damaged) as platform:
        client = Algorithmia.client("simKEY", platform.address)
        assert [item.getName() for item in client.dir(collection.uri).files()] == ["name"]
        with pytest.raises(errors.CorruptedTransferError):
            list(client.dir(collection.uri).files())


def test_another_part_than_was_asked_for():
    part = answer(body=b"6789", status="206 Partial Content", headers=["Content-Range: bytes 6-9/10", 'ETag: "a"'])
    with WireServer(part) as platform:
        with Algorithmia.client("simKEY", platform.address).file("data://.my/c/f").open("rb") as source:
            source.seek(5)
            with pytest.raises(errors.CorruptedTransferError):
                source.read(4)
    assert platform.requests[0].headers["range"] == "bytes=5-"


def test_what_killed_downloads_left_is_removed_by_a_later_one(collection, tmpdir):
    collection.file("f").put("content")
    kept = [".f.%s.part" % ("a" * 32), ".f.%s.part" % ("b" * 16), "mine.part", ".mine.part"]
    removed = [".g.%s.part" % ("c" * 32), ".g.%s.part" % ("d" * 16)]
    now = time.time()
    for name in kept + removed:
        path = tmpdir.join(name)
        path.write("x")
        hours = 8 * 24 if "d" * 16 in name else 2
        os.utime(str(path), (now, now - (0 if "a" * 32 in name else hours * 3600)))
    for way in (collection.file("f").download, collection.download):
        way(str(tmpdir.ensure("fresh", dir=True)))
        assert tmpdir.join("fresh", "f").read() == "content"
    collection.file("f").download(str(tmpdir))
    assert sorted(path.basename for path in tmpdir.listdir() if path.check(file=True)) == sorted(kept + ["f"])


def test_digests_in_the_background():
    digest = digests.Background()
    for _ in range(20):
        digest.update(CONTENT)
    assert digest.hexdigest() == hashlib.sha256(CONTENT * 20).hexdigest()
    digest.close()


@pytest.mark.parametrize("repeated", [1, 4], ids=["small", "large"])
def test_streams_are_compared_at_their_end(way, collection, repeated):
    content = CONTENT * repeated
    collection.file("f").put(content)
    place, client = way(down=2)
    for read in (lambda stream: stream.read(), lambda stream: list(iter(lambda: stream.read(100000), b""))):
        with pytest.raises(errors.CorruptedTransferError), client.file(collection.uri + "/f").open() as stream:
            read(stream)
    with client.file(collection.uri + "/f").open() as stream:
        assert stream.read(10) == content[:10]  # and not to the end
        stream.seek(1000)
        assert stream.read() == content[1000:]
        stream.seek(0)
        assert stream.read() == content
