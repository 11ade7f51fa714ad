"""Projects for tests of builds, and an account that deploys them as any client would: an archive over HTTP."""

from __future__ import annotations

import http.client
import io
import json
import tarfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from hosted_algorithms import Hosted
from platforms import Server

HELLO = "from Algorithmia import ADK\ndef apply(input): return 'hello %s' % input\nADK(apply).init()\n"

# A package of the project's own, whose installation runs code without needing anything from an index.
_BACKEND = '''
import base64, hashlib, os, sys, zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    exec(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "action.py")).read(), {})
    name = "local-1.0-py3-none-any.whl"
    info = "local-1.0.dist-info/"
    files = {
        "local.py": b"VALUE = 42\\n",
        info + "METADATA": b"Metadata-Version: 2.1\\nName: local\\nVersion: 1.0\\n",
        info + "WHEEL": b"Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    record = "".join(
        "%s,sha256=%s,%d\\n" % (path, base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("="),
        len(data)) for path, data in files.items())
    files[info + "RECORD"] = (record + info + "RECORD,,\\n").encode()
    with zipfile.ZipFile(os.path.join(directory, name), "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return name
'''


def project(source: str = HELLO, requirements: str = "", adk: bool = True, name: str = "Zoo") -> dict[str, str]:
    """The files of a Python project."""
    files = {
        "algorithmia.conf": json.dumps({"username": "me", "algoname": name}),
        "requirements.txt": requirements,
        "src/__init__.py": "",
        f"src/{name}.py": source,
    }
    return {**files, ".adk": ""} if adk else files


def installing(action: str, source: str = HELLO) -> dict[str, str]:
    """A project whose dependencies run `action` (Python) while they are being installed."""
    return {
        **project(source, "./local\n"),
        "local/pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "local"\nversion = "1.0"\n',
        "local/backend.py": _BACKEND,
        "local/action.py": "import os, sys\n" + action,
    }


def require_index() -> None:
    """Skip the test unless packages can be had."""
    try:
        urllib.request.urlopen("https://pypi.org/simple/six/", timeout=15).close()
    except OSError as problem:
        pytest.skip(f"the package index can't be reached from here: {problem}")


def require_sandbox(server: Server) -> None:
    """Skip the test where algorithms and builds run as the platform's own user."""
    if server.client().getHelper("/health").json()["sandbox"] == "none":
        pytest.skip("there is no sandbox on this machine: install bubblewrap")


def running(argument: str, patience: int = 50) -> list[str]:
    """Processes with `argument`, unless they end within `patience` tenths of a second."""
    while True:
        found = [
            path.name
            for path in Path("/proc").iterdir()
            if path.name.isdigit() and argument in _command_line(path)
        ]
        if not found or not patience:
            return found
        patience -= 1
        time.sleep(0.1)


def _command_line(path: Path) -> str:
    try:
        return (path / "cmdline").read_text()
    except OSError:
        return ""


class Author(Hosted):
    """An account that deploys projects."""

    def __init__(self, server: Server, home: Path, key: str = "") -> None:
        super().__init__(server, home)
        self.key = key or self.key

    def make(self, name: str = "Zoo", **settings: Any) -> None:
        """Create an algorithm, of the preferred Python unless `settings` say otherwise."""
        chosen = {
            "environment": "cpu",
            "source_visibility": "closed",
            "license": "apl",
            "network_access": "full",
            "pipeline_enabled": True,
            **(settings or {"language": "python3"}),
        }
        body = {"name": name, "details": {"label": name}, "settings": chosen}
        self.send("POST", f"/v1/algorithms/{self.name}", json.dumps(body).encode())

    def deploy(self, files: dict[str, str], name: str = "Zoo") -> str:
        """Deploy `files`; the id of the build."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for path, text in files.items():
                member = tarfile.TarInfo(path)
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
        answer = self.send(
            "PUT", f"/v1/algorithms/{self.name}/{name}/source", packed.getvalue(), "application/gzip"
        )
        return str(answer["build_id"])

    def build(self, build_id: str, name: str = "Zoo") -> dict[str, Any]:
        """The build as the API shows it."""
        return dict(self.send("GET", f"/v1/algorithms/{self.name}/{name}/builds/{build_id}"))

    def ended(self, build_id: str, name: str = "Zoo") -> dict[str, Any]:
        """The build, once it has ended."""
        deadline = time.monotonic() + 300
        while True:
            build = self.build(build_id, name)
            if build["status"] != "in-progress":
                return build
            assert time.monotonic() < deadline, build
            time.sleep(0.1)

    def logs(self, build_id: str, name: str = "Zoo") -> str:
        """Its log, once it has ended."""
        self.ended(build_id, name)
        return str(self.send("GET", f"/v1/algorithms/{self.name}/{name}/builds/{build_id}/logs")["logs"])

    def outcome(self, files: dict[str, str], name: str = "Zoo") -> tuple[dict[str, Any], str]:
        """Deploy `files` and wait; the build and its log."""
        build_id = self.deploy(files, name)
        log = self.logs(build_id, name)
        return self.ended(build_id, name), log

    def succeeds(self, files: dict[str, str], name: str = "Zoo") -> str:
        """Deploy `files`, which build well; the commit."""
        build, log = self.outcome(files, name)
        assert build["status"] == "succeeded", log
        return str(build["commit_sha"])

    def fails(self, files: dict[str, str], name: str = "Zoo") -> str:
        """Deploy `files`, which don't build; the log."""
        build, log = self.outcome(files, name)
        assert build["status"] == "failed", log
        assert log.splitlines()[-1].startswith("FAILED: "), log
        return log

    def follow(self, build_id: str, name: str = "Zoo") -> http.client.HTTPResponse:
        """The live log, as a response to read from."""
        address = urllib.parse.urlsplit(self.server.address)
        connection = http.client.HTTPConnection(address.netloc, timeout=300)
        path = f"/v1/algorithms/{self.name}/{name}/builds/{build_id}/logs?follow=true"
        connection.request("GET", path, headers={"Authorization": f"Simple {self.key}"})
        return connection.getresponse()

    @property
    def state(self) -> Path:
        """The platform's directory."""
        return Path(self.server.home) / "platform"
