"""Calls that gateways make by themselves with workers they are lent: to callers, each is a call like any other."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from answers import Answer
from git_hosted import wait_until
from lending_world import BINARY, JSON, TEXT, Line, World, busy, do
from managed import ECHO, Manager
from platforms import Server
from test_gateways import connect
from test_metrics import Scraper, outcomes

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="needs Linux")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A platform with two gateways."""
    found = Server(tmp_path_factory.mktemp("platform"), "--port", "0", "--gateways", "2", "--max-call-depth", "2")
    yield found
    found.stop()


@pytest.fixture(scope="module")
def world(server: Server) -> World:
    return World(server)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The same without gateways."""
    found = Server(tmp_path_factory.mktemp("plain"), "--port", "0")
    try:
        yield World(found)
    finally:
        found.stop()


# -- answers ------------------------------------------------------------------------------------------------------


def test_everybody_gets_their_own_answers_from_both_gateways(world: World) -> None:
    with ExitStack() as stack:
        several = [stack.enter_context(busy(world, 6, 2)) for _ in range(4)]
        for callers in several:
            callers.go_on(20)
    ids = [request_id for callers in several for request_id in callers.ids]
    assert len(set(ids)) == len(ids)
    wait_until(lambda: world.lent() == 0)  # nobody calls any more


def test_accounts_have_workers_of_their_own(world: World) -> None:
    other = Manager(world.server)
    with busy(world), busy(world, wanted=2, key=other.key):
        seen = []
        for key in (world.key, other.key):
            lines = [world.line(key) for _ in range(6)]
            seen.append({line.result(do("who")) for line in lines for _ in range(5)})
        assert not seen[0] & seen[1]


CASES: list[tuple[str, str, Any]] = [
    ("", JSON, {"a": [1, None, "ä€😀"], "b": {"c": 1.5e300}}),
    ("", JSON, "text"),
    ("", JSON, b"null"),
    ("", JSON, b' "\\ud800" '),
    ("", TEXT, "grüße\0".encode()),
    ("", TEXT, b""),
    ("", BINARY, b"\0\xff" * 50),
    ("", JSON, do("raw", 10)),
    ("?output=raw", JSON, {"a": 1}),
    ("?output=raw", TEXT, b"text"),
    ("?output=raw", BINARY, b"\0\xff"),
    ("?output=raw", JSON, do("fail", "no")),
    ("?timing=true", JSON, 1),
    ("?timing=true&timeout=20", JSON, do("fail", "no")),
    ("?timing=true", JSON, do("sleep", 0.1)),
    ("?stdout=true", JSON, do("say", "loud")),
    ("?output=void", JSON, 1),
    ("", JSON, do("say", "not heard")),
    ("", JSON, do("fail", "bo€om")),
    ("", JSON, do("odd")),
    ("", JSON, do("leave", 3)),
    ("", JSON, do("kill", 9)),
    ("", JSON, do("large", 1024 * 1024)),
    ("", JSON, do("sleep", 0.1)),
    ("", JSON, "x" * 60_000),
    ("", JSON, b"{"),
    ("", JSON, b"\xff"),
    ("", TEXT, b"\xff"),
    ("?output=loud", JSON, 1),
    ("?timeout=-1", JSON, 1),
    ("", "image/png", b"x"),
]


def test_answers_are_those_of_a_platform_without_gateways(world: World, plain: World) -> None:
    with busy(world) as callers:
        for query, kind, value in CASES:
            expected = _without_chance(plain.line().call(value, query, kind))
            line = world.line()
            for _ in range(4):  # so that the gateway knows this call
                line.call(b"1", query, kind)
            wait_until(lambda: world.lent() >= 1)
            for _ in range(2):
                assert _without_chance(line.call(value, query, kind)) == expected, (query, kind, value)
            line.close()
            callers.go_on(1)


def _without_chance(answer: Answer) -> Any:
    """What is the same each time, in its order; numbers and names that aren't are looked at here."""
    headers = {name: text for name, text in answer.headers.items() if name not in ("date", "x-request-id")}
    headers.pop("content-length")  # as many digits as the seconds have
    request_id = answer.headers["x-request-id"]
    try:
        document = answer.json
        members = list(document.items())
    except (ValueError, AttributeError):  # raw output
        return answer.status, headers, answer.body
    if "metadata" in document:
        metadata = document["metadata"]
        assert metadata["request_id"] == request_id
        assert isinstance(metadata["duration"], float) and metadata["duration"] >= 0
        if "timing" in metadata:
            assert metadata["timing"]["running"] == metadata["duration"] <= metadata["timing"]["total"]
            metadata["timing"] = list(metadata["timing"])
        metadata["duration"] = metadata["request_id"] = ""
        document["metadata"] = list(metadata.items())
    elif "error" in document:
        assert request_id == "req-" + document["error"].pop("id")
    elif "async" in document:
        assert request_id == document.pop("request_id")
    return answer.status, headers, json.dumps(document), [name for name, _ in members]


