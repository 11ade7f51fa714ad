"""A thousand calls in flight, from many accounts over many algorithms: all answered, fairly, and nothing left behind.

``python benchmarks/run.py load``; tests call `run` with less.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.report import Report
from benchmarks.server import Server

from .footprint import wait_for_no_worker
from .leftovers import Inventory, left_for_good, processes_naming
from .traffic import Caller, make_accounts, make_algorithms

_SOURCE = "def apply(input):\n    return {name!r} + ' answers ' + input\n"
_FAIR = 0.2
_REST = 0.3


def run(
    accounts: int = 20, algorithms: int = 50, calls_each: int = 50, seconds: float = 120.0, seed: int = 1
) -> Report:
    """Keep `calls_each` calls of each account in flight for `seconds`, then let all of them end."""
    report = Report(f"load: {accounts * calls_each} calls in flight")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="algorithmia-load-") as name:
        place = Path(name)
        temporary = place / "tmp"
        temporary.mkdir()
        server = Server(place, "--worker-idle-timeout", "2", TMPDIR=str(temporary))
        try:
            server.spawn()
            server.wait_until_ready()
            names = [f"Load{number}" for number in range(algorithms)]
            references = make_algorithms(server, {name: _SOURCE.format(name=name) for name in names})
            keys = make_accounts(server, accounts)
            # All at once to a platform at rest. What so many calls open for good is there before anything is counted.
            asyncio.run(_traffic(server, keys, references, calls_each, 0.0, random.Random(seed), report))
            report.counts["answered of the first ones"] = report.counts.pop("answered")
            before = _at_rest(server, temporary)
            asyncio.run(_traffic(server, keys, references, calls_each, seconds, random.Random(seed), report))
            after = _at_rest(server, temporary)
            report.violations += left_for_good(lambda: Inventory.of(server, temporary).compared_with(before))
            report.counts["descriptors before"] = before.descriptors.total()
            report.counts["descriptors afterwards"] = after.descriptors.total()
            report.counts["processes afterwards"] = len(after.processes)
            report.counts["temporary files afterwards"] = len(after.files)
        finally:
            server.end()
        report.violations += left_for_good(
            lambda: [f"process {pid} outlived the server" for pid in processes_naming(str(place))]
        )
    report.seconds = time.monotonic() - began
    return report


def _at_rest(server: Server, temporary: Path) -> Inventory:
    wait_for_no_worker(server)
    time.sleep(_REST)  # removing directories and closing connections happens beside
    return Inventory.of(server, temporary)


async def _traffic(
    server: Server,
    keys: dict[str, str],
    references: list[str],
    calls_each: int,
    seconds: float,
    chance: random.Random,
    report: Report,
) -> None:
    """All callers ask again and again until `seconds` are over; shares count the answers until then."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    answered: Counter[str] = Counter(dict.fromkeys(keys, 0))
    latencies: list[float] = []

    async def ask(account: str, number: int, order: list[str]) -> None:
        async with Caller(server.port, keys[account]) as caller:
            turn = 0
            while True:
                reference = order[turn % len(order)]
                text = f"{account} {number} {turn}"
                turn += 1
                began = loop.time()
                try:
                    answer = await caller.call(reference, text)
                except (OSError, EOFError, TimeoutError) as problem:
                    report.violations.append(f"{reference} gave no answer: {type(problem).__name__} {problem}")
                    return
                expected = f"{reference.partition('/')[2]} answers {text}"
                if answer.status == 200 and answer.result == expected:
                    report.counts["answered"] += 1
                    latencies.append(loop.time() - began)
                    if loop.time() <= end:
                        answered[account] += 1
                elif answer.status == 429:
                    report.counts["refused with 429"] += 1
                    await asyncio.sleep(0.1)
                else:
                    report.violations.append(f"{reference} of {text!r}: {answer.status} {str(answer.document)[:300]}")
                if loop.time() >= end:
                    return

    tasks = []
    for number in range(calls_each):
        for account in keys:  # in turns: being the first to ask is no unfairness
            # Each begins with another algorithm.
            order = references[number % len(references) :] + references[: number % len(references)]
            rest = order[1:]
            chance.shuffle(rest)
            tasks.append(asyncio.create_task(ask(account, number, [order[0], *rest])))
    await asyncio.gather(*tasks)
    mean = sum(answered.values()) / len(answered)
    if seconds and mean:
        shares = {account: count / mean for account, count in answered.items()}
        report.remarks.append(f"shares of accounts: {min(shares.values()):.2f} to {max(shares.values()):.2f}")
        for account, share in shares.items():
            if abs(share - 1) > _FAIR:
                report.violations.append(f"{account} got {share:.2f} of a fair share ({answered[account]} answers)")
    if latencies:
        latencies.sort()
        for percent in (50, 99):
            milliseconds = latencies[min(len(latencies) - 1, len(latencies) * percent // 100)] * 1000
            report.counts[f"ms, percentile {percent}"] = round(milliseconds)
