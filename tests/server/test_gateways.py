"""A platform behind gateways: to clients it is the same platform, whatever becomes of the processes.

What is the same is tested by the same tests: those imported here find a platform with gateways instead of one without.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import test_connections
from git_hosted import wait_until
from platforms import ROOT, Server, clean_environment
from test_git_live import (  # noqa: F401
    test_a_platform_that_stops_keeps_no_pusher,
    test_from_a_clone_to_a_call,
)
from test_invoke_http import (  # noqa: F401
    test_a_client_that_leaves_ends_the_work,
    test_a_refused_call_does_not_read_the_body,
    test_algorithms_call_algorithms,
    test_credentials_are_needed,
    test_data_from_inside,
    test_errors_of_algorithms_are_answers,
    test_nesting_deeper_than_the_workers_does_not_stand_still,
    test_nobody_is_known_by_what_stands_behind_another_ones_key,
    test_only_post,
    test_pages_may_call,
    test_raw_output,
    test_the_largest_input_passes_and_one_byte_more_does_not,
    test_the_limit_holds_for_chunked_bodies,
    test_void_output,
    wire,
)
from test_lifecycle import (  # noqa: F401
    test_shutdown_lets_calls_in_flight_finish,
    test_shutdown_tells_the_calls_that_it_ends,
    test_workers_end_when_the_platform_is_killed,
)

from Algorithmia.server.gateway.supervisor import Gateways
from Algorithmia.server.settings import Settings

MIB = 1024 * 1024
FLAGS = ("--gateways", "2")

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="needs Linux")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A platform with gateways, impatient with clients that keep it waiting."""
    found = Server(tmp_path_factory.mktemp("platform"), "--port", "0", "--request-timeout", "2", *FLAGS)
    yield found
    found.stop()


@pytest.fixture
def start_server(start_server: Callable[..., Server]) -> Callable[..., Server]:
    """As everywhere, with gateways."""

    def start(*arguments: str, **options: Any) -> Server:
        return start_server(*(arguments or ("--port", "0")), *FLAGS, **options)

    return start


def gateways_of(server: Server) -> list[int]:
    """The processes that are gateways of `server`."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"gateway.process" in _command(int(child))]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def connect(server: Server) -> socket.socket:
    host, _, port = server.address.rpartition("/")[2].partition(":")
    return socket.create_connection((host, int(port)), timeout=60)


def request(server: Server, method: str, path: str, *lines: str, body: bytes = b"") -> bytes:
    """A request as bytes, with its length if it has a body."""
    if body:
        lines = (*lines, f"Content-Length: {len(body)}")
    head = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: {server.key}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


def sleeper(server: Server) -> socket.socket:
    """A connection whose call sleeps for ten minutes."""
    connection = connect(server)
    connection.sendall(request(server, "POST", "/v1/algo/util/Sleep", "Content-Type: text/plain", body=b"600"))
    return connection


def busy(server: Server) -> int:
    """How many workers have something to do."""
    found: int = json.loads(server.client().request("GET", "/health").data)["engine"]["busy"]
    return found


def is_broken(connection: socket.socket) -> bool:
    """Whether a connection on which nothing can have come has ended."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def read_until(connection: socket.socket, end: bytes) -> bytes:
    seen = b""
    while end not in seen:
        piece = connection.recv(65536)
        assert piece, seen
        seen += piece
    return seen


# -- HTTP ---------------------------------------------------------------------------------------------------------


def test_two_gateways_have_the_connections_and_little_else(server: Server) -> None:
    assert server.client().algo("demo/Hello").pipe("x").result == "Hello x"
    found = gateways_of(server)
    assert len(found) == 2
    for pid in found:
        assert server.key.encode() not in _command(pid)
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert {entry.partition(b"=")[0] for entry in environment.split(b"\0")} <= {b"PATH", b"LC_ALL", b""}
        targets = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        assert not [target for target in targets if server.home in target and not target.endswith("serve.log")]


