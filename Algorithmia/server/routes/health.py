"""``GET /health`` for whoever watches the platform, and ``GET /`` for whoever opens it in a browser. No credentials."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import Response

from ..._version import __version__
from ..app import Route, json_response, platform_of


async def health(request: Request) -> Response:
    """The state of the platform. It's answered only once everything has started; 503 from when it is to stop."""
    platform = platform_of(request)
    engine = platform.engine.status()
    activity = platform.activity
    is_ending = platform.invoker.is_ending
    return json_response(
        {
            "status": "stopping" if is_ending else "ok",
            "version": __version__,
            "address": platform.address,
            "uptime": round(time.time() - activity.started_at, 3),
            "requests": {"in_flight": activity.in_flight, "total": activity.total},
            "async_calls": {"pending": platform.async_calls.pending},
            "engine": engine,
            "sandbox": engine.get("sandbox", "none"),
            "memory": engine.get("memory", "unlimited"),
            "network": engine.get("network", "shared"),
        },
        503 if is_ending else 200,
        headers={"Cache-Control": "no-store"},
    )


async def root(request: Request) -> Response:
    """What this is, in a few words."""
    address = platform_of(request).address
    return Response(
        f"Algorithmia platform {__version__}\n\n"
        f"Call an algorithm:  curl -H 'Authorization: Simple API_KEY' -d '\"HAL 9000\"' {address}/v1/algo/demo/Hello\n"
        f"State:              curl {address}/health\n",
        media_type="text/plain",
    )


ROUTES = [
    Route(b"/health", {"GET": health, "HEAD": health}, exact=True),
    Route(b"/", {"GET": root, "HEAD": root}, exact=True),
]
