"""Java on the platform: what every language must do, and which method of a class a call runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from language_suite import LanguageSuite, RefusesDeepNesting, start, toolchain_fixture, write_project
from readme_commands import run_readme
from runner_conversation import Ended

from Algorithmia.server.languages.base import BuildProblem, Environment
from Algorithmia.server.languages.java.language import LANGUAGE, needs_maven

_SOURCE = "src/main/java/com/algorithmia/algorithm/Algorithm.java"
_POM = "<project><dependencies>{}</dependencies></project>"

ZOO = """
package com.algorithmia.algorithm;

import com.algorithmia.AlgorithmException;
import java.util.Map;

public class Algorithm {
    private int loads;
    private int calls;

    public void load() {
        System.out.println("loading");
        loads++;
    }

    public String apply(String name) {
        return "hello " + name;
    }

    public byte[] apply(byte[] input) {
        byte[] reversed = new byte[input.length];
        for (int i = 0; i < input.length; i++) {
            reversed[i] = input[input.length - 1 - i];
        }
        return reversed;
    }

    public Object apply(Map<String, Object> input) {
        if (input == null) {
            return null;
        }
        Object value = input.get("value");
        switch ((String) input.get("do")) {
            case "echo":
                return value;
            case "bytes":
                byte[] all = new byte[256];
                for (int i = 0; i < 256; i++) {
                    all[i] = (byte) i;
                }
                return all;
            case "fail":
                throw new IllegalStateException((String) value);
            case "fail-typed":
                throw new AlgorithmException((String) value, "UnsupportedError");
            case "print":
                System.out.println(value);
                return "printed";
            case "state":
                return Map.of("loads", loads, "calls", ++calls);
            default:
                System.exit(3);
                return null;
        }
    }
}
"""

SIGNATURES = """
package com.algorithmia.algorithm;

import com.algorithmia.development.Required;
import com.google.gson.JsonElement;
import java.util.List;

public class Algorithm {
    static class Point {
        @Required int x;
        int y;
    }

    class Inner {
        String inner;
    }

    public static String apply(Point point) { return "Point " + point.x + " " + point.y; }
    public String apply(long number) { return "long " + number; }
    public String apply(double number) { return "double " + number; }
    public String apply(boolean flag) { return "boolean " + flag; }
    public String apply(List<Point> points) { return "points " + points.get(0).x; }
    String apply(int number, String text) { return "two " + number + text; }
    private String apply(Inner inner) { return "private"; }
    public Object apply(String text) throws Exception {
        if (text.equals("deep")) {
            try {
                fail();
            } catch (RuntimeException cause) {
                throw new Exception(cause);
            }
        }
        return text.equals("void") ? null : text.equals("overflow") ? apply(text) : new Point();
    }
    private void fail() { throw new RuntimeException("root"); }
}
"""

KIT = """
package com.algorithmia.algorithm;

import com.algorithmia.development.*;
import com.algorithmia.*;

class Algorithm extends AbstractAlgorithm<Algorithm.Input, String> {
    class Input {
        @Required String first_name;
        String last_name;
    }

    public String apply(Input input) {
        return "hello " + input.first_name + " " + input.last_name;
    }

