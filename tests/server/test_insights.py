"""Metrics of running algorithms."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hosted_site import Caller, Site

URL = "/v1/insights"


@pytest.fixture
def inside(site: Site, me: Caller) -> Caller:
    """An algorithm that runs for `me`."""
    return site.running(me)


def test_a_report_is_a_line_of_the_log(inside: Caller, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "algorithmia.insights"):
        answer = inside.post(URL, [{"insight_key": "cats", "insight_value": 3}])
    assert (answer.status, answer.json) == (200, {})
    (line,) = [record for record in caplog.records if record.name == "algorithmia.insights"]
    assert vars(line)["metrics"] == {"cats": 3} and vars(line)["algorithm_name"]


@pytest.mark.parametrize(
    "body, status, message",
    [
        ({"cats": 3}, 400, "insight_key"),
        ([{"insight_key": "request_id", "insight_value": 1}], 400, "reserved"),
        ([{"insight_key": f"k{number}", "insight_value": 1} for number in range(26)], 400, "at most 25"),
        ([{"insight_key": "k", "insight_value": "x" * 26000}], 413, "bytes"),
    ],
)
def test_bad_reports(inside: Caller, body: Any, status: int, message: str) -> None:
    answer = inside.post(URL, body)
    assert answer.status == status and message in answer.message


def test_only_algorithms_report(me: Caller) -> None:
    assert me.post(URL, [{"insight_key": "cats", "insight_value": 3}]).status == 403
