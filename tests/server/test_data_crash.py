"""SIGKILL in the middle of many writes: what a client was told is stored is there, and whole; nothing else is left."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

FILES = 6
SIZES = (100, 300_000, 2_500_000)


def content(name: str, version: int) -> bytes:
    """Different for every version, and telling which one it is."""
    head = b"%s %d " % (name.encode(), version)
    return head + hashlib.md5(head).digest() * (SIZES[version % len(SIZES)] // 16)


def request(platform: Any, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(platform.address).netloc, timeout=30)
    try:
        connection.request(method, f"/v1/data/{path}", body, {"Authorization": platform.key})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def write_until_it_dies(platform: Any, name: str, versions: Any, begun: dict[str, int], stored: dict[str, int]) -> None:
    for version in versions:
        begun[name] = version
        try:
            status, _, _ = request(platform, "PUT", f".my/c/{name}", content(name, version))
        except (OSError, http.client.HTTPException):
            return
        if status != 200:
            return
        stored[name] = version


def test_killed_while_writing(start_server: Callable[..., Any], tmp_path: Path) -> None:
    begun: dict[str, int] = {}
    stored: dict[str, int] = {}
    home = tmp_path / "home"
    home.mkdir()
    platform = start_server(home=home)
    assert request(platform, "POST", ".my", b'{"name": "c"}')[0] == 200
    counters = {f"f{index}": itertools.count() for index in range(FILES)}
    seed = random.randrange(2**32)
    pauses = random.Random(seed)
    for _ in range(3):
        threads = [
            threading.Thread(target=write_until_it_dies, args=(platform, name, versions, begun, stored))
            for name, versions in counters.items()
        ]
        for thread in threads:
            thread.start()
        time.sleep(pauses.uniform(0.2, 0.8))
        platform.kill()
        for thread in threads:
            thread.join()
        platform = start_server(home=home)
        for name in stored:
            status, headers, body = request(platform, "GET", f".my/c/{name}")
            assert status == 200, (seed, name)
            version = int(body.split(b" ", 2)[1])
            assert stored[name] <= version <= begun[name], (seed, name)
            assert body == content(name, version), (seed, name)
            assert headers["etag"] == f'"{hashlib.md5(body).hexdigest()}"'
            stored[name] = version
        blobs = home / "platform" / "blobs"
        assert os.listdir(blobs / "staging") == []
        listed = request(platform, "GET", ".my/c")[2].count(b'"filename"')
        assert sum(len(files) for _, _, files in os.walk(blobs)) == listed
    assert stored
