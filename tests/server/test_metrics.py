"""What the platform tells of its work: /metrics, and the log's lines about calls."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from hosted_site import Caller, Site

from Algorithmia.cli.platform_status import read
from Algorithmia.server.engine import memory
from Algorithmia.server.engine.base import Build, CallFailure, Runtime
from Algorithmia.server.exposition import Exposition
from Algorithmia.server.services.call_meter import BOUNDS, CallMeter

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABELS = r'\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)+\}'
SAMPLE = re.compile(rf"({NAME})({LABELS})? ([-+]?[0-9.e+-]+|\+Inf|NaN)")
SECRET = "attack at dawn"


class Scraper:
    """Asks as a scraper does."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.host, _, port = server.address.removeprefix("http://").partition(":")
        self.port = int(port)

    def ask(self, authorization: str = "", method: str = "GET") -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, "/metrics", headers={"Authorization": authorization} if authorization else {})
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return response.status, headers, response.read().decode()
        finally:
            connection.close()

    def text(self) -> str:
        status, _, text = self.ask(f"Bearer {self.server.admin_key}")
        assert status == 200
        return text

    def call(self, path: str, body: bytes, kind: str = "text/plain") -> tuple[int, str]:
        """Status and request id of a call."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            headers = {"Authorization": f"Simple {self.server.key}", "Content-Type": kind}
            connection.request("POST", f"/v1/algo/{path}", body, headers)
            response = connection.getresponse()
            response.read()
            return response.status, response.getheader("X-Request-Id") or ""
        finally:
            connection.close()

    def line(self, request_id: str, message: str = "request") -> dict[str, Any]:
        """The log's line about a request; it's written a moment later."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for line in self.server.log().splitlines():
                if request_id in line and f'"message":"{message}"' in line:
                    found: dict[str, Any] = json.loads(line)
                    return found
            time.sleep(0.05)
        raise AssertionError(f"no line {message} for {request_id} in {self.server.log()}")


def value(text: str, name: str, **labels: str) -> float:
    return float(read(text)[name][tuple(labels.items())])


def wait_for(text: Callable[[], str], name: str, wanted: float, **labels: str) -> None:
    deadline = time.monotonic() + 30
    while value(text(), name, **labels) != wanted:
        assert time.monotonic() < deadline, text()
        time.sleep(0.05)


def outcomes(text: str) -> dict[str, float]:
    names = ("succeeded", "failed", "invalid", "refused", "cancelled")
    return {name: value(text, "algorithmia_calls_total", outcome=name) for name in names}


