"""Who may not do what with algorithms: every route, every kind of key; and requests that make no sense."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from answers import Answer
from managed import SETTINGS, Manager, project
from platforms import Server

SECRET = "correct-horse-battery"  # noqa: S105
BODY = {"details": {}, "settings": {}, "version_info": {}}
CALLING = {"allow_algo": True, "allow_data": True, "allow_data_write": True, "algo_acl": ["algo://*"]}


class Target:
    """An account with a private and a public (closed) algorithm, each with a secret, a build, and failed calls."""

    def __init__(self, server: Server) -> None:
        self.owner = Manager(server)
        self.private = self.owner.published("def apply(input):\n    return input\n")
        self.public = self.owner.published("def apply(input):\n    return input\n", callability="public")
        self.secrets, self.builds, self.hashes = {}, {}, {}
        for name in (self.private, self.public):
            path = self.owner.path(name)
            body = {"secret_key": "TOKEN", "secret_value": SECRET}
            self.secrets[name] = self.owner.send("POST", path + "/secrets", body).ok["id"]
            build = self.owner.send("GET", path + "/builds").ok["results"][0]
            self.builds[name], self.hashes[name] = build["build_id"], build["commit_sha"]

    def requests(self, name: str) -> Iterator[tuple[str, str, Any]]:
        """Every request that only the owner may make, or those who may read the source."""
        path = self.owner.path(name)
        yield "PUT", path, BODY
        yield "DELETE", path, None
        yield "POST", path + "/compile", {}
        yield "GET", path + "/builds", None
        yield "GET", f"{path}/builds/{self.builds[name]}", None
        yield "GET", f"{path}/builds/{self.builds[name]}/logs", None
        yield "GET", f"{path}/builds/{self.builds[name]}/logs?follow=true", None
        yield "PUT", path + "/source", project(self.owner.name, name)
        yield "POST", path + "/versions", BODY
        yield "POST", path + "/version", BODY
        yield "GET", path + "/errors", None
        yield "GET", path + "/log", None
        yield "GET", path + "/scm/status", None
        yield "GET", path + "/secrets", None
        yield "POST", path + "/secrets", {"secret_key": "OTHER", "secret_value": "x"}
        yield "PUT", f"{path}/secrets/{self.secrets[name]}", {"secret_value": "x"}
        yield "DELETE", f"{path}/secrets/{self.secrets[name]}", None

    def visible(self, name: str) -> Iterator[tuple[str, str, Any]]:
        """Requests that everybody may make who may know of the algorithm."""
        path = self.owner.path(name)
        yield "GET", path, None
        yield "GET", path + "/versions", None
        yield "GET", f"{path}/versions/{self.hashes[name]}", None

    def state(self) -> Any:
        """All that a stranger could have changed."""
        found: list[Any] = []
        for name in (self.private, self.public):
            path = self.owner.path(name)
            shown = ("", "/builds", "/versions", "/secrets", "/log")
            found += [self.owner.send("GET", path + rest).ok for rest in shown]
        return found


@pytest.fixture(scope="module")
def target(server: Server) -> Target:
    return Target(server)


@pytest.fixture(scope="module")
def stranger(server: Server) -> Manager:
    return Manager(server)


def by_id(target: Target, path: str, name: str) -> str:
    """The same path with the algorithm's id in it."""
    found = target.owner.send("GET", target.owner.path(name)).ok["id"]
    return path.replace(target.owner.path(name), f"/v1/algorithms/{found}", 1)


def test_an_algorithm_of_others_does_not_exist(target: Target, stranger: Manager) -> None:
    before = target.state()
    for method, path, body in [*target.requests(target.private), *target.visible(target.private)]:
        for asked in (path, by_id(target, path, target.private)):
            stranger.send(method, asked, body).refused(404, 1000)
    assert stranger.send("GET", f"/v1/users/{target.owner.name}/algorithms").ok == [
        entry
        for entry in target.owner.send("GET", f"/v1/users/{target.owner.name}/algorithms").ok
        if entry["algoname"] == target.public
    ]
    stranger.send("GET", f"/v1/users/{target.owner.name}/errors").refused(403, 2001)
    assert target.state() == before


SPY = """
import os, urllib.error, urllib.request

def apply(paths):
    return [ask(path) for path in paths]

def ask(path):
    headers = {"Authorization": "Simple " + os.environ["ALGORITHMIA_API_KEY"]}
    request = urllib.request.Request(os.environ["ALGORITHMIA_API"] + path, headers=headers)
    try:
        with urllib.request.urlopen(request) as response:
            return [response.status, response.read().decode()]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]
"""


