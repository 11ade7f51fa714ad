"""The other end of a runner's protocol: one request line into its standard input, one JSON value out of a FIFO."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READY = "PIPE_INIT_COMPLETE"
_PATIENCE = 120  # seconds after which something that never comes is a failure


@dataclass
class Outcome:
    """How one call ended: `value` (bytes if binary) or `error` (message, error_type, stacktrace); what it printed."""

    content_type: str = ""
    value: Any = None
    error: dict[str, Any] | None = None
    stdout: str = ""

    def result(self) -> tuple[str, Any]:
        """``(content type, value)`` of a call that must have ended well."""
        assert self.error is None, self.error
        return self.content_type, self.value

    def failure(self) -> dict[str, Any]:
        """The error of a call that must have failed."""
        assert self.error is not None, (self.content_type, self.value)
        return self.error


class Ended(Exception):
    """The runner's process ended; `status` is its exit status."""

    def __init__(self, status: int, output: str) -> None:
        super().__init__(f"the runner ended with status {status}: {output}")
        self.status, self.output = status, output


class Conversation:
    """A runner's process: `started` is what it printed before it was ready."""

    def __init__(self, command: tuple[str, ...], cwd: Path, environment: Mapping[str, str], scratch: Path) -> None:
        self._fifo = str(scratch / f"algoout-{uuid.uuid4().hex}")
        os.mkfifo(self._fifo, 0o600)
        # Open for both, so that neither side waits for the other to open, and a writer that closes ends nothing.
        self._answers = os.open(self._fifo, os.O_RDWR | os.O_NONBLOCK)
        self._answered = b""
        self._printed = b""
        self._closed = False
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(scratch),
                "TMPDIR": str(scratch),
                "LANG": "C.UTF-8",
                "ALGORITHMIA_OUTPUT_FIFO": self._fifo,
                **environment,
            },
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._requests, self._output = self.process.stdin, self.process.stdout.fileno()
        os.set_blocking(self._output, False)
        self.started = self._until_ready()

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def ask(self, content_type: str, value: Any) -> Outcome:
        """Make one call with `value` (bytes for binary)."""
        if content_type == "binary":
            value = base64.b64encode(value).decode("ascii")
        request = {"content_type": content_type, "data": value}
        return self.send(json.dumps(request, separators=(",", ":"), ensure_ascii=False).encode("utf-8") + b"\n")

    def send(self, line: bytes) -> Outcome:
        """Send a line as it is; what was answered, and what had been printed by then."""
        self._printed = b""
        self._requests.write(line)
        self._requests.flush()
        answer = self._answer()
        # It wrote the answer after what it printed, so that is in the pipe by now.
        self._collect(0)
        printed = self._printed.decode("utf-8", "replace")
        if "error" in answer:
            return Outcome(error=answer["error"], stdout=printed)
        content_type, value = answer["metadata"]["content_type"], answer["result"]
        if content_type == "binary":
            value = base64.b64decode(value)
        return Outcome(content_type, value, stdout=printed)

    def close(self) -> int:
        """Close its standard input and wait; its exit status."""
        if not self._closed:
            self._closed = True
            try:
                self._requests.close()
            except BrokenPipeError:
                pass
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            os.close(self._answers)
            os.unlink(self._fifo)
        return self.process.returncode

    def _until_ready(self) -> list[str]:
        deadline = time.monotonic() + _PATIENCE
        while True:
            is_open = self._collect(1)
            lines = self._printed.decode("utf-8", "replace").split("\n")
            for number, line in enumerate(lines[:-1]):
                if READY in line:
                    return lines[:number]
            if not is_open or time.monotonic() > deadline:
                raise Ended(self.close(), "\n".join(lines))

    def _answer(self) -> Any:
        deadline = time.monotonic() + _PATIENCE
        while True:
            is_open = self._collect(1)
            if self._answered:
                try:
                    text = self._answered.decode("utf-8").lstrip()
                    answer, end = json.JSONDecoder().raw_decode(text)
                except ValueError:
                    pass
                else:
                    assert not text[end:].strip(), "more than one answer: " + text[:500]
                    self._answered = b""
                    return answer
            if not is_open:
                raise Ended(self.process.wait(10), self._printed.decode("utf-8", "replace"))
            assert time.monotonic() < deadline, ("no answer", self._printed, self._answered[:500])

    def _collect(self, seconds: float) -> bool:
        """Take in what there is of answers and output, waiting for some; False once the process has closed its
        output."""
        ready = select.select([self._answers, self._output], [], [], seconds)[0]
        if self._answers in ready:
            self._answered += _read_all(self._answers)[0]
        if self._output in ready:
            printed, is_open = _read_all(self._output)
            self._printed += printed
            return is_open
        return True


def _read_all(descriptor: int) -> tuple[bytes, bool]:
    """What can be read without waiting; whether more may come."""
    found = []
    while True:
        try:
            chunk = os.read(descriptor, 1 << 20)
        except BlockingIOError:
            return b"".join(found), True
        if not chunk:
            return b"".join(found), False
        found.append(chunk)
