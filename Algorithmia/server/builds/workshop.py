"""One build, step by step: sources, environment, dependencies, compiling, runtime. `service.py` decides when.

A build is made where it stays, ``state/builds/ID/``, since what compilers and installers write holds absolute paths;
the same goes for ``state/environments/KEY/``, the dependencies that all builds of an account with the same ones share.
Neither counts before its mark is on disk: the row of the build, and the file ``KEY.json``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from starlette.concurrency import run_in_threadpool

from .. import catalog, durable
from ..db.values import iso_time, new_id, now_ms
from ..engine.base import Runtime
from ..languages import Languages, UnknownEnvironment
from ..languages.base import BuildProblem, Environment, Language, Step
from ..settings import Settings
from ..turns import Turns
from . import tree
from .commands import Commands, whole
from .log import BuildLog
from .records import CATALOG, Subject


class Sources(Protocol):
    """The part of `Repositories` that a build uses."""

    def export(self, algorithm_id: str, commit: str, target: Path) -> None: ...


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be built. `artifact` is the row's: bundled algorithms are built from the catalog."""

    build_id: str
    subject: Subject
    commit: str
    artifact: str


@dataclass(frozen=True, slots=True)
class Made:
    """What came of it."""

    environment: Environment
    runtime: Runtime
    path: Path


