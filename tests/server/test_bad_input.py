"""Odd requests, made up by hypothesis and sent byte for byte: never a 5xx, never a file outside the store, never
another account's bytes."""

from __future__ import annotations

import contextlib
import os
import socket
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SECRET = b"TOP-SECRET-9f6c1e"
EFFORT = int(os.environ.get("ALGORITHMIA_TEST_EFFORT", "300"))

METHODS = st.sampled_from(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "BREW", "TRACE"])
PREFIXES = st.sampled_from(
    [
        "/v1/data",
        "/v1/data/",
        "/v1/connector/",
        "/v1/connector/data/",
        "/v1/hostedData",
        "/v1/algo/",
        "/v1/web/algo/",
        "/v1/users",
        "/v1/users/",
        "/v1/admin/",
        "/v1/",
        "/",
        "/health",
        "//",
        "/v1/data//",
        "/v1/data/data://",
    ]
)
PIECES = st.one_of(
    st.sampled_from(
        [
            "..",
            ".",
            "%2e%2e",
            "%2E%2E%2F",
            "..%2f",
            "%2f",
            "%5c",
            "\\",
            "%00",
            "%0a",
            "%0d%0aX:%20y",
            "%",
            "%zz",
            "%c0%ae",
            "%ff",
            "%F0%9F%98%80",
            "+",
            "%2B",
            "~",
            "#",
            "?",
            "&",
            "=",
            ";",
            ":",
            "@",
            "*",
            "'",
            '"',
            "<script>",
            ".my",
            ".algo",
            ".session",
            "temp",
            "perm",
            "VICTIM",
            "private",
            "secret.txt",
            "fuzz",
            "own",
            "demo",
            "Hello",
            "util",
            "Echo",
            "0.1.0",
            "latest",
            "s3+label:",
            "data:",
            "algo%3A%2F%2F",
            "platform.db",
            "etc",
            "passwd",
            "x" * 2000,
            "123e4567-e89b-12d3-a456-426614174000",
            "keys",
            "a" * 40,
        ]
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=8),
)
PATHS = st.tuples(PREFIXES, st.lists(PIECES, max_size=6), st.sampled_from(["/", "", "%2F"])).map(
    lambda parts: parts[0] + parts[2].join(parts[1])
)
QUERIES = st.one_of(
    st.just(""),
    st.sampled_from(
        [
            "acl=true",
            "marker=zzz",
            "marker=%00",
            "marker=" + "A" * 500,
            "force=true",
            "force=maybe",
            "timeout=1",
            "timeout=-1",
            "timeout=nan",
            "timeout=1e999",
            "timeout=x",
            "output=raw",
            "output=void",
            "output=%ff",
            "stdout=true",
            "limit=-5",
            "limit=x",
            "&&&",
            "=",
            "%",
        ]
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
)
HEADERS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                ("Range", "bytes=0-"),
                ("Range", "bytes=-0"),
                ("Range", "bytes=99999999999999999999-"),
                ("Range", "items=x"),
                ("Range", "bytes=5-2,7-"),
                ("If-Range", "x"),
                ("If-None-Match", '"x"'),
                ("If-None-Match", "*"),
                ("If-Match", "W/"),
                ("If-Modified-Since", "Wed, 99 Foo 2000"),
                ("If-Modified-Since", "0"),
                ("Content-Type", "application/json"),
                ("Content-Type", "text/plain; charset=utf-7"),
                ("Content-Type", ";;;"),
                ("Content-Type", "application/octet-stream"),
                ("Content-Type", "multipart/form-data"),
                ("Content-Type", "x" * 3000),
                ("Accept-Encoding", "gzip"),
                ("Expect", "100-continue"),
                ("Origin", "null"),
                ("Referer", "%00"),
                ("X-Forwarded-For", "127.0.0.1"),
                ("Content-Encoding", "base64"),
                ("Host", "evil"),
            ]
        ),
        st.tuples(
            st.sampled_from(["Range", "If-None-Match", "Content-Type", "X-Y", "Cookie", "If-Match"]),
            st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30),
        ),
    ),
    max_size=4,
)
KEYS = st.sampled_from(
    ["KEY", "Simple KEY", "Bearer KEY", "simple  KEY", "", "Basic YTpi", "Simple", "\xff", "Simple KEYx"]
)
BODIES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [
            b'{"name": "fuzz"}',
            b'{"name": 5}',
            b'{"name": "../x"}',
            b'{"acl": {"read": [1]}}',
            b"[]",
            b"null",
            b'{"acl": null}',
            b'{"name": "\\u0000"}',
            b'{"name":',
            b"\xff\xfe",
            b"1" * 5000,
            b"[" * 3000,
            b'{"username": "a"}',
            b'{"key_type": "PlatformAdminKey", "permissions": {}}',
            b"NaN",
            b"1e99999",
        ]
    ),
)


