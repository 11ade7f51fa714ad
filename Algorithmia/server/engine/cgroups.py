"""What a process tree may use, kept by the kernel: a control group for each process that the engine starts.

Both versions of control groups serve. The groups lie below the server's own, if it may write there, and carry its
process id: whatever an earlier server left behind is found by that, and removed.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .survivors import began

log = logging.getLogger("algorithmia.engine")

_SHELL = "/bin/sh"
# The shell itself goes in before it becomes the program: nothing of that ever runs outside.
_JOIN = 'for group do shift; [ "$group" = -- ] && break; echo 0 >"$group/cgroup.procs" || exit 125; done; exec "$@"'

_NAME = re.compile(r"algorithmia-(\d+)-(\d+)-\w+")
_PATIENCE = 5.0  # for killed processes to be gone
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class _Names:
    """What the files of one version are called."""

    memory: str
    swap: str
    events: str
    stat: tuple[bytes, ...]


_V1 = _Names(
    "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.oom_control", (b"total_rss ", b"total_shmem ")
)
_V2 = _Names("memory.max", "memory.swap.max", "memory.events", (b"anon ", b"shmem "))


class Group:
    """The control group of one process and all that it starts.

    When it has no memory left the kernel ends its largest process. ``memory.oom.group`` of version 2, which would end
    all of them, stays off: an algorithm survives a greedy child there as it does in version 1, and can say so itself.

    directories  one of version 2; of version 1 that of the memory, then that of the process ids if there is one
    """

    def __init__(self, directories: tuple[Path, ...], names: _Names) -> None:
        self._directories = directories
        self._names = names

    def joined(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """`command`, in the group before it runs."""
        return (_SHELL, "-c", _JOIN, "sh", *map(str, self._directories), "--", *command)

    def memory(self) -> int:
        """Bytes that the processes hold and can't be taken from them: theirs, and files in their /tmp."""
        text = b"\n" + _read(self._directories[0] / "memory.stat")
        total = 0
        for name in self._names.stat:
            _, found, rest = text.partition(b"\n" + name)
            if found:
                total += int(rest.split(b"\n", 1)[0])
        return total

    def kills(self) -> int:
        """How many processes of the group the kernel has ended for want of memory."""
        for line in _read(self._directories[0] / self._names.events).splitlines():
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
        return 0

    def limit(self, memory: int, processes: int) -> None:
        """Set what the group may use; 0 is no limit. Raises OSError."""
        first, last = self._directories[0], self._directories[-1]
        if memory:
            _write(first / self._names.memory, memory)
            # What is swapped out counts: in version 1 with the rest, in version 2 apart. Some kernels count no swap.
            with contextlib.suppress(OSError):
                _write(first / self._names.swap, memory if self._names is _V1 else 0)
        if processes and (last / "pids.max").exists():
            _write(last / "pids.max", processes)

    def remove(self) -> None:
        """End what is left in the group, and remove it. Blocks until that is gone."""
        end = time.monotonic() + _PATIENCE
        pause = 0.001
        while not self._removed():
            self._kill()
            if time.monotonic() > end:
                log.warning("a control group can't be removed", extra={"path": str(self._directories[0])})
                return
            time.sleep(pause)
            pause = min(0.1, 2 * pause)

    def _removed(self) -> bool:
        is_gone = True
        for directory in self._directories:
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                continue
            except OSError:
                is_gone = False
        return is_gone

    def _kill(self) -> None:
        for directory in self._directories:
            if (directory / "cgroup.kill").exists():
                with contextlib.suppress(OSError):
                    _write(directory / "cgroup.kill", 1)
                continue
            with contextlib.suppress(OSError):
                _write(directory / "pids.max", 0)  # or it might fork faster than it is killed
            for pid in _read(directory / "cgroup.procs").split():
                with contextlib.suppress(OSError):
                    os.kill(int(pid), signal.SIGKILL)


