"""Archives of files as tests make, send, fetch and read them."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from typing import Any

from answers import Answer
from hosted_site import Caller

TAR = "application/x-tar"


def archive(*members: Any, format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of `members`: ``(name, content)`` or a `TarInfo`."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=format) as packed:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                packed.addfile(member, io.BytesIO(b"\0" * member.size))
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                packed.addfile(info, io.BytesIO(member[1]))
    return target.getvalue()


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def send(caller: Caller, path: str, body: bytes, **headers: str) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return caller.send("POST", path, body, {"Content-Type": TAR, **sent})


def fetch(caller: Caller, path: str) -> Answer:
    return caller.get(path, Accept=TAR)


def unpacked(answer: Answer) -> dict[str, bytes]:
    assert answer.status == 200 and answer.headers["content-type"] == TAR, answer
    digest = base64.b64encode(hashlib.sha256(answer.body).digest()).decode()
    assert answer.headers["repr-digest"] == f"sha-256=:{digest}:"
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as packed:
        return {member.name: packed.extractfile(member).read() for member in packed}  # type: ignore[union-attr]


def listed(caller: Caller, path: str) -> list[str]:
    return [file["filename"] for file in caller.get(path).json.get("files", [])]


GOOD = archive(("first", b"x" * 600), ("second", b"y"))
