"""R: one environment for every R on the machine."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ...engine.base import Runtime
from ..base import Environment, Language, Step
from ..toolchains import entry_point, output_of, outside_system, programs, read_configuration

_HERE = Path(__file__).parent
_RUNNER = _HERE / "runner.r"
_INSTALLER = _HERE / "install.r"
# Debian keeps a part of R, and the choice of its linear algebra, there.
_CONFIGURATION = ("/etc/R", "/etc/alternatives")
_QUESTION = (
    "cat(paste(R.version$major, R.version$minor, sep = '.'), R.home(),"
    " requireNamespace('jsonlite', quietly = TRUE), .libPaths(), sep = '\\n')"
)


class R(Language):
    """See `Language`."""

    name = "r"
    display_name = "R"
    aliases = ("r36",)
    req_files = ("packages.txt",)
    artifacts = (("/home/algo/R", "/home/algo/R/"), ("/opt/algorithm", "/opt/algorithm/"))

    @property
    def directory(self) -> Path:
        return _HERE

    def find_environments(self) -> list[Environment]:
        """See `Language.find_environments`."""
        found: dict[tuple[int, int], Environment] = {}
        for candidate in programs("Rscript"):
            lines = (output_of(candidate, "--vanilla", "-e", _QUESTION) or "").split("\n")
            numbers = re.match(r"(\d+)\.(\d+)", lines[0])
            if numbers is None or len(lines) < 3:
                continue
            version, home, has_json, *libraries = lines
            problem = ""
            if has_json != "TRUE":
                problem = "R lacks the package jsonlite: install the Debian package r-cran-jsonlite"
            major, minor = int(numbers[1]), int(numbers[2])
            found.setdefault(
                (major, minor),
                Environment(
                    f"r{major}{minor}",
                    self.name,
                    f"R {version}",
                    f"R {version}, packages from packages.txt by install.packages",
                    os.path.realpath(candidate),
                    version,
                    (
                        *(path for path in _CONFIGURATION if os.path.isdir(path)),
                        *outside_system(home, os.path.dirname(os.path.realpath(candidate)), *libraries),
                    ),
                    problem,
                ),
            )
        if not found:
            return [
                Environment(
                    "r",
                    self.name,
                    "R",
                    "R, packages from packages.txt by install.packages",
                    problem="R is not on this machine: install the Debian packages r-base-core and r-cran-jsonlite",
                )
            ]
        return sorted(found.values(), key=lambda each: (each.is_available, _numbers(each.version)), reverse=True)

    def dependency_key(self, project: Path, environment: Environment) -> str | None:
        """See `Language.dependency_key`."""
        lines = read_configuration(project / "packages.txt").splitlines()
        return "\n".join(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")) or None

    def install(self, project: Path, environment: Environment, target: Path, cache: Path) -> list[Step]:
        """See `Language.install`."""
        variables = {"R_LIBS": str(target)}
        command = (environment.program, str(_INSTALLER), "packages.txt", str(target))
        return [Step("Installing packages", command, variables, network=True, readable=(str(_INSTALLER),))]

    def runtime(self, project: Path, environment: Environment, dependencies: Path | None) -> Runtime:
        """See `Language.runtime`."""
        entry = entry_point(project, (".r", ".R"))
        variables = {"LANGUAGE_VERSION": environment.name, "LANG": "C.UTF-8"}
        readable = [*environment.readable, str(_RUNNER)]
        if dependencies is not None:
            variables["R_LIBS"] = str(dependencies)
            readable.append(str(dependencies))
        return Runtime((environment.program, str(_RUNNER), entry), "stdio", variables, tuple(readable))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


LANGUAGE = R()
