"""How long an author waits: push to callable, a rebuild, and installing dependencies beside plain pip."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import harness
from benchmarks.harness import AT_MOST, Case, Context, Figures, Target
from benchmarks.server import Server

from .project import Project

_REQUIREMENTS = "requests\nnumpy\nscikit-learn\n"
_SECONDS = 300.0


def push_to_callable(context: Context) -> Figures:
    """`git push`, its build, and the first answer of the commit; the reference is pushing to a bare repository."""
    with _project(context) as (project, place):
        subprocess.run(["git", "init", "--quiet", "--bare", str(place / "bare.git")], check=True)
        numbers = iter(range(10**6))

        def ours() -> float:
            commit = project.change(f"push {next(numbers)}")
            began = time.perf_counter()
            project.push()
            answer = project.call(commit)
            seconds = time.perf_counter() - began
            assert answer == project.markers[commit]
            return seconds

        def bare() -> float:
            began = time.perf_counter()
            project.git("push", "--quiet", "--force", str(place / "bare.git"), "HEAD:refs/heads/master")
            return time.perf_counter() - began

        samples = harness.interleave({"ours": ours, "git push alone": bare}, context.rounds(7), _SECONDS)
    return harness.figures(samples, "s", "ours", "git push alone", note="no dependencies")


def rebuild(context: Context) -> Figures:
    """Push to callable with unchanged requirements (scikit-learn), and the first time beside it."""
    with _project(context) as (project, _):
        began = time.perf_counter()
        commit = project.change("first", _REQUIREMENTS)
        project.push()
        project.call(commit)
        first = time.perf_counter() - began
        numbers = iter(range(10**6))

        def ours() -> float:
            commit = project.change(f"rebuild {next(numbers)}")
            began = time.perf_counter()
            project.push()
            assert project.call(commit) == project.markers[commit]
            return time.perf_counter() - began

        samples = harness.interleave({"ours": ours}, context.rounds(5), _SECONDS)
    samples["first build"] = [first]
    return harness.figures(samples, "s", "ours", "first build", note="numpy and scikit-learn")


def environment_build(context: Context) -> Figures:
    """Installing requests, numpy and scikit-learn without any cache: the platform's way, and a venv with pip."""
    import uv

    program = uv.find_uv_bin()

    def with_uv() -> float:
        with context.directory() as place:
            environment = harness.clean_environment(place, UV_CACHE_DIR=str(place / "cache"))
            python = place / "venv" / "bin" / "python"
            return _timed(
                [[program, "venv", "--quiet", "--python", sys.executable, str(place / "venv")],
                 [program, "pip", "install", "--quiet", "--python", str(python), *_REQUIREMENTS.split()]],
                environment,
            )  # fmt: skip

    def with_pip() -> float:
        with context.directory() as place:
            environment = harness.clean_environment(place)
            python = place / "venv" / "bin" / "python"
            return _timed(
                [[sys.executable, "-m", "venv", str(place / "venv")],
                 [str(python), "-m", "pip", "install", "--quiet", "--no-cache-dir", "--disable-pip-version-check",
                  *_REQUIREMENTS.split()]],
                environment,
            )  # fmt: skip

    samples = harness.interleave({"ours": with_uv, "pip": with_pip}, context.rounds(3), _SECONDS)
    return harness.figures(samples, "s", "ours", "pip", note="neither with a cache")


def _timed(commands: list[list[str]], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    for command in commands:
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=600)
    return time.perf_counter() - began


@contextlib.contextmanager
def _project(context: Context) -> Iterator[tuple[Project, Path]]:
    with context.directory() as place:
        server = Server(place)
        try:
            server.spawn()
            server.wait_until_ready()
            project = Project(place, server.address, server.key(), "Benchmark")
            project.create()
            yield project, place
        finally:
            server.end()


CASES = [
    Case("publish", "git push, build, first answer", Target(AT_MOST, 3.0, "s"), push_to_callable),
    Case("rebuild", "the same with unchanged requirements", Target(AT_MOST, 4.0, "s"), rebuild),
    Case("environment", "installing an algorithm's dependencies", Target(AT_MOST, 0.5), environment_build),
]
