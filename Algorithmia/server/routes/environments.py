"""Languages, their environments and templates: ``/v1/algorithm-environments/edge/...``."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ..app import Route, json_response, platform_of
from ..db.values import iso_time
from ..errors import Code, NotFound
from ..languages import Languages, environment_id, specification_id
from ..languages.base import Environment, Language
from ..services import templates
from .algorithm_paths import no_route

_PREFIX = b"/v1/algorithm-environments/edge/"
_CREATED = iso_time(1640995200000)


async def list_languages(request: Request) -> Response:
    """``GET …/languages``"""
    platform = platform_of(request)
    await platform.authenticator.authenticate(request)
    return json_response([_language(language) for language in platform.languages.all.values()])


async def below_languages(request: Request) -> Response:
    """``GET …/languages/LANGUAGE/environments``: those that can't be used are there too, and say why."""
    parts = _parts(request)
    if len(parts) != 2 or parts[1] != "environments":
        raise no_route(request)
    platform = platform_of(request)
    await platform.authenticator.authenticate(request)
    language = platform.languages.find(parts[0])
    if language is None:
        names = ", ".join(sorted(platform.languages.all))
        raise NotFound(f"no language {parts[0][:60]!r}: use one of {names}", Code.UNKNOWN_LANGUAGE)
    found = await run_in_threadpool(platform.languages.environments, language)
    return json_response({"environments": [_environment(language, environment) for environment in found]})


async def available(request: Request) -> Response:
    """``GET …/environments/available``: the usable environments of all languages."""
    platform = platform_of(request)
    await platform.authenticator.authenticate(request)
    return json_response(await run_in_threadpool(_available, platform.languages))


async def template(request: Request) -> Response:
    """``GET …/environment-specifications/ID/template``, for anybody: a gzipped tar."""
    parts = _parts(request)
    if len(parts) != 2 or parts[1] != "template":
        raise no_route(request)
    found = await run_in_threadpool(platform_of(request).languages.environment, parts[0])
    if found is None:
        raise NotFound(
            f"no environment specification {parts[0][:60]!r}: see algo environment LANGUAGE", Code.ENVIRONMENT_NOT_FOUND
        )
    return Response(await run_in_threadpool(_archive, found[0]), media_type="application/gzip")


@lru_cache(maxsize=64)
def _archive(language: Language) -> bytes:
    return templates.archive(language)


def _available(languages: Languages) -> list[dict[str, Any]]:
    return [
        _environment(language, environment)
        for language in languages.all.values()
        for environment in languages.environments(language)
        if environment.is_available
    ]


def _language(language: Language) -> dict[str, Any]:
    configuration = {
        "display_name": language.display_name,
        "req_files": list(language.req_files),
        "artifacts": [{"source": source, "destination": destination} for source, destination in language.artifacts],
    }
    return {
        "name": language.name,
        "display_name": language.display_name,
        "configuration": msgspec.json.encode(configuration).decode(),
    }


def _environment(language: Language, environment: Environment) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": environment_id(environment),
        "environment_specification_id": specification_id(environment),
        "name": environment.name,
        "display_name": environment.display_name,
        "description": environment.description,
        "created_at": _CREATED,
        "language": _language(language),
        "machine_type": "CPU",
        "available": environment.is_available,
    }
    if environment.problem:
        document["problem"] = environment.problem
        document["description"] = f"{environment.description} (not usable here: {environment.problem})".lstrip()
    return document


def _parts(request: Request) -> list[str]:
    tail: bytes = request.scope["tail"]
    return [unquote(part, errors="replace") for part in tail.decode("ascii", "replace").rstrip("/").split("/")]


ROUTES = [
    Route(_PREFIX + b"languages", {"GET": list_languages}, exact=True),
    Route(_PREFIX + b"languages/", {"GET": below_languages}),
    Route(_PREFIX + b"environments/available", {"GET": available}, exact=True),
    Route(_PREFIX + b"environment-specifications/", {"GET": template}),
]
