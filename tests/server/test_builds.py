"""Builds, seen from outside: what comes of good and bad projects, what their logs say, what is shared, who is next."""

from __future__ import annotations

import json
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from build_projects import HELLO, Author, installing, project, require_index, require_sandbox
from platforms import Server

from Algorithmia.server.languages import Languages


@pytest.fixture
def author(server: Server, tmp_path: Path) -> Author:
    author = Author(server, tmp_path)
    author.make()
    return author


def test_a_build_that_succeeds(author: Author) -> None:
    build, log = author.outcome(project())
    assert build["status"] == "succeeded" and build["finished_at"] >= build["started_at"]
    lines = log.splitlines()
    assert lines[0].startswith(f"Building {author.name}/Zoo at {build['commit_sha'][:12]} for Python 3.")
    assert lines[-1].startswith(f"SUCCEEDED: {author.name}/Zoo at {build['commit_sha']} for Python 3.")
    assert author.call(f"Zoo/{build['commit_sha']}", "text", "you").result() == ("text", "hello you")


def test_a_build_is_immutable(author: Author) -> None:
    build, log = author.outcome(project())
    directory = author.state / "builds" / build["build_id"]
    for path in (directory, *directory.rglob("*")):
        assert not stat.S_IMODE(path.lstat().st_mode) & 0o222, path
    assert not (author.state / "builds" / f"{build['build_id']}.tmp").exists()


def test_an_algorithm_cannot_change_its_build(author: Author) -> None:
    source = (
        "import os\nfrom Algorithmia import ADK\n"
        "def apply(input):\n"
        "    problems = []\n"
        "    for path in ('new', 'src/Zoo.py', 'requirements.txt'):\n"
        "        try:\n            open(path, 'a').close()\n"
        "        except OSError:\n            problems.append(path)\n"
        "    return problems\n"
        "ADK(apply).init()\n"
    )
    require_sandbox(author.server)
    commit = author.succeeds(project(source))
    assert author.call(f"Zoo/{commit}", "json", None).result()[1] == ["new", "src/Zoo.py", "requirements.txt"]


def test_a_commit_is_built_once(author: Author) -> None:
    first = author.deploy(project())
    assert author.deploy(project()) == first
    author.ended(first)
    assert author.deploy(project()) == first
    assert author.deploy(project(HELLO + "# changed\n")) != first


def test_a_commit_that_failed_is_built_again(author: Author) -> None:
    files = project("import nothing_of_that_name\n")
    first = author.deploy(files)
    author.logs(first)
    again = author.deploy(files)
    assert again != first and "nothing_of_that_name" in author.logs(again)


@pytest.mark.parametrize(
    ("source", "said", "reason"),
    [
        ("def apply(input:\n", "SyntaxError", "the algorithm does not load"),
        ("raise ValueError('bad model')\n", 'File "src/Zoo.py", line 1', "the algorithm does not load: bad model"),
        (
            "from Algorithmia import ADK\ndef apply(i): pass\ndef load():\n    print('begun')\n    1 / 0\n"
            "ADK(apply, load).init()\n",
            "begun",
            "the algorithm does not load: division by zero",
        ),
        ("import os\nos._exit(7)\n", "", "the algorithm does not load: exited with code 7"),
        ("print('no ADK here')\n", "no ADK here", "the algorithm does not load: src/Zoo ended without serving"),
    ],
    ids=["syntax", "import", "load", "exit", "nothing served"],
)
def test_an_algorithm_that_does_not_load(author: Author, source: str, said: str, reason: str) -> None:
    log = author.fails(project(source))
    assert said in log
    assert log.splitlines()[-1].startswith(f"FAILED: {reason}"), log
    assert not [path for path in (author.state / "builds").glob("*/src/Zoo.py") if path.read_text() == source]


def test_load_acts_for_the_owner(author: Author) -> None:
    author.server.client(author.key).dir("data://.my/models").create()
    author.server.client(author.key).file("data://.my/models/m.txt").put("weights")
    source = (
        "import Algorithmia\nfrom Algorithmia import ADK\n"
        "def load():\n"
        "    client = Algorithmia.client()\n"
        "    return client.file('data://.my/models/m.txt').getString() + client.algo('demo/Hello').pipe('x').result\n"
        "def apply(input, state): return state\nADK(apply, load).init()\n"
    )
    commit = author.succeeds(project(source))
    assert author.call(f"Zoo/{commit}", "json", None).result()[1] == "weightsHello x"


