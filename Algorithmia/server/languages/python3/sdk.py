"""The directory from which Python algorithms import this platform's SDK: a copy, so that they see nothing else of the
server's packages.

``core/`` holds `Algorithmia` (with what the runner needs of the server) and `adk`; ``libs/`` what the SDK depends on,
for algorithms without dependencies of their own. Runtimes name it by the placeholder `SDK`, as every release of the
platform has a directory of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from ...._version import __version__

SDK = "{sdk}"

_PACKAGE = Path(__file__).parents[3]
# What the SDK imports, and what that imports; all of it pure Python, or with a pure form beside the compiled one.
LIBRARIES = ("requests", "urllib3", "certifi", "idna", "charset_normalizer", "six", "toml")
_SERVER_PARTS = (
    "server/__init__.py",
    "server/engine/__init__.py",
    "server/engine/protocol.py",
    "server/languages/__init__.py",
    "server/languages/python3/__init__.py",
    "server/languages/python3/runner.py",
)
_DURABLE = "durable"  # the file that says that all others are on disk
_LEFT_OUT = frozenset(("server", "cli", "__pycache__"))


class Provision:
    """Makes the directory below `root` when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._found: Path | None = None
        self._compiled: set[str] = set()
        self._lock = threading.Lock()

    def directory(self, program: str) -> Path:
        """The directory, fit for the interpreter `program`; blocks when it has to be made."""
        if self._found is not None and program in self._compiled:
            return self._found
        with self._lock:
            if self._found is None:
                self._found = self._made()
            if program not in self._compiled:
                # Never a program that a build has written.
                if not program.startswith(str(self._root.parent) + os.sep):
                    _compile(self._found, program)
                self._compiled.add(program)
            return self._found

    def _made(self) -> Path:
        sources = dict(_sources())
        digest = hashlib.sha256()
        for name, path in sorted(sources.items()):
            status = path.stat()
            digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
        target = self._root / f"sdk-{__version__}-{digest.hexdigest()[:12]}"
        if (target / _DURABLE).exists():
            return target
        # Made but perhaps not brought to disk: the machine may have lost power since.
        shutil.rmtree(target, ignore_errors=True)
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = Path(tempfile.mkdtemp(prefix="sdk-", suffix=".tmp", dir=self._root))
        for name, path in sources.items():
            copied = temporary / name
            copied.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            shutil.copyfile(path, copied)
            shutil.copystat(path, copied)  # compiled files hold the times of their sources
            copied.chmod(0o644)
        # The server creates files for nobody else's eyes, but workers may run as another user.
        for directory, _, _ in os.walk(temporary):
            os.chmod(directory, 0o755)
        os.rename(temporary, target)
        # In the background, since the first call of all waits for this.
        threading.Thread(target=_make_durable, args=(target,), name="sdk", daemon=True).start()
        return target


def _make_durable(directory: Path) -> None:
    os.sync()
    with contextlib.suppress(OSError):  # the home may have been removed meanwhile
        (directory / _DURABLE).touch()
    for other in directory.parent.glob("sdk-*"):  # of releases that ran before
        if other != directory:
            shutil.rmtree(other, ignore_errors=True)


def _sources() -> Iterator[tuple[str, Path]]:
    """``(name in the directory, file)`` of everything that belongs into it."""
    for path in _PACKAGE.rglob("*.py*"):
        parts = path.relative_to(_PACKAGE).parts
        if parts[0] not in _LEFT_OUT and "__pycache__" not in parts:
            yield f"core/Algorithmia/{'/'.join(parts)}", path
            yield from _compiled(path, f"core/Algorithmia/{'/'.join(parts)}")
    for part in _SERVER_PARTS:
        yield f"core/Algorithmia/{part}", _PACKAGE / part
        yield from _compiled(_PACKAGE / part, f"core/Algorithmia/{part}")
    yield "core/adk.py", _PACKAGE.parent / "adk.py"
    for library in LIBRARIES:
        spec = PathFinder.find_spec(library)
        if spec is None or spec.origin is None:
            continue
        origin = Path(spec.origin)
        if origin.name != "__init__.py":
            yield f"libs/{origin.name}", origin
            continue
        for path in origin.parent.rglob("*"):
            if path.is_file():
                yield f"libs/{library}/{path.relative_to(origin.parent).as_posix()}", path


def _compiled(source: Path, name: str) -> Iterator[tuple[str, Path]]:
    compiled = Path(importlib.util.cache_from_source(str(source)))
    if compiled.is_file():
        yield f"{os.path.dirname(name)}/__pycache__/{compiled.name}", compiled


def _compile(directory: Path, program: str) -> None:
    """Compile the directory's modules for `program`, so that its workers don't do that whenever they start.

    Failing is no harm: it costs time only.
    """
    if program == base_program():
        return  # copied with the sources
    mark = directory / f"compiled-{hashlib.sha256(program.encode()).hexdigest()[:16]}"
    if mark.exists():
        return
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            (program, "-I", "-S", "-m", "compileall", "-q", str(directory)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        mark.touch()


def base_program() -> str:
    """The interpreter that the server runs on, outside any virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
