"""Pushing with the real git: builds, rules, limits, many at once, and people and platforms that go away meanwhile."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from git_hosted import GitSite, Person, fsck, git_processes, make_algorithm, person_fixture, site_fixture, wait_until
from platforms import Server

from Algorithmia.server.db.database import Database
from Algorithmia.server.git.repositories import Repositories
from Algorithmia.server.services.accounts import Accounts
from Algorithmia.server.settings import Settings

_MIB = 1024 * 1024


site = site_fixture(max_push_bytes=8 * _MIB, request_timeout=5.0)
me = person_fixture()


@pytest.fixture
def algorithm(site: GitSite, me: Person) -> Iterator[str]:
    """The id of an algorithm that is `me`'s; in the end its repository is sound and no git process is left."""
    found = site.algorithm(me.account)
    yield found
    fsck(site.repositories, found)
    wait_until(lambda: not git_processes(found))
    busy = site.repositories.root / "busy"
    wait_until(lambda: not list(busy.iterdir()))


def test_a_push_shows_its_build(site: GitSite, me: Person, algorithm: str) -> None:
    working = me.clone(f"{me.name}/Test.git")
    commit = me.commit(working, "README.md", b"# Changed\n")
    done = me.push(working)
    assert done.status == 0, done
    for shown in (
        f"algo logs {me.name}/Test shows it again",
        "remote: installing dependencies",
        "remote: build ended",
        f"algo run {me.name}/Test/{commit}",
        f"algo publish {me.name}/Test",
    ):
        assert shown in done.output
    assert (algorithm, commit) in site.builds.requested
    assert site.repositories.head(algorithm) == commit
    assert site.summaries[algorithm] == "# Changed\n"


