"""Large downloads from platforms, or through proxies, that give parts of files in odd ways, or not always."""
import base64
import hashlib
import io
import re
import threading

import pytest
from wire import WireServer, answer

import Algorithmia
from Algorithmia import downloads, errors, ranges, transfer
from Algorithmia.incoming import ReplacedError

CONTENT = b"".join(b"%08d" % number for number in range(250000))
URI = "data://.my/c/f"


@pytest.fixture(autouse=True)
def soon_large(monkeypatch):
    monkeypatch.setattr(downloads, "LARGE", 1024 * 1024)
    monkeypatch.setattr(ranges, "STRETCH", 256 * 1024)


@pytest.fixture
def target(tmpdir):
    return tmpdir.mkdir("d").join("f")


def whole(size=len(CONTENT), told_size=True):
    """The answer to a request for all of it, of which only `size` bytes come."""
    digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode("ascii")
    head = ["HTTP/1.1 200 OK", 'ETag: "abc"', "Accept-Ranges: bytes", "Repr-Digest: sha-256=:%s:" % digest]
    if told_size:
        head.append("Content-Length: %d" % len(CONTENT))
        return "\r\n".join(head).encode("ascii") + b"\r\n\r\n" + CONTENT[:size]
    head.append("Transfer-Encoding: chunked")
    return "\r\n".join(head).encode("ascii") + b"\r\n\r\n%x\r\n" % len(CONTENT) + CONTENT[:size]


def asked(request):
    """Start and stop that the request's Range names."""
    start, last = re.match(r"bytes=(\d+)-(\d*)$", request.headers["range"]).groups()
    return int(start), int(last) + 1 if last else len(CONTENT)


def part(request):
    start, stop = asked(request)
    told = "Content-Range: bytes %d-%d/%d" % (start, stop - 1, len(CONTENT))
    return answer(body=CONTENT[start:stop], status="206 Partial Content", headers=[told, 'ETag: "abc"'])


def chunked_part(request, size):
    """As `part`, chunked, and ended in good order after `size` bytes."""
    start, stop = asked(request)
    data = CONTENT[start : min(stop, start + size)]
    head = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %d-%d/%d\r\nTransfer-Encoding: chunked\r\n\r\n" % (
        start, stop - 1, len(CONTENT)
    )
    return head.encode("ascii") + b"%x\r\n" % len(data) + data + b"\r\n0\r\n\r\n"


def send(data, is_last=False):
    """A reply of `data`; `is_last`: the connection breaks behind it."""

    def reply(connection, request):
        connection.sendall(data(request) if callable(data) else data)
        if is_last:
            connection.shutdown(2)

    return reply


def client_of(wire):
    return Algorithmia.Client("simKEY", wire.address, retries=0)


@pytest.mark.parametrize("connections", [1, 3])
def test_a_chunked_part_that_ends_early_is_a_broken_connection(target, connections):
    first = send(whole(600000), is_last=True)
    with WireServer(first, send(lambda request: chunked_part(request, 100000))) as wire:
        transfer.download(client_of(wire), URI, str(target), connections=connections)
    assert target.read_binary() == CONTENT


@pytest.mark.parametrize("connections", [1, 3])
def test_chunked_parts_that_bring_nothing_end_it(target, connections):
    def nothing(request):
        return b"HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"

    with WireServer(send(whole(600000), is_last=True), send(nothing)) as wire:
        with pytest.raises(errors.UnreachableError, match="missing"):
            transfer.download(client_of(wire), URI, str(target), connections=connections)
    assert not target.check() and len(target.dirpath().listdir()) == 1


def test_the_end_is_taken_from_the_range_where_nothing_else_tells_it():
    first = send(whole(600000, told_size=False), is_last=True)
    copy = io.BytesIO()
    with WireServer(first, send(lambda request: chunked_part(request, 700000))) as wire:
        transfer.download_to(client_of(wire), URI, copy)
        assert copy.getvalue() == CONTENT and len(wire.requests) >= 3


@pytest.mark.parametrize("status, words, kind", [
    ("412 Precondition Failed", "was replaced", ReplacedError),
    ("416 Range Not Satisfiable", "was replaced", ReplacedError),
    ("200 OK", "doesn't give the rest alone", errors.DataApiError),
])
def test_what_can_not_be_continued_is_no_failure_of_the_network(target, status, words, kind):
    with WireServer(send(whole(600000), is_last=True), answer(body=b"x", status=status)) as wire:
        with pytest.raises(kind, match=words) as caught:
            transfer.download(client_of(wire), URI, str(target), connections=1)
    assert not isinstance(caught.value, errors.UnreachableError)
    assert target.dirpath().listdir() == []


@pytest.mark.parametrize("status", ["503 Service Unavailable", "429 Too Many Requests"])
def test_connections_that_are_refused_leave_the_work_to_the_others(target, status):
    refused, both = [], threading.Event()

    def serve(connection, request):
        if "range" not in request.headers:
            connection.sendall(whole(300000))
            assert both.wait(60)  # the others have tried while this one was busy
            connection.sendall(CONTENT[300000:])
        elif len(refused) < 2:
            refused.append(request)
            connection.sendall(answer(body=b"", status=status))
            if len(refused) == 2:
                both.set()
        else:
            connection.sendall(part(request))

    moved = []
    with WireServer(serve) as wire:
        transfer.download(client_of(wire), URI, str(target), moved.append, connections=3)
    assert target.read_binary() == CONTENT and sum(moved) == len(CONTENT)
    assert len(refused) == 2 and len(target.dirpath().listdir()) == 1


@pytest.mark.parametrize("connections", [1, 3])
def test_what_has_come_is_kept_when_all_are_refused(target, connections):
    first, busy = send(whole(600000), is_last=True), answer(body=b"", status="503 Service Unavailable")
    with WireServer(first, busy) as wire:
        with pytest.raises(errors.ApiInternalError):
            transfer.download(client_of(wire), URI, str(target), connections=connections)
    kept = target.dirpath().listdir()
    assert len(kept) == 1 and kept[0].size() and CONTENT.startswith(kept[0].read_binary())
    moved = []
    held = kept[0].size()
    with WireServer(send(whole(0), is_last=True), send(part)) as wire:
        transfer.download(client_of(wire), URI, str(target), moved.append, connections=1)
    assert moved[0] == held and sum(moved) == len(CONTENT)
    assert target.read_binary() == CONTENT and len(target.dirpath().listdir()) == 1
