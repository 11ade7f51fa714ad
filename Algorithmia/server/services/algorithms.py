"""Algorithms: from the name and version that a caller writes to the build that runs, and the bundled ones.

What is found is kept in memory, with all versions of the algorithm; whoever changes an algorithm calls `invalidate`.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool

from .. import catalog
from ..db import schema
from ..db.database import Database
from ..db.values import new_id, now_ms
from ..engine.base import Build, Runtime
from ..errors import NotAuthorized, NotFound
from ..identity import Account, Identity
from ..languages.python3.language import own_runtime
from ..settings import Settings
from . import versions
from .accounts import Accounts

PUBLIC = "public"
SUCCEEDED = "succeeded"

_CATALOG = "catalog:"
_CATALOG_VERSION = (0, 1, 0)
_CATALOG_SETTINGS = {
    "algorithm_callability": PUBLIC,
    "source_visibility": "open",
    "license": "mit",
    "network_access": "full",
    "pipeline_enabled": True,
    "language": "python3-1",
    "environment": "cpu",
    "royalty_microcredits": 0,
}
_CACHE_SIZE = 4096
# Anything else is not worth a look into the database.
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]{0,63}")
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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
    """

    build: Build
    settings: dict[str, Any]
    version: str
    source_visible: bool
    owner_account_id: str


@dataclass(frozen=True, slots=True)
class _Version:
    build: Build
    settings: dict[str, Any]
    is_public: bool


@dataclass(slots=True)
class _Record:
    """An algorithm with everything that resolving needs."""

    account_id: str
    settings: dict[str, Any]
    versions: dict[versions.Number, _Version]
    commits: dict[str, Build]
    resolved: dict[tuple[str, bool], Resolved] = field(default_factory=dict)


class Algorithms:
    """The algorithms of a platform. Methods that block say so."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
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
            if not _is_possible(*key):
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
                _register(connection, owner, project)
        self.invalidate()

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
                .where(builds.c.algorithm_id == row.id, builds.c.status == SUCCEEDED)
                .order_by(builds.c.started_at)
            ).all()
            version_rows = connection.execute(
                sa.select(published).where(published.c.algorithm_id == row.id)
            ).all()
        settings = msgspec.json.decode(row.settings)
        made = {build.id: self._build(build, row.username, row.name) for build in build_rows}
        record = _Record(
            account_id=row.account_id,
            settings=settings,
            versions={
                (version.major, version.minor, version.revision): _Version(
                    made[version.build_id],
                    {**settings, **msgspec.json.decode(version.settings)},
                    version.callability == PUBLIC,
                )
                for version in version_rows
                if version.build_id in made
            },
            commits={build.commit_sha: made[build.id] for build in build_rows},
        )
        # An answer from before a change must not outlive it.
        with self._lock:
            if generation == self._generation:
                if len(self._cache) >= _CACHE_SIZE:
                    self._cache.clear()
                self._cache[key] = record
        return record

    def _build(self, row: Any, owner: str, name: str) -> Build:
        if row.artifact.startswith(_CATALOG):
            path = catalog.ROOT / row.artifact.removeprefix(_CATALOG)
        else:
            path = self._state / row.artifact
        runtime = msgspec.json.decode(row.runtime, type=Runtime) if row.runtime else own_runtime()
        return Build(row.id, owner, name, path, runtime, row.algorithm_id)


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
        build = record.commits.get(wanted.commit)
        if build is None:
            raise _not_found(reference)
        return _resolved(record, build, record.settings, wanted.commit, is_owner)
    if wanted.exact is not None:
        number: versions.Number | None = wanted.exact
    elif wanted.latest_private:
        number = versions.newest(set(record.versions).difference(public))
    else:
        number = versions.newest(public, wanted.prefix)
    if number is None or number not in record.versions:
        raise _not_found(reference)
    version = record.versions[number]
    if not version.is_public and not is_owner:
        raise NotAuthorized()
    return _resolved(record, version.build, version.settings, versions.format_number(number), is_owner)


def _resolved(record: _Record, build: Build, settings: dict[str, Any], version: str, is_owner: bool) -> Resolved:
    visible = is_owner or settings.get("source_visibility") == "open"
    return Resolved(build, settings, version, visible, record.account_id)


def _is_possible(owner: str, name: str) -> bool:
    if not owner:
        return _ID.fullmatch(name) is not None
    return _NAME.fullmatch(owner) is not None and _NAME.fullmatch(name) is not None


def _not_found(reference: Reference) -> NotFound:
    return NotFound(f"algorithm algo://{reference.text[:200]} not found")


def _register(connection: sa.Connection, owner: Account, project: catalog.Bundled) -> None:
    """Bring the rows of one bundled algorithm up to date; its version moves to the new build when its files changed."""
    algorithms, builds, published = schema.algorithms, schema.builds, schema.versions
    details = msgspec.json.encode(
        {"label": project.name, "tagline": project.tagline(), "summary": project.readme()}
    ).decode()
    settings = msgspec.json.encode(_CATALOG_SETTINGS).decode()
    found = connection.execute(
        sa.select(algorithms).where(algorithms.c.account_id == owner.id, algorithms.c.name == project.name)
    ).one_or_none()
    if found is None:
        algorithm_id = new_id()
        connection.execute(
            algorithms.insert().values(
                id=algorithm_id,
                account_id=owner.id,
                name=project.name,
                details=details,
                settings=settings,
                created_at=now_ms(),
            )
        )
    else:
        algorithm_id = found.id
        if (found.details, found.settings) != (details, settings):
            connection.execute(
                algorithms.update()
                .where(algorithms.c.id == algorithm_id)
                .values(details=details, settings=settings)
            )
    build_id = _current_build(connection, algorithm_id, project)
    major, minor, revision = _CATALOG_VERSION
    this_version = sa.and_(
        published.c.algorithm_id == algorithm_id,
        published.c.major == major,
        published.c.minor == minor,
        published.c.revision == revision,
    )
    version = connection.execute(sa.select(published).where(this_version)).one_or_none()
    if version is None:
        connection.execute(
            published.insert().values(
                id=new_id(),
                algorithm_id=algorithm_id,
                build_id=build_id,
                major=major,
                minor=minor,
                revision=revision,
                callability=PUBLIC,
                created_at=now_ms(),
            )
        )
    elif version.build_id != build_id:
        connection.execute(published.update().where(this_version).values(build_id=build_id))
    # The files of other builds are gone: a commit must never run another one's code.
    in_use = sa.select(published.c.build_id).where(published.c.algorithm_id == algorithm_id)
    connection.execute(
        builds.delete().where(
            builds.c.algorithm_id == algorithm_id,
            builds.c.artifact.startswith(_CATALOG),
            builds.c.id.not_in(in_use),
        )
    )


def _current_build(connection: sa.Connection, algorithm_id: str, project: catalog.Bundled) -> str:
    """Id of the build row for the project's present files, made if need be."""
    builds = schema.builds
    commit = project.content_hash()
    found = connection.execute(
        sa.select(builds.c.id).where(builds.c.algorithm_id == algorithm_id, builds.c.commit_sha == commit)
    ).scalar()
    if found is not None:
        return str(found)
    build_id, now = new_id(), now_ms()
    connection.execute(
        builds.insert().values(
            id=build_id,
            algorithm_id=algorithm_id,
            commit_sha=commit,
            status=SUCCEEDED,
            artifact=f"{_CATALOG}{project.owner}/{project.name}",
            started_at=now,
            finished_at=now,
        )
    )
    return build_id
