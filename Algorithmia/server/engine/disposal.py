"""Threads for what remains to be done when a process has ended: it may take seconds, and nobody is to wait for it.

They are apart from the threads that work for requests, end when there is nothing to do, and hold up nobody's exit.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

log = logging.getLogger("algorithmia.engine")


class Disposal:
    """Does what it's given in turn, on `most` threads at the same time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[Callable[[], None]] = deque()
        self._threads = 0
        self._changed = threading.Condition()

    def do(self, job: Callable[[], None]) -> None:
        """Do `job` soon; at once, and blocking, if there are no threads to be had."""
        with self._changed:
            self._waiting.append(job)
            if self._threads == self._most:
                return
            self._threads += 1
        try:
            threading.Thread(target=self._run, name="disposal", daemon=True).start()
        except RuntimeError:
            self._run()

    def wait(self, seconds: float) -> None:
        """Wait until there is nothing left to do, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._threads, seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._threads -= 1
                    self._changed.notify_all()
                    return
                job = self._waiting.popleft()
            try:
                job()
            except Exception:
                log.exception("what has ended can't be removed")
