"""The SDK's types as a user's mypy sees them: right programs pass, and wrong ones are reported where they are wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")

ROOT = Path(__file__).resolve().parents[2]

RIGHT = """
import io
from collections.abc import Iterator
from datetime import datetime
from typing import IO, Any

import requests
from typing_extensions import assert_type
from urllib3 import BaseHTTPResponse

import Algorithmia
from Algorithmia.acl import Acl, ReadAcl
from Algorithmia.algo_response import AlgoResponse
from Algorithmia.algorithm import Algorithm, OutputType
from Algorithmia.datadirectory import AdvancedDataDirectory, DataDirectory
from Algorithmia.datafile import AdvancedDataFile, DataFile
from Algorithmia.documents import Document
from Algorithmia.errors import AlgorithmException, ApiError, TooManyRequestsError
from Algorithmia.streams import RemoteWriter, TextWriter

Algorithmia.apiKey = "key"
Algorithmia.apiAddress = "http://127.0.0.1:8080"
assert_type(Algorithmia.algo("demo/Hello"), Algorithm)
assert_type(Algorithmia.file("data://.my/c/f"), AdvancedDataFile)
assert_type(Algorithmia.dir("data://.my/c"), AdvancedDataDirectory)

client = Algorithmia.client("key", api_address=None, ca_cert=False)
assert_type(client, Algorithmia.Client)
Algorithmia.Client("key", timeout=None)
assert_type(client.username(), str)
assert_type(client.request("GET", "/v1/scms", {"limit": 1}, read_timeout=None), BaseHTTPResponse)
assert_type(client.requestSession, requests.Session)

algo = client.algo("demo/Hello").set_options(timeout=60, stdout=True, output=OutputType.default, extra="1")
assert_type(algo, Algorithm)
response = algo.pipe({"a": [1, None]})
assert_type(response, AlgoResponse)
response.result["anything"].goes
assert_type(response.metadata.duration, float | None)
text: Any = algo.set_options(output="raw").pipe(bytearray(b"x"))
assert_type(algo.info(), Document)
algo.versions(limit=5).results[0]["version_info"]
assert_type(algo.version, str | None)

try:
    algo.pipe("x")
except TooManyRequestsError as error:
    assert_type(error.retry_after, float | None)
except AlgorithmException as error:
    assert_type(error.stack_trace, str | None)
except ApiError as error:
    assert_type(error.status, int | None)

file = client.file("data://.my/c/f")
assert_type(file.put("text").put(b"bytes").putJson([1]), AdvancedDataFile)
assert_type(file.getBytes(), bytes)
assert_type(file.getString(), str)
assert_type(file.getFile(as_path=True), str)
assert_type(file.getFile(), IO[Any])
assert_type(file.stat().last_modified, datetime | None)
assert_type(file.size, int | None)
assert_type(file.open(), io.BufferedReader)
assert_type(file.open("w", newline=""), TextWriter)
assert_type(file.open("wb"), RemoteWriter)
with file.open("r") as lines:
    assert_type(lines.readline(), str)
with io.BytesIO() as source:
    file.put_stream(source, progress=print)

folder = client.dir("data://.my/c")
folder.create(ReadAcl.public)
assert_type(folder.get_permissions(), Acl | None)
assert_type(folder.files(), Iterator[DataFile])
assert_type(folder.file("f"), AdvancedDataFile)
for item in folder.list():
    assert_type(item, DataDirectory | DataFile)
    assert_type(item.getName(), str)

Algorithmia.handler(lambda value, state: value, lambda: 5).serve()
"""

# What mypy must say about each line.
WRONG = [
    ("client.algo(5)", "arg-type"),
    ('client.algo("demo/Hello").pip("x")', "attr-defined"),
    ('client.algo("demo/Hello").pipe("x").resutl', "attr-defined"),
    ('client.algo("demo/Hello").pipe()', "call-arg"),
    ('client.algo("demo/Hello").set_options(timeout="soon")', "arg-type"),
    ('client.file("data://.my/c/f").put({"a": 1})', "arg-type"),
    ('client.file("data://.my/c/f").getString().decode()', "attr-defined"),
    ('client.dir("data://.my/c").update_permissions("public")', "arg-type"),
    ('client.dir("data://.my/c").list()[0]', "index"),
    ("Algorithmia.client(api_key=b'key')", "arg-type"),
    ("Algorithmia.client(timeout=3)", "call-arg"),
    ('client.request("GET", "/", also_ok="404")', "arg-type"),
    ("Algorithmia.apiKey = 5", "assignment"),
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs are written; shared, so that the second run finds the first one's cache."""
    return tmp_path_factory.mktemp("typing")


def mypy(directory: Path, program: str) -> tuple[list[tuple[int, str]], str]:
    """The (line, error code) pairs that mypy reports in `program`, and all that it says."""
    (directory / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "program.py"],
        cwd=directory,
        env={"MYPYPATH": str(ROOT), "PATH": "", "HOME": str(directory)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode in (0, 1), done.stderr + done.stdout
    found = re.findall(r"^program\.py:(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.M)
    return [(int(line), code) for line, code in found], done.stdout


def test_right_use_passes(directory: Path) -> None:
    found, output = mypy(directory, RIGHT)
    assert not found, output


def test_wrong_use_is_reported_where_it_is(directory: Path) -> None:
    head = ["import Algorithmia", "client = Algorithmia.client()"]
    found, output = mypy(directory, "\n".join(head + [line for line, _ in WRONG]) + "\n")
    assert found == [(number, code) for number, (_, code) in enumerate(WRONG, len(head) + 1)], output


def test_the_package_tells_checkers_that_it_has_types() -> None:
    assert (ROOT / "Algorithmia" / "py.typed").exists()
    assert "py.typed" in (ROOT / "setup.py").read_text()
