"""Builds across the ends of servers: killed, stopped, started again; and what sweeping leaves and takes."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from build_projects import HELLO, Author, installing, project, require_index, require_sandbox, running
from grounded import SETTINGS, Grounded
from platforms import Server

from Algorithmia.server.builds import recovery, sweep, tree
from Algorithmia.server.builds.log import BuildLog
from Algorithmia.server.builds.records import BuildRecords
from Algorithmia.server.db import schema
from Algorithmia.server.db.values import new_id, now_ms
from Algorithmia.server.platform import Platform
from Algorithmia.server.services.management import Wishes
from Algorithmia.server.settings import Settings

Start = Callable[..., Server]


def interrupted(author: Author, build_id: str) -> None:
    build, log = author.ended(build_id), author.logs(build_id)
    assert build["status"] == "failed" and build["finished_at"]
    assert log.splitlines()[-1].startswith("FAILED: the platform was stopped while it was building")


@pytest.mark.parametrize("when", [0.0, 0.3, 1.0])
def test_a_server_killed_while_it_builds(start_server: Start, tmp_path: Path, when: float) -> None:
    require_index()
    home = tmp_path / "home"
    home.mkdir()
    author = Author(start_server("--port", "0", home=home), tmp_path)
    author.make()
    good = author.succeeds(project())
    queued = [author.deploy(installing(f"import time\ntime.sleep(30)\n# {number}\n")) for number in range(3)]
    time.sleep(when)
    author.server.kill()
    author.server = start_server("--port", "0", home=home)
    author._address = author._address._replace(netloc=author.server.address.split("//")[1])
    for build_id in queued:
        interrupted(author, build_id)
        assert not (author.state / "builds" / build_id).exists()
        assert not (author.state / "builds" / f"{build_id}.tmp").exists()
    environments = [path for path in (author.state / "environments").iterdir() if len(path.name) == 64]
    assert not environments
    assert author.call(f"Zoo/{good}", "text", "x").result() == ("text", "hello x")
    assert author.succeeds(project(HELLO + "# and on\n"))


def test_nothing_of_a_build_outlives_the_server(start_server: Start, tmp_path: Path) -> None:
    require_index()
    author = Author(start_server("--port", "0"), tmp_path)
    require_sandbox(author.server)
    author.make()
    build_id = author.deploy(
        installing("import subprocess\nsubprocess.run(['setsid', 'sleep', '86399.125'])\n")
    )
    deadline = time.monotonic() + 60
    while not running("86399.125", patience=0):
        assert time.monotonic() < deadline and author.build(build_id)["status"] == "in-progress"
        time.sleep(0.1)
    author.server.kill()
    assert not running("86399.125")


def test_a_server_stopped_while_it_builds(start_server: Start, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    author = Author(start_server("--port", "0", home=home), tmp_path)
    author.make()
    queued = [author.deploy(project(f"import time\ntime.sleep(60)\n# {number}\n")) for number in range(3)]
    time.sleep(0.5)
    assert author.server.stop() == 0
    author.server = start_server("--port", "0", home=home)
    author._address = author._address._replace(netloc=author.server.address.split("//")[1])
    for build_id in queued:
        interrupted(author, build_id)


def test_whoever_waits_for_a_build_does_not_hold_up_a_server_that_stops(start_server: Start, tmp_path: Path) -> None:
    author = Author(start_server("--port", "0", "--shutdown-timeout", "3600"), tmp_path)
    author.make()
    build_id = author.deploy(project("import time\nprint('begun', flush=True)\ntime.sleep(100)\n"))
    following = author.follow(build_id)
    seen = following.readline()
    with ThreadPoolExecutor(1) as beside:
        compiling = beside.submit(author.send, "POST", f"/v1/algorithms/{author.name}/Zoo/compile", b"{}")
        while b"Start the algorithm" not in seen:
            seen += following.readline()
        author.server.process.send_signal(signal.SIGTERM)
        last = (seen + following.read()).splitlines()[-1]
        assert last.startswith(b"FAILED: the platform was stopped while it was building"), last
        # It has been told, or refused if it came too late.
        with contextlib.suppress(OSError, AssertionError, http.client.HTTPException):
            assert compiling.result(60)["compilation"]["successful"] is False
    assert author.server.process.wait(60) in (0, -signal.SIGTERM)


class Ground:
    """A platform in this process, with one algorithm that has a repository."""

    def __init__(self, home: Path) -> None:
        self.platform = Platform(Settings(home=home), "http://127.0.0.1:9")
        self.platform.prepare()
        self.state = home / "platform"
        self.algorithm = new_id()
        self.account = self.platform.accounts.ensure_account("me")
        with self.platform.database.write() as connection:
            connection.execute(
                schema.algorithms.insert().values(
                    id=self.algorithm,
                    account_id=self.account.id,
                    name="Zoo",
                    settings='{"language": "python3"}',
                    created_at=now_ms(),
                )
            )
        self.records = BuildRecords(self.platform.database)
        self.first = self.platform.repositories.create(self.algorithm, _files(project()), "template")

    async def started(self, wait: bool = True) -> list[str]:
        """Start and stop the platform; the statuses of the algorithm's builds."""
        await self.platform.start()
        try:
            deadline = time.monotonic() + 60
            while wait and time.monotonic() < deadline:
                rows, _ = self.platform.builds.page(self.algorithm, 10, None)
                if rows and all(row.status != "in-progress" for row in rows):
                    break
                await asyncio.sleep(0.05)
            if not wait:
                await asyncio.sleep(1.0)
        finally:
            await self.platform.close()
        return [row.status for row in self.platform.builds.page(self.algorithm, 10, None)[0]]


