"""As much of Dropbox as its own package needs for files: over HTTP, in a thread. No emulator of it is to be had."""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_TIME = "2026-01-02T03:04:05Z"


class Refused(Exception):
    """An answer with status 409: the error's tags, from the outside in."""

    def __init__(self, *tags: str) -> None:
        super().__init__("/".join(tags))
        document: Any = {".tag": tags[-1]}
        for outer, inner in reversed(list(itertools.pairwise(tags))):
            document = {".tag": outer, outer: document}
        self.document = document


class FakeDropbox:
    """Files and folders by path; names keep their case and are found in any."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[str, bytes, str]] = {}
        self.folders: dict[str, str] = {}
        self.sessions: dict[str, bytes] = {}
        self._cursors: dict[str, list[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer._answer(self)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    def put(self, path: str, content: bytes) -> dict[str, Any]:
        parts = path.split("/")
        for end in range(2, len(parts)):
            folder = "/".join(parts[:end])
            self.folders.setdefault(folder.lower(), folder)
        old = self.files.get(path.lower())
        self.files[path.lower()] = (old[0] if old else path, content, f"{next(self._numbers):012x}")
        return self._file(path.lower())

    def _file(self, key: str) -> dict[str, Any]:
        path, content, rev = self.files[key]
        return {
            ".tag": "file",
            "name": path.rpartition("/")[2],
            "id": f"id:{rev}abcdef",
            "client_modified": _TIME,
            "server_modified": _TIME,
            "rev": rev,
            "size": len(content),
            "path_lower": key,
            "path_display": path,
            "content_hash": hashlib.sha256(content).hexdigest(),
        }

    def _folder(self, key: str) -> dict[str, Any]:
        path = self.folders[key]
        name = path.rpartition("/")[2]
        return {".tag": "folder", "name": name, "id": "id:folderfolder", "path_lower": key, "path_display": path}

    def _metadata(self, path: str) -> dict[str, Any]:
        key = path.lower()
        if key in self.files:
            return self._file(key)
        if key in self.folders:
            return self._folder(key)
        raise Refused("path", "not_found")

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        route = handler.path.removeprefix("/2/files/")
        sent = handler.headers.get("Dropbox-API-Arg")
        argument = json.loads(sent) if sent else json.loads(body)
        status, headers, content = 200, {"Content-Type": "application/json"}, b""
        try:
            if handler.headers.get("Authorization") != "Bearer good-token":
                status, content = 401, b'{"error": {".tag": "invalid_access_token"}, "error_summary": "x"}'
            elif route == "download":
                status, headers, content = self._download(handler, argument)
            else:
                with self._lock:
                    content = json.dumps(getattr(self, f"_{route.replace('/', '_')}")(argument, body)).encode()
        except Refused as problem:
            status = 409
            content = json.dumps({"error": problem.document, "error_summary": f"{problem}/.."}).encode()
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    def _download(
        self, handler: BaseHTTPRequestHandler, argument: dict[str, Any]
    ) -> tuple[int, dict[str, str], bytes]:
        wanted = argument["path"]
        for key, (_, content, rev) in list(self.files.items()):
            if wanted in (f"rev:{rev}", key):
                status = 200
                described = json.dumps({name: value for name, value in self._file(key).items() if name != ".tag"})
                headers = {"Dropbox-API-Result": described, "Content-Type": "application/octet-stream"}
                if "Range" in handler.headers:
                    first, _, last = handler.headers["Range"].removeprefix("bytes=").partition("-")
                    content, status = content[int(first) : int(last) + 1], 206
                return status, headers, content
        raise Refused("path", "not_found")

    def _get_metadata(self, argument: Any, body: bytes) -> Any:
        return self._metadata(argument["path"])

    def _list_folder(self, argument: Any, body: bytes) -> Any:
        path = argument["path"].lower()
        if path and path not in self.folders:
            raise Refused("path", "not_found")
        found = []
        for key in sorted([*self.files, *self.folders]):
            inside = key.startswith(f"{path}/")
            if inside and (argument["recursive"] or "/" not in key[len(path) + 1 :]):
                found.append(self._metadata(key))
        return self._page(found, argument["limit"])

    def _page(self, found: list[dict[str, Any]], limit: int) -> Any:
        cursor = f"cursor-{next(self._numbers)}-{limit}"
        self._cursors[cursor] = found[limit:]
        return {"entries": found[:limit], "cursor": cursor, "has_more": len(found) > limit}

    def _list_folder_continue(self, argument: Any, body: bytes) -> Any:
        return self._page(self._cursors[argument["cursor"]], int(argument["cursor"].rpartition("-")[2]))

    def _upload(self, argument: Any, body: bytes) -> Any:
        return {name: value for name, value in self.put(argument["path"], body).items() if name != ".tag"}

    def _upload_session_start(self, argument: Any, body: bytes) -> Any:
        name = f"session{next(self._numbers)}"
        self.sessions[name] = body
        return {"session_id": name}

    def _upload_session_append_v2(self, argument: Any, body: bytes) -> Any:
        cursor = argument["cursor"]
        assert cursor["offset"] == len(self.sessions[cursor["session_id"]])
        self.sessions[cursor["session_id"]] += body
        return None

    def _upload_session_finish(self, argument: Any, body: bytes) -> Any:
        cursor = argument["cursor"]
        content = self.sessions.pop(cursor["session_id"])
        assert cursor["offset"] == len(content)
        return self._upload(argument["commit"], content + body)

    def _delete_v2(self, argument: Any, body: bytes) -> Any:
        key = argument["path"].lower()
        try:
            found = self._metadata(key)
        except Refused:
            raise Refused("path_lookup", "not_found") from None
        for store in (self.files, self.folders):
            for name in [name for name in store if name == key or name.startswith(f"{key}/")]:
                del store[name]  # type: ignore[attr-defined]
        return {"metadata": found}

    def _create_folder_v2(self, argument: Any, body: bytes) -> Any:
        path = argument["path"]
        if path.lower() in self.folders:
            raise Refused("path", "conflict", "folder")
        parts = path.split("/")
        for end in range(2, len(parts) + 1):
            folder = "/".join(parts[:end])
            self.folders.setdefault(folder.lower(), folder)
        return {"metadata": {name: value for name, value in self._folder(path.lower()).items() if name != ".tag"}}
