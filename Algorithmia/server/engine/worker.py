"""One worker process, seen from the server: start, one call at a time, captured output, certain end.

How calls and answers travel is the subclass's: `frames_worker.py`, `stdio_worker.py`. Nothing here blocks the loop:
the process is started with vfork, its end is noticed through a pidfd, and its output is read in bounded pieces between
other events.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..settings import MIB
from . import memory
from .base import Borrower, Call, CallFailure, Result
from .disposal import Disposal
from .doorway import Doorway, port_of
from .launch import Launch
from .output import DRAIN_READS, Output
from .process import Process

log = logging.getLogger("algorithmia.engine")

TIMED_OUT = "Failed to run algorithm - may have timed-out or hit out-of-memory error"

GRACE = 3.0
# How long a process has for ending what it was told to stop.
LAST_CHANCE = 1.0
# Error messages and traces come on top of the largest result.
SLACK = 8 * 1024 * 1024

# Of all workers: what they had is being removed.
disposal = Disposal(4)


class Loan(Protocol):
    """Why somebody else has a worker.

    settled  done once it is back, and the call that runs in it, if one does, is known here
    """

    settled: asyncio.Future[None]

    def recall(self) -> None:
        """Have it given back."""


@dataclass(frozen=True, slots=True)
class Link:
    """The process's end of how it is talked to.

    arguments    that the command gets besides its own
    descriptors  that it inherits
    """

    arguments: tuple[str, ...] = ()
    descriptors: tuple[int, ...] = ()
    stdin: int = subprocess.DEVNULL


class TakenBack(Exception):
    """The worker has not begun the call, and won't: give it to another."""


