"""Digests of parts of files: sent ahead of them to those who want them."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
import xxhash

CONTENT = bytes(range(256)) * 40_000


@pytest.fixture
def file(collection: Any) -> Any:
    return collection.file("f").put(CONTENT)


def answer(file: Any, **headers: str) -> Any:
    return file.client.request("GET", file.url, headers={name.replace("_", "-"): headers[name] for name in headers})


def digest(content: bytes, algorithm: str) -> str:
    made = xxhash.xxh3_128(content) if algorithm == "xxh128" else hashlib.new(algorithm.replace("-", ""), content)
    return f"{algorithm}=:{base64.b64encode(made.digest()).decode()}:"


@pytest.mark.parametrize("algorithm", ["xxh128", "sha-256", "md5"])
@pytest.mark.parametrize("start,stop", [(0, 1), (1000, 5000), (7, len(CONTENT)), (0, len(CONTENT))])
def test_a_part_comes_with_its_digest(file: Any, algorithm: str, start: int, stop: int) -> None:
    part = answer(file, Range=f"bytes={start}-{stop - 1}", Want_Content_Digest=f"{algorithm}=1")
    assert part.status == 206 and part.data == CONTENT[start:stop]
    assert part.headers["Content-Digest"] == digest(CONTENT[start:stop], algorithm)


def test_so_do_parts_of_small_files(collection: Any) -> None:
    file = collection.file("small").put(b"0123456789")
    part = answer(file, Range="bytes=-3", Want_Content_Digest="sha-512=9, xxh128=2, sha-256=1")
    assert part.data == b"789" and part.headers["Content-Digest"] == digest(b"789", "xxh128")


def test_only_for_who_wants_it(file: Any) -> None:
    for headers in (
        {"Range": "bytes=1-2"},
        {"Range": "bytes=1-2", "Want_Content_Digest": "sha-256=0"},
        {"Range": "bytes=1-2", "Want_Content_Digest": "crc32=1"},
        {"Want_Content_Digest": "sha-256=1"},  # the whole has a digest of its own
    ):
        assert "Content-Digest" not in answer(file, **headers).headers
