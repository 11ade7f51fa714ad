"""Publishing over plain HTTP: numbers, what a version fixes for ever, and which versions are listed."""

from __future__ import annotations

import json
import threading
import uuid
from typing import Any

import pytest
from managed import ECHO, Manager
from platforms import Server


@pytest.fixture
def me(server: Server) -> Manager:
    return Manager(server)


@pytest.fixture
def other(server: Server) -> Manager:
    return Manager(server)


def test_publish(me: Manager) -> None:
    name = me.create()
    build = me.deploy(name, "def apply(input):\n    return 'Hello ' + input\n")
    version = me.publish(name, sample_input='"Neo"', release_notes="first").ok
    info = version["version_info"]
    assert info["semantic_version"] == "0.1.0" and info["git_hash"] == build["commit_sha"]
    assert info["sample_input"] == '"Neo"' and info["sample_output"] == '"Hello Neo"'
    assert info["release_notes"] == "first" and uuid.UUID(info["version_uuid"])
    assert version["build"]["version_info"] == {"semantic_version": "0.1.0"}
    assert version["compilation"]["successful"] is True and version["compilation"]["output"] == build["log"]
    assert version["self_link"].endswith(f"{me.path(name)}/versions/{build['commit_sha']}")
    assert me.send("GET", f"{me.path(name)}/versions/{build['commit_sha']}").ok == version
    assert me.send("GET", me.path(name)).ok["version_info"]["semantic_version"] == "0.1.0"
    assert me.call(f"{me.name}/{name}/0.1.0", "you").ok["result"] == "Hello you"
    message = me.publish(name).refused(409, 1007)
    assert "0.1.0" in message and "compile" in message


@pytest.mark.parametrize(
    "body", [b"{}", b"", b'{"details":{},"settings":{},"version_info":{},"source":{},"scmsCredentials":{}}']
)
@pytest.mark.parametrize("route", ["versions", "version"])
def test_every_body_that_clients_send(me: Manager, body: bytes, route: str) -> None:
    name = me.create()
    me.deploy(name)
    published = me.send("POST", f"{me.path(name)}/{route}", body).ok
    assert published["version_info"]["semantic_version"] == "0.1.0"
    assert published["settings"]["algorithm_callability"] == "private"


def test_numbers(me: Manager) -> None:
    name = me.create()

    def next_version(**info: Any) -> Any:
        me.deploy(name, f"{ECHO}# {uuid.uuid4()}\n")
        answer = me.publish(name, **info)
        return answer.json["version_info"]["semantic_version"] if answer.status == 200 else answer

    assert next_version(version_type="patch") == "0.1.0"
    assert next_version(version_type="revision") == "0.1.1"
    assert next_version(type="patch") == "0.1.2"
    assert next_version(type="default") == "0.2.0"
    assert next_version(version_type="minor") == "0.3.0"
    assert next_version(version_type="major") == "1.0.0"
    assert next_version(semantic_version="1.10.0") == "1.10.0"
    assert next_version(version_type="revision") == "1.10.1"
    assert next_version() == "1.11.0"
    next_version(version_type="giant").refused(400)
    next_version(semantic_version="1.2").refused(400)
    assert "1.10.0" in next_version(semantic_version="1.10.0").refused(409, 1007)
    assert next_version(semantic_version="1.9.5") == "1.9.5"
    found = me.send("GET", me.path(name) + "/versions?published=true").ok["results"]
    shown = [version["version_info"]["semantic_version"] for version in found]
    assert shown == ["1.11.0", "1.10.1", "1.10.0", "1.9.5", "1.0.0", "0.3.0", "0.2.0", "0.1.2", "0.1.1", "0.1.0"]


def test_the_first_major_version(me: Manager) -> None:
    name = me.create()
    me.deploy(name)
    assert me.publish(name, version_type="major").ok["version_info"]["semantic_version"] == "1.0.0"


def test_publish_a_commit(me: Manager) -> None:
    name = me.create()
    first = me.deploy(name, "def apply(input):\n    return 1\n")
    me.deploy(name, "def apply(input):\n    return 2\n")
    version = me.publish(name, git_hash=first["commit_sha"]).ok
    assert version["version_info"]["git_hash"] == first["commit_sha"]
    assert me.call(f"{me.name}/{name}/0.1.0").ok["result"] == 1
    assert me.publish(name).ok["version_info"]["semantic_version"] == "0.2.0"
    assert me.call(f"{me.name}/{name}/0.2.0").ok["result"] == 2
    for unknown in ("0" * 40, "master", "../x"):
        me.publish(name, git_hash=unknown).refused(404, 1010)


def test_what_is_published_never_changes(me: Manager) -> None:
    name = me.create()
    me.deploy(name, "def apply(input):\n    return 'old'\n")
    me.publish(name).ok
    me.deploy(name, "def apply(input):\n    return 'new'\n")
    assert me.call(f"{me.name}/{name}/0.1.0").ok["result"] == "old"


