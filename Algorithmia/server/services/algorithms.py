"""Algorithms: from the name and version that a caller writes to the build that runs, and the bundled ones.

What is found is kept in memory, with all versions of the algorithm; whoever changes an algorithm calls `invalidate`.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool

from .. import catalog
from ..builds.records import CATALOG, SUCCEEDED
from ..builds.runtimes import Runtimes
from ..db import schema
from ..db.database import Database
from ..engine.base import Build, NetworkAccess
from ..errors import NotAuthorized, NotFound
from ..identity import Identity
from ..languages.python3.language import own_runtime
from ..settings import Settings
from . import bundled, versions
from .accounts import Accounts
from .algorithm_access import is_possible
from .algorithm_settings import PUBLIC

_CACHE_SIZE = 4096


@dataclass(frozen=True, slots=True)
class Reference:
    """An algorithm as a caller names it: by `owner` and `name`, or by `id`; `text` is what error messages show."""

    text: str
    owner: str = ""
    name: str = ""
    version: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a call runs.

    version         ``1.2.3``, or the commit of an unpublished build
    settings        of the algorithm, as the version overrides them (the API's ``settings`` object)
    source_visible  whether this caller may read the source, and so sees output and stack traces
    needs_build     a bundled algorithm that is not built yet: `builds/first_use.py` sees to that before it runs
    """

    build: Build
    settings: dict[str, Any]
    version: str
    source_visible: bool
    owner_account_id: str
    needs_build: bool = False


@dataclass(frozen=True, slots=True)
class _Version:
    build: Build
    settings: dict[str, Any]
    is_public: bool
    needs_build: bool


@dataclass(slots=True)
class _Record:
    """An algorithm with everything that resolving needs."""

    account_id: str
    settings: dict[str, Any]
    versions: dict[versions.Number, _Version]
    commits: dict[str, tuple[Build, dict[str, Any]]]
    builds: dict[str, tuple[Build, dict[str, Any], bool]]
    resolved: dict[tuple[str, bool], Resolved] = field(default_factory=dict)


class Algorithms:
    """The algorithms of a platform. Methods that block say so."""

    def __init__(self, database: Database, settings: Settings, runtimes: Runtimes | None = None) -> None:
        self._database = database
        self._runtimes = runtimes or Runtimes(settings.state)
        self._state = settings.state
        self._cache: dict[tuple[str, str], _Record] = {}
        self._generation = 0
        self._lock = threading.Lock()

    async def resolve(self, reference: Reference, identity: Identity) -> Resolved:
        """The build that `reference` means to `identity`.

        Raises NotFound if there is no such algorithm or version, or the caller isn't meant to know of it, and
        NotAuthorized for a private version or a commit of an algorithm that is not the caller's.
        """
        key = (reference.owner, reference.name) if not reference.id else ("", reference.id)
        record = self._cache.get(key)
        if record is None:
            if not is_possible(*key):
                raise _not_found(reference)
            record = await run_in_threadpool(self._load, key)
            if record is None:
                raise _not_found(reference)
        is_owner = record.account_id == identity.account.id
        resolved = record.resolved.get((reference.version, is_owner))
        if resolved is None:
            resolved = _choose(record, reference, is_owner)
            if len(record.resolved) < _CACHE_SIZE:
                record.resolved[reference.version, is_owner] = resolved
        return resolved

    async def pinned(self, algorithm_id: str, build_id: str, version: str, caller_id: str) -> Resolved | None:
        """What was once resolved to a build, whatever the caller's name for it means now; None if the build is gone.

        caller_id  account id of the caller, who was allowed to call it then
        """
        key = ("", algorithm_id)
        record = self._cache.get(key) or await run_in_threadpool(self._load, key)
        if record is None or build_id not in record.builds:
            return None
        build, settings, needs_build = record.builds[build_id]
        return _resolved(record, build, settings, version, record.account_id == caller_id, needs_build)

    async def again(self, resolved: Resolved, identity: Identity) -> Resolved:
        """What the same version means now. Raises as `resolve` does."""
        build, version = resolved.build, resolved.version
        text = f"{build.owner}/{build.name}/{version}"
        return await self.resolve(Reference(text, id=build.algorithm_id, version=version), identity)

    @property
    def generation(self) -> int:
        """Changes whenever `resolve` may find something else than before."""
        return self._generation

    def invalidate(self) -> None:
        """Forget what was found: an algorithm, its settings, versions or builds have changed. Any thread may call."""
        with self._lock:
            self._generation += 1
            self._cache.clear()

    def register_catalog(self, accounts: Accounts) -> None:
        """Make sure that every bundled algorithm exists as it is in this release; blocks. Changes nothing if so."""
        for project in catalog.bundled():
            owner = accounts.ensure_account(project.owner)
            with self._database.write() as connection:
                bundled.register(connection, owner, project, self._can_run)
        self.invalidate()

    def _can_run(self, row: sa.Row[Any]) -> bool:
        """Whether what the row of a finished build names is still on this machine."""
        program = self._runtimes.unpack(row.runtime).command[0]
        return (self._state / row.artifact).is_dir() and os.path.exists(program)

    def _load(self, key: tuple[str, str]) -> _Record | None:
        generation = self._generation
        owner, name = key
        algorithms, accounts, builds, published = schema.algorithms, schema.accounts, schema.builds, schema.versions
        condition = (
            sa.and_(accounts.c.username == owner, algorithms.c.name == name) if owner else algorithms.c.id == name
        )
        with self._database.read() as connection:
            row = connection.execute(
                sa.select(algorithms, accounts.c.username).join(accounts).where(condition)
            ).one_or_none()
            if row is None:
                return None
            build_rows = connection.execute(
                sa.select(builds)
                .where(
                    builds.c.algorithm_id == row.id,
                    sa.or_(builds.c.status == SUCCEEDED, builds.c.artifact.startswith(CATALOG)),
                )
                .order_by(builds.c.started_at)
            ).all()
            version_rows = connection.execute(
                sa.select(published).where(published.c.algorithm_id == row.id)
            ).all()
        settings = msgspec.json.decode(row.settings)
        built = {build.id for build in build_rows if build.status == SUCCEEDED}
        # A published build runs with the settings of its version, by whichever name it is called.
        settings_of = {build.id: settings for build in build_rows}
        for version in version_rows:
            settings_of[version.build_id] = {**settings, **msgspec.json.decode(version.settings)}
        made = {build.id: self._build(build, row, settings_of[build.id]) for build in build_rows}
        record = _Record(
            account_id=row.account_id,
            settings=settings,
            versions={
                (version.major, version.minor, version.revision): _Version(
                    made[version.build_id],
                    settings_of[version.build_id],
                    version.callability == PUBLIC,
                    version.build_id not in built,
                )
                for version in version_rows
                if version.build_id in made
            },
            commits={
                build.commit_sha: (made[build.id], settings_of[build.id]) for build in build_rows if build.id in built
            },
            builds={
                build.id: (made[build.id], settings_of[build.id], build.id not in built) for build in build_rows
            },
        )
        # An answer from before a change must not outlive it.
        with self._lock:
            if generation == self._generation:
                if len(self._cache) >= _CACHE_SIZE:
                    self._cache.clear()
                self._cache[key] = record
        return record

    def _build(self, row: Any, algorithm: Any, settings: dict[str, Any]) -> Build:
        if row.artifact.startswith(CATALOG):
            path = catalog.ROOT / row.artifact.removeprefix(CATALOG)
        else:
            path = self._state / row.artifact
        runtime = self._runtimes.unpack(row.runtime) if row.runtime else self._runtimes.located(own_runtime())
        network: NetworkAccess = "isolated" if settings.get("network_access") == "isolated" else "full"
        return Build(row.id, algorithm.username, algorithm.name, path, runtime, row.algorithm_id, network)


