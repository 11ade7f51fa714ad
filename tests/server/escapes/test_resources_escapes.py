"""Resources: whoever takes more than is meant gets an error or ends, and nobody else notices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from arena import MAX_MEMORY, MAX_SCRATCH, MIB, Arena, Escape

FAMILY = "resources"

OUT_OF_MEMORY = {
    "error": {
        "message": "Failed to run algorithm - may have timed-out or hit out-of-memory error "
        f"(the worker process needed more than its {MAX_MEMORY // MIB} MiB of memory)",
        "error_type": "OutOfMemoryError",
    }
}

ESCAPES = [
    Escape("hogs_memory", OUT_OF_MEMORY),
    Escape("hogs_memory_files", OUT_OF_MEMORY, needs_group=True),
    Escape("hogs_descriptors", {"result": [True, "EMFILE"]}),
    Escape("hogs_pipes", {"result": "EMFILE"}),
    Escape("hogs_sockets", {"result": "EMFILE"}),
    Escape("fills_its_directory", {"result": [MAX_SCRATCH, "ENOSPC"]}, "/tmp"),
    Escape("fills_shared_memory", {"result": [MAX_SCRATCH, "ENOSPC"]}, "/dev/shm"),
    Escape("makes_deep_directories", {"result": "deep"}),
    Escape("makes_odd_names", {"result": "odd"}),
    Escape("makes_a_large_hole", {"result": 0}),
    Escape("hogs_queues", {"result": True}),
    Escape("hogs_shared_memory", OUT_OF_MEMORY),
]
# Which of two outcomes it is depends on how this machine limits memory, and on what a file takes of it.
FAMILY_OF_HOGS, FILES = Escape("hogs_memory_by_children", None), Escape("makes_many_files", None, needs_group=True)
ALL = [*ESCAPES, FAMILY_OF_HOGS, FILES]


@pytest.mark.parametrize("escape", ESCAPES, ids=lambda escape: escape.algorithm)
def test_outcome(confined: None, outcomes: dict[str, Any], escape: Escape) -> None:
    if escape.algorithm not in outcomes:
        pytest.skip("the platform may not divide its control group: only that counts files in memory")
    assert outcomes[escape.algorithm] == escape.expected


def test_the_memory_of_a_family_counts_together(confined: None, outcomes: dict[str, Any]) -> None:
    """A control group ends one after the other, the server's own watch all of them."""
    assert outcomes["hogs_memory_by_children"] in (OUT_OF_MEMORY, {"result": -9})


def test_files_without_contents_end_too(confined: None, outcomes: dict[str, Any]) -> None:
    if "makes_many_files" not in outcomes:
        pytest.skip("the platform may not divide its control group: only that counts files in memory")
    assert outcomes["makes_many_files"] in (OUT_OF_MEMORY, {"result": "ENOSPC"})


def test_every_worker_has_a_control_group(arena: Arena, confined: None, outcomes: dict[str, Any]) -> None:
    """Which is why one of them that were left would be noticed."""
    if arena.health["memory"] != "cgroup":
        pytest.skip("the platform may not divide its control group")
    assert len(arena.control_groups()) >= arena.health["engine"]["workers"] > 0


def test_the_kernel_keeps_nothing(arena: Arena, confined: None, outcomes: dict[str, Any]) -> None:
    """Neither queues nor segments are in the machine's own lists."""
    for name in ("msg", "shm"):
        lines = Path(f"/proc/sysvipc/{name}").read_text().splitlines()[1:]
        owners = {int(line.split()[7]) for line in lines}
        assert not {owner for owner in owners if owner >= 61_184}, lines
