"""The blob store on a local disk: what is there when, and what happens between two steps."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from Algorithmia.server.storage import local
from Algorithmia.server.storage.local import LocalBlobStore


@pytest.fixture
def store(tmp_path: Path) -> LocalBlobStore:
    return LocalBlobStore(tmp_path / "blobs")


def write(store: LocalBlobStore, content: bytes) -> str:
    writer = store.create()
    writer.write(content)
    writer.finish()
    return writer.id


def read(store: LocalBlobStore, blob_id: str) -> bytes:
    with store.open_blob(blob_id) as handle:
        return handle.read()


def files(store: LocalBlobStore) -> set[str]:
    return {str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file()}


def test_blob_is_readable_before_and_after_it_is_published(store: LocalBlobStore) -> None:
    blob_id = write(store, b"content")
    assert files(store) == {f"staging/{blob_id}"}
    assert read(store, blob_id) == b"content"
    store.publish(blob_id)
    assert files(store) == {f"{blob_id[:2]}/{blob_id}"}
    assert read(store, blob_id) == b"content"


def test_aborted_blob_leaves_nothing(store: LocalBlobStore) -> None:
    writer = store.create()
    writer.write(b"x")
    writer.abort()
    writer.abort()
    assert files(store) == set()


def test_blob_published_between_two_looks_is_found(store: LocalBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    blob_id = write(store, b"moving")
    looks: list[str] = []

    def open_and_move(path: str, *arguments: Any, **options: Any) -> Any:
        looks.append(Path(path).parent.name)
        try:
            return open(path, *arguments, **options)
        except FileNotFoundError:
            if len(looks) == 1:
                store.publish(blob_id)
            raise

    monkeypatch.setattr(local, "open", open_and_move, raising=False)
    assert read(store, blob_id) == b"moving"
    assert looks == [blob_id[:2], "staging", blob_id[:2]]


def nothing(blob_id: str) -> bool:
    return False


def test_recovery(store: LocalBlobStore) -> None:
    referenced, unreferenced, published, garbage, begun = (write(store, name) for name in [b"x"] * 5)
    store.publish(published)
    store.publish(garbage)
    (store.staging / "notes.txt").write_text("not ours")
    store.recover({referenced}.__contains__, {begun}.__contains__, [garbage, "0" * 32])
    kept = {f"{name[:2]}/{name}" for name in (referenced, published)} | {"staging/notes.txt"}
    assert files(store) == kept | {f"staging/{begun}"}
    store.recover({referenced}.__contains__, nothing, [garbage])
    assert files(store) == kept
    assert read(store, referenced) == b"x"


def test_recovery_of_a_store_that_was_never_used(store: LocalBlobStore) -> None:
    store.recover(nothing, nothing, [])
    assert store.staging.is_dir()


def test_many_at_once(store: LocalBlobStore) -> None:
    contents = [b"content %d" % number for number in range(300)] + [b""]
    ids = store.create_many(contents)
    assert len(set(ids)) == 301
    assert files(store) == {f"staging/{blob_id}" for blob_id in ids}
    store.delete(ids[7])
    store.publish_many(ids)
    del ids[7], contents[7]
    assert files(store) == {f"{blob_id[:2]}/{blob_id}" for blob_id in ids}
    assert [read(store, blob_id) for blob_id in ids] == contents
    assert store.create_many([]) == []


def test_many_of_which_one_fails_leave_nothing(store: LocalBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    write_some = os.write

    def write_until_full(descriptor: int, data: Any) -> int:
        if bytes(data) == b"too much":
            raise OSError(28, "No space left on device")
        return write_some(descriptor, data)

    monkeypatch.setattr(os, "write", write_until_full)
    with pytest.raises(OSError, match="No space left"):
        store.create_many([b"a", b"b", b"too much"])
    assert files(store) == set()


def test_only_the_owner_can_look(store: LocalBlobStore) -> None:
    store.publish(write(store, b"secret"))
    modes = {os.stat(path).st_mode & 0o777 for path in (store.root, *store.root.rglob("*")) if path.is_dir()}
    assert modes == {0o700}
    assert {os.stat(store.root / name).st_mode & 0o777 for name in files(store)} == {0o600}


@pytest.mark.parametrize("blob_id", ["", "..", "../../etc/passwd", "a" * 31, "A" * 32, "a" * 32 + "/"])
def test_anything_but_an_id_is_refused(store: LocalBlobStore, blob_id: str) -> None:
    for method in (store.open_blob, store.delete, store.publish, store.resume):
        with pytest.raises(ValueError, match="not a blob id"):
            method(blob_id)


def test_blob_that_is_published_while_it_is_deleted_does_not_stay(
    store: LocalBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob_id = write(store, b"content")
    unlink = os.unlink

    def publish_behind(path: str) -> None:
        """The other thread gets its turn after the first look."""
        monkeypatch.undo()
        try:
            unlink(path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                store.publish(blob_id)

    monkeypatch.setattr(os, "unlink", publish_behind)
    store.delete(blob_id)
    assert files(store) == set()
