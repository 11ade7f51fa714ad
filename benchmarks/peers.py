"""The references' own virtual environments, made on first use below the work directory, never in ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

# Name of the environment: what is installed into it.
REQUIREMENTS = {
    "http": ("requests", "urllib3", "httpx"),
    "old": ("algorithmia==2.0.5",),
    "litserve": ("litserve",),
    "web": ("starlette", "uvicorn", "uvloop", "httptools", "fastapi"),
    "mlserver": ("mlserver", "uvloop<0.22"),  # its worker processes don't start with a later one
    "bentoml": ("bentoml",),
    "ray": ("ray[serve]",),
}


def default_workdir() -> Path:
    """Where the environments are kept between runs."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(cache) / "algorithmia-benchmarks"


class Peers:
    """Interpreters and commands of the references, below `workdir`."""

    def __init__(self, workdir: Path) -> None:
        self.workdir = workdir

    def prepare(self, name: str) -> None:
        """Make the environment `name` unless it is there. Needs a package index; raises CalledProcessError."""
        place = self._place(name)
        marker = place / "complete"
        if marker.exists() and marker.read_text() == self._wanted(name):
            return
        print(f"installing {', '.join(REQUIREMENTS[name])} for comparison", file=sys.stderr, flush=True)
        self.workdir.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        pip = [self.python(name), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *REQUIREMENTS[name]], check=True, timeout=600)
        marker.write_text(self._wanted(name))

    def python(self, name: str) -> str:
        return str(self._place(name) / "bin" / "python")

    def command(self, name: str, command: str) -> str:
        return str(self._place(name) / "bin" / command)

    def versions(self, name: str) -> dict[str, str]:
        """Versions of what was asked for."""
        wanted = [re.split(r"[\[=<]", requirement)[0] for requirement in REQUIREMENTS[name]]
        code = "import json, sys; from importlib.metadata import version; "
        code += "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
        return json.loads(subprocess.check_output([self.python(name), "-I", "-c", code, *wanted]))

    def _place(self, name: str) -> Path:
        return self.workdir / f"{name}-{sys.version_info.major}.{sys.version_info.minor}"

    @staticmethod
    def _wanted(name: str) -> str:
        return f"{sys.executable} {' '.join(REQUIREMENTS[name])}"
