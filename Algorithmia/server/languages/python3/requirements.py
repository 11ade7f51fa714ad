"""A project's requirements.txt: what is to be installed, what the platform provides, what makes two of them alike."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from ..base import BuildProblem

FILE = "requirements.txt"
# The SDK of this platform always comes first, so other releases of it would never be imported.
PROVIDED = ("algorithmia", "algorithmia-adk")

_MAX_BYTES = 1024 * 1024
_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^]]*\])?\s*(?:[=<>!~;@(,].*)?$")
# Options that say where packages come from, but install nothing by themselves.
_SOURCES = re.compile(
    r"(?:-i|-f|--index-url|--extra-index-url|--find-links|--trusted-host|--no-index|--pre|--prefer-binary"
    r"|--no-binary|--only-binary|--require-hashes|--use-feature)(?:[\s=]|$)"
)
_LOCAL = re.compile(
    r"(?:-e|-r|-c|--editable|--requirement|--constraint)(?:[\s=]|$)|\.|/|file:|[^#\s]*@\s*(?:file:|\.|/)"
)


@dataclass(frozen=True, slots=True)
class Requirements:
    """What is asked for.

    provided  lines that the platform provides for
    wanted    lines that have something to install
    sources   lines that say where packages come from
    key       a text that stands for all that decides what gets installed
    """

    provided: tuple[str, ...]
    wanted: tuple[str, ...]
    sources: tuple[str, ...]
    key: str


def read(project: Path) -> Requirements:
    """The requirements of `project`; none if it has no such file. Raises BuildProblem if it is no text."""
    try:
        data = (project / FILE).read_bytes()
    except FileNotFoundError:
        return Requirements((), (), (), "")
    except OSError as problem:
        raise BuildProblem(f"{FILE} can't be read: {problem.strerror}") from None
    if len(data) > _MAX_BYTES:
        raise BuildProblem(f"{FILE} has {len(data)} bytes; that can't be a list of packages")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise BuildProblem(f"{FILE} is not UTF-8 (byte {problem.start})") from None
    provided, wanted, sources = [], [], []
    is_local = False
    for line in _logical_lines(text):
        if _SOURCES.match(line):
            sources.append(line)
            continue
        name = _NAME.match(line)
        if name and re.sub(r"[-_.]+", "-", name[1]).lower() in PROVIDED:
            provided.append(line)
            continue
        is_local = is_local or _LOCAL.match(line) is not None
        wanted.append(line)
    key = "\n".join((*sources, *wanted))
    if is_local:
        # It refers to other files of the project: any of them may matter.
        key += f"\n# project {_digest(project)}"
    return Requirements(tuple(provided), tuple(wanted), tuple(sources), key)


def remarks(found: Requirements) -> list[str]:
    """What a build log says about them."""
    lines = [f"{line}: left out, the platform's own SDK is used" for line in found.provided]
    if not found.wanted:
        lines.append(f"{FILE} asks for nothing to be installed")
    return lines


def _logical_lines(text: str) -> list[str]:
    """Lines without comments, continued ones in one."""
    lines = []
    for line in text.replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        line = re.sub(r"(^|\s)#.*$", "", line).strip()
        if line:
            lines.append(line)
    return lines


def _digest(project: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(project.rglob("*")):
        name = path.relative_to(project).as_posix()
        if path.is_symlink():
            digest.update(f"{name}\0link {path.readlink()}\0".encode())
        elif path.is_file():
            with open(path, "rb") as handle:
                content = hashlib.sha256()
                while chunk := handle.read(1 << 20):
                    content.update(chunk)
            digest.update(f"{name}\0{content.hexdigest()}\0".encode())
    return digest.hexdigest()