class Workshop:
    """Makes builds, each in its own directory."""

    def __init__(self, commands: Commands, languages: Languages, sources: Sources, settings: Settings) -> None:
        self._commands = commands
        self._languages = languages
        self._sources = sources
        self._state = settings.state.absolute()
        self._settings = settings
        self._installing = Turns()
        self._cache_users: dict[Path, int] = {}

    def project(self, build_id: str) -> Path:
        """Where the build is made, and stays."""
        return self._state / "builds" / build_id

    def scratch(self, build_id: str) -> Path:
        """What is home directory and /tmp to the build's commands."""
        return self._state / "builds" / f"{build_id}.tmp"

    def mark(self, key: str) -> Path:
        """The file that says that the shared dependencies `key` are complete."""
        return self._state / "environments" / f"{key}.json"

    async def make(self, order: Order, log: BuildLog) -> Made:
        """Make one build; it is complete and on disk then. Raises BuildProblem; leaves cleaning up to `discard`."""
        try:
            language, environment = await run_in_threadpool(self._languages.choose, order.subject.settings)
        except UnknownEnvironment as problem:
            raise BuildProblem(str(problem)) from None
        project, scratch = self.project(order.build_id), self.scratch(order.build_id)
        cache = self._state / "caches" / order.subject.owner.id / language.name
        log.say(f"Building {order.subject.owner.username}/{order.subject.name} at {order.commit[:12]}"
                f" for {environment.display_name}")
        await run_in_threadpool(self._prepare, order, project, scratch)
        async with self._using_cache(cache):
            dependencies = await self._dependencies(order, language, environment, cache, log)
            steps = await run_in_threadpool(language.compile, project, environment, dependencies, cache)
            if steps:
                async with self._commands.lending(project, scratch):
                    for step in steps:
                        await self._step(step, order, environment, cache, (project,), dependencies, log)
        await self._commands.check_size((project,))
        await run_in_threadpool(_seal, project, dependencies, environment)
        runtime = await run_in_threadpool(language.runtime, project, environment, dependencies)
        await run_in_threadpool(self._complete, project, scratch)
        return Made(environment, runtime, project)

    async def discard(self, build_id: str) -> None:
        """Remove what a build that didn't work left, or that nobody needs any more."""

        def remove() -> None:
            tree.remove(self.scratch(build_id))
            tree.remove(self.project(build_id))

        await run_in_threadpool(remove)

    # -- dependencies -------------------------------------------------------------------------------------------

    async def _dependencies(
        self, order: Order, language: Language, environment: Environment, cache: Path, log: BuildLog
    ) -> Path | None:
        """The directory with the project's dependencies, installed now unless an earlier build has done it."""
        project = self.project(order.build_id)
        for remark in await run_in_threadpool(language.remarks, project, environment):
            log.say(remark)
        text = await run_in_threadpool(language.dependency_key, project, environment)
        if text is None:
            return None
        # By account: what one account's installation scripts wrote must not run for another's.
        parts = (order.subject.owner.id, environment.name, environment.version, text)
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        target, mark = self._state / "environments" / key, self.mark(key)
        async with self._installation(key, log):
            found = await run_in_threadpool(_read_mark, mark)
            if found is not None:
                log.say(f"Dependencies unchanged: reusing what was installed at {found}")
                return target
            await run_in_threadpool(_fresh, target)
            try:
                steps = await run_in_threadpool(language.install, project, environment, target, cache)
                async with self._commands.lending(target, project, self.scratch(order.build_id)):
                    for step in steps:
                        await self._step(step, order, environment, cache, (target, project), None, log)
                await self._commands.check_size((project, target))
                await run_in_threadpool(_write_mark, mark, target)
            except BaseException:
                await whole(run_in_threadpool(tree.remove, target))
                raise
        return target

    async def _step(
        self,
        step: Step,
        order: Order,
        environment: Environment,
        cache: Path,
        writable: tuple[Path, ...],
        dependencies: Path | None,
        log: BuildLog,
    ) -> None:
        readable = () if dependencies is None else (dependencies,)
        project, scratch = self.project(order.build_id), self.scratch(order.build_id)
        await self._commands.run(step, environment, project, scratch, cache, writable, log, readable)

    @contextlib.asynccontextmanager
    async def _installation(self, key: str, log: BuildLog) -> AsyncIterator[None]:
        """Whoever holds this is the only one who installs `key`."""
        if self._installing.is_taken(key):
            log.say("Waiting for another build that is installing the same dependencies")
        async with self._installing.of(key):
            yield

    @contextlib.asynccontextmanager
    async def _using_cache(self, cache: Path) -> AsyncIterator[None]:
        """The cache is in use; when nobody uses it any more and it has grown too large, it is thrown away."""
        self._cache_users[cache] = self._cache_users.get(cache, 0) + 1
        try:
            await run_in_threadpool(_make_private, cache)
            await self._commands.lend_for_good(cache)
            yield
        finally:
            self._cache_users[cache] -= 1
            if not self._cache_users[cache]:
                del self._cache_users[cache]
                await whole(self._trim(cache))

    async def _trim(self, cache: Path) -> None:
        limit = self._settings.max_build_bytes
        try:
            is_large = await run_in_threadpool(lambda: tree.size(cache, limit=limit)) > limit > 0
        except OSError:  # nested too deeply
            is_large = True
        if is_large and cache not in self._cache_users:
            self._commands.forget(cache)
            old = cache.with_name(f"{cache.name}.{new_id()}")
            os.rename(cache, old)  # at once: the next build makes another
            await run_in_threadpool(tree.remove, old)

    # -- files (all of these block) -----------------------------------------------------------------------------

    def _prepare(self, order: Order, project: Path, scratch: Path) -> None:
        _make_private(project.parent)
        _fresh(scratch)
        _fresh(project)
        if order.artifact.startswith(CATALOG):
            source = catalog.ROOT / order.artifact.removeprefix(CATALOG)
            shutil.copytree(source, project, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            self._sources.export(order.subject.id, order.commit, project)

    def _complete(self, project: Path, scratch: Path) -> None:
        tree.remove(scratch)
        tree.sync(project)


def _seal(project: Path, dependencies: Path | None, environment: Environment) -> None:
    """Make the project immutable, and sure that reading what is in it reads nothing else. Raises BuildProblem."""
    tree.seal(project)
    places = [*environment.readable, "/usr", "/bin", "/lib", "/lib64", *([str(dependencies)] if dependencies else [])]
    link = tree.link_leading_out(project, places)
    if link is not None:
        raise BuildProblem(f"the link {link} that the build made leads out of the project")


def _fresh(path: Path) -> None:
    """Make `path` an empty directory."""
    tree.remove(path)
    path.mkdir(parents=True, mode=0o700)


def _read_mark(mark: Path) -> str | None:
    try:
        return str(json.loads(mark.read_bytes())["installed_at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_mark(mark: Path, target: Path) -> None:
    """`target` is complete: make it immutable, bring it to disk, and only then say so."""
    tree.seal(target)
    tree.sync(target)
    temporary = mark.with_suffix(".tmp")
    with open(temporary, "w", encoding="utf-8") as handle:
        json.dump({"installed_at": iso_time(now_ms())}, handle)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, mark)
    durable.sync(mark.parent)


def _make_private(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
