"""Secrets, the failed calls of an algorithm, and the lists of languages, environments and templates."""

from __future__ import annotations

import gzip
import io
import json
import stat
import tarfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from managed import Manager
from platforms import Server

VALUE = "correct-horse-battery-staple"
SHOW = "import os\ndef apply(input):\n    return os.environ.get(input)\n"


@pytest.fixture
def me(server: Server) -> Manager:
    return Manager(server)


def eventually(ask: Callable[[], Any], wanted: Any) -> None:
    """Ask until the answer is `wanted`: what is written off the response's path comes a moment later."""
    deadline = time.monotonic() + 60
    while (found := ask()) != wanted:
        assert time.monotonic() < deadline, (found, wanted)
        time.sleep(0.05)


# -- secrets


def test_secrets_are_variables_of_the_algorithm(me: Manager, server: Server) -> None:
    name = me.published(SHOW, callability="public")
    reference = f"{me.name}/{name}"
    assert me.call(reference, "TOKEN").ok["result"] is None
    path = me.path(name) + "/secrets"
    algorithm_id = me.send("GET", me.path(name)).ok["id"]
    provider = me.send("GET", "/v1/secret-provider").ok[0]
    assert provider["isDefault"] is True and provider["isEnabled"] is True
    body = {
        "owner_type": "algorithm",
        "owner_id": algorithm_id,
        "short_name": "token",
        "provider_id": provider["id"],
        "secret_key": "TOKEN",
        "secret_value": VALUE,
        "description": " ",
    }
    made = me.send("POST", f"/v1/algorithms/{algorithm_id}/secrets", body).ok
    assert made["secret_key"] == "TOKEN" and made["owner_id"] == algorithm_id and made["provider_id"] == provider["id"]
    listed = me.send("GET", path)
    assert listed.ok["results"] == listed.ok["secrets"] == [made]
    assert VALUE.encode() not in listed.body and VALUE not in json.dumps(made)
    eventually(lambda: me.call(reference, "TOKEN").ok["result"], VALUE)
    # Also for other callers: the algorithm has it, whoever calls.
    assert Manager(server).call(reference, "TOKEN").ok["result"] == VALUE

    changed = me.send("PUT", f"{path}/{made['id']}", {"secret_value": "other", "description": "d"}).ok
    assert changed["description"] == "d" and changed["short_name"] == "token" and changed["id"] == made["id"]
    eventually(lambda: me.call(reference, "TOKEN").ok["result"], "other")
    assert me.send("DELETE", f"{path}/{made['id']}").status == 204
    eventually(lambda: me.call(reference, "TOKEN").ok["result"], None)
    me.send("DELETE", f"{path}/{made['id']}").refused(404, 8008)
    me.send("PUT", f"{path}/{made['id']}", {"secret_value": "x"}).refused(404, 8008)
    assert VALUE not in server.log()


def test_secrets_are_encrypted_at_rest(start_server: Callable[..., Server]) -> None:
    own = start_server()
    me = Manager(own)
    name = me.create()
    me.send("POST", me.path(name) + "/secrets", {"secret_key": "TOKEN", "secret_value": VALUE}).ok
    state = Path(own.home) / "platform"
    key = state / "secrets.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert not list(state.glob("secrets.key.*"))
    for path in state.rglob("*"):
        if path.is_file():
            assert VALUE.encode() not in path.read_bytes(), path
    assert VALUE not in own.log()


