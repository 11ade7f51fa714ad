"""From a push to a build on a whole platform in a process of its own, which is also stopped and killed meanwhile."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from git_hosted import fsck, git_processes, wait_until
from hosted_algorithms import Hosted
from platforms import Server, clean_environment

from Algorithmia.server.git.repositories import Repositories
from Algorithmia.server.settings import Settings

_SOURCE = """\
from Algorithmia import ADK

{before}

def apply(input):
    return "hello " + input


ADK(apply).init("you")
"""


def edit(hosted: Hosted, working: Path, before: str = "", name: str = "Hi") -> str:
    """A commit of a source that runs the statement `before` when it's loaded; the commit."""
    (working / "src" / f"{name}.py").write_text(_SOURCE.format(before=before))
    hosted.git(working, "commit", "-q", "--allow-empty", "-am", "Change")
    return hosted.git(working, "rev-parse", "HEAD").strip()


def begin_push(hosted: Hosted, working: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["git", "push", "origin", "HEAD:master"],
        cwd=working,
        env={**clean_environment(hosted.home), "GIT_TERMINAL_PROMPT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def repository_of(server: Server, hosted: Hosted, name: str = "Hi") -> tuple[Repositories, str]:
    settings = Settings(home=Path(server.home))
    algorithm_id = hosted.send("GET", f"/v1/algorithms/{hosted.name}/{name}")["id"]
    return Repositories(settings.state, settings), algorithm_id


def _is_built(hosted: Hosted, commit: str) -> bool:
    """Whether the builds of all commits have ended, and `commit` is one of them."""
    builds = hosted.send("GET", f"/v1/algorithms/{hosted.name}/Hi/builds?limit=50")["results"]
    return commit in {build["commit_sha"] for build in builds} and all(
        build["status"] in ("succeeded", "failed") for build in builds
    )


def _no_process_of(algorithm_id: str) -> bool:
    return not git_processes(algorithm_id)


def test_from_a_clone_to_a_call(server: Server, tmp_path: Path) -> None:
    hosted = Hosted(server, tmp_path)
    hosted.create("Hi", "python3")
    working = hosted.clone("Hi")
    assert (working / "src" / "Hi.py").is_file() and (working / "README.md").is_file()
    (working / "README.md").write_text("# Says hello\n")
    commit = edit(hosted, working)
    output = hosted.git(working, "push", "origin", "HEAD:master")
    assert "remote: ==> Start the algorithm" in output and f"algo run {hosted.name}/Hi/{commit}" in output
    assert hosted.call(f"Hi/{commit}", "text", "you").value == "hello you"
    assert hosted.send("GET", f"/v1/algorithms/{hosted.name}/Hi")["details"]["summary"] == "# Says hello\n"
    version = hosted.publish("Hi")
    address = hosted.git(working, "remote", "get-url", "origin").strip().replace("Hi.git", f"Hi/{version}.git")
    hosted.git(tmp_path, "clone", "-q", address, "published")
    assert hosted.git(tmp_path / "published", "rev-parse", "HEAD").strip() == commit


def test_a_failed_build_shows_why(server: Server, tmp_path: Path) -> None:
    hosted = Hosted(server, tmp_path)
    hosted.create("Hi", "python3")
    working = hosted.clone("Hi")
    edit(hosted, working, "raise RuntimeError('no model today')")
    output = hosted.git(working, "push", "origin", "HEAD:master")
    assert "no model today" in output and "its build failed" in output


def test_bundled_sources_can_be_read(server: Server, tmp_path: Path) -> None:
    hosted = Hosted(server, tmp_path)
    hosted.create("Hi", "python3")
    address = hosted.git(hosted.clone("Hi"), "remote", "get-url", "origin").strip()
    address = address.replace(f"/git/{hosted.name}/Hi.git", "/git/demo/Hello.git")
    hosted.git(tmp_path, "clone", "-q", address, "hello")
    assert (tmp_path / "hello" / "src" / "Hello.py").is_file()


def test_a_platform_that_stops_keeps_no_pusher(start_server: Callable[..., Server], tmp_path: Path) -> None:
    server = start_server()
    hosted = Hosted(server, tmp_path)
    hosted.create("Hi", "python3")
    working = hosted.clone("Hi")
    commit = edit(hosted, working, "import time; time.sleep(100)")
    push = begin_push(hosted, working)
    assert push.stdout
    seen = b""
    while b"Start the algorithm" not in seen:
        piece = push.stdout.readline()
        assert piece, seen
        seen += piece
    server.process.send_signal(signal.SIGTERM)
    rest = push.communicate(timeout=60)[0]
    assert push.returncode == 0 and b"shutting down" in rest, seen + rest
    server.stop()
    settings = Settings(home=Path(server.home))
    (repository,) = (settings.state / "git").glob("*.git")
    assert Repositories(settings.state, settings).head(repository.stem) == commit


def test_a_platform_killed_during_push_and_build_has_sound_repositories_and_ended_builds(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    home = tmp_path / "platform"
    home.mkdir()
    server = start_server(home=home)
    hosted = Hosted(server, tmp_path)
    hosted.create("Hi", "python3")
    working = hosted.clone("Hi")
    port = server.address.rpartition(":")[2]
    wait = random.Random(3)
    for _ in range(4):
        commit = edit(hosted, working)
        push = begin_push(hosted, working)
        threading.Event().wait(wait.uniform(0.02, 0.6))
        server.kill()
        push.communicate(timeout=60)
        server = start_server("--port", port, home=home)
        repositories, algorithm_id = repository_of(server, hosted)
        fsck(repositories, algorithm_id)
        wait_until(partial(_no_process_of, algorithm_id))
        if repositories.head(algorithm_id) != commit:
            hosted.git(working, "push", "-q", "origin", "HEAD:master")
        assert repositories.head(algorithm_id) == commit

        wait_until(partial(_is_built, hosted, commit), 60)
    # Whatever became of the earlier ones, the next push is as any other.
    (working / "new.txt").write_text("new")
    last = hosted.push("Hi", working)
    assert hosted.call(f"Hi/{last}", "text", "you").value == "hello you"
