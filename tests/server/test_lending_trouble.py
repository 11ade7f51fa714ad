"""Workers that are lent and gateways that have them, when something goes wrong: no more is lost than has to be."""

from __future__ import annotations

import http.client
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from answers import Answer
from engine_zoo import is_running, processes_with
from git_hosted import wait_until
from lending_world import World, busy, do
from managed import Manager
from platforms import Server
from test_gateways import gateways_of
from test_metrics import Scraper, outcomes

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="needs Linux")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A platform with one gateway: all calls come to the same workers."""
    server = Server(tmp_path_factory.mktemp("platform"), "--port", "0", "--gateways", "1")
    try:
        yield World(server)
    finally:
        server.stop()


def killed(answer: Answer) -> bool:
    """Whether it says that the call's process was killed."""
    return answer.status == 200 and answer.error["message"].startswith("killed by SIGKILL")


# -- calls --------------------------------------------------------------------------------------------------------


def test_a_call_that_overruns_is_stopped(world: World) -> None:
    with busy(world) as callers:
        line = world.line()
        line.prime("?timeout=1")
        wait_until(lambda: world.lent() == 1)
        before = callers.rounds
        document = line.call(do("sleep", 30), "?timeout=1").ok
        assert callers.rounds > before
        error = document["error"]
        assert error["error_type"] == "TimeoutError" and "stopped at the call's timeout of 1 s" in error["message"]
        assert "in sleep\n    time.sleep(seconds)\n" in error["stacktrace"]
        assert document["metadata"]["duration"] == 1.0
        callers.go_on()
        assert line.result("x", "?timeout=1") == "x"


def test_an_algorithm_whose_caller_leaves_is_stopped(world: World) -> None:
    wait_until(lambda: world.engine()["busy"] == 0)
    scraper = Scraper(world.server)
    before = outcomes(scraper.text())["cancelled"]
    with busy(world) as callers:
        for _ in range(3):
            first, second = (f"6{uuid.uuid4().int % 10**8}" for _ in range(2))
            line = world.line()
            line.prime()
            wait_until(lambda: world.lent() == 1)
            line.send(do("sleep_as", [first, second]))
            wait_until(lambda mark=first: bool(processes_with(mark)))
            line.close()
            wait_until(lambda mark=second: bool(processes_with(mark)))  # it was told to stop
            wait_until(lambda first=first, second=second: not processes_with(first) + processes_with(second))
        callers.go_on()
        wait_until(lambda: outcomes(scraper.text())["cancelled"] == before + 3)
        # Those leave before it can have begun, or while it is being handed over.
        for _ in range(20):
            line = world.line()
            line.send(do("sleep", 600))
            line.close()
        callers.go_on()
    wait_until(lambda: world.engine()["busy"] == 0)


@pytest.mark.parametrize(
    "value, kind, words",
    [
        (do("leave", 3), "SystemExit", "exited with code 3"),
        (do("leave", 0), "SystemExit", "exited with code 0"),
        (do("kill", 9), "SystemExit", "killed by SIGKILL"),
        (do("kill", 11), "SystemExit", "killed by SIGSEGV"),
        (do("forge", 7), "SystemError", "the worker process broke the protocol"),
        (do("forge", 0), "SystemError", "the worker process broke the protocol"),
    ],
    ids=lambda value: str(value["with"]) if isinstance(value, dict) else None,
)
def test_a_process_that_ends_fails_its_own_call_only(world: World, value: object, kind: str, words: str) -> None:
    with busy(world) as callers:
        line = world.line()
        line.prime()
        for _ in range(3):
            wait_until(lambda: world.lent() == 1)
            error = line.call(value).error
            assert error["error_type"] == kind and words in error["message"]
            assert line.result("x") == "x"
            callers.go_on()


def test_workers_that_are_killed_fail_the_call_that_they_run(world: World) -> None:
    with busy(world, excused=killed) as callers:
        dead: set[int] = set()
        for _ in range(5):
            wait_until(lambda: world.lent() == 1 and world.engine()["starting"] == 0)
            before = world.workers()
            assert before
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            dead |= before
            callers.go_on(5)
            wait_until(lambda: not dead & world.workers())
        assert not callers.broken
    # One that is killed while it loads, though none was to be started, may fail more.
    ended = [answer for answer in callers.excuses if answer.error["error_type"] == "SystemExit"]
    assert len(ended) <= len(dead)


# -- gateways -----------------------------------------------------------------------------------------------------


def _sockets(pid: int) -> set[str]:
    links = set()
    for entry in Path(f"/proc/{pid}/fd").glob("*"):
        with suppress(OSError):  # closed meanwhile
            links.add(os.readlink(entry))
    return {link for link in links if link.startswith("socket:")}


