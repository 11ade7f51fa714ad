"""The bundled algorithms: each directory OWNER/NAME here is an ordinary algorithm project."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent


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

    def readme(self) -> str:
        """Its documentation (Markdown)."""
        return (self.path / "README.md").read_text("utf-8")

    def tagline(self) -> str:
        """The first line of its README after the heading."""
        for line in self.readme().splitlines():
            if line and not line.startswith("#"):
                return line
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
