"""Connectors as their owners make, see, change and remove them; nothing is sent to a provider here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from answers import Answer
from hosted_site import Caller, Site

from Algorithmia.server.db import schema
from Algorithmia.server.identity import KeyPermissions

SECRET = "wJalrXUtnFEMI-very-secret"
IAM = {"access_key_id": "AKIAEXAMPLE", "secret_access_key": SECRET}


@pytest.fixture(autouse=True, scope="module")
def needs_boto3() -> None:
    pytest.importorskip("boto3", reason="the S3 driver needs boto3")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    found = Site(tmp_path_factory.mktemp("site"))
    yield found
    found.stop()


def base(me: Caller) -> str:
    return f"/v1/users/{me.account.username}/connectors"


def create(me: Caller, **members: Any) -> Answer:
    body = {"protocol": "s3", "label": "lab", "cred_type": "iam", "cred_data": IAM, **members}
    return me.send("POST", base(me), {name: value for name, value in body.items() if value is not None})


def test_a_connector_is_made_as_the_api_says(me: Caller) -> None:
    answer = create(me, username=me.account.username)
    assert answer.status == 200
    expected = {
        "connector_id": "s3+lab",
        "username": me.account.username,
        "label": "lab",
        "protocol": "s3",
        "is_default": False,
        "permissions": ["read"],
        "path": "*",
        "writeable": False,
    }
    assert expected.items() <= answer.json.items()
    assert SECRET.encode() not in answer.body
    assert me.send("GET", base(me)).json == {"results": [answer.json]}
    assert me.send("GET", f"{base(me)}/s3+lab").json == answer.json


def test_credentials_are_encrypted_and_nowhere_else(site: Site, me: Caller) -> None:
    assert create(me).status == 200
    with site.database.read() as connection:
        rows = connection.execute(
            sa.select(schema.connectors).where(schema.connectors.c.account_id == me.account.id)
        ).all()
    assert len(rows) == 1 and SECRET not in str(rows)
    for path in site.settings.state.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    "members",
    [
        {"protocol": "ftp"},
        {"protocol": "data"},
        {"protocol": None},
        {"label": "a-b"},
        {"label": ""},
        {"label": "x" * 65},
        {"cred_type": "oauth"},
        {"cred_type": None},
        {"cred_data": None},
        {"cred_data": {"access_key_id": "x"}},
        {"cred_data": {**IAM, "endpoint_url": "http://127.0.0.1"}},
        {"cred_data": {**IAM, "region": "evil.example.com/"}},
        {"cred_data": {"access_key_id": 5, "secret_access_key": SECRET}},
        {"path": ""},
        {"path": "x" * 2000},
        {"path": "a\nb"},
        {"writeable": "yes"},
        {"endpoint": "ftp://example.com"},
        {"endpoint": "https://user:pw@example.com"},
        {"endpoint": "https://example.com/?x=1"},
        {"endpoint": "https://"},
        {"endpoint": "https://exa mple.com"},
    ],
)
def test_what_makes_no_sense_is_refused(me: Caller, members: dict[str, Any]) -> None:
    answer = create(me, **members)
    assert answer.status == 400, answer
    assert SECRET.encode() not in answer.body
    assert me.send("GET", base(me)).json == {"results": []}


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:9000",
        "http://localhost",
        "http://[::1]:9000",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.5",
        "http://192.168.1.1",
        "http://172.16.0.1",
        "http://100.100.100.200",
        "http://168.63.129.16",
        "http://0.0.0.0",
        "http://[::ffff:127.0.0.1]",
        "http://[64:ff9b::a9fe:a9fe]",
        "http://[fd00:ec2::254]",
        "http://2130706433",
        "http://0x7f.1",
        "http://127.1",
        "http://224.0.0.1",
    ],
)
def test_servers_inside_are_refused(me: Caller, endpoint: str) -> None:
    answer = create(me, endpoint=endpoint)
    assert answer.status == 400, answer
    assert "own network" in answer.message or "can't be resolved" in answer.message


def test_a_second_one_of_the_same_label_is_refused(me: Caller) -> None:
    assert create(me).status == 200
    assert create(me).status == 409
    assert create(me, label="other").status == 200


def test_only_one_is_the_default(me: Caller) -> None:
    assert create(me, is_default=True).json["is_default"] is True
    assert create(me, label="two", is_default=True).json["is_default"] is True
    found = {item["label"]: item["is_default"] for item in me.send("GET", base(me)).json["results"]}
    assert found == {"lab": False, "two": True}
    assert me.send("GET", f"{base(me)}/s3").json["label"] == "two"
    assert me.send("PUT", f"{base(me)}/s3+lab", {"is_default": True}).json["is_default"] is True
    assert me.send("GET", f"{base(me)}/s3").json["label"] == "lab"


def test_without_a_label_it_is_called_default(me: Caller) -> None:
    assert create(me, label=None).json["connector_id"] == "s3+default"


def test_a_connector_is_changed(me: Caller) -> None:
    create(me)
    changed = me.send("PUT", f"{base(me)}/s3+lab", {"path": "bucket/*", "writeable": True}).json
    assert (changed["path"], changed["writeable"], changed["permissions"]) == ("bucket/*", True, ["read", "write"])
    for body in ({"label": "new"}, {"protocol": "gs"}, {"path": ""}, {"cred_data": {}}):
        assert me.send("PUT", f"{base(me)}/s3+lab", body).status == 400
    assert me.send("GET", f"{base(me)}/s3+lab").json == changed


def test_stored_credentials_are_not_sent_to_a_new_endpoint(me: Caller) -> None:
    create(me)
    answer = me.send("PUT", f"{base(me)}/s3+lab", {"endpoint": "https://203.0.113.1"})
    assert answer.status == 400 and "cred_data" in answer.message


def test_a_connector_is_removed(me: Caller) -> None:
    create(me)
    answer = me.send("DELETE", f"{base(me)}/s3+lab")
    assert (answer.status, answer.body) == (204, b"")
    for verb, path in (("GET", "s3+lab"), ("DELETE", "s3+lab"), ("PUT", "s3+lab"), ("POST", "s3+lab/test")):
        assert me.send(verb, f"{base(me)}/{path}", {} if verb == "PUT" else None).status == 404


def test_connectors_survive_a_restart(new_site: Callable[..., Site]) -> None:
    first = new_site()
    me = first.caller()
    document = create(me).json
    first.stop()
    again = new_site(first.settings.home)
    assert Caller(again, me.account, me.key).send("GET", base(me)).json == {"results": [document]}


def test_a_lost_key_is_said(new_site: Callable[..., Site]) -> None:
    first = new_site()
    me = first.caller()
    create(me)
    first.stop()
    (first.settings.state / "secrets.key").unlink()
    again = new_site(first.settings.home)
    answer = Caller(again, me.account, me.key).get("s3+lab://bucket/key")
    assert answer.status == 503 and "secrets.key" in answer.message


def test_others_see_and_change_nothing(site: Site, me: Caller, other: Caller) -> None:
    create(me)
    for verb, path in (
        ("GET", base(me)),
        ("POST", base(me)),
        ("GET", f"{base(me)}/s3+lab"),
        ("PUT", f"{base(me)}/s3+lab"),
        ("DELETE", f"{base(me)}/s3+lab"),
        ("POST", f"{base(me)}/s3+lab/test"),
    ):
        assert other.send(verb, path, {}).status == 403
        assert Caller(site, me.account, None).send(verb, path, {}).status == 401
        assert site.running(me).send(verb, path, {}).status == 403
        data_only = KeyPermissions(allow_data=True, allow_data_write=True, allow_algo=True)
        assert site.caller(data_only, account=me.account).send(verb, path, {}).status == 403
    assert site.admin().send("GET", base(me)).json["results"][0]["label"] == "lab"


def test_the_body_may_not_name_somebody_else(me: Caller, other: Caller) -> None:
    assert create(me, username=other.account.username).status == 403


def test_there_is_a_limit(me: Caller) -> None:
    for index in range(100):
        assert create(me, label=f"c{index}").status == 200
    answer = create(me, label="more")
    assert answer.status == 400 and "the most there may be" in answer.message


def test_other_paths(me: Caller) -> None:
    assert me.send("GET", f"{base(me)}/s3+lab/nothing").status == 404
    assert me.send("POST", f"{base(me)}/s3+lab").status == 405
    assert me.send("PUT", f"/v1/users/{me.account.username}/keys", {}).status == 404
