"""The storage providers of connector tests: real emulators in processes of their own, behind one small interface."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
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

    def names(self, prefix: str = "") -> list[str]:
        found = self._client.list_objects_v2(Bucket="bucket", Prefix=prefix)
        return [f"bucket/{item['Key']}" for item in found.get("Contents", ())]

    def unfinished(self) -> int:
        """Uploads that were begun and neither completed nor aborted."""
        return len(self._client.list_multipart_uploads(Bucket="bucket").get("Uploads", ()))

    def stop(self) -> None:
        self._process.stop()


PROVIDERS: dict[str, Callable[[Path], Provider]] = {"s3": Moto}


def running(protocol: str, home: Path) -> Iterator[Provider]:
    """For a fixture: the emulator of `protocol`, ended afterwards."""
    provider = PROVIDERS[protocol](home)
    yield provider
    provider.stop()


def node_program(name: str) -> str | None:
    """A program of the npm package azurite: on the PATH, or below ALGORITHMIA_TEST_NODE_MODULES."""
    modules = os.environ.get("ALGORITHMIA_TEST_NODE_MODULES")
    return shutil.which(name) or (shutil.which(name, path=f"{modules}/.bin") if modules else None)
