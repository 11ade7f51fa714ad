# -*- coding: utf-8 -*-
"""`algo test`: a project's own tests, and one call of the algorithm on this machine, as the platform would make it."""
import json
import os
import subprocess

import pytest

from Algorithmia import errors
from Algorithmia.project import Project

ADK = "from Algorithmia import ADK\n%s\nADK(apply).init()\n"
LOADING = "from Algorithmia import ADK\n%s\nADK(apply, load).init()\n"
PNG = b"\x89PNG\r\n\x1a\n\x00\xff"


def write(directory, path, text):
    target = directory.join(*path.split("/"))
    target.dirpath().ensure(dir=True)
    target.write(text)


@pytest.fixture
def project(tmpdir):
    """``project(code)`` makes a Python project called Tried in the ADK layout; ``adk=False`` leaves out ``.adk``."""

    def make(code, adk=True, **files):
        directory = tmpdir.join("Tried")
        write(directory, "algorithmia.conf", json.dumps({"username": "tester", "algoname": "Tried"}))
        write(directory, "src/__init__.py", "")
        write(directory, "src/Tried.py", code)
        if adk:
            write(directory, ".adk", "")
        for name, text in files.items():
            write(directory, "src/%s.py" % name, text)
        return directory

    return make


# -- one call -----------------------------------------------------------------------------------------------------


def test_text(algo, project):
    directory = project(ADK % "def apply(input):\n    return 'hello ' + input")
    ran = algo("test", "-d", "you", cwd=directory)
    assert (ran.status, ran.text, ran.stderr) == (0, "hello you\n", ""), ran
    assert sorted(path.basename for path in directory.visit()) == [
        ".adk", "Tried.py", "__init__.py", "algorithmia.conf", "src"]


def test_json_and_binary(algo, project, tmpdir):
    directory = project(ADK % "def apply(input):\n    return input")
    assert algo("test", directory, "-j", '{"a": ["\\u00fc", 1.5]}').text == u'{"a":["\u00fc",1.5]}\n'
    assert algo("test", "-B", "-", directory, stdin=PNG).stdout == PNG
    ran = algo("test", directory, "-B", "-", "-o", "out.png", stdin=PNG)
    assert (ran.status, ran.stdout, tmpdir.join("out.png").read_binary()) == (0, b"", PNG)


def test_an_input_that_looks_like_an_option(algo, project):
    directory = project(ADK % "def apply(input):\n    return input")
    assert algo("test", directory, "-d", "-5").text == "-5\n"


def test_project_without_adk_and_with_modules_of_its_own(algo, project):
    directory = project("from .words import greeting\ndef apply(input):\n    return greeting + input", adk=False,
                        words="greeting = 'hi '")
    assert algo("test", "-d", "you", cwd=directory).text == "hi you\n"


def test_older_entry_point(algo, project):
    code = "import Algorithmia\ndef apply(input):\n    return 1\nAlgorithmia.handler(apply).serve()\n"
    assert algo("test", "-d", "you", cwd=project(code)).text == "1\n"


def test_load(algo, project):
    code = LOADING % "def load():\n    return {'word': 'loaded'}\ndef apply(input, state):\n    return state['word']"
    assert algo("test", "-d", "x", cwd=project(code)).text == "loaded\n"


def test_what_the_algorithm_prints_is_not_its_result(algo, project):
    code = ADK % (
        "import os, sys\ndef apply(input):\n    print('printed')\n    sys.stdout.flush()\n"
        "    os.system('echo echoed')\n    return sys.stdin.read() + 'result'")
    ran = algo("test", "-d", "x", cwd=project(code))
    assert ran.text == "result\n" and ran.stderr.split() == ["printed", "echoed"]


def test_project_runs_in_its_own_directory(algo, project):
    directory = project(ADK % "def apply(input):\n    return open('word.txt').read()")
    directory.join("word.txt").write("found")
    assert algo("test", directory, "-d", "x").text == "found\n"


def test_a_module_named_like_one_of_the_standard_library_hurts_nobody(algo, project):
    directory = project(ADK % "def apply(input):\n    return 'fine'")
    for name in ("json", "tempfile", "toml", "Algorithmia", "runpy", "pytest"):
        directory.join(name + ".py").write("raise Exception('imported from the project')")
    ran = algo("test", directory, "-d", "x")
    assert ran.text == "fine\n", ran


def test_an_exception(algo, project):
    ran = algo("test", "-d", "x", cwd=project(ADK % "def apply(input):\n    raise ValueError('boom')"))
    assert (ran.status, ran.stdout) == (1, b"") and ran.stderr.startswith("API error: boom\nTraceback")
    assert 'File "src/Tried.py", line 3' in ran.stderr and "local.py" not in ran.stderr


