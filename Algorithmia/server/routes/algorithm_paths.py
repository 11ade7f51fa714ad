"""The paths below ``/v1/algorithms``: which algorithm they name, as whom it is asked for, and paging."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ..app import json_response, platform_of
from ..auth import require_standard
from ..db.values import is_id
from ..errors import BadRequest, Code, NotFound
from ..identity import Identity
from ..services.algorithm_access import Viewed, require_owner, require_source

_MAX_LIMIT = 1000
_MAX_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Path:
    """``OWNER/NAME/rest`` (or ``ID/rest``: then `owner` is empty and `name` the id), decoded part by part."""

    owner: str
    name: str
    rest: tuple[str, ...]


def parse(tail: bytes) -> Path:
    """What follows ``/v1/algorithms/``; a trailing slash means nothing."""
    parts = [unquote(part, errors="replace") for part in tail.decode("ascii", "replace").rstrip("/").split("/")]
    if is_id(parts[0].lower()):
        return Path("", parts[0].lower(), tuple(parts[1:]))
    return Path(parts[0], parts[1] if len(parts) > 1 else "", tuple(parts[2:]))


@dataclass(frozen=True, slots=True)
class Asked:
    """A request about one algorithm: who asks, and the algorithm as they see it."""

    identity: Identity
    viewed: Viewed


async def seen(request: Request, path: Path) -> Asked:
    """The algorithm, for a caller who may know of it. Raises NotAuthenticated, NotAuthorized, NotFound."""
    platform = platform_of(request)
    identity = await platform.authenticator.authenticate(request)
    require_standard(identity)
    try:
        viewed = await run_in_threadpool(platform.access.find, path.owner, path.name, identity)
    except NotFound:
        # By these words the old Python client's exists() knows.
        shown = "/".join(part[:60] for part in (path.owner, path.name) if part)
        raise NotFound(f"No such algorithm: algo://{shown}", Code.ALGORITHM_NOT_FOUND) from None
    return Asked(identity, viewed)


async def readable(request: Request, path: Path) -> Asked:
    """The same for a caller who may read the source; raises NotAuthorized besides."""
    asked = await seen(request, path)
    require_source(asked.viewed, asked.identity)
    return asked


async def owned(request: Request, path: Path) -> Asked:
    """The same for a caller who may manage the algorithm; raises NotAuthorized besides."""
    asked = await seen(request, path)
    require_owner(asked.viewed, asked.identity)
    return asked


def page_of(request: Request, default: int) -> tuple[int, str]:
    """``limit`` and ``marker`` of the query. Raises BadRequest (5003)."""
    text = request.query_params.get("limit", str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= _MAX_LIMIT):
        raise BadRequest(f"limit {text[:60]!r} is not a number from 1 to {_MAX_LIMIT}", Code.INVALID_LIMIT)
    return int(text), request.query_params.get("marker", "")


def tristate(request: Request, name: str) -> bool | None:
    """The flag `name` of the query: None if it isn't there. Raises BadRequest for what is neither true nor false."""
    text = request.query_params.get(name)
    if not text:
        return None
    if text.lower() in ("true", "1"):
        return True
    if text.lower() in ("false", "0"):
        return False
    raise BadRequest(f"{name}={text[:60]} is neither true nor false")


def page_response(request: Request, results: list[Any], marker: str | None) -> Response:
    """A page of a list; `marker` is the next one's."""
    link = None
    if marker:
        query = urlencode({**request.query_params, "marker": marker})
        link = f"{platform_of(request).address}{request.url.path}?{query}"
    return json_response({"marker": marker, "next_link": link, "results": results})


def no_route(request: Request) -> NotFound:
    """The error for a path that means nothing."""
    return NotFound(f"no such route: {request.method} {request.url.path[:_MAX_SHOWN]}")