def test_locks_of_a_push_are_not_waited_for_on_the_event_loop(
    site: GitSite, me: Person, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing, seen = site.repositories.changing, []

    @contextmanager
    def watched(algorithm_id: str) -> Iterator[Sequence[int]]:
        seen.append(is_on_event_loop())
        with changing(algorithm_id) as held:
            yield held
            seen.append(is_on_event_loop())

    monkeypatch.setattr(site.repositories, "changing", watched)
    working = me.clone(f"{me.name}/Test.git")
    me.commit(working, "README.md", b"# Changed\n")
    assert me.push(working).status == 0
    wait_until(lambda: len(seen) == 2)
    assert seen == [False, False]


def is_on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def test_a_failed_build_does_not_fail_the_push(
    site: GitSite, me: Person, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site.builds, "status", "failed")
    working = me.clone(f"{me.name}/Test.git")
    commit = me.commit(working)
    done = me.push(working)
    assert done.status == 0 and "its build failed" in done.output and "algo publish" not in done.output
    assert site.repositories.head(algorithm) == commit


def test_the_log_is_shown_while_the_build_runs(site: GitSite, me: Person, algorithm: str) -> None:
    working = me.clone(f"{me.name}/Test.git")
    me.commit(working)
    site.builds.may_end.clear()
    process = subprocess.Popen(
        ["git", "push", "origin", "HEAD:master"], cwd=working, env=me.environment(), stderr=subprocess.PIPE
    )
    try:
        assert process.stderr
        seen = b""
        while b"installing dependencies" not in seen:
            piece = os.read(process.stderr.fileno(), 4096)
            assert piece, seen
            seen += piece
        # Others aren't kept waiting, not even by many who watch.
        assert me.clone(f"{me.name}/Test.git").is_dir()
    finally:
        site.builds.may_end.set()
        rest = process.communicate()[1]
    assert process.returncode == 0 and b"build ended" in rest


def test_only_the_head_of_a_push_is_built(site: GitSite, me: Person, algorithm: str) -> None:
    working = me.clone(f"{me.name}/Test.git")
    me.commit(working, "a")
    head = me.commit(working, "b")
    assert me.push(working).status == 0
    assert [commit for id_, commit in site.builds.requested if id_ == algorithm] == [head]


def test_other_branches_are_kept_and_not_built(site: GitSite, me: Person, algorithm: str) -> None:
    working = me.clone(f"{me.name}/Test.git")
    me.commit(working)
    done = me.push(working, "origin", "HEAD:main")
    assert done.status == 0 and "git push origin main:master" in done.output
    done = me.push(working, "origin", "HEAD:refs/heads/$(id);y")
    assert done.status == 0 and "git push origin BRANCH:master" in done.output
    assert algorithm not in dict(site.builds.requested)
    assert me.push(working, "origin", "HEAD:master").status == 0
    assert algorithm in dict(site.builds.requested)


def test_history_can_not_be_rewritten(site: GitSite, me: Person, algorithm: str) -> None:
    working = me.clone(f"{me.name}/Test.git")
    kept = me.commit(working)
    assert me.push(working).status == 0
    me.git("reset", "-q", "--hard", "HEAD~1", cwd=working)
    me.commit(working, "other.txt")
    assert me.push(working).status != 0
    forced = me.push(working, "--force", "origin", "HEAD:master")
    assert forced.status != 0 and "History can't be rewritten here" in forced.output
    deleted = me.push(working, "origin", ":master")
    assert deleted.status != 0 and "can't be deleted" in deleted.output
    assert site.repositories.head(algorithm) == kept


def test_tags(me: Person, algorithm: str) -> None:
    working = me.clone(f"{me.name}/Test.git")
    assert me.push(working, "origin", "HEAD:refs/tags/mine", "HEAD:refs/tags/v1.0.0").status == 0
    version = me.push(working, "origin", "HEAD:refs/tags/1.0.0")
    assert version.status != 0 and "algo publish" in version.output
    me.commit(working)
    moved = me.push(working, "--force", "origin", "HEAD:refs/tags/mine")
    assert moved.status != 0 and "can't be moved" in moved.output


@pytest.mark.parametrize(
    "name", ["namespaces/1.0.0/refs/heads/master", "platform/x", "notes/commits", "replace/" + "1" * 40]
)
def test_other_references_can_not_be_pushed(me: Person, algorithm: str, name: str) -> None:
    working = me.clone(f"{me.name}/Test.git")
    assert me.push(working, "origin", f"HEAD:refs/{name}").status != 0
    assert name not in me.git("ls-remote", "origin", cwd=working)


def test_too_many_references_are_refused(me: Person, algorithm: str) -> None:
    working = me.clone(f"{me.name}/Test.git")
    done = me.push(working, "origin", *(f"HEAD:refs/heads/b{number}" for number in range(101)))
    assert done.status != 0 and "push in several steps" in done.output


def test_pushing_from_a_shallow_clone(site: GitSite, me: Person, algorithm: str) -> None:
    site.repositories.commit_files(algorithm, {"a": b"1"}, "More")
    working = me.clone(f"{me.name}/Test.git", "--depth", "1")
    commit = me.commit(working)
    assert me.push(working).status == 0
    assert site.repositories.head(algorithm) == commit


def test_a_large_push_is_stored_and_a_larger_one_refused(site: GitSite, me: Person, algorithm: str) -> None:
    """Beyond a megabyte, git sends its body in chunks."""
    working = me.clone(f"{me.name}/Test.git")
    commit = me.commit(working, "big", random.Random(1).randbytes(6 * _MIB))
    assert me.push(working).status == 0
    assert site.repositories.head(algorithm) == commit
    me.commit(working, "bigger", random.Random(2).randbytes(12 * _MIB))
    done = me.push(working)
    assert done.status != 0 and "pack exceeds maximum allowed size" in done.output
    assert site.repositories.head(algorithm) == commit
    # Nothing of it stays.
    assert sum(path.stat().st_size for path in site.repositories.path(algorithm).rglob("*")) < 8 * _MIB


def test_damaged_objects_are_refused(site: GitSite, me: Person, algorithm: str) -> None:
    working = me.clone(f"{me.name}/Test.git")
    blob = me.git("rev-parse", "HEAD:README.md", cwd=working).strip()
    entry = f"100644 blob {blob}\t.git\n".encode()
    made = subprocess.run(["git", "mktree"], input=entry, capture_output=True, check=True, cwd=working)
    tree = made.stdout.decode().strip()
    commit = me.git("commit-tree", "-p", "HEAD", "-m", "evil", tree, cwd=working).strip()
    done = me.push(working, "origin", f"{commit}:master")
    assert done.status != 0 and "hasDotgit" in done.output
    assert site.repositories.head(algorithm) != commit


def test_concurrent_pushes_one_wins_and_the_others_are_told(site: GitSite, me: Person, algorithm: str) -> None:
    copies = [me.clone(f"{me.name}/Test.git") for _ in range(8)]
    commits = [me.commit(copy, f"f{number}") for number, copy in enumerate(copies)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(me.push, copies))
    won = [commit for commit, done in zip(commits, results, strict=True) if done.status == 0]
    assert won == [site.repositories.head(algorithm)]
    assert [commit for id_, commit in site.builds.requested if id_ == algorithm] == won


def test_concurrent_pushes_in_turn_all_arrive(site: GitSite, me: Person, algorithm: str) -> None:
    def keep_pushing(number: int) -> None:
        copy = me.clone(f"{me.name}/Test.git")
        me.commit(copy, f"f{number}")
        while me.push(copy).status != 0:
            me.git("pull", "-q", "--rebase", "origin", "master", cwd=copy)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(keep_pushing, range(6)))
    assert len(site.repositories.commits(algorithm)) == 7
    built = [commit for id_, commit in site.builds.requested if id_ == algorithm]
    assert sorted(built) == sorted(commit.id for commit in site.repositories.commits(algorithm)[:6])


