"""A few buffers through which large contents pass: filled by one thread, hashed by another, and filled again.

New bytes objects for every piece would cost more time than the network does.
"""
import threading

from six.moves import queue

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Callable  # noqa: F401

SIZE = 512 * 1024
_COUNT = 4
# A signal's exception in the middle of a queue's `put` can take the next wake-up away: so whoever waits for the thread
# says so again.
_TICK = 0.2


class Buffers(object):
    """Buffers, and the thread that hashes what is in them. `close` it in any case.

    digest  a hash object, which is the thread's until `drain` returns
    """

    def __init__(self, digest):
        # type: (Any) -> None
        self._digest = digest
        self._free = queue.Queue()  # type: Any
        self._work = queue.Queue()  # type: Any
        for _ in range(_COUNT):
            self._free.put(memoryview(bytearray(SIZE)))
        self._thread = threading.Thread(target=self._hash_all)
        self._thread.daemon = True
        self._thread.start()

    def take(self):
        # type: () -> Any
        """A buffer that nobody uses, as a memoryview: fill it, `hash` of it what is to be hashed, and `release` it."""
        return self._free.get()

    def hash(self, view):
        # type: (Any) -> None
        """Hash `view`, part of a buffer that has not been released yet, after what came before it."""
        self._work.put((self._digest.update, view))

    def release(self, view):
        # type: (Any) -> None
        """The buffer may be filled again, once what is to be hashed of it has been."""
        self._work.put((self._free.put, view))

    def then(self, action, argument):
        # type: (Callable[[Any], object], Any) -> None
        """Have the thread do something else once it gets there."""
        self._work.put((action, argument))

    def drain(self):
        # type: () -> None
        """Wait until all has been hashed."""
        done = threading.Event()
        self._work.put((lambda _: done.set(), None))
        while not done.wait(_TICK):
            self._work.put((lambda _: None, None))

    def close(self):
        # type: () -> None
        """End the thread; harmless twice."""
        while self._thread.is_alive():
            self._work.put(None)
            self._thread.join(_TICK)

    def _hash_all(self):
        # type: () -> None
        for action, argument in iter(self._work.get, None):
            action(argument)


def fill(readinto, view):
    # type: (Callable[[Any], int], Any) -> int
    """Fill `view` as far as `readinto` gives anything; returns how far."""
    filled = 0
    while filled < len(view):
        count = readinto(view[filled:])
        if not count:
            break
        filled += count
    return filled


def reader_of(source):
    # type: (Any) -> Callable[[Any], int]
    """A function that reads from `source`, a binary file object, into a buffer."""
    if hasattr(source, "readinto"):
        return source.readinto

    def readinto(view):
        # type: (Any) -> int
        data = source.read(len(view))
        view[: len(data)] = data
        return len(data)

    return readinto
