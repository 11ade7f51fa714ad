"""Languages as the machine has them: missing toolchains, wrappers, versions; and what the guide says of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from language_suite import write_project
from platforms import ROOT, clean_environment

from Algorithmia.server.languages import Languages, toolchains
from Algorithmia.server.languages.base import BuildProblem, Environment

LANGUAGES = Languages()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is the only place where programs are looked for."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchains, "_USUAL", ())
    return tmp_path


@pytest.mark.parametrize(
    "name, packages",
    [("javascript", "nodejs and npm"), ("ruby", "ruby and ruby-bundler"), ("r", "r-base-core and r-cran-jsonlite")],
)
def test_a_missing_toolchain_names_its_packages(path: Path, name: str, packages: str) -> None:
    (missing,) = LANGUAGES.all[name].find_environments()
    assert not missing.is_available and missing.program == ""
    assert missing.problem.endswith("install the Debian packages " + packages)


@pytest.mark.parametrize("name, program", [("javascript", "node"), ("ruby", "ruby")])
def test_wrappers_are_stepped_over(path: Path, name: str, program: str) -> None:
    real = shutil.which(program, path="/usr/local/bin:/usr/bin")
    if real is None:
        pytest.skip(f"{program} is not on this machine")
    wrapper = path / program
    wrapper.write_text(f'#!/bin/sh\nexec "{real}" "$@"\n')
    wrapper.chmod(0o755)
    (path / (program + "js")).write_text("not a program")
    (found,) = LANGUAGES.all[name].find_environments()
    assert found.is_available
    assert os.path.realpath(found.program) == os.path.realpath(real)


def test_one_environment_for_each_version(path: Path) -> None:
    for directory, version in (("a", "v18.2.0"), ("b", "v22.0.1"), ("c", "v18.9.9"), ("d", "broken")):
        program = path / directory / "bin" / "node"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho {version} {program}\n")
        program.chmod(0o755)
    os.environ["PATH"] = os.pathsep.join(str(path / name / "bin") for name in "abcd")
    found = LANGUAGES.all["javascript"].find_environments()
    assert [environment.name for environment in found] == ["node22", "node18"]
    assert found[1].version == "18.2.0"
    assert found[0].readable == (str(path / "b"),)


@pytest.mark.parametrize(
    "name, programs, command",
    [
        ("javascript", ("npm", "node"), ["npm", "test", "--silent"]),
        ("ruby", ("rake", "ruby"), ["rake", "-s", "test"]),
        ("r", ("Rscript",), ["Rscript", "src/Zoo_test.r"]),
    ],
)
def test_templates_test_themselves(tmp_path: Path, name: str, programs: tuple[str, ...], command: list[str]) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on this machine")
    project = write_project(LANGUAGES.all[name], {}, tmp_path / "project")
    environment = clean_environment(tmp_path)
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, timeout=120)
    assert (done.returncode, done.stdout.split()[-1:]) == (0, [b"ok"]), done.stderr.decode()
    source = next(path for path in sorted((project / "src").iterdir()) if path.stem == "Zoo")
    source.write_text(source.read_text(encoding="utf-8").replace("hello", "goodbye"), encoding="utf-8")
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, timeout=120)
    assert done.returncode != 0


@pytest.mark.parametrize(
    "name, file",
    [
        ("javascript", "package.json"),
        ("javascript", "algorithmia.conf"),
        ("ruby", "Gemfile"),
        ("r", "packages.txt"),
        ("java", "pom.xml"),
        ("scala", "build.sbt"),
        ("scala", "algorithmia.conf"),
        ("rust", "Cargo.toml"),
        ("python3", "requirements.txt"),
    ],
)
def test_configurations_are_not_read_at_any_length(tmp_path: Path, name: str, file: str) -> None:
    language = LANGUAGES.all[name]
    environment = Environment(name, name, "", "", "/usr/bin/true", "1.0")
    project = write_project(language, {}, tmp_path / "project")
    (project / file).write_text("[" * (2 << 20))
    with pytest.raises(BuildProblem, match="larger than|can't be a list"):
        language.dependency_key(project, environment)
        language.compile(project, environment, None, tmp_path)
        language.runtime(project, environment, None)


def test_a_configuration_nested_too_deeply_is_the_authors_mistake(tmp_path: Path) -> None:
    cases = (("javascript", "package.json"), ("javascript", "algorithmia.conf"), ("java", "algorithmia.conf"))
    for name, file in cases:
        language = LANGUAGES.all[name]
        environment = Environment(name, name, "", "", "/usr/bin/true", "1.0")
        project = write_project(language, {file: "[" * 500_000}, tmp_path / f"{name} {file}")
        with pytest.raises(BuildProblem, match=file):
            language.compile(project, environment, None, tmp_path)
            language.runtime(project, environment, None)


def test_names_are_unambiguous() -> None:
    names = [name for language in LANGUAGES.all.values() for name in (language.name, *language.aliases)]
    assert len(names) == len(set(names))
    for language in LANGUAGES.all.values():
        assert language.name == language.directory.name
        template = language.directory / "template"
        assert (template / "algorithmia.conf").is_file() and (template / "README.md").is_file()


def test_the_guide_names_every_language() -> None:
    guide = Path(ROOT, "docs", "guides", "languages.md").read_text(encoding="utf-8")
    table = guide.split("## What there is")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*)$", table, re.MULTILINE))
    assert set(rows) == set(LANGUAGES.all)
    for name, language in LANGUAGES.all.items():
        for word in (*language.aliases, *language.req_files):
            assert f"`{word}`" in rows[name], (name, word)