def test_each_gateway_has_its_share_of_the_connections(server: Server) -> None:
    processes = gateways_of(server)
    before = [_descriptors(pid) for pid in processes]
    connections = [connect(server) for _ in range(40)]
    wait_until(lambda: all(_descriptors(pid) - had >= 15 for pid, had in zip(processes, before, strict=True)))
    for connection in connections:
        connection.close()


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_large_files_go_both_ways(server: Server, collection: Any) -> None:
    content = hashlib.shake_128(b"seed").digest(MIB) * 50
    file = collection.file("large")
    file.put(content)
    path = f"/v1/data/{file.path}"
    client = server.client()
    ranges = [(0, len(content)), (1, 65537), (len(content) - 3 * MIB, len(content)), (7 * MIB + 1, 30 * MIB)]
    for start, stop in ranges:
        answer = client.request("GET", path, headers={"Range": f"bytes={start}-{stop - 1}"})
        assert answer.status == 206
        assert hashlib.sha256(answer.data).digest() == hashlib.sha256(content[start:stop]).digest()
    chunked = client.request("PUT", path, body=(content[at : at + 99_999] for at in range(0, 5 * MIB, 99_999)))
    assert chunked.status == 200
    assert file.getBytes() == content[: (5 * MIB // 99_999 + 1) * 99_999]


def test_large_results(server: Server) -> None:
    text = "x" * (4 * MIB)
    assert server.client().algo("util/Echo").pipe(text).result == text


def test_a_client_that_does_not_read_takes_no_memory(server: Server, collection: Any) -> None:
    file = collection.file("large")
    file.put(b"x" * (60 * MIB))
    processes = [server.process.pid, *gateways_of(server)]
    before = {pid: _resident(pid) for pid in processes}
    with connect(server) as connection:
        connection.sendall(request(server, "GET", f"/v1/data/{file.path}"))
        seen = read_until(connection, b"\r\n\r\n")
        # Others are served meanwhile, and nothing is read ahead for this one.
        for _ in range(20):
            assert server.client().algo("demo/Hello").pipe("x").result == "Hello x"
        assert all(_resident(pid) - before[pid] < 25 * MIB for pid in processes)
        size = len(seen) - seen.index(b"\r\n\r\n") - 4
        while size < 60 * MIB:
            piece = connection.recv(MIB)
            assert piece
            size += len(piece)
    assert size == 60 * MIB


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_clients_that_wait_to_be_told_to_send(server: Server) -> None:
    lines = ("Content-Type: text/plain", "Expect: 100-continue")
    with connect(server) as connection:
        connection.sendall(request(server, "POST", "/v1/algo/demo/Hello", *lines, "Content-Length: 3"))
        assert read_until(connection, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"HAL")
        assert b'"Hello HAL"' in read_until(connection, b"}}")
    with connect(server) as connection:
        connection.sendall(request(server, "POST", "/v1/algo/demo/Hello", *lines, "Content-Length: 99000000"))
        assert read_until(connection, b"}}").startswith(b"HTTP/1.1 413 ")


def test_several_requests_on_a_connection(server: Server, collection: Any) -> None:
    collection.file("f").put("content")
    call = request(server, "POST", "/v1/algo/demo/Hello", "Content-Type: text/plain", body=b"one")
    head = request(server, "HEAD", f"/v1/data/{collection.path}/f")
    last = request(server, "GET", "/health", "Connection: close")
    with connect(server) as connection:
        connection.sendall(call + head + call.replace(b"one", b"two") + last)
        seen = b""
        while piece := connection.recv(65536):
            seen += piece
    first, second, third, fourth = (b"HTTP/1.1 200 " + part for part in seen.split(b"HTTP/1.1 200 ")[1:])
    assert b'"Hello one"' in first and b'"Hello two"' in third
    assert second.endswith(b"\r\n\r\n") and b"content-length: 7\r\n" in second
    assert b"connection: close" in fourth and b'"status":"ok"' in fourth


def test_answers_to_a_client_that_reads_late(server: Server) -> None:
    text = b"x" * 50_000
    call = request(server, "POST", "/v1/algo/util/Echo", "Content-Type: text/plain", body=text)
    count = 250
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        host, _, port = server.address.rpartition("/")[2].partition(":")
        connection.connect((host, int(port)))
        sending = threading.Thread(target=connection.sendall, args=[call * count])
        sending.start()
        # All that fits between us is full once nothing is called any more.
        before, now = 0, _requests(server)
        while now - before > 1:
            threading.Event().wait(0.2)
            before, now = now, _requests(server)
        with connection.makefile("rb") as stream:
            for _ in range(count):
                assert stream.readline().startswith(b"HTTP/1.1 200 ")
                lines = dict(line.rstrip().split(b": ", 1) for line in iter(stream.readline, b"\r\n"))
                assert json.loads(stream.read(int(lines[b"content-length"])))["result"] == text.decode()
        sending.join()


def _requests(server: Server) -> int:
    """How many requests there have been, this one included."""
    found: int = json.loads(server.client().request("GET", "/health").data)["requests"]["total"]
    return found


def test_bytes_that_are_not_http_are_refused_and_logged(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert read_until(connection, b"received").startswith(b"HTTP/1.1 400 ")
    wait_until(lambda: "Invalid HTTP request" in server.log())


def test_clients_that_keep_it_waiting(server: Server) -> None:
    test_connections.test_an_endless_head_is_refused(server, b"GET /health?", b"x" * 65536)
    test_connections.test_a_large_head_is_served(server)
    test_connections.test_a_head_that_never_ends_is_given_up(server, b"GET /health HT")
    test_connections.test_a_body_that_never_comes_is_given_up(server, "/v1/algo/demo/Hello")
    for pid in gateways_of(server):
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
        soft, hard = next(line for line in lines if line.startswith("Max open files")).split()[3:5]
        assert int(soft) >= min(int(hard), 65536)


def test_tls(start_server: Callable[..., Server], tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-keyout", str(key), "-out", str(certificate), "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    server = start_server("--port", "0", "--tls-cert", str(certificate), "--tls-key", str(key))
    assert server.address.startswith("https://")
    connection = http.client.HTTPSConnection(
        server.address.rpartition("/")[2], timeout=60, context=ssl.create_default_context(cafile=str(certificate))
    )
    # Algorithms have an address of their own, without TLS.
    headers = {"Authorization": f"Simple {server.key}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/algo/util/Call", b'{"algo": "demo/Hello", "input": "y"}', headers)
    assert json.load(connection.getresponse())["result"] == "Hello y"
    connection.close()


# -- processes ----------------------------------------------------------------------------------------------------


def test_a_gateway_that_dies_takes_its_own_calls_along(start_server: Callable[..., Server]) -> None:
    server = start_server()
    connections = [sleeper(server) for _ in range(6)]
    wait_until(lambda: busy(server) == 6)
    first, second = gateways_of(server)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: first not in gateways_of(server) and len(gateways_of(server)) == 2)
    assert second in gateways_of(server)
    assert server.client().algo("demo/Hello").pipe("x").result == "Hello x"
    wait_until(lambda: 0 < sum(not is_broken(connection) for connection in connections) == busy(server) < 6)
    assert "a gateway ended" in server.log()
    os.kill(second, signal.SIGKILL)
    wait_until(lambda: busy(server) == 0)
    assert all(is_broken(connection) for connection in connections)
    for connection in connections:
        connection.close()


class Caller(threading.Thread):
    """Calls over and over on one connection, and on another one when that breaks.

    answers  how many calls were answered; each answer was that call's, or `wrong` has it
    broken   how many connections were
    """

    def __init__(self, server: Server, number: int) -> None:
        super().__init__()
        self._address = server.address.rpartition("/")[2]
        self._headers = {"Authorization": f"Simple {server.key}", "Content-Type": "text/plain"}
        self._number = number
        self.answers = self.broken = 0
        self.wrong: list[Any] = []
        self.is_enough = threading.Event()

    def run(self) -> None:
        """Until `is_enough`."""
        connection = http.client.HTTPConnection(self._address, timeout=60)
        while not self.is_enough.is_set():
            name = f"{self._number}-{self.answers}"
            try:
                connection.request("POST", "/v1/algo/demo/Hello", name.encode(), self._headers)
                response = connection.getresponse()
                answer = json.load(response)
            except (ConnectionError, http.client.HTTPException):
                self.broken += 1
                connection.close()
                continue
            except Exception as problem:
                answer = {"problem": repr(problem)}
            self.answers += 1
            if answer.get("result") != f"Hello {name}":
                self.wrong.append(answer)
        connection.close()


def test_a_gateway_that_dies_loses_no_answer_of_others(start_server: Callable[..., Server]) -> None:
    server = start_server()
    callers = [Caller(server, number) for number in range(6)]

    def each_gets_more() -> None:
        before = [caller.answers for caller in callers]
        wait_until(lambda: all(caller.answers > had for caller, had in zip(callers, before, strict=True)))

    for caller in callers:
        caller.start()
    try:
        each_gets_more()
        dead = gateways_of(server)[0]
        os.kill(dead, signal.SIGKILL)
        wait_until(lambda: dead not in gateways_of(server) and len(gateways_of(server)) == 2)
        each_gets_more()
    finally:
        for caller in callers:
            caller.is_enough.set()
        for caller in callers:
            caller.join()
    assert not [caller.wrong for caller in callers if caller.wrong]
    untouched = [caller for caller in callers if not caller.broken]
    assert 0 < len(untouched) < len(callers)


def test_no_gateway_outlives_the_platform(start_server: Callable[..., Server]) -> None:
    for end in (signal.SIGKILL, signal.SIGTERM):
        server = start_server()
        found = gateways_of(server)
        assert len(found) == 2
        with connect(server) as kept:
            kept.sendall(request(server, "GET", "/health"))
            answer = http.client.HTTPResponse(kept)
            answer.begin()
            assert answer.status == 200 and answer.read()
            server.process.send_signal(end)
            server.process.wait(60)
            assert kept.recv(10) == b""
        wait_until(lambda found=found: not any(map(_command, found)))


def test_what_has_begun_is_finished_at_the_end(start_server: Callable[..., Server]) -> None:
    server = start_server()
    directory = server.client().dir("data://.my/files")
    directory.create()
    directory.file("f").put(b"x" * (8 * MIB))
    with connect(server) as connection:
        connection.sendall(request(server, "GET", "/v1/data/.my/files/f"))
        seen = read_until(connection, b"\r\n\r\n")
        server.process.terminate()
        wait_until(lambda: _refuses(server))
        size = len(seen) - seen.index(b"\r\n\r\n") - 4
        while piece := connection.recv(MIB):
            size += len(piece)
    assert size == 8 * MIB
    assert server.process.wait(60) == 0
    assert "Traceback" not in server.log()


def _refuses(server: Server) -> bool:
    try:
        connect(server).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("number", ["-1", "65"])
def test_numbers_that_make_no_sense(tmp_path: Path, number: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "Algorithmia.server.main", "--home", str(tmp_path), "--gateways", number],
        env=clean_environment(tmp_path),
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.decode() == f"algo serve: --gateways {number}: choose a number from 0 to 64\n"


def test_connections_to_nobody_are_not_kept(server: Server) -> None:
    connection = http.client.HTTPConnection(server.address.rpartition("/")[2], timeout=30)
    for _ in range(3):
        connection.request("GET", "/health", headers={"Connection": "close"})
        assert connection.getresponse().read()
        assert connection.sock is None
    connection.close()


def test_whatever_ends_a_gateway_there_is_a_next_one(caplog: pytest.LogCaptureFixture) -> None:
    class Stumbling(Gateways):
        """Whose first gateway ends, and whose second one can't even be started for a reason that nobody thought of."""

        runs = 0

        async def _run(self, started: asyncio.Future[None]) -> int:
            self.runs += 1
            if self.runs == 1:
                started.set_result(None)
                return 1
            if self.runs == 2:
                raise RuntimeError("nobody thought of it")
            await self._stopping.wait()
            return 0

    async def test() -> None:
        async def application(*_: Any) -> None: ...

        with socket.create_server(("127.0.0.1", 0)) as listener:
            gateways = Stumbling(Settings(gateways=1), listener, application, set(), None)  # type: ignore[arg-type]
            await gateways.start()
            while gateways.runs < 3:
                await asyncio.sleep(0.01)
            await gateways.stop()

    asyncio.run(asyncio.wait_for(test(), 60))
    assert "nobody thought of it" in caplog.text
