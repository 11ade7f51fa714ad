"""System calls: what would let an algorithm out of its sandbox, or give it rights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from arena import Arena, Escape

FAMILY = "kernel"

CRASHED = {"message": "killed by SIGSYS", "error_type": "SystemExit"}

ESCAPES = [
    Escape("makes_forbidden_calls", {"result": {}}),
    Escape("makes_clone3", {"result": "ENOSYS"}),
    Escape("enters_other_namespaces", {"result": []}),
    Escape("traces_its_child", {"result": ["EPERM", "EPERM", "EPERM"]}),
    Escape("uses_another_architecture", {"error": CRASHED}),
    Escape("uses_the_other_numbers", {"error": CRASHED}),
    Escape("types_into_terminals", {"result": ["EPERM", "EPERM"]}),
    Escape("takes_rights", {"result": []}),
    Escape("dumps_core", {"error": {"message": "killed by SIGQUIT", "error_type": "SystemExit"}}),
    Escape("opens_foreign_sockets", {"result": []}),
]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of system calls are those of x86_64")
@pytest.mark.parametrize("escape", ESCAPES, ids=lambda escape: escape.algorithm)
def test_outcome(confined: None, outcomes: dict[str, Any], escape: Escape) -> None:
    found = outcomes[escape.algorithm]
    found.pop("stdout", None)
    assert found == escape.expected


def test_no_core_is_kept(arena: Arena, confined: None, outcomes: dict[str, Any]) -> None:
    """Neither where the platform runs nor in what is its own."""
    places = [Path.cwd(), arena.home, arena.state, arena.temporary]
    assert [path for place in places for path in place.glob("core*")] == []
