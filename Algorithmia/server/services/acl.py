"""Who may read a collection: the API's ``{"read": [...]}`` documents, their stored form, and the decision."""

from __future__ import annotations

import msgspec

from ..errors import BadRequest
from ..identity import Identity

PUBLIC = "user://*"
MY_ALGORITHMS = "algo://.my/*"
PRIVATE = ""

_WIDEST_FIRST = (PUBLIC, MY_ALGORITHMS)


class AclDocument(msgspec.Struct, forbid_unknown_fields=True):
    """An access control list as the API shows it."""

    read: list[str]


def stored_form(document: AclDocument) -> str:
    """`PUBLIC`, `MY_ALGORITHMS` or `PRIVATE`. Raises BadRequest for any other entry."""
    for entry in document.read:
        if entry not in _WIDEST_FIRST:
            raise BadRequest(
                f'{entry[:60]!r} is not an access rule: "read" is ["{PUBLIC}"] (anybody), ["{MY_ALGORITHMS}"] '
                "(your algorithms) or [] (only you)"
            )
    return next((entry for entry in _WIDEST_FIRST if entry in document.read), PRIVATE)


def document_of(stored: str) -> dict[str, list[str]]:
    """The document of a stored form."""
    return {"read": [stored] if stored else []}


def may_read(stored: str, owner_id: str, identity: Identity) -> bool:
    """Whether `identity` may read a collection of the account `owner_id`."""
    return identity.account.id == owner_id or stored in readable_forms(owner_id, identity)


def readable_forms(owner_id: str, identity: Identity) -> tuple[str, ...]:
    """The stored forms that open a collection of another account, `owner_id`, to `identity`."""
    if identity.call is not None and identity.call.algorithm_owner == owner_id:
        return PUBLIC, MY_ALGORITHMS
    return (PUBLIC,)
