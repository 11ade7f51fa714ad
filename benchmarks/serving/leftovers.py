"""What a platform has left behind: processes, descriptors, temporary files."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.embedded import memory
from benchmarks.server import Server

_DATABASE_CONNECTIONS = 64  # as many as there may be threads; SQLite keeps the descriptors of those that it closed
_GATEWAY = "gateway.process"  # in the command lines of those processes
_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Inventory:
    """What there is at a moment when no worker runs and nobody is connected."""

    processes: tuple[str, ...]
    descriptors: Counter[str]
    files: tuple[str, ...]

    @classmethod
    def of(cls, server: Server, temporary: Path) -> Inventory:
        """Processes below the server's, its descriptors, files in its temporary and work directories."""
        processes = tuple(memory.command_line(pid)[:200] for pid in started_by(server))
        places = (temporary, server.state / "work", server.state / "blobs" / "staging")
        files = tuple(path for place in places for path in _files(place))
        return cls(processes, descriptors(server.pid), files)

    def compared_with(self, before: Inventory) -> list[str]:
        """What there is more of than there was `before`."""
        found = [f"process left: {name}" for name in self.processes]
        more = self.descriptors - before.descriptors
        for name in tuple(more):
            if os.path.basename(name).startswith("platform.db") and self.descriptors[name] <= _DATABASE_CONNECTIONS:
                del more[name]  # those that were once needed are kept
        if more.total() > (before.descriptors - self.descriptors).total():
            found.append("descriptors left: " + ", ".join(f"{count} of {name}" for name, count in more.items()))
        found += [f"file left: {name}" for name in sorted(set(self.files) - set(before.files))]
        return found


def left_for_good(look: Callable[[], list[str]]) -> list[str]:
    """What `look` finds and goes on finding; what is only being removed is gone before long."""
    deadline = time.monotonic() + _PATIENCE
    while (found := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def gateways(server: Server) -> list[int]:
    """Process ids of the server's gateways."""
    return [pid for pid in memory.tree(server.pid) if _GATEWAY in memory.command_line(pid)]


def started_by(server: Server) -> list[int]:
    """Process ids of what the server has started but for its gateways, which stay."""
    return sorted(set(memory.tree(server.pid)) - {server.pid, *gateways(server)})


def descriptors(pid: int) -> Counter[str]:
    """What the process `pid` has open, and how many times; sockets and pipes without their numbers."""
    found: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found[os.readlink(entry).partition("[")[0]] += 1
    return found


def sockets(pid: int) -> list[str]:
    """The IPv4 and UNIX sockets of the process `pid`, as the kernel's tables have them, but for those of workers' own
    networks: of these nothing but their number."""
    known: dict[str, str] = {}
    for kind, column in (("tcp", 9), ("unix", 6)):
        for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]:
            known[line.split()[column]] = f"{kind} {line.strip()}"
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            name, _, number = os.readlink(entry).rstrip("]").partition("[")
            if name == "socket:":
                found.append(f"socket {entry.name}: {known.get(number, 'in another network')}")
    return found


def _files(place: Path) -> list[str]:
    """All that is below `place`, which may be changing."""
    return [os.path.join(path, name) for path, below, files in os.walk(place) for name in (*below, *files)]


def processes_naming(text: str) -> list[int]:
    """Processes, whoever's children they are now, whose command line has `text` in it."""
    numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in numbers if pid != os.getpid() and text in memory.command_line(pid)]


def control_groups(servers: list[int]) -> list[str]:
    """Directories of the control groups that the servers with these process ids made for their workers."""
    names = {f"algorithmia-{pid}-" for pid in servers}
    found = []
    for path, below, _ in os.walk("/sys/fs/cgroup"):
        own = [name for name in below if name.startswith("algorithmia-") and not name.endswith("-server")]
        found += [os.path.join(path, name) for name in own if any(map(name.startswith, names))]
    return found


def described(pid: int) -> str:
    """What is known of a process: its parent and state, where in the kernel it waits, its command line."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
        place = Path(f"/proc/{pid}/wchan").read_text()
    except OSError:
        return f"{pid}, gone by now"
    return f"{pid} of {parent}, {state} in {place}: {memory.command_line(pid)[:200]}"
