"""What takes long for one caller holds up nobody else: neither the threads that all share, nor the event loop, nor the
database."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from build_projects import project
from grounded import Grounded
from starlette.concurrency import run_in_threadpool

from Algorithmia.server.errors import NotFound
from Algorithmia.server.languages import Languages
from Algorithmia.server.services.algorithms import Reference
from Algorithmia.server.services.call_documents import CallOptions
from Algorithmia.server.services.management import Wishes
from Algorithmia.server.services.publishing import Publication
from Algorithmia.server.turns import Turns

_MANY = 60  # more than there are threads


@pytest.fixture
def ground(tmp_path: Path) -> Grounded:
    return Grounded(tmp_path)


def test_imports_that_wait_for_each_other_keep_no_threads(ground: Grounded, monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, begun = threading.Event(), []

    def slowly(algorithm_id: str, *_: Any) -> str:
        begun.append(algorithm_id)
        may_end.wait(60)
        return "0" * 40

    monkeypatch.setattr(ground.platform.repositories, "commit_files", slowly)

    async def import_many() -> tuple[int, list[tuple[str, bool]]]:
        replace = ground.platform.management.replace_source
        imports = [
            asyncio.create_task(replace(ground.viewed, Path("source.tar.gz"), "change", "me")) for _ in range(_MANY)
        ]
        try:
            await asyncio.wait_for(asyncio.gather(*(run_in_threadpool(int) for _ in range(20))), 30)
            at_once = len(begun)
        finally:
            may_end.set()
        return at_once, await asyncio.gather(*imports)

    at_once, answers = asyncio.run(import_many())
    assert at_once <= 1 and answers == [("0" * 40, True)] * _MANY and len(begun) == _MANY


def test_turns_are_one_at_a_time_and_leave_nothing() -> None:
    turns, inside, most = Turns(), [0], [0]

    async def take(key: str) -> None:
        async with turns.of(key):
            assert turns.is_taken(key)
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            try:
                await asyncio.sleep(0)
            finally:
                inside[0] -= 1

    async def take_all() -> None:
        takers = [asyncio.create_task(take("a")) for _ in range(10)]
        await asyncio.sleep(0)
        takers[0].cancel()
        takers[5].cancel()
        await asyncio.gather(*takers, return_exceptions=True)

    asyncio.run(take_all())
    assert most == [1] and not turns.is_taken("a") and not turns._locks


def test_looking_for_an_environment_keeps_nobody_from_the_database(
    ground: Grounded, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform, choose, may_write = ground.platform, Languages.choose, []

    def write() -> None:
        with platform.database.write():
            pass

    def choosing(self: Languages, settings: Any) -> Any:
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        writer.join(20)
        may_write.append(not writer.is_alive())
        return choose(self, settings)

    monkeypatch.setattr(Languages, "choose", choosing)
    wished = {"algorithm_environment": "", "package_set": platform.languages.choose({"language": "python3"})[1].name}
    changed = platform.management.update(ground.viewed, ground.me, Wishes(settings=wished))
    assert changed.settings["package_set"] == wished["package_set"]
    # What a request has read may be old by the time it writes.
    again = platform.management.update(ground.viewed, ground.me, Wishes(settings={"network_access": "isolated"}))
    assert again.settings == {**changed.settings, "network_access": "isolated"}
    with pytest.raises(NotFound, match="no successful build"):
        asyncio.run(platform.publishing.publish(ground.viewed, ground.me, Publication(settings=wished), "request"))
    assert len(may_write) >= 4 and all(may_write)


def test_an_algorithm_is_shown_with_the_end_of_its_log_only(ground: Grounded) -> None:
    platform = ground.platform

    async def build() -> str:
        await platform.start()
        try:
            build_id = await platform.builds.request(ground.viewed.id, ground.commit())
            await platform.builds.wait(build_id)
            return build_id
        finally:
            await platform.close()

    build_id = asyncio.run(build())
    log = ground.state / "builds" / f"{build_id}.log"
    text = f"{'x' * 70_000}\n" + "".join(f"line {number}\n" for number in range(9000))
    log.write_text(text * 3)
    shown = platform.documents.algorithm(ground.viewed)["compilation"]["output"]
    assert (text * 3).endswith(shown) and shown.startswith("line ") and 50_000 < len(shown) <= 65536
    whole = platform.documents.version_of_build(ground.viewed, build_id)["compilation"]["output"]
    assert whole == text * 3


def test_old_builds_go_unless_they_are_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ground = Grounded(tmp_path, keep_builds=2)
    platform = ground.platform
    builds, recycled = platform.builds, set()

    def recycle(algorithm_id: str, build_ids: Collection[str]) -> None:
        assert algorithm_id == ground.viewed.id
        recycled.update(build_ids)

    monkeypatch.setattr(platform.engine, "recycle", recycle)

    async def build(remark: str) -> str:
        build_id = await builds.request(ground.viewed.id, ground.commit(remark))
        await builds.wait(build_id)
        return build_id

    async def build_many() -> list[str]:
        await platform.start()
        try:
            made = [await build("first")]
            await platform.publishing.publish(ground.viewed, ground.me, Publication(), "request")
            return made + [await build(str(number)) for number in range(4)]
        finally:
            await platform.close()

    made = asyncio.run(build_many())
    kept = [made[0], *made[3:]]
    assert [row.id for row in builds.page(ground.viewed.id, 10, None)[0]] == kept[::-1]
    names = {path.name for path in (ground.state / "builds").iterdir()}
    assert names == {*kept, *(f"{build_id}.log" for build_id in kept)}
    assert recycled == set(made) - set(kept)


# Waits until there is a file ``go`` in the build's directory, and imports another of its files then.
_WAITS = """
import os, time
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
def apply(input):
    while not os.path.exists(os.path.join(HERE, "go")):
        time.sleep(0.01)
    from src import late
    return late.WORD
"""


def test_the_files_of_a_build_stay_while_a_call_uses_them(tmp_path: Path) -> None:
    ground = Grounded(tmp_path, keep_builds=1)
    platform, builds = ground.platform, ground.platform.builds

    async def build(commit: str) -> str:
        build_id = await builds.request(ground.viewed.id, commit)
        await builds.wait(build_id)
        row = await run_in_threadpool(builds.get, ground.viewed.id, build_id)
        assert row is not None and row.status == "succeeded", builds.log(build_id)
        return build_id

    async def story() -> None:
        await platform.start()
        try:
            files = {**project(_WAITS, adk=False), "src/late.py": "WORD = 'there'\n"}
            content = {path: text.encode() for path, text in files.items()}
            commit = platform.repositories.commit_files(ground.viewed.id, content, "waits", "me")
            first = await build(commit)
            resolved = await platform.invoker.admit(Reference("me/Zoo", "me", "Zoo", commit), ground.me)
            call = platform.invoker.invoke(resolved, ground.me, CallOptions(), "text", b"x", "request")
            answer = asyncio.create_task(call)
            while not platform.engine.status()["busy"]:
                await asyncio.sleep(0.01)
            second = await build(ground.commit("second"))
            await builds._pruning.close()
            assert builds.get(ground.viewed.id, first) is None
            directory = ground.state / "builds" / first
            directory.chmod(0o755)
            (directory / "go").touch()
            assert json.loads((await answer).body)["result"] == "there"
            await build(ground.commit("third"))
            await builds._pruning.close()
            assert not directory.exists() and not (ground.state / "builds" / second).exists()
        finally:
            await platform.close()

    asyncio.run(asyncio.wait_for(story(), 120))
