"""Publishing: a successful build gets a number, for good. What a version may do is fixed within its major version."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool

from ..builds.records import CATALOG, IN_PROGRESS, SUCCEEDED
from ..db import schema
from ..db.database import Database
from ..db.values import new_id, now_ms
from ..engine.base import ContentType
from ..errors import ApiProblem, BadRequest, Code, Conflict, NotFound
from ..git.program import GitError
from ..git.repositories import Repositories
from ..identity import STANDARD_KEY, Identity, KeyPermissions
from ..languages import Languages
from . import algorithm_settings
from .algorithm_access import Viewed
from .algorithm_settings import PERMISSIONS, PRIVATE
from .algorithms import Algorithms, Reference
from .call_documents import CallOptions
from .invoke import Invoker
from .management import locked, store
from .versions import Number, format_number, parse_number

log = logging.getLogger("algorithmia.management")

_TYPES = {"major": "major", "minor": "minor", "revision": "revision", "patch": "revision", "default": "minor"}
_MAX_PART = 999_999_999
_SAMPLE_SECONDS = 60.0
_MAX_SAMPLE_OUTPUT = 64 * 1024
_ATTEMPTS = 8
# In a version's `info`: its clone URL and tag are known to exist.
_TAGGED = "tagged"


@dataclass(frozen=True, slots=True)
class Publication:
    """What a request to publish says, not yet checked; empty texts mean nothing was said."""

    details: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    version_type: str = ""
    semantic_version: str = ""
    git_hash: str = ""
    release_notes: str | None = None
    sample_input: str | None = None
    sample_output: str | None = None


@dataclass(frozen=True, slots=True)
class _Published:
    version_id: str
    build_id: str
    commit: str
    number: Number
    info: dict[str, Any]
    is_confined_anew: bool  # may use the network where its commit might not, or the other way round


class Publishing:
    """Makes versions of builds."""

    def __init__(
        self,
        database: Database,
        repositories: Repositories,
        algorithms: Algorithms,
        languages: Languages,
        invoker: Invoker,
        recycle: Callable[[str], None],
    ) -> None:
        self._database = database
        self._repositories = repositories
        self._algorithms = algorithms
        self._languages = languages
        self._invoker = invoker
        self._recycle = recycle

    async def publish(self, viewed: Viewed, identity: Identity, wanted: Publication, request_id: str) -> str:
        """Publish the newest successful build (or that of a commit) of `viewed`; returns the id of the build.

        Its sample input, if it has one, is run, and the answer kept beside it. Raises BadRequest for what can't be
        asked for, NotFound (1010) without such a build, Conflict (1007) if it is published already.
        """
        published = await run_in_threadpool(self._record, viewed, wanted)
        self._algorithms.invalidate()
        if published.is_confined_anew:
            self._recycle(viewed.id)
        info = dict(published.info)
        if await run_in_threadpool(self._tag, viewed.id, published.number, published.commit):
            info[_TAGGED] = True
        if info.get("sample_input"):
            info["sample_output"] = await self._sample(viewed, identity, published, info["sample_input"], request_id)
        await run_in_threadpool(self._store_info, published.version_id, info)
        return published.build_id

    def recover(self) -> None:
        """After a crash, before the first request: versions whose clone URL or tag may be missing get them; blocks."""
        builds, versions = schema.builds, schema.versions
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(versions, builds.c.commit_sha)
                .join(builds, versions.c.build_id == builds.c.id)
                .where(builds.c.artifact.not_like(f"{CATALOG}%"), versions.c.info.not_like(f'%"{_TAGGED}":true%'))
            ).all()
        for row in rows:
            if not self._repositories.exists(row.algorithm_id):
                continue  # a bundled algorithm that was built on its first use
            if self._tag(row.algorithm_id, (row.major, row.minor, row.revision), row.commit_sha):
                self._store_info(row.id, {**msgspec.json.decode(row.info), _TAGGED: True})

    # -- below -----------------------------------------------------------------------------------------------------

    def _record(self, viewed: Viewed, wanted: Publication) -> _Published:
        details_given = algorithm_settings.checked_details(wanted.details)
        given = algorithm_settings.checked(wanted.settings)
        present = viewed.settings
        for _ in range(_ATTEMPTS):
            change = algorithm_settings.change(present, given, self._languages)
            try:
                recorded = self._try_to_record(viewed, wanted, details_given, change)
            except sa.exc.IntegrityError:
                continue  # somebody else took the number
            if isinstance(recorded, _Published):
                return recorded
            present = recorded
        raise Conflict(f"{viewed.reference} is being published by others at the same time; try again")

    def _try_to_record(
        self, viewed: Viewed, wanted: Publication, details_given: Mapping[str, str], change: algorithm_settings.Change
    ) -> _Published | dict[str, Any]:
        """The version; the algorithm's settings if these are no longer those that `change` was made for."""
        given = change.given
        versions = schema.versions
        with self._database.write() as connection:
            row = locked(connection, viewed)
            details = msgspec.json.decode(row.details)
            stored: dict[str, Any] = msgspec.json.decode(row.settings)
            if not change.fits(stored):
                return stored
            existing = {
                (version.major, version.minor, version.revision): version
                for version in connection.execute(sa.select(versions).where(versions.c.algorithm_id == viewed.id))
            }
            number = _next_number(viewed, set(existing), wanted)
            build = _build_to_publish(connection, viewed, wanted.git_hash)
            settings = change.to(stored)
            callability = given.get("algorithm_callability") or stored.get("algorithm_callability") or PRIVATE
            # What callability the algorithm began with stays what the next version has by default.
            kept = {**settings, "algorithm_callability": stored.get("algorithm_callability", PRIVATE)}
            frozen = {name: settings[name] for name in settings if name != "algorithm_callability"}
            base = max((found for found in existing if found[0] == number[0]), default=None)
            if base is not None:
                frozen.update(_inherited(number, base, msgspec.json.decode(existing[base].settings), given))
            series = max((found for found in existing if found[:2] == number[:2]), default=None)
            if series is not None:
                callability = _same_callability(number, existing[series].callability, given)
            algorithm_settings.check_licence(frozen)
            latest = existing[max(existing)] if existing else None
            info = _info(wanted, details, msgspec.json.decode(latest.info) if latest is not None else {})
            version_id = new_id()
            connection.execute(
                versions.insert().values(
                    id=version_id,
                    algorithm_id=viewed.id,
                    build_id=build.id,
                    major=number[0],
                    minor=number[1],
                    revision=number[2],
                    callability=callability,
                    settings=msgspec.json.encode(frozen).decode(),
                    info=msgspec.json.encode(info).decode(),
                    created_at=now_ms(),
                )
            )
            store(connection, viewed.id, {**details, **details_given}, kept)
        anew = frozen.get("network_access") != stored.get("network_access")
        return _Published(version_id, build.id, build.commit_sha, number, info, anew)

    def _tag(self, algorithm_id: str, number: Number, commit: str) -> bool:
        try:
            self._repositories.publish_version(algorithm_id, format_number(number), commit)
        except (ApiProblem, GitError, OSError):
            # The version is published and callable; the next start tries again.
            log.exception("no clone URL for a version", extra={"algorithm_id": algorithm_id, "commit": commit})
            return False
        return True

    def _store_info(self, version_id: str, info: dict[str, Any]) -> None:
        versions = schema.versions
        with self._database.write() as connection:
            connection.execute(
                versions.update().where(versions.c.id == version_id).values(info=msgspec.json.encode(info).decode())
            )

    async def _sample(
        self, viewed: Viewed, identity: Identity, published: _Published, sample: str, request_id: str
    ) -> str:
        """What the version answers to its sample input, as JSON text; the message if it fails."""
        owner = Identity(identity.account, STANDARD_KEY, identity.key_id, KeyPermissions.everything())
        number = format_number(published.number)
        reference = Reference(f"{viewed.owner}/{viewed.name}/{number}", id=viewed.id, version=number)
        content_type: ContentType = "json" if _is_json(sample) else "text"
        options = CallOptions(timeout=_SAMPLE_SECONDS)
        try:
            resolved = await self._invoker.admit(reference, owner)
            answer = await self._invoker.invoke(
                resolved, owner, options, content_type, sample.encode("utf-8", "replace"), request_id
            )
        except ApiProblem as problem:
            return problem.message
        document = msgspec.json.decode(answer.body, type=dict[str, msgspec.Raw])
        if "result" in document:
            return bytes(document["result"]).decode("utf-8", "replace")[:_MAX_SAMPLE_OUTPUT]
        return str(msgspec.json.decode(document["error"])["message"])[:_MAX_SAMPLE_OUTPUT]


