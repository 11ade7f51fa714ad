"""Who makes a request: account, key permissions, and, inside an algorithm, the call that the request belongs to.

What is made for every call is a `msgspec.Struct`, which takes a fifth of the time that a frozen dataclass does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

STANDARD_KEY = "AlgorithmKey"
ADMIN_KEY = "PlatformAdminKey"
SESSION_KEY = "SessionKey"


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the platform (a user now; organizations will be accounts too)."""

    id: str
    username: str


@dataclass(frozen=True, slots=True)
class KeyPermissions:
    """The permission object of an API key, as the API documents it. The default denies everything."""

    allow_data: bool = False
    allow_data_write: bool = False
    allow_algo: bool = False
    allow_web_algo: bool = False
    allow_algo_management: bool = False
    referer_host: str | None = None
    algo_acl: tuple[str, ...] = ()

    @classmethod
    def everything(cls) -> KeyPermissions:
        """What the automatic `default-key` of an account may do."""
        return cls(True, True, True, True, True, None, ("algo://*",))

    def may_call(self, owner: str, name: str) -> bool:
        """Whether `algo_acl` covers OWNER/NAME: ``algo://*``, ``algo://OWNER/*``, ``algo://OWNER/NAME[/*]``."""
        for entry in self.algo_acl:
            pattern = entry.removeprefix("algo://").removesuffix("/*")
            if entry == "algo://*" or pattern == owner or pattern == f"{owner}/{name}":
                return True
        return False


class CallContext(msgspec.Struct, frozen=True, gc=False):
    """The running algorithm call on whose behalf a request is made.

    session_id       the call tree: one external request and every call below it
    algorithm_owner  account id of the owner of the algorithm (decides "my algorithms" collections)
    owner, name      the algorithm, for the short ``.algo`` form
    depth            1 for a call made from outside, 2 for a call made by that one, ...
    """

    session_id: str
    algorithm_owner: str
    owner: str
    name: str
    depth: int = 1
    pipeline_enabled: bool = True


class Identity(msgspec.Struct, frozen=True, gc=False):
    """The acting account and what it may do in this request."""

    account: Account
    key_type: str = STANDARD_KEY
    key_id: str | None = None
    permissions: KeyPermissions = KeyPermissions()
    call: CallContext | None = None

    @property
    def is_admin(self) -> bool:
        return self.key_type == ADMIN_KEY

    @property
    def acts_for_itself(self) -> bool:
        """Whether the account itself asks, or an algorithm of its own: others' may call for it, and see no more of it
        than strangers."""
        return self.call is None or self.call.algorithm_owner == self.account.id


class SessionKey:
    """The key of one worker process. `text` is secret; `identity` is whom the worker works for, None between calls.

    look_first  called before `identity` is relied on: the worker may have gone on to its next call
    ask         while others give the worker calls: finds out from them which one it runs
    """

    __slots__ = ("ask", "identity", "look_first", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.identity: Identity | None = None
        self.look_first: Callable[[], None] | None = None
        self.ask: Callable[[], Awaitable[None]] | None = None

    def present(self) -> Identity | None:
        """Whom the key acts for right now."""
        if self.look_first is not None:
            self.look_first()
        return self.identity
