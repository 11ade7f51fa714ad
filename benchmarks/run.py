"""Run benchmarks and print a table of ratios: ``python benchmarks/run.py [NAME ...] [--quick] [--json FILE]``.

``faults``, ``lifecycle-faults``, ``storm``, ``load``, ``cold``, ``chaos``, ``transfer-faults`` and ``million`` are no
ratios and run only when named: the first two kill the server ``--rounds`` times, the third sends 200 pushes,
publications and calls at once, ``load`` keeps 1,000 calls in flight, ``cold`` calls 200 algorithms that have no
process, ``chaos`` kills workers and the server during ``--calls`` calls, ``transfer-faults`` makes ``--rounds``
transfers over connections that break and damage, ``million`` lists and removes ``--files`` files of one collection; all
print counts. Each other case compares us with a reference in the same run. Exit status 0: all ran (targets met or not);
1: some failed to run; with --strict, also 1 for a missed target.
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
from benchmarks.lifecycle import cases as lifecycle  # noqa: E402
from benchmarks.lifecycle import faults as lifecycle_faults  # noqa: E402
from benchmarks.lifecycle import storm  # noqa: E402
from benchmarks.serving import cases as serving  # noqa: E402
from benchmarks.serving import chaos, cold, load  # noqa: E402
from benchmarks.transfer import cases as transfer  # noqa: E402
from benchmarks.transfer import faults as transfer_faults  # noqa: E402
from benchmarks.transfer import many  # noqa: E402

CASES = [*calls.CASES, *startup.CASES, *platforms.CASES, *lifecycle.CASES, *serving.CASES, *transfer.CASES]
TESTS = {
    "faults": lambda arguments: faults.run(5 if arguments.quick else arguments.rounds, arguments.seed),
    "lifecycle-faults": lambda arguments: lifecycle_faults.run(
        3 if arguments.quick else arguments.rounds, arguments.seed
    ),
    "storm": lambda arguments: storm.run(4, 24) if arguments.quick else storm.run(),
    "load": lambda arguments: load.run(4, 5, 25, 4.0) if arguments.quick else load.run(),
    "cold": lambda arguments: cold.run(10 if arguments.quick else 200),
    "chaos": lambda arguments: chaos.run(
        600 if arguments.quick else arguments.calls, arguments.seed, arguments.gateways
    ),
    "million": lambda arguments: many.run(20_000 if arguments.quick else arguments.files),
    "transfer-faults": lambda arguments: transfer_faults.run(
        10 if arguments.quick else arguments.rounds, arguments.seed, gateways=arguments.gateways
    ),
}


def main() -> int:
    arguments = parse()
    # Leave as by Ctrl-C: the processes that are being measured end with us.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    chosen = [case for case in CASES if not arguments.names or case.name in arguments.names]
    chosen += [case for case in serving.LARGE if arguments.all_peers or case.name in arguments.names]
    chosen += [case for case in transfer.HUGE if case.name in arguments.names]
    tests = [name for name in TESTS if name in arguments.names]
    for name in tests:
        report = TESTS[name](arguments)
        print(report)
        if report.violations:
            return 1
    if tests and not chosen:
        return 0
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
    left_out = [*(case.name for case in (*serving.LARGE, *transfer.HUGE)), *TESTS]
    names = [*(case.name for case in CASES), *left_out, *transfer.GROUPS]
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of: {', '.join(names)} (default: all but {', '.join(left_out)})"
    )
    parser.add_argument("--quick", action="store_true", help="only check that the benchmark works (a minute)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there as well")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument(
        "--all-peers", action="store_true", help="also measure the large ones: MLServer, BentoML, Ray Serve"
    )
    parser.add_argument("--calls", type=int, default=10000, help="calls of the test chaos (default: 10000)")
    parser.add_argument("--files", type=int, default=1_000_000, help="files of the test million (default: 1000000)")
    parser.add_argument("--gateways", type=int, default=0, help="gateways in chaos and transfer-faults (default: 0)")
    parser.add_argument("--rounds", type=int, default=200, help="kills, or transfers, per fault test (default: 200)")
    parser.add_argument("--seed", type=int, help="repeat the choices of an earlier run of a fault test")
    parser.add_argument(
        "--workdir",
        type=Path,
        default=peers.default_workdir(),
        help="where the references are installed (default: algorithmia-benchmarks below the user's cache directory)",
    )
    arguments = parser.parse_args()
    arguments.names = [each for name in arguments.names for each in transfer.GROUPS.get(name, [name])]
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
