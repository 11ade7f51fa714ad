"""Throughput, latency, memory and cold start: the whole path of a call beside the same text from other servers.

One measurement of all contenders in turns gives every figure of throughput and latency: the cases share it.
"""

from __future__ import annotations

import contextlib
import statistics
import weakref
from collections.abc import Callable
from functools import partial

from benchmarks.harness import AT_LEAST, AT_MOST, Case, Context, Figures, Target

from . import contenders, cores, footprint, wrk
from .contenders import Start

CONNECTIONS = (1, 16, 64)
_SECONDS = 4.0
_ROUNDS = 5
_OURS, _STARLETTE, _LITSERVE, _FASTAPI = "ours", "Starlette", "LitServe", "FastAPI"
_STARTS: dict[str, Start] = {
    _OURS: contenders.ours,
    _STARLETTE: contenders.uvicorn("starlette_hello"),
    "raw ASGI": contenders.uvicorn("asgi_hello"),
    _FASTAPI: contenders.uvicorn("fastapi_hello"),
    _LITSERVE: contenders.litserve,
}
_PEERS = ("web", "litserve")

# Samples by contender and number of connections.
Samples = dict[tuple[str, int], list[wrk.Sample]]
_measured: weakref.WeakKeyDictionary[Context, Samples] = weakref.WeakKeyDictionary()


def _samples(context: Context) -> Samples:
    """Everything measured in this run, once."""
    if context not in _measured:
        _measured[context] = _measure(context, _STARTS)
    return _measured[context]


def _measure(context: Context, starts: dict[str, Start]) -> Samples:
    """All of `starts` run at the same time, idle but for the one whose turn it is."""
    wrk.program()
    samples: Samples = {(name, count): [] for name in starts for count in CONNECTIONS}
    with contextlib.ExitStack() as stack:
        stack.enter_context(contenders.two_cores())
        scratch = stack.enter_context(context.directory())
        running = {name: stack.enter_context(start(context)) for name, start in starts.items()}
        names = list(running)
        for number in range(-1, context.rounds(_ROUNDS)):  # the one before the first isn't counted
            first = number % len(names)
            for name in names[first:] + names[:first]:
                for count in CONNECTIONS if number >= 0 else (16,):
                    seconds = 1.0 if context.quick or number < 0 else _SECONDS
                    sample = running[name].load(count, seconds, scratch)
                    if number >= 0:
                        samples[name, count].append(sample)
    return samples


def _figures(
    samples: Samples, connections: int, reference: str, unit: str, value: Callable[[wrk.Sample], float]
) -> Figures:
    """Our median at so many connections and that of `reference`, the others' beside them."""
    found = {name: [value(sample) for sample in taken] for (name, count), taken in samples.items()
             if count == connections}  # fmt: skip
    medians = {name: statistics.median(values) for name, values in found.items()}
    spread = 0.0
    if len(found[_OURS]) >= 4:
        low, _, high = statistics.quantiles(found[_OURS], n=4)
        spread = (high - low) / 2 / medians[_OURS]
    also = {name: medians[name] for name in medians if name not in (_OURS, reference)}
    note = f"{connections} connections"
    return Figures(unit, medians[_OURS], medians[reference], reference, also, len(found[_OURS]), spread, note)


def _rate(sample: wrk.Sample) -> float:
    return sample.rate


def throughput(reference: str, connections: int, context: Context) -> Figures:
    return _figures(_samples(context), connections, reference, "calls/s", _rate)


def ahead(connections: int, context: Context) -> Figures:
    """Ours beside the faster one of the serving frameworks."""
    samples = _samples(context)
    rates = {name: statistics.median(map(_rate, samples[name, connections])) for name in (_FASTAPI, _LITSERVE)}
    return _figures(samples, connections, max(rates, key=rates.__getitem__), "calls/s", _rate)


def tail(context: Context) -> Figures:
    """Our 99th percentile and the median of LitServe."""
    samples = _samples(context)
    result = _figures(samples, 16, _LITSERVE, "ms", lambda sample: sample.p99)
    result.reference = statistics.median(sample.p50 for sample in samples[_LITSERVE, 16])
    result.also[f"{_LITSERVE} p99"] = statistics.median(sample.p99 for sample in samples[_LITSERVE, 16])
    result.reference_name = f"{_LITSERVE} p50"
    result.note = "16 connections; ours and the others: 99th percentile"
    return result


def added_latency(context: Context) -> Figures:
    """What the whole path adds to a call that Starlette answers in process: the difference of the medians."""
    result = _figures(_samples(context), 1, _STARLETTE, "ms", lambda sample: sample.p50)
    result.also["ours in full"] = result.ours
    result.ours -= result.reference
    result.spread = 0.0
    result.note = "p50 at one connection; ours: what it adds to the reference"
    return result


def beside(name: str, start: Start, context: Context) -> Figures:
    """Ours and a large one, which would disturb the others even at rest."""
    samples = _measure(context, {_OURS: contenders.ours, name: start})
    result = _figures(samples, 16, name, "calls/s", _rate)
    for count in CONNECTIONS:
        if count != 16:
            other = _figures(samples, count, name, "calls/s", _rate)
            result.also[f"at {count}: ours"], result.also[f"at {count}: {name}"] = other.ours, other.reference
    return result


CASES = [
    Case("serving-16", "calls a second", Target(AT_LEAST, 0.6), partial(throughput, _STARLETTE, 16), _PEERS),
    Case("serving-16-litserve", "the same", Target(AT_LEAST, 6), partial(throughput, _LITSERVE, 16), _PEERS),
    Case("serving-1", "calls a second, one at a time", Target(AT_LEAST, 1), partial(ahead, 1), _PEERS),
    Case("serving-64", "calls a second", Target(AT_LEAST, 1), partial(ahead, 64), _PEERS),
    Case("serving-p99", "99th percentile under load", Target(AT_MOST, 0.4), tail, _PEERS),
    Case("serving-latency", "latency added by the whole path", Target(AT_MOST, 0.3, "ms"), added_latency, _PEERS),
    *cores.CASES,
    *footprint.CASES,
]
# Large, and slow to start: measured only when asked for.
LARGE = [
    Case("serving-mlserver", "calls a second", Target(AT_LEAST, 1), partial(beside, "MLServer", contenders.mlserver),
         ("mlserver",)),
    Case("serving-bentoml", "calls a second", Target(AT_LEAST, 1), partial(beside, "BentoML", contenders.bentoml),
         ("bentoml",)),
    Case("serving-ray", "calls a second", Target(AT_LEAST, 1), partial(beside, "Ray Serve", contenders.ray), ("ray",)),
]  # fmt: skip
