"""The git part of a platform under real uvicorn in a thread, with a stand-in for builds, and people with real git."""

from __future__ import annotations

import asyncio
import base64
import http.client
import itertools
import json
import os
import socket
import subprocess
import threading
import time
import urllib.parse
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
import uvicorn

from Algorithmia.server.app import Application
from Algorithmia.server.auth import Authenticator
from Algorithmia.server.connections import BoundedConnection
from Algorithmia.server.db import schema
from Algorithmia.server.db.database import Database
from Algorithmia.server.db.values import new_id, now_ms
from Algorithmia.server.git.repositories import Repositories
from Algorithmia.server.git.smart_http import Bridge
from Algorithmia.server.identity import STANDARD_KEY, Account, KeyPermissions
from Algorithmia.server.routes import git
from Algorithmia.server.services.accounts import Accounts
from Algorithmia.server.services.algorithm_access import AlgorithmAccess
from Algorithmia.server.services.git_hosting import Hosting
from Algorithmia.server.settings import Settings

_numbers = itertools.count(1)

TEMPLATE: dict[str, bytes | tuple[bytes, bool]] = {
    "README.md": b"# Test\n\nSays hello.\n",
    "src/Test.py": b"def apply(input):\n    return input\n",
}


class StandInBuilds:
    """Builds that do nothing but say so: `requested` are (algorithm, commit); `may_end` holds builds up when clear."""

    def __init__(self) -> None:
        self.requested: list[tuple[str, str]] = []
        self.may_end = threading.Event()
        self.may_end.set()
        self.status = "succeeded"

    async def request(self, algorithm_id: str, commit: str) -> str:
        self.requested.append((algorithm_id, commit))
        return str(len(self.requested))

    async def follow(self, build_id: str) -> AsyncIterator[bytes]:
        yield b"installing dependencies\n"
        while not self.may_end.is_set():
            await asyncio.sleep(0.01)
        yield b"build ended\n"

    def get(self, algorithm_id: str, build_id: str) -> Any:
        return SimpleNamespace(status=self.status, problem="")


class GitSite:
    """Git hosting at `address`, its state in `home`."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.settings = Settings(home=home, **settings)
        self.database = Database(self.settings.database_url)
        self.accounts = Accounts(self.database)
        self.database.upgrade()
        self.repositories = Repositories(self.settings.state, self.settings)
        self.repositories.recover()
        self.builds = StandInBuilds()
        self.summaries: dict[str, str] = {}
        self.authenticator = Authenticator(self.accounts)
        self._people = itertools.count(1)
        self._serve()

    def _serve(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = listener.getsockname()[1]
        access = AlgorithmAccess(self.database)
        platform: Any = SimpleNamespace(
            settings=self.settings,
            activity=SimpleNamespace(begin=lambda: None, end=lambda status: None),
            authenticator=self.authenticator,
            repositories=self.repositories,
            git_hosting=Hosting(self.database, access, self.repositories),
            git_bridge=Bridge(self.repositories, self.settings.max_push_bytes, self.settings.request_timeout),
            builds=self.builds,
            management=SimpleNamespace(readme_changed=self.summaries.__setitem__),
        )
        application = Application(platform, list(git.ROUTES))
        options: dict[str, Any] = {"http": BoundedConnection, "lifespan": "off", "log_level": "critical"}
        self._server = uvicorn.Server(uvicorn.Config(application, **options))
        self._thread = threading.Thread(target=asyncio.run, args=[self._server.serve([listener])], daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()
        self.database.close()

    def person(self, home: Path, account: Account | None = None, **permissions: Any) -> Person:
        """A fresh account (or `account`) with a key that may do everything (or just `permissions`)."""
        account = account or self.accounts.ensure_account(f"person{next(_numbers)}")
        granted = KeyPermissions(**permissions) if permissions else KeyPermissions.everything()
        key = self.accounts.create_key(account, "test", granted, STANDARD_KEY)
        return Person(f"127.0.0.1:{self.port}", account, key, home / f"home{next(_numbers)}")

    def algorithm(self, owner: Account, name: str = "Test", source: str = "closed", public: bool = False) -> str:
        """An algorithm with the template as its source; with `public`, version 0.1.0 of it is published."""
        return make_algorithm(self.database, self.repositories, owner, name, source, public)


def make_algorithm(
    database: Database,
    repositories: Repositories,
    owner: Account,
    name: str,
    source: str = "closed",
    public: bool = False,
) -> str:
    """An algorithm's row and repository; its id."""
    algorithm_id = new_id()
    with database.write() as connection:
        connection.execute(
            schema.algorithms.insert().values(
                id=algorithm_id,
                account_id=owner.id,
                name=name,
                settings=json.dumps({"source_visibility": source}),
                created_at=now_ms(),
            )
        )
    commit = repositories.create(algorithm_id, TEMPLATE, "Template")
    if public:
        publish(database, algorithm_id, "0.1.0", commit, "public")
    return algorithm_id