def _build_to_publish(connection: sa.Connection, viewed: Viewed, commit: str) -> Any:
    """The newest build that succeeded (of `commit`, if given). Raises NotFound (1010), Conflict (1007)."""
    builds, versions = schema.builds, schema.versions
    query = sa.select(builds).where(builds.c.algorithm_id == viewed.id)
    query = query.order_by(builds.c.started_at.desc(), builds.c.id)
    if commit:
        query = query.where(builds.c.commit_sha == commit.lower())
    newest = connection.execute(query.limit(1)).first()
    build = connection.execute(query.where(builds.c.status == SUCCEEDED).limit(1)).first()
    what = f"commit {commit[:60]}" if commit else "the newest source"
    newest_state = ""
    if newest is not None and newest.status != SUCCEEDED:
        newest_state = f"; build {newest.id} of commit {newest.commit_sha[:10]} is {newest.status}"
    if build is None:
        if newest is None:
            remedy = "push a commit, deploy, or compile, first"
        else:
            remedy = "wait for it to end" if newest.status == IN_PROGRESS else "see its logs, and push a correction"
        raise NotFound(
            f"{viewed.reference} has no successful build of {what} to publish{newest_state}: {remedy}",
            Code.BUILD_NOT_FOUND,
        )
    version = connection.execute(sa.select(versions).where(versions.c.build_id == build.id)).one_or_none()
    if version is not None:
        number = format_number((version.major, version.minor, version.revision))
        raise Conflict(
            f"the newest successful build of {viewed.reference} (commit {build.commit_sha[:10]}) is published already, "
            f"as {number}{newest_state}: push a change, or build it again (compile, or an empty commit: git commit "
            "--allow-empty), and then publish; algo publish --rebuild does both",
            Code.VERSION_PUBLISHED,
        )
    return build


