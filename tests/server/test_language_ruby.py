"""Ruby: what every language must do, where `apply` may be, encodings, Bundler."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hosted_algorithms import Hosted
from language_suite import LanguageSuite, Run, publish, run_fixture, write_project
from platforms import Server
from runner_conversation import Ended

from Algorithmia.server.languages import Languages
from Algorithmia.server.languages.base import BuildProblem
from Algorithmia.server.languages.toolchains import output_of

LANGUAGES = Languages()
ZOO = """
class Unsupported < StandardError
  def error_type
    'UnsupportedError'
  end
end

$loads = 0

def load
  $loads += 1
  puts 'loading'
  { calls: 0 }
end

def apply(input, state)
  return nil if input.nil?
  if input.is_a?(String)
    return input.encoding == Encoding::BINARY ? input.reverse : "hello #{input}"
  end

  case input['do']
  when 'echo' then input['value']
  when 'bytes' then (0..255).to_a.pack('C*')
  when 'fail' then raise input['value']
  when 'fail-typed' then raise Unsupported, input['value']
  when 'print'
    puts input['value']
    'printed'
  when 'state'
    state[:calls] += 1
    { loads: $loads, calls: state[:calls] }
  when 'exit' then exit 3
  end
end
"""


class TestRuby(LanguageSuite):
    language = "ruby"
    files = {"src/__ALGO__.rb": ZOO}
    raised = "RuntimeError"
    traced = "from src/__ALGO__.rb:"


run = run_fixture("ruby", "src/__ALGO__.rb")


@pytest.mark.parametrize(
    "source",
    [
        "def apply(input)\n  return 'hello ' + input\nend",
        "def apply(input, context = nil)\n  raise 'state' unless context.nil?\n  'hello ' + input\nend",
        "def load; 'hello '; end\ndef apply(input, state); state + input; end",
        "def load; 'hello '; end\ndef apply(input, state = nil); state + input; end",
        "def load; $greeting = 'hello '; end\ndef apply(input); $greeting + input; end",
        "module Zoo\n  def self.apply(input) = 'hello ' + input\nend",
        "class Algorithm\n  def load = @greeting = 'hello '\n  def apply(input) = @greeting + input\nend",
        "define_singleton_method(:apply) { |input| 'hello ' + input }",
    ],
)
def test_forms_of_apply(run: Run, source: str) -> None:
    talk = run(source)
    for _ in range(3):
        assert talk.ask("text", "x").result() == ("text", "hello x")


def test_requests_are_not_for_the_algorithm_to_read(run: Run) -> None:
    talk = run("def apply(input) = [STDIN.read, `cat`, input]")
    for _ in range(2):
        assert talk.ask("text", "x").result() == ("json", ["", "", "x"])


def test_results(run: Run) -> None:
    talk = run("def apply(input) = eval(input)")
    assert talk.ask("text", ":symbol").result() == ("json", "symbol")
    assert talk.ask("text", "{a: 1, 2 => nil}").result() == ("json", {"a": 1, "2": None})
    assert talk.ask("text", "2**80").result() == ("json", 2**80)
    assert talk.ask("text", "233.chr('ISO-8859-1')").result() == ("text", "\u00e9")
    assert talk.ask("text", "'x'.force_encoding('US-ASCII')").result() == ("text", "x")
    assert talk.ask("text", "233.chr('UTF-8').b").result() == ("binary", b"\xc3\xa9")


@pytest.mark.parametrize(
    "source, message, error_type, trace",
    [
        ("raise ArgumentError, 'wrong'", "wrong", "ArgumentError", "ArgumentError: wrong"),
        ("Float::NAN", "the result can't be written as JSON", "TypeError", "NaN"),
        ("a = []; a << a; a", "the result can't be written as JSON", "TypeError", "nesting"),
        ("\"\\xff\"", "the result is not valid text", "TypeError", ""),
        ("[\"\\xff\"]", "the result can't be written as JSON", "TypeError", ""),
        ("nowhere", "undefined local variable or method", "NameError", "NameError"),
        ("begin; raise 'a'; rescue; raise IOError, 'b'; end", "b", "IOError", "Caused by: RuntimeError: a"),
        ("def down = down\ndown", "stack level too deep", "SystemStackError", ""),
        ("throw :nothing", "uncaught throw :nothing", "UncaughtThrowError", ""),
        ("raise \"\\xff\".b", "\ufffd", "RuntimeError", ""),
        ("raise Class.new(StandardError) { def message = nil }", "", "AlgorithmError", ""),
        ("$stdout.close; 1 / 0", "divided by 0", "ZeroDivisionError", ""),
    ],
)  # fmt: skip
def test_errors(run: Run, source: str, message: str, error_type: str, trace: str) -> None:
    talk = run("def apply(input) = eval(input)")
    error = talk.ask("text", source).failure()
    assert error["message"].startswith(message) and error["error_type"] == error_type, error
    assert trace in error["stacktrace"] and "runner.rb" not in error["stacktrace"], error
    assert talk.ask("text", "1").result() == ("json", 1)


@pytest.mark.parametrize(
    "source, reason",
    [
        ("x = 1", r"src/Zoo.rb defines no method apply"),
        ("def apply(", "SyntaxError"),
        ("require 'nowhere'", "cannot load such file -- nowhere"),
        ("def load; raise 'no model'; end\ndef apply(x); x; end", "no model"),
        ("puts 'bye'; exit 7", "bye"),
    ],
)
def test_a_file_that_does_not_load(run: Run, source: str, reason: str) -> None:
    with pytest.raises(Ended, match=reason) as ended:
        run(source)
    assert ended.value.status == (7 if "exit" in source else 1)


def need_bundler() -> str:
    program = LANGUAGES.environments(LANGUAGES.all["ruby"])[0].program
    if not program or output_of(program, "-rbundler", "-e", "0") is None:
        pytest.skip("Bundler is not on this machine: install the Debian package ruby-bundler")
    return program


GEMSPEC = """
Gem::Specification.new do |s|
  s.name, s.version, s.files = 'greeter', '1.0', ['lib/greeter.rb']
  s.summary = s.author = 'x'
