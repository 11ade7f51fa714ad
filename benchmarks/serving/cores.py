"""How many cores: the platform by itself beside the platform with gateways, and where the processor's time goes."""

from __future__ import annotations

import contextlib
import os
import statistics
import weakref
from functools import partial
from pathlib import Path

from benchmarks.embedded import memory
from benchmarks.harness import AT_LEAST, Case, Context, Figures, Target

from . import contenders, wrk

CONNECTIONS = (16, 64)
_SECONDS = 3.0
_ROUNDS = 4
_ALONE, _OURS = "no gateway", "2 gateways"
_FLAGS = {_ALONE: (), "1 gateway": ("--gateways", "1"), _OURS: ("--gateways", "2"), "3 gateways": ("--gateways", "3")}
_TICK = os.sysconf("SC_CLK_TCK")


class Measured:
    """Samples by contender and connections: calls a second, and microseconds of processor time a call took the
    platform's process and its gateways (the least of all rounds, which other work disturbs least)."""

    def __init__(self) -> None:
        self.rates: dict[tuple[str, int], list[float]] = {}
        self.times: dict[tuple[str, int], list[tuple[float, float]]] = {}

    def add(self, name: str, count: int, sample: wrk.Sample, seconds: float, used: tuple[float, float]) -> None:
        calls = sample.rate * seconds
        self.rates.setdefault((name, count), []).append(sample.rate)
        self.times.setdefault((name, count), []).append((used[0] / calls * 1e6, used[1] / calls * 1e6))

    def time(self, name: str, count: int) -> tuple[float, float]:
        return min(self.times[name, count], key=sum)


_measured: weakref.WeakKeyDictionary[Context, Measured] = weakref.WeakKeyDictionary()


def _measure(context: Context) -> Measured:
    """All of them at the same time, idle but for the one whose turn it is; once in this run."""
    if context in _measured:
        return _measured[context]
    wrk.program()
    measured = Measured()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contenders.two_cores())
        scratch = stack.enter_context(context.directory())
        running = {name: stack.enter_context(contenders.platform(*flags)(context)) for name, flags in _FLAGS.items()}
        names = list(running)
        for number in range(-1, context.rounds(_ROUNDS)):  # the one before the first isn't counted
            first = number % len(names)
            for name in names[first:] + names[:first]:
                for count in CONNECTIONS if number >= 0 else (16,):
                    seconds = 1.0 if context.quick or number < 0 else _SECONDS
                    before = _used(running[name].pid)
                    sample = running[name].load(count, seconds, scratch)
                    after = _used(running[name].pid)
                    if number >= 0:
                        measured.add(name, count, sample, seconds, (after[0] - before[0], after[1] - before[1]))
    _measured[context] = measured
    return measured


def _used(pid: int) -> tuple[float, float]:
    """Seconds of processor time of a platform's process, and of its gateways."""
    gateways = [child for child in memory.tree(pid) if "gateway.process" in memory.command_line(child)]
    return _seconds(pid), sum(map(_seconds, gateways))


def _seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def growth(connections: int, context: Context) -> Figures:
    """Calls a second with two gateways, and by the platform's process alone."""
    measured = _measure(context)
    medians = {name: statistics.median(measured.rates[name, connections]) for name in _FLAGS}
    also = {name: medians[name] for name in _FLAGS if name not in (_ALONE, _OURS)}
    alone, _ = measured.time(_ALONE, connections)
    platform, gateways = measured.time(_OURS, connections)
    note = f"{connections} connections; processor time a call: {alone:.0f} µs alone, "
    note += f"{platform:.0f} + {gateways:.0f} µs with 2 gateways"
    rounds = len(measured.rates[_OURS, connections])
    return Figures("calls/s", medians[_OURS], medians[_ALONE], _ALONE, also, rounds, 0.0, note)


CASES = [
    Case("serving-cores", "calls a second on two cores", Target(AT_LEAST, 1.2), partial(growth, 16)),
    Case("serving-cores-64", "the same", Target(AT_LEAST, 1.2), partial(growth, 64)),
]
