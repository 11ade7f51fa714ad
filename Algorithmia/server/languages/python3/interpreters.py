"""Finds the CPython interpreters of a machine: on the PATH, in the usual places, and where version managers put them.

An interpreter is asked who it is, since names lie: shims start others, links lead anywhere. Blocks.
"""

from __future__ import annotations

import glob
import json
import os
import re
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..toolchains import outside_system

_NAME = re.compile(r"python(\d(\.\d+)?)?")
# Old syntax: it is asked of every Python.
_WHO = (
    "import sys,json,platform;print(json.dumps([sys.executable,sys.prefix,getattr(sys,'base_prefix',sys.prefix),"
    "list(sys.version_info[:3]),sys.version_info[3],platform.python_implementation(),sys.maxsize>2**32]))"
)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One CPython outside any virtual environment. `version` is a triple; `prefix` is where it is installed."""

    program: str
    prefix: str
    version: tuple[int, int, int]

    @property
    def readable(self) -> tuple[str, ...]:
        """Directories that it needs and that a confined process wouldn't see by itself."""
        return readable(self.prefix, self.program)

    @property
    def text(self) -> str:
        """Its version, ``3.11.7``."""
        return ".".join(map(str, self.version))


def find(major: int) -> list[Interpreter]:
    """Every CPython `major` here, one for each minor version: the first that was found, with the highest patch of a
    version manager's."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        found = [interpreter for interpreter in pool.map(_ask, _candidates(major)) if interpreter is not None]
    best: dict[tuple[int, int], Interpreter] = {}
    for interpreter in found:
        if interpreter.version[0] == major:
            kept = best.setdefault(interpreter.version[:2], interpreter)
            if interpreter.version > kept.version:
                best[interpreter.version[:2]] = interpreter
    return [best[version] for version in sorted(best, reverse=True)]


def readable(prefix: str, program: str) -> tuple[str, ...]:
    """Directories that `program`, installed in `prefix`, needs and that a confined process wouldn't see by itself."""
    directory = os.path.dirname(os.path.realpath(program))
    return outside_system(prefix, *(() if directory.startswith(prefix + os.sep) else (directory,)))


def _candidates(major: int) -> list[str]:
    """Programs that may be such an interpreter, each file once; shims are left out, as they only start others."""
    home = os.path.expanduser("~")
    managers = [os.environ.get("PYENV_ROOT") or os.path.join(home, ".pyenv")]
    places = [directory for directory in os.environ.get("PATH", "").split(os.pathsep) if os.path.isabs(directory)]
    places += ["/usr/local/bin", "/usr/bin"]
    for root in managers:
        places += glob.glob(os.path.join(glob.escape(root), "versions", "*", "bin"))
    places += glob.glob(os.path.join(glob.escape(home), ".local/share/uv/python/*/bin"))
    places += glob.glob("/opt/python/*/bin")
    for root in ("miniconda3", "anaconda3", "miniforge3"):
        places.append(os.path.join(home, root, "bin"))
    found: dict[str, str] = {}
    for place in places:
        if os.path.basename(place) == "shims" or not os.path.isdir(place):
            continue
        for path in _in(place, major):
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def _in(place: str, major: int) -> Iterable[str]:
    try:
        names = os.listdir(place)
    except OSError:
        return []
    chosen = []
    for name in names:
        match = _NAME.fullmatch(name)
        if match and (match[1] or str(major)).startswith(str(major)):
            path = os.path.join(place, name)
            if os.path.isfile(path) and os.access(path, os.X_OK):
                chosen.append(path)
    return sorted(chosen, key=len, reverse=True)  # python3.11 says more than python


def _ask(program: str) -> Interpreter | None:
    environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    try:
        done = subprocess.run(
            (program, "-S", "-E", "-c", _WHO),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
            check=True,
            env=environment,
        )
        executable, prefix, base, version, level, implementation, is_64_bit = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if implementation != "CPython" or level != "final" or not is_64_bit:
        return None
    if prefix != base:  # a virtual environment: what it was made from will be found, too
        return None
    return Interpreter(os.path.realpath(executable or program), base, tuple(version))
