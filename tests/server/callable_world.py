"""A database with two accounts, and an algorithm of one of them in several versions."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from Algorithmia.server.db import schema
from Algorithmia.server.db.database import Database
from Algorithmia.server.db.values import new_id
from Algorithmia.server.identity import Identity, KeyPermissions
from Algorithmia.server.routes.algo import parse_reference
from Algorithmia.server.services.accounts import Accounts
from Algorithmia.server.services.algorithms import Algorithms, Resolved
from Algorithmia.server.settings import Settings

EVERYTHING = KeyPermissions.everything()


class World:
    """A database with accounts `author` and `stranger`, and an algorithm ``author/Algo`` with several versions."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home, max_concurrent_calls=3, max_child_calls=4)
        self.database = Database(self.settings.database_url)
        self.database.upgrade()
        self.accounts = Accounts(self.database)
        self.algorithms = Algorithms(self.database, self.settings)
        self.author = Identity(self.accounts.ensure_account("author"), permissions=EVERYTHING)
        self.stranger = Identity(self.accounts.ensure_account("stranger"), permissions=EVERYTHING)
        self.algorithm_id = self.add_algorithm("Algo", source_visibility="closed")
        for text, callability in (
            ("0.1.0", "public"),
            ("0.2.0", "public"),
            ("0.2.1", "private"),
            ("0.10.0", "public"),
            ("1.0.0", "private"),
            ("1.1.0", "private"),
        ):
            self.add_version(self.algorithm_id, text, callability)

    def add_algorithm(self, name: str, **settings: Any) -> str:
        algorithm_id = new_id()
        with self.database.write() as connection:
            connection.execute(
                schema.algorithms.insert().values(
                    id=algorithm_id,
                    account_id=self.author.account.id,
                    name=name,
                    settings=json.dumps(settings),
                    created_at=1,
                )
            )
        return algorithm_id

    def add_version(self, algorithm_id: str, text: str, callability: str, **settings: Any) -> str:
        build_id, commit = self.add_build(algorithm_id)
        major, minor, revision = text.split(".")
        with self.database.write() as connection:
            connection.execute(
                schema.versions.insert().values(
                    id=new_id(),
                    algorithm_id=algorithm_id,
                    build_id=build_id,
                    major=int(major),
                    minor=int(minor),
                    revision=int(revision),
                    callability=callability,
                    settings=json.dumps(settings),
                    created_at=1,
                )
            )
        return commit

    def add_build(self, algorithm_id: str, status: str = "succeeded") -> tuple[str, str]:
        build_id = new_id()
        commit = (build_id.replace("-", "") * 2)[:40]
        with self.database.write() as connection:
            connection.execute(
                schema.builds.insert().values(
                    id=build_id,
                    algorithm_id=algorithm_id,
                    commit_sha=commit,
                    status=status,
                    artifact=f"builds/{build_id}",
                    started_at=1,
                )
            )
        return build_id, commit

    def resolve(self, text: str, identity: Identity) -> Resolved:
        return asyncio.run(self.algorithms.resolve(parse_reference(text.encode()), identity))
