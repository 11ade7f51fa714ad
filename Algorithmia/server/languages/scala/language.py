"""Scala 2: one environment for every release of its compiler on the machine.

A project without libraries is compiled by scalac itself, which needs no network; others by sbt, and then run by the
main method that such projects have of old. What is said of Gson in ``java/language.py`` holds here too.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import zipfile
from pathlib import Path

from ...engine.base import Runtime
from ..base import BuildProblem, Environment, Language, Step
from ..java import toolchain
from ..java.language import javac
from ..toolchains import read_configuration

_HERE = Path(__file__).parent
_SOURCES = "src/main/scala"
_CLASSES = "target/classes"
_RUNTIME = _HERE / "runtime"
_MODULES = ("compiler", "library", "reflect")
_DEPENDENCY = re.compile(r'"([^"]+)"\s*%%?%?\s*"[^"]+"\s*%\s*[^,)\n]+')
_TEST = re.compile(r'%\s*(Test|"test")')
# Scala 2 came before the releases after this one.
_LATEST_JDK = 17


class Scala(Language):
    """See `Language`."""

    name = "scala"
    display_name = "Scala 2.x (Environments)"
    aliases = ("scala-2", "scala-2-sbt-1.3")
    artifacts = (("/opt/algorithm/target/universal/stage", "/opt/algorithm/stage/"),)

    @property
    def directory(self) -> Path:
        return _HERE

    def find_environments(self) -> list[Environment]:
        """See `Language.find_environments`."""
        jdks = toolchain.find_jdks()
        found = []
        for version, library in find_compilers():
            short = "".join(version.split(".")[:2])
            names = (f"scala{short}", self.name, f"Scala {version}")
            problem = "" if toolchain.GSON.exists() else "install the Debian package libgoogle-gson-java"
            if not jdks:
                problem = "no JDK from 11 on: install the Debian package default-jdk-headless"
                found.append(Environment(*names, f"Scala {version}", problem=problem))
                continue
            home, java = jdks[max((one for one in jdks if one <= _LATEST_JDK), default=min(jdks))]
            readable = (*toolchain.readable(home), str(library), str(_RUNTIME))
            found.append(
                Environment(
                    *names,
                    f"Scala {version} on OpenJDK {java}, Gson",
                    str(home / "bin" / "java"),
                    version,
                    tuple(dict.fromkeys(readable)),
                    problem,
                )
            )
        missing = "no scalac: install the Debian packages scala, default-jdk-headless and libgoogle-gson-java"
        return found or [Environment("scala211", self.name, "Scala 2.11", "Scala 2.11", problem=missing)]

    def dependency_key(self, project: Path, environment: Environment) -> str | None:
        """See `Language.dependency_key`. The compiled runner is kept like one: compiling it takes longer than most
        projects."""
        if needs_sbt(project):
            return None
        digest = hashlib.sha256()
        for path in (*runtime_sources(_RUNTIME, ".scala"), *runtime_sources(toolchain.RUNTIME, ".java")):
            digest.update(Path(path).read_bytes())
        return f"the runner {digest.hexdigest()} for Scala {environment.version}, {environment.program}"

    def install(self, project: Path, environment: Environment, target: Path, cache: Path) -> list[Step]:
        """See `Language.install`."""
        java = javac(home_of(environment), "compile the runner", target, runtime_sources(toolchain.RUNTIME, ".java"))
        scala = runtime_sources(_RUNTIME, ".scala")
        return [java, scalac(environment, "compile the runner's Scala", str(target), str(target), scala)]

    def compile(self, project: Path, environment: Environment, dependencies: Path | None, cache: Path) -> list[Step]:
        """See `Language.compile`."""
        toolchain.entry_class(project, _SOURCES, ".scala", self.display_name)
        if dependencies is None:
            return [self._sbt(home_of(environment), cache)]
        java = toolchain.sources(project, "src/main/java", ".java")
        scala = toolchain.sources(project, _SOURCES, ".scala")
        steps = [
            Step("make target/classes", ("/bin/mkdir", "-p", _CLASSES)),
            scalac(environment, "compile", _CLASSES, str(dependencies), [*scala, *java]),
        ]
        if java:
            libraries = (_CLASSES, str(dependencies), *libraries_of(environment))
            steps.append(javac(home_of(environment), "compile Java", Path(_CLASSES), java, ":".join(libraries)))
        return steps

    def _sbt(self, home: Path, cache: Path) -> Step:
        sbt = shutil.which("sbt")
        if sbt is None:
            raise BuildProblem("there are libraryDependencies, and this platform has no sbt: install it, or drop them")
        options = (
            f"-Dsbt.global.base={cache / 'sbt'}",
            f"-Dsbt.boot.directory={cache / 'sbt' / 'boot'}",
            f"-Dsbt.ivy.home={cache / 'ivy'}",
            f"-Dsbt.coursier.home={cache / 'coursier'}",
        )
        program = Path(sbt).resolve()
        variables = {"JAVA_HOME": str(home), "COURSIER_CACHE": str(cache / "coursier")}
        return Step("sbt stage", (str(program), *options, "stage"), variables, True, (str(program.parents[1]),))

    def runtime(self, project: Path, environment: Environment, dependencies: Path | None) -> Runtime:
        """See `Language.runtime`."""
        entry = toolchain.entry_class(project, _SOURCES, ".scala", self.display_name)
        main: tuple[str, ...] = (entry,)
        readable = environment.readable
        # Relative to the project's directory, where workers start.
        path = "target/universal/stage/lib/*"
        if dependencies is not None:
            main = ("com.algorithmia.runner.ScalaRunner", entry)
            path = ":".join((_CLASSES, "src/main/resources", str(dependencies), *libraries_of(environment)))
            readable += (str(dependencies),)
        command = (environment.program, *toolchain.WORKER, "-cp", path, *main)
        return Runtime(command, "stdio", {}, readable)


def home_of(environment: Environment) -> Path:
    """The JDK of an environment."""
    return Path(environment.program).parents[1]


def runtime_sources(directory: Path, suffix: str) -> list[str]:
    """The source files of a runtime."""
    return [str(path) for path in sorted(directory.rglob(f"*{suffix}"))]


def libraries_of(environment: Environment) -> tuple[str, ...]:
    """What algorithms are compiled against and run with, besides the runner."""
    jars = compiler_jars(environment)
    return str(toolchain.GSON), jars["library"], jars["reflect"]


def scalac(environment: Environment, title: str, target: str, runner: str, files: list[str]) -> Step:
    """A step that compiles `files` into `target`, against the compiled runner."""
    compiler = ":".join(compiler_jars(environment).values())
    return Step(
        title,
        (
            environment.program, *toolchain.BRIEF, "-Xss8m", "-Dfile.encoding=UTF-8", "-cp", compiler,
            "scala.tools.nsc.Main", "-usejavacp", "-nowarn", "-encoding", "UTF-8", "-g:vars",
            "-cp", ":".join((runner, *libraries_of(environment))), "-d", target, *files,
        ),
    )  # fmt: skip


def find_compilers() -> list[tuple[str, Path]]:
    """Version and library directory of the Scala 2 compilers, one of each, the newest first."""
    program = shutil.which("scalac")
    places = [Path(program).resolve().parents[1] / "lib"] if program else []
    found: dict[tuple[int, ...], tuple[str, Path]] = {}
    for place in (*places, toolchain.LIBRARIES):
        for jar in sorted(place.glob("scala-compiler*.jar")):
            try:
                with zipfile.ZipFile(jar) as archive:
                    text = archive.read("compiler.properties").decode("utf-8", "replace")
            except (OSError, KeyError, zipfile.BadZipFile):
                continue
            version = re.search(r"^version\.number=(2\.[0-9.]+)", text, re.MULTILINE)
            if version:
                found.setdefault(tuple(int(part) for part in version[1].split(".")), (version[1], place))
    return [found[key] for key in sorted(found, reverse=True)]


def compiler_jars(environment: Environment) -> dict[str, str]:
    """The jars that a compiler of the environment's version consists of, by their names without ``scala-``."""
    place = next(place for version, place in find_compilers() if version == environment.version)
    short = environment.version.rpartition(".")[0]
    jars = {}
    for name in _MODULES:
        spellings = [f"scala-{name}-{environment.version}.jar", f"scala-{name}-{short}.jar", f"scala-{name}.jar"]
        jars[name] = next((str(place / one) for one in spellings if (place / one).exists()), str(place / spellings[-1]))
    for pattern in (f"scala-xml_{short}*.jar", f"scala-parser-combinators_{short}*.jar", "jline*.jar", "jna*.jar"):
        jars.update({path.stem: str(path) for path in sorted(place.glob(pattern))})
    return jars


def needs_sbt(project: Path) -> bool:
    """Whether build.sbt or deps.sbt names libraries; those for tests, and Algorithmia's own, don't count."""
    for name in ("build.sbt", "deps.sbt"):
        text = re.sub(r"//[^\n]*", "", read_configuration(project / name))
        for dependency in _DEPENDENCY.finditer(text):
            if dependency[1] != "com.algorithmia" and not _TEST.search(dependency[0]):
                return True
    return (project / "lib").is_dir()


LANGUAGE = Scala()
