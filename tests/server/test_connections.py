"""Clients that never finish a request: they cost neither memory nor, for long, a connection; nobody else notices."""

from __future__ import annotations

import http.client
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from platforms import Server

PATIENCE = "0.5"
MUCH = 50_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("platform"), "--port", "0", "--request-timeout", PATIENCE)
    yield found
    found.stop()


def connect(server: Server) -> socket.socket:
    host, _, port = server.address.rpartition("/")[2].partition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def sent_until_refused(connection: socket.socket, data: bytes) -> int:
    sent = 0
    try:
        while sent < MUCH:
            connection.sendall(data)
            sent += len(data)
    except (BrokenPipeError, ConnectionResetError):
        pass
    return sent


def head(server: Server, method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join(
        [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: {server.key}", *lines, "", ""]
    ).encode()


@pytest.mark.parametrize(
    ("beginning", "more"),
    [
        (b"GET /health HTTP/1.1\r\n", b"X-More: " + b"x" * 4000 + b"\r\n"),
        (b"GET /health HTTP/1.1\r\nX-Endless: ", b"x" * 65536),
        (b"GET /health?", b"x" * 65536),
        (b"POST /v1/users HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 65536),
        (b"GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-More: " + b"x" * 4000 + b"\r\n"),
    ],
    ids=["headers", "header", "query", "chunk extension", "trailers"],
)
def test_an_endless_head_is_refused(server: Server, beginning: bytes, more: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(beginning)
        assert sent_until_refused(connection, more) < MUCH
    assert server.client().request("GET", "/health").status == 200


def test_a_large_head_is_served(server: Server) -> None:
    connection = http.client.HTTPConnection(server.address.rpartition("/")[2], timeout=30)
    connection.request("GET", "/health", headers={f"X-{number}": "x" * 1000 for number in range(50)})
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize(
    "beginning",
    [b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nHost: x\r\n"],
    ids=["nothing", "request line", "headers"],
)
def test_a_head_that_never_ends_is_given_up(server: Server, beginning: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(beginning)
        assert connection.recv(100) == b""


@pytest.mark.parametrize("path", ["/v1/algo/demo/Hello", "/v1/data/.my", "/v1/users/tester/keys"])
def test_a_body_that_never_comes_is_given_up(server: Server, path: str) -> None:
    with connect(server) as connection:
        connection.sendall(head(server, "POST", path, "Content-Type: application/json", "Content-Length: 100") + b'{"a')
        assert connection.recv(100) == b""


def test_a_long_call_and_a_connection_that_is_kept_are_left_alone(server: Server) -> None:
    kept = http.client.HTTPConnection(server.address.rpartition("/")[2], timeout=30)
    kept.request("GET", "/health")
    kept.getresponse().read()
    own = kept.sock
    assert server.client().algo("util/Sleep").pipe(4 * float(PATIENCE)).result is not None
    with connect(server) as silent:
        assert silent.recv(100) == b""
    kept.request("GET", "/health")
    assert kept.getresponse().status == 200
    assert kept.sock is own
    kept.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/limits"), reason="needs Linux")
def test_connections_may_use_all_descriptors_that_the_system_gives(server: Server) -> None:
    lines = Path(f"/proc/{server.process.pid}/limits").read_text().splitlines()
    soft = next(line for line in lines if line.startswith("Max open files")).split()[3]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert int(soft) >= min(hard, 65536)