def test_a_lost_key_is_named(start_server: Callable[..., Server]) -> None:
    first = start_server()
    me = Manager(first)
    name = me.published(SHOW)
    made = me.send("POST", me.path(name) + "/secrets", {"secret_key": "TOKEN", "secret_value": VALUE}).ok
    first.stop()
    (Path(first.home) / "platform" / "secrets.key").unlink()
    me.server = start_server(home=first.home)
    error = me.call(f"{me.name}/{name}/0.1.0", "TOKEN").ok["error"]
    assert "secrets.key" in error["message"] and "TOKEN" in error["message"]
    me.send("PUT", f"{me.path(name)}/secrets/{made['id']}", {"secret_value": "again"}).ok
    eventually(lambda: me.call(f"{me.name}/{name}/0.1.0", "TOKEN").ok.get("result"), "again")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"secret_value": "x"}, 8000),
        ({"secret_key": "", "secret_value": "x"}, 8000),
        ({"secret_key": "K"}, 8004),
        ({"secret_key": "1K", "secret_value": "x"}, 8001),
        ({"secret_key": "A=B", "secret_value": "x"}, 8001),
        ({"secret_key": "A\0", "secret_value": "x"}, 8001),
        ({"secret_key": "K\n", "secret_value": "x"}, 8001),
        ({"secret_key": "K" * 256, "secret_value": "x"}, 8001),
        ({"secret_key": "PATH", "secret_value": "x"}, 8001),
        ({"secret_key": "home", "secret_value": "x"}, 8001),
        ({"secret_key": "LD_PRELOAD", "secret_value": "x"}, 8001),
        ({"secret_key": "PYTHONPATH", "secret_value": "x"}, 8001),
        ({"secret_key": "ALGORITHMIA_API_KEY", "secret_value": "x"}, 8001),
        ({"secret_key": "K", "secret_value": "a\0b"}, 8001),
        ({"secret_key": "K", "secret_value": "x" * 70_000}, 8001),
        ({"secret_key": "K", "secret_value": "x", "short_name": "n" * 300}, 8001),
        ({"secret_key": "K", "secret_value": "x", "owner_type": "user"}, 8001),
        ({"secret_key": "K", "secret_value": "x", "owner_id": str(uuid.uuid4())}, 8001),
        ({"secret_key": "K", "secret_value": "x", "provider_id": str(uuid.uuid4())}, 8006),
        (b"{", 8000),
    ],
)
def test_secrets_that_won_t_do(me: Manager, body: Any, code: int) -> None:
    name = me.create()
    message = me.send("POST", me.path(name) + "/secrets", body).refused(400, code)
    assert len(message) < 500 and "x" * 10 not in message
    assert me.send("GET", me.path(name) + "/secrets").ok["results"] == []


def test_one_secret_for_one_variable(me: Manager) -> None:
    name = me.create()
    path = me.path(name) + "/secrets"
    made = me.send("POST", path, {"secret_key": "K", "secret_value": "1"}).ok
    me.send("POST", path, {"secret_key": "K", "secret_value": "2"}).refused(409, 8001)
    me.send("PUT", f"{path}/{made['id']}", {"secret_key": "OTHER"}).refused(400, 8001)
    # A secret belongs to its algorithm.
    other = me.path(me.create()) + "/secrets"
    me.send("PUT", f"{other}/{made['id']}", {"secret_value": "x"}).refused(404, 8008)
    me.send("DELETE", f"{other}/{made['id']}").refused(404, 8008)
    assert len(me.send("GET", path).ok["results"]) == 1


# -- failed calls


def test_failed_calls_are_listed(me: Manager, server: Server) -> None:
    name = me.published("def apply(input):\n    raise ValueError('not ' + str(input))\n", callability="public")
    caller = Manager(server)
    reference = f"{me.name}/{name}"
    caller.call(reference, "theirs")
    mine = me.call(f"{reference}/0.1.0", "m" * 300).headers["x-request-id"]
    path = me.path(name) + "/errors"
    eventually(lambda: len(me.send("GET", path).ok), 2)
    newest, oldest = me.send("GET", path).ok
    assert newest["request_id"] == mine and newest["username"] == me.name and newest["algoname"] == name
    assert newest["algoversion"] == "0.1.0" and newest["billable_to"] == me.name
    assert newest["error"].startswith("not mmm") and "Traceback" in newest["error"] and newest["error_type"]
    assert newest["input"] == '"' + "m" * 127 and abs(newest["created_at"] / 1000 - time.time()) < 600
    # What others sent is theirs.
    assert oldest["billable_to"] == caller.name and "input" not in oldest
    # The caller of closed source sees the message, without the trace.
    for who in (caller.name, caller.send("GET", f"/v1/users/{caller.name}").ok["id"]):
        (seen,) = caller.send("GET", f"/v1/users/{who}/errors").ok
        assert seen["error"] == "not theirs" and "input" not in seen
    assert len(me.send("GET", f"/v1/users/{me.name}/errors").ok) == 1
    assert me.send("GET", f"/v1/users/{me.name}/errors", key=server.admin_key).status == 200
    me.send("GET", f"/v1/users/{caller.name}/errors").refused(403, 2001)
    assert me.send("GET", f"/v1/algorithms/{me.send('GET', me.path(name)).ok['id']}/errors").ok[1] == oldest


