"""Large bodies, which go straight between socket and file: whole, refused, abandoned, stalled; what follows them."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from git_hosted import wait_until
from platforms import Server

from Algorithmia.server import direct
from Algorithmia.server.connections import uvicorn_options

MIB = 1024 * 1024
LARGE = os.urandom(9 * MIB + 17)
PATIENCE = 0.4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("platform"), "--port", "0", "--request-timeout", "2")
    found.client().dir("data://.my/c").create()
    yield found
    found.stop()


@pytest.fixture
def connection(server: Server) -> Iterator[http.client.HTTPConnection]:
    opened = http.client.HTTPConnection(server.address.rpartition("/")[2], timeout=60)
    yield opened
    opened.close()


def staged(server: Server) -> list[str]:
    return os.listdir(Path(server.home) / "platform" / "blobs" / "staging")


def open_blobs(pid: int) -> list[str]:
    found = []
    for entry in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/{pid}/fd/{entry}"))
    return [path for path in found if "/blobs/" in path and "/blobs/staging" not in path]


def send(
    server: Server, connection: http.client.HTTPConnection, method: str, body: Any = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, "/v1/data/.my/c/f", body, {"Authorization": server.key, **names})
    response = connection.getresponse()
    return response, response.read()


def test_requests_follow_large_ones_on_a_connection(server: Server, connection: http.client.HTTPConnection) -> None:
    for _ in range(2):
        response, _ = send(server, connection, "PUT", LARGE)
        assert response.status == 200 and response.headers["ETag"] == f'"{hashlib.md5(LARGE).hexdigest()}"'
        used = connection.sock
        response, content = send(server, connection, "GET")
        assert content == LARGE and response.status == 200
        response, content = send(server, connection, "GET", Range="bytes=1000-7000000")
        assert content == LARGE[1000:7000001] and response.status == 206
        assert send(server, connection, "HEAD")[0].headers["Content-Length"] == str(len(LARGE))
        assert connection.sock is used
    assert staged(server) == []


def test_bodies_that_wait_to_be_asked_for(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2])), timeout=60) as client:
        client.sendall(head(server, "PUT", len(LARGE), "Expect: 100-continue"))
        assert client.recv(1000).startswith(b"HTTP/1.1 100")
        # The next request comes before this one is answered.
        client.sendall(LARGE + head(server, "GET", 0))
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert answer.status == 200 and answer.read()
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert answer.read() == LARGE


def test_an_abandoned_upload_leaves_nothing(server: Server, connection: http.client.HTTPConnection) -> None:
    send(server, connection, "PUT", b"before")
    with socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2])), timeout=60) as client:
        client.sendall(head(server, "PUT", len(LARGE)) + LARGE[: 5 * MIB])
    with socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2])), timeout=60) as client:
        client.sendall(head(server, "PUT", len(LARGE)) + LARGE[: 5 * MIB])
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert answer.status == 408 or answer.status == 504
        assert b"stalled" in answer.read()
    assert send(server, connection, "GET")[1] == b"before"
    wait_until(lambda: not staged(server))


def test_a_reader_that_leaves(server: Server, connection: http.client.HTTPConnection) -> None:
    send(server, connection, "PUT", LARGE)
    with socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2])), timeout=60) as client:
        client.sendall(head(server, "GET", 0))
        assert client.recv(1000)
    assert send(server, connection, "GET")[1] == LARGE
    wait_until(lambda: not open_blobs(server.process.pid))
    # Two requests, one of which waits for the other, and a client that is gone at once.
    with socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2])), timeout=60) as client:
        client.sendall(head(server, "GET", 0))
        assert client.recv(1000)
        client.sendall(head(server, "GET", 0))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: not open_blobs(server.process.pid))
    assert "Traceback" not in server.log() and "without completing" not in server.log()


class Site:
    """An application of a few lines behind this platform's connections: what it does with a request is `behave`."""

    def __init__(self, behave: Callable[[Any, Any], Any]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self._behave = behave
        options = {**uvicorn_options(1), "lifespan": "off", "interface": "asgi3"}
        self._server = uvicorn.Server(uvicorn.Config(self._app, **options))
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve([self.listener])))
        self._thread.start()

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        await self._behave(scope, send)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        self.listener.close()


def test_a_body_that_is_refused_halfway_is_skipped() -> None:
    def refuse(piece: memoryview) -> None:
        raise ValueError("enough")

    async def behave(scope: Any, send: Any) -> None:
        try:
            await direct.receive(scope, refuse, 5)
        except ValueError:
            text = b"refused"
        else:
            text = b"taken"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
        await send({"type": "http.response.body", "body": text})

    site = Site(behave)
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    try:
        for _ in range(3):
            connection.request("PUT", "/", LARGE)
            used = connection.sock
            answer = connection.getresponse()
            assert answer.read() == b"refused" and connection.sock is used
    finally:
        connection.close()
        site.stop()


@pytest.mark.parametrize("before", [0, 20 * MIB])
def test_a_client_that_takes_nothing_does_not_stay(tmp_path: Path, before: int) -> None:
    (tmp_path / "f").write_bytes(LARGE * 8)
    seen: list[str] = []
    over = threading.Event()

    async def behave(scope: Any, send: Any) -> None:
        length = len(LARGE) * 8
        headers = [(b"content-length", b"%d" % length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        # What was written earlier, and hasn't left.
        found = direct.connection_of(scope)
        assert found
        found.transport.write(b"x" * before)
        with open(tmp_path / "f", "rb") as source:
            try:
                await direct.send(scope, source.fileno(), 0, length, PATIENCE)
            except direct.Stalled:
                seen.append("stalled")
            finally:
                over.set()

    site = Site(behave)
    try:
        with socket.create_connection(("127.0.0.1", site.port), timeout=60) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert over.wait(60) and seen == ["stalled"]
            received = 0
            try:
                while piece := client.recv(MIB):
                    received += len(piece)
            except ConnectionError:
                pass
            assert received < len(LARGE) * 8
    finally:
        site.stop()


def head(server: Server, method: str, length: int, *lines: str) -> bytes:
    first = f"{method} /v1/data/.my/c/f HTTP/1.1"
    return "\r\n".join(
        [first, "Host: x", f"Authorization: {server.key}", f"Content-Length: {length}", *lines, "", ""]
    ).encode()
