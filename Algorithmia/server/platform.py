"""The composition root: builds every service of one platform from its settings, starts and closes them in order."""

from __future__ import annotations

import time

from .app import Application, Route
from .auth import Authenticator
from .db.database import Database
from .engine.base import Engine
from .engine.pool import LocalPool
from .engine.sandbox import detect
from .git.hosting import Hosting
from .git.repositories import Repositories
from .git.smart_http import Bridge
from .services.accounts import Accounts
from .services.algorithm_access import AlgorithmAccess
from .services.algorithms import Algorithms
from .services.data import HostedData
from .services.invoke import Invoker
from .settings import Settings
from .storage.local import LocalBlobStore


class Activity:
    """Requests in flight and the time of the last one: what idle stop and /health look at."""

    def __init__(self) -> None:
        self.started_at = time.time()
        self.in_flight = 0
        self.total = 0
        self.last = time.monotonic()

    def begin(self) -> None:
        self.in_flight += 1
        self.total += 1

    def end(self) -> None:
        self.in_flight -= 1
        self.last = time.monotonic()

    def idle_for(self) -> float:
        """Seconds since the last request ended; 0 while one is in flight."""
        return 0.0 if self.in_flight else time.monotonic() - self.last


class Platform:
    """One running platform. `address` (as algorithms reach it) is known only once the socket is bound."""

    def __init__(self, settings: Settings, address: str) -> None:
        self.settings = settings
        self.address = address
        self.activity = Activity()
        self.database = Database(settings.database_url)
        self.blobs = LocalBlobStore(settings.state / "blobs")
        self.accounts = Accounts(self.database)
        self.authenticator = Authenticator(self.accounts)
        self.data = HostedData(self.database, self.blobs, settings)
        self.access = AlgorithmAccess(self.database)
        self.repositories = Repositories(settings.state, settings)
        self.git_hosting = Hosting(self.database, self.access, self.repositories)
        self.git_bridge = Bridge(self.repositories, settings.max_push_bytes, settings.request_timeout)
        self.algorithms = Algorithms(self.database, settings)
        self.sandbox = detect(settings.sandbox, hidden=[settings.home])
        self.engine: Engine = LocalPool(settings, address, self.authenticator.sessions, self.sandbox)
        self.invoker = Invoker(self.algorithms, self.engine, self.data, settings)
        self.data.session_is_live = self.invoker.is_live

    def prepare(self) -> None:
        """Bring database, blob store and catalog up to date; blocking, before the first request."""
        self.database.upgrade()
        self.data.recover()
        self.repositories.recover()
        self.algorithms.register_catalog(self.accounts)

    def idle_for(self) -> float:
        """Seconds since anything was done for anybody: a call whose answer nobody awaits counts too."""
        if self.invoker.is_busy:
            self.activity.last = time.monotonic()
        return self.activity.idle_for()

    async def start(self) -> None:
        await self.engine.start()

    async def close(self) -> None:
        await self.invoker.drain()
        await self.engine.close()
        self.database.close()


def create_application(platform: Platform) -> Application:
    """The ASGI application over `platform`."""
    from .routes import accounts, algo, data, git, health, insights

    routes: list[Route] = [*algo.ROUTES, *data.ROUTES, *accounts.ROUTES, *git.ROUTES, *health.ROUTES, *insights.ROUTES]
    return Application(platform, routes)
