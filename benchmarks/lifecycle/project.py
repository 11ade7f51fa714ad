"""One algorithm as its author sees it: a working tree that is changed, pushed, published and called.

Every state of the source answers with a marker of its own, so that an answer tells which commit gave it.
"""

from __future__ import annotations

import base64
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import Algorithmia
from Algorithmia import errors

SETTINGS = {
    "language": "python3",
    "source_visibility": "closed",
    "license": "apl",
    "network_access": "isolated",
    "pipeline_enabled": False,
    "environment": "cpu",
}
_GIT_SECONDS = 120


class GitFailed(Exception):
    """git ended with an error; the text is what it said."""


class Project:
    """An algorithm and its working tree below `place`. Not safe for threads: each thread has its own project.

    markers  commit -> what that commit answers
    """

    def __init__(self, place: Path, address: str, key: str, name: str, owner: str = "tester") -> None:
        self.name, self.owner, self.tree = name, owner, place / name
        self.markers: dict[str, str] = {}
        self._key = key
        self.reach(address)

    def reach(self, address: str) -> None:
        """From now on the platform is at `address`."""
        self._address = address
        self.client = Algorithmia.Client(self._key, address, retries=0, timeout=60)
        self.algo = self.client.algo(f"{self.owner}/{self.name}")

    def create(self, **settings: Any) -> None:
        """Create the algorithm and clone its template."""
        self.algo.create({"label": self.name}, {**SETTINGS, **settings})
        self.git("clone", "--quiet", f"{self._address}/git/{self.owner}/{self.name}.git", str(self.tree), where=None)

    def change(self, marker: str, requirements: str | None = None) -> str:
        """Commit a source that answers `marker`; the commit's id."""
        source = f"def apply(input):\n    return {marker!r}\n"
        (self.tree / "src" / f"{self.name}.py").write_text(source)
        (self.tree / ".adk").unlink(missing_ok=True)
        if requirements is not None:
            (self.tree / "requirements.txt").write_text(requirements)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", marker)
        commit = self.git("rev-parse", "HEAD").strip()
        self.markers[commit] = marker
        return commit

    def push(self) -> str:
        """Push, wait for git, and give back what it said. Raises GitFailed."""
        return self.git("push", f"{self._address}/git/{self.owner}/{self.name}.git", "HEAD:master")

    def build_of(self, commit: str) -> Any:
        """The newest build of `commit`, or None."""
        builds = self.algo.get_builds(limit=50)["results"]
        return next((build for build in builds if build["commit_sha"] == commit), None)

    def wait_for_build(self, commit: str, seconds: float = 60.0) -> Any:
        """The build of `commit` once it has ended; None if there is none. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while True:
            build = self.build_of(commit)
            if build is None or build["status"] != "in-progress":
                return build
            if time.monotonic() > deadline:
                raise TimeoutError(f"the build of {commit} is still in progress after {seconds:g} s")
            time.sleep(0.05)

    def publish(self) -> tuple[str, str]:
        """``(version, commit)`` of the newest build, published."""
        version = self.algo.publish(version_info={"version_type": "minor"})["version_info"]
        return version["semantic_version"], version["git_hash"]

    def versions(self) -> dict[str, str]:
        """Published versions -> their commits."""
        found: dict[str, str] = {}
        marker = None
        while True:
            page = self.algo.versions(limit=50, marker=marker, published=True)
            for version in page["results"]:
                found[version["version_info"]["semantic_version"]] = version["version_info"]["git_hash"]
            marker = page.get("marker")
            if not marker:
                return found

    def call(self, version: str, patience: float = 60.0) -> str:
        """What `version` (or a commit) answers; while the platform is full, it is asked again."""
        deadline = time.monotonic() + patience
        while True:
            try:
                return self.client.algo(f"{self.owner}/{self.name}/{version}").pipe("x").result
            except errors.TooManyRequestsError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def git(self, *arguments: str, where: Path | None = Path()) -> str:
        """Run git in the working tree (`where` None: beside it); all that it said. Raises GitFailed."""
        credentials = base64.b64encode(f"{self.owner}:{self._key}".encode()).decode("ascii")
        settings = {
            "http.extraHeader": f"Authorization: Basic {credentials}",
            "user.name": "Author",
            "user.email": "author@example.com",
            "init.defaultBranch": "master",
            "gc.auto": "0",
        }
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.tree.parent),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_COUNT": str(len(settings)),
        }
        for number, (name, value) in enumerate(settings.items()):
            environment[f"GIT_CONFIG_KEY_{number}"] = name
            environment[f"GIT_CONFIG_VALUE_{number}"] = value
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.tree if where is not None else self.tree.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_GIT_SECONDS,
            check=False,
        )
        output = done.stdout.decode("utf-8", "replace")
        if done.returncode:
            raise GitFailed(output)
        return output
