"""Transfers over connections that break, stall, repeat and damage, between clients and servers that are killed.

Each round is one transfer, of a file of 0 B to 100 MB or of a tree of files, up or down, by `algo cp` or the SDK,
through `proxy`, during which up to three faults happen at random offsets: in requests and answers as well as in what
they carry. It may succeed, after repeating what it must, or fail and say so; killed, it may do neither. After it:

- if it said that it succeeded, the other side has what it moved, bit for bit (read over a clean connection);
- under each name is what was there before, or what the transfer was to bring, on both sides, and nothing else;
- if it didn't succeed, the same command succeeds over a clean connection, a large file's without moving again
  what had arrived, and leaves nothing else in the local directory.

After all rounds, when the server has been restarted with all unfinished uploads expired, nothing is left that belongs
to no file. A kill leaves the page cache alone: this shows what dying processes leave, not what a power cut does.

``python benchmarks/run.py transfer-faults --rounds 500``; tests call `run`.
"""

from __future__ import annotations

import os
import random
import re
import tempfile
import time
from pathlib import Path

from benchmarks.report import Report
from benchmarks.server import Server

from . import inspection
from .attempts import Clients, Outcome, copy_command
from .contents import Content, Contents, names, nested_names, random_size, tree, write_random, write_tree
from .proxy import ACT, DOWN, DROP, DUPLICATE, FLIP, STALL, TRUNCATE, UP, Fault, Proxy

LARGEST = 100_000_000
_COLLECTION = "faults"
_KILL_CLIENT, _KILL_SERVER = "kill -9 of the client", "kill -9 of the server"
_WEIGHTS = {_KILL_CLIENT: 5, _KILL_SERVER: 5, DROP: 4, TRUNCATE: 4, STALL: 2, DUPLICATE: 4, FLIP: 6, "none": 2}
# What a download of a small file is called while it is written.
_DISCARDED = re.compile(r"\.[0-9a-f]{32}\.part$")
# Uploads of this size must not begin again.
_LARGE = 32_000_000
_HEAD = 700  # bytes of a request or an answer that are no content, more or less
# How long the platform waits for what a damaged head has announced and nobody sends.
_SERVER_PATIENCE = "3"


def run(rounds: int, seed: int | None = None, largest: int = LARGEST, gateways: int = 0) -> Report:
    """The same `seed` makes the same choices; the moments differ with the machine. `largest` is a size in bytes."""
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    report = Report(f"{rounds} transfers with faults, seed {seed}")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="algorithmia-transfer-faults-") as place:
        server = Server(Path(place), "--gateways", str(gateways), ALGORITHMIA_REQUEST_TIMEOUT=_SERVER_PATIENCE)
        try:
            server.spawn()
            server.wait_until_ready()
            with Proxy(server.port) as proxy:
                torture = _Torture(Path(place), server, proxy, random.Random(seed), largest, report)
                torture.prepare()
                for number in range(rounds):
                    torture.round(number)
            torture.finish()
        finally:
            server.end()
    report.seconds = time.monotonic() - started
    return report


