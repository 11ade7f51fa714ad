"""A process that a sandbox has started, with what belongs to it: its control group, its way to the network."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from typing import Any, Literal, Protocol

from . import memory
from .cgroups import Group, Groups


class Attachment(Protocol):
    """A way to the network.

    problem  why there is none, when there should be
    """

    problem: str

    def close(self) -> None: ...


class Process(subprocess.Popen[bytes]):
    """`dispose` of it once it has ended: until then something of it, or for it, may still run.

    ran_out  what it needed more of than it may, as far as something other than the kernel has found
    """

    def __init__(self, command: tuple[str, ...], group: Group | None, **options: Any) -> None:
        super().__init__(command, **options)
        self.group = group
        self.attachment: Attachment | None = None
        self.ran_out: Literal["", "memory", "scratch"] = ""
        self._lock = threading.Lock()
        self._is_disposed = False

    @property
    def is_held(self) -> bool:
        """Whether it hasn't been disposed of."""
        return not self._is_disposed

    def memory(self) -> int:
        """Bytes that it and its descendants have in memory."""
        return self.group.memory() if self.group is not None else memory.of_tree(self.pid)

    def why(self) -> Literal["", "memory", "scratch", "network"]:
        """What a process that was killed by SIGKILL had none left of, or never had; "" if that's not why."""
        if self.attachment is not None and self.attachment.problem:
            return "network"
        if not self.ran_out and self.group is not None and self.group.kills():
            return "memory"
        return self.ran_out

    def end(self, ran_out: Literal["", "memory", "scratch"] = "") -> None:
        """Kill it, from any thread, because it `ran_out` of something."""
        with self._lock:
            if self._is_disposed or self.returncode is not None:
                return
            self.ran_out = ran_out
            with contextlib.suppress(OSError):
                # The group: a sandbox that is still being made has processes that don't end with its first.
                os.killpg(self.pid, signal.SIGKILL)

    @contextlib.contextmanager
    def or_abandoned(self) -> Iterator[None]:
        """Nobody would know of the process if the block fails: it has gone then. OSError says that threads ran out."""
        try:
            yield
        except BaseException as problem:
            self.end()
            self.wait()
            self.dispose()
            if isinstance(problem, RuntimeError):  # of `Thread.start`
                raise OSError(str(problem)) from None
            raise

    def dispose(self) -> None:
        """End and remove whatever is left of it. Blocks."""
        with self._lock:
            self._is_disposed = True
        if self.attachment is not None:
            self.attachment.close()
        if self.group is not None:
            self.group.remove()


def start(
    command: tuple[str, ...], groups: Groups | None, memory_limit: int, processes: int, **options: Any
) -> Process:
    """Start `command` in a group of its own that may use so much, if there are `groups`. Raises OSError."""
    if groups is None:
        return Process(command, None, **options)
    group = groups.make(memory_limit, processes)
    try:
        return Process(group.joined(command), group, **options)
    except BaseException:
        group.remove()
        raise
