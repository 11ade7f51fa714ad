"""A whole platform whose files are in an object store: it serves them as any other, and says why when it can't."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import storage_providers
from blob_stores import Google, environment
from platforms import ROOT, Server, clean_environment

from Algorithmia.errors import DataApiError

LARGE = 17 * 1024 * 1024 + 1


@pytest.fixture(scope="module")
def moto(tmp_path_factory: Any) -> Iterator[Any]:
    pytest.importorskip("obstore", reason="object stores need obstore")
    yield from storage_providers.running("s3", tmp_path_factory.mktemp("emulator"))


@pytest.fixture(scope="module")
def platform(moto: Any, tmp_path_factory: Any) -> Iterator[Server]:
    started = start(moto, tmp_path_factory.mktemp("platform"))
    yield started
    started.stop()


def start(moto: Any, home: Path, prefix: str = "files/of platform".replace(" ", "-")) -> Server:
    return Server(home, "--port", "0", "--storage", f"s3://bucket/{prefix}", environment=environment(moto))


def stored(moto: Any, prefix: str = "files/of-platform") -> list[str]:
    return [name for name in moto.names(f"{prefix}/") if name != f"bucket/{prefix}/platform"]  # whose they are


def test_files_come_and_go(platform: Server, moto: Any) -> None:
    client = platform.client()
    directory = client.dir("data://.my/everything")
    directory.create()
    contents = {"empty": b"", "small": b"hello", "middle": os.urandom(300_000), "large": os.urandom(LARGE)}
    for name, content in contents.items():
        directory.file(name).put(content)
    assert len(stored(moto)) == 4
    assert sorted(file.getName() for file in directory.files()) == sorted(contents)
    for name, content in contents.items():
        assert directory.file(name).getBytes() == content

    part = client.request("GET", "/v1/data/.my/everything/large", headers={"Range": "bytes=9000000-9000009"})
    assert (part.status, part.data) == (206, contents["large"][9_000_000:9_000_010])
    part = client.request("GET", "/v1/data/.my/everything/middle", headers={"Range": "bytes=-5"})
    assert part.data == contents["middle"][-5:]

    directory.file("small").put(b"replaced")
    assert directory.file("small").getString() == "replaced"
    assert len(stored(moto)) == 4
    directory.file("large").delete()
    assert not directory.file("large").exists()
    directory.delete(force=True)
    assert stored(moto) == []
    assert moto.unfinished() == 0
    with pytest.raises(DataApiError):
        directory.file("small").getBytes()


def test_trees_come_and_go(platform: Server, moto: Any, tmp_path: Path) -> None:
    """Small files in archives, the large one in an upload that could be resumed, all of them in the bucket."""
    contents = {f"folder/{number}": os.urandom(2000) for number in range(40)}
    contents |= {"large": os.urandom(LARGE), "empty": b""}
    (tmp_path / "tree" / "folder").mkdir(parents=True)
    for name, content in contents.items():
        (tmp_path / "tree" / name).write_bytes(content)
    directory = platform.client().dir("data://.my/trees")
    directory.create()
    directory.upload(str(tmp_path / "tree"))
    assert len(stored(moto)) == len(contents) and moto.unfinished() == 0
    directory.download(str(tmp_path / "back"))
    files = [path for path in (tmp_path / "back").rglob("*") if path.is_file()]
    assert {str(path.relative_to(tmp_path / "back")): path.read_bytes() for path in files} == contents
    directory.delete(force=True)
    assert stored(moto) == []


def test_killed_platform_leaves_nothing_behind(moto: Any, tmp_path: Path) -> None:
    platform = start(moto, tmp_path, "killed")
    directory = platform.client().dir("data://.my/kept")
    directory.create()
    directory.file("a").put(b"before")
    with half_an_upload(platform, "/v1/data/.my/kept/b"):
        wait_for_parts(moto)
        platform.kill()
    # And as if it had ended between the object's end and the row's beginning, too.
    moto.put("bucket/killed/00/" + "0" * 32, b"nobody's")
    (tmp_path / "platform" / "blobs" / "unsettled" / ("0" * 32)).touch()
    platform = start(moto, tmp_path, "killed")
    try:
        assert len(stored(moto, "killed")) == 1 and moto.unfinished() == 0
        assert os.listdir(tmp_path / "platform" / "blobs" / "unsettled") == []
        kept = platform.client().dir("data://.my/kept")
        assert {file.getName(): file.getString() for file in kept.files()} == {"a": "before"}
    finally:
        platform.stop()


def half_an_upload(platform: Server, path: str) -> socket.socket:
    host, _, port = platform.address.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), 30)
    head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Simple {platform.key}\r\n"
    connection.sendall(f"{head}Content-Length: {2 * LARGE}\r\n\r\n".encode() + bytes(LARGE))
    return connection


def wait_for_parts(moto: Any) -> None:
    for _ in range(400):
        if moto.unfinished():
            return
        time.sleep(0.05)
    raise AssertionError("nothing of the upload has reached the store")


def test_platform_is_not_started_without_its_files(moto: Any, tmp_path: Path) -> None:
    start(moto, tmp_path, "elsewhere").stop()
    done = serve(tmp_path, environment(moto))
    assert done.returncode == 2
    assert "this platform's files are in s3://bucket/elsewhere, not in local" in done.stderr
    assert "algo local migrate-storage local" in done.stderr


def serve(home: Path, variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "Algorithmia", "serve", "--home", str(home), "--port", "0", *arguments],
        env={**clean_environment(home), **variables, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ("s3://no-such-bucket", "can't use --storage s3://no-such-bucket: "),
        ("s3://key:secret@bucket", "--storage s3://...@bucket is not valid: it takes local, s3://BUCKET/PREFIX"),
        ("s3://bucket/../other", "is not valid"),
        ("ftp://bucket", "--storage ftp://bucket is not valid"),
        ("s3://bucket?key=secret", "--storage s3://bucket is not valid"),
    ],
)
def test_wrong_place(moto: Any, tmp_path: Path, storage: str, said: str) -> None:
    done = serve(tmp_path, environment(moto), "--storage", storage)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr and "secret" not in done.stderr


def test_wrong_credentials(tmp_path: Path, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # From its third request on, once the buckets are made, the emulator asks who it is.
    monkeypatch.setenv("INITIAL_NO_AUTH_ACTION_COUNT", "2")
    pytest.importorskip("obstore", reason="object stores need obstore")
    for emulator in storage_providers.running("s3", tmp_path_factory.mktemp("strict")):
        done = serve(tmp_path, environment(emulator), "--storage", "s3://bucket")
    assert done.returncode == 2
    assert "can't use --storage s3://bucket: " in done.stderr and "403 Forbidden" in done.stderr
    assert "Traceback" not in done.stderr and "SECRETEXAMPLE" not in done.stderr


def test_google_cloud_storage(tmp_path: Path, tmp_path_factory: Any) -> None:
    pytest.importorskip("obstore", reason="object stores need obstore")
    google = Google(tmp_path_factory.mktemp("google"))
    try:
        storage = ("--storage", "gs://bucket/files")
        done = serve(tmp_path, {**environment(google), "GOOGLE_BEARER_TOKEN": "SECRETEXAMPLE"}, *storage)
        assert done.returncode == 2
        assert "can't use --storage gs://bucket/files: " in done.stderr and "401 Unauthorized" in done.stderr
        assert "Traceback" not in done.stderr and "SECRETEXAMPLE" not in done.stderr

        content = os.urandom(LARGE)
        for begins in (True, False):
            platform = Server(tmp_path, "--port", "0", *storage, environment=environment(google))
            directory = platform.client().dir("data://.my/google")
            if begins:
                directory.create()
                directory.file("large").put(content)
            assert directory.file("large").getBytes() == content
            assert platform.stop() == 0
        assert len(google.names("files/")) == 2 and not google.xml.uploads  # the file, and whose it is
    finally:
        google.stop()


def test_credentials_of_a_profile(moto: Any, tmp_path: Path) -> None:
    (tmp_path / "profiles").write_text("[files]\naws_access_key_id = A\naws_secret_access_key = B\n")
    variables = {
        "AWS_ENDPOINT_URL": environment(moto)["AWS_ENDPOINT_URL"],
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "profiles"),
    }
    done = serve(tmp_path, {**variables, "AWS_PROFILE": "nobody's"}, "--storage", "s3://bucket/profile")
    assert done.returncode == 2 and "profile (nobody's) could not be found" in done.stderr
    variables["AWS_PROFILE"] = "files"
    platform = Server(tmp_path, "--port", "0", "--storage", "s3://bucket/profile", environment=variables)
    assert platform.stop() == 0


def test_store_that_is_not_there(moto: Any, tmp_path: Path) -> None:
    port = storage_providers.free_port()
    variables = {**environment(moto), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    done = serve(tmp_path, variables, "--storage", "s3://bucket")
    assert done.returncode == 2
    assert "can't use --storage s3://bucket: " in done.stderr and "AWS_SECRET_ACCESS_KEY" in done.stderr
    assert "Traceback" not in done.stderr


def test_store_that_goes_away(tmp_path: Path, tmp_path_factory: Any) -> None:
    """Requests fail cleanly meanwhile, and what needs no content is served on."""
    pytest.importorskip("obstore", reason="object stores need obstore")
    emulator = storage_providers.Moto(tmp_path_factory.mktemp("leaving"))
    try:
        platform = start(emulator, tmp_path, "leaving")
        directory = platform.client(retries=0).dir("data://.my/kept")
        directory.create()
        directory.file("a").put(b"content")
    finally:
        emulator.stop()
    try:
        with pytest.raises(DataApiError, match="file store can't be reached") as refused:
            directory.file("b").put(b"more")
        assert refused.value.status == 503
        with pytest.raises(DataApiError, match="file store can't be reached"):
            directory.file("a").getBytes()
        assert [file.getName() for file in directory.files()] == ["a"]
        directory.file("a").delete()  # its content goes at the next start
        assert "Traceback" not in platform.log()
    finally:
        platform.stop()