class _Torture:
    """One run."""

    def __init__(
        self, place: Path, server: Server, proxy: Proxy, chance: random.Random, largest: int, report: Report
    ) -> None:
        self._server = server
        self._chance = chance
        self._largest = largest
        self._report = report
        self._home = place
        self._here = place / "here"
        self._remote = inspection.Remote(server)
        self._clients = Clients(server, proxy, place, random.Random(chance.random()))
        self._names = names(chance, 8)
        self._trees = {f"tree{number}": nested_names(chance, 30) for number in range(3)}
        self._contents: dict[str, Content | None] = dict.fromkeys(self._names)
        self._label = ""

    def prepare(self) -> None:
        self._here.mkdir()
        self._remote.make_collection(_COLLECTION)

    def round(self, number: int) -> None:
        kind = self._chance.random()
        way = self._chance.choice((UP, DOWN))
        tool = "sdk" if self._chance.random() < 0.3 else "algo"
        self._label = f"round {number}"
        try:
            self._transfer(kind, way, tool)
        except (RuntimeError, OSError) as problem:
            self._violated(f"{type(problem).__name__}: {problem}")

    def _transfer(self, kind: float, way: str, tool: str) -> None:
        # What is downloaded must be there first.
        if kind < 0.3:
            collection = self._chance.choice(list(self._trees))
            self._tree(tool, way if self._remote.tree(collection) else UP, collection)
        else:
            name = self._chance.choice(self._names)
            if way == UP or self._contents[name] is None:
                self._upload(tool, name)
            else:
                self._download(tool, name)

    def _begin(self, tool: str, way: str, what: str) -> None:
        self._label += f", {tool} {way} of {what}"
        self._report.counts[f"transfers: {tool} {way}"] += 1

    # -- one file -------------------------------------------------------------------------------------------------

    def _upload(self, tool: str, name: str) -> None:
        local, path = self._here / "up" / name, f"{_COLLECTION}/{name}"
        old, new = self._contents[name], write_random(local, random_size(self._chance, self._largest), self._chance)
        self._begin(tool, UP, f"{name} ({new.size} bytes)")
        command = copy_command(tool, UP, local, f"data://.my/{path}", is_tree=False)
        first = self._attempt(command, self._faults(UP, new.size))
        found = self._remote.read(path)
        self._judge(first, found, old, new)
        if not first.succeeded:
            again = self._again(command, first, new.size, UP, found == new)
            self._judge(again, self._remote.read(path), new, new)
        self._contents[name] = self._remote.read(path)
        self._expect_here(local.parent, {name: new})
        local.unlink()

    def _download(self, tool: str, name: str) -> None:
        directory = self._here / "down"
        local, there = directory / name, self._contents[name]
        assert there is not None
        self._begin(tool, DOWN, f"{name} ({there.size} bytes)")
        directory.mkdir(exist_ok=True)
        old = write_random(local, 1000, self._chance) if self._chance.random() < 0.5 else None
        command = copy_command(tool, DOWN, local, f"data://.my/{_COLLECTION}/{name}", is_tree=False)
        first = self._attempt(command, self._faults(DOWN, there.size))
        found = Content.of_file(local)
        self._judge(first, found, old, there)
        if not first.succeeded:
            again = self._again(command, first, there.size, DOWN, found == there)
            self._judge(again, Content.of_file(local), there, there)
        self._expect_here(directory, {name: there})
        local.unlink(missing_ok=True)

    def _again(self, command: list[str], first: Outcome, size: int, way: str, is_there: bool) -> Outcome:
        """The same over a clean connection, counting what it moves. `is_there`: the first had got so far."""
        self._age_parts()
        again = self._attempt(command, ())
        if not again.succeeded:
            self._violated(f"the second, undisturbed attempt failed: {again.output[-600:]}")
        before, moved = (first.sent, again.sent) if way == UP else (first.received, again.received)
        counts = self._report.counts
        counts[f"interrupted {way}loads, ended by a second run"] += 1
        if moved < size:
            counts[f"interrupted {way}loads that went on where they had stopped"] += 1
            counts[f"MB that {way}loads did not move again"] += (size - moved) // 1_000_000
        elif size > _LARGE and before > size // 2 and not is_there and not first.is_damaged:
            counts[f"large interrupted {way}loads that began again"] += 1
            if way == UP:
                self._violated(f"of {size} bytes {before} had been sent, and {moved} were sent again")
        return again

    # -- trees of files -------------------------------------------------------------------------------------------

    def _tree(self, tool: str, way: str, collection: str) -> None:
        self._report.counts[f"transfers of trees {way}"] += 1
        local = self._here / "trees" / collection
        there = self._remote.tree(collection)
        chosen = self._chance.sample(self._trees[collection], self._chance.randint(1, 30))
        here = write_tree(local, chosen, self._chance, max(1000, self._largest // 50))
        goal = here if way == UP else there
        size = sum(content.size for content in goal.values())
        self._begin(tool, way, f"{collection} ({len(goal)} files, {size} bytes)")
        if tool == "sdk":
            command = copy_command(tool, way, local, f"data://.my/{collection}", is_tree=True)
        elif way == UP:
            command = copy_command(tool, way, local, "data://.my", is_tree=True)
        else:
            command = copy_command(tool, way, local.parent, f"data://.my/{collection}", is_tree=True)
        old = there if way == UP else here
        first = self._attempt(command, self._faults(way, size + _HEAD * len(goal)))
        self._judge_tree(first, self._far_side(way, collection, local), old, goal)
        if not first.succeeded:
            self._age_parts()
            again = self._attempt(command, ())
            if not again.succeeded:
                self._violated(f"the second, undisturbed attempt failed: {again.output[-600:]}")
            self._judge_tree(again, self._far_side(way, collection, local), {**old, **goal}, goal)
            self._report.counts[f"interrupted trees {way}, ended by a second run"] += 1
        self._expect_here(local, {**old, **goal} if way == DOWN else here)

    def _far_side(self, way: str, collection: str, local: Path) -> Contents:
        """What there is now where it went, without unfinished files."""
        if way == UP:
            return self._remote.tree(collection)
        return {name: content for name, content in tree(local).items() if not name.endswith(".part")}

    def _judge_tree(self, outcome: Outcome, found: Contents, old: Contents, new: Contents) -> None:
        for name in {**old, **new}:
            self._judge(outcome, found.get(name), old.get(name), new.get(name, old.get(name)), name)
        self._strays(outcome, found.keys() - old.keys() - new.keys())

    # -- what must be ---------------------------------------------------------------------------------------------

    def _judge(
        self, outcome: Outcome, found: Content | None, old: Content | None, new: Content | None, name: str = ""
    ) -> None:
        """Whether `found` is what may be on the other side after `outcome`."""
        if outcome.succeeded and found != new:
            self._violated(f"reported success, and {name} has {found} instead of {new} (before: {old})")
        elif found not in (old, new):
            self._violated(f"{name} has {found}, neither what was there ({old}) nor what was to come ({new})")

    def _expect_here(self, directory: Path, wanted: Contents) -> None:
        """That there are files called as in `wanted` in the local directory, and no others."""
        found = tree(directory)
        extra, missing = found.keys() - wanted.keys(), wanted.keys() - found.keys()
        if extra:
            self._violated(f"{len(extra)} files are left in the local directory, such as {min(extra)}")
        if missing:
            self._violated(f"{', '.join(missing)} missing in the local directory")
        for name in extra:
            (directory / name).unlink()

    def _age_parts(self) -> None:
        """What a killed download left that can't be continued is removed by the next one only when it is old."""
        for path in self._here.rglob(".*.part"):
            if _DISCARDED.search(path.name):
                os.utime(path, (1, 1))
                self._report.counts["unfinished files of killed downloads"] += 1

    def _strays(self, outcome: Outcome, strays: set[str]) -> None:
        """Files of other names: a bit of a request's path may have changed on its way, and nothing else may."""
        flipped = any(fault.kind == FLIP for fault in outcome.faults)
        for name in strays:
            if not flipped:
                self._violated(f"{name} has appeared")
            self._report.counts["stored under a damaged name"] += 1

    def _attempt(self, command: list[str], faults: tuple[Fault, ...]) -> Outcome:
        outcome = self._clients.attempt(command, faults)
        counts = self._report.counts
        for fault in outcome.faults:
            name = fault.kind
            if fault.kind == ACT:
                name = _KILL_CLIENT if fault.action == self._clients.kill_client else _KILL_SERVER
            counts[f"faults: {name}"] += 1
        if faults:
            ended = "killed" if outcome.killed else "succeeded" if outcome.succeeded else "failed, and said so"
            counts[f"disturbed transfers that {'were ' if outcome.killed else ''}{ended}"] += 1
        if not outcome.is_honest:
            what = "did not end" if outcome.hung else f"ended with {outcome.status}"
            self._violated(f"the client {what}: {outcome.output[-1500:]}")
        if faults:
            done = [f"{fault.kind} {fault.direction} at {fault.offset}" for fault in outcome.faults]
            self._label += f" [{', '.join(done)}]"
        return outcome

    def _violated(self, what: str) -> None:
        self._report.violations.append(f"{self._label}: {what}")

    # -- what happens ---------------------------------------------------------------------------------------------

    def _faults(self, way: str, size: int) -> tuple[Fault, ...]:
        """For a transfer of `size` bytes in the direction `way`."""
        chance = self._chance
        kinds = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
        kinds += chance.choices([DROP, TRUNCATE, STALL, DUPLICATE], k=chance.choices((0, 1, 2), (6, 3, 1))[0])
        if kinds[0] == "none":
            return ()
        return tuple(self._fault(kind, way, size) for kind in kinds)

    def _fault(self, kind: str, way: str, size: int) -> Fault:
        chance = self._chance
        direction = way if chance.random() < 0.85 else {UP: DOWN, DOWN: UP}[way]
        place = chance.random()
        if direction != way or place < 0.2:
            offset = chance.randrange(2 * _HEAD)
        elif place < 0.85:
            offset = chance.randrange(size + _HEAD)
        else:
            offset = max(0, size + chance.randrange(-2 * _HEAD, 2 * _HEAD))
        if kind in (_KILL_CLIENT, _KILL_SERVER):
            action = self._clients.kill_client if kind == _KILL_CLIENT else self._clients.kill_server
            return Fault(ACT, direction, offset, chance.choice((0.0, chance.uniform(0.0, 0.1))), action=action)
        if kind == STALL:
            return Fault(kind, direction, offset, chance.uniform(0.1, 1.5))
        return Fault(kind, direction, offset, count=chance.randint(1, 5000))

    # -- the end --------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Restart, with all unfinished uploads expired, and look for what is left."""
        self._label = "afterwards"
        server, state = self._server, self._server.state
        server.kill()
        self._report.counts["deaths of the server"] = self._clients.deaths
        self._report.counts["unfinished uploads that expired"] = inspection.age(state)
        server.spawn()
        server.wait_until_ready()
        inspection.wait_for_sweep(state)
        for name, content in self._contents.items():
            found = self._remote.read(f"{_COLLECTION}/{name}")
            if found != content:
                self._violated(f"{name} was {content}, and is {found}")
        # What the sweep has removed is forgotten at the next start.
        server.kill()
        server.spawn()
        server.wait_until_ready()
        server.end()
        for what in inspection.leftovers(state):
            self._violated(what)
        problem = inspection.check_by_command(self._home)
        if problem is not None:
            self._violated(f"algo local fsck: {problem}")
        log = server.log()
        if "Traceback" in log:
            self._violated(f"in the server's log: {log[log.index('Traceback') - 300 :][:2500]}")
