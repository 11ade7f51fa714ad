"""Python 3: one environment for every CPython 3 on the machine."""

from __future__ import annotations

import sys
from pathlib import Path

from ...engine.base import Runtime
from ..base import Environment, Language

_HERE = Path(__file__).parent
RUNNER = _HERE / "runner.py"
_PACKAGE = _HERE.parents[2]  # Algorithmia


class Python3(Language):
    """See `Language`."""

    name = "python3"
    display_name = "Python 3.x (Environments)"
    aliases = ("python3-1",)
    req_files = ("requirements.txt",)
    artifacts = (("/home/algo/.local", "/home/algo/.local/"), ("/opt/algorithm", "/opt/algorithm/"))

    @property
    def directory(self) -> Path:
        return _HERE

    def find_environments(self) -> list[Environment]:
        """See `Language.find_environments`."""
        version = ".".join(map(str, sys.version_info[:3]))
        short = "{}{}".format(*sys.version_info[:2])
        return [
            Environment(
                f"python{short}",
                self.name,
                f"Python {version}",
                f"CPython {version}",
                sys.executable,
                version,
                own_readable(),
            )
        ]

    def runtime(self, project: Path, environment: Environment, dependencies: Path | None) -> Runtime:
        """See `Language.runtime`."""
        return own_runtime()


def own_readable() -> tuple[str, ...]:
    """What the server's own interpreter, its packages and the SDK need to be read."""
    return tuple(dict.fromkeys((sys.prefix, sys.base_prefix, str(_PACKAGE), str(_PACKAGE.parent / "adk.py"))))


def own_runtime() -> Runtime:
    """How projects without dependencies run on the interpreter that the server itself runs on."""
    # -I: neither the environment nor the directory that the runner lies in decides what is imported.
    return Runtime((sys.executable, "-I", "-B", str(RUNNER)), "frames", {}, own_readable())


LANGUAGE = Python3()
