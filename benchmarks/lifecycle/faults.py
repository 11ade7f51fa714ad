"""Kill the server while authors push, build and publish, and see what it has made of it afterwards.

Of each round: authors change, push, wait for the build, publish and call; SIGKILL at a random moment, now and then
during the next start too; restart. Then every repository passes ``git fsck``, every build has succeeded or failed,
every published version answers with its own commit's marker, and what was acknowledged is there.

``python benchmarks/run.py lifecycle-faults --rounds 50``; tests call `run` with less.
"""

from __future__ import annotations

import random
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from Algorithmia import errors
from benchmarks.report import Report
from benchmarks.server import Server

from .project import GitFailed, Project

_SETTLE = 90.0


class _Author:
    """One thread that works on its algorithm until the server dies; what it was promised is in `project` and here."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.pushed: list[str] = []  # acknowledged by git
        self.published: dict[str, str] = {}  # acknowledged: version -> commit
        self.violations: list[str] = []
        self.counts: dict[str, int] = {}
        self._number = 0

    def work(self, stop: threading.Event) -> None:
        """Until `stop`, or an error that the death of the server explains."""
        project = self.project
        try:
            while not stop.is_set():
                self._number += 1
                commit = project.change(f"{project.name} {self._number}")
                project.push()
                self.pushed.append(commit)
                self._count("pushes")
                build = project.wait_for_build(commit)
                if build is None:
                    self.violations.append(f"{project.name}: no build of the pushed commit {commit}")
                elif build["status"] == "succeeded":
                    version, published = project.publish()
                    self.published[version] = published
                    self._count("publications")
                    if project.call(version) != project.markers[published]:
                        self.violations.append(f"{project.name}/{version} answers with another commit's marker")
        except (errors.ApiError, errors.AlgorithmException, GitFailed) as problem:
            if not stop.is_set():
                # The server may have died a moment before anybody said so.
                stop.wait(5.0)
                if not stop.is_set():
                    self.violations.append(f"{project.name}: {type(problem).__name__}: {problem}")

    def check(self) -> None:
        """The restarted server has lost nothing and made nothing up."""
        project = self.project
        deadline = time.monotonic() + _SETTLE
        while any(build["status"] == "in-progress" for build in project.algo.get_builds(limit=50)["results"]):
            if time.monotonic() > deadline:
                self.violations.append(f"{project.name}: a build is still in progress after the restart")
                break
            time.sleep(0.1)
        for build in project.algo.get_builds(limit=50)["results"]:
            self._count(f"builds {build['status']}")
        project.git("fetch", "--quiet", f"{project.client.apiAddress}/git/tester/{project.name}.git", "master")
        head = project.git("rev-parse", "FETCH_HEAD").strip()
        history = project.git("rev-list", head).split()
        for commit in self.pushed:
            if commit not in history:
                self.violations.append(f"{project.name}: the pushed commit {commit} is gone")
        versions = project.versions()
        for version, commit in self.published.items():
            if versions.get(version) != commit:
                self.violations.append(f"{project.name}/{version} is {versions.get(version)}, was {commit}")
        for version, commit in versions.items():
            if project.call(version) != project.markers[commit]:
                self.violations.append(f"{project.name}/{version} answers with another commit's marker")
            self._count("versions called")
        # What the server has is what counts, as after any lost connection.
        project.git("reset", "--quiet", "--hard", "FETCH_HEAD")

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1


def run(rounds: int, seed: int | None = None, authors: int = 3) -> Report:
    """Kill and check `rounds` times."""
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    chance = random.Random(seed)
    report = Report(f"{rounds} rounds of seed {seed}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="algorithmia-lifecycle-") as name:
        place = Path(name)
        server = Server(place)
        try:
            server.spawn()
            server.wait_until_ready()
            crew = []
            for number in range(authors):
                project = Project(place, server.address, server.key(), f"Faults{number}")
                project.create()
                crew.append(_Author(project))
            for _ in range(rounds):
                _round(server, crew, chance, report)
        finally:
            server.end()
    report.seconds = time.monotonic() - began
    for author in crew:
        report.violations += author.violations
        for what, count in author.counts.items():
            report.counts[what] += count
    return report


def _round(server: Server, crew: list[_Author], chance: random.Random, report: Report) -> None:
    stop = threading.Event()
    threads = [threading.Thread(target=author.work, args=(stop,), daemon=True) for author in crew]
    for thread in threads:
        thread.start()
    time.sleep(chance.uniform(0.05, 3.0))
    stop.set()
    server.kill()
    for thread in threads:
        thread.join(180)
    report.counts["kills"] += 1
    server.spawn()
    while chance.random() < 0.2:
        time.sleep(chance.uniform(0.0, 0.7))
        server.kill()
        report.counts["kills while starting"] += 1
        server.spawn()
    server.wait_until_ready()
    for author in crew:
        author.project.reach(server.address)
        author.check()
    for repository in sorted((server.state / "git").glob("*.git")):
        done = subprocess.run(
            ["git", "-c", "safe.directory=*", f"--git-dir={repository}", "fsck", "--strict", "--no-dangling"],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            report.violations.append(f"git fsck {repository.name}: {(done.stdout + done.stderr).decode()[:500]}")
        report.counts["repositories checked"] += 1