def _next_number(viewed: Viewed, existing: set[Number], wanted: Publication) -> Number:
    """The number that `wanted` asks for. Raises BadRequest, Conflict."""
    if wanted.semantic_version:
        number = parse_number(wanted.semantic_version)
        if number is None:
            raise BadRequest(f"semantic_version {wanted.semantic_version[:60]!r} is not a version such as 1.2.3")
        if number in existing:
            raise Conflict(
                f"{viewed.reference} has a version {format_number(number)} already, and versions never change: "
                "choose another number",
                Code.VERSION_PUBLISHED,
            )
        return number
    kind = _TYPES.get(wanted.version_type or "minor")
    if kind is None:
        raise BadRequest(f"version_type {wanted.version_type[:60]!r} is not one of major, minor, revision (or patch)")
    if not existing:
        return (1, 0, 0) if kind == "major" else (0, 1, 0)
    major, minor, revision = max(existing)
    if kind == "major":
        number = (major + 1, 0, 0)
    elif kind == "minor":
        number = (major, minor + 1, 0)
    else:
        number = (major, minor, revision + 1)
    if max(number) > _MAX_PART:
        raise BadRequest(f"there is no {kind} version after {format_number((major, minor, revision))}")
    return number


def _inherited(number: Number, base: Number, settings: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The permissions that version `number` takes over from `base`. Raises BadRequest if `given` asks for others."""
    kept = {name: settings[name] for name in PERMISSIONS if name in settings}
    for name, value in kept.items():
        if name in given and given[name] != value:
            raise BadRequest(
                f"settings.{name} can change only with a new major version: {format_number(number)} keeps {value!r} of "
                f"{format_number(base)}; publish with version_type major for {given[name]!r}"
            )
    # A licence that goes with the kept visibility.
    if "license" in settings and "license" not in given:
        kept["license"] = settings["license"]
    return kept


def _same_callability(number: Number, present: str, given: Mapping[str, Any]) -> str:
    wanted = given.get("algorithm_callability", present)
    if wanted != present:
        series = "{}.{}".format(*number)
        raise BadRequest(
            f"settings.algorithm_callability can change only with a new minor or major version: {series}.* is {present}"
        )
    return present


def _info(wanted: Publication, details: Mapping[str, Any], latest: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept about a version. A sample input stays in use until another is given."""
    info: dict[str, Any] = {}
    if wanted.release_notes is not None:
        info["release_notes"] = wanted.release_notes
    sample = wanted.sample_input
    if sample is None:
        sample = latest.get("sample_input", details.get("sample_input"))
    if sample:
        info["sample_input"] = sample
    elif wanted.sample_output is not None:
        info["sample_output"] = wanted.sample_output
    return info


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return False
    return True
