"""Ruby: one environment for every Ruby on the machine."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ...engine.base import Runtime
from ..base import BuildProblem, Environment, Language, Step
from ..toolchains import entry_point, output_of, outside_system, programs, read_configuration

_HERE = Path(__file__).parent
_RUNNER = _HERE / "runner.rb"
_FILES = ("Gemfile", "Gemfile.lock")
_GEM = re.compile(r"^\s*(gem|gemspec|git|github|path)\b", re.MULTILINE)
# Gems that are parts of the project itself.
_ENTANGLED = re.compile(r"^\s*(gemspec|path|eval_gemfile)\b|\bpath:|:path\s*=>|require_relative|__dir__", re.MULTILINE)


class Ruby(Language):
    """See `Language`."""

    name = "ruby"
    display_name = "Ruby"
    aliases = ("ruby-2.2-1",)
    req_files = _FILES
    artifacts = (("/opt/algorithm", "/opt/algorithm/"),)

    @property
    def directory(self) -> Path:
        return _HERE

    def find_environments(self) -> list[Environment]:
        """See `Language.find_environments`."""
        found: dict[tuple[int, int], Environment] = {}
        versions = [f"ruby{major}.{minor}" for major, minor in ((4, 0), *((3, minor) for minor in range(9, -1, -1)))]
        for candidate in programs("ruby", *versions):
            # It says itself where it is, so what only starts the real one is stepped over.
            answer = output_of(candidate, "-e", "puts RUBY_VERSION, RbConfig::CONFIG['prefix'], RbConfig.ruby")
            version, prefix, program = ((answer or "").split("\n") + ["", "", ""])[:3]
            numbers = re.match(r"(\d+)\.(\d+)", version)
            if numbers is None or not os.path.isabs(program):
                continue
            major, minor = int(numbers[1]), int(numbers[2])
            found.setdefault(
                (major, minor),
                Environment(
                    f"ruby{major}{minor}",
                    self.name,
                    f"Ruby {version}",
                    f"Ruby {version}, gems from the Gemfile by Bundler",
                    program,
                    version,
                    outside_system(prefix),
                ),
            )
        if not found:
            return [
                Environment(
                    "ruby",
                    self.name,
                    "Ruby",
                    "Ruby, gems from the Gemfile by Bundler",
                    problem="Ruby is not on this machine: install the Debian packages ruby and ruby-bundler",
                )
            ]
        return [found[version] for version in sorted(found, reverse=True)]

    def dependency_key(self, project: Path, environment: Environment) -> str | None:
        """See `Language.dependency_key`. Gems that lie in the project itself can't be shared with another one."""
        text = _gemfile(project)
        if text is None or _ENTANGLED.search(text):
            return None
        return "\0".join(read_configuration(project / name) for name in _FILES if (project / name).is_file())

    def install(self, project: Path, environment: Environment, target: Path, cache: Path) -> list[Step]:
        """See `Language.install`."""
        files = [name for name in _FILES if (project / name).is_file()]
        return [
            Step("Looking at the Gemfile", ("/bin/cp", "--", *files, str(target))),
            _bundle(environment, target, cache),
        ]

    def compile(
        self, project: Path, environment: Environment, dependencies: Path | None, cache: Path
    ) -> list[Step]:
        """See `Language.compile`."""
        if dependencies is None and _gemfile(project) is not None:
            return [_bundle(environment, project, cache)]
        return []

    def runtime(self, project: Path, environment: Environment, dependencies: Path | None) -> Runtime:
        """See `Language.runtime`."""
        entry = entry_point(project, (".rb",))
        variables = {"LANGUAGE_VERSION": environment.name, "LANG": "C.UTF-8"}
        options = ["-EUTF-8"]
        if dependencies is not None or _gemfile(project) is not None:
            variables.update(_bundler_variables(dependencies or project))
            options.append("-rbundler/setup")
        readable = (*environment.readable, str(_RUNNER), *([str(dependencies)] if dependencies else []))
        return Runtime((environment.program, *options, str(_RUNNER), entry), "stdio", variables, readable)


def _gemfile(project: Path) -> str | None:
    """The Gemfile's text without its comments, if it names gems."""
    path = project / "Gemfile"
    if not path.is_file():
        return None
    text = re.sub(r"^\s*#.*$", "", read_configuration(path), flags=re.MULTILINE)
    return text if _GEM.search(text) else None


def _bundler_variables(place: Path) -> dict[str, str]:
    return {
        "BUNDLE_GEMFILE": str(place / "Gemfile"),
        "BUNDLE_PATH": str(place / "vendor" / "bundle"),
        "BUNDLE_WITHOUT": "development:test",
        "BUNDLE_DISABLE_VERSION_CHECK": "true",
    }


def _bundle(environment: Environment, place: Path, cache: Path) -> Step:
    """The command that installs the gems of ``place/Gemfile`` below `place`."""
    if output_of(environment.program, "-rbundler", "-e", "print Bundler::VERSION") is None:
        raise BuildProblem("the Gemfile names gems but Bundler is not here: install the Debian package ruby-bundler")
    variables = {
        **_bundler_variables(place),
        "BUNDLE_USER_CACHE": str(cache / "bundle"),
        "BUNDLE_GLOBAL_GEM_CACHE": "true",
        "BUNDLE_SILENCE_ROOT_WARNING": "true",
    }
    return Step("bundle install", (environment.program, "-S", "bundle", "install"), variables, network=True)


LANGUAGE = Ruby()
