"""From the Authorization header to an `Identity`: API keys (cached) and the session keys of running algorithms."""

from __future__ import annotations

import threading

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from .errors import NotAuthenticated, NotAuthorized
from .identity import Identity, SessionKey
from .services.accounts import Accounts, key_digest, new_key

_SCHEMES = frozenset({"simple", "bearer"})
_CACHE_SIZE = 4096


class SessionKeys:
    """Keys that worker processes hold: each acts for whom its worker works for, and for nobody between calls.

    They live in memory only, found by their digests. All methods return at once.
    """

    def __init__(self) -> None:
        self._keys: dict[str, SessionKey] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def issue(self) -> SessionKey:
        """A fresh key that acts for nobody yet."""
        key = SessionKey(new_key())
        self._keys[key_digest(key.text)] = key
        return key

    def revoke(self, key: SessionKey) -> None:
        """Forget `key`."""
        key.identity = None
        self._keys.pop(key_digest(key.text), None)

    def find(self, digest: str) -> SessionKey | None:
        """The session key with this digest, if it is one's."""
        return self._keys.get(digest)


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

    @property
    def generation(self) -> int:
        """Changes whenever a key may act for somebody else than before, or not at all."""
        return self._generation

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
        session = self.sessions.find(digest)
        if session is None:
            return self._cache.get(digest) or await self._look_up(key, digest)
        if session.ask is not None:
            await session.ask()
        identity = session.present()
        if identity is None:
            raise NotAuthenticated("this session key is valid only while its algorithm runs a call")
        return identity

    def is_session(self, header: str) -> bool:
        """Whether the Authorization `header` has the key of an algorithm that runs a call, or may."""
        session = self.sessions.find(key_digest(_key_of(header)))
        return session is not None and (session.ask is not None or session.present() is not None)

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
