"""The credentials that each provider takes: which members, and what they may hold. Values never get into messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import BadRequest

_MAX_VALUE = 16 * 1024
_REGION = re.compile(r"[a-z0-9-]{1,32}")
_CONTAINER = re.compile(r"[a-z0-9$][a-z0-9-]{1,62}")


@dataclass(frozen=True, slots=True)
class Protocol:
    """A provider's kind of credentials.

    cred_type  as the API calls it
    required   members that must be there
    optional   members that may be
    """

    cred_type: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()


PROTOCOLS: Mapping[str, Protocol] = {
    "s3": Protocol("iam", ("access_key_id", "secret_access_key"), ("session_token", "region")),
    "gs": Protocol("serviceaccount", ("email", "private_key_id", "private_key"), ("project_id",)),
    "azureblob": Protocol("sas", ("storage_uri", "sas_token", "container_name")),
    "dropbox": Protocol("oauth", ("access_token",), ("refresh_token", "app_key", "app_secret")),
}


def checked(protocol: str, cred_type: str, given: Mapping[str, Any]) -> dict[str, str]:
    """The members of `given` that `protocol` uses. Raises BadRequest naming what is missing or wrong."""
    expected = PROTOCOLS[protocol]
    if cred_type != expected.cred_type:
        raise BadRequest(f"cred_type {cred_type[:60]!r} is not what {protocol} takes: {expected.cred_type}")
    missing = [name for name in expected.required if not given.get(name)]
    if missing:
        raise BadRequest(f"cred_data lacks {', '.join(missing)}")
    unknown = sorted(str(name)[:60] for name in set(given) - {*expected.required, *expected.optional})
    if unknown:
        raise BadRequest(
            f"cred_data of {protocol} has no {', '.join(unknown)}; it has "
            f"{', '.join((*expected.required, *expected.optional))}"
        )
    for name, value in given.items():
        if not isinstance(value, str) or len(value) > _MAX_VALUE or "\0" in value:
            raise BadRequest(f"cred_data: {name} is not a text of at most {_MAX_VALUE} characters")
    found = {name: str(value).strip() for name, value in given.items() if value}
    for name, form in (("region", _REGION), ("container_name", _CONTAINER)):
        if name in found and not form.fullmatch(found[name]):
            raise BadRequest(f"cred_data: {name} {found[name][:80]!r} is not valid")
    return found
