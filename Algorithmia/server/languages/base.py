"""What a language is: a folder with a template, a runner, and a `Language` that says how to build and run projects.

To add one, add a folder whose ``language.py`` defines ``LANGUAGE``; docs/guides/languages.md walks through it. Nothing
here touches the database or the network: a language finds toolchains on the machine and describes commands; the build
service runs them, confined.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..engine.base import Runtime


@dataclass(frozen=True, slots=True)
class Environment:
    """One toolchain that algorithms of a language are built for and run with, such as CPython 3.11.

    name      ``python311``: unique among all languages; what ``settings.package_set`` names
    program   absolute path of the interpreter (or compiler); "" if it isn't on this machine
    version   what the program says of itself, such as 3.11.7
    readable  directories besides the system's that the toolchain lives in
    problem   why it can't be used, with the package to install; "" if it can
    """

    name: str
    language: str
    display_name: str
    description: str
    program: str = ""
    version: str = ""
    readable: tuple[str, ...] = ()
    problem: str = ""

    @property
    def is_available(self) -> bool:
        return not self.problem


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a build, run in the project's directory and confined to what the build may write.

    title        one line for the build log
    environment  variables on top of a minimal set
    network      whether the command may reach the network (to fetch dependencies)
    readable     directories, besides the environment's, that it must be able to read
    """

    title: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    network: bool = False
    readable: tuple[str, ...] = ()


class Language(ABC):
    """One language. Instances hold no state but what they found out about the machine.

    name           of the API's environment vocabulary: ``python3``
    display_name   for people
    aliases        names of ``settings.language`` and of old configurations that mean it: ``python3-1``
    req_files      files of a project that its dependencies are installed from, before the rest is looked at
    artifacts      ``(source, destination)`` pairs of the API's configuration document
    """

    name: str
    display_name: str
    aliases: tuple[str, ...] = ()
    req_files: tuple[str, ...] = ()
    artifacts: tuple[tuple[str, str], ...] = ()

    @property
    @abstractmethod
    def directory(self) -> Path:
        """The language's folder; its template is in ``template/``, with ``__ALGO__`` and ``__USER__`` to fill in."""

    @abstractmethod
    def find_environments(self) -> list[Environment]:
        """The environments of this language, newest first, the ones that can't be used at the end. May run programs."""

    def dependency_key(self, project: Path, environment: Environment) -> str | None:
        """What the project's dependencies are, as a text: projects with the same text can share a directory of
        installed dependencies. None if the project needs none (then `install` is not asked)."""
        return None

    def remarks(self, project: Path, environment: Environment) -> list[str]:
        """Lines for the build log on how the project's dependencies are understood."""
        return []

    def install(self, project: Path, environment: Environment, target: Path, cache: Path) -> list[Step]:
        """Commands that install the project's dependencies into the empty directory `target`.

        cache  a directory that the account's earlier builds have written to
        """
        return []

    def compile(
        self, project: Path, environment: Environment, dependencies: Path | None, cache: Path
    ) -> list[Step]:
        """Commands that turn the sources in `project` into what runs; they write below `project` (and `cache`)."""
        return []

    @abstractmethod
    def runtime(self, project: Path, environment: Environment, dependencies: Path | None) -> Runtime:
        """How to run the built project. Raises BuildProblem if it has no entry point."""


class BuildProblem(Exception):
    """The project can't be built as it is; the message tells its author what to change."""