class Groups:
    """Where the groups of this server are made."""

    def __init__(self, directories: tuple[Path, ...], names: _Names) -> None:
        self._directories = directories
        self._names = names
        self._prefix = f"algorithmia-{os.getpid()}-{began(os.getpid())}-"

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What the paths of its groups begin with; numbers follow."""
        return tuple(str(directory / self._prefix) for directory in self._directories)

    def make(self, memory: int, processes: int) -> Group:
        """A new group that may use so many bytes and processes; 0 is no limit. Raises OSError."""
        name = f"{self._prefix}{next(_numbers)}"
        group = Group(tuple(directory / name for directory in self._directories), self._names)
        try:
            for directory in self._directories:
                (directory / name).mkdir(mode=0o755)
            group.limit(memory, processes)
        except OSError:
            group.remove()
            raise
        return group

    def sweep(self) -> None:
        """Remove the groups of servers that are gone, with what still runs in them. Blocks."""
        for directory in self._directories:
            for path in directory.glob("algorithmia-*"):
                found = _NAME.fullmatch(path.name)
                if found and began(int(found[1])) != int(found[2]):
                    Group((path,), self._names).remove()


def find(proc: Path = Path("/proc/self")) -> Groups | None:
    """Where groups can be made that limit memory; None if nowhere. Changes nothing in version 1.

    proc  what tells of this process's groups and of mounts
    """
    own = dict(_own(proc))
    for kind in ("memory", ""):
        base = own.get(kind)
        if base is None or not os.access(base, os.W_OK | os.X_OK):
            continue
        if kind:
            pids = own.get("pids")
            has_pids = pids is not None and os.access(pids, os.W_OK | os.X_OK)
            groups = Groups((base, pids) if pids is not None and has_pids else (base,), _V1)
        elif _delegates(base):
            groups = Groups((base,), _V2)
        else:
            continue
        try:
            groups.make(1 << 30, 16).remove()
        except OSError:
            continue
        return groups
    return None


def _own(proc: Path) -> Iterator[tuple[str, Path]]:
    """The server's own groups, by controller of version 1, or "" for version 2."""
    paths: dict[str, str] = {}
    for line in _read(proc / "cgroup").decode().splitlines():
        _, names, place = line.split(":", 2)
        paths.update(dict.fromkeys(names.split(","), place))
    for line in _read(proc / "mountinfo").decode().splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(), after.split()[:3]
        root, point = fields[3], fields[4].encode().decode("unicode_escape")
        controllers = options.split(",") if kind == "cgroup" else [""] if kind == "cgroup2" else []
        for controller in controllers:
            path = paths.get(controller)
            if path is None or path.startswith("/.."):
                continue
            inner = os.path.relpath(path, root)
            if not inner.startswith(".."):
                yield controller, Path(point) / inner


def _delegates(base: Path) -> bool:
    """Whether groups below `base`, of version 2, can be limited; sees to it if that can be had."""
    wanted = {b"memory", b"pids"} & set(_read(base / "cgroup.controllers").split())
    if b"memory" not in wanted:
        return False
    if wanted <= set(_read(base / "cgroup.subtree_control").split()):
        return True
    order = b" ".join(b"+" + name for name in sorted(wanted)).decode()
    for is_again in (False, True):
        try:
            _write(base / "cgroup.subtree_control", order)
        except OSError as problem:
            # Processes live in the leaves of the tree. The server makes way if it's alone; others aren't its to move.
            alone = [str(os.getpid()).encode()]
            if problem.errno != errno.EBUSY or is_again or _read(base / "cgroup.procs").split() != alone:
                return False
            leaf = base / f"algorithmia-{os.getpid()}-{began(os.getpid())}-server"
            try:
                leaf.mkdir(exist_ok=True)
                _write(leaf / "cgroup.procs", 0)
            except OSError:
                return False
        else:
            return True
    return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _write(path: Path, value: int | str) -> None:
    with open(path, "w") as handle:
        handle.write(str(value))
