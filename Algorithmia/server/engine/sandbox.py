"""Running programs that nobody trusts: what they see, where they write, what they may use up.

A `Sandbox` starts a process. `Unconfined` merely limits it; `Bubblewrap` also shows it nothing but what it was given.
"""

from __future__ import annotations

import logging
import os
import resource
import socket
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from . import cgroups, ownership
from .cgroups import Groups
from .process import Process, start
from .survivors import survivors
from .watchdog import Watchdog

log = logging.getLogger("algorithmia.engine")

_PRLIMIT = "/usr/bin/prlimit"
SETPRIV = "/usr/bin/setpriv"
# The process dies with the server from now on: unless the server was quicker. What shells add to variables is left out.
_IF_CHILD = '[ "$PPID" = "$0" ] && exec /usr/bin/env -u PWD -u OLDPWD -u SHLVL -u _ "$@"'
_DIES_WITH_US = ("--pdeathsig", "KILL", "--", "/bin/sh", "-c", _IF_CHILD)

# What the C library doesn't take from strangers in a privileged program.
_UNSAFE = (
    "GCONV_", "GETCONF_", "GLIBC_", "HOSTALIASES", "LD_", "LOCALDOMAIN", "LOCPATH", "MALLOC_", "NIS_PATH", "NLSPATH",
    "RESOLV_", "RES_OPTIONS", "TZDIR",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process tree may use. Sizes in bytes; 0 is no limit.

    memory         what all processes have in memory together, with what lies in a private /tmp
    address_space  of each process, used or not: Java's and Node's take far more than they ever use
    cpu_seconds    processor time of each process
    scratch        what a private /tmp holds, or the scratch directory of a process that has nothing else to write to
    """

    memory: int = 0
    address_space: int = 0
    scratch: int = 0
    processes: int = 512
    open_files: int = 1024
    file_size: int = 0
    cpu_seconds: int = 0


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a process gets.

    directory    working directory; one of the readable or writable ones, or below
    readable     directories and files that it may read, at the paths that they have outside
    writable     directories that it may also write to
    scratch      the process's private directory outside: its HOME and TMPDIR, unless the sandbox has a private /tmp
    fifo         a FIFO outside, that the process finds at /tmp/algoout where /tmp is private
    network      whether it reaches the internet; otherwise it has a loopback of its own and nothing else
    descriptors  descriptors that it inherits besides the standard ones
    listening    a port of the loopback in a network of its own, and who takes the socket that listens there, on any
                 thread; only for a sandbox that `listens`
    """

    directory: Path
    environment: Mapping[str, str]
    scratch: Path
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    fifo: str = ""
    network: bool = True
    descriptors: tuple[int, ...] = ()
    listening: tuple[int, Callable[[socket.socket], None]] | None = None
    limits: Limits = field(default_factory=Limits)


class Sandbox(Protocol):
    """Starts confined processes.

    name        "bubblewrap" or "none", as /health shows it
    is_private  whether a process sees a /tmp of its own; if not, TMPDIR points to its scratch directory
    parent      the process id that a started process has for its parent
    generations how far below what `start` returns the command itself is
    memory      what limits memory: "cgroup" (the kernel), or "watchdog" (the server, which looks every so often)
    network     how processes reach the internet: "private" (and nothing of the machine), or "shared" (as the machine)
    listens     whether it can listen in a process's own network
    """

    name: str
    is_private: bool
    generations: int
    memory: str
    network: str
    listens: bool

    @property
    def parent(self) -> int: ...

    def start(
        self,
        command: tuple[str, ...],
        confinement: Confinement,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.DEVNULL,
    ) -> Process:
        """Start `command` as the leader of a session and process group of its own. Raises OSError.

        Call it on a thread that lives as long as the server: with that thread's end the process ends too."""
        ...

    def status(self, returncode: int) -> int:
        """How the command ended, from how the started process did: negative for a signal, as `subprocess` has it."""
        ...

    def lend(self, path: Path) -> None:
        """Make what is in `path` writable for processes that get it as `writable`. Blocks. Raises OSError."""

    def reclaim(self, path: Path) -> None:
        """Take `path` back once no process writes to it: the server's, and readable for processes. Blocks."""


class Unconfined:
    """No sandbox: the process is the server's user, with limits, a clean environment and a directory of its own."""

    name = "none"
    is_private = False
    generations = 0
    network = "shared"
    listens = False

    def __init__(self, groups: Groups | None = None) -> None:
        self.memory = "cgroup" if groups is not None else "watchdog"
        self._groups = groups
        self._watchdog = Watchdog()

    @property
    def parent(self) -> int:
        """See `Sandbox`."""
        return os.getpid()

    def start(
        self,
        command: tuple[str, ...],
        confinement: Confinement,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.DEVNULL,
    ) -> Process:
        """See `Sandbox.start`."""
        if os.access(SETPRIV, os.X_OK):
            command = (SETPRIV, *_DIES_WITH_US, str(os.getpid()), *command)
        if self._groups is not None:
            survivors.watch(self._groups.prefixes)
        limits = confinement.limits
        scratch = 0 if confinement.writable else limits.scratch
        process = start(
            # Without a namespace of its own, processes would be counted with all others of the server's user.
            limited(command, replace(limits, processes=0, file_size=limits.file_size or scratch)),
            self._groups,
            limits.memory,
            limits.processes,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=confinement.directory,
            env=dict(confinement.environment),
            pass_fds=confinement.descriptors,
            close_fds=True,
            start_new_session=True,
        )
        with process.or_abandoned():
            self._watchdog.watch(process, 0 if self._groups else limits.memory, str(confinement.scratch), scratch)
        return process

    def status(self, returncode: int) -> int:
        """See `Sandbox.status`."""
        return returncode

    def lend(self, path: Path) -> None:
        """See `Sandbox.lend`: processes are the server's user."""

    def reclaim(self, path: Path) -> None:
        """See `Sandbox.reclaim`: a later server may have a sandbox."""
        ownership.take_back(path)


class NoSandbox(Exception):
    """A sandbox is required and there is none here; the message says why and what to do."""


def is_unsafe(name: str) -> bool:
    """Whether the variable `name` could make programs that prepare a process do what an algorithm's author wants."""
    return name.startswith(_UNSAFE)


def limited(command: tuple[str, ...], limits: Limits) -> tuple[str, ...]:
    """`command`, within `limits` once it runs."""
    if not os.access(_PRLIMIT, os.X_OK):  # macOS
        return command
    wanted = {
        "nofile": limits.open_files,
        "nproc": limits.processes,
        "fsize": limits.file_size,
        "cpu": limits.cpu_seconds,
        "as": limits.address_space,
    }
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY:
        wanted["nofile"] = min(wanted["nofile"], hard)
    flags = [f"--{name}={value}" for name, value in wanted.items() if value]
    return (_PRLIMIT, "--core=0", *flags, "--", *command)


def detect(wanted: str = "auto", hidden: Iterable[Path] = ()) -> Sandbox:
    """The sandbox to use: ``auto`` (the best that works here), ``require`` (raises NoSandbox if none does), ``off``.

    hidden  directories that no process may see, even where they lie inside one that it may
    """
    if wanted == "off":
        return Unconfined(_groups())
    if wanted not in ("auto", "require"):
        raise NoSandbox(f"--sandbox {wanted}: choose auto, require or off")
    from .bubblewrap import Bubblewrap, find

    reasons = []
    groups = _groups()
    for program in find():
        sandbox = Bubblewrap(program, hidden, groups)
        try:
            sandbox.probe()
        except NoSandbox as problem:
            reasons.append(str(problem))
            continue
        sandbox.tell_of_network(wanted == "require")
        sandbox.load_filter(wanted == "require")
        return sandbox
    reason = "; ".join(reasons) or "there is no bwrap: install bubblewrap"
    if wanted == "require":
        raise NoSandbox(f"algorithms can't be confined here ({reason}). Remedy that, or choose --sandbox auto or off")
    log.warning("NOT CONFINED: algorithms can read and change whatever the platform's own user can (%s)", reason)
    return Unconfined(groups)


def _groups() -> Groups | None:
    groups = cgroups.find()
    if groups is None:
        log.warning("memory is limited by a look now and then: there is no control group that the platform may use")
    else:
        groups.sweep()
    return groups
