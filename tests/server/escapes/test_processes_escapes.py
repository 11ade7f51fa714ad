"""Processes: those that an algorithm starts, kills, hides or leaves behind, and its own untimely ends."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from arena import LOAD_TIMEOUT, MAX_OUTPUT, Arena, Escape, harmless, processes_naming

FAMILY = "processes"

# In the argument of what must not survive.
MARKS = [f"{600 + number}.{os.getpid():07d}" for number in range(3)]
ARMED = {"ARMED": "yes"}


def failed(message: str, error_type: str = "SystemExit", **more: Any) -> Any:
    return {"error": {"message": message, "error_type": error_type}, **more}


def timed_out(seconds: float) -> Any:
    return failed(
        "Failed to run algorithm - may have timed-out or hit out-of-memory error "
        f"(stopped at the call's timeout of {seconds:g} s)",
        "TimeoutError",
    )


KILLED = "killed by SIGKILL, perhaps because memory ran out"

# Outcomes that need no sandbox.
ENDS = [
    Escape("ignores_sigterm", timed_out(2), timeout=2),
    Escape("loops_in_c", timed_out(2), timeout=2),
    Escape("stops_itself", timed_out(2), timeout=2),
    Escape("kills_itself", failed(KILLED), 9),
    Escape("sends_itself_an_alarm", failed("killed by SIGALRM")),
    Escape("aborts", failed("killed by SIGABRT")),
    Escape("reads_address_zero", failed("killed by SIGSEGV")),
    Escape("exits_in_apply", failed("exited with code 3"), 3),
    Escape("exits_at_once", failed("exited with code 0", stdout="farewell"), 0),
    Escape("exits_with_threads", failed("exited with code 4")),
    Escape("exits_in_a_fork", {"result": "parent"}),
    Escape("exits_at_import", failed("exited with code 7 while loading", "LoadingError", stdout="not today"),
           secrets=ARMED),
    Escape("exits_politely_at_import", failed("exited with code 1 while loading", "LoadingError", stdout="no thanks"),
           secrets=ARMED),
    Escape("crashes_at_import", failed("killed by SIGSEGV while loading", "LoadingError"), secrets=ARMED),
    Escape("hangs_at_import", failed(
        "Failed to run algorithm - may have timed-out or hit out-of-memory error "
        f"(loading took longer than {LOAD_TIMEOUT} s)", "LoadingError"), secrets=ARMED),
    Escape("floods_at_import", failed("y" * 100_000, "LoadingError"), secrets=ARMED),
    Escape("refuses_to_retire", {"result": "staying"}),
    Escape("zombies", {"result": "left"}),
]  # fmt: skip
CONFINED = [
    Escape("loops_with_children", timed_out(2), MARKS[0], timeout=2),
    Escape("kills_everybody", {"result": [1, 2]}),
    Escape("stops_everybody", {"result": "frozen"}),
    Escape("rights_of_the_first", {"result": [False, "1", "2"]}),
    Escape("fork_bomb", timed_out(2), timeout=2),
    Escape("fork_bomb_that_answers", {"result": [True, True]}),
    Escape("thread_bomb", {"result": [True, "can't start new thread"]}),
    Escape("daemon", {"result": "detached"}, MARKS[1]),
    Escape("sibling", {"result": "detached"}, MARKS[2]),
]
ESCAPES = [*harmless(ENDS), *CONFINED]


@pytest.fixture(scope="module")
def seen(outcomes: dict[str, Any]) -> dict[str, Any]:
    """The outcomes without stack traces and what crashes print, which have their own tests."""
    for name, found in outcomes.items():
        if isinstance(found, dict):
            found.get("error", {}).pop("stacktrace", None)
            if "Fatal Python error" in found.get("stdout", ""):
                del found["stdout"]
            if name == "floods_at_import":
                assert len(found.pop("stdout")) <= MAX_OUTPUT + 200
    return outcomes


@pytest.mark.parametrize("escape", ENDS, ids=lambda escape: escape.algorithm)
def test_outcome(seen: dict[str, Any], escape: Escape) -> None:
    assert seen[escape.algorithm] == escape.expected


@pytest.mark.parametrize("escape", CONFINED, ids=lambda escape: escape.algorithm)
def test_outcome_in_the_sandbox(confined: None, seen: dict[str, Any], escape: Escape) -> None:
    assert seen[escape.algorithm] == escape.expected


def test_what_detached_itself_ends_with_its_worker(arena: Arena, confined: None, outcomes: dict[str, Any]) -> None:
    """Not before: programs that an algorithm leaves running are its own business."""
    assert processes_naming(MARKS[1]) and processes_naming(MARKS[2])
    assert not processes_naming(MARKS[0])  # its worker was killed
    for name in ("daemon", "sibling"):
        arena.end_workers(arena.attacker, name)
    for _ in range(200):
        if not processes_naming(MARKS[1]) + processes_naming(MARKS[2]):
            return
        time.sleep(0.05)
    raise AssertionError("they live")