@pytest.fixture(scope="module")
def scene(server):
    """A victim with a private file, and an account that tries things, on the running platform."""
    admin = server.client(server.admin_key)
    keys = {}
    for name in ("fuzz_victim", "fuzz_caller"):
        admin.create_user({"username": name, "email": name + "@example.com"})
        permissions = {
            "allow_data": True,
            "allow_data_write": True,
            "allow_algo": True,
            "allow_web_algo": True,
            "allow_algo_management": True,
            "algo_acl": ["algo://demo/*", "algo://util/Echo"],
        }
        body = {"key_label": "k", "key_type": "AlgorithmKey", "permissions": permissions}
        keys[name] = admin.postJsonHelper(f"/v1/users/{name}/keys", body)["api_key"]
    victim = server.client(keys["fuzz_victim"])
    victim.dir("data://.my/private").create()
    victim.file("data://.my/private/secret.txt").put(SECRET)
    server.client(keys["fuzz_caller"]).dir("data://.my/own").create()
    return server, keys["fuzz_caller"], victim


def exchange(address: str, request: bytes, ends: bool = False) -> bytes:
    """What the server says to `request`, until it closes or the answer is whole; with `ends`, we close our side."""
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65536):
                received += piece
        return received


@settings(max_examples=EFFORT, deadline=None, suppress_health_check=list(HealthCheck))
@given(method=METHODS, path=PATHS, query=QUERIES, headers=HEADERS, key=KEYS, body=BODIES, chunked=st.booleans())
def test_odd_requests(scene, method, path, query, headers, key, body, chunked):
    server, caller_key, _ = scene
    target = path.replace("VICTIM", "fuzz_victim") + ("?" + query if query else "")
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close"]
    if key:
        lines.append("Authorization: " + key.replace("KEY", caller_key))
    lines += [f"{name}: {value}" for name, value in headers]
    if chunked:
        lines.append("Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    else:
        lines.append(f"Content-Length: {len(body)}")
    request = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
    received = exchange(server.address, request)
    assert SECRET not in received
    if received:
        status = int(received.split(b" ", 2)[1])
        assert status < 500 or status == 501, (request, received[:500])


@settings(max_examples=EFFORT // 3, deadline=None, suppress_health_check=list(HealthCheck))
@given(junk=st.binary(min_size=1, max_size=300))
def test_bytes_that_are_not_http(scene, junk):
    server, _, _ = scene
    received = exchange(server.address, junk + b"\r\n\r\n", ends=True)
    assert not received.startswith(b"HTTP/1.1 5"), (junk, received[:300])


@settings(max_examples=EFFORT // 3, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=st.text(min_size=1, max_size=60).filter(lambda name: "/" not in name), content=st.binary(max_size=50))
def test_any_name_goes_round_or_is_refused(scene, name, content):
    from Algorithmia import errors

    server, key, _ = scene
    item = server.client(key).file("data://.my/own/" + name) if _encodable(name) else None
    if item is None:
        return
    try:
        item.put(content)
    except errors.BadRequestError:
        assert name in (".", "..") or any(unicodedata.category(c) == "Cc" for c in name), name
        return
    assert item.getBytes() == content
    assert [listed.getName() for listed in server.client(key).dir("data://.my/own").files()] == [name]
    item.delete()


def _encodable(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def test_afterwards_everything_is_where_it_was(scene):
    """Runs last in this module: the platform works, the victim's file is whole, nothing lies outside the store."""
    server, key, victim = scene
    assert victim.file("data://.my/private/secret.txt").getBytes() == SECRET
    assert server.client(key).algo("demo/Hello").pipe("x").result == "Hello x"
    home = Path(server.home)
    assert {path.name for path in home.iterdir()} <= {"config", ".config.lock", "platform", "serve.log"}
    assert {path.name for path in (home / "platform").iterdir()} <= {
        "platform.db",
        "platform.db-wal",
        "platform.db-shm",
        "database",
        "blobs",
        "work",
        "environments",
        "builds",
        "caches",
        "git",
        "uploads",
        "secrets.key",
        "logs",
        "server.lock",
        "server.json",
        "port",
    }
    blobs = [path for path in (home / "platform" / "blobs").rglob("*") if path.is_file()]
    assert all(len(path.name) >= 32 for path in blobs), blobs
    assert '"level":"error"' not in server.log()
