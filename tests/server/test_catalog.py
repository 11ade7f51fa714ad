"""Bundled algorithms: their rows, their versions, and that those with dependencies are built on their first use."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from Algorithmia.server import catalog
from Algorithmia.server.builds.first_use import FirstUse
from Algorithmia.server.db import schema
from Algorithmia.server.db.database import Database
from Algorithmia.server.engine.base import Call, CallFailure, Origin, Result
from Algorithmia.server.errors import NotFound
from Algorithmia.server.identity import Identity, KeyPermissions
from Algorithmia.server.routes.algo import parse_reference
from Algorithmia.server.services.accounts import Accounts
from Algorithmia.server.services.algorithms import Algorithms, Resolved
from Algorithmia.server.services.async_calls import AsyncCalls
from Algorithmia.server.services.call_documents import CallOptions
from Algorithmia.server.services.call_errors import CallErrors
from Algorithmia.server.services.invoke import Invoker
from Algorithmia.server.settings import Settings

LDA = "nlp/LDA/1.0.0"


class World:
    """A database with the catalog in it, builds that do as the test says, and an engine that answers with the build's
    directory."""

    def __init__(self, home: Path, build_timeout: float = 60.0) -> None:
        self.settings = Settings(home=home, build_timeout=build_timeout)
        self.database = Database(self.settings.database_url)
        self.database.upgrade()
        self.accounts = Accounts(self.database)
        self.algorithms = Algorithms(self.database, self.settings)
        self.algorithms.register_catalog(self.accounts)
        self.caller = Identity(self.accounts.ensure_account("caller"), permissions=KeyPermissions.everything())
        async_calls = AsyncCalls(self.database, CallErrors(self.database))
        self.invoker = Invoker(self.algorithms, self, None, self.settings, async_calls)  # type: ignore[arg-type]
        self.invoker.first_use = FirstUse(self.algorithms.again, self, self.settings)
        self.invoker._data = self  # type: ignore[assignment]
        self.asked: list[str] = []
        self.problems: list[str] = []  # of the next builds
        self.may_finish = asyncio.Event()
        self.ran: list[Call] = []

    # what the invoker uses of hosted data and of the engine

    def has_session_files(self, account_id: str, session_id: str) -> bool:
        return False

    async def call(self, call: Call, origin: Origin | None = None) -> Result:
        self.ran.append(call)
        return Result("json", b'"%s"' % call.build.path.name.encode(), 0.1, "")

    # what first use needs of builds

    async def ensure(self, build_id: str) -> None:
        with self.database.read() as connection:
            status = connection.execute(
                sa.select(schema.builds.c.status).where(schema.builds.c.id == build_id)
            ).scalar_one()
        if status == "succeeded":  # a caller who came to know of it before, and asks after
            return
        self.asked.append(build_id)
        await self.may_finish.wait()
        if self.problems:
            self.set_build(build_id, status="failed")
            raise CallFailure(f"it can't be built: {self.problems.pop()}", "SystemError")
        self.finish(build_id)
        self.algorithms.invalidate()

    def log(self, build_id: str) -> str | None:
        return "\n".join(f"line {number}" for number in range(40)) + "\nno such package\n"

    # for tests

    def set_build(self, build_id: str, **values: Any) -> None:
        with self.database.write() as connection:
            connection.execute(schema.builds.update().where(schema.builds.c.id == build_id).values(**values))

    def finish(self, build_id: str) -> None:
        """The build is made: its directory is there, and an interpreter to run it."""
        (self.settings.state / "builds" / build_id).mkdir(parents=True, exist_ok=True)
        program = self.settings.state / "environments" / "python"
        program.parent.mkdir(exist_ok=True)
        program.touch()
        runtime = json.dumps({"command": ["{state}/environments/python"]})
        self.set_build(build_id, status="succeeded", artifact=f"builds/{build_id}", runtime=runtime)

    def builds(self, name: str) -> list[Any]:
        query = sa.select(schema.builds).join(schema.algorithms).where(schema.algorithms.c.name == name)
        with self.database.read() as connection:
            return list(connection.execute(query))

    async def resolve(self, text: str) -> Resolved:
        return await self.algorithms.resolve(parse_reference(text.encode()), self.caller)

    async def invoke(self, text: str, output: str = "") -> bytes:
        resolved = await self.resolve(text)
        answer = await self.invoker.invoke(
            resolved, self.caller, CallOptions(timeout=5.0, output=output), "json", b"null", "req-1"
        )
        return answer.body


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path)
    yield found
    found.database.close()


def test_versions_are_what_the_projects_say() -> None:
    versions = {f"{project.owner}/{project.name}": project.version() for project in catalog.bundled()}
    assert versions["nlp/LDA"] == (1, 0, 0) and versions["dlib/FaceDetection"] == (0, 2, 1)
    assert versions["demo/Hello"] == (0, 1, 0)


def test_projects_with_dependencies_start_unbuilt(world: World) -> None:
    for project in catalog.bundled():
        resolved = asyncio.run(world.resolve(f"{project.owner}/{project.name}"))
        assert resolved.needs_build == bool(project.dependencies()), project
        assert resolved.version == ".".join(map(str, project.version()))
        [row] = world.builds(project.name)
        assert row.status == ("unbuilt" if project.dependencies() else "succeeded")
    world.algorithms.register_catalog(world.accounts)
    [row] = world.builds("LDA")
    assert row.status == "unbuilt"


def test_a_changed_release_is_built_anew_and_an_unchanged_one_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    [row] = world.builds("LDA")
    world.finish(row.id)
    world.algorithms.register_catalog(world.accounts)
    assert [(one.id, one.status) for one in world.builds("LDA")] == [(row.id, "succeeded")]
    monkeypatch.setattr(catalog.Bundled, "content_hash", lambda self: "f" * 40)
    world.algorithms.register_catalog(world.accounts)
    resolved = asyncio.run(world.resolve(LDA))
    assert resolved.needs_build and resolved.build.id != row.id
    # What no version means any more goes, its directory with the next sweep.
    assert [one.commit_sha for one in world.builds("LDA")] == ["f" * 40]


def test_a_build_whose_interpreter_or_files_are_gone_is_made_again(world: World) -> None:
    [row] = world.builds("LDA")
    for missing in ("environments/python", f"builds/{row.id}"):
        world.finish(row.id)
        world.algorithms.register_catalog(world.accounts)
        assert not asyncio.run(world.resolve(LDA)).needs_build
        os.rename(world.settings.state / missing, world.settings.state / f"away-{os.path.basename(missing)}")
        world.algorithms.register_catalog(world.accounts)
        assert asyncio.run(world.resolve(LDA)).needs_build
        assert [(one.id, one.status) for one in world.builds("LDA")] == [(row.id, "unbuilt")]


def test_a_new_version_leaves_no_old_one_with_the_new_files(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    [lda] = world.builds("LDA")
    world.finish(lda.id)
    monkeypatch.setattr(catalog.Bundled, "content_hash", lambda self: "f" * 40)
    monkeypatch.setattr(catalog.Bundled, "version", lambda self: (7, 0, 0))
    world.algorithms.register_catalog(world.accounts)
    assert asyncio.run(world.resolve("demo/Hello")).version == "7.0.0"
    with pytest.raises(NotFound):
        asyncio.run(world.resolve("demo/Hello/0.1.0"))
    # The old one has its own copy.
    assert asyncio.run(world.resolve(LDA)).build.id == lda.id
    assert asyncio.run(world.resolve("nlp/LDA")).version == "7.0.0"


def test_the_first_call_builds_and_all_others_wait_for_it(world: World) -> None:
    async def story() -> None:
        calls = [asyncio.ensure_future(world.invoke(LDA)) for _ in range(5)]
        while not world.asked:
            await asyncio.sleep(0.01)
        world.may_finish.set()
        answers = await asyncio.gather(*calls)
        assert len(world.asked) == 1
        assert all(world.asked[0].encode() in answer for answer in answers)
        assert {call.timeout for call in world.ran} == {5.0}
        await world.invoke(LDA)
        assert len(world.asked) == 1

    asyncio.run(story())


def test_a_caller_that_goes_away_does_not_end_the_build(world: World) -> None:
    async def story() -> None:
        call = asyncio.ensure_future(world.invoke(LDA))
        while not world.asked:
            await asyncio.sleep(0.01)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        world.may_finish.set()
        await world.invoke(LDA)
        assert len(world.asked) == 1 and len(world.ran) == 1

    asyncio.run(story())


def test_a_build_that_fails_says_why_and_the_next_call_tries_again(world: World) -> None:
    async def story() -> None:
        world.may_finish.set()
        world.problems.append("pip found nothing")
        answer = await world.invoke(LDA)
        for text in (b'"error"', b"pip found nothing", b"no such package", b"line 39", b"SystemError"):
            assert text in answer
        assert b"line 10\\n" not in answer and not world.ran
        assert b'"result"' in await world.invoke(LDA)
        assert len(world.asked) == 2

    asyncio.run(story())


def test_waiting_for_a_build_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("Algorithmia.server.builds.first_use._GRACE", 0.0)
    world = World(tmp_path, build_timeout=0.05)

    async def story() -> None:
        assert b"still being built" in await world.invoke(LDA)
        world.may_finish.set()

    asyncio.run(story())
    world.database.close()


def test_a_call_that_nobody_waits_for_builds_too(world: World) -> None:
    async def story() -> None:
        await world.invoke(LDA, output="void")
        world.may_finish.set()
        await world.invoker.drain()
        assert len(world.ran) == 1

    asyncio.run(story())


def test_dependencies_are_what_the_platform_does_not_provide(tmp_path: Path) -> None:
    project = catalog.Bundled("o", "n", tmp_path)
    for text, names in (
        ("algorithmia>=2.0\n", []),
        ("# nothing\n\nalgorithmia-adk~=1.2\nAlgorithmia", []),
        ("algorithmia\nScikit-Learn>=1 ; python_version > '3'\n numpy", ["scikit-learn", "numpy"]),
    ):
        (tmp_path / "requirements.txt").write_text(text)
        assert project.dependencies() == names


def test_projects_are_complete() -> None:
    for project in catalog.bundled():
        for name in ("README.md", "requirements.txt", "src/__init__.py", f"src/{project.name}.py"):
            assert (project.path / name).exists(), (project, name)
        assert project.tagline().endswith("."), project
