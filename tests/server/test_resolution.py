"""Which build a reference means, and to whom, on a real database; and the rows of the catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from callable_world import World

from Algorithmia.server import catalog
from Algorithmia.server.db import schema
from Algorithmia.server.errors import NotAuthorized, NotFound
from Algorithmia.server.identity import Identity

# -- resolution --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "version, found",
    [
        ("", "0.10.0"),
        ("/", "0.10.0"),
        ("/latest", "0.10.0"),
        ("/0.1.0", "0.1.0"),
        ("/0.2.*", "0.2.0"),
        ("/0.2.x", "0.2.0"),
        ("/0.2", "0.2.0"),
        ("/0.*", "0.10.0"),
    ],
)
def test_public_versions_are_the_same_for_everybody(world: World, version: str, found: str) -> None:
    for identity in (world.author, world.stranger):
        for prefix in ("author/Algo", "algo://author/Algo", "algo%3A//author/Algo", "/author/Algo", world.algorithm_id):
            resolved = world.resolve(prefix + version, identity)
            assert (resolved.version, resolved.build.owner, resolved.build.name) == (found, "author", "Algo")
            assert resolved.source_visible == (identity is world.author)
            assert resolved.owner_account_id == world.author.account.id


@pytest.mark.parametrize("version, found", [("0.2.1", "0.2.1"), ("latestPrivate", "1.1.0"), ("1.0.0", "1.0.0")])
def test_private_versions_are_the_owners(world: World, version: str, found: str) -> None:
    assert world.resolve(f"author/Algo/{version}", world.author).version == found
    with pytest.raises(NotAuthorized) as problem:
        world.resolve(f"author/Algo/{version}", world.stranger)
    assert problem.value.code == 2001


@pytest.mark.parametrize("version", ["9.9.9", "1.*", "1.0", "nonsense", "0.2.3.4"])
def test_versions_that_nobody_can_call(world: World, version: str) -> None:
    for identity in (world.author, world.stranger):
        with pytest.raises(NotFound, match=f"algorithm algo://author/Algo/{version.replace('*', '.')} not found"):
            world.resolve(f"author/Algo/{version}", identity)


def test_commits_are_the_owners(world: World) -> None:
    build_id, commit = world.add_build(world.algorithm_id)
    _, failed = world.add_build(world.algorithm_id, "failed")
    resolved = world.resolve(f"author/Algo/{commit.upper()}", world.author)
    assert (resolved.build.id, resolved.version) == (build_id, commit)
    assert resolved.build.path == world.settings.state / "builds" / build_id
    with pytest.raises(NotAuthorized):
        world.resolve(f"author/Algo/{commit}", world.stranger)
    with pytest.raises(NotFound):
        world.resolve(f"author/Algo/{failed}", world.author)


def test_an_unpublished_algorithm_does_not_exist_for_others(world: World) -> None:
    algorithm_id = world.add_algorithm("Secret")
    world.add_version(algorithm_id, "0.1.0", "private")
    assert world.resolve("author/Secret/0.1.0", world.author).version == "0.1.0"
    for version in ("", "/0.1.0", "/latestPrivate", "/" + "a" * 40):
        with pytest.raises(NotFound):
            world.resolve("author/Secret" + version, world.stranger)
    with pytest.raises(NotFound, match="not found: it has no such public version; .* number, as 0.1.0, or by latest"):
        world.resolve("author/Secret", world.author)


def test_owners_are_told_why_there_is_no_such_version(world: World) -> None:
    world.add_algorithm("Young")
    with pytest.raises(NotFound, match="not found: nothing of it is published yet; its builds are called by"):
        world.resolve("author/Young", world.author)
    world.add_version(world.add_algorithm("Open"), "0.1.0", "public")
    with pytest.raises(NotFound, match="not found: all of its versions are public"):
        world.resolve("author/Open/latestPrivate", world.author)
    with pytest.raises(NotFound, match="algorithm algo://author/Open/3.[*] not found$"):
        world.resolve("author/Open/3.*", world.stranger)


@pytest.mark.parametrize(
    "tail, shown",
    [
        ("demo/nope", "demo/nope"),
        ("demo/nope/", "demo/nope/"),
        ("algo://demo/nope/", "demo/nope/"),
        ("nobody", "nobody"),
        ("", ""),
        ("a/b/c/d", "a/b/c/d"),
        ("//demo", "demo"),
        ("author/algo", "author/algo"),
        ("author/%C3%A9", "author/\u00e9"),
        ("00000000-0000-0000-0000-000000000000/1.0.0", "00000000-0000-0000-0000-000000000000/1.0.0"),
        ("%00/%ff", "\x00/\ufffd"),
    ],
)
def test_what_does_not_exist(world: World, tail: str, shown: str) -> None:
    with pytest.raises(NotFound) as problem:
        world.resolve(tail, world.author)
    assert problem.value.message == f"algorithm algo://{shown} not found"


def test_changes_are_seen_after_invalidation(world: World) -> None:
    assert world.resolve("author/Algo", world.stranger).version == "0.10.0"
    world.add_version(world.algorithm_id, "2.0.0", "public", source_visibility="open", pipeline_enabled=False)
    assert world.resolve("author/Algo", world.stranger).version == "0.10.0"
    world.algorithms.invalidate()
    resolved = world.resolve("author/Algo", world.stranger)
    assert (resolved.version, resolved.source_visible) == ("2.0.0", True)
    assert resolved.settings["pipeline_enabled"] is False


# -- the catalog -------------------------------------------------------------------------------------------------


def test_the_catalog_is_registered_once(world: World) -> None:
    world.algorithms.register_catalog(world.accounts)
    before = rows(world)
    world.algorithms.register_catalog(world.accounts)
    assert rows(world) == before
    names = {f"{project.owner}/{project.name}": project for project in catalog.bundled()}
    assert {"demo/Hello", "util/Echo", "util/Fail", "util/Print", "util/Sleep", "util/Call"} <= set(names)
    for name, project in names.items():
        resolved = world.resolve(name, world.stranger)
        assert resolved.version == ".".join(map(str, project.version())) and resolved.source_visible
        assert (resolved.build.path / "algorithmia.conf").exists()


def test_a_changed_package_moves_its_version_to_a_new_build(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.algorithms.register_catalog(world.accounts)
    old = world.resolve("demo/Hello", world.stranger).build
    [project] = [project for project in catalog.bundled() if project.name == "Hello"]
    commit = project.content_hash()
    monkeypatch.setattr(catalog.Bundled, "content_hash", lambda self: "f" * 40)
    world.algorithms.register_catalog(world.accounts)
    assert world.resolve("demo/Hello/0.1.0", world.stranger).build.id != old.id
    owner = Identity(world.accounts.ensure_account("demo"))
    with pytest.raises(NotFound):
        world.resolve(f"demo/Hello/{commit}", owner)
    assert world.resolve("demo/Hello/" + "f" * 40, owner).build.path == project.path


def test_the_content_hash_covers_names_and_contents_but_no_byproducts(tmp_path: Path) -> None:
    project = catalog.Bundled("o", "n", tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("1")
    seen = {project.content_hash()}
    (tmp_path / "src" / "__pycache__").mkdir()
    (tmp_path / "src" / "__pycache__" / "a.pyc").write_text("x")
    assert {project.content_hash()} == seen
    (tmp_path / "src" / "a.py").write_text("2")
    seen.add(project.content_hash())
    (tmp_path / "src" / "a.py").rename(tmp_path / "src" / "b.py")
    seen.add(project.content_hash())
    assert len(seen) == 3 and all(len(digest) == 40 for digest in seen)


def rows(world: World) -> list[Any]:
    with world.database.read() as connection:
        return [
            connection.execute(sa.select(table).order_by(table.c.id)).all()
            for table in (schema.algorithms, schema.builds, schema.versions)
        ]
