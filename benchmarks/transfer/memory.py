"""How far the memory of a tree of processes grows while something happens, sampled from the kernel's books."""

from __future__ import annotations

import threading
from types import TracebackType

from benchmarks.embedded import memory

_PAUSE = 0.05


def occupied(pid: int) -> int:
    """The proportional memory of `pid` and all that descend from it."""
    return sum(map(memory.proportional_set_size, memory.tree(pid)))


class Growth:
    """A context that samples the tree of `pid`; afterwards `bytes` is by how much more it was, at most, than before."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = occupied(pid)
        self._peak = self._before
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    @property
    def bytes(self) -> int:
        return self._peak - self._before

    def __enter__(self) -> Growth:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.is_set():
            self._peak = max(self._peak, occupied(self._pid))
            self._ended.wait(_PAUSE)