def test_publish_overwrites_details_and_settings(me: Manager) -> None:
    name = me.create()
    me.deploy(name)
    body = {"details": {"tagline": "t"}, "settings": {"royalty_microcredits": 9, "algorithm_callability": "public"}}
    version = me.send("POST", me.path(name) + "/versions", body).ok
    assert version["details"]["tagline"] == "t" and version["settings"]["algorithm_callability"] == "public"
    shown = me.send("GET", me.path(name)).ok
    assert shown["settings"]["royalty_microcredits"] == 9
    # One public version doesn't make the next one public.
    me.deploy(name, ECHO + "#\n")
    assert me.publish(name).ok["settings"]["algorithm_callability"] == "private"


def test_permissions_change_with_a_major_version_only(me: Manager) -> None:
    name = me.create()

    def publish(settings: Any = None, **info: Any) -> Any:
        me.deploy(name, f"{ECHO}# {uuid.uuid4()}\n")
        return me.publish(name, settings, **info)

    publish().ok
    for change in ({"network_access": "isolated"}, {"pipeline_enabled": False}, {"source_visibility": "open"}):
        for kind in ("minor", "revision"):
            assert "major" in publish(change, version_type=kind).refused(400)
    # update() is for the next major version.
    me.send("PUT", me.path(name), {"settings": {"network_access": "isolated"}}).ok
    assert publish(version_type="minor").ok["settings"]["network_access"] == "full"
    assert publish(version_type="major").ok["settings"]["network_access"] == "isolated"
    again = publish({"network_access": "isolated"}, version_type="revision").ok
    assert again["settings"]["network_access"] == "isolated"
    # A revision is as callable as its minor version.
    assert publish(version_type="minor", settings={"algorithm_callability": "public"}).status == 200
    assert publish(version_type="revision").ok["settings"]["algorithm_callability"] == "public"
    assert "1.1.*" in publish({"algorithm_callability": "private"}, version_type="revision").refused(400)


def test_a_sample_that_fails_is_published_all_the_same(me: Manager) -> None:
    name = me.create()
    me.deploy(name, "def apply(input):\n    raise Exception('boom ' + input)\n")
    version = me.publish(name, sample_input={"not": "text"}).ok
    assert json.loads(version["version_info"]["sample_input"]) == {"not": "text"}
    assert version["version_info"]["sample_output"]
    me.deploy(name, "def apply(input):\n    raise Exception('boom')\n")
    # The sample stays until another one is given.
    again = me.publish(name).ok["version_info"]
    assert again["sample_input"] == version["version_info"]["sample_input"] and again["sample_output"] == "boom"


def test_publishing_at_once_gives_no_number_twice(me: Manager) -> None:
    name = me.create()
    commits = [me.deploy(name, f"{ECHO}# {number}\n")["commit_sha"] for number in range(8)]
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda commit=commit: answers.append(me.publish(name, git_hash=commit)))  # type: ignore[misc]
        for commit in commits
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [answer.ok["version_info"]["semantic_version"] for answer in answers]
    assert sorted(numbers) == [f"0.{minor}.0" for minor in range(1, 9)]
    found = me.send("GET", me.path(name) + "/versions").ok["results"]
    assert len({version["version_info"]["git_hash"] for version in found}) == 8


def test_versions_and_their_filters(me: Manager, other: Manager) -> None:
    name = me.create()
    me.deploy(name)
    me.publish(name).ok
    me.deploy(name, ECHO + "#\n")
    me.publish(name, {"algorithm_callability": "public"}).ok
    unpublished = me.deploy(name, ECHO + "##\n")

    def found(who: Manager, query: str) -> list[str]:
        versions = who.send("GET", f"{me.path(name)}/versions{query}").ok["results"]
        return [version["version_info"].get("semantic_version", "-") for version in versions]

    assert found(me, "") == ["0.2.0", "0.1.0", "-"]
    assert found(me, "?published=true") == ["0.2.0", "0.1.0"]
    assert found(me, "?published=false") == ["-"] and found(me, "?published=False&callable=true") == []
    assert found(me, "?callable=true") == ["0.2.0"] and found(me, "?callable=false") == ["0.1.0", "-"]
    assert found(other, "") == ["0.2.0"] and found(other, "?published=false") == []
    me.send("GET", me.path(name) + "/versions?published=maybe").refused(400)
    page = me.send("GET", me.path(name) + "/versions?limit=2").ok
    last = me.send("GET", page["next_link"].removeprefix(me.server.address)).ok
    assert [version["version_info"].get("semantic_version") for version in last["results"]] == [None]
    assert last["results"][0]["version_info"]["git_hash"] == unpublished["commit_sha"] and last["marker"] is None
    me.send("GET", me.path(name) + "/versions?marker=nonsense").refused(400, 5002)
    me.send("GET", me.path(name) + "/versions?limit=0").refused(400, 5003)


def test_changing_network_access_reaches_calls_by_commit(me: Manager) -> None:
    """A version that was published with a setting runs with it, whichever of its names is called."""
    name = me.create(network_access="isolated")
    build = me.deploy(name)
    me.publish(name).ok
    me.send("PUT", me.path(name), {"settings": {"network_access": "full"}}).ok
    for version in ("0.1.0", build["commit_sha"]):
        assert me.call(f"{me.name}/{name}/{version}", version).ok["result"] == version
