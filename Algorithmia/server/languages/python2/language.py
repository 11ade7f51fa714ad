"""Python 2.7: dependencies by pip in a virtual environment, as uv knows no Python that old."""

from __future__ import annotations

import shlex
from pathlib import Path

from ...engine.base import Runtime
from ..base import Environment, Language, Step
from ..python3 import interpreters, requirements
from ..python3.language import uv_program
from ..python3.sdk import base_program

_HERE = Path(__file__).parent
_RUNNER = _HERE / "runner.py"
_PACKAGE = _HERE.parents[2]

# The last one that can make environments for 2.7.
_VIRTUALENV = "virtualenv<20.22"
_SDK_NEEDS = ("requests", "toml", "six", "enum34")


class Python2(Language):
    """See `Language`."""

    name = "python2"
    display_name = "Python 2.x (Environments)"
    aliases = ("python2-langpack", "python-2.x-1")
    req_files = ("requirements.txt",)
    artifacts = (("/home/algo/.local", "/home/algo/.local/"), ("/opt/algorithm", "/opt/algorithm/"))

    @property
    def directory(self) -> Path:
        return _HERE

    def find_environments(self) -> list[Environment]:
        """See `Language.find_environments`."""
        for found in interpreters.find(2):
            if found.version[:2] == (2, 7):
                text = f"CPython {found.text}"
                shown = f"Python {found.text}"
                return [
                    Environment("python27", self.name, shown, text, found.program, found.text, found.readable)
                ]
        problem = (
            "there is no Python 2.7 on this machine: install it (pyenv install 2.7.18, or the package python2.7 where "
            "there still is one) and restart the platform"
        )
        return [Environment("python27", self.name, "Python 2.7", "CPython 2.7", problem=problem)]

    def remarks(self, project: Path, environment: Environment) -> list[str]:
        """See `Language.remarks`."""
        return requirements.remarks(requirements.read(project))

    def dependency_key(self, project: Path, environment: Environment) -> str | None:
        """See `Language.dependency_key`: the SDK itself needs packages."""
        return requirements.read(project).key

    def install(self, project: Path, environment: Environment, target: Path, cache: Path) -> list[Step]:
        """See `Language.install`."""
        uv, python = uv_program(), str(target / "bin" / "python")
        own = base_program()
        variables = {
            "UV_CACHE_DIR": str(cache / "uv"),
            "UV_TOOL_DIR": str(cache / "tools"),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_CONFIG": "1",
            "UV_NO_PROGRESS": "1",
            "UV_LINK_MODE": "copy",
            "VIRTUALENV_OVERRIDE_APP_DATA": str(cache / "virtualenv"),
            "PIP_CACHE_DIR": str(cache / "pip"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYTHONWARNINGS": "ignore",
        }
        readable = (uv, *interpreters.readable(str(Path(own).parents[1]), own))
        make = (uv, "tool", "run", "--quiet", "--python", own, "--from", _VIRTUALENV, "virtualenv", "--quiet")
        pip = (python, "-m", "pip", "--no-python-version-warning")
        return [
            Step(
                f"Make an environment of {environment.display_name}",
                (*make, "--no-periodic-update", "--python", environment.program, str(target)),
                variables,
                network=True,
                readable=readable,
            ),
            Step(
                "Install requirements.txt and what the SDK needs",
                (*pip, "install", "--progress-bar", "off", *_SDK_NEEDS, *_wanted(project)),
                variables,
                network=True,
            ),
            Step("Installed", (*pip, "freeze", "--all"), variables),
        ]

    def runtime(self, project: Path, environment: Environment, dependencies: Path | None) -> Runtime:
        """See `Language.runtime`."""
        assert dependencies is not None
        return Runtime(
            (str(dependencies / "bin" / "python"), "-E", "-s", "-B", "-u", str(_RUNNER)),
            "stdio",
            {"LANGUAGE_VERSION": "python2", "VIRTUAL_ENV": str(dependencies)},
            (*environment.readable, str(dependencies), str(_PACKAGE), str(_PACKAGE.parent / "adk.py")),
        )


def _wanted(project: Path) -> list[str]:
    """What of requirements.txt pip is told to install, as arguments: it has no way to leave lines of a file out."""
    found = requirements.read(project)
    if not found.provided:
        return ["--requirement", str(project / requirements.FILE)] if found.wanted else []
    arguments = []
    for line in (*found.sources, *found.wanted):
        arguments += shlex.split(line) if line.startswith("-") else [line]
    return arguments


LANGUAGE = Python2()