def _files(files: dict[str, str]) -> dict[str, bytes]:
    return {path: text.encode() for path, text in files.items()}


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def test_a_push_that_was_not_built_is_built_after_the_start(ground: Ground) -> None:
    files = _files(project(HELLO + "# pushed\n"))
    commit = ground.platform.repositories.commit_files(ground.algorithm, files, "push", "me")
    assert commit != ground.first
    assert asyncio.run(ground.started()) == ["succeeded"]


def test_a_template_that_nobody_pushed_is_not_built(ground: Ground) -> None:
    assert asyncio.run(ground.started(wait=False)) == []


def heads(ground: Grounded) -> list[tuple[str, str]]:
    """What a start would build."""
    records = BuildRecords(ground.platform.database)
    return recovery.unbuilt_heads(records, ground.platform.repositories, lambda: False)


def test_what_was_pushed_is_found_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ground = Grounded(tmp_path)
    repositories, records = ground.platform.repositories, BuildRecords(ground.platform.database)
    unpushed = ground.platform.management.create(ground.me, "me", "Unpushed", Wishes(settings=SETTINGS))
    (repositories.path(unpushed.id) / "first-commit").unlink()  # as earlier releases made it
    commit = ground.commit("pushed")
    assert heads(ground) == [(ground.viewed.id, commit)]
    monkeypatch.setattr(repositories.git, "run", lambda *_, **__: pytest.fail("a process was started"))
    assert heads(ground) == [(ground.viewed.id, commit)]
    assert recovery.unbuilt_heads(records, repositories, lambda: True) == []
    build_id, _ = records.open(ground.viewed.id, commit, "", True)
    assert heads(ground) == []
    records.fail(build_id, "it was tried")
    assert heads(ground) == []


def test_a_broken_repository_keeps_no_other_from_its_build(tmp_path: Path) -> None:
    ground = Grounded(tmp_path)
    broken = ground.platform.management.create(ground.me, "me", "Broken", Wishes(settings=SETTINGS))
    path = ground.platform.repositories.path(broken.id)
    (path / "first-commit").unlink()
    shutil.rmtree(path / "objects")
    commit = ground.commit("pushed")
    assert heads(ground) == [(ground.viewed.id, commit)]


