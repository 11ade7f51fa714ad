"""Bundled algorithms fetch from the public web only: which addresses that is, redirects, limits."""

from __future__ import annotations

import http.server
import importlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import Algorithmia.server.catalog

CATALOG = Path(Algorithmia.server.catalog.__file__).parent
PROJECTS = ("nlp/LDA", "dlib/FaceDetection")
TEXT = b"the striker scored a goal"
MIB = 2**20


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """``modules("src.web")`` as the algorithm nlp/LDA imports it."""
    pytest.importorskip("requests")
    monkeypatch.syspath_prepend(str(CATALOG / "nlp" / "LDA"))

    def forget() -> None:
        for name in [name for name in sys.modules if name == "src" or name.startswith("src.")]:
            del sys.modules[name]

    forget()
    yield importlib.import_module
    forget()


@pytest.fixture
def web(modules: Callable[[str], Any]) -> Any:
    return modules("src.web")


class Site(http.server.BaseHTTPRequestHandler):
    """``/to/N`` redirects N times until there is a text; ``/away`` redirects to its query."""

    def do_GET(self) -> None:
        self.server.paths.append(self.path)  # type: ignore[attr-defined]
        first, _, rest = self.path[1:].partition("/")
        if first == "to" and rest != "0":
            return self._redirect(f"/to/{int(rest) - 1}")
        if first.startswith("away?"):
            return self._redirect(first.partition("?")[2] + "/" + rest)
        self.send_response(404 if first == "missing" else 200)
        self.send_header("Content-Type", "Text/HTML; charset=utf-8" if first == "page" else "text/plain")
        self.end_headers()
        try:
            if first == "endless":
                while True:
                    self.wfile.write(bytes(MIB))
            self.wfile.write(b"<p>a <b>page</b></p><script>x</script>" if first == "page" else TEXT)
        except OSError:
            pass  # the other side has seen enough

    def _redirect(self, target: str) -> None:
        self.send_response(302)
        self.send_header("Location", target)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Any]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.paths = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def at(site: Any, path: str, host: str = "public.example") -> str:
    return f"http://{host}:{site.server_address[1]}{path}"


def later() -> float:
    return time.time() + 60


@pytest.fixture
def fetch(web: Any) -> Callable[..., Any]:
    """``fetch`` where the name public.example is this machine's, and other names are what they are."""

    def addresses(host: str, port: int) -> list[str]:
        return ["127.0.0.1"] if host == "public.example" else web.public_addresses(host, port)

    return lambda url, limit=MIB, **options: web.fetch(url, limit, later(), addresses=addresses, **options)


def test_every_algorithm_that_fetches_has_the_same_module() -> None:
    assert len({(CATALOG / project / "src" / "web.py").read_bytes() for project in PROJECTS}) == 1
    others = [path for path in CATALOG.glob("*/*/src/*.py") if path.name != "web.py"]
    assert len(others) > len(PROJECTS)
    for path in others:
        assert not {"requests", "urllib", "http.client", "socket"} & set(path.read_text().split()), path


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
        *("169.254.169.254", "168.63.129.16", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1"),
        *("::", "::1", "fe80::1", "fe80::1%lo", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
    ],
)
def test_addresses_that_are_not_of_the_public_internet(web: Any, address: str) -> None:
    assert not web.is_public(address)


def test_addresses_of_the_public_internet(web: Any) -> None:
    for address in ("93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"):
        assert web.is_public(address), address


def test_one_address_inside_spoils_a_name(web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["8.8.8.8", "8.8.4.4"]

    def resolve(host: str, port: int, **options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answers]

    monkeypatch.setattr(web.socket, "getaddrinfo", resolve)
    assert web.public_addresses("public.example", 80) == answers
    answers.append("10.0.0.1")
    with pytest.raises(web.InputError, match=r"public\.example is an address .* put the file into hosted data"):
        web.public_addresses("public.example", 80)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0.0.0.0"])
def test_this_machine_is_refused_by_all_of_its_names(web: Any, site: Any, host: str) -> None:
    with pytest.raises(web.InputError, match="hosted data") as caught:
        web.fetch(at(site, "/text", host), MIB, later())
    assert caught.value.error_type == "InputError"
    assert site.paths == []


def test_the_connection_goes_to_what_was_judged(web: Any, site: Any) -> None:
    """A name that means another server the next moment gains nothing: it is looked up once for a connection."""
    asked = []

    def addresses(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    content, kind = web.fetch(at(site, "/text"), MIB, later(), addresses=addresses)
    assert (content, kind) == (TEXT, "text/plain")
    assert asked == [("public.example", site.server_address[1])]


def test_a_proxy_is_not_asked(fetch: Any, site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert fetch(at(site, "/text"))[0] == TEXT


def test_redirects_are_judged_too(fetch: Any, web: Any, site: Any) -> None:
    inside = at(site, "/text", "127.0.0.1")
    with pytest.raises(web.InputError, match=r"127\.0\.0\.1 is an address .* hosted data"):
        fetch(at(site, f"/away?{inside}"))
    assert site.paths == [f"/away?{inside}"]
    for elsewhere in ("file:///etc/passwd", "http://[bad/"):
        with pytest.raises(web.InputError, match="can't be fetched"):
            fetch(at(site, f"/away?{elsewhere}"))


def test_five_redirects_and_no_more(fetch: Any, web: Any, site: Any) -> None:
    assert fetch(at(site, "/to/5"))[0] == TEXT
    site.paths.clear()
    with pytest.raises(web.InputError, match="redirects more than 5 times"):
        fetch(at(site, "/to/6"))
    assert site.paths == [f"/to/{left}" for left in range(6, 0, -1)]


def test_what_an_answer_may_be(fetch: Any, web: Any, site: Any) -> None:
    assert fetch(at(site, "/page"))[1] == "text/html"
    assert len(fetch(at(site, "/endless"), limit=MIB)[0]) > MIB
    with pytest.raises(web.InputError, match="status 404"):
        fetch(at(site, "/missing"))
    with pytest.raises(web.InputError, match="can't be fetched"):
        fetch("http://public.example:1/")
    with pytest.raises(web.InputError, match="took too long"):
        web.fetch(at(site, "/text"), MIB, time.time() - 1)

    def refuse(kind: str) -> None:
        raise web.InputError(f"no {kind}")

    with pytest.raises(web.InputError, match="no text/plain"):
        fetch(at(site, "/endless"), check_kind=refuse)


def test_documents_of_the_web(modules: Any, web: Any, site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = modules("src.documents")
    with pytest.raises(web.InputError, match="hosted data"):
        documents.read_documents([at(site, "/text", "127.0.0.1")])
    monkeypatch.setattr(web, "public_addresses", lambda host, port: ["127.0.0.1"])
    assert documents.read_documents(at(site, "/text")) == [TEXT.decode()]
    assert documents.read_documents([at(site, "/page"), "given"]) == ["a\npage", "given"]
    with pytest.raises(web.InputError, match="20 MB"):
        documents.read_documents([at(site, "/endless")])
