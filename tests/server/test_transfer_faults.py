"""A few rounds of the benchmark that moves files over connections that break and damage (benchmarks/transfer)."""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_transfers_are_right_or_refused_whatever_happens_on_the_way(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, ROOT])
    from benchmarks.transfer import faults

    report = faults.run(rounds=12, seed=3, largest=40_000_000)
    assert not report.violations, str(report)
    assert sum(count for what, count in report.counts.items() if what.startswith("transfers: ")) == 12
    assert sum(count for what, count in report.counts.items() if what.startswith("faults: ")) >= 8
