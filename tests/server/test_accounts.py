"""Accounts and keys: the service, and the routes over it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hosted_site import Caller, Site

from Algorithmia.server.db import schema
from Algorithmia.server.errors import ApiProblem, BadRequest, Conflict, NotFound
from Algorithmia.server.identity import ADMIN_KEY, KeyPermissions
from Algorithmia.server.services.key_rights import require_no_more

EVERYTHING = {
    "allow_data": True,
    "allow_data_write": True,
    "allow_algo": True,
    "allow_web_algo": True,
    "allow_algo_management": True,
    "algo_acl": ["algo://*"],
}


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "ä", "a" * 31, "a\n", ".my", "a/b", "temp", "Perm", "MY"])
def test_bad_names(site: Site, name: str) -> None:
    with pytest.raises(BadRequest):
        site.accounts.create(name)
    with pytest.raises(BadRequest):
        site.accounts.ensure_account(name)


def test_names_differ_by_more_than_case(site: Site) -> None:
    ada = site.accounts.create("Ada")
    with pytest.raises(Conflict) as caught:
        site.accounts.create("ADA")
    assert caught.value.code == 3003
    assert site.accounts.ensure_account("ada") == ada.account
    assert site.accounts.get("aDa") == site.accounts.get(ada.account.id) == ada
    with pytest.raises(NotFound):
        site.accounts.get("nobody")


def test_email_belongs_to_one_account(site: Site) -> None:
    site.accounts.create("eve1", "eve@example.com")
    with pytest.raises(Conflict) as caught:
        site.accounts.create("eve2", "EVE@example.com")
    assert caught.value.code == 3004
    site.accounts.create("eve3")
    site.accounts.create("eve4")


def test_key_is_kept_as_a_hash_only(site: Site) -> None:
    account = site.accounts.create("keys1").account
    key = site.accounts.create_key(account, "mine")
    assert re.fullmatch(r"sim[A-Za-z0-9]{25}", key)
    with site.database.read() as connection:
        row = connection.execute(sa.select(schema.api_keys).where(schema.api_keys.c.account_id == account.id)).one()
    assert key not in str(tuple(row))
    assert row.mask == f"{key[:5]}...{key[-4:]}"
    site.database.close()
    for path in Path(str(site.database.url.database)).parent.glob("platform.db*"):
        assert key.encode() not in path.read_bytes()


def test_find_identity(site: Site) -> None:
    account = site.accounts.create("keys2").account
    permissions = KeyPermissions(allow_data=True, algo_acl=("algo://demo/*",), referer_host="example.com")
    key = site.accounts.create_key(account, "mine", permissions, ADMIN_KEY)
    identity = site.accounts.find_identity(key)
    assert identity is not None
    assert (identity.account, identity.permissions, identity.key_type) == (account, permissions, ADMIN_KEY)
    assert site.accounts.find_identity(key[:-1]) is None
    bare = site.accounts.find_identity(site.accounts.create_key(account, "bare"))
    assert bare is not None
    assert bare.permissions == KeyPermissions()
    with pytest.raises(ApiProblem, match="no such key type"):
        site.accounts.create_key(account, "odd", key_type="Odd")


def test_deleted_key_stops_working_at_once(me: Caller) -> None:
    assert me.get("").status == 200
    [key] = me.site.accounts.list_keys(me.account)
    me.site.accounts.delete_key(me.account, key.id)
    assert me.get("").status == 401
    with pytest.raises(NotFound):
        me.site.accounts.delete_key(me.account, key.id)


def new_user(site: Site, **body: Any) -> Any:
    return site.admin().post("/v1/users", body)


def test_create_user(site: Site) -> None:
    body = {"username": "grace", "email": "g@example.com", "fullname": "Grace H", "passwordHash": "x"}
    answer = new_user(site, **body, shouldCreateHello=False)
    assert answer.status == 200
    user = answer.json
    assert re.fullmatch(r"[0-9a-f-]{36}", user.pop("id"))
    assert user == {
        "username": "grace",
        "email": "g@example.com",
        "fullname": "Grace H",
        "company_name": "",
        "company_role": "",
        "self_link": f"{site.address}/v1/users/grace",
        "resource_type": "user",
    }
    assert new_user(site, **body).json["error"]["code"] == 3003
    again = new_user(site, **{**body, "username": "grace2"})
    assert (again.status, again.json["error"]["code"]) == (409, 3004)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"username": "nomail"}, 3005),
        ({"email": "a@b"}, 3005),
        ({"username": "1x", "email": "1x@b"}, 3001),
        ({"username": "x", "email": "nope"}, 3001),
        ({"username": 1, "email": "x@b"}, 2015),
        ({"username": "x", "email": "x" * 300}, 2015),
        ([], 2015),
    ],
)
def test_create_user_refusals(site: Site, body: Any, code: int) -> None:
    answer = site.admin().post("/v1/users", body)
    assert (answer.status, answer.json["error"]["code"]) == (400, code)


def test_users_are_the_administrators_business(site: Site, me: Caller, other: Caller) -> None:
    name = other.account.username
    assert me.post("/v1/users", {"username": "x", "email": "x@y"}).status == 403
    assert me.get("/v1/users").status == 403
    assert me.get(f"/v1/users/{name}").status == 403
    assert me.get(f"/v1/users/{me.account.username}").json["username"] == me.account.username
    assert me.get(f"/v1/users/{me.account.id}").status == 200
    admin = site.admin()
    assert admin.get(f"/v1/users/{name}").json["id"] == other.account.id
    assert admin.get("/v1/users/nobody_here").json["error"]["code"] == 3000
    assert admin.get(f"/v1/users/{name}/nonsense").status == 404
    assert admin.delete(f"/v1/users/{name}").status == 404


def test_user_list_is_paged(site: Site) -> None:
    for index in range(3):
        site.accounts.ensure_account(f"paged{index}")
    admin = site.admin()
    seen: list[str] = []
    path = "/v1/users?limit=2"
    while path:
        page = admin.get(path).json
        assert 1 <= len(page["results"]) <= 2
        seen += [user["username"] for user in page["results"]]
        path = (page["next_link"] or "").removeprefix(site.address)
    assert len(seen) == len(set(seen)) > 3
    assert admin.get("/v1/users?limit=0").json["error"]["code"] == 5003
    assert admin.get("/v1/users?limit=x").json["error"]["code"] == 5003
    assert admin.get("/v1/users?limit=" + "9" * 5000).json["error"]["code"] == 5003
    assert admin.get("/v1/users?marker=%00").json["error"]["code"] == 5002


@pytest.mark.parametrize("prefix", ["/v1/users", "/v1/admin/users"])
def test_administrator_makes_keys(site: Site, me: Caller, prefix: str) -> None:
    body = {"key_label": "ci", "key_type": "AlgorithmKey", "permissions": EVERYTHING}
    answer = site.admin().post(f"{prefix}/{me.account.username}/keys", body)
    assert answer.status == 200
    document = answer.json
    assert (document["key_label"], document["key_type"]) == ("ci", "AlgorithmKey")
    assert document["username"] == me.account.username
    assert document["api_key_mask"].startswith(document["api_key"][:5])
    assert document["permissions"] == {**EVERYTHING, "referer_host": None}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document["created_at"])
    assert Caller(site, me.account, document["api_key"]).get("").status == 200


def test_own_keys(site: Site, me: Caller) -> None:
    keys = f"/v1/users/{me.account.username}/keys"
    made = me.post(keys, {"key_label": "reader", "key_type": "AlgorithmKey", "permissions": {"allow_data": True}}).json
    reader = Caller(site, me.account, made["api_key"])
    assert reader.get("").status == 200
    assert reader.post(".my", {"name": "x"}).status == 403
    assert reader.get(keys).status == 403
    listed = me.get(keys).json
    assert [key["key_label"] for key in listed] == ["test", "reader"]
    assert not any("api_key" in key for key in listed)
    assert made["api_key"] not in str(listed)
    assert me.delete(f"{keys}/{made['id']}").status == 204
    assert reader.get("").status == 401
    assert me.delete(f"{keys}/{made['id']}").status == 404


def test_standard_key_cannot_remove_an_admin_key(site: Site, me: Caller) -> None:
    keys = f"/v1/users/{me.account.username}/keys"
    made = site.admin().post(keys, {"key_type": "PlatformAdminKey"}).json
    assert me.delete(f"{keys}/{made['id']}").status == 403
    admin = Caller(site, me.account, made["api_key"])
    assert admin.get("/v1/users").status == 200
    assert admin.delete(f"{keys}/{made['id']}").status == 204
    assert admin.get("/v1/users").status == 401


def test_new_key_permits_nothing(site: Site, me: Caller) -> None:
    made = me.post(f"/v1/users/{me.account.username}/keys", {"key_type": "AlgorithmKey"}).json
    caller = Caller(site, me.account, made["api_key"])
    assert caller.get("").status == 403
    assert caller.put(".my/c/f").status == 403


def test_keys_cannot_widen_themselves(site: Site, me: Caller, other: Caller) -> None:
    limited = site.caller(KeyPermissions(allow_algo_management=True, allow_data=True, algo_acl=("algo://demo/*",)))
    keys = f"/v1/users/{limited.account.username}/keys"

    def status(key_type: str = "AlgorithmKey", **permissions: Any) -> int:
        body = {"key_label": "x", "key_type": key_type, "permissions": permissions}
        return int(limited.post(keys, body).status)

    assert status(allow_data=True, algo_acl=["algo://demo/Hello", "algo://demo/*"]) == 200
    assert status(allow_data_write=True) == 403
    assert status(algo_acl=["algo://*"]) == 403
    assert status(algo_acl=["algo://demo"]) == 200
    assert status(algo_acl=["algo://demox/*"]) == 403
    assert status("PlatformAdminKey") == 403
    assert status("ManagementKey") == 403
    assert status(algo_acl=["algo://demo/../x"]) == 400
    assert me.post(f"/v1/users/{other.account.username}/keys", {"key_type": "AlgorithmKey"}).status == 403


def test_referer_limit_is_inherited() -> None:
    own = KeyPermissions(referer_host="a.example")
    require_no_more(KeyPermissions(referer_host="a.example"), own)
    with pytest.raises(Exception, match="referer_host"):
        require_no_more(KeyPermissions(), own)


def test_algorithms_cannot_take_keys(site: Site, me: Caller) -> None:
    running = site.running(me)
    keys = f"/v1/users/{me.account.username}/keys"
    assert running.get(keys).status == 403
    assert running.post(keys, {"key_type": "AlgorithmKey"}).status == 403


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        '{"key_type": 1}',
        '{"key_type": "Odd"}',
        "[" * 60000,
        b"\xff",
        '{"key_type": "\\ud800"}',
        "{}",
    ],
)
def test_malformed_key_bodies(site: Site, me: Caller, body: Any) -> None:
    answer = site.admin().post(f"/v1/users/{me.account.username}/keys", body)
    assert answer.status == 400, answer


def test_too_large_body(site: Site) -> None:
    assert site.admin().post("/v1/users", b" " * 70_000).status == 413


@pytest.mark.parametrize("path", ["/v1/users/%ff", "/v1/users/%00", "/v1/users/a%2Fb", "/v1/users//keys", "/v1/users/"])
def test_odd_names(site: Site, path: str) -> None:
    assert site.admin().get(path).status in (400, 404)


@pytest.mark.parametrize("name", ["nlp", "DLIB", "demo"])
def test_owners_of_bundled_algorithms_are_nobody_else(site: Site, name: str) -> None:
    answer = site.admin().post("/v1/users", {"username": name, "email": f"{name}@example.com"})
    assert answer.status == 409 and "bundled" in answer.message


def test_a_bad_name_is_told_before_a_bad_address(site: Site) -> None:
    answer = site.admin().post("/v1/users", {"username": "a b", "email": "a b@localhost"})
    assert answer.status == 400 and "username 'a b' is not valid" in answer.message
