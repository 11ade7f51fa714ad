"""Users and API keys over HTTP: ``/v1/users`` and ``/v1/admin/users``."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import unquote, urlencode

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from .. import catalog
from ..app import Route, json_response, platform_of
from ..auth import require_admin
from ..db.values import iso_time
from ..errors import BadRequest, Code, Conflict, NotAuthorized, NotFound
from ..identity import ADMIN_KEY, STANDARD_KEY, Account, Identity, KeyPermissions
from ..services.accounts import Key, Profile
from ..services.key_rights import check_entries, require_no_more
from . import algorithms, connectors
from .parsing import read_json

_MAX_LIMIT = 1000
_DEFAULT_LIMIT = 50
# What the management API called admin keys before.
_OLD_TYPES = {"ManagementKey": ADMIN_KEY}

Text = Annotated[str, msgspec.Meta(max_length=256)]
Size = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class NewUser(msgspec.Struct):
    """The body of ``POST /v1/users``; further members are ignored."""

    username: str = ""
    email: Text = ""
    fullname: Text = ""
    company_name: Text = ""
    company_role: Text = ""


class UserChange(msgspec.Struct):
    """The body of ``PUT /v1/users/NAME``: what is given is changed; further members are ignored.

    quota_bytes  what the account's hosted files may take; 0 is no limit, null what the platform allows everybody
    """

    username: str | msgspec.UnsetType = msgspec.UNSET
    email: Text | msgspec.UnsetType = msgspec.UNSET
    fullname: Text | msgspec.UnsetType = msgspec.UNSET
    company_name: Text | msgspec.UnsetType = msgspec.UNSET
    company_role: Text | msgspec.UnsetType = msgspec.UNSET
    quota_bytes: Size | None | msgspec.UnsetType = msgspec.UNSET


class NewKey(msgspec.Struct):
    """The body of ``POST /v1/users/NAME/keys``."""

    key_type: str
    key_label: Text = ""
    permissions: KeyPermissions | None = None


async def create_user(request: Request) -> Response:
    """``POST /v1/users``, for administrators."""
    platform = platform_of(request)
    require_admin(await platform.authenticator.authenticate(request))
    body = await read_json(request, NewUser, '{"username": "ada", "email": "ada@example.com", "fullname": "Ada L"}')
    missing = [name for name in ("username", "email") if not getattr(body, name)]
    if missing:
        raise BadRequest(f"missing in the body: {', '.join(missing)}", Code.MISSING_FIELDS)
    platform.accounts.check_name(body.username)
    if body.username.lower() in catalog.owners():
        raise Conflict(f"username {body.username} is kept for bundled algorithms; choose another", Code.USERNAME_TAKEN)
    _check_email(body.email)
    profile = await run_in_threadpool(
        platform.accounts.create, body.username, body.email, body.fullname, body.company_name, body.company_role
    )
    return json_response(_user(request, profile))


async def list_users(request: Request) -> Response:
    """``GET /v1/users?limit=&marker=``, for administrators."""
    platform = platform_of(request)
    require_admin(await platform.authenticator.authenticate(request))
    limit = _limit(request)
    after = request.query_params.get("marker", "")
    if after and not (after.isascii() and after.isidentifier()):
        raise BadRequest(f"marker {after[:60]!r} is not valid; use the one of the page before", Code.INVALID_MARKER)
    found = await run_in_threadpool(platform.accounts.list_accounts, after, limit + 1)
    shown = found[:limit]
    marker = shown[-1].account.username if len(found) > limit else None
    query = urlencode({"limit": limit, "marker": marker})
    return json_response(
        {
            "marker": marker,
            "next_link": f"{platform.address}/v1/users?{query}" if marker else None,
            "results": [_user(request, profile) for profile in shown],
        }
    )


async def get_below(request: Request) -> Response:
    """``GET /v1/users/NAME``, and ``…/keys``, ``…/algorithms``, ``…/errors``."""
    names = _names(request)
    if len(names) == 2 and names[1] == "algorithms":
        return await algorithms.of_user(request, names[0])
    if len(names) == 2 and names[1] == "errors":
        return await algorithms.errors_of_user(request, names[0])
    if len(names) > 1 and names[1] == "connectors":
        return await connectors.below(request, names)
    if len(names) == 1:
        identity, profile = await _own_or_any(request, names[0])
        if identity.call is not None and identity.call.owner != profile.account.username:
            raise NotAuthorized("an algorithm of others can't see its caller's name and address")
        return json_response(await _user_with_usage(request, profile))
    if len(names) == 2 and names[1] == "keys":
        account = await _managed(request, names[0])
        keys = await run_in_threadpool(platform_of(request).accounts.list_keys, account[1])
        return json_response([_key(account[1], key) for key in keys])
    raise _no_route(request)


async def post_below(request: Request) -> Response:
    """``POST /v1/users/NAME/keys``: make a key. The answer is the only one that ever holds its text."""
    names = _names(request)
    if len(names) > 1 and names[1] == "connectors":
        return await connectors.below(request, names)
    if len(names) != 2 or names[1] != "keys":
        raise _no_route(request)
    identity, account = await _managed(request, names[0])
    body = await read_json(
        request, NewKey, '{"key_label": "ci", "key_type": "AlgorithmKey", "permissions": {"allow_data": true}}'
    )
    key_type = _OLD_TYPES.get(body.key_type, body.key_type)
    permissions = body.permissions or KeyPermissions()
    check_entries(permissions)
    if not identity.is_admin:
        if key_type != STANDARD_KEY:
            raise NotAuthorized(f"only an administrator's key can make a key of type {key_type[:60]}")
        require_no_more(permissions, identity.permissions)
    issue = platform_of(request).accounts.issue_key
    text, key = await run_in_threadpool(issue, account, body.key_label, permissions, key_type)
    return json_response({**_key(account, key), "api_key": text}, headers={"Cache-Control": "no-store"})


async def delete_below(request: Request) -> Response:
    """``DELETE /v1/users/NAME/keys/ID``."""
    names = _names(request)
    if len(names) > 1 and names[1] == "connectors":
        return await connectors.below(request, names)
    if len(names) != 3 or names[1] != "keys":
        raise _no_route(request)
    identity, account = await _managed(request, names[0])
    # A standard key can't make an admin key, so it must not take the account's away either.
    only_type = None if identity.is_admin else STANDARD_KEY
    await run_in_threadpool(platform_of(request).accounts.delete_key, account, names[2], only_type)
    return Response(status_code=204)


async def put_below(request: Request) -> Response:
    """``PUT /v1/users/NAME``, for administrators, and ``…/connectors/ID``."""
    names = _names(request)
    if len(names) > 1 and names[1] == "connectors":
        return await connectors.below(request, names)
    if len(names) > 1:
        raise _no_route(request)
    platform = platform_of(request)
    require_admin(await platform.authenticator.authenticate(request))
    body = await read_json(request, UserChange, '{"quota_bytes": 10000000000}')
    profile = await run_in_threadpool(platform.accounts.get, names[0])
    changes = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not msgspec.UNSET}
    username = changes.pop("username", profile.account.username)
    if username != profile.account.username:
        raise BadRequest(f"user {profile.account.username} can't be called {username[:60]!r}: names stay as they are")
    if changes.get("email"):
        _check_email(changes["email"])
    profile = await run_in_threadpool(platform.accounts.update, profile.account, changes)
    return json_response(await _user_with_usage(request, profile))


async def admin_only(request: Request) -> Response:
    """``POST /v1/admin/users/NAME/keys``: as the route without ``admin``, for administrators."""
    require_admin(await platform_of(request).authenticator.authenticate(request))
    return await post_below(request)


async def _own_or_any(request: Request, name: str) -> tuple[Identity, Profile]:
    """The caller, and the user called `name`: anybody for an administrator, else only the caller."""
    platform = platform_of(request)
    identity = await platform.authenticator.authenticate(request)
    if not identity.is_admin and name not in (identity.account.username, identity.account.id):
        raise NotAuthorized("only an administrator's key can see other users")
    return identity, await run_in_threadpool(platform.accounts.get, name)


async def _managed(request: Request, name: str) -> tuple[Identity, Account]:
    """The caller and the account called `name`, whose keys the caller may manage."""
    identity, profile = await _own_or_any(request, name)
    # A running algorithm acts for its caller, but must not take that caller's keys with it.
    if identity.call is not None:
        raise NotAuthorized("an algorithm can't manage its caller's keys")
    if not identity.is_admin and not identity.permissions.allow_algo_management:
        raise NotAuthorized("this API key may not manage keys (its permission allow_algo_management is off)")
    return identity, profile.account


def _names(request: Request) -> list[str]:
    tail: bytes = request.scope["tail"]
    return [unquote(part) for part in tail.decode("ascii", "replace").rstrip("/").split("/")]


def _no_route(request: Request) -> NotFound:
    return NotFound(f"no such route: {request.method} {request.url.path[:200]}")


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(_DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= _MAX_LIMIT):
        raise BadRequest(f"limit {text[:60]!r} is not a number from 1 to {_MAX_LIMIT}", Code.INVALID_LIMIT)
    return int(text)


def _check_email(text: str) -> None:
    name, _, domain = text.rpartition("@")
    if not (name and domain and text.isprintable() and " " not in text):
        raise BadRequest(f"{text[:80]!r} is not an e-mail address", Code.MALFORMED_USER)


def _user(request: Request, profile: Profile) -> dict[str, Any]:
    username = profile.account.username
    return {
        "id": profile.account.id,
        "username": username,
        "email": profile.email,
        "fullname": profile.fullname,
        "company_name": profile.company_name,
        "company_role": profile.company_role,
        "self_link": f"{platform_of(request).address}/v1/users/{username}",
        "resource_type": "user",
    }


async def _user_with_usage(request: Request, profile: Profile) -> dict[str, Any]:
    usage = await run_in_threadpool(platform_of(request).data.usage, profile.account.id)
    return {**_user(request, profile), "used_bytes": usage.used, "quota_bytes": usage.quota or None}


def _key(account: Account, key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "username": account.username,
        "owner_name": account.username,
        "key_label": key.label,
        "key_type": key.key_type,
        "api_key_mask": key.mask,
        "permissions": key.permissions,
        "created_at": iso_time(key.created_at),
        "resource_type": "api_key",
    }


ROUTES = [
    Route(b"/v1/users", {"GET": list_users, "POST": create_user}, exact=True),
    Route(b"/v1/users/", {"GET": get_below, "POST": post_below, "PUT": put_below, "DELETE": delete_below}),
    Route(b"/v1/admin/users/", {"POST": admin_only}),
]