def publish(database: Database, algorithm_id: str, version: str, commit: str, callability: str) -> None:
    """Rows of a version, as publishing leaves them when it is cut off before its last step."""
    major, minor, revision = map(int, version.split("."))
    build_id = new_id()
    with database.write() as connection:
        connection.execute(
            schema.builds.insert().values(
                id=build_id,
                algorithm_id=algorithm_id,
                commit_sha=commit,
                status="succeeded",
                artifact="builds/none",
                started_at=now_ms(),
            )
        )
        connection.execute(
            schema.versions.insert().values(
                id=new_id(),
                algorithm_id=algorithm_id,
                build_id=build_id,
                major=major,
                minor=minor,
                revision=revision,
                callability=callability,
                created_at=now_ms(),
            )
        )


class Done:
    """A command as it ended: `status` and everything it printed."""

    def __init__(self, status: int, output: str) -> None:
        self.status, self.output = status, output

    def __repr__(self) -> str:
        return f"Done({self.status}, {self.output!r})"


class Person:
    """Somebody with an account and a key, who uses the real git in a home of their own."""

    def __init__(self, netloc: str, account: Account, key: str, home: Path) -> None:
        self.netloc, self.account, self.key, self.home = netloc, account, key, home
        self.home.mkdir(parents=True)

    @property
    def name(self) -> str:
        return self.account.username

    def url(self, path: str, key: str | None = None, name: str | None = None) -> str:
        """The address of ``OWNER/NAME.git`` with credentials in it."""
        secret = urllib.parse.quote(self.key if key is None else key, safe="")
        return f"http://{name or self.name}:{secret}@{self.netloc}/git/{path}"

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": self.name,
            "GIT_AUTHOR_EMAIL": "p@example.com",
            "GIT_COMMITTER_NAME": self.name,
            "GIT_COMMITTER_EMAIL": "p@example.com",
        }

    def try_git(self, *arguments: str, cwd: Path | None = None) -> Done:
        """Run git, however it ends."""
        done = subprocess.run(
            ["git", "-c", "init.defaultBranch=master", *arguments],
            cwd=cwd or self.home,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode("utf-8", "replace"))

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        """Run git, which must succeed; what it printed."""
        done = self.try_git(*arguments, cwd=cwd)
        assert done.status == 0, done
        return done.output

    def clone(self, path: str, *options: str) -> Path:
        """A working copy of ``OWNER/NAME.git``."""
        target = self.home / uuid.uuid4().hex
        self.git("clone", "-q", *options, self.url(path), str(target))
        return target

    def commit(self, directory: Path, name: str = "new.txt", content: bytes = b"new\n") -> str:
        """A commit that adds (or changes) one file; its id."""
        (directory / name).write_bytes(content)
        self.git("add", "-A", cwd=directory)
        self.git("commit", "-q", "-m", f"Change {name}", cwd=directory)
        return self.git("rev-parse", "HEAD", cwd=directory).strip()

    def push(self, directory: Path, *arguments: str) -> Done:
        """Push master, or as `arguments` say."""
        return self.try_git("push", *(arguments or ("origin", "HEAD:master")), cwd=directory)

    def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **options: Any
    ) -> tuple[int, dict[str, str], bytes]:
        """One raw request with this person's credentials: status, headers and body of the answer."""
        token = base64.b64encode(f"{self.name}:{self.key}".encode()).decode()
        connection = http.client.HTTPConnection(self.netloc, timeout=60)
        try:
            connection.request(method, path, body, {"Authorization": f"Basic {token}", **(headers or {})}, **options)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()


def site_fixture(**settings: Any) -> Any:
    """The fixture `site` of a module, with these settings."""

    @pytest.fixture(scope="module")
    def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitSite]:
        found = GitSite(tmp_path_factory.mktemp("site"), **settings)
        yield found
        found.stop()

    return site


def person_fixture() -> Any:
    """A fixture that is somebody with an account on the module's `site`."""

    @pytest.fixture
    def person(site: GitSite, tmp_path: Path) -> Person:
        return site.person(tmp_path)

    return person


def git_processes(algorithm: str) -> list[str]:
    """Process ids of the platform's git processes for an algorithm (where /proc tells)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            if b"PATH_INFO" in told and algorithm.encode() in told:
                found.append(process.name)
    return found


def fsck(repositories: Repositories, algorithm_id: str) -> None:
    """git itself finds nothing wrong with the repository, and no lock is left."""
    path = repositories.path(algorithm_id)
    repositories.git.run(path, "fsck", "--full", "--strict", "--no-dangling")
    assert not [lock for lock in path.rglob("*.lock")]


def wait_until(condition: Any, seconds: float = 30.0) -> None:
    """Return once `condition()` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


def set_key(database: Database, account: Account, key: str) -> None:
    """Make `key` one of the account's, as an import of keys from another platform does."""
    from Algorithmia.server.services.accounts import key_digest

    with database.write() as connection:
        connection.execute(
            schema.api_keys.update()
            .where(
                schema.api_keys.c.id
                == sa.select(schema.api_keys.c.id)
                .where(schema.api_keys.c.account_id == account.id)
                .limit(1)
                .scalar_subquery()
            )
            .values(key_hash=key_digest(key))
        )
