"""Calls: latency of one after another, and throughput of eight threads."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks import harness
from benchmarks.client import HERE, KEY, echo_server
from benchmarks.harness import AT_LEAST, AT_MOST, Case, Context, Figures, Target

# Contender: the environment that it is installed in; ours is the running interpreter's.
_PLACES = {"ours": None, "old client": "old"}


class Driver:
    """A contender's process; calling it measures one round."""

    def __init__(self, context: Context, name: str, address: str, home: Path, stack: contextlib.ExitStack) -> None:
        place = _PLACES.get(name, "http")
        python = context.peers.python(place) if place else sys.executable
        environment = harness.clean_environment(home) if place else harness.our_environment(home)
        self._name = name
        process = stack.enter_context(
            harness.process(
                [python, str(HERE / "drivers.py"), name, address, KEY],
                environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        )
        assert process.stdin and process.stdout
        self._commands, self._answers = process.stdin, process.stdout

    def ask(self, command: str) -> float:
        self._commands.write(command.encode() + b"\n")
        self._commands.flush()
        answer = self._answers.readline()
        if not answer:
            raise RuntimeError(f"the client {self._name} failed at {command!r}; its message is above")
        return float(answer)


def _measure(context: Context, names: Sequence[str], command: str, rounds: int) -> dict[str, list[float]]:
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(context.directory())
        address = stack.enter_context(echo_server(home))
        drivers = {name: Driver(context, name, address, home, stack) for name in names}
        contenders: dict[str, Callable[[], float]] = {
            name: partial(driver.ask, command) for name, driver in drivers.items()
        }
        return harness.interleave(contenders, context.rounds(rounds), seconds=40)


def sequential(context: Context) -> Figures:
    names = ["ours", "requests", "old client", "httpx", "urllib3", "http.client"]
    samples = _measure(context, names, "calls 50" if context.quick else "calls 400", rounds=15)
    return harness.figures(samples, "ms", "ours", "requests", scale=1e3)


def threads(context: Context) -> Figures:
    names = ["ours", "old client", "urllib3"]
    samples = _measure(context, names, "threads 8 160" if context.quick else "threads 8 1200", rounds=11)
    return harness.figures(samples, "calls/s", "ours", "old client")


CASES = [
    Case(
        "sequential",
        "pipe(), one call after another",
        Target(AT_MOST, 0.65),
        sequential,
        ("http", "old"),
    ),
    Case("threads", "pipe() from 8 threads", Target(AT_LEAST, 1.8), threads, ("http", "old")),
]