@pytest.mark.parametrize(
    "code, said",
    [
        (LOADING % "def load():\n    raise ValueError('no model')\ndef apply(input, state):\n    pass", "no model"),
        ("import nothing_like_it", "nothing_like_it"),
        ("def apply(input:\n", "invalid syntax"),
        ("x = 1", "ended without serving"),
        (ADK % "def apply(input):\n    raise SystemExit(3)", "exited with code 3"),
        (ADK % "import os\ndef apply(input):\n    os._exit(7)", "without an answer (exit status 7)"),
        (ADK % "def apply(input):\n    return object()", "can't be written as JSON"),
    ],
)  # fmt: skip
def test_failures(algo, project, code, said):
    ran = algo("test", "-d", "x", cwd=project(code))
    assert (ran.status, ran.stdout) == (1, b"")
    assert said in ran.stderr or (said == "invalid syntax" and "SyntaxError" in ran.stderr), ran


def test_too_slow(algo, project):
    directory = project(ADK % "import time\ndef apply(x):\n    time.sleep(60)")
    ran = algo("test", "-d", "x", "--timeout", "0.5", cwd=directory)
    assert (ran.status, ran.stdout) == (5, b"") and "0.5 seconds" in ran.stderr


def test_usage(algo, project, tmpdir):
    assert algo("test").status == 2
    assert "algorithmia.conf" in algo("test", cwd=tmpdir).stderr
    directory = project(ADK % "def apply(input):\n    return input")
    assert algo("test", directory, tmpdir).status == 2
    ran = algo("test", directory, "-d", "1", "-t", "2")
    assert ran.status == 2 and ran.stderr.startswith("usage: algo test") and "exactly one of -d" in ran.stderr
    assert algo("test", directory, "-j", "{a").status == 2
    assert algo("test", directory, "-D", tmpdir.join("none")).status == 4
    directory.join("algorithmia.conf").write("{")
    ran = algo("test", directory)
    assert ran.status == 2 and "not valid JSON" in ran.stderr
    directory.join("algorithmia.conf").write("{}")
    ran = algo("test", directory)
    assert ran.status == 2 and "algoname" in ran.stderr


# -- the project's own tests --------------------------------------------------------------------------------------

CASE = "import unittest\nfrom .Tried import apply\nclass T(unittest.TestCase):\n" \
       "    def test_it(self):\n        self.assertEqual(apply(1), %d)\n"


def test_own_tests(algo, project):
    code = "from Algorithmia import ADK\ndef apply(input):\n    return input\n" \
           "if __name__ == '__main__':\n    ADK(apply).init()\n"
    directory = project(code, Tried_test=CASE % 1)
    ran = algo("test", cwd=directory)
    assert (ran.status, ran.stdout) == (0, b"") and "1 passed" in ran.stderr, ran
    assert not directory.join(".pytest_cache").check() and not directory.join("src", "__pycache__").check()
    ran = algo("test", directory)
    assert ran.status == 0
    project(code, Tried_test=CASE % 2)
    ran = algo("test", cwd=directory)
    assert ran.status == 1 and "1 failed" in ran.stderr


def test_own_tests_without_pytest(algo, project, tmpdir):
    tmpdir.mkdir("none").join("pytest.py").write("raise ImportError('not here')")
    path = os.pathsep.join([str(tmpdir.join("none")), os.path.dirname(os.path.dirname(os.path.dirname(__file__)))])
    directory = project("def apply(input):\n    return input", Tried_test=CASE % 1)
    ran = algo("test", cwd=directory, env={"PYTHONPATH": path})
    assert ran.status == 0 and "Ran 1 test" in ran.stderr, ran
    project("def apply(input):\n    return input", Tried_test=CASE % 2)
    assert algo("test", cwd=directory, env={"PYTHONPATH": path}).status == 1
    functions = "from . import Tried\ndef test_one():\n    assert Tried.apply(1) == %d\ndef test_two():\n    pass\n"
    for expected, status in ((1, 0), (2, 1)):
        project("def apply(input):\n    return input", Tried_test=functions % expected)
        ran = algo("test", cwd=directory, env={"PYTHONPATH": path})
        assert ran.status == status and "Ran 2 tests" in ran.stderr, ran
    project("def apply(input):\n    return input", Tried_test="")
    ran = algo("test", cwd=directory, env={"PYTHONPATH": path})
    assert ran.status == 1 and "there are no tests" in ran.stderr, ran


def test_no_tests(algo, project):
    ran = algo("test", cwd=project("def apply(input):\n    return input"))
    assert ran.status == 1 and "no tests" in ran.stderr


