"""Who may do what to a target: from a `Target` and an `Identity` to the `Place` in the database that is meant."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import BadRequest, NotAuthorized
from ..identity import Identity
from .data_paths import ALGO, HOSTED, SESSION, Target


@dataclass(frozen=True, slots=True)
class Place:
    """Where a target is kept.

    account_id  the account that it belongs to, when that's the caller's
    owner       else the lower-case name of the other account
    collection  as stored: in the algorithm space OWNER/NAME/FOLDER, in the session space the session's id
    is_implied  the collection needs no making: it's as good as there, empty, and the first file creates it
    """

    space: str
    account_id: str | None
    owner: str
    collection: str
    is_implied: bool = False


def place_of(target: Target, identity: Identity) -> Place:
    """Where `identity` finds `target`, without a look at whether it's there.

    Raises BadRequest for a path that makes no sense outside an algorithm, NotAuthorized for one that an algorithm may
    not use.
    """
    if target.space == SESSION:
        return _session_place(identity)
    if target.space == ALGO:
        return _algorithm_place(target, identity)
    owner = target.owner.lower() if target.owner else ""
    if not owner or owner == identity.account.username.lower():
        return Place(HOSTED, identity.account.id, "", target.collection)
    return Place(HOSTED, None, owner, target.collection)


def require_read(identity: Identity) -> None:
    """Raises NotAuthorized when the caller's key may not read data. It doesn't bind the algorithms that it calls."""
    if identity.call is None and not identity.permissions.allow_data:
        raise NotAuthorized("this API key may not read data (its permission allow_data is off)")


def require_write(identity: Identity) -> None:
    """Raises NotAuthorized when the caller's key may not write data. It doesn't bind the algorithms that it calls."""
    if identity.call is None and not identity.permissions.allow_data_write:
        raise NotAuthorized("this API key may not write data (its permission allow_data_write is off)")


def require_own(place: Place, target: Target) -> str:
    """The account id of `place`. Raises NotAuthorized when it isn't the caller's: only owners write."""
    if place.account_id is None:
        raise NotAuthorized(f"only the owner of {target.uri} may change it")
    return place.account_id


def _session_place(identity: Identity) -> Place:
    if identity.call is None:
        raise BadRequest(
            "data://.session exists only inside a running algorithm; use a collection such as data://.my/name"
        )
    return Place(SESSION, identity.account.id, "", identity.call.session_id, is_implied=True)


def _algorithm_place(target: Target, identity: Identity) -> Place:
    call = identity.call
    name = target.collection
    if target.is_short:
        if call is None:
            raise BadRequest(
                f"data://.algo/{name} is short for the running algorithm's folder and works only inside one; from "
                f"outside, use data://.algo/OWNER/NAME/{name}"
            )
        name = f"{call.owner}/{call.name}/{name}"
    if call is not None and name.split("/")[:2] != [call.owner, call.name]:
        raise NotAuthorized(f"algorithm {call.owner}/{call.name} may use only data://.algo/{call.owner}/{call.name}")
    return Place(ALGO, identity.account.id, "", name, is_implied=call is not None)
