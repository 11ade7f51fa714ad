"""What a start makes up for, after whatever happened to an earlier server. Everything here blocks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ..git.program import GitError
from . import sweep
from .records import INTERRUPTED, SUCCEEDED, BuildRecords

log = logging.getLogger("algorithmia.builds")

_AT_ONCE = 500


class Heads(Protocol):
    """The part of git hosting that this needs."""

    def head(self, algorithm_id: str) -> str | None: ...

    def is_first(self, algorithm_id: str, commit: str) -> bool: ...


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

    Reads a small file or two for each algorithm. `is_over` says whether nobody wants to know any more.
    """
    found = []
    algorithms = records.pushable()
    for start in range(0, len(algorithms), _AT_ONCE):
        some = algorithms[start : start + _AT_ONCE]
        built = records.built(some)
        for algorithm_id in some:
            if is_over():
                return []
            try:
                head = repositories.head(algorithm_id)
                # The first commit is the template.
                if head and (algorithm_id, head) not in built and not repositories.is_first(algorithm_id, head):
                    found.append((algorithm_id, head))
            except GitError as problem:
                log.warning("can't see what was pushed: %s", problem, extra={"algorithm_id": algorithm_id})
    return found
