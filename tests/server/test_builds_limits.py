"""What builds may use up, and what they get to see: time, disk, log, other people's files."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from build_projects import HELLO, Author, installing, project, require_index, require_sandbox, running
from platforms import Server

from Algorithmia.server.builds import queue as build_queue
from Algorithmia.server.builds.commands import Commands
from Algorithmia.server.builds.log import BuildLog
from Algorithmia.server.builds.queue import BuildQueue, Job
from Algorithmia.server.builds.records import Subject
from Algorithmia.server.builds.workshop import Order
from Algorithmia.server.engine.sandbox import Unconfined
from Algorithmia.server.errors import TooManyRequests
from Algorithmia.server.identity import Account
from Algorithmia.server.languages.base import BuildProblem
from Algorithmia.server.settings import Settings

MIB = 1 << 20

# Looks around, and reports what it could do in the message that it fails with.
PROBE = '''
import json, glob, socket, subprocess
here = os.getcwd()
while not os.path.basename(here) == "platform" and here != "/":
    here = os.path.dirname(here)
if here == "/":
    here = "@STATE@"
report = {}
def attempt(name, action):
    try:
        report[name] = action()
    except Exception as error:
        report[name] = "refused: %s" % error
def reading(path):
    def read():
        with open(path, "rb") as handle:
            return len(handle.read(16))
    return read
def writing(path):
    def write():
        with open(path, "ab") as handle:
            handle.write(b"x")
        return 1
    return write
attempt("database", reading(os.path.join(here, "platform.db")))
attempt("secrets key", reading(os.path.join(here, "secrets.key")))
attempt("profiles", reading(os.path.join(os.path.dirname(here), "config")))
attempt("other project", reading("@OTHER@/src/Other.py"))
attempt("list builds", lambda: len(os.listdir(os.path.join(here, "builds"))))
attempt("repositories", lambda: len(os.listdir(os.path.join(here, "git"))))
attempt("write state", writing(os.path.join(here, "hostile")))
attempt("write home", writing("@HOME@/hostile"))
attempt("write interpreter", writing("@PREFIX@/hostile"))
attempt("write other project", writing("@OTHER@/hostile"))
attempt("canary", reading("@CANARY@"))
def command_of(process):
    try:
        return open("/proc/%s/cmdline" % process).read()
    except OSError:  # it has ended meanwhile
        return ""
attempt("processes", lambda: len([n for n in os.listdir("/proc") if n.isdigit() and
    "Algorithmia.server" in command_of(n)]) or 1 / 0)
attempt("secret variable", lambda: os.environ["OPERATORS_SECRET"])
attempt("own directory", writing("mine"))
raise SystemExit("REPORT " + json.dumps(report))
'''
FORBIDDEN = (
    "database",
    "secrets key",
    "profiles",
    "other project",
    "repositories",
    "write state",
    "write home",
    "write interpreter",
    "write other project",
    "canary",
    "processes",
)


@pytest.fixture
def limited(start_server: Callable[..., Server], tmp_path: Path) -> Callable[..., Author]:
    """A function that starts a platform with these environment variables and makes an account on it."""

    def start(**environment: str) -> Author:
        author = Author(start_server("--port", "0", environment=environment), tmp_path)
        author.make()
        return author

    return start


def probed(author: Author, canary: Path) -> dict[str, Any]:
    """What the hostile installation reports."""
    author.make("Other")
    other = author.state / "builds" / author.outcome(project(name="Other"), "Other")[0]["build_id"]
    action = PROBE
    for name, value in {
        "STATE": author.state,
        "HOME": Path(author.server.home),
        "OTHER": other,
        "PREFIX": sys.base_prefix,
        "CANARY": canary,
    }.items():
        action = action.replace(f"@{name}@", str(value))
    log = author.fails(installing(action))
    assert "REPORT " in log, log
    return dict(json.JSONDecoder().raw_decode(log[log.index("REPORT ") + 7 :])[0])


def test_a_hostile_installation_reads_and_writes_nothing_of_others(
    limited: Callable[..., Author], tmp_path: Path
) -> None:
    require_index()
    author = limited(OPERATORS_SECRET="hunter2")
    require_sandbox(author.server)
    canary = tmp_path / "canary"
    canary.write_text("for the server's eyes")
    report = probed(author, canary)
    for name in FORBIDDEN:
        assert str(report[name]).startswith("refused"), (name, report)
    assert str(report["secret variable"]).startswith("refused"), report
    assert report["own directory"] == 1
    for place in (author.state, Path(author.server.home)):
        assert not (place / "hostile").exists()


def test_without_a_sandbox_the_probe_notices(limited: Callable[..., Author], tmp_path: Path) -> None:
    require_index()
    author = limited(ALGORITHMIA_SANDBOX="off", OPERATORS_SECRET="hunter2")
    canary = tmp_path / "canary"
    canary.write_text("for the server's eyes")
    report = probed(author, canary)
    for name in set(FORBIDDEN) - {"secrets key", "write interpreter"}:
        assert isinstance(report[name], int), (name, report)
    # The environment is clean in any case.
    assert str(report["secret variable"]).startswith("refused"), report


def test_a_build_takes_only_so_long(limited: Callable[..., Author]) -> None:
    require_index()
    author = limited(ALGORITHMIA_BUILD_TIMEOUT="8")
    action = "import subprocess, time\nsubprocess.Popen(['sleep', '98765.4321'])\ntime.sleep(600)\n"
    log = author.fails(installing(action))
    assert "took longer than 8 s" in log.splitlines()[-1]
    assert not running("98765.4321")
    assert [path.suffix for path in (author.state / "builds").iterdir()] == [".log"]
    assert [path.name for path in (author.state / "environments").iterdir() if len(path.name) == 64] == []
    assert author.succeeds(project())


def test_a_build_writes_only_so_much(limited: Callable[..., Author]) -> None:
    require_index()
    author = limited(ALGORITHMIA_MAX_BUILD_BYTES=str(120 * MIB))
    action = (
        "import itertools, time\n"
        "for number in range(5000):\n"
        "    with open('filler%d' % number, 'wb') as handle: handle.write(b'x' * (1 << 20))\n"
        "    time.sleep(0.01)\n"
    )
    log = author.fails(installing(action))
    assert "wrote more than 120 MiB" in log.splitlines()[-1], log
    assert _size(author.state / "builds") < MIB
    assert author.succeeds(project())


def test_one_file_may_not_be_larger_than_a_build(limited: Callable[..., Author]) -> None:
    require_index()
    author = limited(ALGORITHMIA_MAX_BUILD_BYTES=str(120 * MIB))
    log = author.fails(installing("open('large', 'wb').truncate(1 << 40)\n"))
    assert "File too large" in log or "SIGXFSZ" in log, log


def test_a_log_is_only_so_long_and_harmless(limited: Callable[..., Author]) -> None:
    author = limited(ALGORITHMIA_MAX_BUILD_LOG_BYTES="20000")
    source = (
        "print('\\x1b[31mred\\x1b[0m \\x1b]0;title\\x07\\x00bell\\x07 \\u202egnirts')\n"
        "for number in range(5000): print('line', number)\n" + HELLO
    )
    build, log = author.outcome(project(source))
    assert build["status"] == "succeeded"
    assert len(log) < 21000
    assert "red bell gnirts" in log and not set(log) & set("\x1b\x07\x00\u202e")
    assert "[the log was cut here: it had reached the limit of 20000 bytes]" in log
    assert log.splitlines()[-1].startswith("SUCCEEDED")


def test_an_account_has_only_so_many_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_queue, "MOST_OF_AN_ACCOUNT", 2)
    queue = BuildQueue(lambda job: asyncio.sleep(0), 1)
    one, other = Account("1", "one"), Account("2", "other")
    with queue.place(one), queue.place(one):
        with pytest.raises(TooManyRequests, match="account one has 2 builds"), queue.place(one):
            pass
        with queue.place(other):
            pass
    with queue.place(one):
        pass


def test_a_build_that_is_cancelled_as_its_turn_comes_gives_its_place_back(tmp_path: Path) -> None:
    account, ended = Account("1", "one"), []

    async def turns() -> None:
        async def run(job: Job) -> None:
            await asyncio.sleep(0)
            ended.append(job.reason)
            queue.leave(job)

        queue = BuildQueue(run, 1)
        jobs = []
        for build_id in ("first", "second", "third"):
            order = Order(build_id, Subject("a", account, "Zoo", {}), "0" * 40, f"builds/{build_id}")
            jobs.append(Job(order, BuildLog(tmp_path / f"{build_id}.log", 10_000)))
            with queue.place(account) as place:
                queue.enter(jobs[-1], place)
        queue.cancel(jobs[0], "too early")  # its task has not had a turn yet
        _, left = await asyncio.wait([job.ended for job in jobs], timeout=10)
        for job in jobs:
            job.log.close()
        assert not left and not queue.jobs

    asyncio.run(turns())
    assert ended == ["too early", "", ""]


def test_a_cache_is_lent_once_however_many_builds_ask(tmp_path: Path) -> None:
    lent: list[Path] = []

    class Lender(Unconfined):
        is_broken = True

        def lend(self, path: Path) -> None:
            lent.append(path)
            time.sleep(0.05)
            if self.is_broken:
                raise OSError("no space")

    async def ask() -> list[BaseException | None]:
        waiting = [asyncio.create_task(commands.lend_for_good(tmp_path)) for _ in range(3)]
        return await asyncio.gather(*waiting, return_exceptions=True)

    async def twice() -> None:
        assert all(isinstance(problem, OSError) for problem in await ask())
        assert lent == [tmp_path]
        sandbox.is_broken = False  # what failed is tried again
        assert await ask() == await ask() == [None, None, None]
        assert lent == [tmp_path, tmp_path]

    sandbox = Lender()
    commands = Commands(sandbox, Settings(home=tmp_path), {})
    asyncio.run(twice())


def _size(directory: Path) -> int:
    return sum(path.lstat().st_size for path in directory.rglob("*"))


def test_what_was_lent_is_taken_back_even_if_one_path_can_not_be(tmp_path: Path) -> None:
    taken_back: list[str] = []

    class Lender(Unconfined):
        def lend(self, path: Path) -> None:
            pass

        def reclaim(self, path: Path) -> None:
            taken_back.append(path.name)
            if path.name in ("project", "scratch"):
                raise OSError(28, "No space left on device")

    async def lend() -> None:
        async with Commands(Lender(), Settings(home=tmp_path), {}).lending(
            tmp_path / "project", tmp_path / "dependencies", tmp_path / "scratch"
        ):
            pass

    with pytest.raises(BuildProblem, match="can't be kept: No space left on device"):
        asyncio.run(lend())
    assert taken_back == ["project", "dependencies", "scratch"]
