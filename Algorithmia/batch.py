"""Many calls at once: `Algorithm.submit` (a future) and `Algorithm.map` (ordered results). A mixin of `Algorithm`.

API document: "Call an Algorithm", as `pipe`. Futures are those of ``concurrent.futures``, which on CPython 2.7 is the
package ``futures``.
"""
import threading
import time
from collections import deque
from itertools import islice

from . import errors

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator  # noqa: F401
    from concurrent.futures import Future  # noqa: F401
    from typing import Any, Dict, List, Optional, Union  # noqa: F401

    from ._types import BatchBase
else:
    BatchBase = object

DEFAULT_CONCURRENCY = 8
# A platform that is full refuses before it runs anything, so asking again is safe; this long in all.
_PATIENCE = 300.0
_LONGEST_PAUSE = 10.0
_TICK = 0.2


class BatchCalls(BatchBase):
    """The batch half of `Algorithm`; needs `self.pipe` and `self.client`."""

    def submit(self, input1):
        # type: (Any) -> Future[Any]
        """Call the algorithm with `input1` in the background and return a ``concurrent.futures.Future``.

        ``future.result(timeout)`` is what `pipe` returns, or raises what `pipe` raises. ``future.cancel()`` also works
        while the call runs: the connection is closed and the platform ends the algorithm's work; `result` then raises
        ``concurrent.futures.CancelledError``. The call starts at once, on a thread of its own, with the options that
        are set now. When the platform refuses because too many calls are in flight (429, before anything has run), it
        is asked again, for at most five minutes.

        Raises ImportError on CPython 2.7 without the package ``futures``.
        """
        future = _future_class()()  # type: Any
        copy = self._with_same_options()
        thread = threading.Thread(target=future.run_call, args=(copy, input1), name="algo-submit")
        thread.daemon = True
        thread.start()
        return future

    def map(self, inputs, concurrency=DEFAULT_CONCURRENCY, return_exceptions=False, progress=None):
        # type: (Iterable[Any], int, bool, Union[Callable[[int], object], bool, None]) -> Iterator[Any]
        """Call the algorithm with each of `inputs`, up to `concurrency` at a time; yields the results in their order.

        Nothing is called before the first result is asked for, `inputs` may be endless, and at most twice `concurrency`
        results wait to be taken. What each yields is what `pipe` returns.

        return_exceptions  yield the exception of a call that failed in the place of its result; otherwise it is raised
                           there, and the calls that still run are cancelled
        progress           called with the number of calls that have ended, each time one does; what it raises ends the
                           whole. True shows a bar (needs the package tqdm)

        Leaving the loop early cancels what is in flight. Raises as `submit`; ValueError if `concurrency` is below 1.
        """
        if concurrency < 1:
            raise ValueError("concurrency must be 1 or more, not %r" % (concurrency,))
        _future_class()
        return self._map(iter(inputs), concurrency, return_exceptions, progress)

    def _map(self, inputs, concurrency, return_exceptions, progress):
        # type: (Iterator[Any], int, bool, Any) -> Iterator[Any]
        report, close = _reporter(progress)
        crew = _Crew(self._with_same_options(), concurrency, report)
        window = deque()  # type: deque[Any]
        try:
            while True:
                # Twice as many as may run: one slow call at the head doesn't leave the others idle.
                for value in islice(inputs, 2 * concurrency - len(window)):
                    window.append(crew.submit(value))
                if not window:
                    break
                error = window[0].exception()
                if crew.problem is not None:
                    raise crew.problem
                future = window.popleft()
                if error is None:
                    yield future.result()
                elif return_exceptions:
                    yield error
                else:
                    raise error
        finally:
            for future in window:
                future.cancel()
            crew.dismiss(wait=not window)
            close()
        if crew.problem is not None:  # of the last report, perhaps
            raise crew.problem

    def _with_same_options(self):
        # type: () -> Any
        copy = type(self)(self.client, self.path)
        copy.output_type, copy.query_parameters = self.output_type, self.query_parameters
        return copy


