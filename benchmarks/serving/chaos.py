"""Calls while workers are killed with SIGKILL at random: no wrong answer, no process left without a parent.

``python benchmarks/run.py chaos --calls 10000``; tests call `run` with less.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
import time
from pathlib import Path

from benchmarks.embedded import memory
from benchmarks.report import Report
from benchmarks.server import Server

from .footprint import WORKER, wait_for_no_worker
from .leftovers import Inventory, processes_naming
from .traffic import Caller, make_accounts, make_algorithms

_QUICK = "def apply(input):\n    return {name!r} + ' answers ' + input\n"
_SLOW = "import time\ndef apply(input):\n    time.sleep(0.03)\n    return {name!r} + ' answers ' + input\n"
# Has a child of its own that hides from its parent.
_PARENT = (
    "import subprocess\n"
    "child = subprocess.Popen(['sleep', {mark!r}], start_new_session=True)\n"
    "def apply(input):\n    return {name!r} + ' answers ' + input\n"
)
_CALLERS = 16
_ACCOUNTS = 3
# What a caller may be told whose worker was killed, at work or while it loaded.
_KILLED = {"SystemExit", "LoadingError"}


def run(calls: int = 10000, seed: int | None = None) -> Report:
    """`calls` calls, with a worker killed several times a second."""
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    chance = random.Random(seed)
    report = Report(f"chaos: seed {seed}")
    began = time.monotonic()
    mark = f"86399.{os.getpid()}{seed}"
    with tempfile.TemporaryDirectory(prefix="algorithmia-chaos-") as name:
        place = Path(name)
        temporary = place / "tmp"
        temporary.mkdir()
        server = Server(place, "--worker-idle-timeout", "2", TMPDIR=str(temporary))
        try:
            server.spawn()
            server.wait_until_ready()
            sources = {"Quick": _QUICK, "Slow": _SLOW, "Parent": _PARENT}
            texts = {name: source.format(name=name, mark=mark) for name, source in sources.items()}
            references = make_algorithms(server, texts)
            keys = list(make_accounts(server, _ACCOUNTS).values())
            asyncio.run(_traffic(server, keys, references, 3 * _CALLERS, chance, None, Report("warm-up")))
            wait_for_no_worker(server)
            time.sleep(0.3)
            before = Inventory.of(server, temporary)
            asyncio.run(_traffic(server, keys, references, calls, chance, report, report))
            wait_for_no_worker(server)
            time.sleep(0.3)
            report.violations += Inventory.of(server, temporary).compared_with(before)
            report.violations += [f"process {pid} is an orphan" for pid in processes_naming(mark)]
        finally:
            server.end()
        report.violations += [f"process {pid} outlived the server" for pid in processes_naming(str(place))]
    report.seconds = time.monotonic() - began
    return report


async def _traffic(
    server: Server,
    keys: list[str],
    references: list[str],
    calls: int,
    chance: random.Random,
    kills: Report | None,
    report: Report,
) -> None:
    """`calls` calls by `_CALLERS` callers; workers are killed meanwhile if they are to be counted in `kills`."""
    numbers = iter(range(calls))

    async def ask(index: int) -> None:
        async with Caller(server.port, keys[index % len(keys)]) as caller:
            for number in numbers:
                reference = chance.choice(references)
                text = f"call {number}"
                try:
                    answer = await caller.call(reference, text)
                except (OSError, EOFError, TimeoutError) as problem:
                    report.violations.append(f"{reference} gave no answer: {type(problem).__name__} {problem}")
                    return
                _judge(reference, text, answer, report)
                if answer.status == 429 or answer.error:
                    await asyncio.sleep(0.05)

    killer = asyncio.create_task(_kill(server, chance, kills)) if kills is not None else None
    await asyncio.gather(*(ask(index) for index in range(_CALLERS)))
    if killer is not None:
        killer.cancel()
        await asyncio.gather(killer, return_exceptions=True)


def _judge(reference, text, answer, report) -> None:  # type: ignore[no-untyped-def]
    expected = f"{reference.partition('/')[2]} answers {text}"
    kind = answer.error.get("error_type", "")
    if answer.status == 200 and not answer.error:
        if answer.result == expected:
            report.counts["answered"] += 1
        else:
            report.violations.append(f"WRONG ANSWER of {reference} to {text!r}: {str(answer.document)[:300]}")
    elif answer.status == 200 and kind in _KILLED:
        report.counts[f"told of the kill ({kind})"] += 1
    elif answer.status == 429:
        report.counts["refused with 429"] += 1
    else:
        report.violations.append(f"{reference} of {text!r}: {answer.status} {str(answer.document)[:300]}")


async def _kill(server: Server, chance: random.Random, report: Report) -> None:
    """SIGKILL to one process of one worker, the sandbox's or the algorithm's, again and again."""
    while True:
        await asyncio.sleep(chance.uniform(0.0, 0.25))
        workers = [pid for pid in memory.tree(server.pid) if WORKER in memory.command_line(pid)]
        if not workers:
            continue
        victim = chance.choice(workers)
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            continue
        report.counts["kills"] += 1
