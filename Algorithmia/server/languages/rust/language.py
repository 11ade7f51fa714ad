"""Rust: one environment for every stable toolchain on the machine.

A project is a crate with a binary that serves its library through ``algorithmia_runtime``, a crate that the template
brings along and that needs nothing but the standard library: so neither building nor testing it needs a network.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...engine.base import Runtime
from ..base import BuildProblem, Environment, Language, Step
from ..toolchains import read_configuration

_HERE = Path(__file__).parent
_BINARY = "target/algorithm"
_BACKTRACES_SINCE = (1, 65)


class Rust(Language):
    """See `Language`."""

    name = "rust"
    display_name = "Rust 1.x (Environments)"
    req_files = ("Cargo.toml", "Cargo.lock")
    artifacts = (("/opt/algorithm/target/algorithm", "/opt/algorithm/target/"),)

    @property
    def directory(self) -> Path:
        return _HERE

    def find_environments(self) -> list[Environment]:
        """See `Language.find_environments`."""
        problem = "" if shutil.which("cc") else "no linker: install the Debian package gcc"
        found: dict[tuple[int, ...], Environment] = {}
        for directory in find_toolchains():
            version = version_of(directory / "rustc")
            if version is None:
                continue
            text = ".".join(map(str, version))
            readable = () if directory == Path("/usr/bin") else (str(directory.parent),)
            name = f"rust{version[0]}{version[1]}"
            environment = Environment(
                name,
                self.name,
                f"Rust {text}",
                f"rustc and cargo {text}",
                str(directory / "rustc"),
                text,
                readable,
                problem,
            )
            found.setdefault(version[:2], environment)
        missing = "no Rust: install the Debian packages rustc and cargo, or a toolchain by rustup"
        return [found[key] for key in sorted(found, reverse=True)] or [
            Environment("rust1", self.name, "Rust 1.x", "rustc and cargo", problem=missing)
        ]

    def compile(self, project: Path, environment: Environment, dependencies: Path | None, cache: Path) -> list[Step]:
        """See `Language.compile`."""
        binary = binary_name(project)
        directory = Path(environment.program).parent
        needs_network = any(needs_registry(read_manifest(path)) for path in manifests(project))
        # Stack traces name the author's files, wherever the build takes place.
        flags = [f"--remap-path-prefix={project}=."]
        if tuple(map(int, environment.version.split(".")))[:2] >= _BACKTRACES_SINCE:
            flags += ["--cfg", "algorithmia_backtrace"]
        variables = {
            "PATH": f"{directory}:/usr/local/bin:/usr/bin:/bin",
            "RUSTC": environment.program,
            "CARGO_HOME": str(cache / "cargo"),
            "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(flags),
            "CARGO_TERM_COLOR": "never",
        }
        command = (str(directory / "cargo"), "build", "--release", "--bin", binary, "--target-dir", "target/cargo")
        return [
            Step("cargo build", command if needs_network else (*command, "--offline"), variables, needs_network),
            Step("keep the program", ("/bin/mv", f"target/cargo/release/{binary}", _BINARY)),
            Step("remove what it was made from", ("/bin/rm", "-rf", "target/cargo")),
        ]

    def runtime(self, project: Path, environment: Environment, dependencies: Path | None) -> Runtime:
        """See `Language.runtime`."""
        # env looks it up from the project's directory, where workers start.
        return Runtime(("/usr/bin/env", f"./{_BINARY}"), "stdio", {}, ())


def find_toolchains() -> Iterator[Path]:
    """Directories with a rustc and a cargo that are not rustup's own switches."""
    program = shutil.which("rustc")
    homes = [Path(os.environ["RUSTUP_HOME"])] if os.environ.get("RUSTUP_HOME") else []
    homes.append(Path.home() / ".rustup")
    if program:
        # .cargo/bin lies beside .rustup.
        homes.append(Path(program).parents[2] / ".rustup")
    candidates = [path for home in dict.fromkeys(homes) for path in sorted(home.glob("toolchains/*/bin"))]
    if program and not (Path(program).parent / "rustup").exists():
        candidates.append(Path(program).resolve().parent)
    candidates.append(Path("/usr/bin"))
    for directory in dict.fromkeys(candidates):
        if (directory / "rustc").exists() and (directory / "cargo").exists():
            yield directory


def version_of(program: Path) -> tuple[int, ...] | None:
    """The version of a stable rustc; None of others, and of those that don't run."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.match(r"rustc (\d+)\.(\d+)\.(\d+) ", done.stdout)
    return tuple(map(int, found.groups())) if found else None


def manifests(project: Path) -> list[Path]:
    """Every Cargo.toml of a project."""
    return [path for path in sorted(project.rglob("Cargo.toml")) if path.is_file()]


def read_manifest(path: Path) -> dict[str, Any]:
    """A Cargo.toml."""
    # CPython 3.10 has no tomllib; toml, which the SDK brings, doesn't read every file.
    reader = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "toml")
    try:
        manifest: dict[str, Any] = reader.loads(read_configuration(path))
        return manifest
    except (ValueError, IndexError, TypeError, RecursionError) as error:
        raise BuildProblem(f"Cargo.toml can't be read: {error}") from error


def needs_registry(manifest: Any) -> bool:
    """Whether a manifest, or a target's part of it, names dependencies that are not directories of the project."""
    if not isinstance(manifest, dict):
        return False
    for kind in ("dependencies", "dev-dependencies", "build-dependencies"):
        named = manifest.get(kind)
        if isinstance(named, dict) and not all(isinstance(one, dict) and "path" in one for one in named.values()):
            return True
    targets = manifest.get("target")
    parts = [*targets.values()] if isinstance(targets, dict) else []
    return any(needs_registry(part) for part in (*parts, manifest.get("workspace")))


def binary_name(project: Path) -> str:
    """The program that a project's crate makes."""
    if not (project / "Cargo.toml").is_file():
        raise BuildProblem("no Cargo.toml: the project of an algorithm in Rust is a crate")
    manifest = read_manifest(project / "Cargo.toml")
    binaries = manifest.get("bin")
    package = manifest.get("package")
    first = binaries[0] if isinstance(binaries, list) and binaries else package
    name = first.get("name") if isinstance(first, dict) else None
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", name):
        raise BuildProblem("Cargo.toml names no package, or not by a plain name: see the template")
    if not binaries and not (project / "src" / "main.rs").is_file():
        raise BuildProblem(
            "no src/main.rs: write one whose main is algorithmia_runtime::serve(NAME::apply), as the template has it"
        )
    return name


LANGUAGE = Rust()
