"""``GET /metrics``: what the platform does, in Prometheus' text format.

It takes an admin key, which scrapers send as a bearer token. The client's address proves nothing: algorithms without a
sandbox, and everybody behind a proxy, come from loopback.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ..._version import __version__
from ..app import Route, platform_of
from ..auth import require_admin
from ..services.call_meter import BOUNDS, SUCCEEDED

if TYPE_CHECKING:
    from ..exposition import Exposition
    from ..platform import Platform


async def metrics(request: Request) -> Response:
    """All metrics. Raises NotAuthenticated, NotAuthorized."""
    from ..exposition import MEDIA_TYPE, Exposition  # most platforms are never asked

    platform = platform_of(request)
    require_admin(await platform.authenticator.authenticate(request))
    shown = Exposition()
    _calls(shown, platform)
    engine = platform.engine.status()
    _workers(shown, engine)
    _requests(shown, platform)
    await run_in_threadpool(_slow, shown, platform, platform.engine.processes())
    _platform(shown, platform, engine)
    return Response(shown.text(), headers={"Cache-Control": "no-store", "Content-Type": MEDIA_TYPE})


def _calls(shown: Exposition, platform: Platform) -> None:
    meter = platform.invoker.meter
    outcomes = {SUCCEEDED: meter.succeeded, **meter.others}
    shown.counter(
        "algorithmia_calls_total", "Calls by how they ended.", [({"outcome": name}, n) for name, n in outcomes.items()]
    )
    shown.counter(
        "algorithmia_call_errors_total",
        "Failed calls by error type; types that algorithms invented are counted as other.",
        [({"error_type": name}, count) for name, count in meter.errors.items()],
    )
    for name, help, histogram in (
        ("queue", "Seconds that calls spent at the engine without running.", meter.queued),
        ("run", "Seconds that algorithms ran for a call.", meter.running),
    ):
        shown.histogram(f"algorithmia_call_{name}_seconds", help, BOUNDS, histogram.counts, histogram.total)
    shown.gauge(
        "algorithmia_async_calls_pending",
        "Async calls that have been acknowledged and have not ended.",
        [({}, platform.async_calls.pending)],
    )
    if meter.by_algorithm:
        shown.counter(
            "algorithmia_algorithm_calls_total",
            "Calls by algorithm, as many as --metrics-algorithms allows, and by how they ended.",
            [
                ({"algorithm": f"{owner}/{name}".removeprefix("/"), "outcome": outcome}, count)
                for (owner, name), counts in meter.by_algorithm.items()
                for outcome, count in counts.items()
            ],
        )


def _workers(shown: Exposition, engine: dict[str, Any]) -> None:
    busy = engine.get("busy", 0)
    states = {"starting": engine.get("starting", 0), "idle": engine.get("workers", 0) - busy, "busy": busy}
    shown.gauge(
        "algorithmia_workers", "Worker processes by state.", [({"state": name}, n) for name, n in states.items()]
    )
    shown.gauge("algorithmia_calls_waiting", "Calls that wait for a worker.", [({}, engine.get("waiting", 0))])


def _requests(shown: Exposition, platform: Platform) -> None:
    activity = platform.activity
    classes = ["none", *(f"{number}xx" for number in range(1, 6))]  # none: the client went before there was an answer
    counts = zip(classes, activity.statuses, strict=True)
    shown.counter(
        "algorithmia_requests_total", "Requests by class of status.", [({"status": name}, n) for name, n in counts]
    )
    shown.gauge("algorithmia_requests_in_flight", "Requests that are being answered.", [({}, activity.in_flight)])


def _slow(shown: Exposition, platform: Platform, workers: list[int]) -> None:
    """What has to be looked up; on a thread."""
    from ..engine import memory

    taken = memory.of_trees(workers)
    shown.gauge(
        "algorithmia_workers_resident_memory_bytes",
        "Resident memory of all worker processes; what they share is counted for each.",
        [({}, taken.resident)],
    )
    if taken.proportional is not None:
        shown.gauge(
            "algorithmia_workers_proportional_memory_bytes",
            "Memory of all worker processes; what they share is counted once.",
            [({}, taken.proportional)],
        )
    counts = platform.builds.counts()
    shown.gauge(
        "algorithmia_builds", "Known builds by status.", [({"status": name}, n) for name, n in counts.items()]
    )
    own = memory.resident(os.getpid())
    shown.gauge("process_resident_memory_bytes", "Resident memory of the server.", [({}, own)])


def _platform(shown: Exposition, platform: Platform, engine: dict[str, Any]) -> None:
    import resource

    shown.gauge("algorithmia_builds_waiting", "Builds that wait for others.", [({}, platform.builds.waiting)])
    labels = {"version": __version__, "sandbox": str(engine.get("sandbox", "none"))}
    shown.gauge("algorithmia_info", "What runs here; always 1.", [(labels, 1)])
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = round(usage.ru_utime + usage.ru_stime, 3)
    shown.counter("process_cpu_seconds_total", "Processor time of the server.", [({}, seconds)])
    shown.gauge(
        "process_start_time_seconds", "When the platform started.", [({}, round(platform.activity.started_at, 3))]
    )


ROUTES = [Route(b"/metrics", {"GET": metrics, "HEAD": metrics}, exact=True)]
