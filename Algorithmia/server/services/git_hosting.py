"""Who may do what with which repository: from the names in a git URL to a repository, or a refusal. Everything blocks.

The repositories of bundled algorithms are made when somebody first asks for them, and follow the release's files.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from .. import catalog
from ..db import schema
from ..db.database import Database
from ..errors import Code, NotAuthorized, NotFound
from ..git.repositories import Repositories
from ..git.sources import directory_contents
from ..identity import STANDARD_KEY, Identity
from . import versions
from .algorithm_access import AlgorithmAccess, Viewed, require_owner, require_source
from .algorithm_settings import PUBLIC

# A commit's id covers its time: bundled sources have the same id on every platform.
_CATALOG_TIME = 1_600_000_000


@dataclass(frozen=True, slots=True)
class Opened:
    """A repository that somebody may use; `namespace` is the version that the URL names, or empty."""

    algorithm: Viewed
    namespace: str


class Hosting:
    """Opens repositories for callers."""

    def __init__(self, database: Database, access: AlgorithmAccess, repositories: Repositories) -> None:
        self._database = database
        self._access = access
        self._repositories = repositories

    def open(self, identity: Identity, owner: str, name: str, version: str, is_push: bool) -> Opened:
        """The repository of OWNER/NAME, or of one version of it, for reading or for pushing.

        Raises NotFound for what the caller is not meant to know of, NotAuthorized for what is not theirs to do.
        """
        if identity.call is not None or identity.key_type != STANDARD_KEY:
            raise NotAuthorized(
                "git takes a standard API key (AlgorithmKey), not an administrator's and not one of a running algorithm"
            )
        viewed = self._access.find(owner, name, identity)
        if is_push:
            require_owner(viewed, identity)
            if version:
                raise NotAuthorized(f"a version can't be changed: push to {owner}/{name}.git and publish another")
        else:
            require_source(viewed, identity)
        bundled = _bundled(owner, name)
        if bundled is not None:
            if is_push:
                raise NotAuthorized(f"{viewed.reference} comes with the platform and can't be changed")
            self._follow(viewed, bundled)
        elif not self._repositories.exists(viewed.id):
            raise NotFound(f"algorithm {viewed.reference} has no source here", Code.ALGORITHM_NOT_FOUND)
        if version:
            self._open_version(viewed, version, bundled is not None)
        return Opened(viewed, version)

    def _open_version(self, viewed: Viewed, version: str, is_bundled: bool) -> None:
        """Make sure that the version's namespace is there: publishing may have been cut off before."""
        number = versions.parse_number(version)
        table, builds = schema.versions, schema.builds
        row = None
        if number is not None:
            query = sa.select(table.c.callability, builds.c.commit_sha).join(builds, builds.c.id == table.c.build_id)
            major, minor, revision = number
            query = query.where(
                table.c.algorithm_id == viewed.id,
                table.c.major == major,
                table.c.minor == minor,
                table.c.revision == revision,
            )
            with self._database.read() as connection:
                row = connection.execute(query).one_or_none()
        if row is None or not (viewed.is_owner or row.callability == PUBLIC):
            raise NotFound(f"algorithm {viewed.reference} has no version {version[:40]}", Code.VERSION_NOT_FOUND)
        commit = self._repositories.head(viewed.id) if is_bundled else row.commit_sha
        if commit and self._repositories.version_head(viewed.id, version) != commit:
            self._repositories.publish_version(viewed.id, version, commit)

    def _follow(self, viewed: Viewed, bundled: catalog.Bundled) -> None:
        """Make the repository of a bundled algorithm hold what this release brings."""
        message = f"{viewed.owner}/{viewed.name} as bundled\n\nContent {bundled.content_hash()}"
        if not self._repositories.exists(viewed.id):
            self._repositories.create(viewed.id, directory_contents(bundled.path), message, _CATALOG_TIME)
        elif [commit.message for commit in self._repositories.commits(viewed.id, limit=1)] != [message]:
            self._repositories.commit_files(viewed.id, directory_contents(bundled.path), message)


def _bundled(owner: str, name: str) -> catalog.Bundled | None:
    return next((project for project in catalog.bundled() if (project.owner, project.name) == (owner, name)), None)
