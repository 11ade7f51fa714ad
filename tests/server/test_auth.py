"""From the Authorization header to an identity."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hosted_site import Caller, Site

from Algorithmia.server import auth
from Algorithmia.server.auth import SessionKeys, require_admin, require_standard
from Algorithmia.server.errors import NotAuthorized
from Algorithmia.server.identity import ADMIN_KEY, Account, Identity
from Algorithmia.server.services.accounts import key_digest


@pytest.mark.parametrize(
    "form",
    [
        "Simple {}",
        "{}",
        "Bearer {}",
        "Simple Simple {}",
        "simple {}",
        "SIMPLE   {}",
        "bearer {}",
        "  Simple {}  ",
        "\t{}",
    ],
)
def test_accepted_forms(me: Caller, form: str) -> None:
    assert me.get("", Authorization=form.format(me.key)).json == {"folders": [{"name": me.account.username}]}


@pytest.mark.parametrize("header", ["", "Simple", "Bearer ", "   "])
def test_missing_credentials(me: Caller, header: str) -> None:
    answer = Caller(me.site, me.account, None).get("", Authorization=header)
    assert (answer.status, answer.message, answer.json["error"]["code"]) == (401, "authorization required", 2002)
    assert answer.headers["www-authenticate"] == "Simple"


@pytest.mark.parametrize("header", ["Simple simx", "Basic abc", "Simple " + "s" * 3000, "sim ä", "Simple sim\xff"])
def test_unknown_credentials(me: Caller, header: str) -> None:
    connection = me.connect()
    connection.putrequest("GET", "/v1/data/")
    connection.putheader("Authorization", header.encode("latin-1"))
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 401
    assert b"unknown API key" in response.read()
    connection.close()


def test_admin_keys_are_for_administration_only(site: Site, me: Caller) -> None:
    admin = site.admin()
    assert admin.get("").status == 403
    assert "standard key" in admin.get("").message
    assert me.get("/v1/users").status == 403


def test_helpers() -> None:
    account = Account("id", "ada")
    require_standard(Identity(account))
    require_admin(Identity(account, ADMIN_KEY))
    with pytest.raises(NotAuthorized):
        require_standard(Identity(account, ADMIN_KEY))
    with pytest.raises(NotAuthorized):
        require_admin(Identity(account))


def test_session_key_acts_for_whom_its_worker_works_for() -> None:
    sessions = SessionKeys()
    key = sessions.issue()
    digest = key_digest(key.text)
    assert len(key.text) == 28 and key.text.startswith("sim")
    assert sessions.find(digest) is key and key.present() is None
    identity = Identity(Account("id", "ada"))
    key.look_first = lambda: setattr(key, "identity", identity)
    assert key.present() is identity
    sessions.revoke(key)
    assert sessions.find(digest) is None and key.identity is None and not len(sessions)
    sessions.revoke(key)


def test_unbound_session_key_authenticates_nobody(site: Site, me: Caller) -> None:
    key = site.authenticator.sessions.issue().text
    answer = Caller(site, me.account, key).get("")
    assert answer.status == 401
    assert "only while its algorithm runs" in answer.message


def test_identities_are_cached_within_bounds(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_CACHE_SIZE", 2)
    callers = [site.caller() for _ in range(4)]
    for caller in callers:
        assert caller.get("").status == 200
    assert len(site.authenticator._cache) <= 2
    looked_up: list[str] = []
    find = site.accounts.find_identity

    def count(key: str) -> Identity | None:
        looked_up.append(key)
        return find(key)

    monkeypatch.setattr(site.accounts, "find_identity", count)
    for _ in range(3):
        assert callers[-1].get("").status == 200
    assert looked_up == []


def test_answer_from_before_a_key_changed_is_not_cached(
    site: Site, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = site.accounts.find_identity
    [record] = site.accounts.list_keys(me.account)

    def find_then_delete(key: str) -> Any:
        identity = find(key)
        site.accounts.delete_key(me.account, record.id)
        return identity

    monkeypatch.setattr(site.accounts, "find_identity", find_then_delete)
    assert me.get("").status == 200
    monkeypatch.undo()
    assert me.get("").status == 401


def test_account_is_noted_for_the_log(site: Site, me: Caller) -> None:
    import asyncio

    request: Any = SimpleNamespace(headers={"authorization": me.key}, scope={})
    identity = asyncio.run(site.authenticator.authenticate(request))
    assert identity.account == me.account
    assert request.scope == {"account": me.account.username}
