"""The rest of a large download over several connections at once, each fetching one stretch after the other.

What one connection can bring is often bounded by the way it takes rather than by either end. Where it is not, as on one
machine, further ones would only cost; so they are opened when the first has shown what it brings.
"""
import threading

from . import errors
from .buffers import SIZE

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple  # noqa: F401

    from ._types import Progress  # noqa: F401
    from .incoming import Incoming  # noqa: F401
    from .partial_files import Part  # noqa: F401

STRETCH = 8 * 1024 * 1024
_TICK = 0.2  # on 2.7 only a wait with a limit can be interrupted from the keyboard
_PATIENCE = 2.0  # seconds for connections to end; one that waits for the network can't be told


class Ranges(object):
    """Fetches from `first.position` to `size` into `part`.

    make    a function that gives an `Incoming` for a start and a stop
    first   the connection there is already
    number  of connections
    digest  the hash object of what comes before
    """

    def __init__(self, make, first, part, size, number, digest, progress):
        # type: (Any, Incoming, Part, int, int, Any, Progress) -> None
        self._make = make
        self._first = first  # type: Optional[Incoming]
        self._part = part
        self._size = size
        self._number = number
        self._digest = digest
        self._progress = progress
        self._next = self._begin = self._complete = first.position
        self._reached = {}  # type: Dict[int, int]  # start of each stretch behind `_complete` -> how far it is
        self._change = threading.Condition()
        self._problem = None  # type: Optional[BaseException]
        self._is_stopped = False
        self._running = number
        self._returned = []  # type: List[Tuple[int, int, int]]  # begun by who gave up: start, how far, stop

    def frontier(self):
        # type: () -> int
        """Up to here there are no gaps."""
        with self._change:
            while self._complete in self._reached:
                reached = self._reached[self._complete]
                if reached < min(self._complete + STRETCH, self._size):
                    return reached
                del self._reached[self._complete]
                self._complete = reached
            return self._complete

    def run(self):
        # type: () -> None
        """Fetch and hash everything. Raises what the last connection did if all failed, or `progress`."""
        self._part.allow_gaps(self.frontier, self._size)
        threads = [threading.Thread(target=self._guarded, args=(self._hash,))]  # type: List[threading.Thread]
        threads += [threading.Thread(target=self._guarded, args=(self._fetch,)) for _ in range(self._number)]
        for thread in threads:
            thread.daemon = True
            thread.start()
        told = 0
        try:
            while any(thread.is_alive() for thread in threads) and self._problem is None:
                with self._change:
                    self._change.wait(_TICK)
                    done = self._complete - self._begin
                    done += sum(reached - start for start, reached in self._reached.items())
                if self._progress is not None and done > told:
                    told, count = done, done - told
                    self._progress(count)
            if self._problem is not None:
                raise self._problem
            done = self._size - self._begin
            if self._progress is not None and done > told:
                self._progress(done - told)
        except BaseException:
            self._is_stopped = True
            with self._change:
                self._change.notify_all()
            for thread in threads:
                thread.join(_PATIENCE / len(threads))
            raise

    def _guarded(self, work):
        # type: (Any) -> None
        try:
            work()
        except BaseException as problem:  # of whatever kind: it is raised where this was begun
            with self._change:
                self._problem = self._problem or problem
        finally:
            with self._change:
                self._change.notify_all()

    def _fetch(self):
        # type: () -> None
        """Fetch one stretch after the other. What fails is left to the others, as long as there are any."""
        buffer = memoryview(bytearray(SIZE // 2))  # there may be many of them
        while not self._is_stopped:
            with self._change:
                taken = self._take()
                if taken is None:
                    self._running -= 1
                    return
                start, position, stop = taken
                incoming, self._first = self._first, None
            if incoming is None:
                incoming = self._make(position, stop)
            else:
                incoming.stop = stop
            try:
                while not self._is_stopped:
                    count = incoming.readinto(buffer)
                    if not count:
                        break
                    if not self._part.write(buffer[:count], incoming.position - count):
                        return
                    with self._change:
                        self._reached[start] = incoming.position
                        self._change.notify_all()
            except errors.ApiError as problem:
                with self._change:
                    self._running -= 1
                    if not self._running or not isinstance(problem, errors.PASSING):
                        raise
                    self._returned.append((start, incoming.position, stop))
                    return
            finally:
                incoming.close()

    def _take(self):
        # type: () -> Optional[Tuple[int, int, int]]
        """What is to be fetched next: the start of a stretch, the first byte that it lacks, its end."""
        if self._returned:
            return self._returned.pop()
        start = self._next
        if start >= self._size:
            return None
        self._next = stop = min(start + STRETCH, self._size)
        self._reached[start] = start
        return start, start, stop

    def _hash(self):
        # type: () -> None
        """Follow the frontier."""
        position = self._begin
        while position < self._size:
            with self._change:
                while self.frontier() == position and not self._is_stopped:
                    self._change.wait(_TICK)
                frontier = self.frontier()
            if self._is_stopped:
                return
            position = hash_written(self._part, self._digest, position, frontier)


def hash_written(part, digest, position, end):
    # type: (Part, Any, int, int) -> int
    """Hash what `part` has from `position` to `end`; returns `end`."""
    buffer = memoryview(bytearray(SIZE))
    while position < end:
        count = part.readinto(buffer[: min(SIZE, end - position)], position)
        if not count:
            raise IOError("%s became shorter while it was read" % part.path)
        digest.update(buffer[:count])
        position += count
    return end
