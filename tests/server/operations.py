"""What each store can do: as the table in the guide to connectors has it, and as the platform shows it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path

from answers import Answer
from hosted_site import Caller

_GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "connectors.md"
_HOSTED = "hosted data"
_PAGE = 10  # of the site's listings


def promised(store: str) -> dict[str, bool]:
    """For each operation that `store` ("hosted data", or a protocol) is said to have or not: which of the two."""
    lines = [line.strip("| \n").split(" | ") for line in _GUIDE.read_text().splitlines() if line.startswith("|")]
    head = next(number for number, cells in enumerate(lines) if cells[0] == "Operation")
    column = [cell.strip("`") for cell in lines[head]].index(store)
    table = {}
    for cells in lines[head + 2 :]:
        words = cells[column].split() if column < len(cells) else []
        if words and words[0].strip(",;:") in ("yes", "no"):
            table[cells[0]] = words[0].startswith("yes")
    return table


def found(caller: Caller, folder: str) -> dict[str, bool]:
    """The same, of the store in which `folder` is: a directory below another one, in which nothing is yet."""
    return {operation: probe(caller, f"{folder}/{number}") for number, (operation, probe) in enumerate(_PROBES.items())}


def _put(caller: Caller, path: str, content: bytes = b"0123456789", **headers: str) -> Answer:
    return caller.put(path, content, **headers)


def _uri(path: str) -> str:
    return path if "://" in path else f"data://{path}"


def _in_pages(caller: Caller, folder: str) -> bool:
    for number in range(_PAGE + 1):
        assert _put(caller, f"{folder}/{number}").status == 200
    return bool(caller.get(folder).json.get("marker"))


def _levels(caller: Caller, folder: str) -> bool:
    assert _put(caller, f"{folder}/a/b/c").status == 200
    return caller.get(folder).json == {"folders": [{"name": "a"}]} and caller.get(f"{folder}/a/b/c").status == 200


def _ranges(caller: Caller, folder: str) -> bool:
    _put(caller, f"{folder}/f")
    answer = caller.get(f"{folder}/f", Range="bytes=2-4")
    return (answer.status, answer.body) == (206, b"234")


def _without_length(caller: Caller, folder: str) -> bool:
    caller.send("PUT", f"{folder}/f", iter([b"ab", b"cd"]), encode_chunked=True)
    return caller.get(f"{folder}/f").body == b"abcd"


def _if_matching(caller: Caller, folder: str) -> bool:
    tag = _put(caller, f"{folder}/f").headers["etag"]
    return caller.get(f"{folder}/f", If_None_Match=tag).status == 304


def _digest_checked(caller: Caller, folder: str) -> bool:
    wrong = base64.b64encode(hashlib.sha256(b"else").digest()).decode()
    refused = _put(caller, f"{folder}/f", Repr_Digest=f"sha-256=:{wrong}:").status == 400
    return refused and caller.get(f"{folder}/f").status == 404


def _digest_told(caller: Caller, folder: str) -> bool:
    _put(caller, f"{folder}/f")
    return "repr-digest" in caller.head(f"{folder}/f").headers


def _digest_of_part(caller: Caller, folder: str) -> bool:
    _put(caller, f"{folder}/f")
    return "content-digest" in caller.get(f"{folder}/f", Range="bytes=2-4", Want_Content_Digest="sha-256=1").headers


def _copied(caller: Caller, folder: str) -> bool:
    _put(caller, f"{folder}/f")
    answer = caller.send("COPY", f"{folder}/f", headers={"Destination": _uri(f"{folder}/g")})
    return answer.status == 200 and caller.get(f"{folder}/g").body == b"0123456789"


def _resumed(caller: Caller, folder: str) -> bool:
    return "upload-limit" in caller.send("OPTIONS", f"{folder}/f").headers


def _archives(caller: Caller, folder: str) -> bool:
    _put(caller, f"{folder}/f")
    return caller.get(folder).headers.get("accept-post") == "application/x-tar"


def _directory_made(caller: Caller, folder: str) -> bool:
    _put(caller, f"{folder}/f")
    return caller.post(folder, {"name": "made"}).status == 200


def _directory_removed(caller: Caller, folder: str) -> bool:
    _put(caller, f"{folder}/f")
    return caller.delete(folder).status == 409 and caller.delete(f"{folder}?force=true").status == 200


def _acl(caller: Caller, folder: str) -> bool:
    _put(caller, f"{folder}/f")
    top = "/".join(folder.split("/")[:2]) if "://" not in folder else folder
    return caller.patch(top, {"acl": {"read": []}}).status == 200


_PROBES: dict[str, Callable[[Caller, str], bool]] = {
    "list, in pages": _in_pages,
    "files in folders in folders": _levels,
    "read, and ranges": _ranges,
    "write, length known or not": _without_length,
    "`If-Match`, `If-None-Match` when reading": _if_matching,
    "`Repr-Digest` of an upload is checked": _digest_checked,
    "`Repr-Digest` of what is read is told": _digest_told,
    "`Content-Digest` of ranges, where wanted": _digest_of_part,
    "`COPY`, to itself and to the others": _copied,
    "an upload that breaks off can be continued": _resumed,
    "many small files as one archive": _archives,
    "make a directory below another": _directory_made,
    "remove a file, or a directory with `force=true`": _directory_removed,
    "ACL (`PATCH`)": _acl,
}