def test_a_pusher_who_leaves_during_the_build_leaves_the_build(site: GitSite, me: Person, algorithm: str) -> None:
    working = me.clone(f"{me.name}/Test.git")
    commit = me.commit(working)
    site.builds.may_end.clear()
    try:
        process = subprocess.Popen(
            ["git", "push", "-q", "origin", "HEAD:master"],
            cwd=working,
            env=me.environment(),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(lambda: (algorithm, commit) in site.builds.requested)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        wait_until(lambda: not git_processes(algorithm))
        assert site.repositories.head(algorithm) == commit
    finally:
        site.builds.may_end.set()


def begin(me: Person, service: str, body: bytes, name: str = "Test") -> socket.socket:
    """A request with the beginning of a chunked body; nothing of the answer is read."""
    token = base64.b64encode(f"{me.name}:{me.key}".encode()).decode()
    host, port = me.netloc.split(":")
    connection = socket.create_connection((host, int(port)), timeout=60)
    connection.sendall(
        f"POST /git/{me.name}/{name}.git/git-{service} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {token}\r\n"
        f"Content-Type: application/x-git-{service}-request\r\nTransfer-Encoding: chunked\r\n\r\n"
        f"{len(body):x}\r\n".encode() + body + b"\r\n"
    )
    return connection


def half_a_push(site: GitSite, algorithm: str) -> bytes:
    command = f"{site.repositories.head(algorithm)} {'1' * 40} refs/heads/master\0 report-status side-band-64k".encode()
    return b"%04x%b0000PACK\0\0\0\2\0\0\0\3" % (len(command) + 4, command)


@pytest.mark.parametrize("leaves", [True, False])
def test_a_push_that_stops_half_way_leaves_nothing(
    site: GitSite, me: Person, algorithm: str, leaves: bool
) -> None:
    """By a client that closes its connection, and by one that just doesn't send on."""
    head = site.repositories.head(algorithm)
    with begin(me, "receive-pack", half_a_push(site, algorithm)) as connection:
        wait_until(lambda: git_processes(algorithm))
        if not leaves:
            while connection.recv(65536):  # the platform ends it
                pass
    wait_until(lambda: not git_processes(algorithm))
    assert site.repositories.head(algorithm) == head
    assert not list(site.repositories.path(algorithm).rglob("tmp_*"))


def test_a_push_shorter_than_announced_leaves_nothing(site: GitSite, me: Person, algorithm: str) -> None:
    token = base64.b64encode(f"{me.name}:{me.key}".encode()).decode()
    host, port = me.netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(
            f"POST /git/{me.name}/Test.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {token}\r\n"
            f"Content-Type: application/x-git-receive-pack-request\r\nContent-Length: 5000\r\n\r\n".encode()
            + half_a_push(site, algorithm)
        )
        wait_until(lambda: git_processes(algorithm))
    wait_until(lambda: not git_processes(algorithm))
    assert not list(site.repositories.path(algorithm).rglob("tmp_*"))


def test_a_client_that_takes_nothing_is_given_up(site: GitSite, me: Person, algorithm: str) -> None:
    head = site.repositories.commit_files(algorithm, {"big": random.Random(1).randbytes(32 * _MIB)}, "Big")
    want = f"want {head} side-band-64k\n".encode()
    body = b"%04x%b00000009done\n" % (len(want) + 4, want)
    with begin(me, "upload-pack", body) as connection:
        connection.sendall(b"0\r\n\r\n")
        wait_until(lambda: git_processes(algorithm))
        wait_until(lambda: not git_processes(algorithm))


def test_beyond_the_limit_of_transfers_others_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("Algorithmia.server.git.smart_http._MAX_PROCESSES", 1)
    monkeypatch.setattr("Algorithmia.server.git.smart_http._PLACE_PATIENCE", 0.1)
    site = GitSite(tmp_path / "site")
    try:
        me = site.person(tmp_path)
        algorithm = site.algorithm(me.account)
        with begin(me, "receive-pack", half_a_push(site, algorithm)):
            wait_until(lambda: git_processes(algorithm))
            done = me.try_git("clone", me.url(f"{me.name}/Test.git"), "busy")
            assert done.status != 0 and "503" in done.output
        wait_until(lambda: not git_processes(algorithm))
        assert me.clone(f"{me.name}/Test.git").is_dir()
    finally:
        site.stop()


def test_an_account_that_stalls_transfers_stalls_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("Algorithmia.server.git.smart_http._MAX_PROCESSES", 2)
    monkeypatch.setattr("Algorithmia.server.git.smart_http._MAX_OF_ACCOUNT", 1)
    monkeypatch.setattr("Algorithmia.server.git.smart_http._PLACE_PATIENCE", 0.1)
    site = GitSite(tmp_path / "site")
    try:
        me, other = site.person(tmp_path), site.person(tmp_path)
        algorithm = site.algorithm(me.account)
        site.algorithm(other.account)
        with begin(me, "receive-pack", half_a_push(site, algorithm)):
            wait_until(lambda: git_processes(algorithm))
            done = me.try_git("clone", me.url(f"{me.name}/Test.git"), "busy")
            assert done.status != 0 and "503" in done.output
            assert other.clone(f"{other.name}/Test.git").is_dir()
        wait_until(lambda: not git_processes(algorithm))
        assert me.clone(f"{me.name}/Test.git").is_dir()
    finally:
        site.stop()


def test_a_push_cut_off_between_branch_and_hook_is_built_all_the_same(tmp_path: Path) -> None:
    site = GitSite(tmp_path / "site")
    try:
        me = site.person(tmp_path)
        algorithm = site.algorithm(me.account)
        hook = site.settings.state / "git/hooks/post-receive"
        hook.write_text("#!/bin/sh\nkill -9 $PPID\n")
        working = me.clone(f"{me.name}/Test.git")
        commit = me.commit(working)
        me.push(working)
        assert site.repositories.head(algorithm) == commit
        wait_until(lambda: (algorithm, commit) in site.builds.requested)
    finally:
        site.stop()


def test_a_platform_killed_in_the_middle_of_pushes_comes_back_sound(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """Pushes run while the platform is killed; each either arrived or didn't, and can be done again."""
    home = tmp_path / "platform"
    home.mkdir()
    server = start_server(home=home)
    settings = Settings(home=home)
    database = Database(settings.database_url)
    repositories = Repositories(settings.state, settings)
    owner = Accounts(database).ensure_account(server.user)
    algorithm = make_algorithm(database, repositories, owner, "Test")
    me = Person(server.address.split("//")[1], owner, server.key, tmp_path / "home")
    known = []
    for round_ in range(5):
        copies = [me.clone(f"{me.name}/Test.git") for _ in range(2)]
        for number, copy in enumerate(copies):
            me.commit(copy, f"f{round_}.{number}", random.Random(round_).randbytes(2 * _MIB))
        pushes = [
            subprocess.Popen(
                ["git", "push", "-q", "origin", "HEAD:master" if number else "HEAD:side"],
                cwd=copy,
                env=me.environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for number, copy in enumerate(copies)
        ]
        threading.Event().wait(random.Random(round_).uniform(0.02, 0.25))
        server.kill()
        for push in pushes:
            push.wait(60)
        server = start_server(home=home)
        me.netloc = server.address.split("//")[1]
        fsck(repositories, algorithm)
        path = repositories.path(algorithm)
        assert not list(path.rglob("tmp_*")) and not list((repositories.root / "busy").iterdir())
        head = repositories.head(algorithm)
        known.append(head)
        copy = me.clone(f"{me.name}/Test.git")
        wait_until(lambda: not git_processes(algorithm))
        again = me.commit(copy, f"again{round_}")
        assert me.push(copy, "-q", "origin", "HEAD:master").status == 0
        assert repositories.head(algorithm) == again
    assert all(repositories.has_commit(algorithm, str(head)) for head in known)
    database.close()
