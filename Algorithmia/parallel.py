"""A few threads that work through a list, on 2.7 and 3, and end promptly and cleanly when they are told to."""
import threading
import time
from collections import deque

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Callable, Generator, Optional, Sequence, Tuple  # noqa: F401

_PATIENCE = 2.0  # seconds that jobs together have for cleaning up; one that waits for the network can't be told
_TICK = 0.2  # on 2.7 only a wait with a limit can be interrupted from the keyboard


class Stopped(Exception):
    """Raised inside a job that must not go on, so that it cleans up after itself."""


class Crew(object):
    """Runs jobs on `size` threads.

    `check` is for the jobs: it raises Stopped once the crew has been told to stop.
    """

    def __init__(self, size):
        # type: (int) -> None
        self._size = size
        self._stop = threading.Event()

    def check(self):
        # type: () -> None
        """Raises Stopped if the work is to end."""
        if self._stop.is_set():
            raise Stopped()

    def run(self, jobs, action):
        # type: (Sequence[Any], Callable[[Any], Any]) -> Generator[Tuple[Any, Any, Optional[Exception]], None, None]
        """Do ``action(job)`` for all jobs; yields ``(job, result, error)`` as they finish.

        Leaving the loop early, by break or exception, stops the crew for good, and waits for the others to clean up.
        """
        if min(self._size, len(jobs)) <= 1:
            for job in jobs:
                yield _attempt(job, action)
            return
        waiting, finished, news = deque(jobs), deque(), threading.Semaphore(0)  # type: ignore[var-annotated]

        def work():
            # type: () -> None
            while not self._stop.is_set():
                try:
                    job = waiting.popleft()
                except IndexError:
                    return
                finished.append(_attempt(job, action))
                news.release()

        threads = [threading.Thread(target=work) for _ in range(min(self._size, len(jobs)))]
        try:
            for thread in threads:
                thread.daemon = True
                thread.start()
            for _ in jobs:
                _acquire(news)
                yield finished.popleft()
        except BaseException:
            self._stop.set()
            raise
        finally:
            patience = _PATIENCE
            for thread in threads:
                if thread.ident is not None:  # started, before an interrupt came
                    began = time.time()
                    thread.join(max(0.01, patience))
                    patience -= time.time() - began


def _attempt(job, action):
    # type: (Any, Callable[[Any], Any]) -> Tuple[Any, Any, Optional[Exception]]
    try:
        return job, action(job), None
    except Exception as error:
        return job, None, error


def _acquire(semaphore):
    # type: (threading.Semaphore) -> None
    import sys

    if sys.version_info >= (3,):
        while not semaphore.acquire(timeout=_TICK):
            pass
        return
    while not semaphore.acquire(False):
        time.sleep(0.005)
