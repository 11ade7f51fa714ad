"""What every language must do, tested twice: its runner driven directly, and an algorithm on a real platform.

A language's test file says what its project is, and inherits the tests::

    from language_suite import LanguageSuite

    class TestRuby(LanguageSuite):
        language = "ruby"                        # the folder's name; settings.language of the algorithm
        files = {"src/__ALGO__.rb": '''...'''}   # laid over the language's template; "" deletes a file of it
        raised = "RuntimeError"                  # error_type of an exception that says nothing else
        traced = "src/__ALGO__.rb"               # what the stack trace of an exception in it mentions

`files` is one algorithm, the *zoo*, with these manners (``__ALGO__`` and ``__USER__`` are replaced everywhere):

| Input | It |
| --- | --- |
| text X | returns text ``hello X`` |
| binary | returns the bytes in reverse, as binary |
| null | returns null |
| ``{"do": "echo", "value": V}`` | returns V |
| ``{"do": "bytes"}`` | returns the 256 byte values as binary |
| ``{"do": "fail", "value": TEXT}`` | raises an ordinary exception with this message |
| ``{"do": "fail-typed", "value": TEXT}`` | raises one whose error_type is ``UnsupportedError`` |
| ``{"do": "print", "value": TEXT}`` | prints TEXT and a newline to standard output, returns text ``printed`` |
| ``{"do": "state"}`` | returns ``{"loads": times that load ran, "calls": times that this was asked}`` |
| ``{"do": "exit"}`` | ends its process with status 3 |

`load` prints ``loading`` and makes the state. Behaviour that a language can't express is named in `cannot`: keys of the
table's ``do``, and ``null``. `loses_floats` says that 1.0 comes back as 1 (one number type), the method `expected`
whatever else comes back changed.

Tests of the runner alone (`TestX::test_runner_...`) need no server: the project is prepared in a directory by the
language's own install and compile steps, run as they are, and a `Conversation` speaks the documented protocol with it:

    with Conversation(command, cwd, environment, scratch) as talk:   # runner_conversation.py
        talk.started          # the lines printed before PIPE_INIT_COMPLETE
        talk.ask("text", "X") # -> Outcome(content_type, value, error, stdout)
        talk.send(b"not JSON\\n")

Everything is skipped, saying why, where the language's toolchain is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hosted_algorithms import Hosted
from platforms import Server
from runner_conversation import Conversation, Ended, Outcome

from Algorithmia.server.languages import Languages
from Algorithmia.server.languages.base import Environment, Language

_LANGUAGES = Languages()
NESTED: Any = {
    "list": [1, 2.5, -3, "x", True, False, None, [], [[1], {"deep": [{}]}]],
    "text": "gr\u00fc\u00df dich, \u4e16\u754c \U0001f600 \" \\ \n\t\u0001 \u2028 </script>",
    "": {"empty key": ""},
    "kl\u00fcft": {"a": {"b": {"c": 0}}},
}

Ask = Callable[[str, Any], Outcome]
Run = Callable[..., Conversation]


class LanguageSuite:
    """The tests; a subclass says which language. See the module's documentation."""

    language = ""
    files: dict[str, str] = {}
    raised = "AlgorithmError"
    traced = ""
    cannot: tuple[str, ...] = ()
    loses_floats = False

    @pytest.fixture(scope="class")
    @classmethod
    def toolchain(cls) -> tuple[Language, Environment]:
        """The language and its preferred environment."""
        return toolchain_of(cls.language)

    @pytest.fixture(scope="class")
    @classmethod
    def template(cls, toolchain: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Conversation]:
        """A conversation with the template as it is."""
        yield from cls._conversation(toolchain, {}, tmp_path_factory.mktemp("template"))

    @pytest.fixture(scope="class")
    @classmethod
    def zoo(cls, toolchain: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Conversation]:
        """A conversation with the zoo."""
        yield from cls._conversation(toolchain, cls.files, tmp_path_factory.mktemp("zoo"))

    @staticmethod
    def _conversation(toolchain: Any, files: dict[str, str], place: Path) -> Iterator[Conversation]:
        with start(*toolchain, write_project(toolchain[0], files, place / "project"), place) as talk:
            yield talk

    @pytest.fixture(scope="class")
    @classmethod
    def hosted(cls, toolchain: Any, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Hosted:
        """An account on the platform."""
        return Hosted(server, tmp_path_factory.mktemp("hosted"))

    @pytest.fixture(scope="class")
    @classmethod
    def published(cls, hosted: Hosted) -> Ask:
        """The zoo, created, cloned, pushed, built and published: a function that calls it."""
        return publish(hosted, cls.language, cls.files)

    # --- the runner, driven directly

    def test_runner_of_the_template(self, template: Conversation) -> None:
        assert template.ask("text", "W\u00f6rld").result() == ("text", "hello W\u00f6rld")

    def test_runner_values(self, zoo: Conversation) -> None:
        assert "loading" in zoo.started
        self.check_values(zoo.ask)

    def test_runner_errors(self, zoo: Conversation) -> None:
        self.check_errors(zoo.ask)

    def test_runner_output(self, zoo: Conversation) -> None:
        self.check_output(zoo.ask)

    def test_runner_state(self, zoo: Conversation) -> None:
        self.check_state(zoo.ask)

    @pytest.mark.parametrize(
        "line",
        [
            b"\n", b"{\n", b"not JSON\n", b"\xff\xfe\xfd\n", b'"\xff"\n', b"[]\n", b"1\n", b"null\n", b"{}\n",
            b'{"content_type":"text"}\n', b'{"data":1}\n', b'{"content_type":"nothing","data":1}\n',
            b'{"content_type":5,"data":1}\n', b'{"content_type":"binary","data":7}\n', b'"' + b"x" * 300000 + b"\n",
        ],
        ids=lambda line: line[:20].decode("ascii", "replace").strip() or "empty",
    )  # fmt: skip
    def test_runner_survives_any_line(self, zoo: Conversation, line: bytes) -> None:
        error = zoo.send(line).failure()
        assert error["error_type"] == "ParsingError" and error["message"], error
        assert zoo.ask("text", "still there").result() == ("text", "hello still there")

    def test_runner_large_values(self, zoo: Conversation) -> None:
        large = os.urandom(1 << 20)
        assert zoo.ask("binary", large).result() == ("binary", large[::-1])
        text = "\u20ac\u00e4x" * 200000
        assert zoo.ask("text", text).result() == ("text", "hello " + text)

    def test_runner_ends_with_its_input(self, toolchain: Any, tmp_path: Path) -> None:
        with start(*toolchain, write_project(toolchain[0], self.files, tmp_path / "project"), tmp_path) as talk:
            assert talk.close() == 0
        if "exit" not in self.cannot:
            with start(*toolchain, tmp_path / "project", tmp_path) as talk:
                with pytest.raises(Ended) as ended:
                    talk.ask("json", {"do": "exit"})
                assert ended.value.status == 3

    # --- on a platform

    def test_platform_template(self, hosted: Hosted) -> None:
        hosted.create("Fresh", self.language)
        commit = hosted.compile("Fresh")
        assert hosted.call(f"Fresh/{commit}", "text", "W\u00f6rld").result() == ("text", "hello W\u00f6rld")

    def test_platform_values(self, published: Ask) -> None:
        self.check_values(published)

    def test_platform_errors(self, published: Ask) -> None:
        self.check_errors(published)

    def test_platform_output(self, published: Ask) -> None:
        self.check_output(published)

    def test_platform_state(self, published: Ask) -> None:
        self.check_state(published)

    def test_platform_exit_fails_its_call_only(self, published: Ask) -> None:
        if "exit" in self.cannot:
            pytest.skip(f"{self.language} can't end its process")
        error = published("json", {"do": "exit"}).failure()
        assert error["error_type"] == "SystemExit" and "3" in error["message"], error
        assert published("text", "x").result() == ("text", "hello x")

    # --- what must hold in both

    def expected(self, value: Any) -> Any:
        """What comes back for `value`, where a language has a rule of its own."""
        return value

    def check_values(self, ask: Ask) -> None:
        """Text, JSON, binary and null come and go as they are."""
        assert ask("text", "x").result() == ("text", "hello x")
        assert ask("json", "x").result() == ("text", "hello x")
        assert ask("text", "\u4e16\u754c \U0001f600").result() == ("text", "hello \u4e16\u754c \U0001f600")
        assert ask("text", "").result() == ("text", "hello ")
        assert ask("binary", bytes(range(256))).result() == ("binary", bytes(reversed(range(256))))
        assert ask("binary", b"").result() == ("binary", b"")
        if "bytes" not in self.cannot:
            assert ask("json", {"do": "bytes"}).result() == ("binary", bytes(range(256)))
        if "null" not in self.cannot:
            assert ask("json", None).result() == ("json", None)
        if "echo" in self.cannot:
            return
        for value in (
            NESTED, [], {}, [[]], [{}], [1], ["a"], [None], [1, 2, 3], [[1, 2], [3, 4]], [[1, 2], [3]], ["a", 1],
            [{"a": 1}, {"a": 2}], {"a": [1]}, {"a": []}, {"a": {}}, {"a": None}, True, False,
            0, -1, 42, 1.5, -0.25, 1e-7, 123456789, 2**31, 2**53 - 1, [1.5, 2], [True, False], {"x": [None, 1]},
        ):  # fmt: skip
            expected = self.expected(value)
            content_type = "text" if isinstance(expected, str) else "json"
            assert ask("json", {"do": "echo", "value": value}).result() == (content_type, expected), value
        assert ask("json", {"do": "echo", "value": "\u00e9"}).result() == ("text", "\u00e9")
        if "null" not in self.cannot:
            assert ask("json", {"do": "echo", "value": None}).result() == ("json", None)
        if not self.loses_floats:
            found = ask("json", {"do": "echo", "value": [1.0]}).value
            assert found == [1.0] and isinstance(found[0], float)

    def check_errors(self, ask: Ask) -> None:
        """Exceptions are answered with message, type and trace, and harm nothing."""
        error = ask("json", {"do": "fail", "value": "b\u00f6se"}).failure()
        assert error["message"] == "b\u00f6se"
        assert error["error_type"] == self.raised
        assert self.traced.replace("__ALGO__", "Zoo") in error["stacktrace"], error
        if "fail-typed" not in self.cannot:
            error = ask("json", {"do": "fail-typed", "value": "not this"}).failure()
            assert (error["message"], error["error_type"]) == ("not this", "UnsupportedError")
        assert ask("text", "x").result() == ("text", "hello x")

    def check_output(self, ask: Ask) -> None:
        """What a call prints belongs to it."""
        found = ask("json", {"do": "print", "value": "gr\u00fc\u00dfe"})
        assert found.result() == ("text", "printed")
        assert found.stdout.rstrip("\n") == "gr\u00fc\u00dfe"
        assert ask("text", "x").stdout == ""

    def check_state(self, ask: Ask) -> None:
        """What `load` makes is made once."""
        first = ask("json", {"do": "state"}).result()[1]
        second = ask("json", {"do": "state"}).result()[1]
        assert first["loads"] == second["loads"] == 1
        assert second["calls"] == first["calls"] + 1


class RefusesDeepNesting:
    """For runners that parse JSON with a stack of bounded depth: beside `LanguageSuite`."""

    def test_nested_deeper_than_a_stack(self, zoo: Conversation) -> None:
        value = b"[" * 100000 + b"]" * 100000
        line = b'{"content_type":"json","data":{"do":"echo","value":' + value + b"}}\n"
        assert zoo.send(line).failure()["message"]
        assert zoo.ask("text", "still there").result() == ("text", "hello still there")


def toolchain_of(name: str) -> tuple[Language, Environment]:
    """The language of that name and its preferred environment; skips the test without its toolchain."""
    language = _LANGUAGES.find(name)
    assert language is not None, name
    environment = _LANGUAGES.environments(language)[0]
    if not environment.is_available:
        pytest.skip(f"{environment.display_name}: {environment.problem}")
    return language, environment


def toolchain_fixture(name: str) -> Any:
    """The fixture `toolchain` for tests outside the suite's class."""

    @pytest.fixture
    def toolchain() -> tuple[Language, Environment]:
        return toolchain_of(name)

    return toolchain


def run_fixture(name: str, source_file: str) -> Any:
    """The fixture `run`: a function that starts a project, ``run("text of source_file")`` or ``run(files={...})``."""

    @pytest.fixture
    def run(tmp_path: Path) -> Iterator[Run]:
        toolchain = toolchain_of(name)
        with ExitStack() as stack:

            def begin(source: str = "", files: dict[str, str] | None = None) -> Conversation:
                project = write_project(toolchain[0], files or {source_file: source}, tmp_path / "project")
                return stack.enter_context(start(*toolchain, project, tmp_path))

            yield begin

    return run


def fill_in(text: str, name: str, owner: str) -> str:
    """A template's text with its placeholders replaced."""
    return text.replace("__ALGO__", name).replace("__USER__", owner)


def lay_over(directory: Path, files: Mapping[str, str], name: str, owner: str) -> None:
    """Write `files` into a project; "" deletes one that is there."""
    for relative, content in files.items():
        path = directory / fill_in(relative, name, owner)
        if content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(fill_in(content, name, owner), encoding="utf-8")
        else:
            path.unlink()


def write_project(language: Language, files: Mapping[str, str], target: Path, name: str = "Zoo") -> Path:
    """The language's template, filled in, with `files` over it."""
    source = language.directory / "template"
    for path in sorted(source.rglob("*")):
        copied = target / fill_in(str(path.relative_to(source)), name, "me")
        if path.is_file():
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_text(fill_in(path.read_text(encoding="utf-8"), name, "me"), encoding="utf-8")
            shutil.copymode(path, copied)
    lay_over(target, files, name, "me")
    return target


def publish(hosted: Hosted, language: str, files: Mapping[str, str]) -> Ask:
    """An algorithm of `files`, created, cloned, pushed, built and published: a function that calls it."""
    hosted.create("Zoo", language)
    directory = hosted.clone("Zoo")
    lay_over(directory, files, "Zoo", hosted.name)
    hosted.push("Zoo", directory)
    assert hosted.publish("Zoo") == "0.1.0"
    return lambda content_type, value: hosted.call("Zoo/0.1.0", content_type, value)


def start(language: Language, environment: Environment, project: Path, place: Path) -> Conversation:
    """Prepare `project` by the language's own steps, unless that was done, and start its runner."""
    cache, dependencies, scratch = place / "cache", place / "dependencies", place / "scratch"
    has_dependencies = language.dependency_key(project, environment) is not None
    if not scratch.exists():
        for directory in (cache, dependencies, scratch):
            directory.mkdir()
        steps = language.install(project, environment, dependencies, cache) if has_dependencies else []
        steps += language.compile(project, environment, dependencies if has_dependencies else None, cache)
        for step in steps:
            variables = {"PATH": "/usr/bin:/bin", "HOME": str(scratch), "LANG": "C.UTF-8", **step.environment}
            for name in ("http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE"):
                if step.network and name in os.environ:
                    variables[name] = os.environ[name]
            done = subprocess.run(step.command, cwd=project, env=variables, capture_output=True, timeout=600)
            assert done.returncode == 0, (step, done.stdout.decode(), done.stderr.decode())
    runtime = language.runtime(project, environment, dependencies if has_dependencies else None)
    assert runtime.protocol == "stdio"
    return Conversation(runtime.command, project, runtime.environment, scratch)
