"""Rust on the platform: what every language must do, and the types that apply may have."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from language_suite import LanguageSuite, RefusesDeepNesting, start, toolchain_fixture, write_project
from readme_commands import run_readme
from runner_conversation import Ended

from Algorithmia.server.languages.base import BuildProblem
from Algorithmia.server.languages.rust.language import LANGUAGE, binary_name, needs_registry

_LOADED = """
fn main() {
    algorithmia_runtime::serve_loaded(algorithm::load, algorithm::apply)
}
"""

ZOO = """
use algorithmia_runtime::{AlgorithmError, Input, Json, Output};
use std::collections::BTreeMap;
use std::error::Error;

pub struct State {
    loads: i64,
    calls: i64,
}

pub fn load() -> Result<State, String> {
    println!("loading");
    Ok(State { loads: 1, calls: 0 })
}

pub fn apply(input: Input, state: &mut State) -> Result<Output, Box<dyn Error>> {
    Ok(match input {
        Input::Text(name) | Input::Json(Json::String(name)) => Output::Text(format!("hello {name}")),
        Input::Binary(mut bytes) => {
            bytes.reverse();
            Output::Binary(bytes)
        }
        Input::Json(Json::Null) => Output::Json(Json::Null),
        Input::Json(value) => act(value, state)?,
    })
}

fn act(input: Json, state: &mut State) -> Result<Output, Box<dyn Error>> {
    let value = input.get("value").cloned().unwrap_or(Json::Null);
    let text = value.as_str().unwrap_or_default().to_string();
    Ok(match input.get("do").and_then(Json::as_str).unwrap_or_default() {
        "echo" => match value {
            Json::String(text) => Output::Text(text),
            other => Output::Json(other),
        },
        "bytes" => Output::Binary((0..=255).collect()),
        "fail" => return Err(AlgorithmError::new(text).into()),
        "fail-typed" => return Err(AlgorithmError::typed(text, "UnsupportedError").into()),
        "print" => {
            println!("{text}");
            Output::Text("printed".to_string())
        }
        "state" => {
            state.calls += 1;
            let mut found = BTreeMap::new();
            found.insert("loads".to_string(), Json::Integer(state.loads.into()));
            found.insert("calls".to_string(), Json::Integer(state.calls.into()));
            Output::Json(Json::Object(found))
        }
        _ => std::process::exit(3),
    })
}
"""

TYPES = """
use std::collections::HashMap;

algorithmia_runtime::json_struct! {
    /// An order.
    #[derive(Debug)]
    pub struct Order {
        pub what: String,
        pub count: u8,
        pub note: Option<String>,
        pub prices: HashMap<String, Vec<f64>>,
        pub pair: (bool, i64),
    }
}

pub fn apply(order: Order) -> Result<Order, String> {
    match order.what.as_str() {
        "panic" => deeper(&order),
        "error" => Err("out of stock".to_string()),
        "index" => Ok(Order { count: vec![1u8][usize::from(order.count)], ..order }),
        "infinite" => Ok(Order { prices: HashMap::from([("x".to_string(), vec![f64::INFINITY])]), ..order }),
        "thread" => std::thread::spawn(|| panic!("in a thread")).join().map_err(|_| "joined".to_string()),
        _ => Ok(order),
    }
}