def test_load_has_the_secrets(author: Author) -> None:
    algorithm_id = author.send("GET", f"/v1/algorithms/{author.name}/Zoo")["id"]
    secret = {
        "short_name": "token",
        "description": "of somebody else",
        "secret_key": "SOME_TOKEN",
        "secret_value": "hunter2",
        "owner_type": "algorithm",
        "owner_id": algorithm_id,
    }
    author.send("POST", f"/v1/algorithms/{algorithm_id}/secrets", json.dumps(secret).encode())
    source = (
        "import os\nfrom Algorithmia import ADK\n"
        "def load(): return len(os.environ['SOME_TOKEN'])\n"
        "def apply(input, state): return state\nADK(apply, load).init()\n"
    )
    build, log = author.outcome(project(source))
    assert build["status"] == "succeeded" and "hunter2" not in log
    assert author.call(f"Zoo/{build['commit_sha']}", "json", None).result()[1] == 7


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"algorithmia.conf": ""}, "algorithmia.conf"),
        ({"algorithmia.conf": "[]"}, "algorithmia.conf"),
        ({"src/Zoo.py": ""}, "src/Zoo"),
        ({"requirements.txt": "./nothing-here\n"}, "Install requirements.txt"),
    ],
    ids=["no conf", "bad conf", "no source", "bad requirements"],
)
def test_a_project_that_is_not_one(author: Author, files: dict[str, str], reason: str) -> None:
    if "requirements.txt" in files:
        require_index()
    changed = {path: text for path, text in {**project(), **files}.items() if text or path not in files}
    assert reason in author.fails(changed).splitlines()[-1]


def test_an_environment_that_is_not_there(author: Author) -> None:
    languages = Languages()
    missing = [
        environment
        for language in languages.all.values()
        for environment in languages.environments(language)
        if not environment.is_available
    ]
    if not missing:
        pytest.skip("every environment that this platform knows of is on this machine")
    body = json.dumps({"settings": {"package_set": missing[0].name}}).encode()
    author.send("PUT", f"/v1/algorithms/{author.name}/Zoo", body)
    log = author.fails(project())
    assert "can't be used on this platform" in log.splitlines()[-1]


def test_the_log_can_be_followed_while_it_grows(author: Author) -> None:
    require_index()
    build_id = author.deploy(installing("import time; time.sleep(3)\n"))
    response = author.follow(build_id)
    assert response.status == 200
    seen = b""
    while b"==> Install requirements.txt" not in seen:
        seen += response.readline()
    assert author.build(build_id)["status"] == "in-progress"
    rest = response.read()
    assert rest.splitlines()[-1].startswith(b"SUCCEEDED"), rest
    assert (seen + rest).decode() == author.logs(build_id)
    # Once it has ended, following is reading.
    assert author.follow(build_id).read() == seen + rest


def test_equal_dependencies_are_installed_once(author: Author, server: Server, tmp_path: Path) -> None:
    require_index()
    requirements = "iniconfig==2.0.0\n"
    author.make("Second")
    builds = [author.deploy(project(requirements=requirements))]
    builds.append(author.deploy(project(requirements=requirements, name="Second"), "Second"))
    logs = [author.logs(builds[0]), author.logs(builds[1], "Second")]
    assert sorted("==> Install requirements.txt" in log for log in logs) == [False, True], logs
    assert all(log.splitlines()[-1].startswith("SUCCEEDED") for log in logs)
    # Nobody runs what another account's installation wrote.
    (tmp_path / "other").mkdir()
    other = Author(server, tmp_path / "other")
    other.make()
    build, log = other.outcome(project(requirements=requirements))
    assert "==> Install requirements.txt" in log and build["status"] == "succeeded"


def test_accounts_take_turns(start_server: Any, tmp_path: Path) -> None:
    server = start_server("--port", "0", environment={"ALGORITHMIA_MAX_BUILDS": "1"})
    source = "import time\ntime.sleep(0.7)\n" + HELLO
    authors = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        authors.append(Author(server, tmp_path / name))
    first, second = authors
    for number in range(4):
        first.make(f"Zoo{number}")
    second.make()
    queued = [first.deploy(project(source, name=f"Zoo{number}"), f"Zoo{number}") for number in range(4)]
    late = second.deploy(project(source))
    assert "Waiting for another build" in second.logs(late)
    ends = [first.ended(build_id, f"Zoo{number}")["finished_at"] for number, build_id in enumerate(queued)]
    assert ends == sorted(ends)
    assert second.ended(late)["finished_at"] < ends[2]


def test_deleting_an_algorithm_removes_its_builds(author: Author) -> None:
    author.succeeds(project())
    running = author.deploy(project("import time\ntime.sleep(30)\n"))
    time.sleep(0.5)
    ids = [build["build_id"] for build in author.send("GET", f"/v1/algorithms/{author.name}/Zoo/builds")["results"]]
    assert running in ids and len(ids) == 2
    author.send("DELETE", f"/v1/algorithms/{author.name}/Zoo")
    deadline = time.monotonic() + 30
    while any(path.name.startswith(tuple(ids)) for path in (author.state / "builds").iterdir()):
        assert time.monotonic() < deadline, list((author.state / "builds").iterdir())
        time.sleep(0.1)


def test_a_caller_that_goes_away_leaves_its_build(author: Author) -> None:
    author.succeeds(project())
    source = "import time\ntime.sleep(1)\n" + HELLO
    build_id = author.deploy(project(source))
    follower = author.follow(build_id)
    follower.readline()
    follower.close()
    assert author.ended(build_id)["status"] == "succeeded"


def test_many_builds_at_once(author: Author) -> None:
    results: list[str] = []

    def one(number: int) -> None:
        name = f"Zoo{number}"
        author.make(name)
        commit = author.succeeds(project(f"{HELLO}# {number}\n", name=name), name)
        results.append(author.call(f"{name}/{commit}", "text", str(number)).result()[1])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(results) == [f"hello {number}" for number in range(8)]