def test_bundled_algorithms_that_follow_a_release_are_not_built_for_it(tmp_path: Path) -> None:
    ground = Grounded(tmp_path)
    repositories = ground.platform.repositories
    viewed = ground.platform.access.find("util", "Echo", ground.me)
    repositories.create(viewed.id, {"src/Echo.py": b"pass"}, "as an earlier release brought it")
    ground.platform.git_hosting.open(ground.me, "util", "Echo", "", False)
    assert len(repositories.commits(viewed.id)) == 2
    assert heads(ground) == []


def test_what_recovery_keeps_and_what_it_removes(ground: Ground) -> None:
    builds = ground.state / "builds"
    kept, _ = ground.records.open(ground.algorithm, "1" * 40, "python311", False)
    ground.records.succeed(kept, "python311", "{}")
    running, _ = ground.records.open(ground.algorithm, "2" * 40, "python311", False)
    nobodys = new_id()
    for build_id in (kept, running, nobodys):
        for name in (build_id, f"{build_id}.tmp"):
            (builds / name / "src").mkdir(parents=True)
            (builds / name / "src" / "x.py").write_text("x")
            tree.seal(builds / name)
        (builds / f"{build_id}.log").write_text("begun\n")
    (builds / "stray").mkdir()
    ground.platform.builds.recover()
    assert {path.name for path in builds.iterdir()} == {kept, f"{kept}.log", f"{running}.log"}
    row = ground.records.get(running)
    assert row is not None and row.status == "failed" and "stopped while it was building" in row.problem
    assert (builds / f"{running}.log").read_text().startswith("begun\n\nFAILED: the platform was stopped")
    ground.platform.builds.recover()
    assert (builds / f"{running}.log").read_text().count("FAILED") == 1


def test_a_log_that_lost_its_end_gets_one(ground: Ground) -> None:
    builds = ground.state / "builds"
    builds.mkdir(exist_ok=True)
    build_id, _ = ground.records.open(ground.algorithm, "1" * 40, "python311", False)
    ground.records.succeed(build_id, "python311", "{}")
    (builds / f"{build_id}.log").write_text("begun\n")
    for _ in range(2):
        ground.platform.builds.recover()
        lines = (builds / f"{build_id}.log").read_text().splitlines()
        assert lines == ["begun", "", "SUCCEEDED: the rest of this log was lost"]


def test_dependencies_that_are_half_made_or_unused_go(ground: Ground) -> None:
    root = ground.state / "environments"
    used, unused, fresh, half = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
    for key in (used, unused, fresh, half):
        (root / key / "lib").mkdir(parents=True)
        if key != half:
            (root / f"{key}.json").write_text(json.dumps({"installed_at": "then"}))
    long_ago = time.time() - 30 * 24 * 3600
    for key in (used, unused):
        os.utime(root / f"{key}.json", (long_ago, long_ago))
    build_id, _ = ground.records.open(ground.algorithm, "1" * 40, "python311", False)
    ground.records.succeed(build_id, "python311", f'{{"command": ["{{state}}/environments/{used}/bin/python"]}}')
    (root / f"{'e' * 64}.json").write_text("{}")
    (root / "sdk-x.tmp").mkdir()
    sweep.sweep_environments(root, ground.records)
    assert {path.name for path in root.iterdir()} == {used, f"{used}.json", fresh, f"{fresh}.json"}


def test_runtimes_survive_a_move(ground: Ground, tmp_path: Path) -> None:
    from Algorithmia.server.builds.runtimes import Runtimes
    from Algorithmia.server.engine.base import Runtime

    here, there = Runtimes(tmp_path / "here"), Runtimes(tmp_path / "there")
    runtime = Runtime((f"{tmp_path}/here/environments/x/bin/python",), "frames", {"A": f"{tmp_path}/here/y"}, ("/usr",))
    text = here.pack(runtime)
    assert str(tmp_path) not in text
    assert here.unpack(text) == runtime
    assert there.unpack(text).command == (f"{tmp_path}/there/environments/x/bin/python",)