def test_what_failed_is_in_the_list_of_errors_once(world: World) -> None:
    with busy(world) as callers:
        line = world.line()
        line.prime()
        failed = [line.call(do("fail", f"failure {number}")) for number in range(3)]
        assert line.result("x") == "x"
        callers.go_on()
    for number, answer in enumerate(failed):
        assert list(answer.ok) == ["error", "metadata"]
        assert answer.error["message"] == f"failure {number}" and answer.error["error_type"] == "AlgorithmError"
        assert answer.error["stacktrace"].endswith(f"ValueError: failure {number}\n")
    ids = [answer.headers["x-request-id"] for answer in failed]

    def listed() -> Counter[str]:
        found = json.dumps(world.owner.send("GET", world.owner.path(world.name) + "/errors").ok)
        return Counter({request_id: found.count(request_id.removeprefix("req-")) for request_id in ids})

    wait_until(lambda: listed() == Counter(ids))


def test_strangers_see_no_source(world: World) -> None:
    stranger = Manager(world.server)
    with busy(world, key=stranger.key):
        line = world.line(stranger.key)
        line.prime()
        document = line.call(do("fail", "no")).ok
        assert document["error"] == {"message": "no", "error_type": "AlgorithmError"}
        document = line.call(do("say", "secret"), "?stdout=true").ok
        assert document["result"] == "secret" and "stdout" not in document["metadata"]


def test_nobody_gets_what_others_have_printed(world: World) -> None:
    with busy(world):
        line = world.line()
        line.prime()
        for number in range(20):
            assert line.result(do("say", f"silent {number}")) == f"silent {number}"
            assert line.call(do("say", f"loud {number}"), "?stdout=true").ok["metadata"]["stdout"] == f"loud {number}"


def test_a_long_call_holds_up_nobody(world: World) -> None:
    with busy(world, wanted=2) as callers:
        for seconds in (600, 1):
            lines = [world.line() for _ in range(4)]
            for line in lines:
                line.prime()
                wait_until(lambda: world.lent() == 2)
                line.send(do("sleep", seconds))
                callers.go_on(20)
            for line in lines:
                assert seconds == 600 or line.receive().ok["result"] == "slept"
                line.close()
        callers.go_on()


def test_requests_that_follow_each_other_on_a_connection_are_answered_in_order(world: World) -> None:
    inputs = ["one", do("sleep", 0.1), "two", do("fail", "no"), "x" * 60_000, "three", do("large", 10**6), b"{", "four"]
    expected = ["one", "slept", "two", "no", "x" * 60_000, "three", "x" * 10**6, None, "four"]
    bodies = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in inputs]
    calls = b"".join(_request(world, body) for body in bodies)
    with busy(world) as callers, connect(world.server) as connection:
        for _ in range(3):
            connection.sendall(calls)
            with connection.makefile("rb") as stream:
                for value in expected:
                    status, document = _answer(stream)
                    assert status == (400 if value is None else 200)
                    assert value in (document.get("result"), document.get("error", {}).get("message"), None)
        callers.go_on()


def test_who_reads_late_gets_every_answer(world: World) -> None:
    count, text = 200, "x" * 40_000
    with busy(world) as callers, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        host, _, port = world.server.address.rpartition("/")[2].partition(":")
        connection.connect((host, int(port)))
        calls = b"".join(_request(world, json.dumps([number, text]).encode()) for number in range(count))
        sending = threading.Thread(target=connection.sendall, args=[calls])
        sending.start()
        callers.go_on(50)
        with connection.makefile("rb") as stream:
            for number in range(count):
                assert _answer(stream)[1]["result"] == [number, text]
        sending.join()


def _request(world: World, body: bytes) -> bytes:
    key = f"Authorization: Simple {world.key}"
    head = [f"POST /v1/algo/{world.reference} HTTP/1.1", "Host: x", key, f"Content-Type: {JSON}"]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


