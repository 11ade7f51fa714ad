"""Scala on the platform: what every language must do, and Scala's types as parameters and results."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from language_suite import LanguageSuite, RefusesDeepNesting, start, toolchain_fixture, write_project
from readme_commands import run_readme
from runner_conversation import Ended

from Algorithmia.server.languages.scala.language import LANGUAGE, needs_sbt

_SOURCE = "src/main/scala/com/algorithmia/Algorithm.scala"

ZOO = """
package com.algorithmia

class Algorithm {
  private var loads = 0
  private var calls = 0

  def load(): Unit = {
    println("loading")
    loads += 1
  }

  def apply(name: String): String = s"hello $name"

  def apply(input: Array[Byte]): Array[Byte] = input.reverse

  def apply(input: Any): Any = input match {
    case null => null
    case fields: Map[String, Any] @unchecked => act(fields("do").toString, fields.getOrElse("value", null))
  }

  private def act(what: String, value: Any): Any = what match {
    case "echo" => value
    case "bytes" => Array.tabulate[Byte](256)(_.toByte)
    case "fail" => throw new IllegalStateException(value.toString)
    case "fail-typed" => throw new AlgorithmException(value.toString, "UnsupportedError")
    case "print" => println(value); "printed"
    case "state" => calls += 1; Map("loads" -> loads, "calls" -> calls)
    case "exit" => sys.exit(3)
  }
}
"""

TYPES = """
package com.algorithmia

case class Point(x: Int, y: Double = 0.5, name: Option[String])
case class Shape(points: List[Point], sizes: Map[String, Vector[Double]])
case class Box[T](value: T)
case object Nothing_

object Algorithm {
  def apply(shape: Shape) = shape
  def apply(numbers: List[Double]) = numbers.sum
  def apply(text: String) = text match {
    case "tuple" => (1, "a", None)
    case "some" => Some("text")
    case "unit" => ()
    case "array" => Array(1.5, 2)
    case "object" => Nothing_
    case "big" => BigInt("123456789012345678901234567890")
    case "nan" => Double.NaN
    case "set" => Set(Box(Box(1)))
  }
  def apply(flag: Boolean, pair: (Int, String), maybe: Option[Long]) = s"$flag $pair $maybe"
  def apply(number: Int) = Array(number.toByte)
}
"""

KIT = """
package com.algorithmia

import com.algorithmia.handler.AbstractAlgorithm
import scala.util.{Failure, Success, Try}

class Algorithm extends AbstractAlgorithm[String, String] {
  var greeting: String = _

  override def apply(input: String): Try[String] =
    if (input.isEmpty) Failure(new Exception("nobody")) else Success(s"$greeting $input")

  override def load = {
    greeting = Helper.greeting
    Success(())
  }
}

object Algorithm {
  val handler = Algorithmia.handler(new Algorithm)

  def main(args: Array[String]): Unit = handler.serve()
}
"""


class TestScala(RefusesDeepNesting, LanguageSuite):
    """See `LanguageSuite`."""

    language = "scala"
    files = {_SOURCE: ZOO, "src/test/scala/com/algorithmia/AlgorithmTest.scala": ""}
    traced = "com.algorithmia.Algorithm.apply(Algorithm.scala:"


toolchain = toolchain_fixture("scala")


def test_types(toolchain: Any, tmp_path: Path) -> None:
    project = write_project(LANGUAGE, {_SOURCE: TYPES}, tmp_path / "project")
    with start(*toolchain, project, tmp_path) as talk:
        shape = {"points": [{"x": 1, "name": "a"}, {"x": 2, "y": 3}], "sizes": {"a": [1, 2.5]}}
        expected = {
            "points": [{"x": 1, "y": 0.5, "name": "a"}, {"x": 2, "y": 3.0, "name": None}],
            "sizes": {"a": [1.0, 2.5]},
        }
        assert talk.ask("json", shape).result() == ("json", expected)
        assert talk.ask("json", [1, 2, 3.5, 4]).result() == ("json", 10.5)
        assert talk.ask("json", [True, [1, "a"], None]).result() == ("text", "true (1,a) None")
        assert talk.ask("json", [False, [1, "a"], 5]).result() == ("text", "false (1,a) Some(5)")
        assert talk.ask("json", 7).result() == ("binary", b"\x07")
        for asked, value in [
            ("tuple", [1, "a", None]),
            ("unit", None),
            ("array", [1.5, 2.0]),
            ("object", "Nothing_"),
            ("big", 123456789012345678901234567890),
            ("set", [{"value": {"value": 1}}]),
        ]:
            assert talk.ask("text", asked).result() == ("json", value)
        assert talk.ask("text", "some").result() == ("text", "text")
        assert "NaN" in talk.ask("text", "nan").failure()["message"]
        for wrong, named in [
            ({"points": [{"y": 1}], "sizes": {}}, "no field x"),
            ({"points": [{"x": "1"}], "sizes": {}}, '"1" is no int'),
            (["a", "b"], "is no double"),
            ({"points": 5, "sizes": {}}, "5 is no list"),
        ]:
            error = talk.ask("json", wrong).failure()
            assert error["error_type"] == "InputError" and named in error["message"], error


def test_projects_with_a_handler(toolchain: Any, tmp_path: Path) -> None:
    """As the old template has them: a Try as result, load overridden, a main of their own; and some Java."""
    build = 'libraryDependencies ++= Seq("com.algorithmia" %% "a" % "1.0.+", "org.scalatest" %% "b" % "3" % Test)'
    helper = "package com.algorithmia; class Helper { static String greeting() { return Names.HELLO(); } }"
    files = {
        _SOURCE: KIT + '\nobject Names { val HELLO = "hello" }\n',
        "src/main/java/com/algorithmia/Helper.java": helper,
        "build.sbt": build,
    }
    project = write_project(LANGUAGE, files, tmp_path / "project")
    with start(*toolchain, project, tmp_path) as talk:
        assert talk.ask("text", "x").result() == ("text", "hello x")
        assert talk.ask("text", "").failure()["message"] == "nobody"


def test_an_algorithm_that_does_not_load(toolchain: Any, tmp_path: Path) -> None:
    source = """
    package com.algorithmia
    object Algorithm {
      def load() = scala.util.Failure(new Exception("no model"))
      def apply(input: String) = input
    }
    """
    project = write_project(LANGUAGE, {_SOURCE: source}, tmp_path / "project")
    with pytest.raises(Ended) as ended:
        start(*toolchain, project, tmp_path)
    assert ended.value.status == 1 and "Exception: no model" in ended.value.output


def test_the_readme(toolchain: Any, tmp_path: Path) -> None:
    found = shutil.which("scalac")
    if found is None:
        pytest.skip("no scalac on the PATH")
    path = f"{Path(found).parent}:{Path(toolchain[1].program).parent}:/usr/bin:/bin"
    assert run_readme(write_project(LANGUAGE, {}, tmp_path / "project"), path, tmp_path) == "passed\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ('libraryDependencies += "org.example" %% "b" % "1"', True),
        ('libraryDependencies += "org.example" % "b" % "1" % "test"', False),
        ('// libraryDependencies += "org.example" %% "b" % "1"', False),
        ('libraryDependencies += "com.algorithmia" %% "b" % "1"', False),
    ],
)
def test_when_sbt_is_needed(tmp_path: Path, text: str, expected: bool) -> None:
    (tmp_path / "deps.sbt").write_text(text)
    assert needs_sbt(tmp_path) is expected
