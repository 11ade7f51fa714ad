"""Metrics that algorithms report about their calls: ``POST /v1/insights``. Each report is one line of the log, which is
where collectors of metrics already look. Facts: "Limits" of the algorithm document."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..app import Route, json_response, platform_of
from ..errors import BadRequest, NotAuthorized, TooLarge
from .parsing import read_json

log = logging.getLogger("algorithmia.insights")

_MAX_METRICS = 25
_MAX_BYTES = 25 * 1024
_RESERVED = frozenset(
    {"request_id", "timestamp", "duration_milliseconds", "algorithm_owner", "algorithm_name", "algorithm_version"}
)
_EXAMPLE = '[{"insight_key": "cats", "insight_value": 3}]'


class Metric(msgspec.Struct):
    """One entry of a report."""

    insight_key: str
    insight_value: Any


async def report(request: Request) -> Response:
    """Log the metrics. Only a running algorithm can report; raises NotAuthorized, BadRequest, TooLarge."""
    identity = await platform_of(request).authenticator.authenticate(request)
    if identity.call is None:
        raise NotAuthorized("insights come from running algorithms; this request was made with an account's key")
    metrics = await read_json(request, list[Metric], _EXAMPLE)
    values = {metric.insight_key: metric.insight_value for metric in metrics}
    if len(values) > _MAX_METRICS:
        raise BadRequest(f"{len(values)} metrics in one report; at most {_MAX_METRICS}")
    if len(msgspec.json.encode(values)) > _MAX_BYTES:
        raise TooLarge(f"a report has at most {_MAX_BYTES} bytes")
    for name in sorted(_RESERVED & values.keys()):
        raise BadRequest(f"the name {name!r} is reserved; choose another")
    call = identity.call
    log.info(
        "insights",
        extra={
            "account": identity.account.username,
            "algorithm_owner": call.owner,
            "algorithm_name": call.name,
            "session_id": call.session_id,
            "metrics": values,
        },
    )
    return json_response({})


ROUTES = [Route(b"/v1/insights", {"POST": report}, exact=True)]
