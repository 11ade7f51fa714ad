"""JavaScript: what every language must do, the ways a module may export, npm."""

from __future__ import annotations

import json
import shutil
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from hosted_algorithms import Hosted
from language_suite import LanguageSuite, Run, publish, run_fixture, write_project
from platforms import Server
from runner_conversation import Ended

from Algorithmia.server.languages import Languages
from Algorithmia.server.languages.base import BuildProblem

LANGUAGES = Languages()
UNWRITABLE = "the result can't be written as JSON: "
ZOO = """
let loads = 0;
exports.load = async () => {
    loads += 1;
    console.log("loading");
    return { calls: 0 };
};
exports.apply = (input, state) => {
    if (typeof input === "string") return "hello " + input;
    if (Buffer.isBuffer(input)) return Buffer.from(input).reverse();
    if (input === null) return null;
    switch (input.do) {
        case "echo": return input.value;
        case "bytes": return Uint8Array.from({ length: 256 }, (_, i) => i);
        case "fail": throw new Error(input.value);
        case "fail-typed": throw Object.assign(new Error(input.value), { error_type: "UnsupportedError" });
        case "print": console.log(input.value); return "printed";
        case "state": state.calls += 1; return { loads, calls: state.calls };
        case "exit": process.exit(3);
    }
};
"""


class TestJavaScript(LanguageSuite):
    language = "javascript"
    files = {"src/__ALGO__.js": ZOO}
    traced = "(src/__ALGO__.js:"
    loses_floats = True


run = run_fixture("javascript", "src/__ALGO__.js")


@pytest.mark.parametrize(
    "source",
    [
        "exports.apply = function (input, cb) { cb(null, 'hello ' + input); };",
        "exports.apply = (input, cb) => { setTimeout(() => cb(null, 'hello ' + input), 5); return {}; };",
        "exports.apply = async (input, cb) => { cb(null, 'hello ' + input); cb(null, 'twice'); cb('thrice'); };",
        "exports.apply = async (input) => { await null; return 'hello ' + input; };",
        "module.exports = (input) => 'hello ' + input;",
        "module.exports = async function (input) { return 'hello ' + input; };",
        "module.exports = new (class { greet(x) { return 'hello ' + x; } apply(x) { return this.greet(x); } })();",
        "exports.load = () => 'hello '; exports.apply = (input, state, cb) => cb(null, state + input);",
        "exports.load = () => {}; exports.apply = (input, cb) => cb(null, 'hello ' + input);",
        "Greeting = 'hello '; exports.apply = (...all) => Greeting + all[0];",
    ],
)
def test_forms_of_apply(run: Run, source: str) -> None:
    talk = run(source)
    for _ in range(3):
        assert talk.ask("text", "x").result() == ("text", "hello x")


@pytest.mark.parametrize(
    "files",
    [
        {"src/__ALGO__.js": "", "src/__ALGO__.mjs": "export function apply(x) { return 'hello ' + x; }"},
        {"src/__ALGO__.js": "", "src/__ALGO__.mjs": "export default (x) => 'hello ' + x;"},
        {"src/__ALGO__.js": "", "src/Algorithm.cjs": "exports.apply = (x) => 'hello ' + x;"},
        {
            "package.json": '{"type": "module"}',
            "src/other.js": "export const greeting = 'hello ';",
            "src/__ALGO__.js": "import { greeting } from './other.js';\nexport const apply = (x) => greeting + x;",
        },
    ],
    ids=["mjs", "default", "Algorithm.cjs", "type-module"],
)
def test_kinds_of_modules(run: Run, files: dict[str, str]) -> None:
    assert run(files=files).ask("text", "x").result() == ("text", "hello x")


