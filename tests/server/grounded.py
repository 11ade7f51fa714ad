"""A platform in this process, not listening, with one algorithm that has a repository: for what can't be held up or
looked at from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from build_projects import HELLO, project

from Algorithmia.server.identity import STANDARD_KEY, Identity, KeyPermissions
from Algorithmia.server.platform import Platform
from Algorithmia.server.services.management import Wishes
from Algorithmia.server.settings import Settings

SETTINGS = {"language": "python3", "network_access": "full", "pipeline_enabled": True}


class Grounded:
    """The platform; `me` owns `viewed`, the algorithm me/Zoo."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.platform = Platform(Settings(home=home, **settings), "http://127.0.0.1:9")
        self.platform.prepare()
        self.state = home / "platform"
        account = self.platform.accounts.ensure_account("me")
        self.me = Identity(account, STANDARD_KEY, permissions=KeyPermissions.everything())
        self.viewed = self.platform.management.create(self.me, "me", "Zoo", Wishes(settings=SETTINGS))

    def commit(self, remark: str = "") -> str:
        """A commit of a source that differs by `remark`."""
        files = {path: text.encode() for path, text in project(f"{HELLO}# {remark}\n").items()}
        return self.platform.repositories.commit_files(self.viewed.id, files, "change", "me")
