"""What builds leave in the state directory, compared with the rows: whatever no row stands for is removed. Blocks."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from pathlib import Path

from ..db.values import is_id
from . import tree
from .records import SUCCEEDED, BuildRecords

_KEY = re.compile(r"[0-9a-f]{64}")
_TAIL = 8192  # more than the last line of a log
# Dependencies that no build uses are kept for a while: of a build that failed later on, say, or was deleted.
_KEEP_UNUSED = 7 * 24 * 3600.0


def end_log(path: Path, last: str) -> None:
    """Make `last` the last line of the log at `path`, if that has no end. Failures get a log if they have none."""
    is_failure = last.startswith("FAILED: ")
    if is_failure:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if is_failure else 0)
    with contextlib.suppress(OSError), open(os.open(path, flags, 0o600), "r+b") as handle:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(0, size - _TAIL))
        lines = handle.read().splitlines()
        if not lines or not lines[-1].startswith((b"SUCCEEDED: ", b"FAILED: ")):
            handle.write(f"\n{last}\n".encode())
            handle.flush()
            os.fsync(handle.fileno())


def sweep_builds(directory: Path, records: BuildRecords) -> None:
    """Remove the directories of builds that did not succeed, and everything of builds that have no row.

    Only while nothing is being built.
    """
    if not directory.is_dir():
        return
    names = [(path, path.name.partition(".")[0]) for path in directory.iterdir()]
    status = records.kept(build_id for _, build_id in names if is_id(build_id))
    for path, build_id in names:
        is_log = path.name == f"{build_id}.log"
        if build_id not in status or (not is_log and (path.suffix or status[build_id] != SUCCEEDED)):
            tree.remove(path)


def sweep_environments(directory: Path, records: BuildRecords) -> None:
    """Remove half-made dependencies, and those that no build has used for a week."""
    if not directory.is_dir():
        return
    used: set[str] | None = None
    for path in directory.iterdir():
        if path.suffix == ".tmp":
            tree.remove(path)
        if path.suffix or not _KEY.fullmatch(path.name):
            continue
        mark = directory / f"{path.name}.json"
        try:
            age = time.time() - float(mark.stat().st_mtime)
            json.loads(mark.read_bytes())
        except (OSError, ValueError):
            age = float("inf")
        if age < _KEEP_UNUSED:
            continue
        if age != float("inf"):
            if used is None:
                used = {key for runtime in records.runtimes() for key in _KEY.findall(runtime)}
            if path.name in used:
                continue
        mark.unlink(missing_ok=True)  # first, so that nobody takes half of it for the whole
        tree.remove(path)
    for mark in directory.glob("*.json"):
        if not (directory / mark.stem).is_dir():
            mark.unlink(missing_ok=True)


def sweep_caches(directory: Path) -> None:
    """Remove caches that were being thrown away."""
    for path in directory.glob("*/*.*"):
        tree.remove(path)
