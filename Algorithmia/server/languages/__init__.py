"""The languages of algorithms, one folder each: environment definition, template, build steps, runner."""

from __future__ import annotations

import functools
import importlib
import threading
import uuid
from pathlib import Path

from .base import BuildProblem, Environment, Language

_ROOT = Path(__file__).parent
# Ids are made from names, so that every platform has the same and none needs to be kept.
_IDS = uuid.UUID("6b7a3d0e-5f0c-4a53-9c0a-0f1c3a5e7d21")


def environment_id(environment: Environment) -> str:
    """The id that ``settings.algorithm_environment`` names."""
    return str(uuid.uuid5(_IDS, f"environment:{environment.name}"))


def specification_id(environment: Environment) -> str:
    """The id under which the environment's template is had."""
    return str(uuid.uuid5(_IDS, f"specification:{environment.name}"))


class Languages:
    """Every language here, by name; what the machine has of their toolchains is looked for once, when first asked."""

    def __init__(self) -> None:
        self._environments: dict[str, list[Environment]] = {}
        self._lock = threading.Lock()

    @functools.cached_property
    def all(self) -> dict[str, Language]:
        """The languages by their names; imported when first asked for, as starting the platform needs none."""
        found: dict[str, Language] = {}
        for path in sorted(_ROOT.glob("*/language.py")):
            language: Language = importlib.import_module(f"{__name__}.{path.parent.name}.language").LANGUAGE
            found[language.name] = language
        return found

    def find(self, name: str) -> Language | None:
        """The language called `name`, by its name or an alias."""
        for language in self.all.values():
            if name == language.name or name in language.aliases:
                return language
        return None

    def environments(self, language: Language) -> list[Environment]:
        """The environments of `language`, the preferred one first; blocks when first asked."""
        with self._lock:
            if language.name not in self._environments:
                self._environments[language.name] = language.find_environments()
            return self._environments[language.name]

    def environment(self, name_or_id: str) -> tuple[Language, Environment] | None:
        """The environment with this name, id or specification id, and its language; blocks when first asked."""
        for language in self.all.values():
            for environment in self.environments(language):
                if name_or_id in (environment.name, environment_id(environment), specification_id(environment)):
                    return language, environment
        return None

    def choose(self, settings: dict[str, object]) -> tuple[Language, Environment]:
        """The language and environment that an algorithm's `settings` ask for; blocks when first asked.

        ``algorithm_environment`` and ``package_set`` name an environment; ``language`` alone means the preferred one of
        that language. Raises UnknownEnvironment, and BuildProblem when it is known but not on this machine.
        """
        wanted = settings.get("algorithm_environment") or settings.get("package_set")
        if wanted:
            found = self.environment(str(wanted))
            if found is None:
                raise UnknownEnvironment(f"no environment {str(wanted)[:80]!r}: see algo languages, algo environment")
            language, environment = found
        else:
            name = str(settings.get("language") or "")
            known = self.find(name)
            if known is None:
                names = ", ".join(sorted(self.all))
                raise UnknownEnvironment(f"no language {name[:80]!r}: use one of {names}")
            language, environment = known, self.environments(known)[0]
        if not environment.is_available:
            raise BuildProblem(f"{environment.display_name} can't be used on this platform: {environment.problem}")
        return language, environment


class UnknownEnvironment(Exception):
    """No language or environment has that name or id."""
