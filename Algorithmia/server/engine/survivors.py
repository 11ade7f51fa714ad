"""Ends what would outlive a server that is killed: a shell that waits for that, and does nothing else.

The kernel ends confined processes with the server, but not from their first moment on. bubblewrap arranges for that in
steps, and looks at none of them whether it is too late already: a server that is killed meanwhile leaves a sandbox that
waits for good, or whose program goes on. Nothing else that the end of a process or of its descriptors brings about ends
the first process of a namespace: it takes no such signals.

So there is this shell. The server holds one end of a pipe, and the kernel closes it. What the server has started is
known by a mark in its command line, or by its control group. The shell is nobody's child, so that whoever counts the
server's processes finds those that work.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path

_SHELL = "/bin/sh"
# Several looks: what is found may just be making another process, and what has only begun gets its mark in a moment.
# The mark is put together here, lest it find itself.
_SCRIPT = r"""
exec 3<&0
{
    read -r _ <&3
    mark="algorithmia-$1"
    shift
    for pause in 0 .02 .05 .1 .2 .4 .8; do
        sleep "$pause"
        for found in $(
            echo "$mark" | grep -lszxFf - [0-9]*/cmdline
            for group; do cat "$group"[0-9]*/cgroup.procs; done
        ); do
            kill -9 "${found%/cmdline}"
        done
    done
} &
"""


class Survivors:
    """What this process has started and may leave behind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0  # whose: copies of the process have survivors of their own
        self._pipe = -1
        self._who = ""

    def watch(self, groups: Iterable[str]) -> str:
        """See to it that somebody waits for this process's end; an argument for the command lines of what is to end
        then. Raises OSError.

        groups  what the names of its control groups begin with, numbers following
        """
        with self._lock:
            if self._pid != os.getpid():
                self._pid, self._pipe = os.getpid(), -1
                self._who = f"{self._pid}-{began(self._pid)}"
            if not self._is_watched() and os.path.exists("/proc/self/cmdline") and shutil.which("grep"):
                self._watch(tuple(groups))
            return f"algorithmia-{self._who}"

    def _is_watched(self) -> bool:
        if self._pipe < 0:
            return False
        poll = select.poll()
        poll.register(self._pipe, 0)  # of an end without another one is told in any case
        return not poll.poll(0)

    def _watch(self, groups: tuple[str, ...]) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
        reading, writing = os.pipe()
        try:
            # It leaves the one that waits behind, and ends.
            subprocess.run(
                (_SHELL, "-c", _SCRIPT, "sh", self._who, *groups),
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/proc",
                env={"PATH": os.defpath, "LC_ALL": "C"},
                start_new_session=True,
                check=False,
            )
        except BaseException:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        self._pipe = writing


survivors = Survivors()


def began(pid: int) -> int:
    """When the process began, in the kernel's count, since ids are used again; 0 if it's gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0
    return int(fields[19]) if len(fields) > 19 else 0
