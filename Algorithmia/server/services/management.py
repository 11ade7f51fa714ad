"""Creating, changing and deleting algorithms. An algorithm's row implies its repository: that is made first.

Methods that are not async block.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool

from ..builds.commands import whole
from ..builds.service import Builds
from ..db import schema
from ..db.database import Database
from ..db.values import is_id, new_id, now_ms
from ..errors import BadRequest, Code, Conflict, NotAuthorized, NotFound
from ..git.program import GitError
from ..git.repositories import Commit, Repositories
from ..identity import Identity
from ..languages import Languages
from ..turns import Turns
from . import algorithm_settings, templates
from .algorithm_access import AlgorithmAccess, Viewed, has_public_version, is_name, require_management
from .algorithm_settings import PUBLIC
from .algorithms import Algorithms

log = logging.getLogger("algorithmia.management")

_MAX_LISTED = 10_000
_MAX_SUMMARY = 128 * 1024


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a request to create or change an algorithm says, not yet checked."""

    details: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    sample_input: str | None = None


class Management:
    """The algorithms of a platform, as their owners manage them.

    recycle  ends the workers of an algorithm, given its id
    uploads  directory for archives that are being received
    """

    def __init__(
        self,
        database: Database,
        languages: Languages,
        repositories: Repositories,
        builds: Builds,
        algorithms: Algorithms,
        access: AlgorithmAccess,
        recycle: Callable[[str], None],
        uploads: Path,
    ) -> None:
        self._database = database
        self._languages = languages
        self._repositories = repositories
        self._builds = builds
        self._algorithms = algorithms
        self._access = access
        self._recycle = recycle
        self._uploads = uploads
        # Two imports of the same files in the same second write the same pack, and git takes that for an error.
        self._importing = Turns()

    def create(self, identity: Identity, owner: str, name: str, wishes: Wishes) -> Viewed:
        """Make the algorithm OWNER/NAME with the template of its language as its source.

        Raises NotAuthorized unless the caller is `owner`, Conflict (1002), BadRequest.
        """
        if owner not in (identity.account.username, identity.account.id):
            raise NotAuthorized(
                "Caller is not authorized to perform the operation: this key makes algorithms of account "
                f"{identity.account.username}, not of {owner[:60]}"
            )
        require_management(identity)
        owner = identity.account.username
        if not is_name(name):
            raise BadRequest(
                f"name {name[:80]!r} is not an algorithm's: use a letter, then letters, digits and underscores, "
                "at most 64 in all"
            )
        _check_source(wishes.source)
        details = {"label": name, **algorithm_settings.checked_details(wishes.details)}
        if wishes.sample_input is not None:
            details["sample_input"] = wishes.sample_input
        settings = algorithm_settings.complete(algorithm_settings.checked(wishes.settings), self._languages)
        self._require_free(identity.account.id, owner, name)
        language, _ = self._languages.choose(settings)
        algorithm_id = new_id()
        message = str(wishes.source.get("initial_commit_message") or "Template")[:1000]
        self._repositories.create(algorithm_id, templates.filled(language, owner, name), message)
        try:
            with self._database.write() as connection:
                connection.execute(
                    schema.algorithms.insert().values(
                        id=algorithm_id,
                        account_id=identity.account.id,
                        name=name,
                        details=msgspec.json.encode(details).decode(),
                        settings=msgspec.json.encode(settings).decode(),
                        created_at=now_ms(),
                    )
                )
        except sa.exc.IntegrityError:
            self._repositories.delete(algorithm_id)
            raise _taken(owner, name) from None
        except BaseException:
            self._repositories.delete(algorithm_id)
            raise
        self._algorithms.invalidate()
        return self._access.find("", algorithm_id, identity)

    def update(self, viewed: Viewed, identity: Identity, wishes: Wishes) -> Viewed:
        """Change details and settings; what was published keeps what it was published with. Raises BadRequest."""
        given_details = algorithm_settings.checked_details(wishes.details)
        given = algorithm_settings.checked(wishes.settings)
        _check_source(wishes.source)
        before = viewed.settings
        while True:
            change = algorithm_settings.change(before, given, self._languages)
            with self._database.write() as connection:
                row = locked(connection, viewed)
                before = msgspec.json.decode(row.settings)
                if change.fits(before):
                    details = {**msgspec.json.decode(row.details), **given_details}
                    if wishes.sample_input is not None:
                        details["sample_input"] = wishes.sample_input
                    settings = change.to(before)
                    store(connection, viewed.id, details, settings)
                    break
        self._algorithms.invalidate()
        if settings.get("network_access") != before.get("network_access"):
            self._recycle(viewed.id)
        return self._access.find("", viewed.id, identity)

    def delete(self, viewed: Viewed) -> None:
        """Remove the algorithm with its source, builds and secrets; its workers end.

        Raises Conflict once it has a public version: others may rely on it.
        """
        build_ids = self._delete_rows(viewed)
        self._algorithms.invalidate()
        self._recycle(viewed.id)
        # From here on nothing leads to these; a crash leaves them to the next start.
        self._builds.forget(build_ids)
        self._repositories.delete(viewed.id)

    def of_account(self, name: str, identity: Identity) -> list[dict[str, str]]:
        """The algorithms of the account called `name` (or with that id) that the caller may see. Raises NotFound."""
        accounts, algorithms = schema.accounts, schema.algorithms
        if not (is_name(name) or is_id(name)):
            raise _no_user(name)
        with self._database.read() as connection:
            account = connection.execute(
                sa.select(accounts.c.id, accounts.c.username).where(
                    sa.or_(accounts.c.username == name, accounts.c.id == name)
                )
            ).one_or_none()
            if account is None:
                raise _no_user(name)
            query = sa.select(algorithms.c.id, algorithms.c.name).where(algorithms.c.account_id == account.id)
            is_own = account.id == identity.account.id and identity.acts_for_itself
            if not is_own and not identity.is_admin:
                query = query.where(has_public_version())
            rows = connection.execute(query.order_by(algorithms.c.name).limit(_MAX_LISTED)).all()
        return [{"id": row.id, "algoname": row.name, "username": account.username} for row in rows]

    def readme_changed(self, algorithm_id: str, text: str) -> None:
        """The source has a new README: it becomes the algorithm's summary."""
        with self._database.write() as connection:
            found = connection.execute(
                sa.select(schema.algorithms.c.details).where(schema.algorithms.c.id == algorithm_id).with_for_update()
            ).scalar()
            if found is None:
                return
            details = msgspec.json.decode(found)
            details["summary"] = text[:_MAX_SUMMARY]
            connection.execute(
                schema.algorithms.update()
                .where(schema.algorithms.c.id == algorithm_id)
                .values(details=msgspec.json.encode(details).decode())
            )
        self._algorithms.invalidate()

    async def replace_source(self, viewed: Viewed, archive: Path, message: str, author: str) -> tuple[str, bool]:
        """Make the gzipped tar `archive` the whole source; its commit, and whether that is a new one.

        On the event loop. Raises BadRequest and TooLarge for an archive that won't do, Conflict, NotFound.
        """
        async with self._importing.of(viewed.id):
            # Whole: the next one's turn comes when git has ended, also if this one's caller has gone.
            return await whole(run_in_threadpool(self._replace_source, viewed, archive, message, author))

    def _replace_source(self, viewed: Viewed, archive: Path, message: str, author: str) -> tuple[str, bool]:
        before = self._repositories.head(viewed.id)
        if before is None:
            raise NotFound(f"{viewed.reference} has no source that can be changed: it is part of the platform")
        with self._unless_deleted(viewed):
            before = self._repositories.head(viewed.id) or before
            commit = self._repositories.commit_files(viewed.id, archive, message, author)
        if commit != before:
            content = self._repositories.read_file(viewed.id, commit, "README.md", _MAX_SUMMARY)
            if content is not None:
                self.readme_changed(viewed.id, content.decode("utf-8", "replace"))
        return commit, commit != before

    def commits(self, viewed: Viewed, since: str | None, until: str | None, limit: int) -> list[Commit]:
        """Commits of the source, newest first; see `Repositories.commits`."""
        with self._unless_deleted(viewed):
            return self._repositories.commits(viewed.id, since, until, limit)

    @contextmanager
    def upload(self) -> Iterator[Path]:
        """A file of its own to receive an archive into; it goes with the block, or with the next start."""
        self._uploads.mkdir(0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(".tar.gz", dir=self._uploads)
        os.close(descriptor)
        try:
            yield Path(name)
        finally:
            os.unlink(name)

    def recover(self) -> None:
        """After a crash, before the first request: remove repositories that no algorithm stands for, and uploads."""
        shutil.rmtree(self._uploads, ignore_errors=True)
        with self._database.read() as connection:
            known = set(connection.execute(sa.select(schema.algorithms.c.id)).scalars())
        for path in self._repositories.root.glob("*.git"):
            algorithm_id = path.stem
            if is_id(algorithm_id) and algorithm_id not in known:
                log.info("removing a repository without an algorithm", extra={"algorithm_id": algorithm_id})
                self._repositories.delete(algorithm_id)

    def _delete_rows(self, viewed: Viewed) -> list[str]:
        """Delete it from the database; ids of the builds that it had."""
        builds, versions = schema.builds, schema.versions
        with self._database.write() as connection:
            locked(connection, viewed)
            public = sa.and_(versions.c.algorithm_id == viewed.id, versions.c.callability == PUBLIC)
            if connection.execute(sa.select(versions.c.id).where(public).limit(1)).first() is not None:
                raise Conflict(
                    f"{viewed.reference} has public versions, which others may call: it can't be deleted any more"
                )
            ids = connection.execute(sa.select(builds.c.id).where(builds.c.algorithm_id == viewed.id)).scalars()
            build_ids = [str(build_id) for build_id in ids]
            connection.execute(versions.delete().where(versions.c.algorithm_id == viewed.id))
            connection.execute(builds.delete().where(builds.c.algorithm_id == viewed.id))
            connection.execute(schema.algorithms.delete().where(schema.algorithms.c.id == viewed.id))
        return build_ids

    @contextmanager
    def _unless_deleted(self, viewed: Viewed) -> Iterator[None]:
        """Work on the repository of an algorithm that may be deleted meanwhile. Raises NotFound then."""
        try:
            yield
        except (FileNotFoundError, GitError):
            with self._database.read() as connection:
                known = sa.select(schema.algorithms.c.id).where(schema.algorithms.c.id == viewed.id)
                if connection.execute(known).first() is not None:
                    raise
            # git may have made the directory once more, to lock something in it.
            self._repositories.delete(viewed.id)
            raise NotFound(f"algorithm {viewed.reference} not found", Code.ALGORITHM_NOT_FOUND) from None

    def _require_free(self, account_id: str, owner: str, name: str) -> None:
        with self._database.read() as connection:
            found = connection.execute(
                sa.select(schema.algorithms.c.id).where(
                    schema.algorithms.c.account_id == account_id, schema.algorithms.c.name == name
                )
            ).scalar()
        if found is not None:
            raise _taken(owner, name)


def locked(connection: sa.Connection, viewed: Viewed) -> Any:
    """The algorithm's row, kept as it is by others until the transaction ends. Raises NotFound if it has gone."""
    row = connection.execute(
        sa.select(schema.algorithms).where(schema.algorithms.c.id == viewed.id).with_for_update()
    ).one_or_none()
    if row is None:
        raise NotFound(f"algorithm {viewed.reference} not found", Code.ALGORITHM_NOT_FOUND)
    return row


def store(
    connection: sa.Connection, algorithm_id: str, details: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    """Write an algorithm's details and settings."""
    connection.execute(
        schema.algorithms.update()
        .where(schema.algorithms.c.id == algorithm_id)
        .values(details=msgspec.json.encode(details).decode(), settings=msgspec.json.encode(settings).decode())
    )


def _check_source(source: Mapping[str, Any]) -> None:
    scm = source.get("scm")
    name = scm.get("id") if isinstance(scm, Mapping) else scm
    if name not in (None, "", "internal"):
        raise BadRequest(
            f"source.scm {str(name)[:60]!r} is not here: this platform hosts the sources itself (scm internal)",
            Code.SCM_NOT_FOUND,
        )


def _taken(owner: str, name: str) -> Conflict:
    return Conflict(f"algo://{owner}/{name} exists already; choose another name, or update it", Code.NAME_TAKEN)


def _no_user(name: str) -> NotFound:
    return NotFound(f"no user {name[:60]!r}", Code.USER_NOT_FOUND)
