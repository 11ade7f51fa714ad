"""Client threads that write, overwrite, read and remove files until the server is gone or they are told to stop."""

from __future__ import annotations

import collections
import http.client
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

from .model import Change, Content, History, new_content

_PIECE = 65_536
_TIMEOUT = 30.0


class Files:
    """The files of the run: `histories` by name, and what was counted. Shared by all threads."""

    def __init__(self, collection: str, names: list[str]) -> None:
        self.collection = collection
        self.histories = {name: History() for name in names}
        self.counts: collections.Counter[str] = collections.Counter()
        self.violations: list[str] = []
        self.lock = threading.Lock()

    def path(self, name: str = "") -> str:
        return f"/v1/data/.my/{self.collection}/{name}".rstrip("/")

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    def violated(self, what: str) -> None:
        with self.lock:
            self.violations.append(what)


class Client:
    """One thread's connection to the server on `port`. Its methods raise OSError or HTTPException when that is gone."""

    def __init__(self, port: int, key: str, files: Files, chance: random.Random) -> None:
        self._port = port
        self._headers = {"Authorization": f"Simple {key}"}
        self._files = files
        self._chance = chance
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)

    def close(self) -> None:
        self._connection.close()

    def act(self, name: str) -> None:
        """One random request for file `name`."""
        kind = self._chance.random()
        if kind < 0.62:
            self._write(name)
        elif kind < 0.80:
            self._remove(name)
        elif kind < 0.95:
            self._read(name)
        else:
            self._abandon(name)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case, and body of one request."""
        chunked = "Transfer-Encoding" in headers
        self._connection.request(method, path, body, {**self._headers, **headers}, encode_chunked=chunked)
        response = self._connection.getresponse()
        data = response.read()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, data

    def _write(self, name: str) -> None:
        data = new_content(self._chance)
        headers = {"Content-Length": str(len(data))}
        if self._chance.random() < 0.3:
            headers = {"Transfer-Encoding": "chunked"}
        body: Any = data
        if "Transfer-Encoding" in headers or self._chance.random() < 0.5:
            body = self._pieces(data)
        content = Content.of(data)
        change = self._begin(name, content)
        status, answered, text = self.request("PUT", self._files.path(name), body, **headers)
        if status != 200:
            self._files.violated(f"PUT {name} ({len(data)} bytes): {status} {text[:200]!r}")
            return
        if answered.get("etag", "").strip('"') != content.md5:
            self._files.violated(f"PUT {name}: answered ETag {answered.get('etag')} for {content}")
        self._end(change, "written" if data else "written empty")

    def _remove(self, name: str) -> None:
        change = self._begin(name, None)
        status, _, text = self.request("DELETE", self._files.path(name))
        if status == 200:
            self._end(change, "removed")
            return
        history = self._files.histories[name]
        with self._files.lock:
            history.changes.remove(change)
            possible = history.possible(change.started, time.monotonic())
        if status != 404 or None not in possible:
            self._files.violated(f"DELETE {name}: {status} {text[:200]!r}, possible were {possible}")

    def _read(self, name: str) -> None:
        started = time.monotonic()
        status, headers, data = self.request("GET", self._files.path(name))
        found = Content.of(data) if status == 200 else None
        with self._files.lock:
            possible = self._files.histories[name].possible(started, time.monotonic())
        if status not in (200, 404) or found not in possible:
            self._files.violated(f"GET {name}: {status} {found}, possible were {possible}")
        elif found and headers.get("etag", "").strip('"') != found.md5:
            self._files.violated(f"GET {name}: ETag {headers.get('etag')} for {found}")
        self._files.count("read")

    def _abandon(self, name: str) -> None:
        """Begin an upload and go away before its end: it must not become the file."""
        data = new_content(self._chance)
        self._connection.putrequest("PUT", self._files.path(name))
        for header, value in {**self._headers, "Content-Length": str(len(data) + 1)}.items():
            self._connection.putheader(header, value)
        self._connection.endheaders(data)
        self.close()
        self._files.count("abandoned")

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        is_slow = self._chance.random() < 0.2
        for start in range(0, len(data), _PIECE):
            yield data[start : start + _PIECE]
            if is_slow:
                time.sleep(0.005)

    def _begin(self, name: str, content: Content | None) -> Change:
        with self._files.lock:
            change = Change(content, time.monotonic())
            self._files.histories[name].changes.append(change)
        return change

    def _end(self, change: Change, what: str) -> None:
        with self._files.lock:
            change.ended = time.monotonic()
            self._files.counts[what] += 1


class Traffic:
    """Several clients at work. `stop` them, or `expect_death` just before killing the server, then `join`."""

    def __init__(self, port: int, key: str, files: Files, threads: int, chance: random.Random) -> None:
        self._stopped = threading.Event()
        self._may_fail = threading.Event()
        self._files = files
        names = list(files.histories)
        self._threads = []
        for number in range(threads):
            # Half of the requests are for files that only this thread touches, half for any.
            own = names[number::threads]
            client = Client(port, key, files, random.Random(chance.random()))
            chooser = random.Random(chance.random())
            self._threads.append(threading.Thread(target=self._work, args=(client, own, names, chooser)))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def expect_death(self) -> None:
        self._may_fail.set()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(2 * _TIMEOUT)
            if thread.is_alive():
                raise RuntimeError("a client hangs")

    def _work(self, client: Client, own: list[str], names: list[str], chooser: random.Random) -> None:
        try:
            while not self._stopped.is_set():
                client.act(chooser.choice(own if chooser.random() < 0.5 else names))
        except (OSError, http.client.HTTPException) as problem:
            if not self._may_fail.is_set():
                self._files.violated(f"the server was alive, and a client met {type(problem).__name__}: {problem}")
        finally:
            client.close()