def well_formed(text: str) -> dict[str, str]:
    """Checks `text` by the rules of the format; the kinds of its families."""
    assert text.endswith("\n")
    kinds: dict[str, str] = {}
    seen = set()
    family = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
            assert family not in kinds  # a family's lines are together
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name == family
            kinds[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            sample = match[1] + (match[2] or "")
            assert sample not in seen, line
            seen.add(sample)
            base = re.sub("_(bucket|sum|count)$", "", match[1]) if kinds[family] == "histogram" else match[1]
            assert base == family, line
            assert kinds[family] != "counter" or match[1].endswith("_total")
    return kinds


def test_who_may_read(server: Any, new_account: Any) -> None:
    scraper = Scraper(server)
    for authorization, status in (
        ("", 401),
        ("Bearer nonsense", 401),
        (f"Bearer {server.key}", 403),
        (f"Bearer {new_account().key}", 403),
        (f"Bearer {server.admin_key}", 200),
        (f"Simple {server.admin_key}", 200),
    ):
        found, headers, text = scraper.ask(authorization)
        assert found == status, authorization
        assert ("algorithmia_calls_total" in text) == (status == 200)
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    status, _, text = scraper.ask(f"Bearer {server.admin_key}", "HEAD")
    assert (status, text) == (200, "")


def test_no_algorithm_reads_it(site: Site, me: Caller) -> None:
    answer = site.running(me).get("/metrics")
    assert answer.status == 403 and "PlatformAdminKey" in answer.message


def test_counts(start_server: Any) -> None:
    server = start_server("--port", "0", "--max-concurrent-calls", "1")
    scraper = Scraper(server)
    text = scraper.text()
    kinds = well_formed(text)
    assert kinds["algorithmia_calls_total"] == "counter" and kinds["algorithmia_workers"] == "gauge"
    assert kinds["algorithmia_call_run_seconds"] == "histogram"
    assert set(outcomes(text).values()) == {0}
    assert "algorithmia_algorithm_calls_total" not in text and "demo" not in text

    assert [scraper.call("demo/Hello", b"x")[0] for _ in range(3)] == [200] * 3
    scraper.call("util/Fail", b"no")
    scraper.call("util/Fail", b'{"message": "no", "error_type": "InputError"}', "application/json")
    scraper.call("util/Fail", b'{"message": "no", "error_type": "Mine"}', "application/json")
    assert scraper.call("util/Sleep", b"0", "application/json")[0] == 200  # has loaded
    scraper.call("util/Sleep?timeout=1", b"60", "application/json")
    assert scraper.call("demo/Hello", b"{", "application/json")[0] == 400
    assert scraper.call("demo/nope", b"x")[0] == 404  # no call

    text = scraper.text()
    well_formed(text)
    assert outcomes(text) == {"succeeded": 4, "failed": 4, "invalid": 1, "refused": 0, "cancelled": 0}
    for kind in ("AlgorithmError", "InputError", "TimeoutError", "other"):
        assert value(text, "algorithmia_call_errors_total", error_type=kind) == 1
    assert "Mine" not in text
    assert value(text, "algorithmia_call_queue_seconds_count") == 8
    assert value(text, "algorithmia_call_run_seconds_count") == 8
    assert value(text, "algorithmia_call_run_seconds_sum") >= 0.9  # what the timeout ended had run, too
    buckets = [int(line.split()[1]) for line in text.splitlines() if line.startswith("algorithmia_call_run_seconds_b")]
    assert buckets == sorted(buckets) and buckets[-1] == 8 and len(buckets) == len(BOUNDS) + 1
    assert value(text, "algorithmia_requests_total", status="4xx") == 2
    assert value(text, "algorithmia_requests_total", status="2xx") == 9
    assert value(text, "algorithmia_workers", state="idle") >= 1
    assert value(text, "algorithmia_builds", status="succeeded") >= 5
    assert value(text, "algorithmia_builds_waiting") == 0
    assert abs(value(text, "process_start_time_seconds") - time.time()) < 3600
    if os.path.exists("/proc/self/statm"):
        assert value(text, "algorithmia_workers_resident_memory_bytes") > 1_000_000
        assert value(text, "process_resident_memory_bytes") > 1_000_000

    refused_and_cancelled(scraper)


def refused_and_cancelled(scraper: Scraper) -> None:
    with socket.create_connection((scraper.host, scraper.port)) as caller:
        head = "POST /v1/algo/util/Sleep HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        caller.sendall(f"{head}Authorization: {scraper.server.key}\r\nContent-Length: 2\r\n\r\n60".encode())
        wait_for(scraper.text, "algorithmia_workers", 1, state="busy")
        status, request_id = scraper.call("demo/Hello", b"x")
        assert status == 429
        assert scraper.line(request_id)["outcome"] == "refused"
    wait_for(scraper.text, "algorithmia_calls_total", 1, outcome="cancelled")
    assert outcomes(scraper.text())["refused"] == 1
    wait_for(scraper.text, "algorithmia_workers", 0, state="busy")


def test_algorithms_by_name_only_as_far_as_allowed(start_server: Any) -> None:
    server = start_server("--port", "0", "--metrics-algorithms", "1")
    scraper = Scraper(server)
    for _ in range(2):
        scraper.call("demo/Hello", b"x")
        scraper.call("util/Echo", b"x")
        scraper.call("util/Fail", b"x")
    text = scraper.text()
    well_formed(text)
    name = "algorithmia_algorithm_calls_total"
    assert value(text, name, algorithm="demo/Hello", outcome="succeeded") == 2
    assert value(text, name, algorithm="other", outcome="succeeded") == 2
    assert value(text, name, algorithm="other", outcome="failed") == 2
    assert "util/Echo" not in text


def test_lines_of_the_log(server: Any) -> None:
    scraper = Scraper(server)
    for _ in range(2):  # the second goes the short way
        _, request_id = scraper.call("demo/Hello", SECRET.encode())
        line = scraper.line(request_id)
        assert (line["algorithm"], line["outcome"], line["status"]) == ("demo/Hello/0.1.0", "succeeded", 200)
        assert 0 <= line["duration"] <= line["seconds"] and 0 <= line["queued"] <= line["seconds"]
        assert line["account"] == server.user and "error_type" not in line
    document = json.dumps({"message": SECRET, "error_type": "InputError"}).encode()
    _, request_id = scraper.call("util/Fail", document, "application/json")
    line = scraper.line(request_id)
    assert (line["algorithm"], line["outcome"], line["error_type"]) == ("util/Fail/0.1.0", "failed", "InputError")
    # An algorithm's own type might be anything, its input included.
    document = json.dumps({"message": "no", "error_type": SECRET}).encode()
    _, request_id = scraper.call("util/Fail", document, "application/json")
    assert scraper.line(request_id)["error_type"] == "other"
    _, request_id = scraper.call("demo/Hello", b"{" + SECRET.encode(), "application/json")
    line = scraper.line(request_id)
    assert (line["outcome"], line["status"]) == ("invalid", 400)
    connection = http.client.HTTPConnection(scraper.host, scraper.port, timeout=60)
    connection.request("GET", "/health")
    request_id = connection.getresponse().getheader("X-Request-Id") or ""
    connection.close()
    assert "algorithm" not in scraper.line(request_id)
    assert SECRET not in server.log()


def test_calls_that_nobody_waits_for(server: Any) -> None:
    scraper = Scraper(server)
    status, request_id = scraper.call("util/Fail?output=void", SECRET.encode())
    assert status == 200
    line = scraper.line(request_id)
    assert (line["outcome"], line["algorithm"]) == ("accepted", "util/Fail/0.1.0")
    line = scraper.line(request_id, "unattended call")
    assert (line["outcome"], line["error_type"]) == ("failed", "AlgorithmError")
    assert line["algorithm"] == "util/Fail/0.1.0" and line["duration"] >= 0
    assert SECRET not in server.log()


def test_labels_are_escaped() -> None:
    shown = Exposition()
    shown.gauge("g", "Help.", [({"name": 'a"b\\c\nd'}, 1.5)])
    assert shown.text() == '# HELP g Help.\n# TYPE g gauge\ng{name="a\\"b\\\\c\\nd"} 1.5\n'
    well_formed(shown.text())


def test_times_at_the_bounds(tmp_path: Any) -> None:
    meter = CallMeter()
    build = Build("id", "owner", "Name", tmp_path, Runtime(("true",)))
    for seconds in (0.0, BOUNDS[0], BOUNDS[-1], BOUNDS[-1] + 1):
        meter.ended_well(build, seconds, seconds, {})
    assert meter.running.counts[0] == 2 and meter.running.counts[-2:] == [1, 1]
    assert meter.queued.counts[0] == 4
    notes: dict[str, Any] = {}
    meter.ended_badly(build, RuntimeError("ours"), 1.0, notes)
    assert meter.errors["SystemError"] == 1 and notes == {"outcome": "failed", "error_type": "SystemError"}
    # It never ran: only its waiting is counted.
    meter.ended_badly(build, CallFailure("late", "TimeoutError"), 2.0, notes)
    assert sum(meter.queued.counts) == 5 and sum(meter.running.counts) == 4


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="there is no /proc here")
def test_memory_of_processes() -> None:
    own = memory.of_trees([os.getpid()])
    assert own.resident > 1_000_000 and (own.proportional is None or 0 < own.proportional)
    assert memory.of_trees([os.getpid(), os.getpid()]).resident < 2 * own.resident
    assert memory.of_trees([]) == memory.Memory(0, 0) == memory.of_trees([2**22 + 1])
