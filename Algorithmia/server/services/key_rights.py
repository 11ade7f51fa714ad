"""Which permissions a key may have, and whether one key's go beyond another's."""

from __future__ import annotations

import re
from dataclasses import fields

from ..errors import BadRequest, NotAuthorized
from ..identity import KeyPermissions

_ENTRY = re.compile(r"algo://(?:\*|[A-Za-z]\w{0,63}(?:/(?:\*|[A-Za-z]\w{0,63}(?:/\*)?))?)", re.ASCII)


def check_entries(permissions: KeyPermissions) -> None:
    """Raises BadRequest for an `algo_acl` entry that has none of the documented forms."""
    for entry in permissions.algo_acl:
        if not _ENTRY.fullmatch(entry):
            raise BadRequest(
                f"algo_acl entry {entry[:80]!r} is not valid: use algo://*, algo://OWNER/* or algo://OWNER/NAME"
            )


def require_no_more(wanted: KeyPermissions, own: KeyPermissions) -> None:
    """Raises NotAuthorized when `wanted` permits anything that `own` doesn't: keys can't widen themselves."""
    for field in fields(KeyPermissions):
        if field.name.startswith("allow_") and getattr(wanted, field.name) and not getattr(own, field.name):
            raise NotAuthorized(f"a key without {field.name} can't make one with it")
    if own.referer_host and wanted.referer_host != own.referer_host:
        raise NotAuthorized(f"a key limited to referer_host {own.referer_host} can't make one without that limit")
    for entry in wanted.algo_acl:
        if not any(_covers(mine, entry) for mine in own.algo_acl):
            raise NotAuthorized(f"a key whose algo_acl does not cover {entry} can't make one that does")


def _covers(wide: str, narrow: str) -> bool:
    outer, inner = _words(wide), _words(narrow)
    return outer == inner[: len(outer)]


def _words(entry: str) -> list[str]:
    # Every form is a prefix of OWNER/NAME: algo://* is the empty one.
    return [word for word in entry.removeprefix("algo://").split("/") if word != "*"]
