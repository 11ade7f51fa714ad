"""A platform that is killed while algorithms are created, deployed, published and deleted: what is there afterwards."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from managed import ECHO, SETTINGS, Manager, project
from platforms import Server, clean_environment


def git(server: Server, *arguments: str) -> str:
    """Run git; what it printed."""
    environment = {**clean_environment(server.home), "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *arguments], env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done
    return done.stdout.decode()


def version_url(me: Manager, name: str, version: str) -> str:
    """Where git finds one version."""
    address, key = urllib.parse.urlsplit(me.server.address), urllib.parse.quote(me.key, safe="")
    return f"{address.scheme}://{me.name}:{key}@{address.netloc}/git/{me.name}/{name}/{version}.git"


def busy(me: Manager, stop: threading.Event, worker: int) -> None:
    """Create, deploy, publish and delete, until the platform is gone."""
    while not stop.is_set():
        name = f"W{worker}_{uuid.uuid4().hex[:8]}"
        path = me.path(name)
        try:
            me.send("POST", f"/v1/algorithms/{me.name}", {"name": name, "settings": SETTINGS})
            for number in range(2):
                source = project(me.name, name, f"{ECHO}# {number}\n")
                me.send("PUT", path + "/source", source, "application/gzip")
                me.send("POST", path + "/compile", {})
                me.publish(name, sample_input="1")
            if worker % 2:
                me.send("DELETE", path)
        except (OSError, ValueError):
            return
        except Exception as problem:
            if type(problem).__module__ != "http.client":
                raise
            return


def check(me: Manager) -> None:
    """Everything that is there is whole."""
    state = Path(me.server.home) / "platform"
    listed = me.send("GET", f"/v1/users/{me.name}/algorithms").ok
    # No repository without an algorithm, and no algorithm without a repository.
    assert {path.stem for path in (state / "git").glob("*.git")} == {entry["id"] for entry in listed}
    assert not list((state / "uploads").glob("*"))
    for entry in listed:
        path = me.path(entry["algoname"])
        git(me.server, f"--git-dir={state / 'git' / entry['id']}.git", "fsck", "--strict")
        builds = me.send("GET", path + "/builds?limit=100").ok["results"]
        deadline = time.monotonic() + 120
        while any(build["status"] == "in-progress" for build in builds) and time.monotonic() < deadline:
            time.sleep(0.1)  # heads that had no build yet are being built now
            builds = me.send("GET", path + "/builds?limit=100").ok["results"]
        assert {build["status"] for build in builds} <= {"succeeded", "failed"}, builds
        versions = me.send("GET", path + "/versions?published=true").ok["results"]
        for version in versions:
            info: dict[str, Any] = version["version_info"]
            number = info["semantic_version"]
            assert me.call(f"{me.name}/{entry['algoname']}/{number}", number).ok["result"] == number
            assert info["git_hash"] in git(me.server, "ls-remote", version_url(me, entry["algoname"], number), "HEAD")


def test_killed_at_any_moment(start_server: Callable[..., Server]) -> None:
    moments = random.Random(3)  # noqa: S311
    server = start_server()
    me = Manager(server)
    for _ in range(4):
        stop = threading.Event()
        threads = [threading.Thread(target=busy, args=(me, stop, worker)) for worker in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.5 + 2.5 * moments.random())
        server.kill()
        stop.set()
        for thread in threads:
            thread.join()
        server = start_server(home=server.home)
        me.server = server
        check(me)


def test_a_version_without_its_tag_gets_it_at_the_next_start(start_server: Callable[..., Server]) -> None:
    first = start_server()
    me = Manager(first)
    name = me.published()
    algorithm_id = me.send("GET", me.path(name)).ok["id"]
    first.kill()
    repository = Path(first.home) / "platform" / "git" / f"{algorithm_id}.git"
    for reference in ("refs/tags/0.1.0", "refs/namespaces/0.1.0/refs/heads/master"):
        git(first, f"--git-dir={repository}", "update-ref", "-d", reference)
    with sqlite3.connect(Path(first.home) / "platform" / "platform.db") as database:
        assert database.execute("UPDATE versions SET info = '{}' WHERE algorithm_id = ?", [algorithm_id]).rowcount == 1
    database.close()
    me.server = start_server(home=first.home)
    commit = me.send("GET", me.path(name)).ok["version_info"]["git_hash"]
    assert commit in git(me.server, "ls-remote", version_url(me, name, "0.1.0"), "HEAD")
    assert commit in git(first, f"--git-dir={repository}", "rev-parse", "refs/tags/0.1.0")
