"""Calling over HTTP on a real platform: URLs, content types, options, limits, errors, web pages, nesting, data."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from answers import Answer, exchange

from Algorithmia.server.engine.worker import TIMED_OUT

MIB = 1024 * 1024
TEXT = {"Content-Type": "text/plain"}
JSON = {"Content-Type": "application/json"}
BINARY = {"Content-Type": "application/octet-stream"}


class Wire:
    """HTTP to the platform, byte by byte."""

    def __init__(self, address: str, key: str) -> None:
        self.host, _, port = address.removeprefix("http://").partition(":")
        self.port, self.key = int(port), key

    def send(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        return exchange(connection, method, path, body, {"Authorization": f"Simple {self.key}", **(headers or {})})

    def call(self, reference: str, body: Any = b"", headers: dict[str, str] | None = None) -> Answer:
        """POST to /v1/algo/`reference`; text, JSON or binary by the type of `body`."""
        if headers is None:
            headers = TEXT if isinstance(body, str) else BINARY if isinstance(body, bytes) else JSON
        sent = body if isinstance(body, (bytes, str)) or hasattr(body, "__next__") else json.dumps(body)
        return self.send("POST", f"/v1/algo/{reference}", sent.encode() if isinstance(sent, str) else sent, headers)


@pytest.fixture
def wire(server: Any) -> Wire:
    return Wire(server.address, server.key)


# -- the documented examples -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reference",
    [
        "demo/Hello",
        "demo/Hello/",
        "demo/Hello/0.1.0",
        "demo/Hello/0.1.0/",
        "demo/Hello/0.1.*",
        "demo/Hello/0.1",
        "demo/Hello/0.x",
        "demo/Hello/latest",
        "algo://demo/Hello/",
        "algo%3A//demo/Hello/",
        "algo%3A%2F%2Fdemo%2FHello",
        "/demo/Hello",
        "demo/Hello?timeout=10&unknown=1&output=default",
        "demo/Hello?timeout=0.9e1&stdout=False&output=",
    ],
)
def test_hello_by_every_form_of_its_name(wire: Wire, reference: str) -> None:
    answer = wire.call(reference, "HAL 9000")
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["result"] == "Hello HAL 9000"
    metadata = answer.json["metadata"]
    assert metadata["content_type"] == "text" and isinstance(metadata["duration"], float)
    assert metadata["request_id"] == answer.headers["x-request-id"]
    assert set(metadata) == {"content_type", "duration", "request_id"}


def test_text_and_a_json_string_are_the_same(wire: Wire) -> None:
    assert wire.call("demo/Hello", '"HAL 9000"', JSON).json["result"] == "Hello HAL 9000"


@pytest.mark.parametrize(
    "header, kind",
    [
        ("text/plain", "text"),
        ("text/plain; charset=UTF-8", "text"),
        ('text/plain;charset="utf-8"', "text"),
        ("Application/Text", "text"),
        ("application/json; charset=utf-8", "json"),
        ("application/octet-stream", "binary"),
        ("application/x-octet-stream", "binary"),
    ],
)
def test_content_types(wire: Wire, header: str, kind: str) -> None:
    answer = wire.call("util/Echo", b'{"a":1}', {"Content-Type": header})
    assert answer.json["metadata"]["content_type"] == kind
    expected = {"text": '{"a":1}', "json": {"a": 1}, "binary": base64.b64encode(b'{"a":1}').decode()}
    assert answer.json["result"] == expected[kind]


@pytest.mark.parametrize(
    "headers, status, words",
    [
        ({}, 400, "missing Content-Type: send application/json"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "curl sends it unless told otherwise"),
        ({"Content-Type": "image/png"}, 415, "unsupported Content-Type 'image/png'"),
        ({"Content-Type": "text/plain; charset=latin-1"}, 415, "send UTF-8"),
        ({"Content-Type": "text/plain", "Content-Encoding": "gzip"}, 415, "Content-Encoding"),
    ],
)
def test_content_types_that_are_refused(wire: Wire, headers: dict[str, str], status: int, words: str) -> None:
    answer = wire.call("util/Echo", b"x", headers)
    assert answer.status == status and words in answer.error["message"]


@pytest.mark.parametrize("body", [b"{", b"", b"NaN", b"\xff"])
def test_invalid_json_is_refused(wire: Wire, body: bytes) -> None:
    answer = wire.call("util/Echo", body, JSON)
    assert answer.status == 400 and answer.error["message"].startswith("the input is")
    assert answer.headers["x-error-message"] == answer.error["message"]


@pytest.mark.parametrize("value", [None, True, 1.5, 2**70, "\u20ac", [], {"a": [None]}])
def test_json_values_come_back(wire: Wire, value: Any) -> None:
    assert wire.call("util/Echo", json.dumps(value), JSON).json["result"] == value


# -- options -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    ["timeout=0", "timeout=-1", "timeout=3001", "timeout=nan", "timeout=inf", "timeout=x"]
    + ["output=odd", "stdout=maybe", "timing=maybe"],
)
def test_options_that_make_no_sense(wire: Wire, query: str) -> None:
    answer = wire.call(f"demo/Hello?{query}", "x")
    assert answer.status == 400 and query in answer.error["message"]


@pytest.mark.parametrize("value", ["true", "True", "1"])
def test_output_of_the_algorithm(wire: Wire, value: str) -> None:
    answer = wire.call(f"util/Print?stdout={value}&timing=1", "one\ntwo")
    assert answer.json["metadata"]["stdout"] == "one\ntwo\none\ntwo"
    assert set(answer.json["metadata"]["timing"]) == {"total", "running"}


def test_raw_output(wire: Wire) -> None:
    text = wire.call("util/Echo?output=raw", "\u20ac")
    assert (text.status, text.body, text.headers["content-type"]) == (
        200,
        "\u20ac".encode(),
        "text/plain; charset=utf-8",
    )
    document = wire.call("util/Echo?output=raw", {"a": 1})
    assert (document.json, document.headers["content-type"]) == ({"a": 1}, "application/json")
    binary = wire.call("util/Echo?output=raw", b"\xff\x00")
    assert (binary.body, binary.headers["content-type"]) == (b"\xff\x00", "application/octet-stream")
    failed = wire.call("util/Fail?output=raw", "no\nway \u20ac")
    assert (failed.status, failed.body) == (400, "no\nway \u20ac".encode())
    assert failed.headers["x-error-message"] == "no way \\u20ac"
    assert wire.call("demo/nope?output=raw", "x").error["message"] == "algorithm algo://demo/nope not found"


def test_void_output(wire: Wire, collection: Any) -> None:
    source = collection.file("f")
    source.put("content")
    uri = f"data://{source.path}"
    target = f"{uri}-copy"
    answer = wire.call("util/CopyData?output=void", {"source": uri, "target": target})
    assert answer.status == 200
    assert answer.json == {"async": "void", "request_id": answer.headers["x-request-id"]}
    deadline = time.monotonic() + 20
    while not collection.file("f-copy").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert wire.call("demo/nope?output=void", "x").status == 404


# -- errors ------------------------------------------------------------------------------------------------------


def test_errors_of_algorithms_are_answers(wire: Wire) -> None:
    answer = wire.call("util/Fail", {"message": "not today", "error_type": "UnsupportedError"})
    assert answer.status == 200
    assert (answer.error["message"], answer.error["error_type"]) == ("not today", "UnsupportedError")
    assert answer.error["stacktrace"].splitlines()[1].startswith('  File "src/Fail.py"')
    assert set(answer.json["metadata"]) == {"duration", "request_id"}
    assert wire.call("util/Fail", "plain").error["error_type"] == "AlgorithmError"


def test_timeout(wire: Wire) -> None:
    answer = wire.call("util/Sleep?timeout=0.5", 600)  # longer than the connection waits for an answer
    assert answer.status == 200
    assert answer.error["message"].startswith(TIMED_OUT)
    assert answer.error["error_type"] == "TimeoutError"
    assert wire.call("util/Sleep", 0).json["result"] == {"slept": 0.0}


@pytest.mark.parametrize("tail", ["demo/nope", "demo/nope/", "nobody/Hello", "demo/Hello/9.9.9", "demo"])
def test_unknown_algorithms(wire: Wire, tail: str) -> None:
    answer = wire.call(tail, "x")
    assert (answer.status, answer.error["message"]) == (404, f"algorithm algo://{tail} not found")


def test_nobody_is_known_by_what_stands_behind_another_ones_key(wire: Wire) -> None:
    for other in ("", "Simple nobody"):
        connection = http.client.HTTPConnection(wire.host, wire.port, timeout=60)
        connection.putrequest("POST", "/v1/algo/demo/Hello?behind=1")
        for header in (f"Simple {wire.key}", other):
            connection.putheader("Authorization", header)
        connection.putheader("Content-Type", "text/plain")
        connection.putheader("Content-Length", "1")
        connection.endheaders(b"x")
        assert connection.getresponse().read()
        connection.close()
        answer = wire.send("POST", "/v1/algo/demo/Hello?behind=1", b"x", {**TEXT, "Authorization": other})
        assert answer.status == 401, answer


@pytest.mark.parametrize("key", ["", "simunknownunknownunknownunkno"])
def test_credentials_are_needed(wire: Wire, key: str) -> None:
    answer = Wire(f"http://{wire.host}:{wire.port}", key).call("demo/Hello", "x")
    assert answer.status == 401
    if not key:
        assert answer.error["message"] == "authorization required"


def test_admin_keys_call_nothing(server: Any) -> None:
    assert Wire(server.address, server.admin_key).call("demo/Hello", "x").status == 403


def test_limited_keys(server: Any, new_account: Any) -> None:
    limited = new_account(allow_algo=True, algo_acl=["algo://demo/Hello"])
    limited_wire = Wire(server.address, limited.key)
    assert limited_wire.call("demo/Hello", "x").status == 200
    answer = limited_wire.call("util/Echo", "x")
    assert (answer.status, answer.error["code"]) == (403, 2001)
    assert answer.error["message"].startswith("Caller is not authorized to perform the operation")
    assert limited_wire.send("GET", "/v1/data/.my").status == 403
    # What such a key calls may use data all the same, and call others.
    limited = new_account(allow_algo=True, algo_acl=["algo://util/Call"])
    answer = Wire(server.address, limited.key).call("util/Call", {"algo": "demo/Hello", "input": "x"})
    assert answer.json["result"] == "Hello x"


def test_only_post(wire: Wire) -> None:
    answer = wire.send("GET", "/v1/algo/demo/Hello")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


# -- limits ------------------------------------------------------------------------------------------------------


def test_the_largest_input_passes_and_one_byte_more_does_not(wire: Wire) -> None:
    assert wire.call("util/Echo?output=raw", bytes(10 * MIB)).body == bytes(10 * MIB)
    for body in (bytes(10 * MIB + 1), bytes(50 * MIB)):
        answer = wire.call("util/Echo", body)
        assert answer.status == 413 and "data://" in answer.error["message"], answer.status


def test_the_limit_holds_for_chunked_bodies(wire: Wire) -> None:
    assert wire.call("util/Echo", iter([b"a", b"bc"]), BINARY).json["result"] == "YWJj"
    answer = wire.call("util/Echo", (bytes(MIB) for _ in range(11)), BINARY)
    assert answer.status == 413 and "Data API" in answer.error["message"]


def test_a_refused_call_does_not_read_the_body(wire: Wire) -> None:
    """Permission comes first: the answer is there before the announced body is."""
    with socket.create_connection((wire.host, wire.port), timeout=20) as connection:
        head = f"POST /v1/algo/demo/nope HTTP/1.1\r\nHost: x\r\nAuthorization: {wire.key}\r\n"
        connection.sendall((head + "Content-Type: text/plain\r\nContent-Length: 1000000\r\n\r\n").encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 404")


def test_concurrency_limit(start_server: Any) -> None:
    platform = start_server("--port", "0", "--max-concurrent-calls", "2")
    wire = Wire(platform.address, platform.key)
    assert wire.call("util/Sleep", 0).status == 200
    threads = [threading.Thread(target=wire.call, args=("util/Sleep", 2)) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    answer = wire.call("demo/Hello", "x")
    assert answer.status == 429 and int(answer.headers["retry-after"]) > 0
    assert "the limit is 2" in answer.error["message"]
    for thread in threads:
        thread.join()
    assert wire.call("demo/Hello", "x").status == 200


def test_results_over_the_limit(start_server: Any) -> None:
    platform = start_server("--port", "0", "--max-result-bytes", "1000")
    answer = Wire(platform.address, platform.key).call("util/Echo", "x" * 1000)
    assert answer.status == 200 and answer.error["error_type"] == "TooLargeError"
    assert "1002 bytes and the limit is 1000" in answer.error["message"]


def test_a_client_that_leaves_ends_the_work(start_server: Any) -> None:
    platform = start_server("--port", "0", "--max-workers", "1")
    wire = Wire(platform.address, platform.key)
    assert wire.call("util/Sleep", 0).status == 200
    with socket.create_connection((wire.host, wire.port)) as connection:
        head = f"POST /v1/algo/util/Sleep HTTP/1.1\r\nHost: x\r\nAuthorization: {wire.key}\r\n"
        connection.sendall((head + "Content-Type: text/plain\r\nContent-Length: 3\r\n\r\n600").encode())
        time.sleep(0.5)
    # The only worker had 600 seconds to go: a call that waits for less than that ends only because that work did.
    assert wire.call("util/Sleep?timeout=20", 0).json["result"] == {"slept": 0.0}


# -- web pages ---------------------------------------------------------------------------------------------------


def test_pages_may_call(wire: Wire) -> None:
    preflight = wire.send("OPTIONS", "/v1/web/algo/demo/Hello")
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    answer = wire.send("POST", "/v1/web/algo/demo/Hello", b"HAL 9000", {**TEXT, "Origin": "https://example.com"})
    assert answer.json["result"] == "Hello HAL 9000"
    assert answer.headers["access-control-allow-origin"] == "*"
    missing = wire.send("POST", "/v1/web/algo/demo/nope", b"x", TEXT)
    assert (missing.status, missing.headers["access-control-allow-origin"]) == (404, "*")


def test_keys_for_pages(server: Any, new_account: Any) -> None:
    web = new_account(allow_web_algo=True, algo_acl=["algo://*"], referer_host="example.com")
    wire = Wire(server.address, web.key)
    assert wire.call("demo/Hello", "x").status == 403
    for headers, status in (
        ({"Origin": "https://example.com:8443"}, 200),
        ({"Referer": "https://example.com/page"}, 200),
        ({"Origin": "https://example.com.evil.example"}, 403),
        ({}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[bad"}, 403),
    ):
        answer = wire.send("POST", "/v1/web/algo/demo/Hello", b"x", {**TEXT, **headers})
        assert answer.status == status, headers


# -- algorithms that call and use data ---------------------------------------------------------------------------


def nested(depth: int) -> Any:
    request: Any = {"algo": "demo/Hello", "input": "you"}
    for _ in range(depth):
        request = {"algo": "util/Call", "input": request}
    return request


def test_algorithms_call_algorithms(wire: Wire) -> None:
    assert wire.call("util/Call", nested(3)).json["result"] == "Hello you"


def test_nesting_deeper_than_the_workers_does_not_stand_still(start_server: Any) -> None:
    platform = start_server("--port", "0", "--max-workers", "1", "--max-child-calls", "5")
    wire = Wire(platform.address, platform.key)
    results: list[Answer] = []
    threads = [threading.Thread(target=lambda: results.append(wire.call("util/Call", nested(4)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.json["result"] for answer in results] == ["Hello you"] * 3
    too_many = wire.call("util/Call", nested(5))
    assert "may make 5 calls" in too_many.error["message"]


def test_errors_of_children_surface(wire: Wire) -> None:
    failure = {"algo": "util/Fail", "input": {"message": "not today", "error_type": "UnsupportedError"}}
    answer = wire.call("util/Call", failure)
    assert (answer.error["message"], answer.error["error_type"]) == ("not today", "UnsupportedError")
    assert "demo/nope" in wire.call("util/Call", {"algo": "demo/nope"}).error["message"]


def test_data_from_inside(server: Any, wire: Wire, collection: Any, new_account: Any) -> None:
    source = collection.file("f")
    source.put(b"\x00content")
    uri = f"data://{source.path}"
    answer = wire.call("util/CopyData", {"source": uri, "target": "data://.algo/temp/x"})
    assert answer.json["result"]["bytes"] == 8, answer
    assert server.client().file("data://.algo/util/CopyData/temp/x").getBytes() == b"\x00content"
    # Others neither see it, nor does the algorithm let them read what the caller may.
    other = new_account()
    assert not other.client.file("data://.algo/util/CopyData/temp/x").exists()
    stolen = uri.replace(".my", server.user)
    denied = Wire(server.address, other.key).call("util/CopyData", {"source": stolen, "target": "data://.algo/temp/x"})
    assert "error" in denied.json


def test_session_files_end_with_the_call(wire: Wire, collection: Any) -> None:
    source = collection.file("f")
    source.put("content")
    uri = f"data://{source.path}"
    keep = {"source": uri, "target": "data://.session/x"}
    assert wire.call("util/CopyData", keep).json["result"]["bytes"] == 7
    again = wire.call("util/CopyData", {"source": "data://.session/x", "target": "data://.algo/temp/y"})
    assert "error" in again.json
    outside = wire.send("GET", "/v1/data/.session/x")
    assert outside.status == 400


def test_a_killed_server_leaves_no_workers(start_server: Any) -> None:
    platform = start_server()
    wire = Wire(platform.address, platform.key)
    assert wire.call("demo/Hello", "x").status == 200
    workers = list(workers_of(platform.process.pid))
    assert workers
    platform.kill()
    deadline = time.monotonic() + 5
    while any(os.path.exists(f"/proc/{pid}") for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers_of(parent: int) -> Iterator[int]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    if int(stat.read().rpartition(")")[2].split()[1]) == parent:
                        yield int(entry)
            except OSError:
                continue
