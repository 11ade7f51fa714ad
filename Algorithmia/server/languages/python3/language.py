"""Python 3: one environment for every CPython 3 on the machine; dependencies by uv."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from ...engine.base import Runtime
from ..base import BuildProblem, Environment, Language, Step
from ..toolchains import concurrency
from . import interpreters, requirements
from .interpreters import Interpreter
from .sdk import SDK, base_program

_HERE = Path(__file__).parent
_RUNNER = f"{SDK}/core/Algorithmia/server/languages/python3/runner.py"
_PROVIDED = _HERE / "provided.txt"

# Listed also where they are missing, so that people see what there could be.
_EXPECTED = ((3, 13), (3, 12), (3, 11), (3, 10), (3, 9))
# Older ones can't use the server's copies of what the SDK needs.
_OLDEST_SHARED = (3, 10)
# Not uv's own way: nobody imports the packages' tests, which are half of what there is to compile.
_COMPILE = (
    "import compileall, re, sys;"
    "compileall.compile_dir(sys.argv[1], quiet=2, workers=0, rx=re.compile('/tests?/'))"
)
_SDK_NEEDS = ("requests", "toml", "six")


class Python3(Language):
    """See `Language`."""

    name = "python3"
    display_name = "Python 3.x (Environments)"
    aliases = ("python3-1", "python")
    req_files = ("requirements.txt",)
    artifacts = (("/home/algo/.local", "/home/algo/.local/"), ("/opt/algorithm", "/opt/algorithm/"))

    @property
    def directory(self) -> Path:
        return _HERE

    def find_environments(self) -> list[Environment]:
        """See `Language.find_environments`: the server's own version first."""
        found = {found.version[:2]: found for found in interpreters.find(3) if found.version >= (3, 6)}
        # Whatever the search said, this one exists.
        own = Interpreter(base_program(), sys.base_prefix, sys.version_info[:3])
        found[own.version[:2]] = own
        rest = sorted((version for version in found if version != own.version[:2]), reverse=True)
        environments = [_environment(found[version]) for version in (own.version[:2], *rest)]
        return environments + [_missing(version) for version in _EXPECTED if version not in found]

    def remarks(self, project: Path, environment: Environment) -> list[str]:
        """See `Language.remarks`."""
        return requirements.remarks(requirements.read(project))

    def dependency_key(self, project: Path, environment: Environment) -> str | None:
        """See `Language.dependency_key`."""
        found = requirements.read(project)
        if not found.wanted and _version(environment) >= _OLDEST_SHARED:
            return None
        return found.key

    def install(self, project: Path, environment: Environment, target: Path, cache: Path) -> list[Step]:
        """See `Language.install`: a virtual environment in `target`."""
        uv = uv_program()
        variables = {
            "UV_CACHE_DIR": str(cache / "uv"),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_CONFIG": "1",
            "UV_NO_PROGRESS": "1",
            # A link would let a later build change, through the cache, what this one installed.
            "UV_LINK_MODE": "copy",
        }
        python = str(target / "bin" / "python")
        arguments = [*_SDK_NEEDS]
        found = requirements.read(project)
        if found.wanted:
            arguments += ["--requirement", str(project / requirements.FILE), "--excludes", str(_PROVIDED)]
        readable = (uv, str(_PROVIDED))
        return [
            Step(
                f"Make an environment of {environment.display_name}",
                (uv, "venv", "--quiet", "--no-project", "--python", environment.program, str(target)),
                variables,
                readable=readable,
            ),
            Step(
                f"Install {requirements.FILE}" if found.wanted else "Install what the SDK needs",
                (uv, "pip", "install", "--python", python, "--no-editable", *arguments),
                variables,
                network=True,
                readable=readable,
            ),
            Step("Installed:", (uv, "pip", "freeze", "--quiet", "--python", python), variables, readable=readable),
            Step("Compile what was installed", (python, "-I", "-S", "-c", _COMPILE, str(target / "lib"))),
        ]

    def runtime(self, project: Path, environment: Environment, dependencies: Path | None) -> Runtime:
        """See `Language.runtime`."""
        several = concurrency(project)
        if dependencies is None:
            return replace(_runtime(environment.program, environment.readable), concurrency=several)
        return Runtime(
            (str(dependencies / "bin" / "python"), "-I", "-B", _RUNNER),
            "frames",
            {"LANGUAGE_VERSION": "python3", "VIRTUAL_ENV": str(dependencies)},
            (*environment.readable, str(dependencies), SDK),
            several,
        )


def own_runtime() -> Runtime:
    """How projects without dependencies run on the interpreter that the server itself runs on."""
    return _runtime(base_program(), interpreters.readable(sys.base_prefix, base_program()))


def _runtime(program: str, readable: tuple[str, ...]) -> Runtime:
    # -I: neither the environment nor the directory that the runner lies in decides what is imported. -S: nothing that
    # somebody installed for this interpreter does, either.
    return Runtime(
        (program, "-I", "-S", "-B", _RUNNER, "--libraries", f"{SDK}/libs"),
        "frames",
        {"LANGUAGE_VERSION": "python3"},
        (*readable, SDK),
    )


def _environment(found: Interpreter) -> Environment:
    name = "python{}{}".format(*found.version[:2])
    return Environment(
        name,
        Python3.name,
        f"Python {found.text}",
        f"CPython {found.text}; packages of requirements.txt by uv",
        found.program,
        found.text,
        found.readable,
    )


def _missing(version: tuple[int, int]) -> Environment:
    text = "{}.{}".format(*version)
    return Environment(
        "python{}{}".format(*version),
        Python3.name,
        f"Python {text}",
        f"CPython {text}",
        problem=f"there is no Python {text} on this machine: install it (package python{text} with python{text}-venv, "
        f"or uv python install {text}, or pyenv install {text}) and restart the platform",
    )


def _version(environment: Environment) -> tuple[int, ...]:
    return tuple(int(part) for part in environment.version.split(".")[:2])


def uv_program() -> str:
    """The path of uv. Raises BuildProblem."""
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        raise BuildProblem(
            "packages can't be installed: the platform lacks uv (pip install 'algorithmia[server]')"
        ) from None


LANGUAGE = Python3()
