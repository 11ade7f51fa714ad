"""The network: an isolated algorithm reaches the platform and nothing else, any other nothing of the machine."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from arena import Arena, Escape

FAMILY = "network"

ISOLATED = {"network_access": "isolated"}
ABSTRACT = f"@algorithmia-escapes-{os.getpid()}"
# Addresses at which this test listens, and those of clouds' services; filled in when it does.
SERVICES: list[Any] = []
METADATA = [["169.254.169.254", 80], ["169.254.170.2", 80], ["100.100.100.200", 80], ["192.0.0.192", 80]]


@pytest.fixture(scope="module", autouse=True)
def listening() -> Iterator[dict[str, int]]:
    """Services of this machine; who was asked by anybody is counted."""
    accepted = {"count": 0, "port": 0}
    with contextlib.ExitStack() as stack:
        everywhere = stack.enter_context(socket.create_server(("0.0.0.0", 0)))
        port = accepted["port"] = everywhere.getsockname()[1]
        local = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(ABSTRACT.replace("@", "\0"))
        unix.listen()
        SERVICES[:] = [["127.0.0.1", local.getsockname()[1]], ["127.0.0.1", port], ["127.0.0.2", port], ABSTRACT]
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing; it says which address this machine has
            SERVICES.append([probe.getsockname()[0], port])
        with contextlib.suppress(OSError):
            local6 = stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
            SERVICES.append(["::1", local6.getsockname()[1]])

        def count(service: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while True:
                    service.accept()[0].close()
                    accepted["count"] += 1

        services = (everywhere, local, unix)
        threads = [threading.Thread(target=count, args=[service], daemon=True) for service in services]
        for thread in threads:
            thread.start()
        yield accepted
        for service in services:
            service.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)


def addresses(arena: Arena) -> list[Any]:
    return [*SERVICES, *METADATA]


def isolated(algorithm: str, expected: Any, *arguments: Any) -> Escape:
    return Escape(algorithm, expected, *arguments, settings=ISOLATED)


ESCAPES = [
    isolated("isolated_reaches", [], addresses),
    isolated("isolated_scans_loopback", lambda arena: [arena.port]),
    isolated("isolated_asks_the_platform", 200),
    isolated("isolated_sends_datagrams", [False] * 5),
    isolated("isolated_changes_its_network", ["EPERM"] * 3),
    isolated("isolated_takes_the_platforms_port", "EADDRINUSE"),
]
FULL = [
    Escape("full_reaches", [], addresses),
    Escape("full_scans_loopback", lambda arena: [arena.port]),
    Escape("full_asks_the_platform", 200),
]
LISTENS = isolated("isolated_listens", "nobody came", lambda arena: SERVICES[0][1])
ALL = [*ESCAPES, *FULL, LISTENS]


def check(arena: Arena, outcomes: dict[str, Any], escape: Escape) -> None:
    expected = escape.expected(arena) if callable(escape.expected) else escape.expected
    assert outcomes[escape.algorithm] == {"result": expected}


@pytest.mark.parametrize("escape", ESCAPES, ids=lambda escape: escape.algorithm)
def test_outcome(arena: Arena, confined: None, outcomes: dict[str, Any], escape: Escape) -> None:
    check(arena, outcomes, escape)


@pytest.mark.parametrize("escape", FULL, ids=lambda escape: escape.algorithm)
def test_outcome_with_the_internet(arena: Arena, confined: None, outcomes: dict[str, Any], escape: Escape) -> None:
    if arena.health["network"] != "private" and "asks" not in escape.algorithm:
        pytest.skip("there is no private network on this machine: install slirp4netns")
    check(arena, outcomes, escape)


def test_a_service_of_an_algorithms_own_is_seen_by_nobody(
    arena: Arena, confined: None, outcomes: dict[str, Any]
) -> None:
    """It may have the number of one of the machine's ports, as its ports are others."""
    check(arena, outcomes, LISTENS)


def test_the_services_were_asked_by_nobody(
    arena: Arena, confined: None, outcomes: dict[str, Any], listening: dict[str, int]
) -> None:
    """And would have noticed if they were."""
    if arena.health["network"] == "private":
        assert listening["count"] == 0
    socket.create_connection(("127.0.0.1", listening["port"])).close()
    for _ in range(100):
        if listening["count"]:
            return
        time.sleep(0.05)
    raise AssertionError("nobody listens")