def test_pages_of_builds(ground: Ground) -> None:
    made = [ground.records.open(ground.algorithm, f"{number:040}", "python311", False)[0] for number in range(7)]
    seen: list[str] = []
    marker = None
    while True:
        rows, marker = ground.records.page(ground.algorithm, 3, marker)
        seen += [row.id for row in rows]
        if marker is None:
            break
    assert sorted(seen) == sorted(made) and len(seen) == 7
    started = [row.started_at for row in ground.records.page(ground.algorithm, 10, None)[0]]
    assert started == sorted(started, reverse=True)
    for bad in ("x", "1", "1.2", "1." + "z" * 36, "9" * 40):
        with pytest.raises(Exception, match="marker"):
            ground.records.page(ground.algorithm, 3, bad)


@pytest.mark.parametrize("build_id", ["", ".", "..", "../../config", "x" * 36, "\0", "%2e%2e"])
def test_ids_that_are_none_lead_nowhere(ground: Ground, build_id: str) -> None:
    (ground.state / "builds").mkdir(exist_ok=True)
    assert ground.platform.builds.log(build_id) is None
    assert ground.platform.builds.get(ground.algorithm, build_id) is None

    async def followed() -> list[bytes]:
        return [piece async for piece in ground.platform.builds.follow(build_id)]

    assert asyncio.run(followed()) == []


def test_logs_mask_what_they_must_not_show(tmp_path: Path) -> None:
    async def write() -> None:
        log = BuildLog(tmp_path / "x.log", 10000, ["hunter2"])
        log.feed(b"from https://me:hun")
        log.feed(b"ter2@index/simple\n10%\r20%\rdone\r\nlast \xe2\x82")
        log.feed(b"\xac without end")
        log.say("==> next")
        log.finish("FAILED: because of hunter2\nand more")
        log.close()

    asyncio.run(write())
    assert (tmp_path / "x.log").read_text().splitlines() == [
        "from https://me:***@index/simple",
        "done",
        "last \u20ac without end",
        "==> next",
        "FAILED: because of *** and more",
    ]


def test_links_that_lead_out_are_found(tmp_path: Path) -> None:
    project_directory = tmp_path / "project"
    (project_directory / "inner").mkdir(parents=True)
    (project_directory / "file").write_text("x")
    (project_directory / "fine").symlink_to("file")
    (project_directory / "inner" / "up").symlink_to("../file")
    (project_directory / "tool").symlink_to("/usr/bin/env")
    assert tree.link_leading_out(project_directory, ["/usr"]) is None
    (tmp_path / "secret").write_text("x")
    for target in (tmp_path / "secret", Path("../../secret"), tmp_path):
        link = project_directory / "inner" / "out"
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        assert tree.link_leading_out(project_directory, ["/usr"]) == "inner/out"


def test_sealing(tmp_path: Path) -> None:
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    program = tmp_path / "tree" / "deep" / "program"
    program.write_text("x")
    program.chmod(0o4700)
    os.mkfifo(tmp_path / "tree" / "pipe")
    outside = tmp_path / "outside"
    outside.write_text("x")
    outside.chmod(0o600)
    (tmp_path / "tree" / "link").symlink_to(outside)
    shared = tmp_path / "shared"
    shared.write_text("content")
    os.link(shared, tmp_path / "tree" / "deep" / "hard")
    tree.seal(tmp_path / "tree")
    shared.write_text("changed")
    assert (tmp_path / "tree" / "deep" / "hard").read_text() == "content"
    assert program.stat().st_mode & 0o7777 == 0o555
    assert outside.stat().st_mode & 0o7777 == 0o600
    assert not (tmp_path / "tree" / "pipe").exists()
    tree.remove(tmp_path / "tree")
    assert not (tmp_path / "tree").exists() and outside.exists()
