"""One large file up and down: time beside curl and nginx, and the memory that it takes on both sides.

The content is random, made once, and in the system's memory when the clocks start, for all alike. What was written is
synced between the measurements, outside of all clocks. Ours is durable when `algo` reports success, and compared on
both sides; what a sync adds to curl's figure stands beside it.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import statistics
import time
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import harness
from benchmarks.embedded.memory import MIB
from benchmarks.harness import AT_MOST, Case, Context, Figures, Target

from . import running
from .memory import Growth

GIB = 1024 * MIB
_ROUNDS = 5
_COLLECTION = "large"
_OURS, _CURL, _SYNCED = "ours", "curl and nginx", "curl and fsync"
_UP, _DOWN = "up", "down"

# Seconds by direction and contender.
Samples = dict[tuple[str, str], list[float]]
_measured: weakref.WeakKeyDictionary[Context, Samples] = weakref.WeakKeyDictionary()
# Peak of `algo` and growth of the server, in bytes, by size and run.
_occupied: weakref.WeakKeyDictionary[Context, dict[int, tuple[dict[str, int], dict[str, int]]]] = (
    weakref.WeakKeyDictionary()
)


def random_file(path: Path, size: int) -> None:
    """Random bytes at `path`, which are in the system's memory afterwards."""
    with open(path, "wb") as target:
        while size:
            size -= target.write(os.urandom(min(size, 8 * MIB)))


def times(direction: str, context: Context) -> Figures:
    if context not in _measured:
        _measured[context] = _measure(context)
    samples = {name: values for (way, name), values in _measured[context].items() if way == direction}
    size = "64 MiB" if context.quick else "1 GiB"
    rate = (64 * MIB if context.quick else GIB) / 1e6 / statistics.median(samples[_OURS])
    note = f"{size}; ours {rate:.0f} MB/s, checked and durable when it has ended"
    return harness.figures(samples, "s", _OURS, _CURL, note=note)


def _measure(context: Context) -> Samples:
    samples: Samples = {(way, name): [] for way in (_UP, _DOWN) for name in (_OURS, _CURL, _SYNCED)}
    with context.directory() as place, running.nginx(place) as reference, running.ours(place) as platform:
        platform.make_collection(_COLLECTION)
        source, target = place / "source", place / "target"
        random_file(source, 64 * MIB if context.quick else GIB)
        for number in range(-1, context.rounds(_ROUNDS)):  # the one before the first isn't counted
            taken: dict[tuple[str, str], float] = {}
            ways: list[Callable[[], None]] = [
                partial(_round_of_ours, platform, source, target, taken),
                partial(_round_of_curl, reference, source, target, taken),
            ]
            for way in ways[:: 1 if number % 2 else -1]:
                way()
            if number >= 0:
                for which, seconds in taken.items():
                    samples[which].append(seconds)
    return samples


def _round_of_ours(platform: running.Ours, source: Path, target: Path, taken: dict[tuple[str, str], float]) -> None:
    uri = f"data://.my/{_COLLECTION}/file"
    os.sync()
    taken[_UP, _OURS] = platform.copy(str(source), uri).seconds
    os.sync()
    taken[_DOWN, _OURS] = platform.copy(uri, str(target)).seconds
    _compare(source, target)
    platform.request("DELETE", f"/v1/data/.my/{_COLLECTION}/file")


def _round_of_curl(reference: running.Nginx, source: Path, target: Path, taken: dict[tuple[str, str], float]) -> None:
    os.sync()
    taken[_UP, _CURL] = reference.curl("-T", str(source), "file").seconds
    taken[_UP, _SYNCED] = taken[_UP, _CURL] + _sync(reference.data / "file")
    os.sync()
    taken[_DOWN, _CURL] = reference.curl("-o", str(target), "file").seconds
    taken[_DOWN, _SYNCED] = taken[_DOWN, _CURL] + _sync(target)
    _compare(source, target)
    (reference.data / "file").unlink()


def _sync(path: Path) -> float:
    started = time.perf_counter()
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    return time.perf_counter() - started


def _compare(source: Path, target: Path) -> None:
    """That `target` is `source`, bit for bit; then it is removed."""
    if not filecmp.cmp(source, target, shallow=False):
        raise RuntimeError(f"what came back is not what was sent: {target.stat().st_size} bytes")
    target.unlink()


def client_memory(size: int, context: Context) -> Figures:
    """The most that `algo` occupied, and beside it what it takes for a file of one byte."""
    peaks, _ = _memory(context, size)
    return _of_memory(peaks, context, "algo cp of a byte")


def server_memory(size: int, context: Context) -> Figures:
    """By how much the server was larger than before, at most, and the same for a file of one byte."""
    _, growth = _memory(context, size)
    return _of_memory(growth, context, "for a byte")


def _of_memory(found: dict[str, int], context: Context, small: str) -> Figures:
    worst = max((_UP, _DOWN), key=found.__getitem__)
    also = {way: found[way] / MIB for way in (_UP, _DOWN)}
    note = "64 MiB" if context.quick else f"ours: on the way {worst}"
    return Figures("MiB", found[worst] / MIB, found[small] / MIB, small, also, 1, 0.0, note)


def _memory(context: Context, size: int) -> tuple[dict[str, int], dict[str, int]]:
    known = _occupied.setdefault(context, {})
    if size not in known:
        known[size] = _measure_memory(context, 64 * MIB if context.quick else size)
    return known[size]


def _measure_memory(context: Context, size: int) -> tuple[dict[str, int], dict[str, int]]:
    peaks, growth = {}, {}
    with context.directory() as place, running.ours(place) as platform:
        platform.make_collection(_COLLECTION)
        source, target, uri = place / "source", place / "target", f"data://.my/{_COLLECTION}/file"
        source.write_bytes(b"x")
        # A first transfer both ways, so that what is made once and for all is there already.
        platform.copy(str(source), uri)
        platform.copy(uri, str(target))
        with Growth(platform.server.pid) as grown:
            peaks["algo cp of a byte"] = platform.copy(str(source), uri).peak
        growth["for a byte"] = grown.bytes
        random_file(source, size)
        for way, operands in ((_UP, (str(source), uri)), (_DOWN, (uri, str(target)))):
            with Growth(platform.server.pid) as grown:
                peaks[way] = platform.copy(*operands).peak
            growth[way] = grown.bytes
        with contextlib.ExitStack() as stack:
            stack.callback(target.unlink)
            if not filecmp.cmp(source, target, shallow=False):
                raise RuntimeError("what came back is not what was sent")
    return peaks, growth


CASES = [
    Case("transfer-large-up", "1 GiB up", Target(AT_MOST, 1.25), partial(times, _UP)),
    Case("transfer-large-down", "1 GiB down, to disk", Target(AT_MOST, 1.15), partial(times, _DOWN)),
    Case("transfer-large-memory", "peak of algo cp, 1 GiB", Target(AT_MOST, 64, "MiB"), partial(client_memory, GIB)),
    Case("transfer-large-server", "growth of the server, 1 GiB", Target(AT_MOST, 64, "MiB"),
         partial(server_memory, GIB)),
]  # fmt: skip
# They take 24 GiB of disk: measured only when asked for.
HUGE = [
    Case("transfer-huge-memory", "peak of algo cp, 8 GiB", Target(AT_MOST, 64, "MiB"),
         partial(client_memory, 8 * GIB)),
    Case("transfer-huge-server", "growth of the server, 8 GiB", Target(AT_MOST, 64, "MiB"),
         partial(server_memory, 8 * GIB)),
]  # fmt: skip
