"""From the Authorization header to an `Identity`: API keys (cached) and the session keys of running algorithms."""

from __future__ import annotations

import threading

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from .errors import NotAuthenticated, NotAuthorized
from .identity import Identity
from .services.accounts import Accounts, key_digest, new_key

_SCHEMES = frozenset({"simple", "bearer"})
_CACHE_SIZE = 4096


class SessionKeys:
    """Keys that worker processes hold: each means nothing but what it's bound to, for as long as it's bound.

    They live in memory only, as digests. All methods return at once.
    """

    def __init__(self) -> None:
        self._identities: dict[str, Identity | None] = {}

    def issue(self) -> str:
        """A fresh key, bound to nobody."""
        key = new_key()
        self._identities[key_digest(key)] = None
        return key

    def bind(self, key: str, identity: Identity) -> None:
        """From now on `key` acts as `identity`. Raises KeyError when it wasn't issued, or was revoked."""
        digest = key_digest(key)
        if digest not in self._identities:
            raise KeyError("no such session key")
        self._identities[digest] = identity

    def unbind(self, key: str) -> None:
        """From now on `key` acts for nobody, until it's bound again."""
        digest = key_digest(key)
        if digest in self._identities:
            self._identities[digest] = None

    def revoke(self, key: str) -> None:
        """Forget `key`."""
        self._identities.pop(key_digest(key), None)

    def find(self, key: str) -> Identity | None:
        """Whom `key` acts for; None when it isn't a session key or isn't bound."""
        return self._identities.get(key_digest(key))

    def find_digest(self, digest: str) -> tuple[bool, Identity | None]:
        """Whether `digest` is a session key's, and whom that acts for."""
        identity = self._identities.get(digest)
        return identity is not None or digest in self._identities, identity


class Authenticator:
    """Finds the identity of a request.

    sessions  the session keys; looked at before the database
    """

    def __init__(self, accounts: Accounts) -> None:
        self.accounts = accounts
        self.sessions = SessionKeys()
        self._cache: dict[str, Identity] = {}
        self._generation = 0
        self._lock = threading.Lock()
        accounts.on_key_change.append(self._drop_cache)

    async def authenticate(self, request: Request) -> Identity:
        """Who makes `request`; the account's name goes into the request's log line.

        Raises NotAuthenticated without credentials or with unknown ones.
        """
        key = _key_of(request.headers.get("authorization", ""))
        if not key:
            raise NotAuthenticated()
        identity = await self.identify(key)
        request.scope["account"] = identity.account.username
        return identity

    async def identify(self, key: str) -> Identity:
        """Whom `key` acts for. Raises NotAuthenticated for an unknown one."""
        digest = key_digest(key)
        is_session, identity = self.sessions.find_digest(digest)
        if is_session:
            if identity is None:
                raise NotAuthenticated("this session key is valid only while its algorithm runs a call")
        else:
            return self._cache.get(digest) or await self._look_up(key, digest)
        return identity

    async def _look_up(self, key: str, digest: str) -> Identity:
        generation = self._generation
        identity = await run_in_threadpool(self.accounts.find_identity, key)
        if identity is None:
            raise NotAuthenticated("unknown API key: check that it belongs to this platform, or set one with algo auth")
        # An answer from before a key changed must not outlive the change.
        with self._lock:
            if generation == self._generation:
                if len(self._cache) >= _CACHE_SIZE:
                    self._cache.clear()
                self._cache[digest] = identity
        return identity

    def _drop_cache(self) -> None:
        # Called on the thread that changed the key.
        with self._lock:
            self._generation += 1
            self._cache.clear()


def require_standard(identity: Identity) -> None:
    """Raises NotAuthorized for an admin key, which works on administration routes only."""
    if identity.is_admin:
        raise NotAuthorized(
            "a PlatformAdminKey works only on administration routes; use a standard key (AlgorithmKey) here"
        )


def require_admin(identity: Identity) -> None:
    """Raises NotAuthorized for anything but an admin key."""
    if not identity.is_admin:
        raise NotAuthorized("this route needs a PlatformAdminKey")


def _key_of(header: str) -> str:
    # Some clients put "Simple" in front of a key that has it already.
    words = header.split()
    while words and words[0].lower() in _SCHEMES:
        del words[0]
    return " ".join(words)