#[inline(never)]
fn deeper(order: &Order) -> ! {
    panic!("no {}", order.count)
}
"""


class TestRust(RefusesDeepNesting, LanguageSuite):
    """See `LanguageSuite`."""

    language = "rust"
    files = {"src/lib.rs": ZOO, "src/main.rs": _LOADED}
    traced = "src/lib.rs:"


toolchain = toolchain_fixture("rust")


def test_types_and_panics(toolchain: Any, tmp_path: Path) -> None:
    project = write_project(LANGUAGE, {"src/lib.rs": TYPES}, tmp_path / "project")
    order = {"what": "x", "count": 2, "note": None, "prices": {"a": [1.0, 2.5]}, "pair": [True, -(2**40)]}
    with start(*toolchain, project, tmp_path) as talk:
        assert talk.ask("json", {**order, "prices": {"a": [1, 2.5]}}).result() == ("json", order)
        without = {name: value for name, value in order.items() if name != "note"}
        assert talk.ask("json", without).result() == ("json", order)
        for change, named in [
            ({"count": 256}, "count: 256 is out of range"),
            ({"count": 1.5}, "count: a fraction came where a whole number was expected"),
            ({"pair": [True]}, "pair: a list of 1 came where 2 were expected"),
            ({"prices": {"a": ["x"]}}, "prices: a string came where a number was expected"),
        ]:
            error = talk.ask("json", {**order, **change}).failure()
            assert (error["error_type"], error["message"]) == ("InputError", named)
        assert talk.ask("json", {}).failure()["message"] == "the input has no field what"
        assert talk.ask("binary", b"x").failure()["message"] == "the algorithm takes no binary input"

        error = talk.ask("json", {**order, "what": "panic"}).failure()
        assert error["message"] == "no 2" and error["stacktrace"].startswith("panicked at src/lib.rs:")
        if [int(part) for part in toolchain[1].version.split(".")] >= [1, 65]:
            assert "algorithm::deeper\n             at ./src/lib.rs:" in error["stacktrace"], error["stacktrace"]
            assert "algorithm::apply\n" in error["stacktrace"]
        assert "runtime" not in error["stacktrace"] and str(tmp_path) not in error["stacktrace"]
        error = talk.ask("json", {**order, "what": "error"}).failure()
        assert (error["message"], error["error_type"]) == ("out of stock", "AlgorithmError")
        assert "out of bounds" in talk.ask("json", {**order, "what": "index"}).failure()["message"]
        assert "inf" in talk.ask("json", {**order, "what": "infinite"}).failure()["message"]
        assert talk.ask("json", {**order, "what": "thread"}).failure()["message"] == "joined"
        assert talk.ask("json", order).result() == ("json", order)


def test_an_algorithm_that_does_not_load(toolchain: Any, tmp_path: Path) -> None:
    for way in ('Err("no model".to_string())', 'panic!("no model")'):
        source = f"pub fn load() -> Result<(), String> {{ {way} }}\npub fn apply(_: String, _: &mut ()) {{}}"
        place = tmp_path / way[:3]
        files = {"src/lib.rs": source, "src/main.rs": _LOADED}
        project = write_project(LANGUAGE, files, place / "project")
        with pytest.raises(Ended) as ended:
            start(*toolchain, project, place)
        assert ended.value.status == 1 and "no model" in ended.value.output


def test_the_readme(toolchain: Any, tmp_path: Path) -> None:
    path = f"{Path(toolchain[1].program).parent}:/usr/bin:/bin"
    printed = run_readme(write_project(LANGUAGE, {}, tmp_path / "project"), path, tmp_path)
    assert "1 passed" in printed
    answer = {"result": "hello world", "metadata": {"content_type": "text"}}
    assert json.loads(printed.splitlines()[-1]) == answer


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        ({}, False),
        ({"dependencies": {"a": {"path": "a"}}}, False),
        ({"dependencies": {"a": "1"}}, True),
        ({"build-dependencies": {"a": {"version": "1"}}}, True),
        ({"dev-dependencies": {"a": {"git": "https://example.com/a"}}}, True),
        ({"target": {"cfg(unix)": {"dependencies": {"a": "1"}}}}, True),
        ({"workspace": {"dependencies": {"a": "1"}}}, True),
        ({"dependencies": 5, "target": [], "workspace": "x"}, False),
    ],
)
def test_when_the_registry_is_needed(manifest: Any, expected: bool) -> None:
    assert needs_registry(manifest) is expected


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "no Cargo.toml"),
        ({"Cargo.toml": "]"}, "can't be read"),
        ({"Cargo.toml": "[package]\nversion = '1'"}, "names no package"),
        ({"Cargo.toml": "[package]\nname = '../x'"}, "names no package"),
        ({"Cargo.toml": "[package]\nname = 'x'"}, "no src/main.rs"),
    ],
)
def test_projects_that_are_no_crate(tmp_path: Path, files: dict[str, str], problem: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(BuildProblem, match=problem):
        binary_name(tmp_path)
    assert os.listdir(tmp_path) == list(files)
