"""The SDK and the command line beside other clients, all talking to the same small echo server."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import harness

HERE = Path(__file__).resolve().parent
KEY = "simBenchmark0000000000000001"


@contextlib.contextmanager
def echo_server(home: Path) -> Iterator[str]:
    """The address of an echo server in a process of its own."""
    command = [sys.executable, str(HERE / "echo_server.py")]
    with harness.process(command, harness.clean_environment(home), stdout=subprocess.PIPE) as child:
        yield "http://127.0.0.1:%d" % int(harness.first_line(child))


def write_profile(home: Path, address: str) -> None:
    """A profiles file that both our command line and the old one read."""
    directory = home / ".algorithmia"
    directory.mkdir(parents=True, exist_ok=True)
    values = {"api_key": KEY, "api_server": address, "ca_cert": "", "bearer_token": ""}
    lines = ["[profiles.default]", *(f'{name} = "{value}"' for name, value in values.items())]
    (directory / "config").write_text("\n".join(lines) + "\n")
