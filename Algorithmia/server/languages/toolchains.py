"""What several languages do alike: find a program, ask its version, find a project's entry point."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .base import BuildProblem

_USUAL = ("/usr/local/bin", "/usr/bin", "/bin")
_MAX_CONFIGURATION = 1 << 20
# Always visible to confined processes; what lives elsewhere has to be named.
_SYSTEM = ("/usr/", "/bin/", "/lib/", "/lib64/")


def programs(*names: str) -> list[str]:
    """The programs with one of these names on the PATH and in the usual places, first found first, none twice."""
    found: dict[str, str] = {}
    for directory in (*os.environ.get("PATH", "").split(os.pathsep), *_USUAL):
        for name in names:
            path = shutil.which(name, path=directory) if os.path.isabs(directory) else None
            if path:
                found.setdefault(os.path.realpath(path), path)
    return list(found.values())


# Calls that one process may run at the same time.
MAX_CONCURRENCY = 64


def output_of(*command: str) -> str | None:
    """What `command` prints; None if it can't be run or fails."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip()


def outside_system(*paths: str) -> tuple[str, ...]:
    """Those of `paths` that a confined process wouldn't see by itself."""
    return tuple(dict.fromkeys(path for path in paths if not (path + "/").startswith(_SYSTEM)))


def read_configuration(path: Path, most: int = _MAX_CONFIGURATION) -> str:
    """A project's configuration file as text; "" if it has none. Raises BuildProblem for more than `most` bytes."""
    try:
        if path.stat().st_size > most:
            raise BuildProblem(f"{path.name} is larger than {most} bytes: make it smaller")
        return path.read_text("utf-8-sig", "replace")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""


def algorithm_name(project: Path) -> str:
    """The member ``algoname`` of the project's ``algorithmia.conf``. Raises BuildProblem."""
    try:
        name = json.loads(read_configuration(project / "algorithmia.conf"))["algoname"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        name = None
    if not isinstance(name, str) or not name or "/" in name or name.startswith("."):
        raise BuildProblem("algorithmia.conf must be a JSON object whose member algoname is the algorithm's name")
    return name


def concurrency(project: Path) -> int:
    """The member ``concurrency`` of the project's ``algorithmia.conf``: how many calls one process of the algorithm
    bears at the same time; 1 if it says nothing. Raises BuildProblem."""
    try:
        found = json.loads(read_configuration(project / "algorithmia.conf")).get("concurrency", 1)
    except (OSError, ValueError, AttributeError, RecursionError):
        return 1  # whatever is wrong with the file, others say it
    if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= MAX_CONCURRENCY:
        raise BuildProblem(
            f"concurrency in algorithmia.conf is {str(found)[:60]!r}: make it a number from 1 to {MAX_CONCURRENCY}"
        )
    return found


def entry_point(project: Path, suffixes: Iterable[str]) -> str:
    """The file, relative to `project`, that holds the algorithm: ``src/NAME`` or ``src/Algorithm`` with one of
    `suffixes`. Raises BuildProblem if there is none."""
    suffixes = tuple(suffixes)
    name = algorithm_name(project)
    for stem in dict.fromkeys((name, "Algorithm", "algorithm")):
        for suffix in suffixes:
            if (project / "src" / (stem + suffix)).is_file():
                return f"src/{stem}{suffix}"
    raise BuildProblem(
        f"there is no src/{name}{suffixes[0]} (nor src/Algorithm{suffixes[0]}): the algorithm's code goes there"
    )
