"""What a start makes up for, after whatever happened to an earlier server. Everything here blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from . import sweep
from .records import INTERRUPTED, SUCCEEDED, BuildRecords


class Heads(Protocol):
    """The part of git hosting that this needs."""

    def exists(self, algorithm_id: str) -> bool: ...

    def head(self, algorithm_id: str) -> str | None: ...

    def commits(self, algorithm_id: str, since: Any, until: Any, limit: int) -> list[Any]: ...


def recover(state: Path, records: BuildRecords) -> None:
    """Bring rows and files into agreement. Only while nothing is being built."""
    directory = state / "builds"
    records.interrupt(INTERRUPTED)
    for row in records.last_ended():
        verdict = "SUCCEEDED" if row.status == SUCCEEDED else "FAILED"
        last = f"{verdict}: {row.problem or 'the rest of this log was lost'}"
        sweep.end_log(directory / f"{row.id}.log", last)
    sweep.sweep_builds(directory, records)
    sweep.sweep_environments(state / "environments", records)
    sweep.sweep_caches(state / "caches")


def unbuilt_heads(records: BuildRecords, repositories: Heads, is_over: Callable[[], bool]) -> list[tuple[str, str]]:
    """Algorithm and commit of what was pushed and never built: pushes that came in just before a crash.

    is_over  whether nobody wants to know any more
    """
    found = []
    for algorithm_id in records.algorithms():
        if is_over():
            break
        if repositories.exists(algorithm_id):
            head = repositories.head(algorithm_id)
            is_built = head is None or records.has_build(algorithm_id, head)
            # The first commit is the template, which nobody pushed.
            if head and not is_built and len(repositories.commits(algorithm_id, None, None, 2)) > 1:
                found.append((algorithm_id, head))
    return found
