"""Many authors at once: pushes, publications and calls over many algorithms; nothing may get lost or mixed up.

``python benchmarks/run.py storm``; tests call `run` with less.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
import traceback
from pathlib import Path

from Algorithmia import errors
from benchmarks.report import Report
from benchmarks.server import Server

from .project import GitFailed, Project

_PATIENCE = 900.0


def run(algorithms: int = 20, operations: int = 200, seed: int = 1) -> Report:
    """`operations` pushes, publications and calls at the same time, spread over `algorithms`."""
    report = Report("storm")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="algorithmia-storm-") as name:
        place = Path(name)
        server = Server(place)
        try:
            server.spawn()
            server.wait_until_ready()
            _storm(server, place, algorithms, operations, random.Random(seed), report)
        finally:
            server.end()
    report.seconds = time.monotonic() - began
    return report


def _storm(
    server: Server, place: Path, algorithms: int, operations: int, chance: random.Random, report: Report
) -> None:
    guard = threading.Lock()
    markers: dict[str, str] = {}
    pushed: dict[str, list[str]] = {}

    def violation(text: str) -> None:
        with guard:
            report.violations.append(text)

    # Each actor is an author with a working tree of their own; several share an algorithm.
    authors = []
    for number in range(algorithms):
        name = f"Storm{number}"
        first = Project(place / "0", server.address, server.key(), name)
        first.tree.parent.mkdir(exist_ok=True)
        first.create()
        commit = first.change(f"{name} start")
        first.push()
        first.wait_for_build(commit)
        first.publish()
        with guard:
            markers.update(first.markers)
        pushed[name] = [commit]
        authors.append(first)
    kinds = [("push", "publish", "call")[number % 3] for number in range(operations)]
    chance.shuffle(kinds)

    def act(number: int, kind: str) -> None:
        leader = authors[number % algorithms]
        project = Project(place / str(number + 1), server.address, server.key(), leader.name)
        try:
            if kind == "push":
                project.tree.parent.mkdir()
                address = f"{server.address}/git/tester/{project.name}.git"
                project.git("clone", "--quiet", address, str(project.tree), where=None)
                for attempt in range(50):
                    commit = project.change(f"{project.name} by {number}.{attempt}")
                    with guard:
                        markers.update(project.markers)
                    try:
                        project.push()
                        break
                    except GitFailed as problem:
                        # Somebody else was quicker: what everybody does then.
                        if "rejected" not in str(problem) and "failed to lock" not in str(problem):
                            raise
                        project.git("fetch", "--quiet", address, "master")
                        project.git("reset", "--quiet", "--hard", "FETCH_HEAD")
                else:
                    violation(f"{project.name}: no push of author {number} got through")
                with guard:
                    pushed[project.name].append(commit)
            elif kind == "publish":
                try:
                    version, commit = project.publish()
                except errors.RefusedError as refusal:  # published already, or its build runs
                    with guard:
                        report.counts[f"publish refused ({refusal.code or refusal.status})"] += 1
                    return
                _check_answer(project, version, commit, markers, violation)
            else:
                for version, commit in project.versions().items():
                    _check_answer(project, version, commit, markers, violation)
            with guard:
                report.counts[kind] += 1
        except Exception:
            violation(f"{kind} of author {number} on {project.name}: {traceback.format_exc(limit=-3)}")

    threads = [threading.Thread(target=act, args=job, daemon=True) for job in enumerate(kinds)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + _PATIENCE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    stuck = sum(thread.is_alive() for thread in threads)
    if stuck:
        violation(f"{stuck} operations have not ended")
        return
    for project in authors:
        for commit in pushed[project.name]:
            build = project.wait_for_build(commit)
            if build is None or build["status"] != "succeeded":
                violation(f"{project.name}: the build of the pushed commit {commit} is {build and build['status']}")
            elif project.call(commit) != markers[commit]:
                violation(f"{project.name}/{commit} answers with another commit's marker")
        for version, commit in project.versions().items():
            _check_answer(project, version, commit, markers, violation)
            report.counts["versions checked"] += 1


def _check_answer(project, version, commit, markers, violation) -> None:  # type: ignore[no-untyped-def]
    answer = project.call(version)
    if answer != markers.get(commit):
        violation(f"{project.name}/{version} answers {answer!r}, and its commit {commit} is {markers.get(commit)!r}")
