"""Digests of large files: XXH3-128 where both sides know it, SHA-256 for those who don't."""
import base64
import binascii
import hashlib
import io

import pytest
from damage import flipped

import Algorithmia
from Algorithmia import digests, errors, transfer
from Algorithmia._compat import PY2

CONTENT = b"0123456789abcdef" * (1024 * 1024 + 1)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
needs_streams = pytest.mark.skipif(PY2, reason="Python 2.7 makes files of streams first")
needs_xxhash = pytest.mark.skipif(digests.xxhash is None, reason="xxhash isn't installed")


class Once(object):
    """What can be read once only."""

    def __init__(self, content):
        self.read = io.BytesIO(content).read


@pytest.fixture(params=[True, False], ids=["xxhash", "without"])
def knows_xxhash(request, monkeypatch):
    """Whether the SDK has xxhash in this test."""
    if not request.param:
        monkeypatch.setattr(digests, "xxhash", None)
    elif digests.xxhash is None:
        pytest.skip("xxhash isn't installed")
    return request.param


@pytest.fixture
def item(server, collection):
    """A file of a client that knows nothing yet of what the platform offers."""
    return Algorithmia.client(server.key, server.address).file(collection.uri + "/large")


def named(item, **headers):
    """The digests that the platform names, by algorithm."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = item.client.request("HEAD", item.url, headers=headers)
    members = [member.strip().partition("=") for member in answer.headers["Repr-Digest"].split(",")]
    return {name: binascii.hexlify(base64.b64decode(text.strip(":"))).decode() for name, _, text in members}


def test_what_is_uploaded_is_known_by_what_was_compared(item, tmpdir, knows_xxhash):
    local = tmpdir.join("large")
    local.write_binary(CONTENT)
    item.upload(str(local))
    digest = item.stat().digest
    assert sorted(named(item)) == (["xxh128"] if knows_xxhash else ["sha-256", "xxh128"])
    assert digests.algorithm(digest) == ("xxh128" if knows_xxhash else "sha-256")
    assert digest == digests.of_file(str(local), digest)
    transfer.download(item.client, item.uri, str(tmpdir.join("down")))
    assert tmpdir.join("down").read_binary() == CONTENT


def test_streams_are_compared_alike(item, knows_xxhash):
    item.put_stream(Once(CONTENT))
    assert digests.algorithm(item.stat().digest) == ("xxh128" if knows_xxhash else "sha-256")
    assert item.open("rb").read() == CONTENT


def test_uploads_in_one_piece_are_compared_by_what_all_know(item, tmpdir, knows_xxhash, monkeypatch):
    monkeypatch.setattr("Algorithmia.uploads._is_offered", lambda data_file: False)
    item.put_stream(Once(CONTENT))
    assert named(item)["sha-256"] == SHA256
    tmpdir.join("large").write_binary(CONTENT)
    item.upload(str(tmpdir.join("large")))
    assert named(item)["sha-256"] == SHA256


def test_the_sha256_is_computed_for_who_wants_it_and_kept(item, tmpdir, monkeypatch):
    item.client.request("PUT", item.url, body=CONTENT)
    assert sorted(named(item)) == ["xxh128"]
    for wish in ("md5=1", "sha-256=0", "sha-512=9", "xxh128=3, sha-256=1", "nonsense"):
        assert sorted(named(item, Want_Repr_Digest=wish)) == ["xxh128"]
    monkeypatch.setattr(digests, "xxhash", None)
    transfer.download(item.client, item.uri, str(tmpdir.join("down")))
    assert tmpdir.join("down").read_binary() == CONTENT
    assert named(item)["sha-256"] == SHA256
    item.client.request("PUT", item.url, body=CONTENT + b"x")
    assert sorted(named(item)) == ["xxh128"]
    wanted = named(item, Want_Repr_Digest="xxh128=1, sha-256=7")
    assert wanted["sha-256"] == hashlib.sha256(CONTENT + b"x").hexdigest()


def test_parts_are_of_no_interest_to_who_wants_the_whole(item):
    item.client.request("PUT", item.url, body=CONTENT)
    headers = {"Range": "bytes=3-5", "Want-Repr-Digest": "sha-256=1"}
    answer = item.client.request("GET", item.url, headers=headers)
    assert answer.data == b"345" and sorted(named(item)) == ["xxh128"]


@needs_xxhash
def test_the_etag_is_the_digest(item):
    answer = item.client.request("PUT", item.url, body=CONTENT)
    expected = digests.xxhash.xxh3_128(CONTENT).hexdigest()
    assert answer.headers["ETag"] == '"%s"' % expected and named(item) == {"xxh128": expected}
    small = CONTENT[: 16 * 1024 * 1024]
    answer = item.client.request("PUT", item.url, body=small)
    assert answer.headers["ETag"] == '"%s"' % hashlib.md5(small).hexdigest()
    assert named(item) == {"sha-256": hashlib.sha256(small).hexdigest()}


@needs_xxhash
def test_what_is_announced_is_compared(item):
    right = digests.Xxh128()
    right.update(CONTENT)
    wrong = digests.headers(digests.Xxh128().hexdigest())
    with pytest.raises(errors.CorruptedTransferError):
        item.client.request("PUT", item.url, body=CONTENT, headers=wrong, family=errors.DATA)
    assert not item.exists()
    item.client.request("PUT", item.url, body=CONTENT, headers=digests.headers(right.hexdigest()))
    with pytest.raises(errors.CorruptedTransferError):
        item.client.request("PUT", item.url, body=b"small", headers=wrong, family=errors.DATA)


@pytest.mark.parametrize("wish", ["", "sha-256=1"])
@pytest.mark.parametrize("is_right", [True, False])
def test_an_upload_in_parts_is_compared_by_what_completes_it(item, wish, is_right):
    """Whatever was wanted when it began."""
    client = item.client
    headers = {"Upload-Complete": "?0", "Upload-Length": str(len(CONTENT)), "Want-Repr-Digest": wish}
    upload = client.request("POST", item.url, body=b"", headers=headers).headers["Location"]
    headers = {"Upload-Offset": "0", "Upload-Complete": "?0", "Want-Repr-Digest": wish}
    client.request("PATCH", upload, body=CONTENT, headers=headers, content_type="application/partial-upload")
    headers = {"Upload-Offset": str(len(CONTENT)), "Upload-Complete": "?1"}
    headers.update(digests.headers(SHA256 if is_right else hashlib.sha256(b"").hexdigest()))
    answer = client.request("PATCH", upload, body=b"", headers=headers, content_type="application/partial-upload",
                            also_ok=[400])
    assert (answer.status == 200) is is_right and item.exists() is is_right
    if is_right:
        assert named(item)["sha-256"] == SHA256


@needs_streams
def test_streams_that_turn_out_to_be_small_are_found_again(item, knows_xxhash):
    """Compared as large ones, before anybody knows; the answer that completes them gets lost."""
    content = CONTENT[: 9 * 1024 * 1024]
    client = item.client
    request = client.request
    lost = []

    def losing(method, *arguments, **options):
        response = request(method, *arguments, **options)
        if options.get("headers", {}).get("Upload-Complete") == "?1" and not lost:
            lost.append(response)
            raise errors.UnreachableError("the connection broke")
        return response

    client.request = losing
    item.put_stream(Once(content))
    assert lost and item.getBytes() == content
    assert named(item)["sha-256"] == hashlib.sha256(content).hexdigest()
    assert digests.of_bytes(content, item.stat().digest) == item.stat().digest


@needs_streams
@pytest.mark.parametrize("size", [9 * 1024 * 1024, len(CONTENT)])
def test_streams_are_compared_where_parts_are_refused(item, size, knows_xxhash):
    """The answer to one PUT names what it can, whatever the parts would have been compared by."""
    request = item.client.request
    damaged = []

    def on_a_bad_way(method, *arguments, **options):
        if method == "PATCH":
            raise errors.DataApiError("no such method", status=405)
        if method == "PUT" and not damaged:
            body = options["body"]
            pieces = iter(body.read, b"") if hasattr(body, "read") else (piece.tobytes() for piece in body)
            damaged.append(flipped(b"".join(pieces)))
            options["body"] = damaged[0]
        return request(method, *arguments, **options)

    item.client.request = on_a_bad_way
    with pytest.raises(errors.CorruptedTransferError):
        item.put_stream(Once(CONTENT[:size]))
    assert len(damaged[0]) == size and not item.exists()
    item.put_stream(Once(CONTENT[:size]))
    assert item.getBytes() == CONTENT[:size]


def test_what_the_platform_has_told_is_announced_to_it(item, knows_xxhash, monkeypatch):
    """As copies by way of here are, to connectors, say, which tell nothing in the end."""
    item.client.request("PUT", item.url, body=CONTENT)
    monkeypatch.setattr(transfer, "_copied_there", lambda *_: False)
    monkeypatch.setattr("Algorithmia.uploads._is_offered", lambda data_file: False)
    request = item.client.request
    announced = []

    def noting(method, *arguments, **options):
        if method == "PUT":
            announced.append(digests.told(options["headers"]))
        return request(method, *arguments, **options)

    item.client.request = noting
    transfer.copy_remote(item.client, item.uri, item.uri + "2")
    assert announced == [item.stat().digest] and item.client.file(item.uri + "2").getBytes() == CONTENT


def test_platforms_that_know_sha256_only_are_told_that(item, monkeypatch, knows_xxhash):
    """As they were before they offered anything else."""
    from Algorithmia import resumption

    assert resumption.is_offered(item)
    monkeypatch.setitem(resumption._offers[item.client], item.client.apiAddress, "")
    item.put_stream(Once(CONTENT))
    assert named(item)["sha-256"] == SHA256


def test_a_digest_that_cannot_be_compared_here_is_none(knows_xxhash):
    headers = {"Repr-Digest": "xxh128=:mapPV7/F0FvEqGypkl8aMQ==:", "ETag": '"99aa4f57bfc5d05bc4a86ca9925f1a31"'}
    told = digests.told(headers)
    assert told == ("xxh128:99aa4f57bfc5d05bc4a86ca9925f1a31" if knows_xxhash else None)
    assert not digests.differ(told, SHA256)
    both = {"Repr-Digest": headers["Repr-Digest"] + ", " + digests.headers(SHA256)["Repr-Digest"]}
    assert digests.told(both, SHA256) == SHA256
    assert digests.algorithm(digests.told(both)) == ("xxh128" if knows_xxhash else "sha-256")
