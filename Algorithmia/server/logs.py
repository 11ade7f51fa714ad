"""The platform's log: JSON lines for machines, short lines for a person who runs it in a terminal.

Either way a line has the request's id and never a payload or a key.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from .settings import Settings

_LEVELS = ("debug", "info", "warning", "error")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _details(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller added to `record`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, and whatever the caller added."""

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_details(record),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


class TerminalFormatter(logging.Formatter):
    """``12:00:00 message name=value ...``; the level only when something is wrong."""

    def format(self, record: logging.LogRecord) -> str:
        parts = [time.strftime("%H:%M:%S", time.localtime(record.created))]
        if record.levelno >= logging.WARNING:
            parts.append(record.levelname)
        parts.append(record.getMessage())
        # As JSON, so that no value brings control characters to the terminal.
        parts += [f"{name}={json.dumps(value, default=str)}" for name, value in _details(record).items()]
        line = " ".join(parts)
        return line + "\n" + self.formatException(record.exc_info) if record.exc_info else line


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
