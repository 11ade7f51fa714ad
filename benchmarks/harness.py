"""What every benchmark shares: cases, interleaved rounds, processes that surely end, and the table.

A `Case` measures one thing for us and for at least one reference, in turns, so that a busy machine slows both. What is
compared are medians. Nothing here is imported by the product.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .peers import Peers

ROOT = Path(__file__).resolve().parent.parent
AT_MOST, AT_LEAST = "<=", ">="


@dataclass(frozen=True)
class Target:
    """What a case has to reach: its ratio to the reference, or with `unit` our own figure."""

    relation: str
    bound: float
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.relation} {self.bound:g}" + (f" {self.unit}" if self.unit else "x")

    def met_by(self, ours: float, ratio: float) -> bool:
        value = ours if self.unit else ratio
        return value <= self.bound if self.relation == AT_MOST else value >= self.bound


@dataclass
class Figures:
    """The result of one case: medians in `unit`, the reference's name, and other contenders for comparison.

    spread  half the distance between the quartiles of our rounds, relative to their median
    """

    unit: str
    ours: float
    reference: float
    reference_name: str
    also: dict[str, float] = field(default_factory=dict)
    rounds: int = 0
    spread: float = 0.0
    note: str = ""

    @property
    def ratio(self) -> float:
        return self.ours / self.reference if self.reference else float("nan")


@dataclass(frozen=True)
class Case:
    """One benchmark: `measure` takes the `Context` of the run and returns `Figures`."""

    name: str
    what: str
    target: Target
    measure: Callable[[Context], Figures]
    peers: tuple[str, ...] = ()


class Context:
    """What a run gives its cases.

    quick  only check that the benchmark works: few, short rounds
    peers  interpreters of the references
    """

    def __init__(self, peers: Peers, quick: bool, scratch: Path) -> None:
        self.peers = peers
        self.quick = quick
        self.scratch = scratch

    def rounds(self, full: int) -> int:
        """How many rounds to run where the full benchmark runs `full`."""
        return 1 if self.quick else full

    @contextlib.contextmanager
    def directory(self) -> Iterator[Path]:
        """A fresh directory that is gone afterwards."""
        path = Path(tempfile.mkdtemp(dir=self.scratch))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def interleave(
    contenders: Mapping[str, Callable[[], float]], rounds: int, seconds: float = 60.0
) -> dict[str, list[float]]:
    """Measure every contender once per round, starting with another one each time, after one round that isn't counted.

    Stops early, after three rounds at least, when `seconds` are over.
    """
    names = list(contenders)
    for name in names:
        contenders[name]()
    samples: dict[str, list[float]] = {name: [] for name in names}
    deadline = time.monotonic() + seconds
    for number in range(rounds):
        if number >= 3 and time.monotonic() > deadline:
            break
        first = number % len(names)
        for name in names[first:] + names[:first]:
            samples[name].append(contenders[name]())
    return samples


def figures(
    samples: Mapping[str, Sequence[float]], unit: str, ours: str, reference: str, scale: float = 1.0, note: str = ""
) -> Figures:
    """The medians of `samples`, of which `ours` is compared with `reference`."""
    medians = {name: statistics.median(values) * scale for name, values in samples.items()}
    also = {name: value for name, value in medians.items() if name not in (ours, reference)}
    count = len(samples[ours])
    spread = 0.0
    if count >= 4 and medians[ours]:
        low, _, high = statistics.quantiles(samples[ours], n=4)
        spread = (high - low) / 2 * scale / abs(medians[ours])
    return Figures(unit, medians[ours], medians[reference], reference, also, count, spread, note)


def clean_environment(home: Path, **extra: str) -> dict[str, str]:
    """The environment of a measured process: its own home, no proxies, nothing of the person's own settings."""
    dropped = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle")
    environment = {
        name: value
        for name, value in os.environ.items()
        if name.lower() not in dropped and not name.startswith(("ALGORITHMIA_", "PYTHON"))
    }
    environment.update(HOME=str(home), ALGORITHMIA_HOME=str(home / ".algorithmia"), **extra)
    return environment


def our_environment(home: Path, **extra: str) -> dict[str, str]:
    """`clean_environment` in which ``import Algorithmia`` is this checkout."""
    return clean_environment(home, PYTHONPATH=str(ROOT), **extra)


def our_algo() -> list[str]:
    """The `algo` command beside this interpreter, or the module if the console script isn't installed."""
    script = Path(sys.executable).parent / "algo"
    return [str(script)] if script.exists() else [sys.executable, "-m", "Algorithmia"]


def run_timed(command: Sequence[str], environment: Mapping[str, str], expect: str = "") -> float:
    """Seconds from spawn to exit of `command`, whose output must contain `expect`. Raises RuntimeError if it fails.

    It runs in its home directory, where there is nothing for it to import.
    """
    started = time.perf_counter()
    done = subprocess.run(
        command,
        env=environment,
        cwd=environment["HOME"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
    )
    seconds = time.perf_counter() - started
    output = done.stdout.decode("utf-8", "replace")
    if done.returncode or expect not in output:
        problem = done.stderr.decode("utf-8", "replace")[-2000:]
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {output[-500:]!r}\n{problem}")
    return seconds


@contextlib.contextmanager
def process(command: Sequence[str], environment: Mapping[str, str], **options: Any) -> Iterator[subprocess.Popen]:
    """A process in its home directory and a session of its own, which is ended, with its process group, afterwards."""
    options = {"stdin": subprocess.DEVNULL, "cwd": environment["HOME"], **options}
    child = subprocess.Popen(command, env=environment, start_new_session=True, **options)
    try:
        yield child
    finally:
        end(child)


def first_line(child: subprocess.Popen, seconds: float = 60.0) -> str:
    """The first line that `child` writes; empty if it ends without one, which it is made to after `seconds`."""
    timer = threading.Timer(seconds, child.kill)
    timer.start()
    assert child.stdout is not None
    try:
        return child.stdout.readline().decode("utf-8", "replace").rstrip()
    finally:
        timer.cancel()


def end(child: subprocess.Popen, patience: float = 15.0) -> None:
    """Terminate the process `child`, wait, and only then kill its group."""
    if child.poll() is None:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(patience)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def table(rows: Sequence[tuple[Case, Figures | None, str]]) -> str:
    """The report: one line per case, below it the other contenders."""
    header = ("what", "ours", "reference", "ratio", "target", "ok?")
    lines: list[tuple[str, ...]] = [header]
    below: list[str] = [""]
    for case, result, problem in rows:
        if result is None:
            lines.append((case.what, "-", "-", "-", str(case.target), "FAILED"))
            below.append(f"    {problem}")
            continue
        met = "yes" if case.target.met_by(result.ours, result.ratio) else "NO"
        lines.append(
            (
                case.what,
                f"{result.ours:.4g} {result.unit}",
                f"{result.reference:.4g} {result.unit} ({result.reference_name})",
                f"{result.ratio:.2f}",
                str(case.target),
                met,
            )
        )
        others = [f"{name} {value:.4g} {result.unit}" for name, value in result.also.items()]
        facts = f"{result.rounds} rounds, ±{result.spread:.0%}" if result.spread else ""
        below.append("\n".join(f"    {line}" for line in (", ".join(others), facts, result.note) if line))
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    text = []
    for line, under in zip(lines, below):
        text.append("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
        if under:
            text.append(under)
    return "\n".join(text)
