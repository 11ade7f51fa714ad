"""COPY: files that the platform copies by itself, with the rights and conditions of reading and storing."""
import io
from pathlib import Path

import pytest

from Algorithmia import acl, digests, errors, transfer

CONTENT = bytes(bytearray(range(256))) * 4000


def copy(client, source, destination, **headers):
    return client.request("COPY", source.url, headers=dict(headers, Destination=destination), family=errors.DATA)


@pytest.mark.parametrize("content", [b"", b"small", CONTENT], ids=["empty", "small", "large"])
def test_a_copy_has_content_type_and_digest(collection, content):
    source = collection.file("a.png")
    source.put_stream(io.BytesIO(content), content_type="text/x-odd")
    answer = copy(collection.client, source, collection.uri + "/b%20c.dat")
    made = collection.file("b c.dat")
    assert made.getBytes() == content and made.stat()[1:2] == ("text/x-odd",) and source.exists()
    assert digests.told(answer.headers) == made.stat().digest == source.stat().digest
    made.put("other")
    assert source.getBytes() == content


def test_copies_replace_unless_told_otherwise(collection):
    source, there = collection.file("a").put("new"), collection.file("b").put("old")
    for headers in ({"Overwrite": "F"}, {"If-None-Match": "*"}, {"If-Match": '"no"'}):
        with pytest.raises(errors.ConflictError):
            copy(collection.client, source, there.uri, **headers)
    assert there.getString() == "old"
    copy(collection.client, source, there.uri)
    assert there.getString() == "new"
    copy(collection.client, source, source.uri)
    assert source.getString() == "new"


def test_rights_of_copies(collection, new_account):
    other = new_account()
    other.client.dir("data://.my/own").create()
    name = "data://%s/%s" % (collection.client.username(), collection.getName())
    collection.file("f").put("x")
    foreign = other.client.file(name + "/f")
    with pytest.raises(errors.PermissionDeniedError):
        copy(other.client, foreign, "data://.my/own/f")
    collection.update_permissions(acl.ReadAcl.public)
    copy(other.client, foreign, "data://.my/own/f")
    assert other.client.file("data://.my/own/f").getString() == "x"
    with pytest.raises(errors.PermissionDeniedError):
        copy(other.client, other.client.file("data://.my/own/f"), name + "/g")
    for permissions in ({"allow_data": False}, {"allow_data_write": False}):
        limited = new_account(**permissions)
        with pytest.raises(errors.PermissionDeniedError):
            copy(limited.client, limited.client.file(name + "/f"), "data://.my/own/f")
    assert not collection.file("g").exists()


@pytest.mark.parametrize("destination,kind", [
    ("", errors.BadRequestError), ("b", errors.BadRequestError), ("ftp://x/y", errors.BadRequestError),
    ("data://.my/no_such_collection/f", errors.NotFoundError), ("data://.my", errors.BadRequestError),
    ("s3+none://bucket/key", errors.BadRequestError), ("data://.my/a/../b", errors.BadRequestError),
])  # fmt: skip
def test_impossible_destinations(collection, destination, kind):
    with pytest.raises(kind):
        copy(collection.client, collection.file("f").put("x"), destination)


def test_impossible_sources(collection):
    with pytest.raises(errors.NotFoundError):
        copy(collection.client, collection.file("nothing"), collection.uri + "/f")
    with pytest.raises(errors.BadRequestError):
        copy(collection.client, collection, collection.uri + "/f")
    with pytest.raises(errors.NotFoundError):
        transfer.copy_remote(collection.client, collection.uri + "/nothing", collection.uri + "/f")
    assert list(collection.files()) == []


def test_content_that_rotted_is_not_copied(start_server):
    server = start_server("--port", "0")
    directory = server.client().dir("data://.my/rot")
    directory.create()
    directory.file("f").put(CONTENT)
    blobs = [path for path in Path(server.home).rglob("*") if path.is_file() and path.stat().st_size == len(CONTENT)]
    assert len(blobs) == 1
    blobs[0].write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(errors.CorruptedTransferError):
        copy(server.client(), directory.file("f"), directory.uri + "/g")
    with pytest.raises(errors.CorruptedTransferError):
        directory.file("f").getBytes()
    assert not directory.file("g").exists()
