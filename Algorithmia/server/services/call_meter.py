"""What /metrics tells of calls: how many ended how, and how long they waited and ran.

Counting is part of every call, so it takes a fraction of a microsecond: plain numbers and lists made beforehand,
changed on the event loop's thread only, without locks. They are put into words when somebody asks
(`routes/metrics.py`).
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from typing import Any

from ..engine.base import Build, CallFailure, InvalidInput
from ..errors import ApiProblem

# Upper bounds of the histograms' buckets, in seconds: from what the platform itself takes to the longest timeout.
BOUNDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1000.0, 3000.0),
)
SUCCEEDED, FAILED, INVALID, REFUSED, CANCELLED = "succeeded", "failed", "invalid", "refused", "cancelled"
OUTCOMES = (SUCCEEDED, FAILED, INVALID, REFUSED, CANCELLED)
# Algorithms may invent types of their own; those are counted together.
ERROR_TYPES = frozenset(
    {
        "AlgorithmError",
        "EntityNotFoundError",
        "InitializationError",
        "InputError",
        "LoadingError",
        "OutOfMemoryError",
        "ParsingError",
        "SystemError",
        "SystemExit",
        "ThirdPartyCredentialError",
        "TimeoutError",
        "TooLargeError",
        "UnsupportedError",
    }
)
OTHER = "other"
_LONGEST_TYPE = 64


class Histogram:
    """How often a time was within which bounds. The last count is of those above them all."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """One more time."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class CallMeter:
    """Counts of calls since the platform started.

    most_algorithms  that are counted by name as well, in the order of their first call; 0 for none

    `seconds` are what a call took, from its arrival at the engine; what of it was not running was waiting. `notes` are
    what the log's line about the request says of its call.
    """

    def __init__(self, most_algorithms: int = 0) -> None:
        self.succeeded = 0
        self.others = dict.fromkeys(OUTCOMES[1:], 0)
        self.errors = dict.fromkeys((*sorted(ERROR_TYPES), OTHER), 0)
        self.queued = Histogram()
        self.running = Histogram()
        self.by_algorithm: dict[tuple[str, str], dict[str, int]] = {}
        self._most_algorithms = most_algorithms

    def ended_well(self, build: Build, running: float, seconds: float, notes: dict[str, Any]) -> None:
        """A call of `build` has its result, for which it was `running` so many of the `seconds`."""
        self.succeeded += 1
        queued = seconds - running if seconds > running else 0.0
        histogram = self.queued
        histogram.counts[bisect_left(BOUNDS, queued)] += 1
        histogram.total += queued
        histogram = self.running
        histogram.counts[bisect_left(BOUNDS, running)] += 1
        histogram.total += running
        if self._most_algorithms:
            self._count_algorithm(build, SUCCEEDED)
        notes["outcome"] = SUCCEEDED
        # Whole microseconds; `round` would take longer than everything else here.
        notes["queued"] = int(queued * 1e6) / 1e6
        notes["duration"] = int(running * 1e6) / 1e6

    def ended_badly(self, build: Build, problem: BaseException, seconds: float, notes: dict[str, Any]) -> None:
        """A call of `build` has no result because of `problem`."""
        outcome = FAILED
        if isinstance(problem, InvalidInput):
            outcome = INVALID
        elif isinstance(problem, ApiProblem):
            outcome = REFUSED
        elif isinstance(problem, asyncio.CancelledError):
            outcome = CANCELLED
        else:
            self._failed(problem, seconds, notes)
        self.others[outcome] += 1
        if self._most_algorithms:
            self._count_algorithm(build, outcome)
        notes["outcome"] = outcome

    def _failed(self, problem: BaseException, seconds: float, notes: dict[str, Any]) -> None:
        error_type = "SystemError"  # anything else than the following is the platform's fault
        if isinstance(problem, CallFailure):
            error_type = problem.error_type
            queued = max(0.0, seconds - problem.duration)
            self.queued.add(queued)
            if problem.duration:  # else it hasn't run
                self.running.add(problem.duration)
            notes["queued"] = round(queued, 6)
            notes["duration"] = round(problem.duration, 6)
        self.errors[error_type if error_type in ERROR_TYPES else OTHER] += 1
        # Algorithms can put anything there, such as their input.
        notes["error_type"] = error_type if len(error_type) <= _LONGEST_TYPE and error_type.isidentifier() else OTHER

    def _count_algorithm(self, build: Build, outcome: str) -> None:
        name = (build.owner, build.name)
        counts = self.by_algorithm.get(name)
        if counts is None:
            if len(self.by_algorithm) >= self._most_algorithms:
                name = ("", OTHER)
            counts = self.by_algorithm.setdefault(name, dict.fromkeys(OUTCOMES, 0))
        counts[outcome] += 1
