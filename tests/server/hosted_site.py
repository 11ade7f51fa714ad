"""A platform without algorithms, under real uvicorn in a thread: what data, accounts and keys need, on real sockets."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvicorn
from answers import Answer, exchange

from Algorithmia.server.app import Application
from Algorithmia.server.auth import Authenticator
from Algorithmia.server.db.database import Database
from Algorithmia.server.identity import (
    ADMIN_KEY,
    SESSION_KEY,
    STANDARD_KEY,
    Account,
    CallContext,
    Identity,
    KeyPermissions,
)
from Algorithmia.server.platform import Activity
from Algorithmia.server.routes import accounts, data, health, insights, metrics, uploads
from Algorithmia.server.services.accounts import Accounts
from Algorithmia.server.services.cipher import Cipher
from Algorithmia.server.services.connector_data import ConnectorData
from Algorithmia.server.services.connectors import Connectors
from Algorithmia.server.services.data import HostedData
from Algorithmia.server.services.data_store import DataStores
from Algorithmia.server.services.resumable_uploads import ResumableUploads
from Algorithmia.server.settings import Settings
from Algorithmia.server.storage.local import LocalBlobStore

_names = itertools.count(1)


class Caller:
    """An account with a key, talking HTTP byte by byte: no client library tidies its paths."""

    def __init__(self, site: Site, account: Account, key: str | None) -> None:
        self.site, self.account, self.key = site, account, key

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.site.port, timeout=30)

    def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **options: Any
    ) -> Answer:
        """One request; `path` goes out as it is, behind /v1/data/ unless it begins with a slash."""
        if not path.startswith("/"):
            path = f"/v1/data/{path}"
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        sent = {"Authorization": f"Simple {self.key}"} if self.key else {}
        return exchange(self.connect(), method, path, body, {**sent, **(headers or {})}, **options)

    def get(self, path: str, **headers: str) -> Answer:
        return self.send("GET", path, headers=_headers(headers))

    def head(self, path: str, **headers: str) -> Answer:
        return self.send("HEAD", path, headers=_headers(headers))

    def put(self, path: str, body: Any = b"", **headers: str) -> Answer:
        return self.send("PUT", path, body, _headers(headers))

    def post(self, path: str, body: Any = None) -> Answer:
        return self.send("POST", path, body)

    def patch(self, path: str, body: Any = None) -> Answer:
        return self.send("PATCH", path, body)

    def delete(self, path: str, **headers: str) -> Answer:
        return self.send("DELETE", path, headers=_headers(headers))

    def collection(self, acl: list[str] | None = None) -> str:
        """A fresh collection; its path, ``.my/NAME``."""
        name = f"c{next(_names)}"
        body: dict[str, Any] = {"name": name}
        if acl is not None:
            body["acl"] = {"read": acl}
        assert self.post(".my", body).status == 200
        return f".my/{name}"


def _headers(keywords: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in keywords.items()}


class Site:
    """The services of a platform in `home`, and the server in front of them."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.settings = Settings(home=home, **settings)
        self.database = Database(self.settings.database_url)
        self.blobs = LocalBlobStore(self.settings.state / "blobs")
        self.accounts = Accounts(self.database)
        self.authenticator = Authenticator(self.accounts)
        self.data = HostedData(self.database, self.blobs, self.settings)
        cipher = Cipher(self.settings.state / "secrets.key")
        self.connectors = Connectors(self.database, cipher, self.settings.connector_hosts)
        self.stores = DataStores(self.data, ConnectorData(self.connectors, self.settings.page_size))
        self.database.upgrade()
        self.data.recover()
        self._serve()

    def _serve(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        # asyncio turns off Nagle's algorithm only for sockets whose protocol is spelt out; these inherit it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = listener.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.activity = Activity()
        platform: Any = SimpleNamespace(
            settings=self.settings,
            address=self.address,
            activity=self.activity,
            accounts=self.accounts,
            authenticator=self.authenticator,
            data=self.data,
            uploads=ResumableUploads(self.data.stores),
            connectors=self.connectors,
            stores=self.stores,
            async_calls=SimpleNamespace(pending=0),
            invoker=SimpleNamespace(is_ending=False),
            engine=SimpleNamespace(status=lambda: {"workers": 0, "busy": 0, "sandbox": "none"}),
        )
        modules = (data, uploads, accounts, health, insights, metrics)
        application = Application(platform, [route for module in modules for route in module.ROUTES])
        self._server = uvicorn.Server(uvicorn.Config(application, lifespan="off", log_level="critical"))
        ready = threading.Event()

        async def serve() -> None:
            asyncio.get_running_loop().call_soon(ready.set)
            await self._server.serve([listener])

        self._thread = threading.Thread(target=asyncio.run, args=[serve()], daemon=True)
        self._thread.start()
        ready.wait(10)
        # The socket listens already: requests wait in its backlog until the server takes them.

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self.database.close()

    def caller(
        self,
        permissions: KeyPermissions | None = None,
        key_type: str = STANDARD_KEY,
        account: Account | None = None,
    ) -> Caller:
        """A fresh account (or `account`) with a key that may do everything (or `permissions`)."""
        account = account or self.accounts.ensure_account(f"user{next(_names)}")
        key = self.accounts.create_key(account, "test", permissions or KeyPermissions.everything(), key_type)
        return Caller(self, account, key)

    def admin(self) -> Caller:
        """An account with an administrator's key."""
        return self.caller(key_type=ADMIN_KEY)

    def running(self, caller: Caller, owner: Account | None = None, name: str = "Algo", session: str = "s1") -> Caller:
        """Requests made by the algorithm OWNER/NAME (the caller's own by default) while `caller` calls it."""
        owner = owner or caller.account
        key = self.authenticator.sessions.issue()
        call = CallContext(session, owner.id, owner.username, name)
        key.identity = Identity(caller.account, SESSION_KEY, call=call)
        return Caller(self, caller.account, key.text)

    def blob_files(self) -> list[Path]:
        """Every file in the blob store."""
        return [path for path in self.blobs.root.rglob("*") if path.is_file()]

    def staged(self) -> list[Path]:
        """Files that aren't published."""
        return list(self.blobs.staging.iterdir())
