"""2,000 files of 16 KiB up and down by `algo cp -r`, beside eight threads of urllib3 and nginx.

Both sides include the start of their process. Ours are durable when `algo` reports success; nginx syncs nothing.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import harness
from benchmarks.harness import AT_MOST, Case, Context, Figures, Target

from . import running

_ROUNDS = 5
_SIZE = 16 * 1024
_OURS, _THREADS = "ours", "urllib3 and nginx"
_UP, _DOWN = "up", "down"
_PROGRAM = Path(__file__).resolve().parent / "urllib3_threads.py"

# Seconds by direction and contender.
Samples = dict[tuple[str, str], list[float]]
_measured: weakref.WeakKeyDictionary[Context, Samples] = weakref.WeakKeyDictionary()


def times(direction: str, context: Context) -> Figures:
    if context not in _measured:
        _measured[context] = _measure(context)
    samples = {name: values for (way, name), values in _measured[context].items() if way == direction}
    return harness.figures(samples, "s", _OURS, _THREADS, note=f"{_count(context)} files of 16 KiB")


def _count(context: Context) -> int:
    return 100 if context.quick else 2000


def _measure(context: Context) -> Samples:
    samples: Samples = {(way, name): [] for way in (_UP, _DOWN) for name in (_OURS, _THREADS)}
    with context.directory() as place, running.nginx(place) as reference, running.ours(place) as platform:
        source, target = place / "source", place / "target"
        source.mkdir()
        for number in range(_count(context)):
            (source / f"file-{number:04}").write_bytes(os.urandom(_SIZE))
        for number in range(-1, context.rounds(_ROUNDS)):  # the one before the first isn't counted
            taken: dict[tuple[str, str], float] = {}
            ways: list[Callable[[], None]] = [
                partial(_round_of_ours, platform, source, target, f"small{number + 1}", taken),
                partial(_round_of_threads, context, reference, source, target, taken),
            ]
            for way in ways[:: 1 if number % 2 else -1]:
                way()
            if number >= 0:
                for which, seconds in taken.items():
                    samples[which].append(seconds)
    return samples


def _round_of_ours(
    platform: running.Ours, source: Path, target: Path, collection: str, taken: dict[tuple[str, str], float]
) -> None:
    uri = f"data://.my/{collection}"
    os.sync()
    taken[_UP, _OURS] = platform.copy(str(source), uri, "-r").seconds
    os.sync()
    taken[_DOWN, _OURS] = platform.copy(uri, str(target), "-r").seconds
    _compare(source, target)
    platform.request("DELETE", f"/v1/data/.my/{collection}?force=true")


def _round_of_threads(
    context: Context, reference: running.Nginx, source: Path, target: Path, taken: dict[tuple[str, str], float]
) -> None:
    python, environment = context.peers.python("http"), harness.clean_environment(reference.home)

    def run(way: str, directory: Path) -> float:
        command = [python, str(_PROGRAM), way, reference.address, str(directory), str(_count(context))]
        return running.measure(command, environment).seconds

    os.sync()
    taken[_UP, _THREADS] = run(_UP, source)
    os.sync()
    target.mkdir()
    taken[_DOWN, _THREADS] = run(_DOWN, target)
    _compare(source, target)
    shutil.rmtree(reference.data)
    reference.data.mkdir()


def _compare(source: Path, target: Path) -> None:
    """That `target` holds what `source` does, bit for bit, and nothing else; then it is removed."""
    names = sorted(os.listdir(source))
    if sorted(os.listdir(target)) != names:
        raise RuntimeError(f"{len(os.listdir(target))} files came back of {len(names)}")
    wrong = [name for name in names if not filecmp.cmp(source / name, target / name, shallow=False)]
    if wrong:
        raise RuntimeError(f"came back changed: {', '.join(wrong[:5])}")
    shutil.rmtree(target)


CASES = [
    Case("transfer-small-up", "2,000 files of 16 KiB up", Target(AT_MOST, 1.8), partial(times, _UP), ("http",)),
    Case("transfer-small-down", "2,000 files of 16 KiB down", Target(AT_MOST, 1.2), partial(times, _DOWN), ("http",)),
]
