"""The JDKs and Java libraries of the machine, for the languages that run on them."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from ..base import BuildProblem
from ..toolchains import read_configuration

LIBRARIES = Path("/usr/share/java")
GSON = LIBRARIES / "gson.jar"
RUNTIME = Path(__file__).parent / "runtime"
# Programs that end soon: don't spend time on what only pays in the long run.
BRIEF = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-XX:-UsePerfData")
# Half of the machine (or of its control group) rather than a quarter; deep recursion as on other languages.
WORKER = ("-XX:+UseSerialGC", "-Xshare:auto", "-XX:-UsePerfData", "-XX:MaxRAMPercentage=50", "-Xss4m")
_OLDEST = 11


def find_jdks() -> dict[int, tuple[Path, str]]:
    """Home and full version of one JDK of each feature release from 11 on, the newest release first."""
    programs = [Path(os.environ["JAVA_HOME"], "bin", "javac")] if os.environ.get("JAVA_HOME") else []
    programs += [Path(found) for found in [shutil.which("javac")] if found]
    programs += sorted(Path("/usr/lib/jvm").glob("*/bin/javac"))
    homes: dict[int, tuple[Path, str]] = {}
    for program in programs:
        home = program.resolve().parents[1]
        try:
            text = (home / "release").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        version = re.search(r'^JAVA_VERSION="(([0-9]+)[^"]*)"', text, re.MULTILINE)
        if version and int(version[2]) >= _OLDEST and (home / "bin" / "java").exists():
            homes.setdefault(int(version[2]), (home, version[1]))
    return dict(sorted(homes.items(), reverse=True))


def readable(home: Path) -> tuple[str, ...]:
    """The directories of a JDK: Debian keeps its configuration apart, and only links to it."""
    directories = [home, RUNTIME, LIBRARIES]
    for name in ("conf/net.properties", "lib/security/cacerts"):
        target = (home / name).resolve().parent
        if target.is_dir() and home not in target.parents:
            directories.append(target)
    return tuple(dict.fromkeys(map(str, directories)))


def algorithm_name(project: Path) -> str:
    """What algorithmia.conf calls the algorithm; "" if it doesn't."""
    try:
        found = json.loads(read_configuration(project / "algorithmia.conf") or "{}")
    except (ValueError, RecursionError) as error:
        raise BuildProblem(f"algorithmia.conf is not JSON: {error}") from error
    name = found.get("algoname") if isinstance(found, dict) else None
    return name if isinstance(name, str) else ""


def sources(project: Path, folder: str, suffix: str) -> list[str]:
    """The source files below a folder of the project, relative to it."""
    found = sorted((project / folder).rglob(f"*{suffix}"))
    return [str(path.relative_to(project)) for path in found if path.is_file()]


def entry_class(project: Path, folder: str, suffix: str, language: str) -> str:
    """The class that calls go to: the one called as the algorithm or ``Algorithm``."""
    name = algorithm_name(project)
    candidates = [Path(path).relative_to(folder) for path in sources(project, folder, suffix)]
    candidates = [path for path in candidates if path.stem in (name, "Algorithm")]
    if not candidates:
        wanted = f"Algorithm{suffix}" + (f" or {name}{suffix}" if name and name != "Algorithm" else "")
        raise BuildProblem(f"no {wanted} below {folder}: write a {language} class Algorithm with a method apply there")
    first = min(candidates, key=lambda path: (path.stem != name, len(path.parts), path))
    return ".".join(first.with_suffix("").parts)