def test_calls_that_nobody_waits_for_are_listed_too(me: Manager) -> None:
    name = me.published("def apply(input):\n    raise ValueError(chr(0) + '\\ud800')\n")
    me.send("POST", f"/v1/algo/{me.name}/{name}/0.1.0?output=void", b"\x00\x01", "application/octet-stream").ok
    path = me.path(name) + "/errors"
    eventually(lambda: len(me.send("GET", path).ok), 1)
    assert me.send("GET", path).ok[0]["input"] == "(2 bytes)"


def test_only_so_many_failed_calls_are_kept(me: Manager) -> None:
    name = me.published("def apply(input):\n    raise ValueError(str(input))\n")
    for number in range(205):
        me.call(f"{me.name}/{name}/0.1.0", number)
    path = me.path(name) + "/errors"
    eventually(lambda: me.send("GET", path).ok[0]["error"].split("\n")[0], "204")
    assert len(me.send("GET", path).ok) == 200


# -- languages, environments, templates


def test_languages_and_environments(me: Manager) -> None:
    base = "/v1/algorithm-environments/edge"
    languages = {language["name"]: language for language in me.send("GET", base + "/languages").ok}
    configuration = json.loads(languages["python3"]["configuration"])
    assert configuration["req_files"] == ["requirements.txt"] and configuration["artifacts"][0]["source"]
    for name in [*languages, "python3-1"]:
        environments = me.send("GET", f"{base}/languages/{name}/environments").ok["environments"]
        assert environments, name
        for environment in environments:
            assert uuid.UUID(environment["id"]) and uuid.UUID(environment["environment_specification_id"])
            assert environment["machine_type"] == "CPU" and environment["language"]["name"] in languages
            assert environment["available"] is ("problem" not in environment)
    usable = me.send("GET", base + "/environments/available").ok
    assert any(environment["language"]["name"] == "python3" for environment in usable)
    me.send("GET", f"{base}/languages/cobol/environments").refused(404, 4001)
    me.send("GET", f"{base}/languages/python3").refused(404)
    me.send("GET", f"{base}/environment-specifications/{uuid.uuid4()}/template").refused(404, 1003)


def test_templates_are_the_same_bytes_for_everybody(me: Manager) -> None:
    base = "/v1/algorithm-environments/edge"
    environments = me.send("GET", f"{base}/languages/python3/environments").ok["environments"]
    path = f"{base}/environment-specifications/{environments[0]['environment_specification_id']}/template"
    first, again = me.send("GET", path, key=""), me.send("GET", path)
    assert first.status == 200 and first.headers["content-type"] == "application/gzip"
    assert first.body == again.body
    with gzip.open(io.BytesIO(first.body)) as stream, tarfile.open(fileobj=stream) as tar:
        names = tar.getnames()
    assert "src/__ALGO__.py" in names and "algorithmia.conf" in names


def test_a_new_algorithm_has_its_language_s_template(me: Manager) -> None:
    name = me.create()
    built = me.send("POST", me.path(name) + "/compile", {}).ok
    assert built["compilation"]["successful"] is True, built
    commit = built["version_info"]["git_hash"]
    answer = me.send("POST", f"/v1/algo/{me.name}/{name}/{commit}", b"algorithmia", "text/plain")
    assert answer.ok["result"] == "hello algorithmia"
