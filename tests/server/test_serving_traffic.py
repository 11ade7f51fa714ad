"""Small runs of the benchmarks that send many calls at once, and that kill workers and servers (benchmarks/serving)."""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_many_accounts_call_many_algorithms_at_once_and_nothing_is_left(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, ROOT])
    from benchmarks.serving import load

    report = load.run(accounts=4, algorithms=3, calls_each=6, seconds=0.0)
    assert not report.violations, str(report)
    assert report.counts["answered"] == 24


def test_whoever_is_killed_no_answer_is_wrong_and_no_async_call_lost(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, ROOT])
    from benchmarks.serving import chaos

    report = chaos.run(calls=200, seed=2)
    assert not report.violations, str(report)
    assert report.counts["workers killed"] and report.counts["servers killed"] == 1
    assert report.counts["answered"] and report.counts["async calls that ran"]