def test_other_languages(algo, tmpdir):
    directory = tmpdir.mkdir("Other")
    write(directory, "algorithmia.conf", json.dumps({"username": "tester", "algoname": "Other"}))
    ran = algo("test", directory)
    assert ran.status == 2 and "src/Other.py" in ran.stderr and "package.json" in ran.stderr
    assert "only Python" in algo("test", directory, "-d", "x").stderr
    commands = tmpdir.mkdir("commands")
    commands.join("npm").write("#!/bin/sh\necho npm \"$@\" in `pwd`\nexit $FAILING\n")
    commands.join("npm").chmod(0o755)
    write(directory, "package.json", "{}")
    for failing, status in (("0", 0), ("9", 1)):
        path = str(commands) + os.pathsep + os.environ["PATH"]
        ran = algo("test", directory, env={"PATH": path, "FAILING": failing})
        assert (ran.status, ran.stdout) == (status, b"") and "npm test --silent in %s" % directory in ran.stderr
    ran = algo("test", directory, env={"PATH": str(tmpdir)})
    assert ran.status == 1 and "can't run npm" in ran.stderr


def test_tests_of_r(algo, tmpdir):
    directory = tmpdir.mkdir("Arr")
    write(directory, "algorithmia.conf", json.dumps({"username": "tester", "algoname": "Arr"}))
    directory.mkdir("src").join("Arr_test.r").write("")
    commands = tmpdir.mkdir("commands")
    commands.join("Rscript").write("#!/bin/sh\necho Rscript \"$@\"\nexit 3\n")
    commands.join("Rscript").chmod(0o755)
    ran = algo("test", directory, env={"PATH": str(commands) + os.pathsep + os.environ["PATH"]})
    assert ran.status == 1 and "Rscript src/Arr_test.r" in ran.stderr, ran


# -- the SDK's view of a project ----------------------------------------------------------------------------------


def test_files_of_a_project(project):
    directory = project("x = 1")
    write(directory, "node_modules/a/b.js", "")
    write(directory, "src/__pycache__/Tried.pyc", "")
    write(directory, "data/words.txt", "")
    expected = [".adk", "algorithmia.conf", "data/words.txt", "src/Tried.py", "src/__init__.py"]
    assert Project(str(directory)).files() == expected
    assert Project(str(directory)).reference == "tester/Tried"


def test_files_of_a_project_that_git_manages(project):
    directory = project("x = 1")
    write(directory, "secret.env", "")
    write(directory, "data/gone.txt", "")
    write(directory, ".gitignore", "*.env\n")
    for words in (["init", "-q"], ["add", "."]):
        subprocess.check_call(["git"] + words, cwd=str(directory))
    directory.join("data", "gone.txt").remove()
    write(directory, "src/new.py", "")
    expected = [".adk", ".gitignore", "algorithmia.conf", "src/Tried.py", "src/__init__.py", "src/new.py"]
    assert Project(str(directory)).files() == expected


def test_gitignore_counts_without_a_repository(project, monkeypatch, capsys, tmpdir):
    directory = project("x = 1")
    write(directory, "secret.env", "")
    write(directory, "data/words.txt", "")
    write(directory, "data/.gitignore", "*.txt\n")
    write(directory, ".gitignore", "*.env\n")
    expected = [".adk", ".gitignore", "algorithmia.conf", "data/.gitignore", "src/Tried.py", "src/__init__.py"]
    assert Project(str(directory)).files() == expected
    assert not directory.join(".git").check() and capsys.readouterr()[1] == ""
    monkeypatch.setenv("PATH", str(tmpdir))
    assert "secret.env" in Project(str(directory)).files()
    assert "no git" in capsys.readouterr()[1]


@pytest.mark.parametrize(
    "conf, language",
    [("python-3.x-1", "python3"), ("python3.9", "python3"), ("python-2.x-1", "python2"), ("java-ojdk11", "java"),
     ("node-5.x-1", "javascript"), ("javascript", "javascript"), ("r36", "r"), ("ruby-2.2-1", "ruby"),
     ("scala-2-sbt-1.3", "scala"), ("rust", "rust"), ("cobol", "cobol")],
)  # fmt: skip
def test_language_of_a_project(project, conf, language):
    directory = project("x = 1")
    for member in ("language", "langauge"):
        directory.join("algorithmia.conf").write(json.dumps({"username": "t", "algoname": "Tried", member: conf}))
        assert Project(str(directory)).language == language


def test_a_directory_that_is_no_project(tmpdir):
    with pytest.raises(errors.ConfigError) as caught:
        Project(str(tmpdir))
    assert "algorithmia.conf" in str(caught.value)
