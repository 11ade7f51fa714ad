"""What the server says of its files, and what lies on its disk, compared with each other and with what may be."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from .model import Content
from .traffic import Client, Files


def settle(client: Client, files: Files) -> None:
    """Read every file, note what is not possible, and take what was found for what is there."""
    listed = _listing(client, files)
    for name, history in files.histories.items():
        status, headers, data = client.request("GET", files.path(name))
        found = Content.of(data) if status == 200 else None
        possible = history.possible()
        if status not in (200, 404) or found not in possible:
            files.violated(f"after the restart, {name} is {status} {found}; possible were {possible}")
        for change in history.unacknowledged():
            files.counts["cut off: taken" if found == change.content else "cut off: not taken"] += 1
        history.settle(found)
        files.counts["checked"] += 1
        if found is None:
            if name in listed:
                files.violated(f"{name} is listed and not there")
            continue
        if headers.get("etag", "").strip('"') != found.md5:
            files.violated(f"GET {name}: ETag {headers.get('etag')} for {found}")
        if listed.get(name) != found.size:
            files.violated(f"{name} is listed with size {listed.get(name)} and has {found.size} bytes")
        status, headers, _ = client.request("HEAD", files.path(name))
        if (status, headers.get("etag"), headers.get("content-length")) != (200, f'"{found.md5}"', str(found.size)):
            files.violated(f"HEAD {name}: {status} {headers} for {found}")
    for name in set(listed) - set(files.histories):
        files.violated(f"the listing has {name}, which nobody stored")


def _listing(client: Client, files: Files) -> dict[str, int]:
    """Size by name."""
    status, _, data = client.request("GET", files.path())
    if status != 200:
        files.violated(f"listing: {status} {data[:200]!r}")
        return {}
    return {entry["filename"]: entry["size"] for entry in json.loads(data).get("files", ())}


@dataclass
class Disk:
    """The blobs of a state directory."""

    state: Path

    def staged(self) -> int:
        """How many blobs are in the staging directory."""
        staging = self.state / "blobs" / "staging"
        return len(list(staging.iterdir())) if staging.exists() else 0

    def check(self, files: Files, restarted: bool) -> None:
        """Every row has its blob and every blob its row; after a restart, nothing is left in the table `garbage`.

        The server must be at rest.
        """
        uri = f"file:{self.state / 'platform.db'}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
            rows = {row[0]: row[1:] for row in database.execute("SELECT blob_id, name, size, etag FROM files")}
            garbage = [row[0] for row in database.execute("SELECT blob_id FROM garbage")]
            (health,) = database.execute("PRAGMA integrity_check").fetchone()
        if health != "ok":
            files.violated(f"the database is damaged: {health}")
        if restarted and garbage:
            files.violated(f"{len(garbage)} rows of garbage after a restart")
        blobs = self.state / "blobs"
        found = {}
        for path in blobs.rglob("*"):
            if path.is_file():
                found[path.name] = path
                if path.parent != blobs / path.name[:2]:
                    files.violated(f"{path.relative_to(self.state)} is left over")
        for blob_id in found.keys() - rows.keys():
            files.violated(f"blob {blob_id} has no row")
        for blob_id, (name, size, md5) in rows.items():
            if blob_id not in found:
                files.violated(f"the blob {blob_id} of {name} is missing")
            elif Content.of(found[blob_id].read_bytes()) != Content(md5, size):
                files.violated(f"the blob {blob_id} of {name} is not what its row says")