@pytest.mark.parametrize(
    "source, message, error_type, trace",
    [
        ("(x, cb) => cb('just text')", "just text", "AlgorithmError", "[None]"),
        ("async () => { throw new RangeError('far'); }", "far", "AlgorithmError", "RangeError: far"),
        ("(x, cb) => setTimeout(() => { throw new Error('late'); }, 1)", "late", "AlgorithmError", "late"),
        ("() => { throw {message: 'm', errorType: 'MyError'}; }", "m", "MyError", "[None]"),
        ("() => { throw null; }", "null", "AlgorithmError", "[None]"),
        ("() => { throw new Error('a', {cause: new Error('b')}); }", "a", "AlgorithmError", "Caused by: Error: b"),
        ("() => { throw new Error('half \\ud83d'); }", "half \ufffd", "AlgorithmError", ""),
        ("() => { throw new Error('x'.repeat(1e7)); }", "xxx", "AlgorithmError", "Error: xxx"),
        ("() => 10n", UNWRITABLE + "Do not know how to serialize a BigInt", "AlgorithmError", ""),
        ("() => () => 1", UNWRITABLE + "it is a function", "AlgorithmError", ""),
        ("() => { const a = []; a.push(a); return a; }", UNWRITABLE, "AlgorithmError", "circular"),
    ],
)  # fmt: skip
def test_errors(run: Run, source: str, message: str, error_type: str, trace: str) -> None:
    talk = run(f"exports.apply = {source};")
    for _ in range(2):
        error = talk.ask("text", "x").failure()
        assert error["message"].startswith(message) and error["error_type"] == error_type, error
        assert trace in error["stacktrace"], error
        assert "runner.cjs" not in error["stacktrace"] and "node:internal" not in error["stacktrace"], error


def test_results(run: Run) -> None:
    talk = run("exports.apply = (x) => eval(x);")
    assert talk.ask("text", "undefined").result() == ("json", None)
    assert talk.ask("text", "'\\ud83d'").result() == ("text", "\ufffd")
    assert talk.ask("text", "['\\ud83d\\ude00', '\\ud83d x', '\\\\ud83d']").result() == (
        "json",
        ["\U0001f600", "\ufffd x", "\\ud83d"],
    )
    assert talk.ask("text", "new Float32Array([1]).buffer").result() == ("binary", b"\0\0\x80\x3f")
    assert talk.ask("text", "new Float32Array([1, 2]).subarray(0, 1)").result() == ("binary", b"\0\0\x80\x3f")
    assert talk.ask("text", "({a: undefined, b: new Date(0)})").result() == (
        "json",
        {"b": "1970-01-01T00:00:00.000Z"},
    )


@pytest.mark.parametrize(
    "source, reason",
    [
        ("exports.other = 1;", "src/Zoo.js exports no function apply"),
        ("exports.apply = ;", "SyntaxError"),
        ("require('nowhere');", "Cannot find module 'nowhere'"),
        ("exports.apply = () => 1; exports.load = async () => { throw new Error('no model'); };", "no model"),
        ("console.log('bye'); process.exit(7);", "bye"),
    ],
)
def test_a_module_that_does_not_load(run: Run, source: str, reason: str) -> None:
    with pytest.raises(Ended, match=reason) as ended:
        run(source)
    assert ended.value.status == (7 if "exit" in source else 1)


def test_a_package_that_lies_in_the_project(run: Run) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not on this machine: install the Debian package npm")
    talk = run(
        files={
            "package.json": json.dumps({"dependencies": {"greeter": "file:./greeter"}}),
            "greeter/package.json": json.dumps({"name": "greeter", "version": "1.0.0", "main": "index.js"}),
            "greeter/index.js": "exports.greet = (x) => 'hello ' + x;",
            "src/__ALGO__.js": "const { greet } = require('greeter');\nexports.apply = greet;",
        }
    )
    assert talk.ask("text", "x").result() == ("text", "hello x")


def project(tmp_path: Path, package: Any) -> Path:
    text = package if isinstance(package, str) else json.dumps(package)
    return write_project(LANGUAGES.all["javascript"], {"package.json": text}, tmp_path / str(len(text)))