class Worker(ABC):
    """One process. Make it, `start` it, `call` it, then `retire` or `kill` it.

    on_end         called once, when the process has ended and everything of it is gone
    session_key    the key that the process holds: it acts for the caller of the call that runs
    takes_several  whether calls may be sent to it while it runs one; it begins them in order
    calls_left     how many more it is given before it is replaced
    """

    takes_several = False
    reservation: tuple[Borrower, float] | None = None  # to whom it is to be lent as soon as nobody holds it, until when
    is_exclusive = False  # runs a call whose output is wanted: nothing may be sent behind it

    def __init__(self, launch: Launch, on_end: Callable[[Worker], None]) -> None:
        self.launch = launch
        self.session_key = launch.session_key
        self.is_alive = False
        self.idle_since = 0.0
        self.generation = 0
        self.holders = 0  # calls that have it, or have been promised it; counted by the pool
        self.calls_left = 0
        self.since = 0.0  # when its turn began: it had been idle, or has only just loaded
        self.is_leaving = False  # takes no more calls, and ends when those that it has are over
        self.loan: Loan | None = None  # while somebody else gives it calls
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._process: Process | None = None
        self._pidfd = -1
        self._doorway: Doorway | None = None
        self._pending: asyncio.Future[Any] | None = None
        self._output = Output(launch.max_output)
        self._is_finished = False

    async def start(self, timeout: float) -> str:
        """Start the process and wait until its algorithm has loaded, at most `timeout` seconds; what it printed.

        Raises CallFailure (LoadingError) if that fails; the process is then gone or going. Cancelling kills it.
        """
        try:
            self._spawn()
        except OSError as problem:
            self._remove_directory()
            self._is_finished = True
            self._on_end(self)
            raise CallFailure(f"can't start the algorithm's process: {problem}", "SystemError") from None
        self.is_alive = True
        self._watch_exit()
        try:
            printed = await self._load(timeout, f"loading took longer than {timeout:g} s")
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
            raise CallFailure(
                message, "LoadingError", failure.stacktrace, 0.0, failure.stdout, failure.was_killed
            ) from None
        if printed:
            log.debug("output of load", extra={"project": str(self.launch.project), "output": printed[:2000]})
        return printed

    def hold(self) -> None:
        """It has one more call, or is promised to it."""
        self.holders += 1
        self.calls_left -= 1

    @property
    def pid(self) -> int:
        """Id of the process; 0 before it has started."""
        return self._process.pid if self._process is not None else 0

    def memory(self) -> int:
        """Bytes that the process and what it started have in memory; 0 if there is none."""
        return self._process.memory() if self._process is not None and self._process.returncode is None else 0

    @property
    @abstractmethod
    def running_for(self) -> float:
        """Seconds since the call that runs began; 0 if none does."""

    @abstractmethod
    async def call(self, call: Call, seconds: float) -> Result:
        """Run one call, which has to end `seconds` from now.

        Raises CallFailure, InvalidInput, or TakenBack if it was not begun. Cancelling it, or its running out of time,
        kills the process if it has begun.
        """

    def retire(self) -> None:
        """Let the process end in good order; killed if that takes longer than 3 s."""
        self.is_alive = False
        if self._hang_up():
            self._loop.call_later(GRACE, self.kill)
        else:
            self.kill()

    def tell(self) -> None:
        """Tell the process to stop what it does, by SIGTERM. It may take no notice."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        pid = memory.descendant(process.pid, self.launch.sandbox.generations)
        if pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the process and everything that it started, now."""
        self.is_alive = False
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    # -- what a protocol decides --------------------------------------------------------------------------------

    @abstractmethod
    def _open_link(self, for_us: ExitStack, for_it: ExitStack) -> Link:
        """Open what the process is talked to with: closed by `for_us` if it can't be started, and by `for_it` once it
        has been. Raises OSError."""

    @abstractmethod
    async def _load(self, timeout: float, reason: str) -> str:
        """Wait until the algorithm has loaded; what it printed. Raises CallFailure."""

    @abstractmethod
    def _hang_up(self) -> bool:
        """Tell the process that there are no more calls; False if that can't be told."""

    @abstractmethod
    def _close_link(self) -> None:
        """The process has ended, or is about to be killed for good: take what it last said, then close our end."""

    def _last_words(self) -> float:
        """How many seconds after the process's end something of it may still arrive."""
        return 0.0

    # -- one request to the process -----------------------------------------------------------------------------

    def _begin(self) -> None:
        """A call begins: what was printed since the last one is nobody's."""
        self._output.read()
        stray = self._output.take()
        if stray:
            log.debug("output between calls", extra={"project": str(self.launch.project), "output": stray[:2000]})

    def _ask(self) -> asyncio.Future[Any]:
        """The future of the next answer. Raises CallFailure if there can't be one."""
        if not self.is_alive:
            raise CallFailure("the worker process has ended", "SystemExit")
        pending = self._pending = self._loop.create_future()
        return pending

    async def _answer(self, pending: asyncio.Future[Any], seconds: float, reason: str) -> Any:
        """Wait for an answer; the process is killed for `reason` once `seconds` have passed; told if cancelled."""
        timer = self._loop.call_later(max(0.0, seconds), self._overrun, reason, self._loop.time())
        try:
            return await pending
        except asyncio.CancelledError:
            self.is_alive = False
            self.tell()
            self._loop.call_later(LAST_CHANCE, self.kill)
            raise
        finally:
            timer.cancel()
            self._pending = None

    def _overrun(self, reason: str, began: float) -> None:
        self.kill()
        self._output.read(DRAIN_READS)
        self._settle_failure(self._timed_out(reason, self._loop.time() - began))

    def _timed_out(self, reason: str, seconds: float) -> CallFailure:
        return CallFailure(f"{TIMED_OUT} ({reason})", "TimeoutError", None, seconds, self._output.take())

    def _settle_failure(self, failure: CallFailure) -> None:
        if self._pending is not None and not self._pending.done():
            failure.duration = failure.duration or self.running_for
            self._pending.set_exception(failure)

    def _break(self, what: str = "", printed: str = "") -> None:
        """The process doesn't keep to the protocol: `what` it did, having `printed` this. It can't be used any more."""
        message = "the worker process broke the protocol" + (f": {what}" if what else "")
        self.kill()
        self._output.read(DRAIN_READS)
        self._settle_failure(CallFailure(message, "SystemError", None, 0.0, printed or self._output.take()))

    # -- the process --------------------------------------------------------------------------------------------

    def _spawn(self) -> None:
        """Start the process. After an OSError nothing is left open."""
        launch = self.launch
        with ExitStack() as for_us, ExitStack() as for_it:
            reading, writing = os.pipe()
            for_us.callback(os.close, reading)
            for_it.callback(os.close, writing)
            os.set_blocking(reading, False)
            link = self._open_link(for_us, for_it)
            command, descriptors = launch.command + link.arguments, link.descriptors
            doorway = listening = None
            if launch.adopt is not None:
                doorway = Doorway(launch.adopt)
                for_us.callback(doorway.close)
                address = launch.confinement.environment["ALGORITHMIA_API"]
                if launch.sandbox.listens:
                    listening = (port_of(address), doorway.take)
                else:
                    command, inherited = doorway.command(command, address)
                    descriptors += (inherited,)
            confinement = replace(launch.confinement, descriptors=descriptors, listening=listening)
            self._process = launch.sandbox.start(command, confinement, link.stdin, writing, writing)
            for_us.pop_all()
        self._output.open(reading)
        if doorway is not None:
            doorway.open()
            self._doorway = doorway

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
        if seconds := self._last_words():
            self._loop.call_later(seconds, self._finish)
        else:
            self._finish()

    def _finish(self) -> None:
        if self._is_finished:
            return
        if self.loan is not None and not self.loan.settled.done():
            # Only whoever has it knows which call has just failed.
            self.loan.settled.add_done_callback(lambda _: self._loop.call_soon(self._finish))
            self.loan.recall()
            return
        self._is_finished = True
        assert self._process is not None
        if self._doorway is not None:
            self._doorway.close()
        self._close_link()
        self._output.read(DRAIN_READS)
        self._settle_failure(self._exit_failure())
        self._output.close()
        self._remove_directory()
        self._on_end(self)

    def _exit_failure(self) -> CallFailure:
        """What to tell the caller of a process that has ended by itself, or because it used too much."""
        assert self._process is not None
        status, stdout = self.launch.sandbox.status(self._process.returncode), self._output.take()
        why = self._process.why() if -status == signal.SIGKILL else ""
        if not why:
            return exit_failure(status, stdout)
        limits = self.launch.confinement.limits
        if why == "memory":
            error_type, message = "OutOfMemoryError", f"needed more than its {limits.memory // MIB} MiB of memory"
        elif why == "scratch":
            error_type, message = "SystemExit", f"wrote more than {limits.scratch // MIB} MiB to its directory"
        else:
            error_type, message = "SystemError", "could not be given a network"
        return CallFailure(f"{TIMED_OUT} (the worker process {message})", error_type, None, 0.0, stdout)

    def _remove_directory(self) -> None:
        def remove() -> None:
            try:
                if self._process is not None:
                    self._process.dispose()
                shutil.rmtree(self.launch.directory, ignore_errors=True)
            finally:
                with contextlib.suppress(RuntimeError):  # the loop has closed
                    self._loop.call_soon_threadsafe(done)

        def done() -> None:
            if not self.ended.done():
                self.ended.set_result(None)

        disposal.do(remove)


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
    return CallFailure(message, "SystemExit", None, 0.0, stdout, was_killed=True)
