"""Accounts that manage algorithms over plain HTTP, and small Python projects for them to deploy."""

from __future__ import annotations

import gzip
import http.client
import io
import itertools
import json
import tarfile
import urllib.parse
from typing import Any

from answers import Answer, exchange
from platforms import Server, new_key

SETTINGS = {
    "language": "python3-1",
    "environment": "cpu",
    "source_visibility": "closed",
    "license": "apl",
    "network_access": "full",
    "pipeline_enabled": True,
}
ECHO = "def apply(input):\n    return input\n"

_names = itertools.count(1)


class Manager:
    """An account of its own on `server`; `name`, `key`."""

    def __init__(self, server: Server, **permissions: Any) -> None:
        self.server = server
        self.name = f"manager{next(_names)}"
        server.client(server.admin_key).create_user({"username": self.name, "email": self.name + "@example.com"})
        self.key, self.client = new_key(server, self.name, **permissions)

    def with_key(self, **permissions: Any) -> Manager:
        """The same account with another key, which may just do `permissions`."""
        other = object.__new__(Manager)
        other.server, other.name = self.server, self.name
        other.key, other.client = new_key(self.server, self.name, **permissions)
        return other

    def send(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", key: str | None = None
    ) -> Answer:
        """One request; a body that isn't bytes is sent as JSON. An empty `key` sends no credentials."""
        address = urllib.parse.urlsplit(self.server.address)
        connection = http.client.HTTPConnection(address.netloc, timeout=120)
        data = body if body is None or isinstance(body, (bytes, bytearray)) else json.dumps(body).encode()
        headers = {"Content-Type": content_type} if data is not None else {}
        if key != "":
            headers["Authorization"] = f"Simple {key or self.key}"
        return exchange(connection, method, path, data, headers)

    def path(self, name: str) -> str:
        """The path of an algorithm of this account."""
        return f"/v1/algorithms/{self.name}/{name}"

    def create(self, name: str | None = None, **settings: Any) -> str:
        """Create an algorithm; its name."""
        name = name or f"Algo{next(_names)}"
        body = {"name": name, "details": {"label": name}, "settings": {**SETTINGS, **settings}}
        answer = self.send("POST", f"/v1/algorithms/{self.name}", body)
        assert answer.status == 201, answer
        return name

    def put_source(self, name: str, code: str = ECHO, **files: str) -> Any:
        """Send a project whose entry module is `code`; what was answered."""
        source = project(self.name, name, code, **files)
        return self.send("PUT", self.path(name) + "/source", source, "application/gzip").ok

    def deploy(self, name: str, code: str = ECHO, **files: str) -> dict[str, Any]:
        """The same, and wait until it is built; the build."""
        build_id = self.put_source(name, code, **files)["build_id"]
        log = self.send("GET", f"{self.path(name)}/builds/{build_id}/logs?follow=true").body.decode()
        build: dict[str, Any] = self.send("GET", f"{self.path(name)}/builds/{build_id}").ok
        build["log"] = log
        return build

    def published(self, code: str = ECHO, callability: str = "private", **settings: Any) -> str:
        """Create, deploy and publish an algorithm; its name."""
        name = self.create(**settings)
        build = self.deploy(name, code)
        assert build["status"] == "succeeded", build
        self.publish(name, settings={"algorithm_callability": callability}).ok
        return name

    def publish(self, name: str, settings: Any = None, **info: Any) -> Answer:
        """Publish; the answer."""
        return self.send("POST", self.path(name) + "/versions", {"settings": settings or {}, "version_info": info})

    def call(self, reference: str, value: Any = "x") -> Answer:
        """Call ``OWNER/NAME[/VERSION]`` with JSON."""
        return self.send("POST", f"/v1/algo/{reference}", value if value is not None else b"null")


def project(owner: str, name: str, code: str = ECHO, **files: str) -> bytes:
    """A Python project as a gzipped tar; `files` are further files at its top, ``README="..."`` becomes README.md."""
    contents = {
        "algorithmia.conf": json.dumps({"username": owner, "algoname": name, "language": "python3"}),
        "requirements.txt": "",
        "src/__init__.py": "",
        f"src/{name}.py": code,
    }
    contents.update({f"{file}.md": text for file, text in files.items()})
    return packed({path: text.encode() for path, text in contents.items()})


def packed(contents: dict[str, bytes]) -> bytes:
    """A gzipped tar of `contents`."""
    target = io.BytesIO()
    with gzip.GzipFile(fileobj=target, mode="wb", mtime=0) as stream, tarfile.open(fileobj=stream, mode="w") as tar:
        for path, data in contents.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return target.getvalue()
