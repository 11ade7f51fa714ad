"""How much memory process trees take, from /proc. Blocks, though briefly; where there is no /proc, nothing is known."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of some processes.

    resident      what each has in memory, added up: what they share is counted for each
    proportional  what they share counted once; None if this machine doesn't tell
    """

    resident: int
    proportional: int | None


def of_trees(roots: Iterable[int]) -> Memory:
    """The memory of the processes `roots` and of all below them. Those that end meanwhile count for nothing."""
    total = proportional = 0
    is_known = True
    for pid in _tree(roots):
        size = resident(pid)
        if not size:
            continue  # it has ended
        total += size
        share = _proportional(pid)
        if share is None and os.path.exists(f"/proc/{pid}"):
            is_known = False
        proportional += share or 0
    return Memory(total, proportional if is_known else None)


def of_tree(root: int) -> int:
    """Bytes that `root` and all below it have in memory, what they share counted for each."""
    return sum(map(resident, _tree((root,))))


def exceeds(root: int, limit: int) -> bool:
    """Whether `root` and all below it have more than `limit` bytes in memory, what they share counted once."""
    if of_tree(root) <= limit:
        return False
    found = of_trees((root,))
    return (found.resident if found.proportional is None else found.proportional) > limit


def resident(pid: int) -> int:
    """Bytes that the process has in memory; 0 if that isn't known."""
    pages = _read(f"/proc/{pid}/statm").split()
    return int(pages[1]) * _PAGE if len(pages) > 1 else 0


def descendant(pid: int, generations: int) -> int:
    """The first child of the first child, and so on, of the process `pid`; 0 if there is none."""
    for _ in range(generations):
        pid = next(iter(_children(pid)), 0)
        if not pid:
            break
    return pid


def _tree(roots: Iterable[int]) -> Iterator[int]:
    """The processes `roots` and all below them."""
    waiting = list(roots)
    seen: set[int] = set()
    while waiting:
        pid = waiting.pop()
        if pid not in seen:
            seen.add(pid)
            waiting += _children(pid)
            yield pid


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [int(child) for thread in threads for child in _read(f"/proc/{pid}/task/{thread}/children").split()]


def _proportional(pid: int) -> int | None:
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return None


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
