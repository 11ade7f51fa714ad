"""One worker process, seen from the server: start, handshake, one call at a time, captured output, certain end.

Nothing here blocks the loop: the process is started with vfork, its end is noticed through a pidfd, and its output is
read in bounded pieces between other events.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from . import protocol
from .base import CallFailure, ContentType, InvalidInput, Result
from .launch import Launch
from .protocol import HEADER

log = logging.getLogger("algorithmia.engine")

TIMED_OUT = "Failed to run algorithm - may have timed-out or hit out-of-memory error"

_CHUNK = 65536
# More than a pipe holds: what a call printed before its answer is then read before the call ends.
_DRAIN_READS = 20
_GRACE = 3.0
# Error messages and traces come on top of the largest result.
_SLACK = 8 * 1024 * 1024
# How long the socket's last bytes may take to arrive once the process has ended.
_LAST_BYTES = 0.2


class _Failure(msgspec.Struct):
    """The error members that a worker sends."""

    message: str
    error_type: str = "AlgorithmError"
    stacktrace: str | None = None


_decode_failure = msgspec.json.Decoder(_Failure).decode


class Worker(asyncio.Protocol):
    """One process. Make it, `start` it, `call` it as often as you like but once at a time, then `retire` or `kill` it.

    on_end  called once, when the process has ended and everything of it is gone
    """

    def __init__(self, launch: Launch, on_end: Callable[[Worker], None]) -> None:
        self.launch = launch
        self.is_alive = False
        self.idle_since = 0.0
        self.generation = 0
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._transport: asyncio.WriteTransport | None = None
        self._pending: asyncio.Future[Any] | None = None
        self._number = 0
        self._buffer = bytearray()
        self._output_fd = -1
        self._output: list[bytes] = []
        self._kept = 0
        self._printed = 0
        self._is_connected = False
        self._is_finished = False
        self.ended: asyncio.Future[None] = self._loop.create_future()

    async def start(self, timeout: float) -> str:
        """Start the process and wait until its algorithm has loaded, at most `timeout` seconds; what it printed.

        Raises CallFailure (LoadingError) if that fails; the process is then gone or going. Cancelling kills it.
        """
        try:
            ours, reading = self._spawn()
        except OSError as problem:
            self._remove_directory()
            self._finish_unstarted()
            raise CallFailure(f"can't start the algorithm's process: {problem}", "SystemError") from None
        self.is_alive = True
        self._output_fd = reading
        os.set_blocking(reading, False)
        self._loop.add_reader(reading, self._read_output)
        self._watch_exit()
        try:
            await self._loop.create_unix_connection(lambda: self, sock=ours)
            await self._ask(b"", None, timeout, f"loading took longer than {timeout:g} s")
        except asyncio.CancelledError:
            self.kill()
            raise
        except CallFailure as failure:
            self.kill()
            if failure.error_type == "SystemError":
                raise
            message = failure.message
            if failure.error_type == "SystemExit":
                message += " while loading"
            raise CallFailure(message, "LoadingError", failure.stacktrace, 0.0, failure.stdout) from None
        output = self._take_output()
        if output:
            log.debug("output of load", extra={"project": str(self.launch.project), "output": output[:2000]})
        return output

    async def call(self, content_type: ContentType, body: bytes, seconds: float, timeout: float) -> Result:
        """Run one call, at most `seconds` from now; `timeout` is what the caller asked for, to be told.

        Raises CallFailure or InvalidInput. Cancelling, or running out of time, kills the process.
        """
        self._read_output()
        stray = self._take_output()
        if stray:
            log.debug("output between calls", extra={"project": str(self.launch.project), "output": stray[:2000]})
        self._number = (self._number + 1) & 0xFFFFFFFF
        header = protocol.frame_header(protocol.CALL, content_type, self._number, len(body))
        result: Result = await self._ask(header, body, seconds, f"stopped at the call's timeout of {timeout:g} s")
        return result

    def retire(self) -> None:
        """Let the process end in good order; killed if that takes longer than 3 s."""
        self.is_alive = False
        if self._transport is not None and self._is_connected:
            self._transport.close()
            self._loop.call_later(_GRACE, self.kill)
        else:
            self.kill()

    def kill(self) -> None:
        """End the process and everything that it started, now."""
        self.is_alive = False
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._is_connected = True

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            self._buffer += data
            data = bytes(self._buffer) if self._frame_is_whole() else b""
        elif len(data) < HEADER.size or len(data) < HEADER.size + HEADER.unpack_from(data)[3]:
            self._buffer += data
            self._frame_is_whole()
            return
        if data:
            self._buffer.clear()
            self._on_frame(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_connected = False
        self.is_alive = False
        if self._process is not None and self._process.returncode is not None:
            self._finish()
        else:
            # An algorithm that closes our socket, or hangs at exit, doesn't stay.
            self._loop.call_later(_GRACE, self.kill)

    def _frame_is_whole(self) -> bool:
        if len(self._buffer) < HEADER.size:
            return False
        length: int = HEADER.unpack_from(self._buffer)[3]
        if length > self.launch.max_result + _SLACK:
            self._settle_failure(CallFailure("the worker process broke the protocol", "SystemError"))
            self.kill()
            return False
        return len(self._buffer) >= HEADER.size + length

    def _on_frame(self, frame: bytes) -> None:
        kind, content_type, number, length, seconds = HEADER.unpack_from(frame)
        body = frame[HEADER.size :]
        pending = self._pending
        if pending is None or pending.done() or number != self._number or len(body) != length:
            self.kill()  # nobody asked: the algorithm got hold of the socket
            return
        self._read_output(_DRAIN_READS)
        try:
            if kind == protocol.DONE:
                kind_name: ContentType = protocol.CONTENT_TYPES[content_type]  # type: ignore[assignment]
                pending.set_result(Result(kind_name, body, seconds, self._take_output()))
            elif kind == protocol.READY:
                pending.set_result(None)
            elif kind == protocol.INVALID:
                pending.set_exception(InvalidInput(body.decode("utf-8", "replace")))
            else:
                failure = _decode_failure(body)
                pending.set_exception(
                    CallFailure(
                        failure.message, failure.error_type, failure.stacktrace, seconds, self._take_output()
                    )
                )
        except (msgspec.MsgspecError, IndexError):
            self._settle_failure(CallFailure("the worker process broke the protocol", "SystemError"))
            self.kill()

    # -- one request to the process -----------------------------------------------------------------------------

    async def _ask(self, header: bytes, body: bytes | None, seconds: float, reason: str) -> Any:
        if not self.is_alive or self._transport is None:
            raise CallFailure("the worker process has ended", "SystemExit")
        pending = self._pending = self._loop.create_future()
        if body is not None:
            # One write, unless copying the body would cost more than a second one.
            if len(body) < _CHUNK:
                self._transport.write(header + body)
            else:
                self._transport.writelines((header, body))
        began = self._loop.time()
        timer = self._loop.call_later(max(0.0, seconds), self._overrun, reason, began)
        try:
            return await pending
        except asyncio.CancelledError:
            self.kill()
            raise
        finally:
            timer.cancel()
            self._pending = None

    def _overrun(self, reason: str, began: float) -> None:
        self.kill()
        self._read_output(_DRAIN_READS)
        self._settle_failure(
            CallFailure(
                f"{TIMED_OUT} ({reason})", "TimeoutError", None, self._loop.time() - began, self._take_output()
            )
        )

    def _settle_failure(self, failure: CallFailure) -> None:
        if self._pending is not None and not self._pending.done():
            self._pending.set_exception(failure)

    # -- output -------------------------------------------------------------------------------------------------

    def _read_output(self, reads: int = 1) -> None:
        """Take up to `reads` pieces from the pipe; what is over the limit is counted and dropped."""
        while reads and self._output_fd >= 0:
            reads -= 1
            try:
                data = os.read(self._output_fd, _CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._close_output()
                return
            self._printed += len(data)
            room = self.launch.max_output - self._kept
            if room > 0:
                self._output.append(data[:room])
                self._kept += min(room, len(data))

    def _take_output(self) -> str:
        """What was captured since the last time, as text without its last line end."""
        if not self._printed:
            return ""
        text = b"".join(self._output).decode("utf-8", "replace").removesuffix("\n")
        if self._printed > self._kept:
            text += f"\n[output truncated: the first {self._kept} of {self._printed} bytes are shown]"
        self._output, self._kept, self._printed = [], 0, 0
        return text

    def _close_output(self) -> None:
        if self._output_fd >= 0:
            self._loop.remove_reader(self._output_fd)
            os.close(self._output_fd)
            self._output_fd = -1

    # -- the process --------------------------------------------------------------------------------------------

    def _spawn(self) -> tuple[socket.socket, int]:
        """Start the process; our ends of its socket and of its output's pipe. After an OSError nothing is left open."""
        launch = self.launch
        with contextlib.ExitStack() as for_us, contextlib.ExitStack() as for_it:
            ours, theirs = socket.socketpair()
            for_us.callback(ours.close)
            for_it.callback(theirs.close)
            reading, writing = os.pipe()
            for_us.callback(os.close, reading)
            for_it.callback(os.close, writing)
            descriptor = theirs.fileno()
            arguments = (str(descriptor), str(launch.project), str(launch.max_result), str(launch.sandbox.parent))
            self._process = launch.sandbox.start(
                launch.command + arguments,
                replace(launch.confinement, descriptors=(descriptor,)),
                stdout=writing,
                stderr=writing,
            )
            for_us.pop_all()
        ours.setblocking(False)
        return ours, reading

    def _watch_exit(self) -> None:
        """Have `_on_exit` called when the process has ended but is not yet reaped: its id is still taken."""
        assert self._process is not None
        pid = self._process.pid
        try:
            self._pidfd = os.pidfd_open(pid)
        except (AttributeError, OSError):

            def wait() -> None:
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
                with contextlib.suppress(RuntimeError):  # the loop has closed
                    self._loop.call_soon_threadsafe(self._on_exit)

            threading.Thread(target=wait, name=f"worker-{pid}", daemon=True).start()
        else:
            self._loop.add_reader(self._pidfd, self._on_exit)

    def _on_exit(self) -> None:
        assert self._process is not None
        self.kill()  # what it started and left behind
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        self._process.wait()
        if self._is_connected:
            self._loop.call_later(_LAST_BYTES, self._finish)
        else:
            self._finish()

    def _finish(self) -> None:
        if self._is_finished:
            return
        self._is_finished = True
        assert self._process is not None
        if self._transport is not None:
            self._transport.abort()
        self._read_output(_DRAIN_READS)
        self._settle_failure(exit_failure(self.launch.sandbox.status(self._process.returncode), self._take_output()))
        self._close_output()
        self._remove_directory()
        self._on_end(self)

    def _finish_unstarted(self) -> None:
        self._is_finished = True
        self._on_end(self)

    def _remove_directory(self) -> None:
        def remove() -> None:
            shutil.rmtree(self.launch.directory, ignore_errors=True)

        def done(_: Any) -> None:
            if not self.ended.done():
                self.ended.set_result(None)

        self._loop.run_in_executor(None, remove).add_done_callback(done)


def exit_failure(status: int, stdout: str) -> CallFailure:
    """What to tell the caller of a process that ended by itself with `status` (negative: killed by that signal)."""
    if status >= 0:
        return CallFailure(f"exited with code {status}", "SystemExit", None, 0.0, stdout)
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    message = f"killed by {name}"
    if -status == signal.SIGKILL:
        message += ", perhaps because memory ran out"
    return CallFailure(message, "SystemExit", None, 0.0, stdout)
