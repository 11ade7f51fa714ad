"""The two forms of the log."""

from __future__ import annotations

import json
import logging
import sys

from Algorithmia.server.logs import JsonFormatter, TerminalFormatter


def record(level: int = logging.INFO, **details: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "algorithmia.http", "msg": "request", "levelno": level, **details})
    made.levelname = logging.getLevelName(level)
    return made


def test_json_lines() -> None:
    line = json.loads(JsonFormatter().format(record(status=200, path="/v1")))
    assert line["message"] == "request" and line["level"] == "info" and line["time"].endswith("Z")
    assert (line["status"], line["path"]) == (200, "/v1")


def test_lines_for_a_person() -> None:
    line = TerminalFormatter().format(record(status=200, path="/v1/\x1b[31m"))
    assert line[8:] == ' request status=200 path="/v1/\\u001b[31m"'
    assert " WARNING request" in TerminalFormatter().format(record(logging.WARNING))


def test_lines_of_requests_are_written_together() -> None:
    together = record()
    for formatter in (JsonFormatter(), TerminalFormatter()):
        together.entries = [(1.5, {"path": f"/{number}"}) for number in range(2)]
        text = formatter.format(together)
        first, second = text.splitlines()
        assert "/0" in first and "/1" in second and "request" in second and "created" not in second
        assert formatter.format(together) == text  # a rotating file formats twice: once to learn the size
    together.entries = [(1.5, {"path": "/x"})]
    assert json.loads(JsonFormatter().format(together))["time"] == "1970-01-01T00:00:01.500Z"


def test_exceptions_are_shown() -> None:
    try:
        raise KeyError("gone")
    except KeyError:
        failed = record(logging.ERROR, exc_info=sys.exc_info())
    assert "KeyError: 'gone'" in TerminalFormatter().format(failed)
    assert "KeyError: 'gone'" in json.loads(JsonFormatter().format(failed))["exception"]
