"""The platform's log: JSON lines for machines, short lines for a person who runs it in a terminal.

Either way a line has the request's id and never a payload or a key. One line per request, whatever else it takes, is
dear when the request itself takes a tenth of a millisecond: `RequestLog` writes those of a moment together.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from functools import lru_cache
from typing import Any

import msgspec

from .settings import Settings

_LEVELS = ("debug", "info", "warning", "error")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_MOMENT = 0.1
_encode = msgspec.json.Encoder(enc_hook=str).encode
_MOST_WAITING = 1000
_LINES = "formatted_entries"


def _details(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller added to `record`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class RequestLog:
    """Log lines of requests, with level info, written a moment later and together. For the event loop's thread."""

    def __init__(self) -> None:
        self._log = logging.getLogger("algorithmia.http")
        self._waiting: list[tuple[float, dict[str, Any]]] = []

    def add(self, details: dict[str, Any]) -> None:
        """One line: ``request`` with `details`."""
        if not self._waiting:
            if not self._log.isEnabledFor(logging.INFO):
                return
            asyncio.get_running_loop().call_later(_MOMENT, self.flush)
        self._waiting.append((time.time(), details))
        if len(self._waiting) >= _MOST_WAITING:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        entries, self._waiting = self._waiting, []
        if entries:
            record = self._log.makeRecord(self._log.name, logging.INFO, "", 0, "request", (), None)
            record.entries = entries
            self._log.handle(record)


@lru_cache(maxsize=2)
def _second(seconds: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode("ascii")


def _moment(created: float) -> bytes:
    seconds = int(created)
    return b"%b.%03dZ" % (_second(seconds), int((created - seconds) * 1000))


def _json_lines(record: logging.LogRecord, entries: list[tuple[float, dict[str, Any]]]) -> str:
    """As `JsonFormatter.format` for each entry, only faster. (A rotating file asks twice for each record.)"""
    known, text = getattr(record, _LINES, (None, ""))
    if known is not entries:
        head = {"level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        begin = b'",' + _encode(head)[1:-1] + b","
        lines = [b'{"time":"%b%b%b' % (_moment(created), begin, _encode(details)[1:]) for created, details in entries]
        text = b"\n".join(lines).decode()
        setattr(record, _LINES, (entries, text))
    return text


def _terminal_lines(record: logging.LogRecord, entries: list[tuple[float, dict[str, Any]]]) -> str:
    lines = []
    for created, details in entries:
        one = logging.makeLogRecord({**vars(record), "created": created, **details})
        for name in ("entries", _LINES):
            one.__dict__.pop(name, None)
        lines.append(_terminal_line(one))
    return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, and whatever the caller added."""

    def format(self, record: logging.LogRecord) -> str:
        if hasattr(record, "entries"):
            return _json_lines(record, record.entries)
        document: dict[str, Any] = {
            "time": _moment(record.created).decode("ascii"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_details(record),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str, separators=(",", ":"))


class TerminalFormatter(logging.Formatter):
    """``12:00:00 message name=value ...``; the level only when something is wrong."""

    def format(self, record: logging.LogRecord) -> str:
        if hasattr(record, "entries"):
            return _terminal_lines(record, record.entries)
        line = _terminal_line(record)
        return line + "\n" + self.formatException(record.exc_info) if record.exc_info else line


def _terminal_line(record: logging.LogRecord) -> str:
    parts = [time.strftime("%H:%M:%S", time.localtime(record.created))]
    if record.levelno >= logging.WARNING:
        parts.append(record.levelname)
    parts.append(record.getMessage())
    # As JSON, so that no value brings control characters to the terminal.
    parts += [f"{name}={json.dumps(value, default=str)}" for name, value in _details(record).items()]
    return " ".join(parts)


def set_up(settings: Settings) -> None:
    """Send the log where it belongs: a rotating file in the background, else standard error.

    Raises ValueError for a level that doesn't exist.
    """
    if settings.log_level not in _LEVELS:
        raise ValueError(f"--log-level {settings.log_level!r}: choose debug, info, warning or error")
    handler: logging.Handler = logging.StreamHandler()
    handler.setFormatter(TerminalFormatter() if sys.stderr.isatty() else JsonFormatter())
    if settings.background:
        from logging.handlers import RotatingFileHandler

        folder = settings.state / "logs"
        folder.mkdir(exist_ok=True, mode=0o700)
        handler = RotatingFileHandler(folder / "server.log", maxBytes=5_000_000, backupCount=3)
        handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("algorithmia").setLevel(settings.log_level.upper())
