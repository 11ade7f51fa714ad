"""Limits that the kernel doesn't keep, where there are no control groups or no sandbox: one thread looks at what the
processes use, as long as there are any, and ends those that use too much.

Between two looks a process may use more than it should. It's the second best.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

from . import memory
from .process import Process

_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class _Watched:
    """Bytes; 0 is no limit."""

    process: Process
    memory: int
    directory: str
    scratch: int

    def look(self) -> None:
        if self.memory and memory.exceeds(self.process.pid, self.memory):
            self.process.end("memory")
        elif self.scratch and _size(self.directory, self.scratch) > self.scratch:
            self.process.end("scratch")


class Watchdog:
    """Watches processes until they are disposed of."""

    def __init__(self) -> None:
        self._watched: list[_Watched] = []
        self._lock = threading.Lock()
        self._is_running = False

    def watch(self, process: Process, memory: int, directory: str, scratch: int) -> None:
        """End `process` when it and its descendants use more than so much `memory`, or `directory` holds more than
        `scratch`; 0 is no limit. Raises RuntimeError if there are no threads for that."""
        if not memory and not scratch:
            return
        with self._lock:
            if not self._is_running:
                threading.Thread(target=self._run, name="watchdog", daemon=True).start()
                self._is_running = True
            self._watched.append(_Watched(process, memory, directory, scratch))

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(_PAUSE)
            with self._lock:
                self._watched = [entry for entry in self._watched if entry.process.is_held]
                if not self._watched:
                    self._is_running = False
                    return
                watched = tuple(self._watched)
            for entry in watched:
                entry.look()


def _size(directory: str, limit: int) -> int:
    """Bytes on disk below `directory`; stops counting when over `limit`."""
    total = 0
    waiting = [directory]
    while waiting and total <= limit:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    total += 512 * entry.stat(follow_symlinks=False).st_blocks
        except OSError:
            continue  # it was removed meanwhile
    return total
