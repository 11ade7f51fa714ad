"""Python: what every language must do, and every layout that projects ever had, on every interpreter of the machine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from build_projects import HELLO, Author, project, require_index
from language_suite import LanguageSuite
from platforms import Server

from Algorithmia.server.languages import Languages, toolchains
from Algorithmia.server.languages.base import BuildProblem
from Algorithmia.server.languages.python3 import requirements

LANGUAGES = Languages()
ENVIRONMENTS = LANGUAGES.environments(LANGUAGES.all["python3"])

ZOO = '''# -*- coding: utf-8 -*-
from __future__ import print_function
import sys

LOADS = []
CALLS = []
TEXT = type(u"")


class Unsupported(Exception):
    error_type = "UnsupportedError"


def load():
    print("loading")
    LOADS.append(1)
    return CALLS


def apply(input, state=CALLS):
    if isinstance(input, TEXT):
        return u"hello " + input
    if isinstance(input, bytes):
        return bytearray(input[::-1])  # in Python 2, bytes that are text are text
    if input is None:
        return None
    do, value = input["do"], input.get("value")
    if do == "echo":
        return value
    if do == "bytes":
        return bytearray(range(256))
    if do == "fail":
        raise RuntimeError(value if sys.version_info[0] > 2 else value.encode("utf-8"))
    if do == "fail-typed":
        raise Unsupported(value)
    if do == "print":
        print(value if sys.version_info[0] > 2 else value.encode("utf-8"))
        return "printed"
    if do == "state":
        state.append(1)
        return {"loads": len(LOADS), "calls": len(state)}
    if do == "exit":
        sys.exit(3)
'''


class TestPython2(LanguageSuite):
    language = "python2"
    files = {"src/__ALGO__.py": ZOO}
    traced = "src/__ALGO__.py"


class TestPython3(LanguageSuite):
    language = "python3"
    files = {"src/__ALGO__.py": ZOO + "\n\nfrom Algorithmia import ADK\nADK(apply, load).init()\n"}
    traced = "src/__ALGO__.py"

    # Its runner speaks frames, which the engine's tests do too.
    test_runner_of_the_template = test_runner_values = test_runner_errors = test_runner_output = None  # type: ignore
    test_runner_state = test_runner_survives_any_line = test_runner_large_values = None  # type: ignore
    test_runner_ends_with_its_input = None  # type: ignore


@pytest.fixture(scope="module")
def author(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Author:
    return Author(server, tmp_path_factory.mktemp("author"))


def ask(author: Author, name: str, commit: str, value: Any) -> Any:
    return author.call(f"{name}/{commit}", "json", value).result()[1]


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda environment: environment.name)
def test_every_interpreter(author: Author, environment: Any) -> None:
    if not environment.is_available:
        pytest.skip(environment.problem)
    version = tuple(map(int, environment.version.split(".")))
    if version < (3, 10):
        require_index()  # the SDK's dependencies
    name = f"On{environment.name}"
    author.make(name, package_set=environment.name)
    source = (
        "import sys, Algorithmia\nfrom Algorithmia import ADK\n"
        "def apply(input, state):\n    return [list(sys.version_info[:3]), state, sys.flags.isolated]\n"
        "def load():\n    import requests, toml, six\n    return Algorithmia.client().username()\n"
        "ADK(apply, load).init()\n"
    ).replace("Algorithmia.client().username()", "str(Algorithmia.client().dir('data://.my').exists())")
    commit = author.succeeds(project(source, name=name), name)
    found = ask(author, name, commit, None)
    assert found[0] == list(version)
    assert found[1:] == ["True", 1] or found[1:] == ["False", 1]


def test_missing_interpreters_are_listed_with_the_remedy() -> None:
    names = {environment.name for environment in ENVIRONMENTS}
    assert names >= {"python39", "python310", "python311", "python312", "python313"}
    for environment in ENVIRONMENTS:
        if not environment.is_available:
            assert "install it" in environment.problem and not environment.program


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("OldTemplate", {"src/OldTemplate.py": "def apply(input):\n    return 'hello ' + input\n"}),
        (
            "OldSiblings",
            {
                "src/OldSiblings.py": "from .other import greet\ndef apply(input):\n    return greet(input)\n",
                "src/other.py": "def greet(name):\n    return 'hello ' + name\n",
            },
        ),
        (
            "Handlers",
            {
                "src/Algorithm.py": "import Algorithmia\n"
                "def apply(input, state):\n    return state + input\n"
                "def load():\n    return 'hello '\n"
                "algo_handler = Algorithmia.handler(apply, load)\nalgo_handler.serve()\n"
            },
        ),
        (
            "Published",
            {
                ".adk": "",
                "requirements.txt": "algorithmia>=1.0.0,<2.0\nalgorithmia-adk>=1.0,<1.4\n",
                "src/Published.py": "from Algorithmia import ADK\n"
                "def apply(input):\n    return 'hello {}'.format(str(input))\n"
                "algorithm = ADK(apply)\nalgorithm.init('Algorithmia')\n",
            },
        ),
        (
            "PublishedName",
            {
                ".adk": "",
                "requirements.txt": "algorithmia_adk==1.2.4  # the ADK\n",
                "src/PublishedName.py": "from adk import ADK\nfrom adk.modeldata import ModelData\n"
                "def apply(input, state):\n    return state + input\n"
                "def load(model_data):\n    assert isinstance(model_data, ModelData)\n    return 'hello '\n"
                "ADK(apply, load).init('Algorithmia')\n",
            },
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_layouts(author: Author, name: str, files: dict[str, str]) -> None:
    author.make(name)
    base = project(name=name, adk=False)
    del base[f"src/{name}.py"]
    commit = author.succeeds({**base, **files}, name)
    assert author.call(f"{name}/{commit}", "text", "you").result() == ("text", "hello you")


def test_algorithms_see_the_sdk_and_nothing_else_of_the_server(author: Author) -> None:
    author.make("Sees")
    source = (
        "import importlib\nfrom Algorithmia import ADK\n"
        "def apply(input):\n"
        "    try:\n        return importlib.import_module(input).__name__\n"
        "    except ImportError as error:\n        return str(error)\n"
        "ADK(apply).init()\n"
    )
    commit = author.succeeds(project(source, name="Sees"), "Sees")
    for name in ("Algorithmia", "adk", "requests", "urllib3", "six", "toml", "json", "sqlite3"):
        assert ask(author, "Sees", commit, name) == name
    for name in ("sqlalchemy", "starlette", "uvicorn", "msgspec", "pytest", "Algorithmia.server.services", "numpy"):
        assert ask(author, "Sees", commit, name).startswith("No module named"), name


def test_a_project_that_bears_several_calls_at_a_time_gets_them(author: Author) -> None:
    author.make("Meets")
    source = (
        "import os, threading\nfrom Algorithmia import ADK\n"
        "meeting = threading.Barrier(3, timeout=30)\n"
        "def apply(input):\n    meeting.wait()\n    return os.getpid()\n"
        "ADK(apply).init()\n"
    )
    files = project(source, name="Meets")
    files["algorithmia.conf"] = '{"algoname": "Meets", "concurrency": 3}'
    commit = author.succeeds(files, "Meets")
    with ThreadPoolExecutor(3) as threads:
        # Nobody would come to the meeting if each had a process to itself.
        answers = [threads.submit(ask, author, "Meets", commit, None) for _ in range(3)]
        assert len({answer.result() for answer in answers}) == 1


def test_a_concurrency_that_is_no_number(author: Author, tmp_path: Path) -> None:
    for value in ("0", "65", "true", '"many"', "1.5"):
        (tmp_path / "algorithmia.conf").write_text(f'{{"algoname": "x", "concurrency": {value}}}')
        with pytest.raises(BuildProblem, match="make it a number from 1 to 64"):
            toolchains.concurrency(tmp_path)
    for text in ("{}", "[]", "nonsense", '{"concurrency": 1}'):
        (tmp_path / "algorithmia.conf").write_text(text)
        assert toolchains.concurrency(tmp_path) == 1


def test_packages(author: Author) -> None:
    require_index()
    author.make("Packages")
    source = "import iniconfig\nfrom Algorithmia import ADK\nADK(lambda input: iniconfig.__name__).init()\n"
    files = project(source, "algorithmia>=1\niniconfig==2.0.0\n", name="Packages")
    build, log = author.outcome(files, "Packages")
    assert build["status"] == "succeeded", log
    assert "algorithmia>=1: left out, the platform's own SDK is used" in log
    assert "\niniconfig==2.0.0\n" in log, log
    assert ask(author, "Packages", build["commit_sha"], None) == "iniconfig"
    files["src/Packages.py"] += "# changed\n"
    build, log = author.outcome(files, "Packages")
    assert "Dependencies unchanged" in log and "==> Install requirements.txt" not in log
    assert ask(author, "Packages", build["commit_sha"], None) == "iniconfig"
    files["requirements.txt"] = "iniconfig==2.0.0\nno-such-package-of-anybody-at-all\n"
    log = author.fails(files, "Packages")
    assert "no-such-package-of-anybody-at-all" in log
    assert log.splitlines()[-1].startswith("FAILED: Install requirements.txt")


@pytest.mark.parametrize(
    ("text", "provided", "wanted"),
    [
        ("", 0, []),
        ("# nothing\n\n   \n", 0, []),
        ("algorithmia\nalgorithmia-adk>=1.0,<1.4\n", 2, []),
        ("Algorithmia_ADK==1.2 # x\nALGORITHMIA[all]; python_version > '3'\n", 2, []),
        ("--index-url https://x/simple\n-i https://y\n--extra-index-url=z\nalgorithmia", 1, []),
        ("algorithmia-extra\nnumpy>=1 # fast", 0, ["algorithmia-extra", "numpy>=1"]),
        ("numpy \\\n  ==1.0 \\\n  --hash=sha256:abc", 0, ["numpy    ==1.0    --hash=sha256:abc"]),
        ("\ufeffnumpy\r\nscipy\r\n", 0, ["numpy", "scipy"]),
    ],
)
def test_requirements(tmp_path: Path, text: str, provided: int, wanted: list[str]) -> None:
    (tmp_path / "requirements.txt").write_bytes(text.encode())
    found = requirements.read(tmp_path)
    assert len(found.provided) == provided
    assert list(found.wanted) == wanted


def test_requirements_that_mean_files_depend_on_the_project(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("-r more.txt\n")
    (tmp_path / "more.txt").write_text("numpy\n")
    first = requirements.read(tmp_path).key
    assert requirements.read(tmp_path).key == first
    (tmp_path / "more.txt").write_text("scipy\n")
    assert requirements.read(tmp_path).key != first


def test_requirements_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(BuildProblem, match="UTF-8"):
        requirements.read(tmp_path)


def test_the_template_tests_itself(author: Author) -> None:
    author.make("Fresh")
    directory = author.clone("Fresh")
    assert {path.name for path in directory.iterdir()} >= {".adk", "algorithmia.conf", "requirements.txt", "README.md"}
    assert HELLO.splitlines()[0] in (directory / "src" / "Fresh.py").read_text()
