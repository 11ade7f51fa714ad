"""Calls while processes are killed with SIGKILL at random: workers several times a second, now and then a gateway if
there are any, or the server, which is started again on the same state. No wrong answer, no acknowledged async call that
doesn't run, nothing left.

Gateways are lent workers for calls that come thick and fast: with gateways, some of the quick calls are the first of
many.

``python benchmarks/run.py chaos --calls 10000``; tests call `run` with less.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import random
import signal
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

import Algorithmia
from benchmarks.embedded import memory
from benchmarks.report import Report
from benchmarks.server import Server

from .footprint import WORKER, health, wait_for_no_worker
from .leftovers import Inventory, control_groups, described, gateways, left_for_good, processes_naming, sockets
from .traffic import Answer, Caller, make_accounts, make_algorithms

_ANSWER = "def apply(input):\n    return {name!r} + ' answers ' + input\n"
_SOURCES = {
    "Quick": _ANSWER,
    "Slow": "import time\ndef apply(input):\n    time.sleep(0.03)\n    return {name!r} + ' answers ' + input\n",
    # Has a child of its own that hides from its parent.
    "Parent": f"import subprocess\nchild = subprocess.Popen(['sleep', {{mark!r}}], start_new_session=True)\n{_ANSWER}",
    # Called with output=void: what it writes shows that it ran.
    "Later": (
        "import Algorithmia, uuid\n"
        "def apply(input):\n"
        "    Algorithmia.client().file('data://.my/marks/%s.%s' % (input, uuid.uuid4().hex)).put('ran')\n"
    ),
}
_CALLERS = 16
_ACCOUNTS = 3
_CALLS_PER_SERVER = 400  # on average, before it is killed
_LATER = 0.3  # of the calls are async
_PATIENCE = 120.0
_GATEWAY_KILLS = 0.1  # of the kills
_IN_A_ROW = 60  # at most, of the quick calls that follow each other with gateways
_GATEWAY_GONE = 1.0  # so long after its death a caller may yet be given to it
# What a caller may be told whose worker was killed, at work or while it loaded, or before it had a network.
_KILLED, _NO_NETWORK = {"SystemExit", "LoadingError"}, "could not be given a network"


def run(calls: int = 10000, seed: int | None = None, gateway_processes: int = 0) -> Report:
    """`calls` calls, with a worker killed several times a second, and the server for every few hundred of them."""
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    report = Report(f"chaos: seed {seed}")
    began = time.monotonic()
    mark = f"86399.{os.getpid()}{seed}"
    with tempfile.TemporaryDirectory(prefix="algorithmia-chaos-") as name:
        place = Path(name)
        temporary = place / "tmp"
        temporary.mkdir()
        flags = ("--worker-idle-timeout", "2", "--gateways", str(gateway_processes))
        server = Server(place, *flags, TMPDIR=str(temporary))
        try:
            server.spawn()
            server.wait_until_ready()
            texts = {name: source.format(name=name, mark=mark) for name, source in _SOURCES.items()}
            references = make_algorithms(server, texts)
            keys = make_accounts(server, _ACCOUNTS)
            for key in keys.values():
                Algorithmia.Client(key, server.address).dir("data://.my/marks").create()
            warm_up = _Chaos(server, keys, references, random.Random(seed), Report("warm-up"))
            asyncio.run(warm_up.traffic(3 * _CALLERS, 0))
            wait_for_no_worker(server)
            time.sleep(0.3)
            before = Inventory.of(server, temporary)
            chaos = _Chaos(server, keys, references, random.Random(seed), report)
            asyncio.run(chaos.traffic(calls, max(1, calls // _CALLS_PER_SERVER)))
            chaos.check_async_calls()
            wait_for_no_worker(server)
            report.violations += left_for_good(lambda: Inventory.of(server, temporary).compared_with(before))
            if report.violations:
                report.remarks += sockets(server.pid)
            report.violations += left_for_good(lambda: [f"an orphan: {described(p)}" for p in processes_naming(mark)])
            report.violations += left_for_good(
                lambda: [f"control group left: {path}" for path in control_groups(chaos.servers)]
            )
        finally:
            server.end()
        report.violations += left_for_good(
            lambda: [f"outlived the server: {described(pid)}" for pid in processes_naming(str(place))]
        )
    report.seconds = time.monotonic() - began
    return report


class _Chaos:
    """Callers, and those who kill.

    keys     of the accounts that call, by their names
    servers  process ids of all servers so far
    """

    def __init__(
        self, server: Server, keys: dict[str, str], references: list[str], chance: random.Random, report: Report
    ) -> None:
        self._server = server
        self._keys = keys
        self._references = references
        self._chance = chance
        self._report = report
        self._up = asyncio.Event()
        self._up.set()
        self._has_gateways = bool(gateways(server))
        self._deaths = 0  # of servers and gateways
        self._gateway_died = 0.0
        self._acknowledged: dict[str, tuple[str, str]] = {}  # request id -> account and token
        self._errors: dict[str, tuple[str, str]] = {}  # what the lists of errors have told: request id -> type, words
        self.servers = [server.pid]

    async def traffic(self, calls: int, deaths: int) -> None:
        """`calls` calls by `_CALLERS` callers; while these are made, the server dies `deaths` times, if any."""
        numbers = iter(range(calls))
        fatal = set(self._chance.sample(range(calls // 10, calls), deaths))
        work = [self._kill_workers(), self._read_errors()] if deaths else []
        work += [self._count_loans()] if deaths and self._has_gateways else []
        others = [asyncio.create_task(one) for one in work]
        try:
            await asyncio.gather(*(self._ask(index, numbers, fatal) for index in range(_CALLERS)))
        finally:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    async def _ask(self, index: int, numbers, fatal: set[int]) -> None:  # type: ignore[no-untyped-def]
        account, key = list(self._keys.items())[index % len(self._keys)]
        async with Caller(self._server.port, key) as caller:
            connected_to = 0
            for number in numbers:
                if number in fatal:
                    await self._kill_server()
                await self._up.wait()
                is_later = self._chance.random() < _LATER
                reference = self._references[-1 if is_later else self._chance.randrange(len(self._references) - 1)]
                texts = [f"call{number}"]
                if self._has_gateways and reference == self._references[0]:
                    texts += [f"call{number}.{again}" for again in range(self._chance.randrange(_IN_A_ROW))]
                deaths = self._deaths
                if deaths != connected_to:
                    await caller.close()
                    connected_to = deaths
                for text in texts:
                    try:
                        answer = await caller.call(reference + ("?output=void" if is_later else ""), text)
                    except (OSError, EOFError, TimeoutError) as problem:
                        if deaths == self._deaths and time.monotonic() > self._gateway_died + _GATEWAY_GONE:
                            what = f"{reference} gave no answer: {type(problem).__name__} {problem}"
                            self._report.violations.append(what)
                            return
                        self._report.counts["calls that a server's or gateway's death left without an answer"] += 1
                        connected_to = -1
                        break
                    if is_later and answer.status == 200:
                        self._report.counts["async calls acknowledged"] += 1
                        self._acknowledged[answer.document["request_id"]] = (account, text)
                    else:
                        _judge(reference, text, answer, self._report)
                    if answer.status == 429 or answer.error:
                        await asyncio.sleep(0.05)

    async def _count_loans(self) -> None:
        """See how many workers are lent, again and again."""
        while True:
            await self._up.wait()
            with contextlib.suppress(OSError, http.client.HTTPException):
                engine = (await asyncio.to_thread(health, self._server))["engine"]
                self._report.counts["workers seen lent"] += engine["lent"]
            await asyncio.sleep(0.1)

    # -- killing -----------------------------------------------------------------------------------------------------

    async def _kill_workers(self) -> None:
        """SIGKILL to one process of one worker, the sandbox's or the algorithm's, again and again."""
        while True:
            await asyncio.sleep(self._chance.uniform(0.0, 0.4))
            await self._up.wait()
            doors = gateways(self._server)
            if doors and self._chance.random() < _GATEWAY_KILLS:
                self._deaths += 1
                self._gateway_died = time.monotonic()
                os.kill(self._chance.choice(doors), signal.SIGKILL)
                self._report.counts["gateways killed"] += 1
                continue
            workers = [pid for pid in memory.tree(self._server.pid) if WORKER in memory.command_line(pid)]
            if workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._chance.choice(workers), signal.SIGKILL)
                    self._report.counts["workers killed"] += 1

    async def _kill_server(self) -> None:
        """SIGKILL to the server; what it had started must end by itself. Then start it again."""
        if not self._up.is_set():
            return
        self._up.clear()
        self._deaths += 1
        family = {pid: _began(pid) for pid in memory.tree(self._server.pid)}
        await asyncio.to_thread(self._server.kill)
        self._report.counts["servers killed"] += 1
        deadline = time.monotonic() + 10
        while left := [pid for pid, began in family.items() if began and _began(pid) == began]:
            if time.monotonic() > deadline:
                for pid in left:
                    self._report.violations.append(f"outlived a killed server: {described(pid)}")
                    self._report.violations += [f"below {pid}: {described(child)}" for child in memory.tree(pid)[1:]]
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                break
            await asyncio.sleep(0.02)
        self._server.spawn()
        await asyncio.to_thread(self._server.wait_until_ready)
        self.servers.append(self._server.pid)
        self._up.set()

    # -- async calls -------------------------------------------------------------------------------------------------

    async def _read_errors(self) -> None:
        """Read the lists of errors, which hold the newest only, again and again."""
        while True:
            await self._up.wait()
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._note_errors)
            await asyncio.sleep(1.0)

    def _note_errors(self) -> None:
        for name, key in self._keys.items():
            request = urllib.request.Request(
                f"{self._server.address}/v1/users/{name}/errors", headers={"Authorization": f"Simple {key}"}
            )
            with urllib.request.urlopen(request, timeout=60) as response:
                for entry in json.load(response):
                    self._errors[entry["request_id"]] = entry["error_type"], entry["error"]

    def check_async_calls(self) -> None:
        """Wait for all to end. Each must have run once acknowledged, or its error says that its worker was killed."""
        deadline = time.monotonic() + _PATIENCE
        while pending := health(self._server)["async_calls"]["pending"]:
            if time.monotonic() > deadline:
                self._report.violations.append(f"{pending} async calls don't end")
                break
            time.sleep(0.05)
        self._note_errors()
        runs: Counter[tuple[str, str]] = Counter()
        for name, key in self._keys.items():
            marks = Algorithmia.Client(key, self._server.address).dir("data://.my/marks").files()
            runs.update((name, file.getName().partition(".")[0]) for file in marks)
        counts = self._report.counts
        for request_id, call in self._acknowledged.items():
            kind, words = self._errors.get(request_id, ("", ""))
            if runs[call]:
                counts["async calls that ran"] += 1
                counts["async calls that ran more than once"] += runs[call] > 1
            elif kind in _KILLED or _NO_NETWORK in words:
                counts["async calls whose worker was killed"] += 1
            else:
                self._report.violations.append(f"LOST: async call {call}, acknowledged as {request_id}: {words[:300]}")


def _judge(reference: str, text: str, answer: Answer, report: Report) -> None:
    expected = f"{reference.partition('/')[2]} answers {text}"
    kind = answer.error.get("error_type", "")
    if answer.status == 200 and not answer.error:
        if answer.result == expected:
            report.counts["answered"] += 1
        else:
            report.violations.append(f"WRONG ANSWER of {reference} to {text!r}: {str(answer.document)[:300]}")
    elif answer.status == 200 and (kind in _KILLED or _NO_NETWORK in answer.error.get("message", "")):
        report.counts[f"told of the kill ({kind})"] += 1
    elif answer.status == 429:
        report.counts["refused with 429"] += 1
    else:
        report.violations.append(f"{reference} of {text!r}: {answer.status} {str(answer.document)[:300]}")


def _began(pid: int) -> str:
    """When the process `pid` began, since ids are used again; "" if it is gone, or dead and only not yet buried."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
