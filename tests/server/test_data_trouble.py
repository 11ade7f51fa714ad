"""Files over HTTP when something is wrong: odd requests, bodies cut short, full disks, a crash between two steps."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import sqlalchemy as sa
from hosted_site import Caller, Site
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Algorithmia.server.services import data_uploads


@pytest.fixture
def directory(me: Caller) -> str:
    return me.collection()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def _chunked(chunked: bool) -> dict[str, str]:
    return {"Transfer-Encoding": "chunked"} if chunked else {}


def raw_put(me: Caller, path: str, headers: str, body: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", me.site.port), timeout=10)
    head = f"PUT /v1/data/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: {me.key}\r\n{headers}\r\n\r\n"
    connection.sendall(head.encode("latin-1") + body)
    return connection


@pytest.mark.parametrize("size", [1000, 3_000_000])
@pytest.mark.parametrize("framing", ["Content-Length: 9000000", "Transfer-Encoding: chunked"])
def test_short_body_leaves_nothing(me: Caller, directory: str, size: int, framing: str) -> None:
    me.put(f"{directory}/f", b"before")
    blobs = sorted(me.site.blob_files())
    body = b"x" * size if "Length" in framing else b"%x\r\n" % size + b"x" * size + b"\r\n"
    connection = raw_put(me, f"{directory}/f", framing, body)
    if size > 2_000_000:
        wait_for(lambda: bool(me.site.staged()))
    connection.close()
    # A body that is cut at once may not even have been begun: what counts is how it ends.
    wait_for(lambda: sorted(me.site.blob_files()) == blobs)
    assert me.get(f"{directory}/f").body == b"before"


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: abc",
        "Content-Length: -1",
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: " + "9" * 400,
    ],
)
def test_odd_lengths(me: Caller, directory: str, headers: str) -> None:
    with raw_put(me, f"{directory}/f", headers, b"x") as connection:
        status = connection.recv(4096)
        assert re.match(rb"HTTP/1.1 4\d\d ", status), status


@pytest.mark.parametrize("path", ["\xff", ".my/\xe4/f", "%", "%zz", "%00", "\x01"])
def test_odd_bytes_in_the_path(me: Caller, path: str) -> None:
    with raw_put(me, path, "Content-Length: 1", b"x") as connection:
        assert re.match(rb"HTTP/1.1 4\d\d ", connection.recv(4096))


def test_expect_continue_is_refused_before_the_body(me: Caller) -> None:
    with raw_put(me, ".my/missing/f", "Content-Length: 10\r\nExpect: 100-continue", b"") as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 404 ")
    directory = me.collection()
    with raw_put(me, f"{directory}/f", "Content-Length: 2\r\nExpect: 100-continue", b"") as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"ok")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_refusal_reaches_a_client_that_sends_everything_first(me: Caller) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(50):
            yield b"x" * 100_000

    url = f"{me.site.address}/v1/data/.my/missing/f"
    answer = requests.put(url, data=pieces(), headers={"Authorization": str(me.key)}, timeout=30)
    assert answer.status_code == 404


def test_size_limit(new_site: Callable[..., Site]) -> None:
    me = new_site(max_file_bytes=2_000_000).caller()
    directory = me.collection()
    assert me.put(f"{directory}/f", b"x" * 2_000_000).status == 200
    assert me.put(f"{directory}/f", b"x" * 2_000_001).status == 413
    many = (b"x" * 500_000 for _ in range(5))
    assert me.send("PUT", f"{directory}/f", many, _chunked(True), encode_chunked=True).status == 413
    assert me.get(f"{directory}/f").headers["content-length"] == "2000000"
    assert me.site.staged() == []


def test_stalled_upload_is_given_up(new_site: Callable[..., Site]) -> None:
    me = new_site(request_timeout=0.2).caller()
    directory = me.collection()
    with raw_put(me, f"{directory}/f", "Content-Length: 5000000", b"x" * 2_000_000) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")
    wait_for(lambda: me.site.staged() == [])


def test_no_space_for_metadata(new_site: Callable[..., Site]) -> None:
    me = new_site().caller()
    directory = me.collection()

    def shrink(connection: Any) -> None:
        connection.connection.driver_connection.execute("PRAGMA max_page_count=1")  # no more than there are

    sa.event.listen(me.site.database._engine, "begin", shrink)
    names = (f"{number:03}" + "x" * 900 for number in range(1000))
    answer = next(answer for name in names if (answer := me.put(f"{directory}/{name}", b"x")).status != 200)
    assert (answer.status, answer.message) == (503, "no space left on the platform's disk; nothing was changed")
    assert me.site.staged() == []
    many = (me.post(".my", {"name": f"d{number}"}) for number in range(1000))
    refused = next(answer for answer in many if answer.status != 200)
    assert (refused.status, refused.message) == (503, answer.message)
    assert me.get(f"{directory}").status == 200


def test_full_disk(me: Caller, directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*arguments: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", no_space)
    for size in (10, 3_000_000):
        answer = me.put(f"{directory}/f", b"x" * size)
        assert (answer.status, answer.message) == (503, "no space left on the platform's disk; nothing was stored")
    monkeypatch.undo()
    assert me.site.staged() == []
    assert me.get(f"{directory}/f").status == 404


@pytest.mark.parametrize("moment", ["before commit", "before publish"])
def test_crash_leaves_old_or_new(new_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """What a process leaves that dies between the steps of an overwrite; the next one brings it in order."""
    site = new_site()
    me = site.caller()
    directory = me.collection()
    me.put(f"{directory}/f", b"old")

    class Died(BaseException):
        pass

    def die(*arguments: Any) -> None:
        raise Died

    place = data_uploads.Upload if moment == "before commit" else site.blobs
    with monkeypatch.context() as patch:
        patch.setattr(place, "put" if moment == "before commit" else "publish", die)
        identity = site.accounts.find_identity(str(me.key))
        from Algorithmia.server.services.data_paths import parse

        request = data_uploads.UploadRequest(identity, parse(f"{directory}/f".encode()))  # type: ignore[arg-type]
        with pytest.raises(Died):
            site.data.store(request, [b"new"])
    assert len(site.staged()) == 1
    site.stop()
    again = new_site(site.settings.home)
    assert again.staged() == []
    caller = Caller(again, me.account, me.key)
    assert caller.get(f"{directory}/f").body == (b"old" if moment == "before commit" else b"new")
    assert len(again.blob_files()) == 1


methods = st.sampled_from(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"])

segments = st.sampled_from(
    [
        ".my",
        ".algo",
        ".session",
        "temp",
        "c",
        "f",
        "..",
        "%2e%2e",
        "%2F",
        "%00",
        "%FF",
        "data:",
        "s3+x:",
        "",
        "+",
        "%",
        "o",
    ]
)

odd_headers = st.dictionaries(
    st.sampled_from(
        ["Range", "If-Match", "If-None-Match", "If-Range", "If-Modified-Since", "Content-Type", "Accept", "Expect"]
    ),
    st.one_of(
        st.sampled_from(["bytes=0-", "bytes=--", "*", '"', "W/", "100-continue", "text/plain\x80", "9" * 400]),
        st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30),
    ),
    max_size=3,
)

queries = st.sampled_from(["", "?marker=%ff", "?acl=%00&acl", "?force=true&force=no", "?marker=n-4oKs", "?&&==&%"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(methods, st.lists(segments, max_size=6), queries, odd_headers, st.binary(max_size=40))
def test_nothing_that_a_client_sends_is_the_servers_fault(
    me: Caller, method: str, path: list[str], query: str, headers: dict[str, str], body: bytes
) -> None:
    connection = me.connect()
    connection.putrequest(method, f"/v1/data/{'/'.join(path)}{query}", skip_accept_encoding=True)
    for name, value in {"Authorization": str(me.key), **headers}.items():
        connection.putheader(name, value.strip().encode("latin-1"))
    if method not in ("GET", "HEAD"):
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(None if method in ("GET", "HEAD") else body)
    response = connection.getresponse()
    assert response.status < 500, response.read()
    connection.close()
