"""SHA-256 of large files, wanted late: computed once for all who ask, never of damage, and compared after a restart."""

from __future__ import annotations

import base64
import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from Algorithmia import errors
from Algorithmia.server.db.database import Database
from Algorithmia.server.services import data_records, digests
from Algorithmia.server.services.late_digests import LateDigests

CONTENT = b"0123456789abcdef" * (1024 * 1024 + 1)
WANTED = {"Want-Repr-Digest": "sha-256=1"}
PART = "application/partial-upload"
SHA256 = hashlib.sha256(CONTENT)
MEMBER = f"sha-256=:{base64.b64encode(SHA256.digest()).decode()}:"


@pytest.fixture
def file(collection: Any) -> Any:
    """A large file whose SHA-256 nobody has wanted yet."""
    file = collection.file("f")
    file.client.request("PUT", file.url, body=CONTENT)
    assert named(file, {}).startswith("xxh128=") and MEMBER not in named(file, {})
    return file


def named(file: Any, headers: dict[str, str] = WANTED, method: str = "HEAD") -> str:
    return str(file.client.request(method, file.url, headers=headers).headers["Repr-Digest"])


def blob(server: Any, file: Any) -> Path:
    home = Path(server.home) / "platform"
    with closing(sqlite3.connect(home / "platform.db")) as connection:
        ((blob_id,),) = connection.execute(
            "SELECT blob_id FROM files JOIN collections ON collections.id = collection_id WHERE collections.name = ?",
            [file.uri.split("/")[-2]],
        )
    return home / "blobs" / blob_id[:2] / blob_id


def test_all_who_ask_at_once_get_it(file: Any) -> None:
    with ThreadPoolExecutor(12) as pool:
        assert all(MEMBER in found for found in pool.map(lambda _: named(file), range(24)))
    assert MEMBER in named(file, {})


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_what_is_damaged_on_the_disk_has_none(server: Any, file: Any, method: str) -> None:
    """Who can compare nothing else would take it for sound."""
    path = blob(server, file)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    os.chmod(path, 0o600)
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(errors.ApiInternalError) as raised:
            file.client.request(method, file.url, headers=WANTED, family=errors.DATA)
        assert method == "HEAD" or "damaged" in str(raised.value)
    assert MEMBER not in named(file, {})
    file.client.request("PUT", file.url, body=CONTENT)
    assert MEMBER in named(file)


@pytest.mark.parametrize("is_right", [True, False])
def test_uploads_of_unknown_length_are_compared_after_a_restart(
    start_server: Callable[..., Any], is_right: bool
) -> None:
    platform = start_server("--port", "0")
    client = platform.client()
    client.dir("data://.my/c").create()
    file = client.file("data://.my/c/f")
    upload = client.request("POST", file.url, body=b"", headers={"Upload-Complete": "?0"}).headers["Location"]
    headers = {"Upload-Offset": "0", "Upload-Complete": "?0"}
    client.request("PATCH", upload, body=CONTENT[:-5], headers=headers, content_type=PART)
    platform.stop()
    client = start_server("--port", "0", home=platform.home).client()
    last = CONTENT[-5:] if is_right else b"other"
    headers = {"Upload-Offset": str(len(CONTENT) - 5), "Upload-Complete": "?1", "Repr-Digest": MEMBER}
    answer = client.request("PATCH", upload, body=last, headers=headers, content_type=PART, also_ok=[400])
    assert answer.status == (200 if is_right else 400)
    assert (MEMBER in answer.headers["Repr-Digest"]) is is_right


def test_what_is_compared_in_the_end_stays_to_the_end() -> None:
    hasher = digests.Hasher()
    hasher.update(CONTENT[:1000])
    announced = digests.Digest(digests.SHA256, SHA256.hexdigest())
    assert hasher.can_check(announced)
    hasher.expect(announced)
    hasher.update(CONTENT[1000:])
    hasher.check("data://.my/c/f")
    assert hasher.sha256 == announced.hexadecimal


class Blobs:
    """A store of one content, which waits to be let go on."""

    def __init__(self) -> None:
        self.opened = 0
        self.go_on = threading.Event()

    def open_blob(self, blob_id: str) -> Any:
        self.opened += 1
        assert self.go_on.wait(60)
        return open(os.devnull, "rb")


def test_it_is_read_once_for_all_who_wait_and_some_may_leave(tmp_path: Path) -> None:
    blobs: Any = Blobs()
    database = Database(f"sqlite:///{tmp_path}/db")
    database.upgrade()
    late = LateDigests(database, blobs)
    empty = data_records.File("1", "f", 0, "", "", "blob", 0, xxh128=digests.new(digests.XXH128).hexdigest())
    found = []

    async def ask(file: data_records.File) -> None:
        found.append((await late.with_sha256(file)).sha256)

    async def several() -> None:
        async with anyio.create_task_group() as others:
            async with anyio.create_task_group() as leaving:
                leaving.start_soon(ask, empty)
                await anyio.wait_all_tasks_blocked()
                others.start_soon(ask, empty)
                await anyio.wait_all_tasks_blocked()
                leaving.cancel_scope.cancel()
            others.start_soon(ask, empty)
            await anyio.wait_all_tasks_blocked()
            blobs.go_on.set()
        await ask(replace(empty, sha256="known"))
        assert blobs.opened == 1 and found == [hashlib.sha256().hexdigest()] * 2 + ["known"]
        await ask(empty)
        assert blobs.opened == 2

    anyio.run(several)
    database.close()
