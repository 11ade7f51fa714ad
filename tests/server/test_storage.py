"""Every blob store: what can be read when, what is left behind, and what a start makes of what a crash left."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blob_stores import AzurePlace, Google, GooglePlace, LocalPlace, Place, S3Place, environment
from storage_providers import Azurite, Moto, running

from Algorithmia.server.storage import locations
from Algorithmia.server.storage.base import BlobStore

# Several parts of an object.
LARGE = 20 * 1024 * 1024 + 3


@pytest.fixture(scope="module", params=["local", "s3", "gs", "azureblob"])
def provider(request: Any, tmp_path_factory: Any) -> Iterator[Any]:
    if request.param == "local":
        yield None
        return
    pytest.importorskip("obstore", reason="object stores need obstore")
    home = tmp_path_factory.mktemp("emulator")
    if request.param != "gs":
        yield from running(request.param, home)
        return
    google = Google(home)
    yield google
    google.stop()


@pytest.fixture
def place(provider: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    if provider is None:
        return LocalPlace(tmp_path)
    for name, value in environment(provider).items():
        monkeypatch.setenv(name, value)
    kinds: dict[Any, Any] = {Moto: S3Place, Google: GooglePlace, Azurite: AzurePlace}
    place: Place = kinds[type(provider)](tmp_path, provider, f"blobs/{tmp_path.name}")
    return place


@pytest.fixture
def store(place: Place) -> BlobStore:
    store = place.open()
    store.recover(nothing, nothing, [])
    return store


def nothing(blob_id: str) -> bool:
    return False


def path_of(blob_id: str) -> str:
    return f"{blob_id[:2]}/{blob_id}"


def write(store: BlobStore, *pieces: bytes) -> str:
    writer = store.create()
    for piece in pieces:
        writer.write(piece)
    writer.finish()
    return writer.id


def read(store: BlobStore, blob_id: str) -> bytes:
    with store.open_blob(blob_id) as handle:
        return b"".join(iter(lambda: handle.read(1 << 20), b""))


def is_clean(place: Place) -> bool:
    return not place.leftovers() and not place.unfinished()


@pytest.mark.parametrize("size", [0, 1, LARGE])
def test_content_is_readable_before_and_after_it_is_published(store: BlobStore, place: Place, size: int) -> None:
    content = os.urandom(size)
    blob_id = write(store, *(content[start : start + 300_000] for start in range(0, size, 300_000)))
    assert read(store, blob_id) == content
    store.publish(blob_id)
    assert read(store, blob_id) == content
    assert place.published() == [path_of(blob_id)]
    assert is_clean(place)
    (entry,) = store.entries()
    assert (entry.name, entry.size) == (blob_id, size)


@pytest.mark.parametrize("size", [0, 1, LARGE])
def test_aborted_blob_leaves_nothing(store: BlobStore, place: Place, size: int) -> None:
    writer = store.create()
    writer.write(bytes(size))
    assert writer.size == size
    writer.abort()
    writer.abort()
    assert place.published() == [] and is_clean(place)
    with pytest.raises(FileNotFoundError):
        store.open_blob(writer.id)


@pytest.mark.parametrize("resumable", [False, True])
def test_blob_that_is_aborted_when_it_was_finished_leaves_nothing(
    store: BlobStore, place: Place, resumable: bool
) -> None:
    writer = store.create(resumable)
    writer.write(b"content that is not wanted after all")
    writer.finish()
    writer.abort()
    assert place.published() == [] and is_clean(place)


def test_buffer_that_is_used_again_was_copied(store: BlobStore) -> None:
    content = os.urandom(LARGE)
    writer = store.create()
    buffer = bytearray(1 << 20)
    for start in range(0, LARGE, len(buffer)):
        piece = content[start : start + len(buffer)]
        buffer[: len(piece)] = piece
        writer.write(memoryview(buffer)[: len(piece)])
    buffer[:] = bytes(len(buffer))
    writer.finish()
    assert read(store, writer.id) == content


def test_many_uploads_side_by_side(store: BlobStore, place: Place) -> None:
    for ends in ("finish", "abort") * 2:  # whatever bounds them, none is lost for those that come later
        writers = [store.create() for _ in range(20)]
        for number, writer in enumerate(writers):
            writer.write(b"%d" % number)
        for writer in writers:
            getattr(writer, ends)()
        if ends == "finish":
            assert [read(store, writer.id) for writer in writers] == [b"%d" % number for number in range(20)]
            store.delete_many([writer.id for writer in writers])
        assert place.published() == [] and is_clean(place)


def test_nothing_is_visible_of_a_blob_that_is_being_written(store: BlobStore, place: Place) -> None:
    writer = store.create()
    writer.write(bytes(LARGE))
    assert place.published() == []
    assert list(store.entries()) == []
    writer.abort()


def test_parts_of_a_blob(store: BlobStore) -> None:
    content = os.urandom(3_000_000)
    blob_id = write(store, content)
    store.publish(blob_id)
    with store.open_blob(blob_id) as handle:
        assert handle.read(10) == content[:10]
        assert handle.seek(2_999_990) == 2_999_990
        assert handle.read(100) == content[-10:]
        assert handle.read(100) == b""
        assert handle.seek(-5, os.SEEK_END) == 2_999_995
        assert handle.read(2) == content[-5:-3]
        assert handle.tell() == 2_999_997
        handle.seek(1_000_000)
        assert handle.read(1_500_000) == content[1_000_000:2_500_000]
        handle.seek(5_000_000)
        assert handle.read(1) == b""


def test_opened_blob_outlives_its_deletion(store: BlobStore, place: Place) -> None:
    content = os.urandom(LARGE)
    blob_id = write(store, content)
    store.publish(blob_id)
    with store.open_blob(blob_id) as handle, store.open_blob(blob_id) as other:
        store.delete(blob_id)
        handle.seek(LARGE - 1000)
        assert handle.read(2000) == content[-1000:]
        assert other.read(100) == content[:100]
    assert place.published() == [] and is_clean(place)
    store.delete(blob_id)
    with pytest.raises(FileNotFoundError):
        store.open_blob(blob_id)


def test_deleted_before_it_was_published(store: BlobStore, place: Place) -> None:
    blob_id = write(store, b"replaced at once")
    store.delete(blob_id)
    with pytest.raises(FileNotFoundError):
        store.publish(blob_id)
    assert place.published() == [] and is_clean(place)


def test_suspended_blob_is_resumed(store: BlobStore, place: Place) -> None:
    writer = store.create(resumable=True)
    writer.write(b"first, ")
    assert writer.size == 7
    writer.suspend()
    writer.suspend()
    assert store.staged() == [writer.id]
    assert read(store, writer.id) == b"first, "
    store = place.open()
    store.recover(nothing, {writer.id}.__contains__, [])
    resumed = store.resume(writer.id)
    assert (resumed.id, resumed.size) == (writer.id, 7)
    resumed.write(b"then the rest")
    assert resumed.size == 20
    resumed.finish()
    assert read(store, writer.id) == b"first, then the rest"
    store.publish(writer.id)
    assert read(store, writer.id) == b"first, then the rest"
    assert place.published() == [path_of(writer.id)] and is_clean(place)
    for unknown in (writer.id, "0" * 32):
        with pytest.raises(FileNotFoundError):
            store.resume(unknown)


def test_resumed_blob_that_is_given_up_leaves_nothing(store: BlobStore, place: Place) -> None:
    writer = store.create(resumable=True)
    writer.write(b"x")
    writer.suspend()
    store.resume(writer.id).abort()
    assert place.published() == [] and is_clean(place)


def test_large_resumable_blob(store: BlobStore) -> None:
    content = os.urandom(LARGE)
    writer = store.create(resumable=True)
    writer.write(content)
    writer.finish()
    store.publish(writer.id)
    assert read(store, writer.id) == content


def test_many_at_once(store: BlobStore, place: Place) -> None:
    contents = [b"content %d" % number for number in range(60)] + [b""]
    ids = store.create_many(contents)
    assert len(set(ids)) == 61
    store.delete(ids[7])
    store.publish_many(ids)
    del ids[7], contents[7]
    assert [read(store, blob_id) for blob_id in ids] == contents
    assert place.published() == sorted(map(path_of, ids)) and is_clean(place)
    assert store.create_many([]) == []


def test_many_are_deleted_at_once(store: BlobStore, place: Place) -> None:
    ids = store.create_many([b"x"] * 30)
    store.publish_many(ids[:20])
    with store.open_blob(ids[3]) as handle:
        store.delete_many([*ids, "0" * 32])
        assert handle.read() == b"x"
    assert place.published() == [] and is_clean(place)
    store.delete_many([])


@pytest.mark.parametrize("size", [0, LARGE])
def test_what_was_set_aside_stays(store: BlobStore, place: Place, size: int) -> None:
    content = os.urandom(size)
    blob_id = write(store, content)
    store.publish(blob_id)
    path = store.set_aside(blob_id)
    assert path == f"lost+found/{blob_id}" and place.published() == [path]
    with pytest.raises(FileNotFoundError):
        store.open_blob(blob_id)
    with pytest.raises(FileNotFoundError):
        store.set_aside(blob_id)
    store.recover(nothing, nothing, [blob_id])
    assert list(store.entries()) == [] and place.published() == [path] and is_clean(place)
    assert place.get(path) == content


def test_start_after_a_crash(store: BlobStore, place: Place) -> None:
    referenced, unreferenced, published, garbage = (write(store, name) for name in (b"r", b"u", b"p", b"g"))
    store.publish(published)
    store.publish(garbage)
    begun, sent, forgotten = (store.create(resumable=True) for _ in range(3))
    for writer in (begun, sent, forgotten):
        writer.write(b"first half")
    begun.suspend()
    forgotten.suspend()
    sent.finish()
    for _ in range(2):  # a start may be cut short, too
        store = place.open()
        store.recover({referenced}.__contains__, {begun.id, sent.id}.__contains__, [garbage, "0" * 32])
        assert place.published() == sorted(map(path_of, (referenced, published)))
        assert sorted(store.staged()) == sorted((begun.id, sent.id))
    assert read(store, referenced) == b"r"
    for writer in (begun, sent):
        assert store.resume(writer.id).size == 10


def test_start_after_a_crash_between_commit_and_publication(store: BlobStore, place: Place) -> None:
    writer = store.create(resumable=True)
    writer.write(b"whole")
    writer.finish()
    store = place.open()
    store.recover({writer.id}.__contains__, nothing, [])
    assert place.published() == [path_of(writer.id)] and is_clean(place)
    assert read(store, writer.id) == b"whole"


def test_start_after_a_crash_that_cut_deletions_short(store: BlobStore, place: Place) -> None:
    blob_id = write(store, b"content")
    store.publish(blob_id)
    with store.open_blob(blob_id):
        store.delete(blob_id)  # and here the process ends
        place.open().recover(nothing, nothing, [])
        assert place.published() == []


def test_start_after_a_crash_in_the_middle_of_an_upload(store: BlobStore, place: Place, tmp_path: Path) -> None:
    elsewhere = locations.open_store(place.location, tmp_path / "another server").create()
    cut = store.create()
    for writer in (elsewhere, cut):
        writer.write(bytes(LARGE))
    wait_for_parts(place, 2)
    store = place.open()  # the process has ended, and the next one starts; another server goes on
    store.recover(nothing, nothing, [])
    assert place.published() == [] and not place.leftovers()
    # Where nothing but a rule of the bucket's own removes parts, both are there.
    assert place.unfinished() == (0 if not place.tells_parts else 1 if place.removes_parts else 2)
    elsewhere.finish()
    assert read(store, elsewhere.id) == bytes(LARGE) if store.is_remote else elsewhere.size == LARGE


def wait_for_parts(place: Place, count: int) -> None:
    """Parts are sent behind the writer's back."""
    for _ in range(200):
        if not place.tells_parts or place.unfinished() == count:
            return
        time.sleep(0.05)
    raise AssertionError(f"{place.unfinished()} uploads in parts instead of {count}")


