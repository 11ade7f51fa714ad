"""Many callers of many algorithms: accounts with keys, public algorithms, and calls over connections that stay open."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import Algorithmia
from Algorithmia import errors
from benchmarks.lifecycle.project import SETTINGS
from benchmarks.server import Server

_BUILD_SECONDS = 300.0
_CALL_SECONDS = 330.0
_EVERYTHING = {
    "allow_data": True,
    "allow_data_write": True,
    "allow_algo": True,
    "allow_web_algo": True,
    "allow_algo_management": True,
    "algo_acl": ["algo://*"],
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the document, or its text if it is none."""

    status: int
    document: Any

    @property
    def result(self) -> Any:
        return self.document.get("result") if isinstance(self.document, dict) else None

    @property
    def error(self) -> dict[str, Any]:
        found = self.document.get("error") if isinstance(self.document, dict) else None
        return found if isinstance(found, dict) else {}


class Caller:
    """One connection to the platform at a time, opened anew when it breaks. Use with `async with`."""

    def __init__(self, port: int, key: str) -> None:
        self._port, self._key = port, key
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Caller:
        return self

    async def __aexit__(self, *problem: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Forget the connection; the next call opens another."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def call(self, algorithm: str, text: str) -> Answer:
        """Call `algorithm` once; never twice. Raises OSError, EOFError or TimeoutError if there is no answer."""
        try:
            return await asyncio.wait_for(self._exchange(algorithm, text.encode()), _CALL_SECONDS)
        except asyncio.TimeoutError:  # another one in Python 3.10
            raise TimeoutError(f"no answer for {_CALL_SECONDS:g} s") from None

    async def _exchange(self, algorithm: str, body: bytes) -> Answer:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        assert self._reader is not None
        head = (
            f"POST /v1/algo/{algorithm} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Simple {self._key}\r\n"
            f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        content = await self._reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            self._writer.close()
            self._writer = None
        try:
            document = json.loads(content)
        except ValueError:
            document = content.decode("utf-8", "replace")
        return Answer(int(lines[0].split()[1]), document)


def make_accounts(server: Server, count: int) -> dict[str, str]:
    """Keys of `count` new accounts, by name."""
    admin = Algorithmia.Client(server.key("local-admin"), server.address)
    keys = {}
    for number in range(count):
        name = f"caller{number}"
        admin.create_user({"username": name, "email": f"{name}@example.com"})
        body = {"key_label": "load", "key_type": "AlgorithmKey", "permissions": _EVERYTHING}
        keys[name] = admin.postJsonHelper(f"/v1/users/{name}/keys", body)["api_key"]
    return keys


def make_algorithms(server: Server, sources: dict[str, str]) -> list[str]:
    """Algorithms of ``tester`` that everybody may call, built and published; their references. Name -> source."""
    client = Algorithmia.Client(server.key(), server.address, timeout=_BUILD_SECONDS)

    def make(name: str, source: str) -> str:
        algo = client.algo(f"tester/{name}")
        algo.create({"label": name}, {**SETTINGS, "algorithm_callability": "public"})
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            configuration = json.dumps({"username": "tester", "algoname": name, "language": "python3"})
            for path, text in {f"src/{name}.py": source, "algorithmia.conf": configuration}.items():
                member = tarfile.TarInfo(path)
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
        client.request("PUT", f"/v1/algorithms/tester/{name}/source", None, packed.getvalue(), "application/gzip")
        deadline = time.monotonic() + _BUILD_SECONDS
        while (build := algo.get_builds(limit=1)["results"][0])["status"] == "in-progress":
            if time.monotonic() > deadline:
                raise TimeoutError(f"the build of {name} does not end")
            time.sleep(0.1)
        if build["status"] != "succeeded":
            raise RuntimeError(f"the build of {name} has {build['status']}: {algo.get_build_logs(build['build_id'])}")
        version = {"version_type": "minor"}
        deadline = time.monotonic() + _BUILD_SECONDS
        while True:
            try:
                algo.publish(version_info=version, settings={"algorithm_callability": "public"})
                return f"tester/{name}"
            except errors.TooManyRequestsError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(make, sources, sources.values()))
