"""Run benchmarks and print a table of ratios: ``python benchmarks/run.py [NAME ...] [--quick] [--json FILE]``.

``faults`` is not a ratio and runs only when named: it kills the server ``--rounds`` times and prints counts. Each other
case compares us with a reference in the same run. Exit status 0: all ran (targets met or not); 1: some failed to
run; with --strict, also 1 for a missed target.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

# The checkout instead of this directory, whose names are nobody's to import.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks import faults, harness, peers  # noqa: E402
from benchmarks.client import calls, startup  # noqa: E402
from benchmarks.embedded import platforms  # noqa: E402

CASES = [*calls.CASES, *startup.CASES, *platforms.CASES]


def main() -> int:
    arguments = parse()
    # Leave as by Ctrl-C: the processes that are being measured end with us.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    chosen = [case for case in CASES if not arguments.names or case.name in arguments.names]
    if "faults" in arguments.names:
        report = faults.run(5 if arguments.quick else arguments.rounds, arguments.seed)
        print(report)
        if report.violations or arguments.names == ["faults"]:
            return 1 if report.violations else 0
    environments = peers.Peers(arguments.workdir)
    needed = sorted({name for case in chosen for name in case.peers})
    for name in needed:
        environments.prepare(name)
    rows, documents, failed = [], [], False
    with tempfile.TemporaryDirectory(prefix="algorithmia-benchmark-") as scratch:
        context = harness.Context(environments, arguments.quick, Path(scratch))
        for case in chosen:
            started = time.monotonic()
            try:
                result, problem = case.measure(context), ""
            except Exception as error:
                traceback.print_exc()
                result, problem, failed = None, f"{type(error).__name__}: {error}".splitlines()[0], True
            rows.append((case, result, problem))
            documents.append(document(case, result, problem))
            print(f"{case.name}: {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
    facts = machine()
    versions = {name: version for place in needed for name, version in environments.versions(place).items()}
    facts["peers"] = versions
    print(harness.table(rows))
    print(
        f"\n{facts['cores']} cores, load {facts['load']}, Python {facts['python']}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
    )
    if arguments.quick:
        print("--quick shows that the benchmark works; its figures mean nothing")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": facts, "cases": documents}, indent=2) + "\n")
    missed = any(not entry["ok"] for entry in documents)
    return 1 if failed or (arguments.strict and missed) else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*(case.name for case in CASES), "faults"]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(names)} (default: all but faults)")
    parser.add_argument("--quick", action="store_true", help="only check that the benchmark works (a minute)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there as well")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--rounds", type=int, default=200, help="how often faults kills the server (default: 200)")
    parser.add_argument("--seed", type=int, help="repeat the choices of an earlier run of faults")
    parser.add_argument(
        "--workdir",
        type=Path,
        default=peers.default_workdir(),
        help="where the references are installed (default: algorithmia-benchmarks below the user's cache directory)",
    )
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(names)
    if unknown:
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    return arguments


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def document(case: harness.Case, result: harness.Figures | None, problem: str) -> dict[str, object]:
    if result is None:
        return {"name": case.name, "problem": problem, "ok": False}
    return {
        "name": case.name,
        "what": case.what,
        "unit": result.unit,
        "ours": result.ours,
        "reference": result.reference,
        "reference_name": result.reference_name,
        "ratio": result.ratio,
        "target": str(case.target),
        "ok": case.target.met_by(result.ours, result.ratio),
        "also": result.also,
        "rounds": result.rounds,
        "spread": result.spread,
        "note": result.note,
    }


if __name__ == "__main__":
    sys.exit(main())
