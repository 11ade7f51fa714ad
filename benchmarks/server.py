"""A platform in a process of its own that is started and killed again and again, for benchmarks and fault tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks import harness


class Server:
    """The server process of `home`, started anew after each death, on its first port; `variables` are added to its
    environment."""

    def __init__(self, home: Path, *arguments: str, **variables: str) -> None:
        self._arguments = arguments
        self._variables = variables
        self.state = home / ".algorithmia" / "platform"
        self._home = home
        self._child: subprocess.Popen | None = None
        self.port = 0

    def spawn(self) -> None:
        """Start it; it isn't ready yet."""
        command = [sys.executable, "-m", "Algorithmia.server.main", "--user", "tester", "--port", str(self.port)]
        with open(self._home / "server.log", "ab") as log:
            self._child = subprocess.Popen(
                [*command, "--log-level", "warning", *self._arguments],
                env=harness.our_environment(self._home, **self._variables),
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Raises RuntimeError, with its log, if it doesn't come up."""
        assert self._child is not None
        line = harness.first_line(self._child)
        if not line.startswith("Serving on "):
            raise RuntimeError(f"the server did not come back: {line!r}\n{self.log()[-3000:]}")
        self.port = int(line.rpartition(":")[2])

    def kill(self) -> None:
        """SIGKILL."""
        assert self._child is not None
        self._child.kill()
        self.end()

    def end(self) -> None:
        """End it in good order, if it runs."""
        if self._child is not None:
            harness.end(self._child)
            self._child = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The number of its process, while it runs."""
        assert self._child is not None
        return self._child.pid

    def key(self, profile: str = "local") -> str:
        """The key of its first account, ``tester``, or that of another `profile`."""
        text = (self._home / ".algorithmia" / "config").read_text()
        lines = text.partition(f"[profiles.{profile}]")[2].splitlines()
        return next(json.loads(line.partition("=")[2]) for line in lines if line.startswith("api_key"))

    def log(self) -> str:
        return (self._home / "server.log").read_text()