def test_algorithms_of_others_see_nothing_of_their_callers_algorithms(target: Target, server: Server) -> None:
    caller = target.owner
    private, own = caller.path(target.private), f"/v1/users/{caller.name}"
    paths = [f"{own}/errors", f"{own}/algorithms", *(private + rest for rest in ("", "/versions", "/builds", "/log"))]
    paths.append(own)  # with an e-mail address
    secret = "what nobody else is to read"
    failing = caller.published("def apply(input):\n    raise Exception(input)\n")
    assert secret in str(caller.call(f"{caller.name}/{failing}/0.1.0", secret).json["error"])

    def ask(spy_owner: Manager) -> list[list[Any]]:
        spy = spy_owner.published(SPY, callability="public")
        found: list[list[Any]] = caller.call(f"{spy_owner.name}/{spy}", paths).json["result"]
        return found

    answers = ask(Manager(server))
    assert [status for status, _ in answers] == [403, 200, 404, 404, 404, 404, 403]
    assert secret not in str(answers)
    assert target.private not in answers[1][1] and target.public in answers[1][1]
    # One of their own may look.
    assert [status for status, _ in ask(caller)][:4] == [200, 200, 200, 200]


def test_of_a_public_algorithm_others_see_what_is_public(target: Target, stranger: Manager) -> None:
    before = target.state()
    for method, path, body in target.requests(target.public):
        for asked in (path, by_id(target, path, target.public)):
            stranger.send(method, asked, body).refused(403, 2001)
    for method, path, body in target.visible(target.public):
        text = json.dumps(stranger.send(method, path, body).ok)
        assert '"compilation"' not in text and '"build"' not in text and "SUCCEEDED" not in text
    # A version that is private, or a build that isn't published, is nobody else's.
    build = target.owner.deploy(target.public, "def apply(input):\n    return 2\n")
    hidden = f"{target.owner.path(target.public)}/versions/{build['commit_sha']}"
    stranger.send("GET", hidden).refused(403, 2001)
    target.owner.publish(target.public).ok
    stranger.send("GET", hidden).refused(403, 2001)
    shown = stranger.send("GET", target.owner.path(target.public)).ok
    assert shown["version_info"]["semantic_version"] == "0.1.0"
    assert len(stranger.send("GET", target.owner.path(target.public) + "/versions").ok["results"]) == 1
    assert target.state() != before


def test_open_source_shows_builds_but_neither_secrets_nor_errors(server: Server, stranger: Manager) -> None:
    owner = Manager(server)
    name = owner.published(callability="public", source_visibility="open", license="mit")
    build = owner.send("GET", owner.path(name) + "/builds").ok["results"][0]
    for path in ("/builds", f"/builds/{build['build_id']}", f"/builds/{build['build_id']}/logs", "/log"):
        assert stranger.send("GET", owner.path(name) + path).status == 200
    assert stranger.send("GET", owner.path(name) + "/versions").ok["results"][0]["compilation"]["successful"] is True
    for path in ("/secrets", "/errors", "/scm/status"):
        stranger.send("GET", owner.path(name) + path).refused(403, 2001)
    for method, path in (("POST", "/compile"), ("PUT", ""), ("DELETE", ""), ("POST", "/versions")):
        stranger.send(method, owner.path(name) + path, {}).refused(403, 2001)


def test_keys_that_may_not_manage(target: Target) -> None:
    before = target.state()
    limited = target.owner.with_key(**CALLING)
    for name in (target.private, target.public):
        for method, path, body in target.requests(name):
            assert "allow_algo_management" in limited.send(method, path, body).refused(403, 2001)
    message = limited.send("POST", f"/v1/algorithms/{limited.name}", {"name": "A", "settings": SETTINGS})
    assert "allow_algo_management" in message.refused(403, 2001)
    # It may call the algorithm, and so may know what it is; what only the source tells stays away.
    shown = limited.send("GET", target.owner.path(target.private)).ok
    assert "build" not in shown and "compilation" not in shown
    assert target.state() == before


def test_admin_keys_do_not_manage(target: Target, server: Server) -> None:
    for name in (target.private, target.public):
        for method, path, body in [*target.requests(name), *target.visible(name)]:
            message = target.owner.send(method, path, body, key=server.admin_key).refused(403, 2001)
            assert "administration" in message
    body = {"name": "A", "settings": SETTINGS}
    target.owner.send("POST", f"/v1/algorithms/{server.user}", body, key=server.admin_key).refused(403)


def test_nobody_without_a_key(target: Target) -> None:
    for method, path, body in [*target.requests(target.public), *target.visible(target.public)]:
        target.owner.send(method, path, body, key="").refused(401, 2002)
        target.owner.send(method, path, body, key="sim" + "x" * 25).refused(401, 2002)
    for path in ("/v1/scms", "/v1/secret-provider", "/v1/algorithm-environments/edge/languages"):
        target.owner.send("GET", path, key="").refused(401, 2002)
    target.owner.send("POST", f"/v1/algorithms/{target.owner.name}", BODY, key="").refused(401, 2002)


