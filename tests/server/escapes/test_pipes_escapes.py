"""The documented protocol, spoken badly: whatever is written into the FIFO, or not read, harms its own call only."""

from __future__ import annotations

import json
import re
import shutil
import time
from typing import Any

import pytest
from arena import MAX_RESULT, MIB, Arena, Escape, harmless, processes_naming

FAMILY = "pipes"

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not on this machine")

JAVASCRIPT = {"language": "javascript"}
ARMED = {"ARMED": "yes"}


def broke(what: str, **more: Any) -> Any:
    message = f"the worker process broke the protocol: {what}"
    return {"error": {"message": message, "error_type": "SystemError"}, **more}


def failed(message: str, error_type: str = "SystemExit") -> Any:
    return {"error": {"message": message, "error_type": error_type}}


TIMED_OUT = failed(
    "Failed to run algorithm - may have timed-out or hit out-of-memory error (stopped at the call's timeout of 2 s)",
    "TimeoutError",
)
NEITHER = broke("its answer has neither a result with a content type, nor an error with a message")




def js(algorithm: str, expected: Any, *arguments: Any, **options: Any) -> Escape:
    return Escape(algorithm, expected, *arguments, settings=JAVASCRIPT, **options)


ESCAPES = [
    js("answers_half", TIMED_OUT, timeout=2),
    js("answers_half_and_exits", failed("exited with code 4")),
    js("answers_invalid_utf8", broke("its answer is not UTF-8")),
    js("answers_too_much", failed(
        f"the result has {3 * MIB + 2} bytes and the limit is {MAX_RESULT}: "
        "write it to a file such as data://.algo/temp/NAME and return its URI", "TooLargeError"), 3 * MIB),
    js("answers_unasked", broke("it answered before it was asked"), secrets=ARMED),
    js("never_reads", TIMED_OUT, content=b"x" * (9 * MIB), timeout=2, secrets=ARMED),
    js("closes_both_outputs", {"result": "quiet"}),
    js("floods_before_it_is_ready", {"result": "ready"}, secrets=ARMED),
    js("is_ready_too_often", {"result": "ready", "stdout": "PIPE_INIT_COMPLETE\nPIPE_INIT_COMPLETE"}),
    js("forges_metadata", {"result": 1}),
    js("exits", failed("exited with code 0")),
    js("ends_by_a_signal", failed("killed by SIGKILL, perhaps because memory ran out")),
]  # fmt: skip
CONFINED = [
    js("replaces_the_fifo", {"result": 0}),
]
MALFORMED = r"the worker process broke the protocol: its answer is not valid JSON \(.*\)"
# Whose exact words are those of a JSON reader, or a matter of how pieces fall.
OTHERS = [
    # In the sandbox its input stays open, as it has been started by somebody who had it too.
    js("closes_its_input", rf"{TIMED_OUT['error']['message'][:60]}.*|.*: it closed its standard input", timeout=2,
       secrets=ARMED),
    js("answers_twice_at_once", MALFORMED),
    js("answers_too_deep", MALFORMED),
    js("never_stops_answering", rf"the result has \d+ bytes and the limit is {MAX_RESULT}: .*"),
    js("answers_blanks", rf"the result has \d+ bytes and the limit is {MAX_RESULT}: .*"),
]  # fmt: skip
LATE = [js("answers_again_later", None), js("answers_from_another_process", None)]
SAYS = js("says", NEITHER, "{}")
ALL = [*harmless([*ESCAPES, *OTHERS, SAYS]), *CONFINED, *LATE]


@pytest.mark.parametrize("escape", ESCAPES, ids=lambda escape: escape.algorithm)
def test_outcome(outcomes: dict[str, Any], escape: Escape) -> None:
    found = outcomes[escape.algorithm]
    if "stdout" not in escape.expected:
        found.pop("stdout", None)
    assert found == escape.expected


@pytest.mark.parametrize("escape", CONFINED, ids=lambda escape: escape.algorithm)
def test_outcome_in_the_sandbox(confined: None, outcomes: dict[str, Any], escape: Escape) -> None:
    assert outcomes[escape.algorithm] == escape.expected


@pytest.mark.parametrize("escape", OTHERS, ids=lambda escape: escape.algorithm)
def test_error(outcomes: dict[str, Any], escape: Escape) -> None:
    error = outcomes[escape.algorithm]["error"]
    assert re.fullmatch(escape.expected, error["message"]), error


@pytest.mark.parametrize("escape", LATE, ids=lambda escape: escape.algorithm)
def test_an_answer_that_nobody_asked_for_ends_its_process_and_reaches_nobody(
    arena: Arena, confined: None, outcomes: dict[str, Any], escape: Escape
) -> None:
    first = outcomes[escape.algorithm]
    for _ in range(300):
        if not processes_naming(f"src/{escape.algorithm}.js"):
            break
        time.sleep(0.05)
    again = arena.call(escape.algorithm)
    assert float(first["result"]) != float(again["result"])


@pytest.mark.parametrize(
    "written, expected",
    [
        ("{}", NEITHER),
        ('{"result": 1}', NEITHER),
        ('{"result": 1, "metadata": {"content_type": "void"}}', NEITHER),
        ('{"error": {"message": 5}}', NEITHER),
        ("[1]", broke("its answer is not a JSON object")),
        ("hello\n", broke("its answer is not a JSON object")),
        ('{"result": 1, "metadata": {"content_type": "text"}}', broke("its text result is not a JSON string")),
        ('{"result": "\u00e9", "metadata": {"content_type": "binary"}}', broke("its binary result is not base64")),
    ],
)
def test_answers_that_are_none(arena: Arena, outcomes: dict[str, Any], written: str, expected: Any) -> None:
    assert arena.call("says", written) == expected


def test_nan_is_no_json(arena: Arena, outcomes: dict[str, Any]) -> None:
    answer = arena.call("says", '{"result": NaN, "metadata": {"content_type": "json"}}')
    assert answer["error"]["message"].startswith("the worker process broke the protocol: its answer is not valid JSON")
    assert answer["error"]["error_type"] == "SystemError"
    assert json.dumps(answer)