def _stop(world: World, gateway: int, call: Callable[[], object] = bool) -> set[int]:
    """Stop a gateway while it has workers, because of what `call` does if nobody else calls; these."""
    found: set[int] = set()

    def has_some() -> bool:
        call()
        os.kill(gateway, signal.SIGSTOP)
        sockets = _sockets(gateway)
        found.update(pid for pid in world.workers() if _sockets(pid) & sockets)
        if not found:
            os.kill(gateway, signal.SIGCONT)
        return bool(found)

    wait_until(has_some)
    return found


def test_a_gateway_that_is_killed_takes_its_workers_along(start_server: Callable[..., Server]) -> None:
    world = World(start_server("--port", "0", "--gateways", "2"))
    with busy(world, wanted=2, excused=lambda answer: False) as callers:
        first, second = gateways_of(world.server)
        for dead in (first, second):  # all have come to the second one then
            workers = _stop(world, dead)
            os.kill(dead, signal.SIGKILL)
            wait_until(lambda workers=workers: not workers & world.workers())
            callers.go_on()
            wait_until(lambda dead=dead: dead not in gateways_of(world.server))
            wait_until(lambda: len(gateways_of(world.server)) == 2)
        assert callers.broken >= 8
    wait_until(lambda: world.engine()["busy"] == 0)


def test_a_gateway_that_hangs_holds_up_no_change(start_server: Callable[..., Server]) -> None:
    world = World(start_server("--port", "0", "--gateways", "2"))
    me = Manager(world.server)
    path = f"/v1/users/{me.name}/keys"
    before = [entry["id"] for entry in me.send("GET", path).ok]
    doomed = me.with_key(allow_algo=True, algo_acl=["algo://*"])
    [newest] = [entry["id"] for entry in me.send("GET", path).ok if entry["id"] not in before]
    lines = [world.line(doomed.key) for _ in range(8)]

    def call() -> None:
        for line in lines:
            line.send("x")
        assert {line.receive().ok["result"] for line in lines} == {"x"}

    hanging, other = gateways_of(world.server)
    asking = _connection_to(world.server, other)
    workers = _stop(world, hanging, call)
    try:
        headers = {"Authorization": f"Simple {me.key}"}
        asking.request("DELETE", f"{path}/{newest}", headers=headers)
        assert asking.getresponse().status < 300
        assert not workers & world.workers()
    finally:
        _go_on(hanging)
    refused = 0
    for line in lines:
        try:
            answer = line.call("x")
        except (OSError, http.client.HTTPException):
            continue  # it was the hanging one's
        answer.refused(401)
        refused += 1
    assert 0 < refused < 8
    wait_until(lambda: hanging not in gateways_of(world.server) and len(gateways_of(world.server)) == 2)
    assert other in gateways_of(world.server)
    assert world.line().result("x") == "x"


def _go_on(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _connection_to(server: Server, gateway: int) -> http.client.HTTPConnection:
    """A connection that this gateway has."""
    netloc = server.address.rpartition("/")[2]
    others = []
    try:
        for _ in range(20):
            connection = http.client.HTTPConnection(netloc, timeout=60)
            connection.connect()
            if _has(gateway, connection.sock.getsockname()[1], int(netloc.rpartition(":")[2])):
                return connection
            others.append(connection)
    finally:
        for connection in others:
            connection.close()
    raise AssertionError("no connection comes to it")


def _has(pid: int, client: int, port: int) -> bool:
    """Whether the process has the other end of a connection between these ports, or is given it within a moment."""
    for _ in range(100):
        found = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        ends = [line for line in found if line[1].endswith(f":{port:04X}") and line[2].endswith(f":{client:04X}")]
        if any(f"socket:[{line[9]}]" in _sockets(pid) for line in ends):
            return True
        time.sleep(0.01)
    return False


# -- the end ------------------------------------------------------------------------------------------------------


def test_a_platform_that_stops_answers_what_has_begun(start_server: Callable[..., Server]) -> None:
    world = World(start_server("--port", "0", "--gateways", "2"))
    server = world.server
    with busy(world, wanted=2, excused=lambda answer: answer.status == 503) as callers:
        slow = [world.line() for _ in range(2)]
        for line in slow:
            line.prime()
            line.send(do("sleep", 1.5))
        wait_until(lambda: world.lent() == 2)
        processes = [*gateways_of(server), *world.workers()]
        assert len(processes) >= 4
        server.process.send_signal(signal.SIGTERM)
        assert [line.receive().ok["result"] for line in slow] == ["slept", "slept"]
        assert server.process.wait(60) == 0
        wait_until(lambda: callers.broken > 0)
    wait_until(lambda: not any(map(is_running, processes)))
    assert "Traceback" not in server.log()


def test_nothing_outlives_a_platform_that_is_killed(start_server: Callable[..., Server]) -> None:
    world = World(start_server("--port", "0", "--gateways", "2"))
    with busy(world, wanted=2, excused=lambda answer: False) as callers:
        processes = [*gateways_of(world.server), *world.workers()]
        assert len(processes) >= 4
        world.server.process.kill()
        wait_until(lambda: callers.broken > 0)
    wait_until(lambda: not any(map(is_running, processes)))
