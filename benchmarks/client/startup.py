"""Processes: importing the SDK, `algo --help`, `algo run`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial

from benchmarks import harness
from benchmarks.client import echo_server, write_profile
from benchmarks.harness import AT_MOST, Case, Context, Figures, Target

_SECONDS = 40.0


def _net_import(python: str, module: str, environment: Mapping[str, str]) -> Callable[[], float]:
    """Measures what ``import module`` adds to the start of its interpreter."""

    def measure() -> float:
        bare = harness.run_timed([python, "-c", "pass"], environment)
        return harness.run_timed([python, "-c", f"import {module}"], environment) - bare

    return measure


def imports(context: Context) -> Figures:
    with context.directory() as home:
        plain, ours = harness.clean_environment(home), harness.our_environment(home)
        contenders = {
            "ours": _net_import(sys.executable, "Algorithmia", ours),
            "import requests": _net_import(context.peers.python("http"), "requests", plain),
            "old client": _net_import(context.peers.python("old"), "Algorithmia", plain),
            # What the first request adds to ours.
            "ours and urllib3": _net_import(sys.executable, "Algorithmia, urllib3", ours),
        }
        samples = harness.interleave(contenders, context.rounds(21), _SECONDS)
    return harness.figures(samples, "ms", "ours", "import requests", scale=1e3, note="net of the bare interpreter")


def help_text(context: Context) -> Figures:
    with context.directory() as home:
        plain, ours = harness.clean_environment(home), harness.our_environment(home)
        contenders = {
            "ours": partial(harness.run_timed, [*harness.our_algo(), "--help"], ours, "run"),
            "python -c pass": partial(harness.run_timed, [sys.executable, "-c", "pass"], ours),
            "old client": partial(
                harness.run_timed, [context.peers.command("old", "algo"), "--help"], plain, "run"
            ),
        }
        samples = harness.interleave(contenders, context.rounds(21), _SECONDS)
    return harness.figures(samples, "ms", "ours", "python -c pass", scale=1e3)


def run_echo(context: Context) -> Figures:
    arguments = ["run", "demo/Echo", "-d", "benchmark"]
    with context.directory() as home, echo_server(home) as address:
        write_profile(home, address)
        plain, ours = harness.clean_environment(home), harness.our_environment(home)
        contenders = {
            "ours": partial(harness.run_timed, [*harness.our_algo(), *arguments], ours, "benchmark"),
            "old client": partial(
                harness.run_timed, [context.peers.command("old", "algo"), *arguments], plain, "benchmark"
            ),
            "python -c pass": partial(harness.run_timed, [sys.executable, "-c", "pass"], ours),
        }
        samples = harness.interleave(contenders, context.rounds(21), _SECONDS)
    return harness.figures(samples, "ms", "ours", "old client", scale=1e3)


CASES = [
    Case("import", "import Algorithmia", Target(AT_MOST, 0.3), imports, ("http", "old")),
    Case("help", "algo --help", Target(AT_MOST, 3), help_text, ("old",)),
    Case("run", "algo run of an echo server", Target(AT_MOST, 0.75), run_echo, ("old",)),
]