def test_what_is_no_blob_is_told_and_left_alone(store: BlobStore, place: Place) -> None:
    blob_id = write(store, b"content")
    store.publish(blob_id)
    place.put("notes.txt", b"not ours")
    place.put("ab/README", b"nor this")
    place.put("00/" + "f" * 32, b"nor this")
    store.recover(nothing, nothing, [])
    names = [entry.name for entry in store.entries()]
    assert sorted(names) == sorted([blob_id, "notes.txt", "ab/README", "00/" + "f" * 32])


def test_ids_are_told_in_order(store: BlobStore) -> None:
    ids = store.create_many([b"x"] * 40)
    store.publish_many(ids)
    assert [entry.name for entry in store.entries()] == sorted(ids)


def test_blob_keeps_the_id_that_it_has_elsewhere(store: BlobStore) -> None:
    writer = store.create(blob_id="0123456789abcdef" * 2)
    writer.write(b"moved")
    writer.finish()
    store.publish("0123456789abcdef" * 2)
    assert read(store, writer.id) == b"moved"


@pytest.mark.parametrize("blob_id", ["", "..", "../../etc/passwd", "a" * 31, "A" * 32, "a" * 32 + "/"])
def test_anything_but_an_id_is_refused(store: BlobStore, blob_id: str) -> None:
    for method in (store.open_blob, store.delete, store.publish, store.resume):
        with pytest.raises(ValueError, match="not a blob id"):
            method(blob_id)
