"""Kill the server again and again while clients store and remove files, and see what it has made of them afterwards.

Of each round: a real server process, several clients that upload (0 B to 5 MB, whole, in pieces or chunked), overwrite,
read, remove and abandon uploads; SIGKILL at a random moment, now and then during the next start too; restart. Then each
file must be what it was before or after a change that was under way, acknowledged changes must have taken place,
listings must agree with contents, and nothing may be left over on disk. SIGKILL leaves the page cache alone: this shows
what a dying process leaves, not what a power cut does.

``python benchmarks/run.py faults --rounds 200``; tests call `run`.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.report import Report
from benchmarks.server import Server

from .inspection import Disk, settle
from .traffic import Client, Files, Traffic

_COLLECTION = "faults"


def run(rounds: int, seed: int | None = None, threads: int = 4, files: int = 24) -> Report:
    """Kill and check `rounds` times. The same `seed` makes the same choices; the moments differ with the machine."""
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    chance = random.Random(seed)
    started = time.monotonic()
    names = Files(_COLLECTION, [f"file-{number:02}" for number in range(files)])
    with tempfile.TemporaryDirectory(prefix="algorithmia-faults-") as place:
        torture = _Torture(Path(place), names, threads, chance)
        try:
            torture.prepare()
            for number in range(rounds):
                torture.round(number)
        finally:
            torture.server.end()
    seconds = time.monotonic() - started
    return Report(f"{rounds} rounds of seed {seed}", seconds, Counter(names.counts), names.violations)


class _Torture:
    """One run."""

    def __init__(self, home: Path, files: Files, threads: int, chance: random.Random) -> None:
        self.server = Server(home)
        self._files = files
        self._threads = threads
        self._chance = chance
        self._disk = Disk(self.server.state)
        self._key = ""

    def prepare(self) -> None:
        """First start, and the collection."""
        self.server.spawn()
        self.server.wait_until_ready()
        self._key = self.server.key()
        client = self._client()
        status, _, text = client.request("POST", "/v1/data/.my", json.dumps({"name": _COLLECTION}))
        client.close()
        if status != 200:
            raise RuntimeError(f"can't create the collection: {status} {text!r}")

    def round(self, number: int) -> None:
        files = self._files
        traffic = Traffic(self.server.port, self._key, files, self._threads, self._chance)
        time.sleep(self._chance.uniform(0.0, 0.5))
        if number % 10 == 9:
            traffic.stop()
            traffic.join()
            self._check_at_rest()
        else:
            traffic.expect_death()
        self.server.kill()
        traffic.join()
        files.counts["kills"] += 1
        files.counts["staged blobs that a kill left"] += self._disk.staged()
        self.server.spawn()
        while self._chance.random() < 0.2:
            time.sleep(self._chance.uniform(0.0, 0.5))
            self.server.kill()
            files.counts["kills while starting"] += 1
            self.server.spawn()
        self.server.wait_until_ready()
        client = self._client()
        settle(client, files)
        client.close()
        self._disk.check(files, restarted=True)

    def _check_at_rest(self) -> None:
        """Nothing leaks while the server lives, either."""
        deadline = time.monotonic() + 5.0
        while self._disk.staged() and time.monotonic() < deadline:
            time.sleep(0.02)  # it is still noticing that a client went away
        self._disk.check(self._files, restarted=False)
        self._files.counts["checks of the living server"] += 1

    def _client(self) -> Client:
        return Client(self.server.port, self._key, self._files, self._chance)
