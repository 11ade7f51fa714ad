"""The rows of builds: made, found, paged, ended. Everything here blocks on the database.

A row says "in-progress" before any work begins, and "succeeded" only once the build's directory is complete on disk:
the row is what makes a directory a build.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from .. import catalog
from ..db import schema
from ..db.database import Database
from ..db.values import is_id, new_id, now_ms
from ..errors import BadRequest, Code, NotFound
from ..identity import Account

IN_PROGRESS, SUCCEEDED, FAILED, UNBUILT = "in-progress", "succeeded", "failed", "unbuilt"

INTERRUPTED = "the platform was stopped while it was building; build it again (algo compile)"

CATALOG = "catalog:"  # begins the artifact of a build whose files are the catalog's
_MARKER = re.compile(r"(\d{1,15})\.([0-9a-f-]{36})")


@dataclass(frozen=True, slots=True)
class Subject:
    """The algorithm that is built, with what a build needs to know of it."""

    id: str
    owner: Account
    name: str
    settings: dict[str, Any]


class BuildRecords:
    """The table of builds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def subject(self, algorithm_id: str) -> Subject:
        """The algorithm with that id. Raises NotFound."""
        algorithms, accounts = schema.algorithms, schema.accounts
        with self._database.read() as connection:
            row = connection.execute(
                sa.select(algorithms, accounts.c.username).join(accounts).where(algorithms.c.id == algorithm_id)
            ).one_or_none()
        if row is None:
            raise NotFound("the algorithm does not exist any more", Code.ALGORITHM_NOT_FOUND)
        settings = msgspec.json.decode(row.settings)
        return Subject(row.id, Account(row.account_id, row.username), row.name, settings)

    def open(self, algorithm_id: str, commit: str, environment: str, force: bool) -> tuple[str, bool]:
        """``(id, is_new)`` of the build of `commit`: a new row, or, unless `force`, the one that already does.

        Raises NotFound if the algorithm has gone.
        """
        builds = schema.builds
        same = sa.and_(
            builds.c.algorithm_id == algorithm_id, builds.c.commit_sha == commit, builds.c.environment == environment
        )
        with self._database.write() as connection:
            if not force and environment:
                found = connection.execute(
                    sa.select(builds.c.id)
                    .where(same, builds.c.status.in_((SUCCEEDED, IN_PROGRESS)))
                    .order_by(builds.c.started_at.desc())
                    .limit(1)
                ).scalar()
                if found is not None:
                    return str(found), False
            exists = sa.select(schema.algorithms.c.id).where(schema.algorithms.c.id == algorithm_id)
            if connection.execute(exists).first() is None:
                raise NotFound("the algorithm does not exist any more", Code.ALGORITHM_NOT_FOUND)
            build_id = new_id()
            connection.execute(
                builds.insert().values(
                    id=build_id,
                    algorithm_id=algorithm_id,
                    commit_sha=commit,
                    status=IN_PROGRESS,
                    artifact=f"builds/{build_id}",
                    started_at=now_ms(),
                    environment=environment,
                )
            )
        return build_id, True

    def reopen(self, build_id: str) -> bool:
        """Set a build that is not (or did not get) built to "in-progress"; whether that was so."""
        builds = schema.builds
        with self._database.write() as connection:
            changed = connection.execute(
                builds.update()
                .where(builds.c.id == build_id, builds.c.status.in_((UNBUILT, FAILED)))
                .values(status=IN_PROGRESS, started_at=now_ms(), finished_at=None, problem="")
            )
            return bool(changed.rowcount)

    def succeed(self, build_id: str, environment: str, runtime: str) -> bool:
        """The build is complete on disk; whether its row still existed."""
        return self._end(
            build_id, status=SUCCEEDED, environment=environment, runtime=runtime, artifact=f"builds/{build_id}"
        )

    def fail(self, build_id: str, problem: str) -> bool:
        """The build did not work, because of `problem`; whether its row still existed."""
        return self._end(build_id, status=FAILED, problem=problem)

    def get(self, build_id: str, algorithm_id: str = "") -> sa.Row[Any] | None:
        """One row, if it is that algorithm's (with an empty `algorithm_id`: anybody's)."""
        if not is_id(build_id):
            return None
        builds = schema.builds
        condition = builds.c.id == build_id
        if algorithm_id:
            condition = sa.and_(condition, builds.c.algorithm_id == algorithm_id)
        with self._database.read() as connection:
            return connection.execute(sa.select(builds).where(condition)).one_or_none()

    def counts(self) -> dict[str, int]:
        """How many rows there are, by status."""
        builds = schema.builds
        with self._database.read() as connection:
            rows = connection.execute(sa.select(builds.c.status, sa.func.count()).group_by(builds.c.status)).all()
        return dict.fromkeys((IN_PROGRESS, SUCCEEDED, FAILED, UNBUILT), 0) | {row[0]: row[1] for row in rows}

    def page(self, algorithm_id: str, limit: int, marker: str | None) -> tuple[list[sa.Row[Any]], str | None]:
        """Rows of an algorithm, newest first, and the marker of the next page (None after the last).

        Raises BadRequest for a marker that isn't one.
        """
        builds = schema.builds
        query = sa.select(builds).where(builds.c.algorithm_id == algorithm_id, builds.c.status != UNBUILT)
        if marker:
            found = _MARKER.fullmatch(marker)
            if found is None:
                raise BadRequest(f"marker {marker[:80]!r} is not one that a page gave", Code.INVALID_MARKER)
            after = sa.tuple_(sa.literal(int(found[1])), sa.literal(found[2]))
            query = query.where(sa.tuple_(builds.c.started_at, builds.c.id) < after)
        query = query.order_by(builds.c.started_at.desc(), builds.c.id.desc()).limit(limit + 1)
        with self._database.read() as connection:
            rows = list(connection.execute(query))
        if len(rows) <= limit:
            return rows, None
        last = rows[limit - 1]
        return rows[:limit], f"{last.started_at}.{last.id}"

    def prune(self, algorithm_id: str, keep: int) -> list[str]:
        """Delete the rows of an algorithm's builds that have ended and are neither published nor among the newest
        `keep` of these; their ids."""
        builds, versions = schema.builds, schema.versions
        published = sa.select(versions.c.build_id).where(versions.c.algorithm_id == algorithm_id)
        old = (
            sa.select(builds.c.id)
            .where(
                builds.c.algorithm_id == algorithm_id,
                builds.c.status.in_((SUCCEEDED, FAILED)),
                builds.c.artifact.not_like(f"{CATALOG}%"),
                builds.c.id.not_in(published),
            )
            .order_by(builds.c.started_at.desc(), builds.c.id.desc())
        )
        with self._database.write() as connection:
            ids = [str(build_id) for build_id in connection.execute(old).scalars()][keep:]
            # Not more at once than one statement may name.
            for start in range(0, len(ids), 500):
                connection.execute(builds.delete().where(builds.c.id.in_(ids[start : start + 500])))
        return ids

    def built(self, algorithm_ids: Sequence[str]) -> set[tuple[str, str]]:
        """Algorithm and commit of all that was ever built, or tried, of these algorithms."""
        builds = schema.builds
        query = sa.select(builds.c.algorithm_id, builds.c.commit_sha).where(builds.c.algorithm_id.in_(algorithm_ids))
        with self._database.read() as connection:
            return {(row.algorithm_id, row.commit_sha) for row in connection.execute(query)}

    def interrupt(self, problem: str) -> None:
        """End every build in progress: bundled ones become "unbuilt", others "failed"."""
        builds = schema.builds
        running = builds.c.status == IN_PROGRESS
        with self._database.write() as connection:
            connection.execute(
                builds.update().where(running, builds.c.artifact.startswith(CATALOG)).values(status=UNBUILT)
            )
            connection.execute(
                builds.update().where(running).values(status=FAILED, finished_at=now_ms(), problem=problem)
            )

    def last_ended(self) -> list[sa.Row[Any]]:
        """The builds that ended in the last minute in which any did: their logs may lack the end after a crash."""
        builds = schema.builds
        with self._database.read() as connection:
            latest = connection.execute(sa.select(sa.func.max(builds.c.finished_at))).scalar()
            if latest is None:
                return []
            query = sa.select(builds.c.id, builds.c.status, builds.c.problem).where(
                builds.c.finished_at >= latest - 60_000, builds.c.status.in_((SUCCEEDED, FAILED))
            )
            return list(connection.execute(query))

    def kept(self, ids: Iterable[str]) -> dict[str, str]:
        """Status of those builds among `ids` that have a row."""
        builds = schema.builds
        wanted = set(ids)
        with self._database.read() as connection:
            rows = connection.execute(sa.select(builds.c.id, builds.c.status))
            return {row.id: row.status for row in rows if row.id in wanted}

    def runtimes(self) -> list[str]:
        """The stored runtimes of every build that can be called."""
        builds = schema.builds
        with self._database.read() as connection:
            return list(connection.execute(sa.select(builds.c.runtime).where(builds.c.status == SUCCEEDED)).scalars())

    def pushable(self) -> list[str]:
        """Ids of all algorithms but the bundled ones, which nobody pushes to."""
        algorithms, accounts = schema.algorithms, schema.accounts
        bundled = {(project.owner, project.name) for project in catalog.bundled()}
        query = sa.select(algorithms.c.id, accounts.c.username, algorithms.c.name).join(accounts)
        with self._database.read() as connection:
            return [row.id for row in connection.execute(query) if (row.username, row.name) not in bundled]

    def _end(self, build_id: str, **values: Any) -> bool:
        builds = schema.builds
        with self._database.write() as connection:
            changed = connection.execute(
                builds.update()
                .where(builds.c.id == build_id, builds.c.status == IN_PROGRESS)
                .values(finished_at=now_ms(), **values)
            )
            return bool(changed.rowcount)
