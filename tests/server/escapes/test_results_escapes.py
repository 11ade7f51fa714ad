"""Results, errors and output: whatever an algorithm says, its caller gets a document that says what happened."""

from __future__ import annotations

import re
from typing import Any

import pytest
from arena import MAX_OUTPUT, MAX_RESULT, MIB, Arena, Escape, harmless

FAMILY = "results"

NOT_JSON = "the result can't be written as JSON: "
PLAIN = ". Return text, bytes, or plain values"


def failed(message: str, error_type: str = "AlgorithmError", **more: Any) -> Any:
    return {"error": {"message": message, "error_type": error_type}, **more}


def too_large(size: int) -> Any:
    return failed(
        f"the result has {size} bytes and the limit is {MAX_RESULT}: "
        "write it to a file such as data://.algo/temp/NAME and return its URI",
        "TooLargeError",
    )


TIMED_OUT = failed(
    "Failed to run algorithm - may have timed-out or hit out-of-memory error (stopped at the call's timeout of 2 s)",
    "TimeoutError",
)

ESCAPES = [
    Escape("not_a_number", failed(f"{NOT_JSON}it holds NaN or infinity, which JSON cannot express{PLAIN}")),
    Escape("not_plain", failed(f"{NOT_JSON}Object of type set is not JSON serializable{PLAIN}")),
    Escape("not_finite", failed(f"{NOT_JSON}Circular reference detected{PLAIN}")),
    Escape("too_deep", failed(f"{NOT_JSON}it is nested too deeply, or contains itself")),
    Escape("too_large", too_large(20 * MIB + 2), 20 * MIB),
    Escape("too_large_bytes", too_large(20 * MIB), 20 * MIB),
    Escape("half_a_character", {"result": "\ud800"}),
    Escape("cunning_text", {"result": "text"}),
    Escape("undead", {"result": {"value": 1, "kept": None}}),
    Escape("pickled", {"result": [{"a": 1}, False]}),
    Escape("enormous_message", failed("x" * 100_000)),
    Escape("message_without_meaning", failed("half \\ud800 \x00 \x1b[31m")),
    Escape("cannot_be_described", failed("Loud")),
    Escape("cannot_be_asked", failed("Typed")),
    Escape("kills_who_asks", failed("exited with code 9", "SystemExit")),
    Escape("wears_a_false_name", failed("x", "y" * 200)),
    Escape("interrupts", failed("x")),
    Escape("ends_the_generator", failed("x")),
    Escape("endless_causes", failed("first")),
    Escape("memory_error", failed("MemoryError", "OutOfMemoryError")),
    Escape("prints_bytes", {"result": "printed", "stdout": "\ufffd\ufffd\x00\x1b]0;title\x07"}),
    Escape("prints_and_sleeps", {**TIMED_OUT, "stdout": "half"}, timeout=2),
    Escape("replaces_its_output", {"result": "silent"}),
    Escape("blocks_its_output", TIMED_OUT, timeout=2),
    Escape("closes_its_output", {"result": "silent"}),
    Escape("takes_much", {"result": 9 * MIB}, content=b"x" * (9 * MIB)),
]
# Whose exact words are the interpreter's own, or a matter of time.
OTHERS = [
    Escape("too_many_digits", f"{NOT_JSON}Exceeds the limit .*"),
    Escape("odd_keys", f"{NOT_JSON}.*"),
    Escape("endless_iterator", f"{NOT_JSON}Object of type callable_iterator .*"),
    Escape("recursion", "maximum recursion depth exceeded.*"),
    Escape("changes_what_is_built_in", ".+"),
]
FLOODS = [Escape("floods_output", None, 800), Escape("floods_and_hangs", None, timeout=2)]
ALL = harmless([*ESCAPES, *OTHERS, *FLOODS])


@pytest.mark.parametrize("escape", ESCAPES, ids=lambda escape: escape.algorithm)
def test_outcome(outcomes: dict[str, Any], escape: Escape) -> None:
    found = outcomes[escape.algorithm]
    found.get("error", {}).pop("stacktrace", None)
    if "stdout" not in escape.expected:
        found.pop("stdout", None)
    assert found == escape.expected


@pytest.mark.parametrize("escape", OTHERS, ids=lambda escape: escape.algorithm)
def test_error(outcomes: dict[str, Any], escape: Escape) -> None:
    error = outcomes[escape.algorithm]["error"]
    assert re.fullmatch(escape.expected, error["message"], re.DOTALL), error


def test_output_is_bounded(outcomes: dict[str, Any]) -> None:
    flooded, hung = outcomes["floods_output"], outcomes["floods_and_hangs"]
    truncated = f"\n[output truncated: the first {MAX_OUTPUT} of "
    assert flooded["result"] == "dry"
    assert flooded["stdout"] == "x" * MAX_OUTPUT + truncated + f"{800 * 65536} bytes are shown]"
    assert {**hung["error"], "stacktrace": ""} == {**TIMED_OUT["error"], "stacktrace": ""}
    assert hung["stdout"].startswith("before\nyyy") and truncated in hung["stdout"]
    assert len(hung["stdout"]) < MAX_OUTPUT + 200


def test_traces_begin_with_the_authors_code_and_are_his_only(arena: Arena, outcomes: dict[str, Any]) -> None:
    """Whoever merely calls gets neither trace nor output."""
    arena_error = arena.call("interrupts")["error"]
    assert arena_error["stacktrace"].splitlines()[1].strip().startswith('File "src/results.py", line ')
    seen = arena.call("interrupts", by=arena.stranger)
    assert seen == failed("x")
    assert arena.call("prints_bytes", by=arena.stranger) == {"result": "printed"}