    public static void main(String[] args) {
        ADK algo = new ADK<>(new Algorithm());
        algo.init();
    }
}
"""


class TestJava(RefusesDeepNesting, LanguageSuite):
    """See `LanguageSuite`."""

    language = "java"
    files = {_SOURCE: ZOO, "src/test/java/com/algorithmia/algorithm/AlgorithmTest.java": ""}
    traced = "com.algorithmia.algorithm.Algorithm.apply(Algorithm.java:"

    def test_trace_ends_with_the_authors_code(self, zoo: Any) -> None:
        trace = zoo.ask("json", {"do": "fail", "value": "x"}).failure()["stacktrace"]
        assert trace.startswith("java.lang.IllegalStateException: x\n")
        assert "runner" not in trace and "reflect" not in trace

    def test_every_environment(self, toolchain: Any, tmp_path: Path) -> None:
        for environment in LANGUAGE.find_environments():
            place = tmp_path / environment.name
            with start(LANGUAGE, environment, write_project(LANGUAGE, self.files, place / "project"), place) as talk:
                self.check_values(talk.ask)


toolchain = toolchain_fixture("java")


def test_the_method_that_suits_the_input(toolchain: Any, tmp_path: Path) -> None:
    project = write_project(LANGUAGE, {_SOURCE: SIGNATURES}, tmp_path / "project")
    with start(*toolchain, project, tmp_path) as talk:
        for value, expected in [
            ({"x": 1, "y": 2}, "Point 1 2"),
            ({"x": 1}, "Point 1 0"),
            (3, "long 3"),
            (2.5, "double 2.5"),
            (True, "boolean true"),
            ([{"x": 5}], "points 5"),
            ([5, "a"], "two 5a"),
        ]:
            assert talk.ask("json", value).result() == ("text", expected)
        assert talk.ask("json", "x").result() == ("json", {"x": 0, "y": 0})
        assert talk.ask("text", "void").result() == ("json", None)
        named_by = [({"y": 1}, "no field x"), ([1, 2, 3], "apply(int, java.lang.String)"), ({"x": "z"}, "Point")]
        for value, named in named_by:
            error = talk.ask("json", value).failure()
            assert error["error_type"] == "InputError" and named in error["message"], error
        assert talk.ask("binary", b"x").failure()["error_type"] == "InputError"
        deep = talk.ask("text", "deep").failure()
        assert "Caused by: java.lang.RuntimeException: root" in deep["stacktrace"]
        assert talk.ask("text", "overflow").failure()["message"] == "java.lang.StackOverflowError"
        assert talk.ask("json", 3).result() == ("text", "long 3")


def test_projects_of_the_development_kit(toolchain: Any, tmp_path: Path) -> None:
    """As the old template has them: a class that isn't public, an inner class as input, a test in the wrong place."""
    test = "package com.algorithmia.algorithm;\nclass AlgorithmTest extends junit.framework.TestCase {}"
    dependency = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>1</version></dependency>"
    pairs = [("com.algorithmia", "adk"), ("com.algorithmia", "algorithmia-client"), ("junit", "junit")]
    files = {
        _SOURCE: KIT,
        "src/main/java/com/algorithmia/algorithm/AlgorithmTest.java": test,
        "pom.xml": _POM.format("".join(dependency.format(*pair) for pair in pairs)),
        "src/test/java/com/algorithmia/algorithm/AlgorithmTest.java": "",
    }
    with start(*toolchain, write_project(LANGUAGE, files, tmp_path / "project"), tmp_path) as talk:
        assert talk.ask("json", {"first_name": "Ada", "last_name": "L"}).result() == ("text", "hello Ada L")
        assert "no field first_name" in talk.ask("json", {"last_name": "L"}).failure()["message"]


def test_an_algorithm_that_does_not_load(toolchain: Any, tmp_path: Path) -> None:
    source = """
    package com.algorithmia.algorithm;
    public class Algorithm {
        public void load() { throw new IllegalStateException("no model"); }
        public String apply(String input) { return input; }
    }
    """
    project = write_project(LANGUAGE, {_SOURCE: source}, tmp_path / "project")
    with pytest.raises(Ended) as ended:
        start(*toolchain, project, tmp_path)
    assert ended.value.status == 1
    assert "IllegalStateException: no model\n\tat com.algorithmia.algorithm.Algorithm.load" in ended.value.output
    assert "runner" not in ended.value.output


def test_the_readme(toolchain: Any, tmp_path: Path) -> None:
    path = f"{Path(toolchain[1].program).parent}:/usr/bin:/bin"
    assert run_readme(write_project(LANGUAGE, {}, tmp_path / "project"), path, tmp_path) == "passed\n"


@pytest.mark.parametrize(
    ("pom", "expected"),
    [
        ("", False),
        (_POM.format("<dependency><groupId>org.example</groupId></dependency>"), True),
        (_POM.format("<dependency><groupId>org.example</groupId><scope>test</scope></dependency>"), False),
        (_POM.format("<dependency><groupId>com.algorithmia</groupId></dependency>"), False),
        ('<project xmlns="http://maven.apache.org/POM/4.0.0"><parent/></project>', True),
        ("<project><modules/></project>", True),
    ],
)
def test_when_maven_is_needed(tmp_path: Path, pom: str, expected: bool) -> None:
    if pom:
        (tmp_path / "pom.xml").write_text(pom)
    assert needs_maven(tmp_path) is expected


@pytest.mark.parametrize("pom", ["<project", '<!DOCTYPE p [<!ENTITY a "a">]><project>&a;</project>', "x" * (1 << 21)])
def test_unreadable_pom(tmp_path: Path, pom: str) -> None:
    (tmp_path / "pom.xml").write_text(pom)
    with pytest.raises(BuildProblem, match="pom.xml"):
        needs_maven(tmp_path)


def test_project_without_a_class(tmp_path: Path) -> None:
    environment = Environment("java17", "java", "", "", "/nowhere/bin/java")
    with pytest.raises(BuildProblem, match="Algorithm.java"):
        LANGUAGE.compile(tmp_path, environment, None, tmp_path)
