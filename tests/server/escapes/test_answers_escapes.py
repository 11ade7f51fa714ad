"""The private protocol: an algorithm that finds the socket can answer its own call, and harm no other."""

from __future__ import annotations

from typing import Any

import pytest
from arena import Arena, Escape, harmless

FAMILY = "answers"


def broke(what: str = "") -> Any:
    message = "the worker process broke the protocol" + (f": {what}" if what else "")
    return {"error": {"message": message, "error_type": "SystemError"}}


TIMED_OUT = {
    "error": {
        "message": "Failed to run algorithm - may have timed-out or hit out-of-memory error "
        "(stopped at the call's timeout of 2 s)",
        "error_type": "TimeoutError",
    }
}
FIRST = {"result": "first"}
TOO_DEEP = {
    "error": {"message": "the result can't be passed on: it is nested too deeply", "error_type": "AlgorithmError"}
}

ESCAPES = [
    Escape("answers_twice", FIRST),
    Escape("answers_without_end", FIRST),
    Escape("answers_another_call", broke("it answered what it wasn't asked")),
    Escape("answers_every_call", broke("it answered what it wasn't asked")),
    Escape("takes_no_time_that_is_a_number", FIRST),
    Escape("took_less_than_no_time", FIRST),
    Escape("says_garbage", broke()),
    Escape("says_half_a_header", broke()),
    Escape("says_nothing", broke()),
    Escape("announces_more_than_it_sends", broke()),
    Escape("announces_too_much", broke()),
    Escape("announces_more_than_there_is", broke()),
    Escape("passes_nothing", broke()),
    Escape("passes_a_directory", broke()),
    Escape("passes_a_pipe", broke()),
    Escape("passes_a_terminal", broke()),
    Escape("passes_what_cannot_be_read", broke(), timeout=10),
    Escape("passes_many", broke()),
    Escape("loads_again", broke("it loaded a second time")),
    Escape("unloads", broke("it loaded a second time")),
    Escape("says_an_unknown_kind", broke()),
    Escape("answers_in_an_unknown_type", broke()),
    Escape("calls_the_platform", broke()),
    Escape("fails_without_a_reason", broke()),
    Escape("fails_with_any_type", {"error": {"message": "x", "error_type": "y" * 200}}),
    Escape("answers_what_is_not_json", broke()),
    Escape("answers_with_half_a_text", broke()),
    Escape("answers_invalid_text", broke()),
    Escape("answers_nothing", broke()),
    Escape("answers_too_deep_for_others", TOO_DEEP),
    Escape("hangs_up", TIMED_OUT, timeout=2),
    Escape("hangs_up_and_returns", {"error": {"message": "exited with code 1", "error_type": "SystemExit"}}),
    Escape("swaps_the_socket", TIMED_OUT, timeout=2),
    Escape("patches_the_runner", {"result": 1}, 1),
    Escape("keeps_what_it_sees", {"result": {"memory": [1], "files": ["1"], "environment": ["1"]}}, 1),
    Escape("refuses_its_input_at_length", None),
]
ALL = harmless(ESCAPES)


@pytest.mark.parametrize("escape", ESCAPES[:-1], ids=lambda escape: escape.algorithm)
def test_outcome(outcomes: dict[str, Any], escape: Escape) -> None:
    found = outcomes[escape.algorithm]
    found.pop("stdout", None)
    assert found == escape.expected


def test_an_input_is_refused_in_few_words(arena: Arena, outcomes: dict[str, Any]) -> None:
    """Whatever an algorithm says of it, nothing of that is a header of the answer."""
    path = f"/v1/algo/{arena.attacker.name}/refuses_its_input_at_length"
    answer = arena.attacker.send("POST", path, b"null")
    message = answer.refused(400)
    assert message.startswith("no\r\nX-Forged: yes")
    assert "x-forged" not in answer.headers and len(answer.headers["x-error-message"]) < 2000


def test_the_process_that_answered_twice_is_gone(arena: Arena, outcomes: dict[str, Any]) -> None:
    """Nobody gets the second answer. A call of the same account may have been on its way to that process."""
    for _ in range(5):
        assert arena.call("answers_twice") in (FIRST, broke("it answered what it wasn't asked"))


def test_a_process_works_for_one_account(arena: Arena, outcomes: dict[str, Any]) -> None:
    """What an algorithm does to its own process concerns later calls of the same account, and nobody else's."""
    assert arena.call("patches_the_runner", 2) == {"result": "forged for 2"}
    assert arena.call("patches_the_runner", 3, by=arena.stranger) == {"result": 3}
    assert arena.call("keeps_what_it_sees", 2)["result"]["memory"] == [1, 2]
    seen = arena.call("keeps_what_it_sees", 3, by=arena.stranger)["result"]
    assert seen == {"memory": [3], "files": ["3"], "environment": ["3"]}
