"""Workers that speak the documented protocol: requests on standard input, answers in a FIFO, readiness on standard
output. Any language can, with nothing but a JSON library.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import ExitStack

from .base import Call, CallFailure, Result
from .launch import Launch
from .output import CHUNK, DRAIN_READS
from .stdio_protocol import READY, ProtocolError, Value, parse_answer, request_line, too_large
from .worker import SLACK, Link, Worker

# Pieces of an answer that are read before others get their turn.
_READS = 4
# What a process that closed its input may take to end by itself, and so to say why.
_PATIENCE = 1.0


class StdioWorker(Worker):
    """See `Worker`."""

    def __init__(self, launch: Launch, on_end: Callable[[Worker], None]) -> None:
        super().__init__(launch, on_end)
        self._input_fd = -1
        self._unsent = memoryview(b"")
        self._answer_fd = -1
        self._received: list[bytes] = []
        self._size = 0
        self._value = Value()
        self._is_loading = True
        self._tail = b""
        self._asked_at = 0.0
        self._output.on_data = self._look_for_ready
        # Base64 is a third longer, and texts may be escaped.
        self._most = 2 * launch.max_result + SLACK

    @property
    def running_for(self) -> float:
        return self._duration() if self.session_key.identity is not None else 0.0

    async def call(self, call: Call, seconds: float) -> Result:
        """See `Worker.call`."""
        line = request_line(call.content_type, call.body)
        self._read_answer()  # what came too late, or twice, must not be taken for this call's
        pending = self._ask()
        self._begin()
        self._asked_at = self._loop.time()
        self._unsent = memoryview(line)
        self.session_key.identity = call.session
        try:
            self._send()
            reason = f"stopped at the call's timeout of {call.timeout:g} s"
            result: Result = await self._answer(pending, seconds, reason)
        finally:
            self.session_key.identity = None
        return result

    # -- Worker -------------------------------------------------------------------------------------------------

    def _open_link(self, for_us: ExitStack, for_it: ExitStack) -> Link:
        # A pipe, not a socket: some languages open /dev/stdin by name.
        theirs, ours = os.pipe()
        for_us.callback(os.close, ours)
        for_it.callback(os.close, theirs)
        os.set_blocking(ours, False)
        # Also for writing, which keeps it open when the process closes its end between answers.
        fifo = os.open(self.launch.fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        for_us.callback(os.close, fifo)
        self._input_fd, self._answer_fd = ours, fifo
        return Link(stdin=theirs)

    async def _load(self, timeout: float, reason: str) -> str:
        pending = self._ask()
        self._asked_at = self._loop.time()
        self._loop.add_reader(self._answer_fd, self._read_answer)
        await self._answer(pending, timeout, reason)
        self._is_loading = False
        printed = self._output.take()
        before, found, _ = printed.partition(READY.decode())
        return before[: before.rfind("\n") + 1].removesuffix("\n") if found else printed

    def _hang_up(self) -> bool:
        self._close_input()
        return True

    def _close_link(self) -> None:
        self._read_answer(DRAIN_READS)
        self._close_input()
        if self._answer_fd >= 0:
            self._loop.remove_reader(self._answer_fd)
            os.close(self._answer_fd)
            self._answer_fd = -1

    # -- getting ready ------------------------------------------------------------------------------------------

    def _look_for_ready(self, data: bytes) -> None:
        if self._is_loading and self._pending is not None and not self._pending.done():
            _, found, rest = (self._tail + data).partition(READY)
            if b"\n" in rest:  # the line's end too: it mustn't become the first call's output
                self._pending.set_result(None)
            self._tail = found or (self._tail + data)[-len(READY) :]

    # -- requests -----------------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Write what the pipe takes; the rest when it takes more."""
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self._input_fd, self._unsent[: 16 * CHUNK]) :]
        except BlockingIOError:
            self._loop.add_writer(self._input_fd, self._send)
            return
        except OSError:  # it doesn't read any more; perhaps it's ending
            self._loop.call_later(_PATIENCE, self._give_up)
        self._unsent = memoryview(b"")
        self._loop.remove_writer(self._input_fd)

    def _give_up(self) -> None:
        if self.is_alive:
            self._break("it closed its standard input")

    def _close_input(self) -> None:
        if self._input_fd >= 0:
            self._loop.remove_writer(self._input_fd)
            os.close(self._input_fd)
            self._input_fd = -1

    # -- answers ------------------------------------------------------------------------------------------------

    def _read_answer(self, reads: int = _READS) -> None:
        """Take up to `reads` pieces of the answer from the FIFO."""
        while reads and self._answer_fd >= 0:
            reads -= 1
            try:
                data = os.read(self._answer_fd, CHUNK)
            except OSError:
                return
            pending = self._pending
            if pending is None or pending.done():
                if data.strip():
                    self.kill()  # nobody asked
                    return
                continue
            self._size += len(data)
            if self._size > self._most:
                self.kill()
                message = too_large(self._size, self.launch.max_result)
                self._settle_failure(CallFailure(message, "TooLargeError", None, self._duration(), self._output.take()))
                return
            self._received.append(data)
            try:
                is_whole = self._value.feed(data)
            except ProtocolError as problem:
                self._break(str(problem))
                return
            if is_whole:
                self._on_answer(pending)

    def _on_answer(self, pending: asyncio.Future[Result]) -> None:
        data = b"".join(self._received)
        self._received, self._size, self._value = [], 0, Value()
        self._output.read(DRAIN_READS)
        duration, stdout = self._duration(), self._output.take()
        try:
            result = parse_answer(data, self.launch.max_result, duration, stdout)
        except CallFailure as failure:
            pending.set_exception(failure)
        except ProtocolError as problem:
            self._break(str(problem), stdout)
        else:
            if self._is_loading:
                self._break("it answered before it was asked", stdout)
            else:
                pending.set_result(result)
        if self._unsent:
            self.kill()  # it answered before it had read the request

    def _duration(self) -> float:
        return self._loop.time() - self._asked_at


