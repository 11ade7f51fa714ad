"""What a transfer goes to and by which command: our platform with `algo`, nginx with curl or threads of urllib3."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import harness
from benchmarks.server import Server

_MEASURED = Path(__file__).resolve().parent / "measured.py"
_LIMIT = 900.0
_START_LIMIT = 20.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a command took: seconds from its start to its end, seconds of processors, bytes at its peak."""

    seconds: float
    processor: float
    peak: int


def measure(command: list[str], environment: dict[str, str]) -> Usage:
    """Run `command`. Raises RuntimeError if it fails."""
    whole = [sys.executable, "-I", "-S", str(_MEASURED), *command]
    with harness.process(whole, environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        output, problem = child.communicate(timeout=_LIMIT)
        if child.returncode:
            text = problem.decode("utf-8", "replace")[-2000:]
            raise RuntimeError(f"{' '.join(command)} failed:\n{text}")
    return Usage(**json.loads(output))


@dataclass(frozen=True)
class Ours:
    """A platform that runs, and its account's home directory."""

    server: Server
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        address, key = self.server.address, self.server.key()
        return harness.our_environment(self.home, ALGORITHMIA_API=address, ALGORITHMIA_API_KEY=key)

    def copy(self, source: str, destination: str, *flags: str) -> Usage:
        """`algo cp`."""
        return measure([*harness.our_algo(), "cp", "--quiet", *flags, source, destination], self.environment)

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """What the platform answers to one request. Raises RuntimeError for anything but 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=_LIMIT)
        try:
            headers = {"Authorization": f"Simple {self.server.key()}"}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status} {answer[:300]!r}")
        return answer

    def make_collection(self, name: str) -> None:
        self.request("POST", "/v1/data/.my", json.dumps({"name": name}).encode())


@contextlib.contextmanager
def ours(place: Path) -> Iterator[Ours]:
    """The platform as `algo serve` starts it, with its state below `place`."""
    server = Server(place)
    try:
        server.spawn()
        server.wait_until_ready()
        yield Ours(server, place)
    finally:
        server.end()


@dataclass(frozen=True)
class Nginx:
    """An nginx that serves and stores the files below `data`."""

    address: str
    data: Path
    home: Path

    def curl(self, *arguments: str) -> Usage:
        """curl, which fails if nginx refuses; the last of the arguments is a path on the server."""
        command = [program("curl", "curl"), "-q", "--silent", "--show-error", "--fail", *arguments[:-1]]
        return measure([*command, f"{self.address}/{arguments[-1]}"], harness.clean_environment(self.home))


_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {home}/nginx.pid;
error_log {home}/error.log;
{user}
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {home}/client_body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    client_max_body_size 0;
    keepalive_requests 1000000;
    sendfile on;
    tcp_nopush on;
    server {{
        listen 127.0.0.1:{port};
        root {data};
        location / {{
            dav_methods PUT DELETE;
            create_full_put_path on;
            dav_access user:rw;
        }}
    }}
}}
"""


@contextlib.contextmanager
def nginx(place: Path) -> Iterator[Nginx]:
    """nginx with its WebDAV module, all of its files below `place`. Raises RuntimeError where there is none."""
    command = program("nginx", "nginx-light")
    home, data = place / "nginx", place / "nginx" / "data"
    data.mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = home / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(home=home, data=data, port=port, user=user))
    whole = [command, "-p", str(home), "-e", str(home / "error.log"), "-c", str(configuration)]
    with harness.process(whole, harness.clean_environment(home), stderr=subprocess.PIPE) as child:
        _wait_for(child, port)
        yield Nginx(f"http://127.0.0.1:{port}", data, home)


def program(name: str, package: str) -> str:
    """The path of the program `name`. Raises RuntimeError, saying which Debian package has it."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise RuntimeError(f"{name} is not on PATH; Debian, Ubuntu: apt-get install {package}")
    return found


def _wait_for(child: subprocess.Popen, port: int) -> None:
    deadline = time.monotonic() + _START_LIMIT
    while time.monotonic() < deadline and child.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return
        time.sleep(0.02)
    child.kill()
    assert child.stderr is not None
    raise RuntimeError(f"nginx did not start: {child.stderr.read().decode('utf-8', 'replace')[-2000:]}")
