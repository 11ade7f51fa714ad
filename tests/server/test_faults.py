"""A few rounds of the benchmark that kills the server while clients store and remove files (benchmarks/faults)."""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_killed_server_keeps_files_whole_and_leaks_nothing(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, ROOT])
    from benchmarks import faults

    report = faults.run(rounds=3, seed=2)
    assert not report.violations, str(report)
    assert report.counts["kills"] == 3
    assert report.counts["checked"]
