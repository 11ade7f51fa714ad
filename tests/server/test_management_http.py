"""From nothing to a built algorithm over plain HTTP: what the management API answers and what it refuses."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from managed import ECHO, SETTINGS, Manager, packed, project
from platforms import Server

HASH = re.compile(r"[0-9a-f]{40}")
BAD_SOURCE = "raise RuntimeError('no such luck')\n"


@pytest.fixture
def me(server: Server) -> Manager:
    return Manager(server)


@pytest.fixture
def other(server: Server) -> Manager:
    return Manager(server)


# -- create, get, update, delete


def test_create_answers_with_the_algorithm(me: Manager) -> None:
    body = {
        "name": "Sentiment",
        "details": {"label": "Sentiment analysis", "tagline": "friendly?", "summary": "# Text"},
        "settings": {**SETTINGS, "royalty_microcredits": 5},
        "source": {},
        "scmsCredentials": {},
        "version_info": {},
    }
    answer = me.send("POST", f"/v1/algorithms/{me.name}", body)
    assert answer.status == 201
    made = answer.ok
    assert made["name"] == "Sentiment" and made["details"] == body["details"]
    assert made["settings"] == {**SETTINGS, "algorithm_callability": "private", "royalty_microcredits": 5}
    assert made["resource_type"] == "algorithm" and uuid.UUID(made["id"])
    assert made["source"]["scm"] == {"id": "internal", "provider": "internal", "default": True, "enabled": True}
    # No code was built, nothing is published: absent, not null.
    assert not {"version_info", "build", "compilation"} & set(made)
    assert made["self_link"].endswith(f"/v1/algorithms/{me.name}/Sentiment")
    for path in (me.path("Sentiment"), me.path("Sentiment") + "/", f"/v1/algorithms/{made['id']}"):
        assert me.send("GET", path).ok == made
    assert me.send("GET", f"/v1/users/{me.name}/algorithms").ok == [
        {"id": made["id"], "algoname": "Sentiment", "username": me.name}
    ]


def test_create_fills_in_what_older_clients_leave_out(me: Manager) -> None:
    made = me.send("POST", f"/v1/algorithms/{me.name}", {"name": "A", "settings": {"language": "python3"}}).ok
    assert made["details"] == {"label": "A"}
    assert made["settings"]["source_visibility"] == "closed" and made["settings"]["license"] == "apl"
    assert made["settings"]["algorithm_callability"] == "private" and made["settings"]["environment"] == "cpu"
    settings = {"language": "python3", "license": "mit", "royalty_microcredits": None}
    made = me.send("POST", f"/v1/algorithms/{me.name}", {"name": "B", "settings": settings}).ok
    assert made["settings"]["source_visibility"] == "open"


def test_create_by_environment(me: Manager) -> None:
    found = me.send("GET", "/v1/algorithm-environments/edge/languages/python3/environments").ok["environments"][0]
    body = {"name": "ById", "settings": {"algorithm_environment": found["id"]}}
    made = me.send("POST", f"/v1/algorithms/{me.name}", body).ok
    assert made["settings"]["algorithm_environment"] == found["id"]
    assert made["settings"]["package_set"] == found["name"] and "language" not in made["settings"]
    body = {"name": "ByName", "settings": {"package_set": found["name"]}}
    made = me.send("POST", f"/v1/algorithms/{me.name}", body).ok
    assert made["settings"]["package_set"] == found["name"] and "language" not in made["settings"]


@pytest.mark.parametrize(
    ("settings", "code", "hint"),
    [
        ({"license": "bsd"}, 2015, "apl, apache2, gpl3, mit"),
        ({"source_visibility": "secret"}, 2015, "open, closed"),
        ({"network_access": True}, 2015, "full, isolated"),
        ({"pipeline_enabled": "yes"}, 2015, "true or false"),
        ({"royalty_microcredits": -1}, 2015, "whole number"),
        ({"royalty_microcredits": True}, 2015, "whole number"),
        ({"environment": "quantum"}, 2015, "cpu, gpu"),
        ({"license": "mit", "source_visibility": "closed"}, 2015, "apl"),
        ({"language": "cobol"}, 4001, "python3"),
        ({"language": None}, 4001, "python3"),
        ({"package_set": "python99"}, 1003, "python99"),
        ({"algorithm_environment": str(uuid.uuid4())}, 1003, "environment"),
        ({"language": 7}, 2015, "string"),
    ],
)
def test_create_refuses_settings_that_make_no_sense(me: Manager, settings: Any, code: int, hint: str) -> None:
    answer = me.send("POST", f"/v1/algorithms/{me.name}", {"name": "A", "settings": {**SETTINGS, **settings}})
    assert hint in answer.refused(400, code)
    me.send("GET", me.path("A")).refused(404, 1000)


@pytest.mark.parametrize(
    "name", ["", "1a", "_a", "a-b", "a b", "a/b", "../a", "a\0", "ä", "a" * 65, "A.git", "a\n"]
)
def test_create_refuses_names(me: Manager, name: str) -> None:
    me.send("POST", f"/v1/algorithms/{me.name}", {"name": name, "settings": SETTINGS}).refused(400)


def test_a_name_is_taken_once(me: Manager) -> None:
    name = me.create()
    again = me.send("POST", f"/v1/algorithms/{me.name}", {"name": name, "settings": SETTINGS})
    assert name in again.refused(409, 1002)
    answers: list[int] = []
    body = {"name": "Race", "settings": SETTINGS}
    threads = [
        threading.Thread(target=lambda: answers.append(me.send("POST", f"/v1/algorithms/{me.name}", body).status))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [201] + [409] * 5


def test_an_external_scm_is_refused(me: Manager) -> None:
    body = {"name": "A", "settings": SETTINGS, "source": {"scm": str(uuid.uuid4()), "repository_name": "a"}}
    assert "internal" in me.send("POST", f"/v1/algorithms/{me.name}", body).refused(400, 4009)
    body["source"] = {"scm": "internal", "initial_commit_message": "First"}
    assert me.send("POST", f"/v1/algorithms/{me.name}", body).status == 201
    commits = me.send("GET", me.path("A") + "/log").ok["commits"]
    assert [commit["short_message"] for commit in commits] == ["First"]


def test_update_changes_what_is_given(me: Manager) -> None:
    name = me.create()
    changes = {"details": {"tagline": "new"}, "settings": {"network_access": "isolated", "environment": "gpu"}}
    changed = me.send("PUT", me.path(name), changes).ok
    assert changed["details"] == {"label": name, "tagline": "new"}
    assert changed["settings"]["network_access"] == "isolated" and changed["settings"]["environment"] == "gpu"
    assert changed["settings"]["license"] == "apl"
    assert me.send("PUT", f"/v1/algorithms/{changed['id']}", {}).ok == changed
    same = {"settings": {"language": "python3-1"}, "source": {}, "scmsCredentials": {}, "version_info": {}}
    assert me.send("PUT", me.path(name), same).ok == changed
    assert "python3" in me.send("PUT", me.path(name), {"settings": {"language": "java"}}).refused(400)
    assert "apl" in me.send("PUT", me.path(name), {"settings": {"license": "mit"}}).refused(400)
    me.send("PUT", me.path(name), {"details": {"label": 7}}).refused(400)
    assert me.send("GET", me.path(name)).ok == changed


def test_the_form_of_the_old_client_s_update_gets_a_clear_answer(me: Manager) -> None:
    name = me.create()
    form = "application/x-www-form-urlencoded"
    message = me.send("PUT", me.path(name), b"details=label&settings=license", form).refused(400, 2013)
    assert "form" in message and "JSON" in message
    # curl -d says that its JSON is a form.
    assert me.send("PUT", me.path(name), b'{"details":{"label":"L"}}', form).ok["details"]["label"] == "L"


def test_delete_removes_everything(me: Manager) -> None:
    name = me.create()
    build = me.deploy(name)
    me.publish(name).ok
    assert me.call(f"{me.name}/{name}/0.1.0").ok["result"] == "x"
    me.send("POST", me.path(name) + "/secrets", {"secret_key": "K", "secret_value": "v"}).ok
    assert me.send("DELETE", me.path(name)).status == 204
    for path in ("", "/builds", f"/builds/{build['build_id']}", "/versions", "/secrets", "/log", "/errors"):
        me.send("GET", me.path(name) + path).refused(404, 1000)
    me.send("DELETE", me.path(name)).refused(404)
    me.call(f"{me.name}/{name}/0.1.0").refused(404)
    # The name is free again, and nothing of the old algorithm comes back.
    me.create(name)
    assert me.send("GET", me.path(name) + "/builds").ok["results"] == []
    assert me.send("GET", me.path(name) + "/secrets").ok["results"] == []


def test_public_algorithms_stay(me: Manager, other: Manager) -> None:
    name = me.published(callability="public")
    assert "public" in me.send("DELETE", me.path(name)).refused(409)
    assert other.call(f"{me.name}/{name}").ok["result"] == "x"


# -- sources and builds


def test_source_build_logs(me: Manager) -> None:
    name = me.create()
    sent = me.put_source(name, README="# Words\n\nAbout words.")
    assert HASH.fullmatch(sent["commit_sha"]) and sent["created"] is True
    live = me.send("GET", f"{me.path(name)}/builds/{sent['build_id']}/logs?follow=true")
    assert live.headers["content-type"].startswith("text/plain") and live.body
    build = me.send("GET", f"{me.path(name)}/builds/{sent['build_id']}").ok
    assert build["status"] == "succeeded" and build["commit_sha"] == sent["commit_sha"]
    assert build["resource_type"] == "algorithm_build" and build["build_id"] == sent["build_id"]
    for moment in ("started_at", "finished_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", build[moment])
    logs = me.send("GET", f"{me.path(name)}/builds/{sent['build_id']}/logs").ok
    assert set(logs) == {"logs"} and logs["logs"].encode() == live.body
    assert me.send("GET", me.path(name) + "/builds").ok == {"marker": None, "next_link": None, "results": [build]}
    # The README is the summary, the build is what the algorithm shows of itself.
    shown = me.send("GET", me.path(name)).ok
    assert shown["details"]["summary"].startswith("# Words")
    assert shown["version_info"] == {"git_hash": sent["commit_sha"]} and shown["build"] == build
    assert shown["compilation"] == {"successful": True, "output": logs["logs"]}
    # Nothing new: the same commit, the same build.
    again = me.put_source(name, README="# Words\n\nAbout words.")
    assert again == {**sent, "created": False}
    # By its commit it can be called before it is published.
    assert me.call(f"{me.name}/{name}/{sent['commit_sha']}", [1]).ok["result"] == [1]


def test_a_build_that_fails(me: Manager) -> None:
    name = me.create()
    build = me.deploy(name, BAD_SOURCE)
    assert build["status"] == "failed" and build["problem"] and "no such luck" in build["log"]
    shown = me.send("GET", me.path(name)).ok
    assert shown["compilation"]["successful"] is False and "no such luck" in shown["compilation"]["output"]
    assert "version_info" not in shown
    message = me.publish(name).refused(404, 1010)
    assert build["build_id"] in message and "failed" in message
    compiled = me.send("POST", me.path(name) + "/compile", {}).ok
    assert compiled["compilation"]["successful"] is False and compiled["build"]["status"] == "failed"
    me.send("GET", f"{me.path(name)}/versions/{build['commit_sha']}").refused(404, 1014)


def test_builds_in_pages(me: Manager) -> None:
    name = me.create()
    commits = [me.deploy(name, f"{ECHO}# {number}\n")["commit_sha"] for number in range(3)]
    page = me.send("GET", me.path(name) + "/builds?limit=2").ok
    found = page["results"]
    assert page["marker"] and page["marker"] in page["next_link"]
    following = page["next_link"].removeprefix(me.server.address)
    last = me.send("GET", following).ok
    assert last["marker"] is None and last["next_link"] is None
    assert [build["commit_sha"] for build in found + last["results"]] == commits[::-1]
    for limit in ("0", "-1", "x", "", "1001", "1e3", "²", "9" * 30):
        me.send("GET", f"{me.path(name)}/builds?limit={limit}".replace("²", "%C2%B2")).refused(400, 5003)
    for marker in ("x", "0", "..%2f", "%00", str(uuid.uuid4())):
        me.send("GET", f"{me.path(name)}/builds?marker={marker}").refused(400, 5002)


def test_logs_while_it_builds(me: Manager) -> None:
    name = me.create()
    sent = me.put_source(name, "import time\ntime.sleep(3)\n" + ECHO)
    early = me.send("GET", f"{me.path(name)}/builds/{sent['build_id']}/logs")
    assert "follow=true" in early.refused(404, 1011)
    compiled = me.send("POST", me.path(name) + "/compile", {}).ok  # joins the build that runs
    assert compiled["build"]["build_id"] == sent["build_id"] and compiled["compilation"]["successful"] is True


def test_compile(me: Manager) -> None:
    name = me.create()
    first = me.deploy(name)
    same = me.send("POST", me.path(name) + "/compile", b"").ok
    assert same["build"]["build_id"] == first["build_id"]
    assert same["version_info"]["git_hash"] == first["commit_sha"]
    forced = me.send("POST", me.path(name) + "/compile", {"force": True}).ok
    assert forced["build"]["build_id"] != first["build_id"]
    me.publish(name).ok
    # What is published is built anew, so that it can be published again.
    anew = me.send("POST", me.path(name) + "/compile", {}).ok
    assert anew["build"]["build_id"] not in (first["build_id"], forced["build"]["build_id"])
    assert me.publish(name).ok["version_info"]["semantic_version"] == "0.2.0"
    assert me.send("POST", me.path(name) + "/compile", {"commitSha": first["commit_sha"]}).status == 200
    me.send("POST", me.path(name) + "/compile", {"commitSha": "0" * 40}).refused(400)
    me.send("POST", me.path(name) + "/compile", {"commitSha": "--all"}).refused(400)
    me.send("POST", me.path(name) + "/compile", b"{").refused(400, 2013)


def test_commits(me: Manager) -> None:
    name = me.create()
    commits = [me.deploy(name, f"{ECHO}# {number}\n")["commit_sha"] for number in range(2)]
    found = me.send("GET", me.path(name) + "/log").ok["commits"]
    assert [commit["id"] for commit in found[:2]] == commits[::-1] and len(found) == 3
    assert set(found[0]) == {"id", "short_message", "message", "author"} and found[0]["short_message"] == "Deploy"
    since = me.send("GET", f"{me.path(name)}/log?since={commits[0]}").ok["commits"]
    until = me.send("GET", f"{me.path(name)}/log?until={commits[0]}").ok["commits"]
    assert [commit["id"] for commit in since] == [commits[1]] and until == found[1:]
    for bad in ("0" * 40, "--output=x", "HEAD", "%00", "../../x"):
        me.send("GET", f"{me.path(name)}/log?since={bad}").refused(400)


def test_sources_that_won_t_do(me: Manager) -> None:
    name = me.create()

    def put(body: bytes, query: str = "") -> Any:
        return me.send("PUT", f"{me.path(name)}/source{query}", body, "application/gzip")

    whole = project(me.name, name)
    for body in (b"", b"not an archive", whole[: len(whole) // 2], whole[:40], packed({})):
        put(body).refused(400)
    for path in ("../outside", "/etc/passwd", "a/../../b", "a\\b"):
        put(packed({path: b"x"})).refused(400)
    put(project(me.name, name), "?message=" + "m" * 20_000).refused(400)
    assert len(me.send("GET", me.path(name) + "/log").ok["commits"]) == 1
    assert put(project(me.name, name), "?message=Two%0A%0Alines").ok["created"] is True
    assert me.send("GET", me.path(name) + "/log").ok["commits"][0]["message"] == "Two\n\nlines"


def test_the_same_source_many_times_at_once(me: Manager) -> None:
    name = me.create()
    source = project(me.name, name)
    answers: list[Any] = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(me.send("PUT", me.path(name) + "/source", source, "application/gzip").ok)
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({(answer["commit_sha"], answer["build_id"]) for answer in answers}) == 1
    assert [answer["created"] for answer in answers].count(True) == 1
    assert len(me.send("GET", me.path(name) + "/log").ok["commits"]) == 2


def test_sources_have_a_largest_size(start_server: Callable[..., Server]) -> None:
    small = start_server("--port", "0", "--max-push-bytes", "50000", "--max-source-bytes", "200000")
    me = Manager(small)
    name = me.create()
    path = me.path(name) + "/source"
    assert "50000" in me.send("PUT", path, b"x" * 60_000, "application/gzip").refused(413)
    bomb = packed({"zeros": b"\0" * 5_000_000})
    assert len(bomb) < 50_000
    me.send("PUT", path, bomb, "application/gzip").refused(413)
    assert me.send("PUT", path, project(me.name, name), "application/gzip").status == 200


# -- what survives a crash


def test_a_killed_server_comes_back_with_all_of_it(start_server: Callable[..., Server]) -> None:
    first = start_server()
    me = Manager(first)
    name = me.published("def apply(input):\n    return 'still here'\n")
    me.send("POST", me.path(name) + "/secrets", {"secret_key": "K", "secret_value": "v"}).ok
    first.kill()
    second = start_server(home=first.home)
    me.server = second
    assert me.call(f"{me.name}/{name}/0.1.0").ok["result"] == "still here"
    assert [secret["secret_key"] for secret in me.send("GET", me.path(name) + "/secrets").ok["results"]] == ["K"]
    assert me.deploy(name, ECHO)["status"] == "succeeded"
    assert me.publish(name).ok["version_info"]["semantic_version"] == "0.2.0"


# -- hosting


def test_hosting_is_internal(me: Manager) -> None:
    internal = {"id": "internal", "provider": "internal", "default": True, "enabled": True}
    assert me.send("GET", "/v1/scms").ok == {"results": [internal]}
    assert me.send("GET", "/v1/scms/internal").ok == internal
    me.send("GET", "/v1/scms/github").refused(404)
    name = me.create()
    assert me.send("GET", me.path(name) + "/scm/status").ok["scm_connection_status"] == "active"