def test_what_dependencies_depend_on(tmp_path: Path) -> None:
    language = LANGUAGES.all["javascript"]
    environment = LANGUAGES.environments(language)[0]

    def key(package: Any) -> str | None:
        return language.dependency_key(project(tmp_path, package), environment)

    wanted = {"dependencies": {"left-pad": "1.3.0"}}
    assert key({}) is None and key({"dependencies": {}}) is None
    assert key(wanted) == key({**wanted, "version": "2.0.0", "description": "other"})
    assert key(wanted) != key({"dependencies": {"left-pad": "1.2.0"}})
    locked = project(tmp_path, {**wanted, "version": "1"})
    before = language.dependency_key(locked, environment)
    (locked / "package-lock.json").write_text("{}")
    assert language.dependency_key(locked, environment) != before
    (locked / "node_modules").mkdir()
    assert language.dependency_key(locked, environment) is None
    for broken in ("{", "[]", '{"dependencies": []}'):
        with pytest.raises(BuildProblem, match=r"package\.json"):
            key(broken)


def test_a_project_without_an_entry_point(tmp_path: Path) -> None:
    language = LANGUAGES.all["javascript"]
    environment = LANGUAGES.environments(language)[0]
    empty = write_project(language, {"src/__ALGO__.js": ""}, tmp_path)
    with pytest.raises(BuildProblem, match=r"no src/Zoo\.js"):
        language.runtime(empty, environment, None)
    (empty / "algorithmia.conf").write_text('{"algoname": "../x"}')
    with pytest.raises(BuildProblem, match="algoname"):
        language.runtime(empty, environment, None)


def need_registry(package: str) -> None:
    if not LANGUAGES.environments(LANGUAGES.all["javascript"])[0].is_available or shutil.which("npm") is None:
        pytest.skip("Node.js and npm are not on this machine: install the Debian packages nodejs and npm")
    try:
        urllib.request.urlopen("https://registry.npmjs.org/" + package, timeout=10).close()
    except OSError as problem:
        pytest.skip(f"the npm registry can't be reached from here: {problem}")


def test_packages_of_the_registry(server: Server, tmp_path: Path) -> None:
    """Installed by npm in the sandbox, used by modules of both kinds, reused by the next build."""
    need_registry("left-pad/1.3.0")
    hosted = Hosted(server, tmp_path)
    hosted.create("Padded", "javascript")
    directory = hosted.clone("Padded")
    package = {"name": "padded", "dependencies": {"left-pad": "1.3.0"}}
    (directory / "package.json").write_text(json.dumps(package))
    (directory / "src" / "Padded.js").write_text(
        "exports.apply = (x) => require('left-pad')(x, 5, '.');\n"
    )
    first = hosted.push("Padded", directory)
    assert hosted.call(f"Padded/{first}", "text", "abc").result() == ("text", "..abc")
    (directory / "src" / "Padded.js").unlink()
    (directory / "src" / "Padded.mjs").write_text(
        "import pad from 'left-pad';\nexport const apply = (x) => pad(x, 6, '.');\n"
    )
    second = hosted.push("Padded", directory)
    assert hosted.call(f"Padded/{second}", "text", "abc").result() == ("text", "...abc")
    assert "npm install" in hosted.log("Padded", first)
    assert "npm install" not in hosted.log("Padded", second)
    assert hosted.call(f"Padded/{first}", "text", "abc").result() == ("text", "..abc")


OLD = """
Algorithmia = require("algorithmia")();

exports.apply = function(input, cb) {
    Algorithmia.file(input).getString(function(text) {
        if (text.error) {
            return cb(text.error.message);
        }
        cb(null, "Hello " + text);
    });
};
"""


def test_a_project_of_the_old_platform(server: Server, tmp_path: Path) -> None:
    """Its own kind of configuration, the published client, hosted data, a callback."""
    need_registry("algorithmia/0.3.10")
    hosted = Hosted(server, tmp_path)
    directory = server.client(hosted.key).dir("data://.my/old")
    directory.create()
    directory.file("name.txt").put("Jane")
    ask = publish(
        hosted,
        "javascript",
        {
            "algorithmia.conf": '{"username": "__USER__", "algoname": "__ALGO__", "language": "node-5.x-1"}',
            "package.json": '{"name": "__ALGO__", "main": "__ALGO__.js", "dependencies": {"algorithmia": "0.3.x"}}',
            "src/__ALGO__.js": OLD,
            "src/__ALGO___test.js": "",
        },
    )
    assert ask("text", "data://.my/old/name.txt").result() == ("text", "Hello Jane")
    assert "nobody.txt" in ask("text", "data://.my/old/nobody.txt").failure()["message"]