def _answer(stream: Any) -> tuple[int, Any]:
    """Status and document of the next one."""
    status = int(stream.readline().split()[1])
    lines = dict(line.rstrip().lower().split(b": ", 1) for line in iter(stream.readline, b"\r\n"))
    return status, json.loads(stream.read(int(lines[b"content-length"])))


# -- counting -----------------------------------------------------------------------------------------------------


def test_each_call_is_counted_and_logged_once(world: World) -> None:
    wait_until(lambda: world.lent() == 0)
    scraper = Scraper(world.server)
    begin, before, requests = len(world.server.log()), outcomes(scraper.text()), _requests(world)
    asked, ids = 1, []  # for /metrics, /health or others
    lines = [world.line() for _ in range(12)]

    def is_lent() -> bool:
        nonlocal asked
        for number in range(10):
            for line in lines:
                line.send(number)
            ids.extend(_right(line.receive(), number) for line in lines)
        asked += 1
        return world.lent() == 2

    wait_until(is_lent)
    failed = [line.call(do("fail", "no")).headers["x-request-id"] for line in lines[:3]]
    invalid = [line.call(b"{").headers["x-request-id"] for line in lines[:2]]
    slow = [_right(line.call(do("sleep", 0.2)), "slept") for line in lines[:2]]
    ids += failed + invalid + slow

    def counted() -> bool:
        nonlocal asked
        asked += 1
        now = outcomes(scraper.text())
        return {name: now[name] - before[name] for name in now} == {
            "succeeded": len(ids) - 5, "failed": 3, "invalid": 2, "refused": 0, "cancelled": 0,
        }  # fmt: skip

    wait_until(counted)
    wait_until(lambda: not Counter(ids) - _logged(world, begin))
    assert _logged(world, begin) == Counter(ids)
    assert _requests(world) - requests == len(ids) + asked
    lines_of = {line["request_id"]: line for line in _lines(world, begin)}
    for request_id in ids:
        line_ = lines_of[request_id]
        outcome = "failed" if request_id in failed else "invalid" if request_id in invalid else "succeeded"
        assert line_["outcome"] == outcome and line_["status"] == (400 if request_id in invalid else 200)
        assert (line_["method"], line_["account"]) == ("POST", world.owner.name)
        assert line_["algorithm"].startswith(world.reference + "/")
        if outcome == "succeeded":
            assert 0 <= line_["duration"] <= line_["seconds"] + 1e-6
            assert (line_["duration"] >= 0.19) == (request_id in slow) or request_id not in slow


def _right(answer: Answer, value: Any) -> str:
    assert answer.ok["result"] == value
    return answer.headers["x-request-id"]


def _requests(world: World) -> int:
    """How many there have been before this one, which counts as soon as it is answered."""
    found: int = json.loads(world.server.client().request("GET", "/health").data)["requests"]["total"]
    return found


def _lines(world: World, begin: int) -> list[dict[str, Any]]:
    """The log's lines about calls of the algorithm, from character `begin` on."""
    text = world.server.log()[begin:]
    found = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines() if '"message":"request"' in line]
    return [line for line in found if line["path"] == f"/v1/algo/{world.reference}"]


def _logged(world: World, begin: int) -> Counter[str]:
    return Counter(line["request_id"] for line in _lines(world, begin))


def test_workers_are_replaced_after_so_many_calls(start_server: Callable[..., Server]) -> None:
    most = 50
    world = World(start_server("--port", "0", "--gateways", "1", "--worker-max-calls", str(most)))
    lines = [world.line() for _ in range(8)]
    calls: Counter[str] = Counter()
    seen_lent = 0
    for _ in range(4000):
        for line in lines:
            line.send(do("who"))
        calls.update(line.receive().ok["result"] for line in lines)
        seen_lent += world.lent()
        if seen_lent >= 3 and len(calls) >= 5:
            break
    assert seen_lent >= 3 and len(calls) >= 5
    assert max(calls.values()) <= most


# -- what algorithms do at the platform ---------------------------------------------------------------------------


