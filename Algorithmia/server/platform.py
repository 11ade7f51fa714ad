"""The composition root: builds every service of one platform from its settings, starts and closes them in order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from .app import Application, Route
from .auth import Authenticator
from .builds.commands import Commands
from .builds.first_use import FirstUse
from .builds.records import BuildRecords
from .builds.runtimes import Runtimes
from .builds.service import Builds
from .db.database import Database
from .departures import Departures
from .engine.base import Engine
from .engine.pool import LocalPool
from .engine.sandbox import Sandbox, detect
from .git.repositories import Repositories
from .git.smart_http import Bridge
from .languages import Languages
from .services import store_owner
from .services.accounts import Accounts
from .services.algorithm_access import AlgorithmAccess
from .services.algorithm_documents import AlgorithmDocuments
from .services.algorithms import Algorithms
from .services.async_backlog import Backlog
from .services.async_calls import AsyncCalls
from .services.call_errors import CallErrors
from .services.cipher import Cipher
from .services.connector_data import ConnectorData
from .services.connectors import Connectors
from .services.data import HostedData
from .services.data_store import DataStores
from .services.git_hosting import Hosting
from .services.housekeeping import Housekeeping
from .services.invoke import Invoker
from .services.management import Management
from .services.publishing import Publishing
from .services.resumable_uploads import ResumableUploads, expire_uploads
from .services.secrets import Secrets
from .settings import Settings
from .storage.locations import check, open_store, parse, remember

if TYPE_CHECKING:
    from .lent_calls import LentCalls
    from .routes.algo import KnownCalls


class Activity:
    """Requests in flight and the time of the last one: what idle stop, /health and /metrics look at.

    statuses  requests so far by the first digit of their status; 0 for those that had no answer
    """

    def __init__(self) -> None:
        self.started_at = time.time()
        self.in_flight = 0
        self.total = 0
        self.statuses = [0] * 6
        self.last = time.monotonic()

    def begin(self) -> None:
        self.in_flight += 1
        self.total += 1

    def end(self, status: int) -> None:
        self.in_flight -= 1
        self.statuses[status // 100] += 1
        self.last = time.monotonic()

    def add(self, count: int) -> None:
        """So many requests have been answered well by others."""
        self.total += count
        self.statuses[2] += count
        self.last = time.monotonic()

    def idle_for(self) -> float:
        """Seconds since the last request ended; 0 while one is in flight."""
        return 0.0 if self.in_flight else time.monotonic() - self.last


class Platform:
    """One running platform. `address` (as algorithms reach it) is known only once the socket is bound."""

    def __init__(self, settings: Settings, address: str, sandbox: Sandbox | None = None) -> None:
        self.settings = settings
        self.address = address
        self.activity = Activity()
        self.departures = Departures()
        self.database = Database(settings.database_url)
        self.storage = parse(settings.storage)
        check(settings.state, self.storage)
        self.blobs = open_store(self.storage, settings.state)
        self.accounts = Accounts(self.database)
        self.authenticator = Authenticator(self.accounts)
        self.data = HostedData(self.database, self.blobs, settings)
        self.uploads = ResumableUploads(self.data.stores)
        self.housekeeping = Housekeeping(
            [self.data.removal.go_on, self.data.removal.expire, lambda: expire_uploads(self.data.stores)],
            self.data.removal.stop,
        )
        self.data.removal.on_rest = self.housekeeping.wake
        self.access = AlgorithmAccess(self.database)
        self.repositories = Repositories(settings.state, settings)
        self.git_hosting = Hosting(self.database, self.access, self.repositories)
        self.git_bridge = Bridge(self.repositories, settings.max_push_bytes, settings.request_timeout)
        self.runtimes = Runtimes(settings.state)
        self.algorithms = Algorithms(self.database, settings, self.runtimes)
        self.sandbox = sandbox or detect(settings.sandbox, hidden=[settings.home])
        pool = LocalPool(settings, address, self.authenticator.sessions, self.sandbox)
        self.engine: Engine = pool
        self.lending = pool.lending
        self.call_errors = CallErrors(self.database)
        self.async_calls = AsyncCalls(self.database, self.call_errors)
        self.invoker = Invoker(self.algorithms, self.engine, self.data, settings, self.async_calls)
        self.backlog = Backlog(self.async_calls, self.algorithms, self.invoker, settings)
        pool.starter.hold = self.invoker.trees.hold
        self.data.session_is_live = self.invoker.is_live
        self.cipher = Cipher(settings.state / "secrets.key")
        self.secrets = Secrets(self.database, self.cipher, self.recycle)
        pool.starter.secrets_of = self.secrets.values_of
        self.languages = Languages()
        self.builds = Builds(
            BuildRecords(self.database),
            self.languages,
            self.repositories,
            Commands(self.sandbox, settings),
            self.runtimes,
            self.invoker.warm,
            self.secrets.values_of,
            self.algorithms.invalidate,
            pool,
            settings,
        )
        self.documents = AlgorithmDocuments(self.database, lambda: self.address, self.builds.log)
        self.management = Management(
            self.database,
            self.languages,
            self.repositories,
            self.builds,
            self.algorithms,
            self.access,
            self.recycle,
            settings.state / "uploads",
        )
        self.publishing = Publishing(
            self.database, self.repositories, self.algorithms, self.languages, self.invoker, self.recycle
        )
        self.connectors = Connectors(self.database, self.cipher, settings.connector_hosts)
        self.stores = DataStores(self.data, ConnectorData(self.connectors, settings.page_size))
        self.invoker.first_use = FirstUse(self.algorithms.again, self.builds, settings)
        self.invoker.on_failure = self.call_errors.record
        # Of the application over this platform.
        self.known_calls: KnownCalls | None = None
        self.lent_calls: LentCalls | None = None
        # Done once no call runs any more, while everything is still there.
        self.on_drained: Callable[[], Awaitable[None]] | None = None
        self._has_rest = False  # of collections that were removed, and still have files
        self._loop: asyncio.AbstractEventLoop | None = None

    def prepare(self) -> None:
        """Bring database, blob store and catalog up to date; blocking, before the first request."""
        self.database.upgrade()
        store_owner.check(self.settings.state, self.database, self.blobs, self.storage)
        remember(self.settings.state, self.storage)
        self.data.recover()
        self._has_rest = self.data.removal.has_rest()
        self.repositories.recover()
        self.builds.recover()
        self.algorithms.register_catalog(self.accounts)
        store_owner.remember(self.settings.state, self.database, self.blobs)
        self.management.recover()
        self.publishing.recover()
        self.backlog.load()

    def idle_for(self) -> float:
        """Seconds since anything was done for anybody: calls whose answer nobody awaits, and builds, count too."""
        if self.invoker.is_busy or self.async_calls.pending or self.builds.is_busy:
            self.activity.last = time.monotonic()
        return self.activity.idle_for()

    def recycle(self, algorithm_id: str) -> None:
        """End the workers of an algorithm as they become idle. Any thread may call."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.engine.recycle, algorithm_id)

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self.engine.start()
        await self.builds.start()

    def take_up(self) -> None:
        """Begin with what earlier servers left undone, once the platform answers: algorithms may ask it things."""
        self.backlog.start()
        self.housekeeping.start(self._has_rest)

    async def close(self) -> None:
        await self.invoker.drain()
        if self.on_drained is not None:
            await self.on_drained()
        await self.async_calls.drain()
        await self.housekeeping.close()
        self.repositories.git.close()
        await self.builds.close()
        await self.engine.close()
        await self.call_errors.drain()
        self.database.close()


def create_application(platform: Platform) -> Application:
    """The ASGI application over `platform`."""
    from .routes import (
        accounts,
        algo,
        algorithms,
        data,
        environments,
        git,
        health,
        insights,
        metrics,
        scms,
        secrets,
        uploads,
    )

    modules = (algo, data, uploads, accounts, algorithms, environments, git, health, insights, metrics, scms, secrets)
    routes: list[Route] = [route for module in modules for route in module.ROUTES]
    platform.known_calls = algo.KnownCalls(platform)
    application = Application(platform, routes, platform.known_calls.shortcut)
    if platform.settings.gateways:
        from .lent_calls import LentCalls

        platform.lent_calls = application.gate = LentCalls(platform, application.requests)
    return application
