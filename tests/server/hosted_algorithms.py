"""An account on a platform and its algorithms, as any client without our SDK sees them: HTTP, and the real git."""

from __future__ import annotations

import base64
import http.client
import json
import subprocess
import time
import urllib.parse
import uuid
from pathlib import Path
from typing import Any

from platforms import Server, clean_environment, new_key
from runner_conversation import Outcome


class Hosted:
    """An account of its own on `server`; working copies are made in `home`."""

    def __init__(self, server: Server, home: Path) -> None:
        self.server, self.home = server, home
        self.name = f"lang{uuid.uuid4().hex[:12]}"
        admin = server.client(server.admin_key)
        admin.create_user({"username": self.name, "email": self.name + "@example.com"})
        self.key, _ = new_key(server, self.name)
        self._address = urllib.parse.urlsplit(server.address)

    def send(self, method: str, path: str, body: bytes | None = None, content_type: str = "application/json") -> Any:
        """One request; the JSON that came back."""
        connection = http.client.HTTPConnection(self._address.netloc, timeout=600)
        try:
            headers = {"Authorization": f"Simple {self.key}", "Content-Type": content_type}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            content = response.read()
            assert response.status < 300, (method, path, response.status, content.decode("utf-8", "replace"))
            return json.loads(content) if content else None
        finally:
            connection.close()

    def create(self, name: str, language: str) -> None:
        """Create an algorithm; its repository then holds the language's template."""
        settings = {
            "language": language,
            "environment": "cpu",
            "source_visibility": "closed",
            "license": "apl",
            "network_access": "full",
            "pipeline_enabled": True,
        }
        body = {"name": name, "details": {"label": name}, "settings": settings}
        self.send("POST", f"/v1/algorithms/{self.name}", json.dumps(body).encode())

    def clone(self, name: str) -> Path:
        """Clone it; the working copy."""
        target = self.home / name
        key = urllib.parse.quote(self.key, safe="")
        location = f"{self._address.scheme}://{self.name}:{key}@{self._address.netloc}/git/{self.name}/{name}.git"
        self.git(self.home, "clone", "-q", location, str(target))
        return target

    def git(self, directory: Path, *arguments: str) -> str:
        """Run git; what it printed."""
        environment = clean_environment(self.home)
        environment.update(
            GIT_TERMINAL_PROMPT="0",
            GIT_CONFIG_NOSYSTEM="1",
            GIT_AUTHOR_NAME=self.name,
            GIT_AUTHOR_EMAIL="a@example.com",
            GIT_COMMITTER_NAME=self.name,
            GIT_COMMITTER_EMAIL="a@example.com",
        )
        done = subprocess.run(
            ["git", *arguments], cwd=directory, env=environment, capture_output=True, timeout=600, check=False
        )
        output = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert done.returncode == 0, output
        return output

    def push(self, name: str, directory: Path) -> str:
        """Commit all of the working copy, push it, and wait for its build to succeed; the commit."""
        self.git(directory, "add", "-A")
        self.git(directory, "commit", "-q", "-m", "Zoo")
        output = self.git(directory, "push", "-q", "origin", "HEAD:master")
        commit = self.git(directory, "rev-parse", "HEAD").strip()
        build = self._finished(name, commit)
        assert build["status"] == "succeeded", (build, output, self.log(name, commit))
        return commit

    def log(self, name: str, commit: str) -> str:
        """The log of the finished build of `commit`."""
        build = self._finished(name, commit)
        logs = self.send("GET", f"/v1/algorithms/{self.name}/{name}/builds/{build['build_id']}/logs")
        return str(logs["logs"])

    def _finished(self, name: str, commit: str) -> dict[str, Any]:
        deadline = time.monotonic() + 600
        while True:
            page = self.send("GET", f"/v1/algorithms/{self.name}/{name}/builds?limit=20")
            for build in page["results"]:
                if build["commit_sha"] == commit and build["status"] != "in-progress":
                    return dict(build)
            assert time.monotonic() < deadline, page
            time.sleep(0.2)

    def compile(self, name: str) -> str:
        """Build the newest source; its commit."""
        version = self.send("POST", f"/v1/algorithms/{self.name}/{name}/compile", b"{}")
        assert version["compilation"]["successful"], version
        return str(version["version_info"]["git_hash"])

    def publish(self, name: str) -> str:
        """Publish the newest build; the version's number."""
        body = {"version_info": {"version_type": "minor", "sample_input": '"sample"'}}
        version = self.send("POST", f"/v1/algorithms/{self.name}/{name}/versions", json.dumps(body).encode())
        return str(version["version_info"]["semantic_version"])

    def call(self, reference: str, content_type: str, value: Any) -> Outcome:
        """Call ``NAME/VERSION``."""
        if content_type == "binary":
            body, header = value, "application/octet-stream"
        elif content_type == "text":
            body, header = value.encode("utf-8"), "text/plain"
        else:
            body, header = json.dumps(value).encode(), "application/json"
        answer = self.send("POST", f"/v1/algo/{self.name}/{reference}?stdout=true&timeout=300", body, header)
        metadata = answer["metadata"]
        printed = metadata.get("stdout") or ""
        if "error" in answer:
            return Outcome(error=answer["error"], stdout=printed)
        found = answer["result"]
        if metadata["content_type"] == "binary":
            found = base64.b64decode(found)
        return Outcome(metadata["content_type"], found, stdout=printed)