def test_algorithms_cannot_manage_for_their_callers(server: Server) -> None:
    """Code that runs for its caller must not change the caller's algorithms, nor read their secrets."""
    owner = Manager(server)
    name = owner.create()
    code = (
        "import Algorithmia\n"
        "from Algorithmia.errors import ApiError\n"
        "def apply(input):\n"
        "    client = Algorithmia.client()\n"
        "    answers = []\n"
        "    for method, path, body in input:\n"
        "        try:\n"
        "            client.request(method, path, body=body, content_type='application/json')\n"
        "            answers.append(200)\n"
        "        except ApiError as problem:\n"
        "            answers.append(problem.status)\n"
        "    return answers\n"
    )
    assert owner.deploy(name, code)["status"] == "succeeded"
    owner.publish(name).ok
    path = owner.path(name)
    asked = [
        ["PUT", path, "{}"],
        ["DELETE", path, None],
        ["POST", path + "/versions", "{}"],
        ["GET", path + "/secrets", None],
        ["GET", path + "/builds", None],
        ["POST", f"/v1/algorithms/{owner.name}", json.dumps({"name": "Evil", "settings": SETTINGS})],
    ]
    assert owner.call(f"{owner.name}/{name}/0.1.0", asked).ok["result"] == [403] * len(asked)


def test_create_for_others_is_refused(target: Target, stranger: Manager, server: Server) -> None:
    for owner in (target.owner.name, "demo", "nobody_at_all", str(uuid.uuid4()), "..", "%00", "a" * 5000):
        answer = stranger.send("POST", f"/v1/algorithms/{owner}", {"name": "Mine", "settings": SETTINGS})
        assert answer.status == 403, (owner, answer)
    names = [entry["algoname"] for entry in target.owner.send("GET", f"/v1/users/{target.owner.name}/algorithms").ok]
    assert "Mine" not in names


ODD = (
    "..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%2f", "%00", "%ff%fe", "%ed%a0%80", "a" * 3000, "-", "--all", "*", "%25",
    "0", "null", "%0a", "00000000-0000-0000-0000-000000000000", "%F0%9F%92%A9", "a+b",
)  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_odd_names_are_not_found(target: Target, odd: str) -> None:
    owner, name = target.owner.name, target.private

    def send(method: str, path: str, body: Any = None) -> Answer:
        return target.owner.send(method, path, body)

    paths = [
        f"/v1/algorithms/{odd}/{name}",
        f"/v1/algorithms/{owner}/{odd}",
        f"/v1/algorithms/{owner}/{odd}/builds",
        f"/v1/algorithms/{owner}/{name}/{odd}",
        f"/v1/algorithms/{owner}/{name}/builds/{odd}",
        f"/v1/algorithms/{owner}/{name}/builds/{odd}/logs",
        f"/v1/algorithms/{owner}/{name}/builds/{odd}/logs?follow=true",
        f"/v1/algorithms/{owner}/{name}/versions/{odd}",
        f"/v1/algorithm-environments/edge/languages/{odd}/environments",
        f"/v1/algorithm-environments/edge/environment-specifications/{odd}/template",
        f"/v1/users/{odd}/algorithms",
        f"/v1/scms/{odd}",
    ]
    for path in paths:
        answer = send("GET", path)
        assert answer.status == 404, (path, answer)
        assert answer.json["error"]["message"]
    assert send("GET", f"/v1/users/{odd}/errors").status in (403, 404)
    for method in ("PUT", "DELETE"):
        send(method, f"/v1/algorithms/{owner}/{name}/secrets/{odd}", {"secret_value": "x"}).refused(404)
    for query in (f"since={odd}", f"until={odd}"):
        send("GET", f"/v1/algorithms/{owner}/{name}/log?{query}").refused(400)
    for query in (f"limit={odd}x", f"marker={odd}"):
        send("GET", f"/v1/algorithms/{owner}/{name}/versions?{query}").refused(400)


def test_bodies_that_make_no_sense(target: Target) -> None:
    owner, name = target.owner, target.private
    path = owner.path(name)
    routes = [
        ("POST", f"/v1/algorithms/{owner.name}"), ("PUT", path), ("POST", path + "/versions"),
        ("POST", path + "/compile"), ("POST", path + "/secrets"),
    ]  # fmt: skip
    wrong = b'{"settings": 7, "force": 7, "secret_key": 7}'
    bodies = [b"{", b"[]", b'"x"', b"7", b"null", b"\xff\xfe", b"[" * 60_000, wrong]
    for method, route in routes:
        for body in bodies:
            assert owner.send(method, route, body).status == 400, (route, body[:40])
        assert owner.send(method, route, b" " * 3_000_000 + b"{}").status == 413
    for info in ({"version_type": 7}, {"version_type": "x" * 500}, {"git_hash": ["a"]}, {"semantic_version": "1.2"}):
        owner.send("POST", path + "/versions", {"version_info": info}).refused(400)
    for settings in ([], "x", 7):
        owner.send("PUT", path, {"settings": settings}).refused(400)
    owner.send("PUT", path, {"details": {"summary": "x" * 200_000}}).refused(400)


def test_methods_that_are_not_offered(target: Target) -> None:
    path = target.owner.path(target.private)
    answer = target.owner.send("DELETE", path + "/builds")
    answer.refused(405)
    assert answer.headers["allow"] == "GET"
    target.owner.send("PATCH", path, {}).refused(405)
    target.owner.send("GET", "/v1/algorithms/").refused(404)
    target.owner.send("POST", "/v1/algorithms/", {}).refused(400)
    target.owner.send("GET", f"/v1/algorithms/{target.owner.name}").refused(404)
