"""The rows of bundled algorithms: brought into agreement with the catalog's projects whenever the platform starts.

A project without dependencies runs from where it lies in the package. One that has some is ``unbuilt`` at first, and
built when it is first called (`builds/first_use.py`); its row then names that build's directory, as any other's does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import sqlalchemy as sa

from .. import catalog
from ..builds.records import CATALOG, SUCCEEDED, UNBUILT
from ..db import schema
from ..db.values import new_id, now_ms
from ..identity import Account
from .algorithm_settings import PUBLIC

_SETTINGS = {
    "algorithm_callability": PUBLIC,
    "source_visibility": "open",
    "license": "mit",
    "pipeline_enabled": True,
    "language": "python3-1",
    "environment": "cpu",
    "royalty_microcredits": 0,
}


def register(
    connection: sa.Connection,
    owner: Account,
    project: catalog.Bundled,
    can_run: Callable[[sa.Row[Any]], bool],
) -> None:
    """Bring the rows of one bundled algorithm up to date; its version moves to a new build when its files changed.

    can_run  whether what a finished build's row names is still there: its files, its interpreter. If it isn't, the
             next call builds it again.
    """
    algorithm_id = _algorithm(connection, owner, project)
    build_id = _build(connection, algorithm_id, project, can_run)
    _version(connection, algorithm_id, build_id, project)
    # The files of other builds are gone, or go with the next sweep: a commit must never run another one's code.
    builds, published = schema.builds, schema.versions
    in_use = sa.select(published.c.build_id).where(published.c.algorithm_id == algorithm_id)
    connection.execute(builds.delete().where(builds.c.algorithm_id == algorithm_id, builds.c.id.not_in(in_use)))


def _algorithm(connection: sa.Connection, owner: Account, project: catalog.Bundled) -> str:
    algorithms = schema.algorithms
    details = msgspec.json.encode(
        {"label": project.name, "tagline": project.tagline(), "summary": project.readme()}
    ).decode()
    settings = msgspec.json.encode({**_SETTINGS, "network_access": project.network_access()}).decode()
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
        return algorithm_id
    if (found.details, found.settings) != (details, settings):
        connection.execute(
            algorithms.update().where(algorithms.c.id == found.id).values(details=details, settings=settings)
        )
    return str(found.id)


def _build(
    connection: sa.Connection, algorithm_id: str, project: catalog.Bundled, can_run: Callable[[sa.Row[Any]], bool]
) -> str:
    """Id of the build row for the project's present files, made if need be."""
    builds = schema.builds
    commit = project.content_hash()
    is_ready = not project.dependencies()
    now = now_ms()
    fresh = {
        "status": SUCCEEDED if is_ready else UNBUILT,
        "artifact": f"{CATALOG}{project.owner}/{project.name}",
        "environment": "",
        "runtime": "",
        "problem": "",
        "started_at": now,
        "finished_at": now if is_ready else None,
    }
    found = connection.execute(
        sa.select(builds).where(builds.c.algorithm_id == algorithm_id, builds.c.commit_sha == commit)
    ).first()
    if found is None:
        build_id = new_id()
        connection.execute(builds.insert().values(id=build_id, algorithm_id=algorithm_id, commit_sha=commit, **fresh))
        return build_id
    if found.status == SUCCEEDED and not found.artifact.startswith(CATALOG) and not can_run(found):
        connection.execute(builds.update().where(builds.c.id == found.id).values(**fresh))
    return str(found.id)


def _version(connection: sa.Connection, algorithm_id: str, build_id: str, project: catalog.Bundled) -> None:
    """Publish the build as the project's version. Versions of earlier releases that have files of their own stay."""
    builds, published = schema.builds, schema.versions
    major, minor, revision = project.version()
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
    without_files = sa.select(builds.c.id).where(
        builds.c.algorithm_id == algorithm_id, builds.c.artifact.startswith(CATALOG), builds.c.id != build_id
    )
    connection.execute(
        published.delete().where(published.c.algorithm_id == algorithm_id, published.c.build_id.in_(without_files))
    )
