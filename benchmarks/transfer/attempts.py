"""One run of a client through the proxy, while it or the server may be killed; the server comes back meanwhile."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import harness
from benchmarks.server import Server

from .proxy import DOWN, DUPLICATE, FLIP, UP, Fault, Proxy

LIMIT = 150.0
_TICK = 0.02
_PROGRAM = Path(__file__).resolve().parent / "sdk_copy.py"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended.

    status  exit status of the client; negative: the signal that ended it
    sent, received  bytes that passed the proxy
    faults  what was done to it
    """

    status: int
    output: str
    killed: bool
    hung: bool
    sent: int
    received: int
    faults: tuple[Fault, ...]

    @property
    def succeeded(self) -> bool:
        return self.status == 0

    @property
    def is_damaged(self) -> bool:
        """What arrived may not be what was sent."""
        return any(fault.kind in (FLIP, DUPLICATE) for fault in self.faults)

    @property
    def is_honest(self) -> bool:
        """It did what it said, said what went wrong in words, or was killed."""
        if self.killed or self.succeeded:
            return True
        return not self.hung and 0 < self.status < 10 and "Traceback" not in self.output and bool(self.output.strip())


class Clients:
    """Runs clients of `server` through `proxy`; their home, with profile and state, is `home`."""

    def __init__(self, server: Server, proxy: Proxy, home: Path, chance: random.Random) -> None:
        self.deaths = 0
        self._server = server
        self._proxy = proxy
        self._home = home
        self._chance = chance
        self._child: subprocess.Popen | None = None
        self._was_killed = False
        self._server_died = threading.Event()

    def kill_client(self) -> None:
        """For a fault of the proxy, on whose thread it runs."""
        child = self._child
        if child is not None and child.poll() is None:
            self._was_killed = True
            child.kill()

    def kill_server(self) -> None:
        """As `kill_client`."""
        if not self._server_died.is_set():
            os.kill(self._server.pid, signal.SIGKILL)
            self._server_died.set()

    def attempt(self, command: list[str], faults: tuple[Fault, ...] = ()) -> Outcome:
        """Run `command`, with `faults`, to its end; afterwards the server is up."""
        self._proxy.arm(faults)
        self._was_killed = False
        environment = harness.our_environment(
            self._home, ALGORITHMIA_API=f"http://127.0.0.1:{self._proxy.port}", ALGORITHMIA_API_KEY=self._server.key()
        )
        with tempfile.TemporaryFile() as output:
            with harness.process(command, environment, stdout=output, stderr=output) as child:
                self._child = child
                hung = not self._wait(child)
            self._child = None
            passed, done = self._proxy.passed, tuple(self._proxy.done)
            self._proxy.arm()  # no fault comes late
            self._revive()
            output.seek(0)
            text = output.read().decode("utf-8", "replace")
        return Outcome(child.returncode, text, self._was_killed, hung, passed[UP], passed[DOWN], done)

    def _wait(self, child: subprocess.Popen) -> bool:
        """Whether it ended by itself."""
        deadline = time.monotonic() + LIMIT
        while child.poll() is None:
            if time.monotonic() > deadline:
                return False
            self._revive()
            time.sleep(_TICK)
        return True

    def _revive(self) -> None:
        if self._server_died.is_set():
            time.sleep(self._chance.uniform(0.0, 0.3))
            self.deaths += 1
            self._server.end()
            self._server.spawn()
            self._server.wait_until_ready()
            self._server_died.clear()


def copy_command(tool: str, way: str, local: Path, uri: str, is_tree: bool) -> list[str]:
    """The command by which `tool` (``algo`` or ``sdk``) moves a file or a tree of files."""
    if tool == "sdk":
        kind = "directory" if is_tree else "file"
        return [sys.executable, str(_PROGRAM), kind, way, uri, str(local)]
    operands = [str(local), uri] if way == UP else [uri, str(local)]
    return [*harness.our_algo(), "cp", *(["-r"] if is_tree else []), *operands]
