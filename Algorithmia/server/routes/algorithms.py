"""Managing algorithms over HTTP: ``/v1/algorithms/...``. Their builds and source are in `builds.py`, secrets in
`secrets.py`; this module has the table of all their paths."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ..app import Route, json_response, platform_of, request_id_of
from ..auth import require_standard
from ..errors import BadRequest, Code, MethodNotAllowed
from ..services.algorithm_access import Viewed
from ..services.algorithm_documents import INTERNAL_SCM
from ..services.management import Wishes
from ..services.publishing import Publication
from . import builds, secrets
from .algorithm_paths import Path, no_route, owned, page_of, page_response, parse, readable, seen, tristate
from .parsing import read_json

# Documentation and sample inputs come in these bodies.
_MAX_BODY = 1024 * 1024
_VERSIONS_PAGE = 50

_CREATE = (
    '{"name": "Sentiment", "details": {"label": "Sentiment"}, "settings": {"language": "python3", "license": "apl", '
    '"source_visibility": "closed", "network_access": "full", "pipeline_enabled": true}}'
)
_UPDATE = '{"details": {"tagline": "Says whether a text is friendly"}, "settings": {"network_access": "isolated"}}'
_PUBLISH = (
    '{"settings": {"algorithm_callability": "private"}, '
    '"version_info": {"version_type": "minor", "sample_input": "\\"hi\\""}}'
)


class VersionInfo(msgspec.Struct):
    """What a body says about a version; samples are JSON texts, but a value in place of one is understood too."""

    version_type: str | None = None
    type: str | None = None
    semantic_version: str | None = None
    git_hash: str | None = None
    release_notes: str | None = None
    sample_input: Any = None
    sample_output: Any = None


class Body(msgspec.Struct):
    """The body of create, update and publish; every member may be missing, null, or empty."""

    name: str | None = None
    details: dict[str, Any] | None = None
    settings: dict[str, Any] | None = None
    source: dict[str, Any] | None = None
    version_info: VersionInfo | None = None


async def create(request: Request, path: Path) -> Response:
    """``POST /v1/algorithms/OWNER``"""
    platform = platform_of(request)
    identity = await platform.authenticator.authenticate(request)
    require_standard(identity)
    body = await _body(request, _CREATE)
    if not body.name:
        raise BadRequest(f"name is missing in the body; for example {_CREATE}", Code.MISSING_FIELDS)
    owner = path.owner or path.name
    viewed = await run_in_threadpool(platform.management.create, identity, owner, body.name, _wishes(body))
    return json_response(await _document(request, viewed), 201)


async def get(request: Request, path: Path) -> Response:
    """``GET /v1/algorithms/OWNER/NAME``"""
    return json_response(await _document(request, (await seen(request, path)).viewed))


async def update(request: Request, path: Path) -> Response:
    """``PUT /v1/algorithms/OWNER/NAME``"""
    asked = await owned(request, path)
    body = await _body(request, _UPDATE)
    update_ = platform_of(request).management.update
    viewed = await run_in_threadpool(update_, asked.viewed, asked.identity, _wishes(body))
    return json_response(await _document(request, viewed))


async def delete(request: Request, path: Path) -> Response:
    """``DELETE /v1/algorithms/OWNER/NAME``"""
    asked = await owned(request, path)
    await run_in_threadpool(platform_of(request).management.delete, asked.viewed)
    return Response(status_code=204)


async def publish(request: Request, path: Path) -> Response:
    """``POST …/versions`` and ``POST …/version``"""
    platform = platform_of(request)
    asked = await owned(request, path)
    body = await _body(request, _PUBLISH, may_be_empty=True)
    info = body.version_info or VersionInfo()
    wanted = Publication(
        details=body.details or {},
        settings=body.settings or {},
        version_type=info.version_type or info.type or "",
        semantic_version=info.semantic_version or "",
        git_hash=info.git_hash or "",
        release_notes=info.release_notes,
        sample_input=_sample(info.sample_input),
        sample_output=_sample(info.sample_output),
    )
    build_id = await platform.publishing.publish(asked.viewed, asked.identity, wanted, request_id_of(request))
    # The algorithm itself has changed with it.
    viewed = await run_in_threadpool(platform.access.find, "", asked.viewed.id, asked.identity)
    return json_response(await run_in_threadpool(platform.documents.version_of_build, viewed, build_id))


async def list_versions(request: Request, path: Path) -> Response:
    """``GET …/versions?limit&marker&published&callable``"""
    asked = await seen(request, path)
    limit, marker = page_of(request, _VERSIONS_PAGE)
    published, callable_ = tristate(request, "published"), tristate(request, "callable")
    versions = platform_of(request).documents.versions
    found, following = await run_in_threadpool(versions, asked.viewed, published, callable_, limit, marker)
    return page_response(request, found, following)


async def get_version(request: Request, path: Path) -> Response:
    """``GET …/versions/HASH``"""
    asked = await seen(request, path)
    version = platform_of(request).documents.version
    return json_response(await run_in_threadpool(version, asked.viewed, path.rest[1]))


async def list_errors(request: Request, path: Path) -> Response:
    """``GET …/errors``"""
    asked = await owned(request, path)
    return json_response(await run_in_threadpool(platform_of(request).call_errors.of_algorithm, asked.viewed))


async def commits(request: Request, path: Path) -> Response:
    """``GET …/log?since&until``"""
    asked = await readable(request, path)
    query = request.query_params
    found = await run_in_threadpool(
        platform_of(request).management.commits, asked.viewed, query.get("since") or None,
        query.get("until") or None, page_of(request, 1000)[0],
    )
    shown = [
        {
            "id": commit.id,
            "short_message": commit.short_message,
            "message": commit.message,
            "author": commit.author,
        }
        for commit in found
    ]
    return json_response({"commits": shown})


async def scm_status(request: Request, path: Path) -> Response:
    """``GET …/scm/status``"""
    await owned(request, path)
    return json_response({"scm": INTERNAL_SCM, "scm_connection_status": "active"})


async def of_user(request: Request, name: str) -> Response:
    """``GET /v1/users/NAME/algorithms``"""
    platform = platform_of(request)
    identity = await platform.authenticator.authenticate(request)
    return json_response(await run_in_threadpool(platform.management.of_account, name, identity))


async def errors_of_user(request: Request, name: str) -> Response:
    """``GET /v1/users/NAME/errors``"""
    platform = platform_of(request)
    identity = await platform.authenticator.authenticate(request)
    return json_response(await run_in_threadpool(platform.call_errors.of_caller, name, identity))


# What follows the algorithm in the path ("*" stands for any one part) -> method -> handler.
_BELOW: dict[tuple[str, ...], dict[str, Callable[[Request, Path], Awaitable[Response]]]] = {
    (): {"GET": get, "PUT": update, "DELETE": delete},
    ("compile",): {"POST": builds.compile_},
    ("builds",): {"GET": builds.list_builds},
    ("builds", "*"): {"GET": builds.get_build},
    ("builds", "*", "logs"): {"GET": builds.get_logs},
    ("source",): {"PUT": builds.put_source},
    ("versions",): {"GET": list_versions, "POST": publish},
    ("version",): {"POST": publish},
    ("versions", "*"): {"GET": get_version},
    ("errors",): {"GET": list_errors},
    ("log",): {"GET": commits},
    ("scm", "status"): {"GET": scm_status},
    ("secrets",): {"GET": secrets.list_secrets, "POST": secrets.create_secret},
    ("secrets", "*"): {"PUT": secrets.edit_secret, "DELETE": secrets.delete_secret},
}


async def dispatch(request: Request) -> Response:
    """Everything below ``/v1/algorithms/``."""
    path = parse(request.scope["tail"])
    if request.method == "POST" and not path.rest and not (path.owner and path.name):
        return await create(request, path)
    methods = _find(path.rest)
    if methods is None or not path.name:
        raise no_route(request)
    handler = methods.get(request.method)
    if handler is None:
        allowed = ", ".join(sorted(methods))
        problem = MethodNotAllowed(f"{request.method} is not offered here; use {allowed}")
        problem.headers["Allow"] = allowed
        raise problem
    return await handler(request, path)


def _find(rest: tuple[str, ...]) -> dict[str, Callable[[Request, Path], Awaitable[Response]]] | None:
    for pattern, methods in _BELOW.items():
        if len(pattern) == len(rest) and all(want in ("*", part) for want, part in zip(pattern, rest, strict=True)):
            return methods
    return None


async def _document(request: Request, viewed: Viewed) -> dict[str, Any]:
    return await run_in_threadpool(platform_of(request).documents.algorithm, viewed)


async def _body(request: Request, example: str, may_be_empty: bool = False) -> Body:
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        # curl does so unless told otherwise, and then it is JSON all the same; update() of the old Python client
        # sends a form, in which the values are lost.
        try:
            return await read_json(request, Body, example, _MAX_BODY)
        except BadRequest:
            raise BadRequest(
                f"the body is a form, not JSON (the Python client up to 2.0 sends one by mistake, without the values: "
                f"upgrade it); for example {example}",
                Code.MALFORMED_JSON,
            ) from None
    if may_be_empty and request.headers.get("content-length") == "0":
        return Body()
    return await read_json(request, Body, example, _MAX_BODY)


def _wishes(body: Body) -> Wishes:
    sample = _sample(body.version_info.sample_input) if body.version_info else None
    return Wishes(body.details or {}, body.settings or {}, body.source or {}, sample)


def _sample(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


ROUTES = [
    Route(b"/v1/algorithms/", dict.fromkeys(("GET", "POST", "PUT", "DELETE"), dispatch)),
]
