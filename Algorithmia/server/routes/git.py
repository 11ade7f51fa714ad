"""Git over HTTP: ``/git/OWNER/NAME.git`` and, of one version, ``/git/OWNER/NAME/1.2.3.git``.

Credentials come as HTTP Basic, account name and API key. Refusals are plain text, which git shows to its user.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ..app import Route, platform_of
from ..errors import ApiProblem, BadRequest, NotAuthenticated, NotFound, UnsupportedMediaType
from ..git.smart_http import RECEIVE_PACK, SERVICES, Exchange, refusal
from ..identity import Identity
from .pushes import announce_to

_NAME = rb"[A-Za-z][A-Za-z0-9_]{0,63}"
_PART = rb"(?:0|[1-9][0-9]{0,8})"
# Matched against the path as it was sent: whatever is encoded is none of these.
_PATH = re.compile(
    rb"(?P<owner>%b)/(?P<name>%b)(?:/(?P<version>%b\.%b\.%b))?(?:\.git)?/(?P<action>info/refs|git-[a-z]+-pack)"
    % (_NAME, _NAME, _PART, _PART, _PART)
)
_HELP = "git asks for two things here: as username the name of your account, as password an API key of that account"


class _Wanted(NamedTuple):
    owner: str
    name: str
    version: str
    service: str
    advertise: bool


async def serve(request: Request) -> Response:
    """One request of git's smart protocol."""
    try:
        wanted = _wanted(request)
        identity = await _identify(request)
        return await _open(request, wanted, identity)
    except ApiProblem as problem:
        return refusal(problem)


async def _open(request: Request, wanted: _Wanted, identity: Identity) -> Response:
    platform = platform_of(request)
    is_push = wanted.service == RECEIVE_PACK
    opened = await run_in_threadpool(
        platform.git_hosting.open, identity, wanted.owner, wanted.name, wanted.version, is_push
    )
    exchange = Exchange(
        algorithm_id=opened.algorithm.id,
        service=wanted.service,
        advertise=wanted.advertise,
        account=identity.account.username,
        namespace=opened.namespace,
        pushed=announce_to(platform, opened.algorithm) if is_push and not wanted.advertise else None,
        headers={name.lower(): value for name, value in request.headers.items()},
    )
    return await platform.git_bridge.open(exchange)


def _wanted(request: Request) -> _Wanted:
    """What the request's path and query ask for. Raises NotFound, BadRequest, UnsupportedMediaType."""
    tail: bytes = request.scope["tail"]
    match = _PATH.fullmatch(tail)
    if match is None:
        shown = tail[:120].decode("ascii", "replace")
        raise NotFound(f"no repository at /git/{shown}: its address is /git/OWNER/NAME.git")
    action = match["action"].decode("ascii")
    advertise = action == "info/refs"
    service = request.query_params.get("service", "") if advertise else action
    if service not in SERVICES:
        raise BadRequest("only git's smart HTTP protocol is spoken here: use git 1.6.6 or newer to clone and to push")
    if (request.method == "GET") != advertise:
        raise BadRequest(f"{action} is asked for with {'GET' if advertise else 'POST'}")
    content_type = request.headers.get("content-type", "")
    if not advertise and content_type != f"application/x-{service}-request":
        raise UnsupportedMediaType(f"{service} takes application/x-{service}-request, not {content_type[:80]!r}")
    owner, name, version = (match[part] or b"" for part in ("owner", "name", "version"))
    return _Wanted(owner.decode("ascii"), name.decode("ascii"), version.decode("ascii"), service, advertise)


async def _identify(request: Request) -> Identity:
    """Who sent the request. Raises NotAuthenticated, which makes git ask (or use what its URL says) and try again."""
    header = request.headers.get("authorization", "")
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise _unknown(_HELP)
    try:
        name, found, key = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise _unknown(_HELP) from None
    if not found or not key:
        raise _unknown(_HELP)
    try:
        identity = await platform_of(request).authenticator.identify(key)
    except NotAuthenticated:
        raise _unknown(f"unknown API key: check that it belongs to this platform. {_HELP}") from None
    if name != identity.account.username:
        raise _unknown(f"the API key is not one of an account named {name[:60]!r}. {_HELP}")
    request.scope["account"] = identity.account.username
    return identity


def _unknown(message: str) -> NotAuthenticated:
    problem = NotAuthenticated(message)
    problem.headers["WWW-Authenticate"] = 'Basic realm="Algorithmia"'
    return problem


ROUTES = [Route(b"/git/", {"GET": serve, "POST": serve})]
