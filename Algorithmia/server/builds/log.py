"""The log of one build: plain text in a file that can be read while it grows, of bounded size.

What build tools print is made harmless on its way in: terminal sequences and control characters go, of lines that a
progress bar wrote over only the last state stays, and secrets are masked: passwords that the build's environment holds,
and those of the algorithm, which it has while it loads.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import re
from collections.abc import Iterable
from pathlib import Path

# CSI and OSC sequences, other strings, then any other escape.
_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[PX^_][^\x1b]*(?:\x1b\\)?|\x1b[ -/]*[0-~]?"
)
# Controls but tab, and what reorders or splits lines for the eye.
_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_LONGEST_LINE = 8192
_PIECE = 65536
# Room for the reason of a failure, which is always the last line.
_RESERVE = 4096


class BuildLog:
    """The log at `path`; all methods are called on the event loop.

    limit   bytes that the build's output may take
    masked  texts never to be shown
    """

    def __init__(self, path: Path, limit: int, masked: Iterable[str] = ()) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = open(path, "wb", buffering=0, opener=_private)
        self._left = max(limit, 2 * _RESERVE) - _RESERVE
        self._limit = limit
        self._is_cut = False
        self._masked: tuple[str, ...] = ()
        self.mask(masked)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""
        self._changed = asyncio.Event()

    @property
    def changed(self) -> asyncio.Event:
        """Set when something was added after this was asked for."""
        return self._changed

    def mask(self, texts: Iterable[str]) -> None:
        """Never show `texts` from now on."""
        self._masked += tuple(text for text in texts if text)

    def masked(self, text: str) -> str:
        """`text` without what must not be shown."""
        for secret in self._masked:
            text = text.replace(secret, "***")
        return text

    def say(self, text: str) -> None:
        """Add a line (or lines) of the platform's own."""
        self._end_line()
        for line in text.splitlines() or [""]:
            self._add(line)

    def feed(self, output: bytes) -> None:
        """Add what a command printed."""
        text = self._line + self._decoder.decode(output).replace("\r\n", "\n")
        *lines, rest = text.split("\n")
        for line in lines:
            self._add(line)
        while len(rest) > _LONGEST_LINE:
            self._add(rest[:_LONGEST_LINE])
            rest = rest[_LONGEST_LINE:]
        self._line = rest

    def finish(self, text: str) -> None:
        """Add the last line, however much was printed before."""
        self._end_line()
        self._write(self._clean(" ".join(text.split()))[: _RESERVE - 512] + "\n")

    def close(self) -> None:
        """Bring the log to disk; blocks. Nothing can be added any more."""
        with self._file:
            os.fsync(self._file.fileno())

    def _end_line(self) -> None:
        rest = self._line + self._decoder.decode(b"", final=True)
        self._decoder.reset()
        self._line = ""
        if rest:
            self._add(rest)

    def _add(self, line: str) -> None:
        if self._is_cut:
            return
        data = self._clean(line) + "\n"
        self._left -= len(data.encode())
        if self._left < 0:
            self._is_cut = True
            data = f"[the log was cut here: it had reached the limit of {self._limit} bytes]\n"
        self._write(data)

    def _clean(self, line: str) -> str:
        line = line.rstrip("\r").rpartition("\r")[2]
        return self.masked(_CONTROLS.sub("", _SEQUENCES.sub("", line)))

    def _write(self, text: str) -> None:
        self._file.write(text.encode("utf-8", "replace"))
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def text_of(path: Path, most: int | None = None) -> str | None:
    """The log at `path` so far, or its last whole lines of `most` bytes; None if there is none; blocks."""
    try:
        with open(path, "rb") as handle:
            size = handle.seek(0, os.SEEK_END)
            is_cut = most is not None and size > most
            handle.seek(size - most if is_cut and most is not None else 0)
            data = handle.read()
    except OSError:
        return None
    return (data.partition(b"\n")[2] if is_cut else data).decode("utf-8", "replace")


def piece_of(path: Path, position: int) -> bytes:
    """What the log at `path` has from `position` on, or some of it; empty if there is nothing; blocks."""
    try:
        with open(path, "rb") as handle:
            handle.seek(position)
            return handle.read(_PIECE)
    except OSError:
        return b""