def test_an_algorithm_that_asks_the_platform_acts_for_the_very_call(world: World) -> None:
    me = Manager(world.server)
    wait_until(lambda: world.lent() == 0)
    with busy(world, 4, key=me.key) as callers:
        lines = [world.line(me.key) for _ in range(4)]
        rounds = 0

        def is_never_lent() -> bool:
            for _ in range(20):
                callers.go_on(10)
                if world.lent():
                    return False
            return True

        def has_asked() -> bool:  # in workers that were lent, if they happened to be
            nonlocal rounds
            for line in lines:
                rounds += 1
                assert line.result(do("keep", f"text {rounds}")) == f"text {rounds}"
                assert me.send("GET", "/v1/data/.my/moods/kept").body == f"text {rounds}".encode()
            return is_never_lent()

        wait_until(has_asked, 60)
        assert is_never_lent()
        line = lines[0]
        echo = do("ask", {"algorithm": "util/Echo", "input": "x"})
        assert line.result(echo) == "x"
        assert line.result(do("ask", {"algorithm": world.reference, "input": "y"})) == "y"
        answer = line.call(do("ask", {"algorithm": world.reference, "input": echo}))
        assert "number 2 in a chain" in answer.error["message"]
    assert world.owner.send("GET", "/v1/data/.my/moods/kept").status == 404


# -- what changes -------------------------------------------------------------------------------------------------


def _lent_to_both(world: World, key: str | None = None, reference: str | None = None) -> list[Line]:
    """Connections to both gateways, each of which has been lent a worker for their calls."""
    lines = [world.line(key, reference) for _ in range(8)]

    def both() -> bool:
        for _ in range(5):
            for line in lines:
                line.send("x")
            for line in lines:
                assert line.receive().ok["result"] == "x"
        return world.lent() >= 2

    wait_until(lambda: world.lent() == 0)
    wait_until(both)
    return lines


def _answers(lines: list[Line], value: Any, query: str = "") -> list[Answer]:
    for line in lines:
        line.send(value, query)
    return [line.receive() for line in lines]


def test_a_deleted_key_is_refused_at_once(world: World) -> None:
    me = Manager(world.server)
    path = f"/v1/users/{me.name}/keys"
    before = [entry["id"] for entry in me.send("GET", path).ok]
    doomed = me.with_key(allow_algo=True, algo_acl=["algo://*"])
    lines = _lent_to_both(world, doomed.key)
    assert world.line(me.key).result("x") == "x"
    [newest] = [entry["id"] for entry in me.send("GET", path).ok if entry["id"] not in before]
    assert me.send("DELETE", f"{path}/{newest}").status < 300
    for answer in _answers(lines, "x"):
        answer.refused(401)
    assert world.line(me.key).result("x") == "x"


def test_a_new_version_answers_the_next_call(world: World) -> None:
    me = Manager(world.server)
    name = me.published(ECHO, callability="public")
    lines = _lent_to_both(world, me.key, f"{me.name}/{name}")
    for number in range(3):
        me.deploy(name, f"def apply(input):\n    return [{number}, input]\n")
        before = [number - 1, "x"] if number else "x"
        assert [answer.ok["result"] for answer in _answers(lines, "x")] == [before] * 8
        me.publish(name, settings={"algorithm_callability": "public"}).ok
        assert [answer.ok["result"] for answer in _answers(lines, "x")] == [[number, "x"]] * 8


def test_a_changed_secret_is_seen_by_the_next_call(world: World) -> None:
    me = Manager(world.server)
    code = "import os\ndef apply(input):\n    return os.environ.get('TOKEN', input)\n"
    name = me.published(code, callability="public")
    lines = _lent_to_both(world, me.key, f"{me.name}/{name}")
    path = me.path(name) + "/secrets"
    made = me.send("POST", path, {"secret_key": "TOKEN", "secret_value": "one"}).ok
    assert {answer.ok["result"] for answer in _answers(lines, "x")} == {"one"}
    me.send("PUT", f"{path}/{made['id']}", {"secret_value": "two"}).ok
    assert {answer.ok["result"] for answer in _answers(lines, "x")} == {"two"}
    assert me.send("DELETE", f"{path}/{made['id']}").status == 204
    assert {answer.ok["result"] for answer in _answers(lines, "x")} == {"x"}


def test_a_deleted_algorithm_is_gone_at_once(world: World) -> None:
    me = Manager(world.server)
    name = me.published(ECHO)
    lines = _lent_to_both(world, me.key, f"{me.name}/{name}/0.1.0")
    assert me.send("DELETE", me.path(name)).status == 204
    for answer in _answers(lines, "x"):
        answer.refused(404)
