"""Algorithms, versions and builds as the API shows them to a caller: rows to documents. Absent members are left out.

A *version* of the API is a build that succeeded: published ones carry a number, the others only their commit. All
methods block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec
import sqlalchemy as sa

from ..builds.records import FAILED, IN_PROGRESS, SUCCEEDED
from ..db import schema
from ..db.database import Database
from ..db.values import is_id, iso_time
from ..errors import BadRequest, Code, NotAuthorized, NotFound
from .algorithm_access import Viewed
from .algorithm_settings import PRIVATE, PUBLIC
from .versions import format_number

Document = dict[str, Any]

INTERNAL_SCM: Document = {"id": "internal", "provider": "internal", "default": True, "enabled": True}

# Of the log of the newest build, with the algorithm: whoever wants all of it asks for that build or its version.
_SHOWN_LOG = 64 * 1024
_DETAILS_SHOWN = ("label", "tagline", "summary")
_INFO_SHOWN = ("release_notes", "sample_input", "sample_output")
_BUILD_COLUMNS = ("id", "commit_sha", "status", "started_at", "finished_at", "environment", "problem")
_VERSION_COLUMNS = ("id", "major", "minor", "revision", "callability", "settings", "info", "created_at")


class AlgorithmDocuments:
    """Makes the API's documents.

    log_of  the log of a build or, given a number, so many bytes of its end; None while it has none
    """

    def __init__(
        self, database: Database, address: Callable[[], str], log_of: Callable[[str, int | None], str | None]
    ) -> None:
        self._database = database
        self._address = address
        self._log_of = log_of

    def algorithm(self, viewed: Viewed) -> Document:
        """The algorithm as it stands: for its owner with the newest build and the newest published version, for others
        as its newest public version has it."""
        rows = self._rows(viewed)
        published = [row for row in rows if row.v_id is not None]
        if not viewed.is_owner:
            return self._document(viewed, _newest(published), None, viewed.may_read_source)
        document = self._document(viewed, _newest(published), None, False)
        if viewed.may_read_source:
            build = self._newest_build(viewed)
            succeeded = max(rows, key=lambda row: (row.b_started_at, row.b_id), default=None)
            if succeeded is not None:
                document.setdefault("version_info", {})["git_hash"] = succeeded.b_commit_sha
                document["self_link"] = self._link(viewed, succeeded.b_commit_sha)
            if build is not None:
                document["build"] = build_document(build)
                if build.b_status in (SUCCEEDED, FAILED):
                    document["compilation"] = self._compilation(build, _SHOWN_LOG)
        return document

    def version(self, viewed: Viewed, commit: str) -> Document:
        """The version built from `commit`. Raises NotFound (1014), NotAuthorized if it isn't the caller's to see."""
        rows = [row for row in self._rows(viewed) if row.b_commit_sha == commit.lower()]
        if not rows:
            if not viewed.is_owner:
                raise NotAuthorized()
            raise NotFound(f"{viewed.reference} has no version {commit[:60]}", Code.VERSION_NOT_FOUND)
        row = max(rows, key=lambda row: (row.v_id is not None, row.b_started_at))
        return self._document(viewed, row, row, viewed.may_read_source)

    def version_of_build(self, viewed: Viewed, build_id: str) -> Document:
        """The version that build `build_id` is, or what its failure looks like. Raises NotFound (1010)."""
        with self._database.read() as connection:
            row = connection.execute(_select(viewed.id).where(schema.builds.c.id == build_id)).one_or_none()
        if row is None:
            raise NotFound(f"{viewed.reference} has no build {build_id[:60]}", Code.BUILD_NOT_FOUND)
        return self._document(viewed, row, row, viewed.may_read_source)

    def versions(
        self, viewed: Viewed, published: bool | None, callable_: bool | None, limit: int, marker: str
    ) -> tuple[list[Document], str | None]:
        """A page of versions and the next page's marker: the published ones, highest number first, then the others,
        newest first.

        published  only those that are, or aren't
        callable_  only those that everybody may call, or that not everybody may

        Raises BadRequest (5002).
        """
        rows = [
            row
            for row in self._rows(viewed)
            if published in (None, row.v_id is not None) and callable_ in (None, row.v_callability == PUBLIC)
        ]
        rows.sort(key=_place, reverse=True)
        start = 0
        if marker:
            places = [number for number, row in enumerate(rows) if row.b_id == marker]
            if not is_id(marker) or not places:
                raise BadRequest(
                    f"marker {marker[:60]!r} is not valid; use the one of the page before", Code.INVALID_MARKER
                )
            start = places[0] + 1
        shown = rows[start : start + limit]
        more = len(rows) > start + limit
        documents = [self._document(viewed, row, row, viewed.may_read_source, with_log=False) for row in shown]
        return documents, shown[-1].b_id if more else None

    def build(self, viewed: Viewed, build: Any) -> Document:
        """A row of the table builds as a document."""
        with self._database.read() as connection:
            row = connection.execute(_select(viewed.id).where(schema.builds.c.id == build.id)).one_or_none()
        if row is None:
            raise NotFound(f"{viewed.reference} has no build {build.id}", Code.BUILD_NOT_FOUND)
        return build_document(row)

    def builds(self, viewed: Viewed, builds: list[Any]) -> list[Document]:
        """Rows of the table builds as documents, in their order."""
        wanted = [build.id for build in builds]
        with self._database.read() as connection:
            rows = connection.execute(_select(viewed.id).where(schema.builds.c.id.in_(wanted))).all()
        documents = {row.b_id: build_document(row) for row in rows}
        return [documents[build_id] for build_id in wanted if build_id in documents]

    # -- below -----------------------------------------------------------------------------------------------------

    def _rows(self, viewed: Viewed) -> list[Any]:
        """Every build that succeeded, with its published version; for others than the owner the public ones only."""
        # Bundled algorithms are published before they are built.
        is_version = sa.or_(schema.builds.c.status == SUCCEEDED, schema.versions.c.id.is_not(None))
        query = _select(viewed.id).where(is_version)
        if not viewed.is_owner:
            query = query.where(schema.versions.c.callability == PUBLIC)
        elif not viewed.may_read_source:
            query = query.where(schema.versions.c.id.is_not(None))
        with self._database.read() as connection:
            return list(connection.execute(query))

    def _newest_build(self, viewed: Viewed) -> Any:
        builds = schema.builds
        query = (
            _select(viewed.id)
            .where(builds.c.status.in_((SUCCEEDED, FAILED, IN_PROGRESS)))
            .order_by(builds.c.started_at.desc(), builds.c.id)
            .limit(1)
        )
        with self._database.read() as connection:
            return connection.execute(query).first()

    def _document(
        self, viewed: Viewed, version: Any, build: Any, with_source: bool, with_log: bool = True
    ) -> Document:
        """The object. `version` and `build` are rows or None; `with_log` only costs where the log is long."""
        settings = dict(viewed.settings)
        info: Document = {}
        if version is not None:
            if version.v_id is not None:
                settings.update(msgspec.json.decode(version.v_settings))
                settings["algorithm_callability"] = version.v_callability
                kept = msgspec.json.decode(version.v_info)
                info["semantic_version"] = format_number((version.v_major, version.v_minor, version.v_revision))
                info["version_uuid"] = version.v_id
                info["created_at"] = iso_time(version.v_created_at)
                info.update({name: kept[name] for name in _INFO_SHOWN if kept.get(name) is not None})
            elif build is not None:
                settings["algorithm_callability"] = PRIVATE
            info["git_hash"] = version.b_commit_sha
        document: Document = {
            "id": viewed.id,
            "name": viewed.name,
            "details": {name: viewed.details[name] for name in _DETAILS_SHOWN if name in viewed.details},
            "settings": settings,
            "source": {"scm": INTERNAL_SCM},
            "self_link": self._link(viewed, info.get("git_hash")),
            "resource_type": "algorithm",
        }
        if info:
            document["version_info"] = info
        if build is not None and with_source and build.b_status in (SUCCEEDED, FAILED, IN_PROGRESS):
            document["build"] = build_document(build)
            document["compilation"] = (
                self._compilation(build) if with_log else {"successful": build.b_status == SUCCEEDED}
            )
        return document

    def _compilation(self, build: Any, most: int | None = None) -> Document:
        """How a build went, with the end of its log: its last `most` bytes at most."""
        output = self._log_of(build.b_id, most) or build.b_problem
        return {"successful": build.b_status == SUCCEEDED, "output": output}

    def _link(self, viewed: Viewed, commit: str | None) -> str:
        link = f"{self._address()}/v1/algorithms/{quote(viewed.owner)}/{quote(viewed.name)}"
        return f"{link}/versions/{commit}" if commit else link


def build_document(row: Any) -> Document:
    """A build, from a row of `_select`."""
    document: Document = {
        "build_id": row.b_id,
        "status": row.b_status,
        "commit_sha": row.b_commit_sha,
        "started_at": iso_time(row.b_started_at),
        "resource_type": "algorithm_build",
    }
    if row.b_finished_at is not None:
        document["finished_at"] = iso_time(row.b_finished_at)
    if row.b_environment:
        document["environment"] = row.b_environment
    if row.b_problem:
        document["problem"] = row.b_problem
    if row.v_id is not None:
        number = format_number((row.v_major, row.v_minor, row.v_revision))
        document["version_info"] = {"semantic_version": number}
    return document


def _select(algorithm_id: str) -> sa.Select[Any]:
    """Builds of an algorithm, columns b_..., with what they are published as, columns v_... (null if they aren't)."""
    builds, versions = schema.builds, schema.versions
    return (
        sa.select(
            *(builds.c[name].label(f"b_{name}") for name in _BUILD_COLUMNS),
            *(versions.c[name].label(f"v_{name}") for name in _VERSION_COLUMNS),
        )
        .select_from(builds.outerjoin(versions, versions.c.build_id == builds.c.id))
        .where(builds.c.algorithm_id == algorithm_id)
    )


def _place(row: Any) -> tuple[Any, ...]:
    number = (0, 0, 0) if row.v_id is None else (row.v_major, row.v_minor, row.v_revision)
    return row.v_id is not None, number, row.b_started_at, row.b_id


def _newest(published: list[Any]) -> Any:
    return max(published, key=lambda row: (row.v_major, row.v_minor, row.v_revision), default=None)
