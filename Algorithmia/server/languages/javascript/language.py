"""JavaScript: one environment for every Node.js on the machine."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from ...engine.base import Runtime
from ..base import BuildProblem, Environment, Language, Step
from ..toolchains import entry_point, output_of, outside_system, programs, read_configuration

_HERE = Path(__file__).parent
_RUNNER = _HERE / "runner.cjs"
_LOCKS = ("package-lock.json", "npm-shrinkwrap.json")
_MAX_LOCK = 32 << 20
_SUFFIXES = (".js", ".mjs", ".cjs")
_PACKAGES = ("dependencies", "optionalDependencies", "peerDependencies")
# What else in package.json decides about what npm installs.
_DECISIVE = (*_PACKAGES, "overrides", "bundleDependencies", "engines", "scripts", "workspaces")


class JavaScript(Language):
    """See `Language`."""

    name = "javascript"
    display_name = "JavaScript (Node.js)"
    aliases = ("node", "nodejs", "node-5.x-1")
    req_files = ("package.json",)
    artifacts = (("/opt/algorithm", "/opt/algorithm/"),)

    @property
    def directory(self) -> Path:
        return _HERE

    def find_environments(self) -> list[Environment]:
        """See `Language.find_environments`."""
        found: dict[int, Environment] = {}
        for candidate in programs("node", "nodejs"):
            # It says itself where it is, so what only starts the real one is stepped over.
            answer = output_of(candidate, "-p", "process.version + ' ' + process.execPath")
            version, _, program = (answer or "").partition(" ")
            major = version.lstrip("v").partition(".")[0]
            if not major.isdigit() or not os.path.isabs(program) or int(major) in found:
                continue
            version = version.lstrip("v")
            found[int(major)] = Environment(
                f"node{major}",
                self.name,
                f"Node.js {version}",
                f"Node.js {version}, packages from package.json by npm",
                program,
                version,
                outside_system(str(Path(program).parents[1])),
            )
        if not found:
            return [
                Environment(
                    "node",
                    self.name,
                    "Node.js",
                    "Node.js, packages from package.json by npm",
                    problem="Node.js is not on this machine: install the Debian packages nodejs and npm",
                )
            ]
        return [found[major] for major in sorted(found, reverse=True)]

    def dependency_key(self, project: Path, environment: Environment) -> str | None:
        """See `Language.dependency_key`. Packages that lie in the project itself can't be shared with another one."""
        package = _package(project)
        if not _wants_packages(project, package) or _is_entangled(package):
            return None
        parts: dict[str, object] = {name: package[name] for name in _DECISIVE if name in package}
        for name in (*_LOCKS, ".npmrc"):
            if (project / name).is_file():
                parts[name] = read_configuration(project / name, _MAX_LOCK)
        return json.dumps(parts, sort_keys=True)

    def install(self, project: Path, environment: Environment, target: Path, cache: Path) -> list[Step]:
        """See `Language.install`."""
        files = [name for name in ("package.json", *_LOCKS, ".npmrc") if (project / name).is_file()]
        return [
            Step("Looking at package.json", ("/bin/cp", "--", *files, str(target))),
            _npm(project, environment, target, cache),
        ]

    def compile(
        self, project: Path, environment: Environment, dependencies: Path | None, cache: Path
    ) -> list[Step]:
        """See `Language.compile`: modules look for packages in node_modules beside or above themselves."""
        if dependencies is not None:
            command = ("/bin/ln", "-s", "--", str(dependencies / "node_modules"), "node_modules")
            return [Step("Linking node_modules", command)]
        if _wants_packages(project, _package(project)):
            return [_npm(project, environment, project, cache)]
        return []

    def runtime(self, project: Path, environment: Environment, dependencies: Path | None) -> Runtime:
        """See `Language.runtime`."""
        entry = entry_point(project, _SUFFIXES)
        readable = (*environment.readable, str(_RUNNER), *([str(dependencies)] if dependencies else []))
        command = (environment.program, str(_RUNNER), entry)
        return Runtime(command, "stdio", {"LANGUAGE_VERSION": environment.name}, readable)


def _package(project: Path) -> dict[str, object]:
    if not (project / "package.json").is_file():
        return {}
    try:
        package = json.loads(read_configuration(project / "package.json"))
    except (ValueError, RecursionError) as error:
        raise BuildProblem(f"package.json is not JSON: {error}")
    if not isinstance(package, dict) or not all(isinstance(package.get(name, {}), dict) for name in _PACKAGES):
        raise BuildProblem("package.json must be a JSON object, and its lists of dependencies objects NAME: VERSION")
    return package


def _wants_packages(project: Path, package: dict[str, object]) -> bool:
    """Whether npm has something to do; nothing if the packages were committed."""
    return any(package.get(name) for name in _PACKAGES) and not (project / "node_modules").exists()


def _is_entangled(package: dict[str, object]) -> bool:
    """Whether packages are parts of the project itself."""
    sources: list[str] = []
    for name in _PACKAGES:
        wanted = package.get(name)
        sources += [str(source) for source in wanted.values()] if isinstance(wanted, dict) else []
    return bool(package.get("workspaces")) or any(source.startswith(("file:", "link:", ".", "/")) for source in sources)


def _npm(project: Path, environment: Environment, target: Path, cache: Path) -> Step:
    """The command that fills ``target/node_modules``. Install scripts run: they are as confined as the algorithm is."""
    places = os.pathsep.join((os.path.dirname(environment.program), "/usr/local/bin", "/usr/bin"))
    npm = shutil.which("npm", path=places)
    if npm is None:
        raise BuildProblem("package.json names packages but npm is not on this machine: install the Debian package npm")
    program = os.path.realpath(npm)
    verb = "ci" if any((project / name).is_file() for name in _LOCKS) else "install"
    command = (
        environment.program, program, verb, "--prefix", str(target), "--cache", str(cache / "npm"),
        "--omit=dev", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=warn",
    )  # fmt: skip
    return Step(f"npm {verb}", command, network=True, readable=outside_system(str(Path(program).parents[1])))


LANGUAGE = JavaScript()
