"""What a connector's server can't do: change its address after the check, or lead somewhere else."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from Algorithmia.server.connectors import Account, Driver, open_driver
from Algorithmia.server.connectors.endpoints import AddressRefused, Guard, guarded_session
from Algorithmia.server.connectors.globs import Glob
from Algorithmia.server.errors import ApiProblem, BadRequest


class Inner:
    """A server on loopback that counts what reaches it."""

    def __init__(self, location: str = "") -> None:
        self.asked: list[str] = []
        inner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                inner.asked.append(self.path)
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(302 if location else 200)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_HEAD = do_POST = do_DELETE = do_GET

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def inner() -> Iterator[Inner]:
    found = Inner()
    yield found
    found.stop()


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """From now on names have the addresses `answers`, one after the other; the last one stays. Returns what's asked."""
    real = socket.getaddrinfo
    asked: list[str] = []

    def fake(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if host != "storage.example.com":
            return real(host, port, *arguments, **options)
        asked.append(host)
        return real(answers[min(len(asked), len(answers)) - 1], port, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", fake)
    return asked


def test_a_name_that_changes_its_address_gains_nothing(monkeypatch: pytest.MonkeyPatch, inner: Inner) -> None:
    resolving(monkeypatch, "93.184.216.34", "127.0.0.1")
    guard = Guard()
    url = f"http://storage.example.com:{inner.port}"
    assert guard.check_url(url) == url
    with pytest.raises(AddressRefused):
        guarded_session(guard).get(url)
    assert inner.asked == []


def test_the_connection_goes_to_the_address_that_was_judged(monkeypatch: pytest.MonkeyPatch, inner: Inner) -> None:
    asked = resolving(monkeypatch, "127.0.0.1", "192.0.2.1")
    answer = guarded_session(Guard("storage.example.com")).get(f"http://storage.example.com:{inner.port}/x")
    assert answer.status_code == 200 and inner.asked == ["/x"]
    assert len(asked) == 1


CREDENTIALS = {
    "s3": {"access_key_id": "x", "secret_access_key": "TOPSECRET"},
    "gs": {"email": "a@b.iam.gserviceaccount.com", "private_key_id": "x", "private_key": "TOPSECRET"},
    "azureblob": {"storage_uri": "https://x", "sas_token": "sv=2022-11-02&sig=TOPSECRET", "container_name": "data"},
    "dropbox": {"access_token": "TOPSECRET"},
}
PACKAGES = {"s3": "boto3", "gs": "google.cloud.storage", "azureblob": "azure.storage.blob", "dropbox": "dropbox"}


@pytest.fixture(params=sorted(CREDENTIALS))
def protocol(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    pytest.importorskip(PACKAGES[name], reason=f"the {name} driver needs {PACKAGES[name]}")
    return name


def driver_at(protocol: str, endpoint: str, guard: Guard) -> Driver:
    return open_driver(protocol, Account(f"{protocol}+x", CREDENTIALS[protocol], endpoint, guard))


def test_drivers_ask_the_guard_again(monkeypatch: pytest.MonkeyPatch, inner: Inner, protocol: str) -> None:
    resolving(monkeypatch, "127.0.0.1")
    driver = driver_at(protocol, f"http://storage.example.com:{inner.port}", Guard())
    for ask in (lambda: driver.stat("bucket/key"), lambda: driver.page("bucket"), lambda: driver.delete("bucket/key")):
        with pytest.raises(BadRequest, match="own network"):
            ask()
    assert inner.asked == []


def test_drivers_follow_no_redirect(inner: Inner, protocol: str) -> None:
    outer = Inner(f"http://127.0.0.1:{inner.port}/secret")
    try:
        driver = driver_at(protocol, f"http://127.0.0.1:{outer.port}", Guard("any"))
        with pytest.raises(ApiProblem):
            driver.stat("bucket/key")
    finally:
        outer.stop()
    assert outer.asked and inner.asked == []


def test_failures_tell_no_secrets(protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    driver = driver_at(protocol, f"http://127.0.0.1:{port}", Guard("any"))
    with pytest.raises(ApiProblem) as caught:
        driver.stat("bucket/key")
    assert caught.value.status == 503
    assert "TOPSECRET" not in caught.value.message + caplog.text + repr(driver.account)


def test_a_missing_package_is_named(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGES[protocol], None)
    with pytest.raises(ApiProblem, match=r"pip install algorithmia\[") as caught:
        driver_at(protocol, "http://127.0.0.1:1", Guard("any"))
    assert caught.value.status == 501


def test_a_private_key_that_is_none_is_refused() -> None:
    pytest.importorskip("google.cloud.storage", reason="the gs driver needs google-cloud-storage")
    with pytest.raises(BadRequest, match="private_key") as caught:
        driver_at("gs", "", Guard())
    assert "TOPSECRET" not in caught.value.message


def test_redirects_are_not_followed(inner: Inner) -> None:
    import requests

    outer = Inner(f"http://127.0.0.1:{inner.port}/secret")
    try:
        with pytest.raises(requests.TooManyRedirects):
            guarded_session(Guard("any")).get(f"http://127.0.0.1:{outer.port}/")
    finally:
        outer.stop()
    assert inner.asked == []


@pytest.mark.parametrize("allowed", ["127.0.0.1", "127.0.0.1:9000", " other , 127.0.0.1:9000", "any"])
def test_the_operator_allows_servers(allowed: str) -> None:
    assert Guard(allowed).check_url("http://127.0.0.1:9000/") == "http://127.0.0.1:9000"


@pytest.mark.parametrize("allowed", ["", "127.0.0.2", "127.0.0.1:9001", "localhost"])
def test_others_stay_refused(allowed: str) -> None:
    with pytest.raises(BadRequest):
        Guard(allowed).check_url("http://127.0.0.1:9000")


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*", "a/b/c", True),
        ("a/*", "a/b", True),
        ("a/*", "a/b/c", True),
        ("a/*", "ab", False),
        ("a/*", "a", False),
        ("a*", "ab/c", True),
        ("a/f", "a/f", True),
        ("a/f", "a/fg", False),
        ("*.csv", "x/y.csv", True),
        ("*.csv", "x/y.csv2", False),
        ("a?c", "abc", False),
        ("a?c", "a?c", True),
        ("a*bc*c", "abcc", True),
        ("a*bc*c", "abc", False),
        ("a*a", "a", False),
        ("**", "", True),
        ("a[b]", "ab", False),
        ("a[b]", "a[b]", True),
        ("A/*", "a/b", False),
    ],
)
def test_globs(pattern: str, path: str, matches: bool) -> None:
    assert Glob(pattern).matches(path) is matches


@pytest.mark.parametrize(
    ("pattern", "directory", "reaches"),
    [
        ("a/b/*", "", True),
        ("a/b/*", "a", True),
        ("a/b/*", "a/b", True),
        ("a/b/*", "a/b/c", True),
        ("a/b/*", "c", False),
        ("a/b*", "a/bc", True),
        ("a/b/f", "a/b/f", False),
        ("*/x", "q", True),
    ],
)
def test_globs_reach_directories(pattern: str, directory: str, reaches: bool) -> None:
    assert Glob(pattern).reaches(directory) is reaches


def test_a_hostile_glob_ends() -> None:
    assert not Glob("*a" * 500 + "b").matches("a" * 4000)
