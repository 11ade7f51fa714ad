"""Java: one environment for every JDK on the machine.

A project without libraries is compiled by javac itself, which needs no network and takes a second; others by Maven.
JSON is read and written by Gson, as it was on the platform that these projects were first written for, so that
fields, generic types, inner classes and `JsonElement` mean what they did.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

from ...engine.base import Runtime
from ..base import BuildProblem, Environment, Language, Step
from ..toolchains import read_configuration
from . import toolchain

_SOURCES = "src/main/java"
_CLASSES = Path("target/classes")
_RUNNER = str(toolchain.RUNTIME / "com/algorithmia/runner/Runner.java")
# What the runtime stands in for, and what no running algorithm needs.
_NOT_LIBRARIES = re.compile(r"com\.algorithmia|junit|org\.junit(\..*)?|org\.apache\.maven\.plugins")
_CLIENT = re.compile(r"\bAlgorithmia(Client)?\b")


class Java(Language):
    """See `Language`."""

    name = "java"
    display_name = "Java OpenJDK (Environments)"
    aliases = ("java11", "java-ojdk11")
    artifacts = (
        ("/opt/algorithm/target/*.jar", "/opt/algorithm/target/"),
        ("/opt/algorithm/target/lib", "/opt/algorithm/target/lib/"),
    )

    @property
    def directory(self) -> Path:
        return Path(__file__).parent

    def find_environments(self) -> list[Environment]:
        """See `Language.find_environments`."""
        problem = "" if toolchain.GSON.exists() else "install the Debian package libgoogle-gson-java"
        found = [
            Environment(
                f"java{feature}",
                self.name,
                f"Java OpenJDK {version}",
                f"OpenJDK {version}, Gson",
                str(home / "bin" / "java"),
                version,
                toolchain.readable(home),
                problem,
            )
            for feature, (home, version) in toolchain.find_jdks().items()
        ]
        return found or [
            Environment(
                "java17",
                self.name,
                "Java OpenJDK 17",
                "OpenJDK 17, Gson",
                problem="no JDK from 11 on: install the Debian packages default-jdk-headless and libgoogle-gson-java",
            )
        ]

    def compile(self, project: Path, environment: Environment, dependencies: Path | None, cache: Path) -> list[Step]:
        """See `Language.compile`."""
        toolchain.entry_class(project, _SOURCES, ".java", self.display_name)
        home = Path(environment.program).parents[1]
        if not needs_maven(project):
            files = [
                path
                for path in toolchain.sources(project, _SOURCES, ".java")
                # The old template kept its test among the sources.
                if not path.endswith("Test.java") or "junit" not in read_configuration(project / path)
            ]
            return [javac(home, "compile", _CLASSES, [_RUNNER, *files])]
        maven = shutil.which("mvn")
        if maven is None:
            raise BuildProblem("pom.xml has dependencies, and this platform has no Maven: install it, or remove them")
        arguments = (
            "-q", "-B", "-DskipTests", f"-Dmaven.repo.local={cache / 'maven'}", "package",
            "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies",
            "-DincludeScope=runtime", "-DoutputDirectory=target/lib",
        )  # fmt: skip
        return [
            Step(
                "mvn package",
                (str(Path(maven).resolve()), *arguments),
                {"JAVA_HOME": str(home), "MAVEN_OPTS": " ".join(toolchain.BRIEF)},
                network=True,
                readable=tuple(path for path in ("/etc/maven", "/usr/share/maven") if Path(path).exists()),
            ),
            javac(home, "compile the runner", _CLASSES, [_RUNNER]),
        ]

    def runtime(self, project: Path, environment: Environment, dependencies: Path | None) -> Runtime:
        """See `Language.runtime`."""
        entry = toolchain.entry_class(project, _SOURCES, ".java", self.display_name)
        # Relative to the project's directory, where workers start.
        path = f"target/classes:src/main/resources:target/lib/*:{toolchain.GSON}"
        command = (environment.program, *toolchain.WORKER, "-cp", path, "com.algorithmia.runner.Runner", entry)
        return Runtime(command, "stdio", {}, environment.readable)


def javac(home: Path, title: str, target: Path, files: list[str], libraries: str = str(toolchain.GSON)) -> Step:
    """A step that compiles `files` into `target`, together with what they use of the runtime."""
    command = (str(home / "bin" / "javac"), *(f"-J{option}" for option in toolchain.BRIEF), "-d", str(target))
    options = ("-encoding", "UTF-8", "-parameters", "-g", "-proc:none", "-implicit:class", "-nowarn", "-cp", libraries)
    # A source path: classes of the project come before those of the runtime, should they have the same name.
    return Step(title, (*command, *options, "-sourcepath", str(toolchain.RUNTIME), *files))


def needs_maven(project: Path) -> bool:
    """Whether pom.xml asks for more than the sources and the JDK."""
    text = read_configuration(project / "pom.xml")
    if not text:
        return False
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise BuildProblem("pom.xml declares a document type: remove it")
    try:
        pom = ElementTree.fromstring(text)  # noqa: S314 - it declares no entities, and its size is limited
    except ElementTree.ParseError as error:
        raise BuildProblem(f"pom.xml is not XML: {error}") from error
    for element in pom.iter():
        element.tag = str(element.tag).rpartition("}")[2]
    if pom.find("parent") is not None or pom.find("modules") is not None:
        return True
    for dependency in pom.findall("./dependencies/dependency"):
        group = (dependency.findtext("groupId") or "").strip()
        scope = (dependency.findtext("scope") or "").strip()
        if scope != "test" and not _NOT_LIBRARIES.fullmatch(group):
            return True
        if (dependency.findtext("artifactId") or "").strip() == "algorithmia-client" and _uses_client(project):
            return True
    return False


def _uses_client(project: Path) -> bool:
    paths = toolchain.sources(project, _SOURCES, ".java")
    return any(_CLIENT.search(read_configuration(project / path)) for path in paths)


LANGUAGE = Java()
