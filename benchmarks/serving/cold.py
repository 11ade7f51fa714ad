"""Many algorithms that have no process yet, all called once at the same time: ``python benchmarks/run.py cold``."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks.report import Report
from benchmarks.server import Server

from .footprint import health, wait_for_no_worker
from .leftovers import processes_naming
from .traffic import Caller, make_algorithms

_SOURCE = "def apply(input):\n    return {name!r} + ' answers ' + input\n"


def run(algorithms: int = 200) -> Report:
    """Build so many algorithms, let their processes end, and call each once."""
    report = Report(f"cold: {algorithms} algorithms called at once")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="algorithmia-cold-") as place:
        # One account: it may have as many calls in flight as that.
        server = Server(Path(place), "--worker-idle-timeout", "2", "--max-concurrent-calls", str(algorithms))
        try:
            server.spawn()
            server.wait_until_ready()
            names = [f"Cold{number}" for number in range(algorithms)]
            references = make_algorithms(server, {name: _SOURCE.format(name=name) for name in names})
            wait_for_no_worker(server)
            asyncio.run(_call_all(server, references, report))
            report.counts["worker processes afterwards"] = health(server)["engine"]["workers"]
        finally:
            server.end()
        report.violations += [f"process {pid} outlived the server" for pid in processes_naming(place)]
    report.seconds = time.monotonic() - began
    return report


async def _call_all(server: Server, references: list[str], report: Report) -> None:
    began = time.monotonic()

    async def call(reference: str) -> None:
        async with Caller(server.port, server.key()) as caller:
            answer = await caller.call(reference, "x")
        if answer.status == 200 and answer.result == f"{reference.partition('/')[2]} answers x":
            report.counts["answered"] += 1
        else:
            report.violations.append(f"{reference}: {answer.status} {str(answer.document)[:300]}")

    await asyncio.gather(*map(call, references))
    report.remarks.append(f"the last answer came after {time.monotonic() - began:.1f} s")