class _Crew(object):
    """Up to `size` threads that make calls one after the other; started as there is work for them.

    problem  what `report` raised, if it did: it is not called again then
    """

    def __init__(self, algorithm, size, report):
        # type: (Any, int, Callable[[int], object]) -> None
        from six.moves.queue import Queue

        self._algorithm = algorithm
        self._size = size
        self._report = report
        self.problem = None  # type: Optional[Exception]
        self._jobs = Queue()  # type: Any
        self._lock = threading.Lock()
        self._threads = []  # type: List[threading.Thread]
        self._submitted = self._ended = 0

    def submit(self, value):
        # type: (Any) -> Any
        """The future of a call with `value`."""
        future = _future_class()()
        self._jobs.put((future, value))
        self._submitted += 1
        if len(self._threads) < min(self._size, self._submitted - self._ended):
            thread = threading.Thread(target=self._work, name="algo-map")
            thread.daemon = True
            thread.start()
            self._threads.append(thread)
        return future

    def dismiss(self, wait):
        # type: (bool) -> None
        """Let the threads end when they have done what there is to do; `wait` for that, so that all is reported."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads if wait else ():
            while thread.is_alive():  # a signal's exception in `submit` can have taken a wake-up away
                thread.join(_TICK)
                self._jobs.put(None)

    def _work(self):
        # type: () -> None
        for future, value in iter(self._jobs.get, None):
            future.run_call(self._algorithm, value)
            with self._lock:
                self._ended += 1
                if self.problem is None:
                    try:
                        self._report(self._ended)
                    except Exception as problem:
                        self.problem = problem


def _reporter(progress):
    # type: (Any) -> Any
    """``(report, close)`` functions for the forms of `progress`."""
    if progress is None or progress is False:
        return (lambda count: None), (lambda: None)
    if progress is not True:
        return progress, (lambda: None)
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise ImportError("progress=True needs the package tqdm: pip install tqdm, or give a function")
    bar = tqdm(unit="call")
    return (lambda count: bar.update(count - bar.n)), bar.close


_classes = {}  # type: Dict[str, Any]


def _future_class():
    # type: () -> Any
    """The class of the futures, made when first needed: importing ``concurrent.futures`` takes its time."""
    if "future" in _classes:
        return _classes["future"]
    try:
        from concurrent.futures import CancelledError, Future
    except ImportError:
        raise ImportError("map and submit need the package futures on this Python: pip install futures")

    class CallFuture(Future):
        """A call in the background. Cancelling it while it runs breaks its connection off."""

        def __init__(self):
            # type: () -> None
            super(CallFuture, self).__init__()
            self._guard = threading.Lock()
            self._sending = None  # type: Any  # the client and thread of a call in flight
            self._is_given_up = threading.Event()

        def cancel(self):
            # type: () -> bool
            """Cancel the call, also while it runs; False if it has ended."""
            if super(CallFuture, self).cancel():
                return True
            with self._guard:
                if self.done():
                    return self._is_given_up.is_set()
                self._is_given_up.set()
                if self._sending is not None:
                    self._sending[0].abort(self._sending[1])
            return True

        def cancelled(self):
            # type: () -> bool
            """Whether the call was cancelled before it ended."""
            return super(CallFuture, self).cancelled() or (self._is_given_up.is_set() and self.done())

        def run_call(self, algorithm, value):
            # type: (Any, Any) -> None
            """Make the call and settle this future; on the thread made for it."""
            if not self.set_running_or_notify_cancel():
                return
            result, error = None, None  # type: Any, Optional[BaseException]
            try:
                result = self._call(algorithm, value)
            except BaseException as problem:
                error = problem
            with self._guard:
                self._sending = None
                if self._is_given_up.is_set():
                    error = CancelledError()
            if error is not None:
                self.set_exception(error)
            else:
                self.set_result(result)

        def _call(self, algorithm, value):
            # type: (Any, Any) -> Any
            import random

            give_up = time.time() + _PATIENCE
            while True:
                with self._guard:
                    if self._is_given_up.is_set():
                        raise CancelledError()
                    self._sending = (algorithm.client, threading.current_thread().ident)
                try:
                    return algorithm.pipe(value)
                except errors.TooManyRequestsError as refusal:
                    pause = min(refusal.retry_after or 1.0, _LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311
                    if not refusal.retry_after or time.time() + pause > give_up:
                        raise
                finally:
                    with self._guard:
                        self._sending = None
                self._is_given_up.wait(pause)

    _classes["future"] = CallFuture
    return CallFuture
