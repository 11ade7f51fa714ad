"""Connectors over HTTP: ``/v1/users/NAME/connectors`` and below (`accounts.py` has the prefix)."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..app import json_response, platform_of
from ..errors import MethodNotAllowed, NotAuthorized, NotFound
from ..identity import Account
from ..services.connectors import Given
from .parsing import read_json

_EXAMPLE = (
    '{"protocol": "s3", "label": "lab", "cred_type": "iam", "cred_data": {"access_key_id": "...", '
    '"secret_access_key": "..."}, "path": "bucket/folder/*", "writeable": false, "is_default": false}'
)


class ConnectorBody(msgspec.Struct):
    """The body of create and edit."""

    username: str | None = None
    protocol: str | None = None
    label: str | None = None
    is_default: bool | None = None
    cred_type: str | None = None
    cred_data: dict[str, Any] | None = None
    path: str | None = None
    writeable: bool | None = None
    endpoint: str | None = None

    def given(self) -> Given:
        """What it says of the connector."""
        return Given(
            self.protocol,
            self.label,
            self.is_default,
            self.cred_type,
            self.cred_data,
            self.path,
            self.writeable,
            self.endpoint,
        )


async def below(request: Request, names: list[str]) -> Response:
    """``names`` is ``[NAME, "connectors"]``, then the connector's id, then ``test``.

    ``GET``, ``POST …/connectors``; ``GET``, ``PUT``, ``DELETE …/connectors/ID``; ``POST …/connectors/ID/test``
    """
    account = await _managed(request, names[0])
    connectors = platform_of(request).connectors
    if len(names) == 2 and request.method == "GET":
        return json_response({"results": await _blocking(request, connectors.list, account)})
    if len(names) == 2 and request.method == "POST":
        given = await _given(request, account)
        return json_response(await _blocking(request, connectors.create, account, given))
    if len(names) == 3 and request.method == "GET":
        return json_response(await _blocking(request, connectors.get, account, names[2]))
    if len(names) == 3 and request.method == "PUT":
        given = await _given(request, account)
        return json_response(await _blocking(request, connectors.edit, account, names[2], given))
    if len(names) == 3 and request.method == "DELETE":
        await _blocking(request, connectors.delete, account, names[2])
        return Response(status_code=204)
    if len(names) == 4 and names[3] == "test" and request.method == "POST":
        await _blocking(request, connectors.test, account, names[2])
        return json_response({"result": {"ok": True}})
    if len(names) in (2, 3):
        raise MethodNotAllowed(f"{request.method} is not offered here")
    raise NotFound(f"no such route: {request.method} {request.url.path[:200]}")


async def _given(request: Request, account: Account) -> Given:
    body = await read_json(request, ConnectorBody, _EXAMPLE)
    if body.username not in (None, account.username):
        raise NotAuthorized(f"username in the body is not {account.username}, as in the path")
    return body.given()


async def _blocking(request: Request, function: Any, *arguments: Any) -> Any:
    # These wait for name servers and providers, like the data API's requests to connectors do.
    threads = platform_of(request).stores.connectors.threads
    return await anyio.to_thread.run_sync(lambda: function(*arguments), limiter=threads)


async def _managed(request: Request, name: str) -> Account:
    """The account called `name`, whose connectors the caller may manage."""
    platform = platform_of(request)
    identity = await platform.authenticator.authenticate(request)
    if not identity.is_admin and name not in (identity.account.username, identity.account.id):
        raise NotAuthorized("only an administrator's key can manage connectors of other users")
    if identity.call is not None:
        raise NotAuthorized("an algorithm can't manage its caller's connectors; it uses them by their URIs")
    if not identity.is_admin and not identity.permissions.allow_algo_management:
        raise NotAuthorized("this API key may not manage connectors (its permission allow_algo_management is off)")
    profile = await anyio.to_thread.run_sync(platform.accounts.get, name)
    return profile.account
