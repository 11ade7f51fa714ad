"""Where sources are hosted: ``/v1/scms``. Here that is always the platform itself."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from ..app import Route, json_response, platform_of
from ..errors import Code, NotFound
from ..services.algorithm_documents import INTERNAL_SCM


async def list_scms(request: Request) -> Response:
    """``GET /v1/scms``"""
    await platform_of(request).authenticator.authenticate(request)
    return json_response({"results": [INTERNAL_SCM]})


async def get_scm(request: Request) -> Response:
    """``GET /v1/scms/ID``"""
    await platform_of(request).authenticator.authenticate(request)
    name = unquote(request.scope["tail"].decode("ascii", "replace"), errors="replace").rstrip("/")
    if name != INTERNAL_SCM["id"]:
        raise NotFound(f"no scm {name[:60]!r}: this platform hosts the sources itself (internal)", Code.SCM_NOT_FOUND)
    return json_response(INTERNAL_SCM)


ROUTES = [
    Route(b"/v1/scms", {"GET": list_scms}, exact=True),
    Route(b"/v1/scms/", {"GET": get_scm}),
]
