"""What a warm platform occupies, what one more worker costs, and how long the first call of an algorithm takes."""

from __future__ import annotations

import http.client
import json
import sys
import time

from benchmarks import harness
from benchmarks.embedded import memory
from benchmarks.harness import AT_MOST, Case, Context, Figures, Target
from benchmarks.lifecycle.project import Project
from benchmarks.server import Server

from . import contenders
from .leftovers import started_by

WORKER = "runner.py"  # in the command lines of our worker processes, and of the sandbox around them
_SECONDS = 60.0
_PATIENCE = 30.0


def tree_memory(context: Context) -> Figures:
    """The proportional memory of all processes after a call and a second of rest."""

    def of(start: contenders.Start) -> float:
        with start(context) as contender:
            time.sleep(1.0)
            return sum(map(memory.proportional_set_size, memory.tree(contender.pid))) / memory.MIB

    ways = {"ours": lambda: of(contenders.ours), "LitServe": lambda: of(contenders.litserve)}
    samples = harness.interleave(ways, context.rounds(5), _SECONDS)
    return harness.figures(samples, "MiB", "ours", "LitServe", note="the whole tree, with one warm worker")


def worker_memory(context: Context) -> Figures:
    """What nobody else would have the use of if the worker were gone, its sandbox's process included."""

    def ours() -> float:
        with contenders.ours(context) as contender:
            time.sleep(1.0)
            workers = [pid for pid in memory.tree(contender.pid) if WORKER in memory.command_line(pid)]
            if not workers:
                raise RuntimeError("there is no warm worker")
            return sum(map(memory.private_size, workers)) / memory.MIB

    def bare() -> float:
        with context.directory() as home:
            command = [sys.executable, "-c", "print('ready', flush=True); input()"]
            environment = harness.clean_environment(home)
            with harness.process(command, environment, stdin=-1, stdout=-1) as child:
                harness.first_line(child)
                return memory.private_size(child.pid) / memory.MIB

    samples = harness.interleave({"ours": ours, "bare Python": bare}, context.rounds(5), _SECONDS)
    return harness.figures(samples, "MiB", "ours", "bare Python", note="private memory of an idle worker")


def cold_start(context: Context) -> Figures:
    """The first call of a built algorithm while it has no process; the reference is starting Python."""
    with context.directory() as place:
        server = Server(place, "--worker-idle-timeout", "0.2")
        try:
            server.spawn()
            server.wait_until_ready()
            project = Project(place, server.address, server.key(), "Cold")
            project.create()
            commit = project.change("awake")
            project.push()
            project.call(commit)

            def ours() -> float:
                wait_for_no_worker(server)
                began = time.perf_counter()
                answer = project.call(commit)
                seconds = time.perf_counter() - began
                assert answer == "awake"
                return seconds

            def warm() -> float:
                project.call(commit)
                began = time.perf_counter()
                project.call(commit)
                return time.perf_counter() - began

            def bare() -> float:
                return harness.run_timed([sys.executable, "-c", "pass"], harness.clean_environment(place))

            ways = {"ours": ours, "python -c pass": bare, "warm": warm}
            samples = harness.interleave(ways, context.rounds(15), _SECONDS)
        finally:
            server.end()
    return harness.figures(samples, "ms", "ours", "python -c pass", scale=1000)


def wait_for_no_worker(server: Server) -> None:
    """Until no process of an algorithm runs. Raises TimeoutError."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        state = health(server)["engine"]
        left = started_by(server)
        if not state["workers"] and not state["starting"] and not left:
            return
        if time.monotonic() > deadline:
            names = [memory.command_line(pid)[:200] for pid in left]
            raise TimeoutError(f"workers are left: {state}, {names}")
        time.sleep(0.02)


def health(server: Server) -> dict:
    """What ``GET /health`` says."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_PATIENCE)
    try:
        connection.request("GET", "/health")
        return dict(json.loads(connection.getresponse().read()))
    finally:
        connection.close()


CASES = [
    Case("serving-memory", "memory with one warm worker", Target(AT_MOST, 100, "MiB"), tree_memory, ("litserve",)),
    Case("serving-worker", "memory of an idle worker", Target(AT_MOST, 15, "MiB"), worker_memory),
    Case("serving-cold", "first call of a built algorithm", Target(AT_MOST, 150, "ms"), cold_start),
]
