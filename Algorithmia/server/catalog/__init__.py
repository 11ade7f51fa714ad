"""The bundled algorithms: each directory OWNER/NAME here is an ordinary algorithm project.

Its ``algorithmia.conf`` also says which version of it this is, ``"version": "1.0.0"`` (0.1.0 if it doesn't), and
whether it does without the internet, ``"network_access": "isolated"``.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent

_FIRST_VERSION = "0.1.0"
# What the platform itself provides to every Python algorithm.
_PROVIDED = frozenset({"algorithmia", "algorithmia-adk"})
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


@dataclass(frozen=True, slots=True)
class Bundled:
    """One bundled algorithm."""

    owner: str
    name: str
    path: Path

    def content_hash(self) -> str:
        """40 hexadecimal digits that stand for the project's files, by name and content, as a commit id would."""
        digest = hashlib.sha1(usedforsecurity=False)
        for path in sorted(self.path.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                content = path.read_bytes()
                digest.update(f"{path.relative_to(self.path).as_posix()}\0{len(content)}\0".encode())
                digest.update(content)
        return digest.hexdigest()

    def version(self) -> tuple[int, int, int]:
        """The version that this release has of it."""
        major, minor, revision = self._configuration().get("version", _FIRST_VERSION).split(".")
        return int(major), int(minor), int(revision)

    def network_access(self) -> str:
        """What it reaches besides the platform: everything (full) or nothing (isolated)."""
        return str(self._configuration().get("network_access", "full"))

    def _configuration(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.path / "algorithmia.conf").read_bytes())
        return found

    def dependencies(self) -> list[str]:
        """Names of the packages that it needs besides the SDK: with any, it must be built before it can run."""
        lines = (self.path / "requirements.txt").read_text("utf-8").splitlines()
        names = [found[1].lower() for found in map(_REQUIREMENT.match, lines) if found]
        return [name for name in names if name not in _PROVIDED]

    def readme(self) -> str:
        """Its documentation (Markdown)."""
        return (self.path / "README.md").read_text("utf-8")

    def tagline(self) -> str:
        """The first sentence of its README after the heading."""
        for paragraph in self.readme().split("\n\n"):
            if not paragraph.startswith("#"):
                return " ".join(paragraph.split()).split(". ")[0].rstrip(".") + "."
        return ""


# Owners of algorithms that the documents call, whether or not those are bundled yet.
_DOCUMENTED_OWNERS = frozenset({"demo", "util", "nlp", "dlib"})


def bundled() -> list[Bundled]:
    """Every bundled algorithm, by owner and name."""
    projects = sorted(ROOT.glob("*/*/algorithmia.conf"))
    return [Bundled(conf.parent.parent.name, conf.parent.name, conf.parent) for conf in projects]


def owners() -> frozenset[str]:
    """Names of the accounts that own bundled algorithms, in lower case: nobody else may have them."""
    return frozenset(project.owner.lower() for project in bundled()) | _DOCUMENTED_OWNERS