end
"""
GREETER = "module Greeter; def self.greet(x) = 'hello ' + x; end"
GREETING = "require 'greeter'\ndef apply(input) = Greeter.greet(input)"


ENTANGLED = {
    "Gemfile": "gem 'greeter', path: 'greeter'\n",
    "greeter/greeter.gemspec": GEMSPEC,
    "greeter/lib/greeter.rb": GREETER,
    "src/__ALGO__.rb": GREETING,
}


def test_a_gem_that_lies_in_the_project(run: Run) -> None:
    need_bundler()
    assert run(files=ENTANGLED).ask("text", "x").result() == ("text", "hello x")


def test_a_gem_on_a_platform(server: Server, tmp_path: Path) -> None:
    need_bundler()
    ask = publish(Hosted(server, tmp_path), "ruby", ENTANGLED)
    assert ask("text", "x").result() == ("text", "hello x")


def test_gems_of_a_source(run: Run, tmp_path: Path) -> None:
    program = need_bundler()
    source = tmp_path / "source"
    (source / "gems").mkdir(parents=True)
    (source / "lib").mkdir()
    (source / "lib" / "greeter.rb").write_text(GREETER)
    (source / "greeter.gemspec").write_text(GEMSPEC)
    for command in (["build", "-q", "greeter.gemspec", "-o", "gems/greeter-1.0.gem"], ["generate_index", "-q"]):
        made = subprocess.run([program, "-S", "gem", *command], cwd=source, capture_output=True, timeout=60)
        if made.returncode:
            pytest.skip("this RubyGems can't make a source of gems: " + made.stderr.decode())
    talk = run(
        files={"Gemfile": f"source 'file://{source}'\ngem 'greeter', '~> 1.0'\n", "src/__ALGO__.rb": GREETING}
    )
    assert talk.ask("text", "x").result() == ("text", "hello x")


def test_what_dependencies_depend_on(tmp_path: Path) -> None:
    language = LANGUAGES.all["ruby"]
    environment = LANGUAGES.environments(language)[0]
    project = write_project(language, {}, tmp_path)
    assert language.dependency_key(project, environment) is None
    (project / "Gemfile").unlink()
    assert language.dependency_key(project, environment) is None
    (project / "Gemfile").write_text("source 'x'\ngem 'a'\n")
    first = language.dependency_key(project, environment)
    (project / "Gemfile.lock").write_text("GEM\n")
    assert first is not None and language.dependency_key(project, environment) not in (None, first)
    (project / "Gemfile").write_text("source 'x'\ngem 'a', path: '.'\n")
    assert language.dependency_key(project, environment) is None


def test_a_project_without_an_entry_point(tmp_path: Path) -> None:
    language = LANGUAGES.all["ruby"]
    empty = write_project(language, {"src/__ALGO__.rb": ""}, tmp_path)
    with pytest.raises(BuildProblem, match=r"no src/Zoo\.rb"):
        language.runtime(empty, LANGUAGES.environments(language)[0], None)
