"""Builds that are written to harm the platform: it goes on, starts again, and they fail with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from build_projects import HELLO, Author, installing, project, require_index
from platforms import Server

MIB = 1 << 20

# Directories in directories, and at the bottom a file that is larger than builds here may be.
_DEEP = """
os.chdir(os.path.expanduser("@WHERE@"))
for _ in range(@DEPTH@):
    os.mkdir("@NAME@")
    os.chdir("@NAME@")
with open("hidden", "wb") as handle:
    for _ in range(@SIZE@):
        handle.write(b"x" * (1 << 20))
"""


def deep(where: str, depth: int, name: str, size: int) -> dict[str, str]:
    action = _DEEP
    for key, value in {"WHERE": where, "DEPTH": depth, "NAME": name, "SIZE": size}.items():
        action = action.replace(f"@{key}@", str(value))
    return installing(action)


@pytest.mark.parametrize("where", [".", "~", "../../../caches/@ID@/python3/uv"], ids=["project", "home", "cache"])
@pytest.mark.parametrize(("depth", "name"), [(3000, "d"), (30, "d" * 200)], ids=["many", "long"])
def test_directories_without_end_fail_the_build_and_nothing_else(
    start_server: Callable[..., Server], tmp_path: Path, where: str, depth: int, name: str
) -> None:
    """They can neither hide what is in them from the limits, nor keep the platform from ending or starting."""
    require_index()
    home = tmp_path / "home"
    home.mkdir()
    author = Author(
        start_server("--port", "0", home=home, environment={"ALGORITHMIA_MAX_BUILD_BYTES": str(100 * MIB)}), tmp_path
    )
    author.make()
    if "@ID@" in where:
        assert author.succeeds(installing("pass"))
        where = where.replace("@ID@", next((author.state / "caches").iterdir()).name)
    build, log = author.outcome(deep(where, depth, name, 1 if depth > 1000 else 300))
    if "caches" in where:  # which is thrown away; whether that is noticed while the build runs is a matter of time
        assert [path.name for path in (author.state / "caches").glob("*/*")] in ([], ["python3"])
    else:
        assert build["status"] == "failed"
        assert "nested too deeply" in log.splitlines()[-1] or "wrote more than" in log.splitlines()[-1], log
    assert {path.suffix for path in (author.state / "builds").iterdir() if path.is_dir()} <= {""}
    assert author.server.stop() == 0
    author.server = start_server("--port", "0", home=home)
    author._address = author._address._replace(netloc=author.server.address.split("//")[1])
    assert author.succeeds(project())
    used = sum(path.lstat().st_size for path in author.state.rglob("*"))
    assert used < 100 * MIB


def test_no_log_of_a_build_shows_the_algorithms_secrets(server: Server, tmp_path: Path) -> None:
    """Whose source is open shows everybody its logs; and what loads has the secrets, and may print them."""
    author = Author(server, tmp_path)
    author.make(language="python3", source_visibility="open", license="mit")
    path = f"/v1/algorithms/{author.name}/Zoo"
    for name, value in {"TOKEN": "correct horse", "KEY": "-----BEGIN-----\nbattery staple\n", "MODE": "on"}.items():
        author.send("POST", path + "/secrets", json.dumps({"secret_key": name, "secret_value": value}).encode())
    printing = "import os\nfor name in ('TOKEN', 'KEY', 'MODE'): print(name, '=', os.environ[name])\n"
    build, log = author.outcome(project(printing + HELLO))
    assert build["status"] == "succeeded"
    assert "TOKEN = ***" in log and "correct horse" not in log and "battery staple" not in log and "MODE = on" in log
    log = author.fails(project(printing + "raise ValueError('no service at ' + os.environ['TOKEN'])\n"))
    assert log.splitlines()[-1] == "FAILED: the algorithm does not load: no service at ***"
    state = [file for file in author.state.rglob("*") if file.is_file()]
    assert state and not [file for file in state if b"correct horse" in file.read_bytes()]


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        (None, "No such file"),
        ("{", "line 1"),
        ("[]", "it is no object"),
        ("{}", "it has none"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_a_configuration_that_is_none_is_said_to_be_none(
    server: Server, tmp_path: Path, configuration: str | None, said: str
) -> None:
    """In words, without our own source lines or paths."""
    author = Author(server, tmp_path)
    author.make()
    files = project()
    del files["algorithmia.conf"]
    if configuration is not None:
        files["algorithmia.conf"] = configuration
    log = author.fails(files)
    last = log.splitlines()[-1]
    assert "algorithmia.conf must be a JSON object with the member algoname" in last and said in last
    assert "Traceback" not in log and str(author.state) not in log