def _choose(record: _Record, reference: Reference, is_owner: bool) -> Resolved:
    """The version of `record` that the caller means and may call; errors as `Algorithms.resolve`."""
    wanted = versions.parse(reference.version)
    public = [number for number, version in record.versions.items() if version.is_public]
    if not is_owner and not public:
        raise _not_found(reference)  # nobody else is meant to know of it
    if wanted is None:
        raise _not_found(reference)
    if not is_owner and (wanted.commit or wanted.latest_private):
        raise NotAuthorized()
    if wanted.commit:
        found = record.commits.get(wanted.commit)
        if found is None:
            raise _not_found(reference)
        return _resolved(record, *found, wanted.commit, is_owner)
    if wanted.exact is not None:
        number: versions.Number | None = wanted.exact
    elif wanted.latest_private:
        number = versions.newest(set(record.versions).difference(public))
    else:
        number = versions.newest(public, wanted.prefix)
    if number is None or number not in record.versions:
        raise _not_found(reference, _for_its_owner(record, wanted) if number is None and is_owner else "")
    version = record.versions[number]
    if not version.is_public and not is_owner:
        raise NotAuthorized()
    text = versions.format_number(number)
    return _resolved(record, version.build, version.settings, text, is_owner, version.needs_build)


def _resolved(
    record: _Record,
    build: Build,
    settings: dict[str, Any],
    version: str,
    is_owner: bool,
    needs_build: bool = False,
) -> Resolved:
    visible = is_owner or settings.get("source_visibility") == "open"
    return Resolved(build, settings, version, visible, record.account_id, needs_build)


def _for_its_owner(record: _Record, wanted: versions.Wanted) -> str:
    """Why there is no version that `wanted` means, for whoever may know."""
    if not record.versions:
        return ": nothing of it is published yet; its builds are called by their commit, OWNER/NAME/COMMIT"
    if wanted.latest_private:
        return ": all of its versions are public"
    private = [number for number, version in record.versions.items() if not version.is_public]
    if not private:
        return ""
    newest = versions.format_number(max(private))
    return f": it has no such public version; private ones are called by number, as {newest}, or by latestPrivate"


def _not_found(reference: Reference, hint: str = "") -> NotFound:
    return NotFound(f"algorithm algo://{reference.text[:200]} not found{hint}")
