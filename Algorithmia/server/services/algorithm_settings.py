"""What the ``details`` and ``settings`` of an algorithm may say: allowed values, defaults, and the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import BadRequest, Code
from ..languages import Languages, UnknownEnvironment, environment_id
from ..languages.base import BuildProblem, Language

Settings = dict[str, Any]

PUBLIC, PRIVATE = "public", "private"
OPEN, CLOSED = "open", "closed"
# Settings that say what an algorithm may do or shows: fixed within a major version.
PERMISSIONS = ("network_access", "pipeline_enabled", "source_visibility")

_APL = "apl"
_CHOICES: dict[str, tuple[str, ...]] = {
    "algorithm_callability": (PRIVATE, PUBLIC),
    "source_visibility": (OPEN, CLOSED),
    "license": (_APL, "apache2", "gpl3", "mit"),
    "network_access": ("full", "isolated"),
    "environment": ("cpu", "gpu"),
}
_FLAGS = ("pipeline_enabled", "insights_enabled")
_ENVIRONMENT = ("algorithm_environment", "package_set", "language")
_MAX_ROYALTY = 10**12
_DETAILS = {"label": 256, "tagline": 1024, "summary": 128 * 1024}


def checked(given: Mapping[str, Any]) -> Settings:
    """The members of `given` that this platform knows, without null ones. Raises BadRequest naming what is allowed."""
    found: Settings = {}
    for name, value in given.items():
        if value is None:
            continue
        if name in _CHOICES:
            if not isinstance(value, str) or value not in _CHOICES[name]:
                raise _refused(name, value, "one of " + ", ".join(_CHOICES[name]))
        elif name in _FLAGS:
            if not isinstance(value, bool):
                raise _refused(name, value, "true or false")
        elif name == "royalty_microcredits":
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_ROYALTY:
                raise _refused(name, value, f"a whole number from 0 to {_MAX_ROYALTY}")
        elif name in _ENVIRONMENT:
            if not isinstance(value, str):
                raise _refused(name, value, "a string")
            if not value:
                continue
        else:
            continue
        found[name] = value
    return found


def checked_details(given: Mapping[str, Any]) -> dict[str, str]:
    """The members of `given` that details have, without null ones. Raises BadRequest."""
    found: dict[str, str] = {}
    for name, limit in _DETAILS.items():
        value = given.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise BadRequest(f"details.{name} is a string, not {_shown(value)}")
        if len(value) > limit:
            raise BadRequest(f"details.{name} has {len(value)} characters; the most are {limit}")
        found[name] = value
    return found


def complete(given: Settings, languages: Languages) -> Settings:
    """The settings of a new algorithm: `given` (as `checked` gives it) and a default for whatever may be missing.

    Raises BadRequest, with a code of its own for a language or environment that isn't there. Blocks.
    """
    license_ = given.get("license", _APL)
    defaults: Settings = {
        "algorithm_callability": PRIVATE,
        "source_visibility": CLOSED if license_ == _APL else OPEN,
        "license": license_,
        "network_access": "full",
        "pipeline_enabled": True,
        "royalty_microcredits": 0,
    }
    _, chosen = _environment(given, languages)
    others = {name: value for name, value in given.items() if name not in _ENVIRONMENT}
    settings = {**defaults, **others, **chosen}
    if "language" in settings:
        settings.setdefault("environment", "cpu")
    check_licence(settings)
    return settings


@dataclass(frozen=True, slots=True)
class Change:
    """A change of settings whose environment is looked up already, which may take long: `to` is instantaneous.

    environment  what replaces the settings `_ENVIRONMENT`; None if they stay
    """

    present: Settings
    given: Settings
    environment: Settings | None

    def fits(self, present: Settings) -> bool:
        """Whether it was looked up for settings with the environment of `present`."""
        return all(present.get(name) == self.present.get(name) for name in _ENVIRONMENT)

    def to(self, present: Settings) -> Settings:
        """`present`, which it fits, with the change. Raises BadRequest."""
        settings = {**present, **{name: value for name, value in self.given.items() if name not in _ENVIRONMENT}}
        if self.environment is not None:
            for name in _ENVIRONMENT:
                settings.pop(name, None)
            settings.update(self.environment)
        check_licence(settings)
        return settings


def change(present: Settings, given: Settings, languages: Languages) -> Change:
    """The changes of `given` (as `checked` gives it) to `present`. Raises BadRequest; blocks, not in a transaction."""
    wanted = {name: given[name] for name in _ENVIRONMENT if name in given and given[name] != present.get(name)}
    if not wanted:
        return Change(present, given, None)
    try:
        language_now: Language | None = languages.choose(present)[0]
    except (BuildProblem, UnknownEnvironment):
        language_now = None
    language, chosen = _environment(wanted, languages)
    if language_now is not None and language.name != language_now.name:
        raise BadRequest(
            f"the language of an algorithm can't change: this one is {language_now.name}, not {language.name}; "
            "create another algorithm for it"
        )
    return Change(present, given, None if set(wanted) == {"language"} else chosen)


def check_licence(settings: Settings) -> None:
    """Raises BadRequest if the source is closed under a licence that opens it."""
    if settings.get("source_visibility") == CLOSED and settings.get("license", _APL) != _APL:
        raise BadRequest(
            f"source_visibility closed goes only with license {_APL}, not {settings['license']}: "
            "choose source_visibility open or the other license"
        )


def _environment(given: Settings, languages: Languages) -> tuple[Language, Settings]:
    """The language that `given` asks for, and the settings that say so."""
    if not any(name in given for name in _ENVIRONMENT):
        names = ", ".join(sorted(languages.all))
        raise BadRequest(
            f"settings.language is missing (one of {names}); or name an environment with algorithm_environment or "
            "package_set",
            Code.UNKNOWN_LANGUAGE,
        )
    by_environment = "algorithm_environment" in given or "package_set" in given
    try:
        language, environment = languages.choose(dict(given))
    except UnknownEnvironment as problem:
        code = Code.ENVIRONMENT_NOT_FOUND if by_environment else Code.UNKNOWN_LANGUAGE
        raise BadRequest(str(problem), code) from None
    except BuildProblem as problem:
        raise BadRequest(str(problem), Code.UNSUPPORTED_LANGUAGE) from None
    if not by_environment:
        return language, {"language": given["language"]}
    named = languages.find(given["language"]) if "language" in given else language
    if named is not language:
        raise BadRequest(f"environment {environment.name} is one of {language.name}, not of {given['language'][:60]}")
    chosen = {"package_set": environment.name}
    if "algorithm_environment" in given:
        chosen["algorithm_environment"] = environment_id(environment)
    return language, chosen


def _refused(name: str, value: object, allowed: str) -> BadRequest:
    return BadRequest(f"settings.{name} is {_shown(value)}; it must be {allowed}")


def _shown(value: object) -> str:
    return repr(value)[:80]
