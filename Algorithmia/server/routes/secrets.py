"""Secrets of algorithms over HTTP: ``…/secrets`` (the paths are in `algorithms.py`) and ``/v1/secret-provider``."""

from __future__ import annotations

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ..app import Route, json_response, platform_of
from ..errors import ApiProblem, BadRequest, Code
from ..services.secrets import PROVIDER, PROVIDER_ID, Given
from .algorithm_paths import Path, owned
from .parsing import read_json

_EXAMPLE = '{"short_name": "token", "description": "of the service", "secret_key": "TOKEN", "secret_value": "..."}'
_MAX_BODY = 512 * 1024


class SecretBody(msgspec.Struct):
    """The body of create and edit."""

    short_name: str | None = None
    description: str | None = None
    secret_key: str | None = None
    secret_value: str | None = None
    owner_type: str | None = None
    owner_id: str | None = None
    provider_id: str | None = None

    def given(self) -> Given:
        """What it says of the secret."""
        return Given(self.short_name, self.description, self.secret_key, self.secret_value)


async def list_secrets(request: Request, path: Path) -> Response:
    """``GET …/secrets``; under both names that clients look for."""
    asked = await owned(request, path)
    found = await run_in_threadpool(platform_of(request).secrets.list, asked.viewed)
    return json_response({"results": found, "secrets": found})


async def create_secret(request: Request, path: Path) -> Response:
    """``POST …/secrets``"""
    asked = await owned(request, path)
    body = await _body(request)
    if body.owner_type not in (None, "algorithm") or body.owner_id not in (None, asked.viewed.id):
        raise BadRequest(
            f"owner_type and owner_id must be algorithm and {asked.viewed.id}, as in the path", Code.SECRET_CONSTRAINT
        )
    if body.provider_id not in (None, "", PROVIDER_ID):
        raise BadRequest(
            f"no secret provider {str(body.provider_id)[:60]!r}: see /v1/secret-provider",
            Code.SECRET_PROVIDER_NOT_FOUND,
        )
    return json_response(await run_in_threadpool(platform_of(request).secrets.create, asked.viewed, body.given()))


async def edit_secret(request: Request, path: Path) -> Response:
    """``PUT …/secrets/ID``"""
    asked = await owned(request, path)
    body = await _body(request)
    edit = platform_of(request).secrets.edit
    return json_response(await run_in_threadpool(edit, asked.viewed, path.rest[1], body.given()))


async def delete_secret(request: Request, path: Path) -> Response:
    """``DELETE …/secrets/ID``"""
    asked = await owned(request, path)
    await run_in_threadpool(platform_of(request).secrets.delete, asked.viewed, path.rest[1])
    return Response(status_code=204)


async def providers(request: Request) -> Response:
    """``GET /v1/secret-provider``"""
    await platform_of(request).authenticator.authenticate(request)
    return json_response([PROVIDER])


async def _body(request: Request) -> SecretBody:
    try:
        return await read_json(request, SecretBody, _EXAMPLE, _MAX_BODY)
    except ApiProblem as problem:
        if problem.code == Code.MALFORMED_JSON:
            problem.code = Code.MALFORMED_SECRET
        raise


ROUTES = [Route(b"/v1/secret-provider", {"GET": providers}, exact=True)]
