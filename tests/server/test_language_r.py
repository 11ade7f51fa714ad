"""R: what every language must do, how JSON becomes vectors and back, old entry points, packages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosted_algorithms import Hosted
from language_suite import LanguageSuite, Run, publish, run_fixture, start, write_project
from platforms import Server
from runner_conversation import Conversation, Ended

from Algorithmia.server.languages import Languages
from Algorithmia.server.languages.base import BuildProblem

LANGUAGES = Languages()
ZOO = """
loads <- 0
load <- function() {
  loads <<- loads + 1
  writeLines("loading")
  state <- new.env()
  state$calls <- 0
  state
}

algorithm <- function(input, state) {
  if (is.null(input)) return(NULL)
  if (is.raw(input)) return(rev(input))
  if (is.character(input)) return(paste("hello", input))
  switch(input$do,
    echo = input$value,
    bytes = as.raw(0:255),
    fail = stop(input$value),
    `fail-typed` = stop(errorCondition(input$value, error_type = "UnsupportedError")),
    print = {
      cat(input$value, "\\n", sep = "")
      "printed"
    },
    state = {
      state$calls <- state$calls + 1
      list(loads = loads, calls = state$calls)
    },
    exit = quit(status = 3)
  )
}
"""


class TestR(LanguageSuite):
    language = "r"
    files = {"src/__ALGO__.r": ZOO}
    traced = "src/__ALGO__.r#"
    loses_floats = True

    def expected(self, value: Any) -> Any:
        """A vector of one value is that value, as it is everywhere in R."""
        if isinstance(value, list):
            items = [self.expected(item) for item in value]
            return items[0] if len(value) == 1 and isinstance(value[0], (str, bool, int, float)) else items
        if isinstance(value, dict):
            return {name: self.expected(item) for name, item in value.items()}
        return value


run = run_fixture("r", "src/__ALGO__.r")


@pytest.fixture(scope="module")
def evaluate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Conversation]:
    """A conversation with an algorithm that evaluates its input."""
    language = LANGUAGES.all["r"]
    environment = LANGUAGES.environments(language)[0]
    if not environment.is_available:
        pytest.skip(environment.problem)
    place = tmp_path_factory.mktemp("evaluate")
    source = """
        shape <- function(value) paste(capture.output(str(value)), collapse = "\\n")
        algorithm <- function(input) if (is.character(input)) eval(parse(text = input)) else shape(input)
    """
    with start(language, environment, write_project(language, {"src/__ALGO__.r": source}, place / "p"), place) as talk:
        yield talk


@pytest.mark.parametrize(
    "source",
    [
        "algorithm <- function(input) paste('hello', input)",
        "apply <- function(input) paste('hello', input)",
        "algorithm <- function(input, state = NULL) paste(c('hello', state, input), collapse = ' ')",
        "load <- function() 'hello'\nalgorithm <- function(input, greeting) paste(greeting, input)",
        "load <- function() greeting <<- 'hello'\nalgorithm <- function(input) paste(greeting, input)",
        "greet <- function(input) paste('hello', input)\nalgo <- getAlgorithmHandler(greet)\nalgo$serve()",
        "greet <- function(x, y) paste(y, x)\nalgo <- getAlgorithmHandler(greet, function() 'hello')\nalgo$serve()",
        # names of the algorithm's own may be any
        "file <- c <- list <- encoded <- stop <- paste0 <- function(...) 1\nalgorithm <- function(x) paste('hello', x)",
    ],
)
def test_forms_of_algorithm(run: Run, source: str) -> None:
    talk = run(source)
    for _ in range(3):
        assert talk.ask("text", "x").result() == ("text", "hello x")


def test_sources_beside_it(run: Run) -> None:
    files = {
        "src/__ALGO__.r": "",
        "src/Algorithm.R": "source('src/other.r')\nalgorithm <- function(input) greet(input)",
        "src/other.r": "greet <- function(x) paste('hello', x, '\u00e4')",
    }
    assert run(files=files).ask("text", "x").result() == ("text", "hello x \u00e4")


@pytest.mark.parametrize(
    "value, seen",
    [
        ([1, 2, 3], " num [1:3] 1 2 3"),
        ([1.5], " num 1.5"),
        (7, " num 7"),
        ({"a": ["a", "b"]}, 'List of 1\n $ a: chr [1:2] "a" "b"'),
        ([True, False], " logi [1:2] TRUE FALSE"),
        ([1, "a"], "List of 2"),
        ([1, None], "List of 2"),
        ([[1, 2], [3, 4]], "List of 2"),
        ([{"a": 1}], "List of 1"),
        ({"a": [1, 2]}, "List of 1\n $ a: num [1:2] 1 2"),
        ([], " list()"),
    ],
)
def test_json_becomes(evaluate: Conversation, value: Any, seen: str) -> None:
    assert evaluate.ask("json", value).result()[1].startswith(seen)


@pytest.mark.parametrize(
    "code, value",
    [
        ("1:3", [1, 2, 3]),
        ("100000L", 100000),
        ("1e5", 100000),
        ("0.1 + 0.2", 0.1 + 0.2),
        ("1/3", 1 / 3),
        ("1e300", 1e300),
        ("I(1)", [1]),
        ("I('x')", ["x"]),
        ("c(a = 1, b = 2)", {"a": 1, "b": 2}),
        ("list()", []),
        ("list(1, 'a', NULL, list(b = TRUE))", [1, "a", None, {"b": True}]),
        ("c(1, NA)", [1, None]),
        ("c('a', NA)", ["a", None]),
        ("NA_character_", None),
        ("c(TRUE, NA)", [True, None]),
        ("character(0)", []),
        ("data.frame(a = 1:2, b = c('x', 'y'))", {"a": [1, 2], "b": ["x", "y"]}),
        ("matrix(1:4, 2)", [[1, 3], [2, 4]]),
        ("matrix(1:2, 2)", [[1], [2]]),
        ("factor(c('u', 'v'))", ["u", "v"]),
        ("as.Date('2020-02-03')", "2020-02-03"),
        ("as.POSIXct(0, origin = '1970-01-01', tz = 'UTC')", "1970-01-01T00:00:00Z"),
        ("c('a\\tb', '\\\\ \" \\001')", ["a\tb", '\\ " \x01']),
        ("invisible(NULL)", None),
    ],
)
def test_results(evaluate: Conversation, code: str, value: Any) -> None:
    assert evaluate.ask("text", code).result() == ("json", value)


@pytest.mark.parametrize(
    "code, message, error_type, trace",
    [
        ("stop('one ', 'two')", "one two", "AlgorithmError", "stop("),
        ("log('x')", "non-numeric argument to mathematical function", "AlgorithmError", ""),
        ("nowhere", "object 'nowhere' not found", "AlgorithmError", ""),
        ("stop(structure(class = c('mine', 'error', 'condition'), list(message = 'm', call = NULL)))", "m",
         "AlgorithmError", ""),
        ("(function() stop(errorCondition('m', error_type = 'MyError')))()", "m", "MyError", ""),
        ("sum", "the result can't be written as JSON: it holds a value of type builtin", "AlgorithmError", ""),
        ("list(new.env())", "the result can't be written as JSON", "AlgorithmError", ""),
        ("c(1, NaN)", "the result can't be written as JSON: it holds NaN", "AlgorithmError", ""),
        ("'\\xff'", "the result can't be written as JSON: it holds text that is not UTF-8", "AlgorithmError", ""),
        ("f <- function(n) f(n + 1); f(1)", "", "AlgorithmError", ""),
    ],
)  # fmt: skip
def test_errors(evaluate: Conversation, code: str, message: str, error_type: str, trace: str) -> None:
    error = evaluate.ask("text", code).failure()
    assert error["message"].startswith(message) and error["error_type"] == error_type, error
    assert trace in error["stacktrace"], error
    assert "runner.r" not in error["stacktrace"] and "attempt" not in error["stacktrace"], error
    assert evaluate.ask("text", "1").result() == ("json", 1)


def test_a_trace_names_lines_and_nothing_of_ours(run: Run) -> None:
    talk = run("deep <- function(x) {\n  stop('no')\n}\nalgorithm <- function(input) {\n  deep(input)\n}\n")
    trace = talk.ask("text", "x").failure()["stacktrace"]
    assert trace.splitlines() == ["src/Zoo.r#5: deep(input)", 'src/Zoo.r#2: stop("no")']


def test_warnings_and_messages_are_output_not_errors(run: Run) -> None:
    talk = run("algorithm <- function(input) { warning('careful'); message('note'); print(1); input }")
    found = talk.ask("text", "x")
    assert found.result() == ("text", "x")
    assert "careful" in found.stdout and "note" in found.stdout and "[1] 1" in found.stdout


@pytest.mark.parametrize(
    "source, reason",
    [
        ("x <- 1", r"src/Zoo\.r defines no function algorithm"),
        ("algorithm <- function(", "unexpected end of input"),
        ("library(nowhere)", "nowhere"),
        ("load <- function() stop('no model')\nalgorithm <- identity", "no model"),
        ("cat('bye\\n'); quit(status = 7)", "bye"),
    ],
)
def test_a_file_that_does_not_load(run: Run, source: str, reason: str) -> None:
    with pytest.raises(Ended, match=reason) as ended:
        run(source)
    assert ended.value.status == (7 if "quit" in source else 1)


# One that the machine has, and code that installs one from a directory: CRAN itself isn't asked.
PACKAGED = {
    "packages.txt": "# a comment\njsonlite\n\n-e install.packages('greeter', repos = NULL, type = 'source')\n",
    "greeter/DESCRIPTION": "Package: greeter\nVersion: 1.0\n",
    "greeter/NAMESPACE": "export(greet)\n",
    "greeter/R/greet.R": "greet <- function(x) paste('hello', x)\n",
    "src/__ALGO__.r": "library(greeter)\nlibrary(jsonlite)\nalgorithm <- function(x) greet(x)\n",
}


def test_packages(run: Run) -> None:
    assert run(files=PACKAGED).ask("text", "x").result() == ("text", "hello x")


def test_packages_on_a_platform(server: Server, tmp_path: Path) -> None:
    if not LANGUAGES.environments(LANGUAGES.all["r"])[0].is_available:
        pytest.skip("R is not on this machine")
    ask = publish(Hosted(server, tmp_path), "r", PACKAGED)
    assert ask("text", "x").result() == ("text", "hello x")


def test_what_dependencies_depend_on(tmp_path: Path) -> None:
    language = LANGUAGES.all["r"]
    environment = LANGUAGES.environments(language)[0]
    project = write_project(language, {}, tmp_path)
    assert language.dependency_key(project, environment) is None
    (project / "packages.txt").write_text("# x\n  jsonlite \n\n")
    assert language.dependency_key(project, environment) == "jsonlite"


def test_a_project_without_an_entry_point(tmp_path: Path) -> None:
    language = LANGUAGES.all["r"]
    empty = write_project(language, {"src/__ALGO__.r": ""}, tmp_path)
    with pytest.raises(BuildProblem, match=r"no src/Zoo\.r"):
        language.runtime(empty, LANGUAGES.environments(language)[0], None)
