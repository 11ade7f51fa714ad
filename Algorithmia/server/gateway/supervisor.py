"""The gateway processes of a platform: started, started anew when they end, and ended with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engine.worker import SLACK
from ..settings import Settings
from .distributor import Distributor
from .frames import STOP
from .streams import Application, GatewayLink

if TYPE_CHECKING:
    from ..lent_calls import LentCalls

log = logging.getLogger("algorithmia.gateway")

_ROOT = str(Path(__file__).resolve().parents[3])
# This very package, whatever else is installed. What lies beside it never comes before the standard library.
# A process group of its own, since signals from a terminal are meant for the platform, but no session: Linux shares
# processors out by sessions (autogroup): beside other programs, gateways with their own got fewer calls done.
_PROGRAM = """
import os, sys
os.setpgid(0, 0)
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
spec = PathFinder.find_spec("Algorithmia", [sys.argv.pop(1)])
sys.modules["Algorithmia"] = package = module_from_spec(spec)
spec.loader.exec_module(package)
from Algorithmia.server.gateway.process import main
main()
"""
_COMMAND = (sys.executable, "-I", "-c", _PROGRAM, _ROOT)
_START_LIMIT = 60.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
# One that has lived this long was no failed start.
_LONG = 60.0
_LAST_WORDS = 5.0


class GatewayStartError(Exception):
    """A gateway could not be started."""


class Gateways:
    """`settings.gateways` processes that are given what comes to `listener`, and have `application` answer it.

    tasks       where the tasks of requests are kept while they run
    lent_calls  hears of the calls that gateways make by themselves
    """

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        application: Application,
        tasks: set[asyncio.Task[None]],
        lent_calls: LentCalls,
    ) -> None:
        self._settings = settings
        self._distributor = Distributor(listener)
        self._application = application
        self._tasks = tasks
        self._lent_calls = lent_calls
        self._largest = settings.max_result_bytes + SLACK
        self._links: set[GatewayLink] = set()
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Return once all of them take connections. Raises GatewayStartError."""
        loop = asyncio.get_running_loop()
        started = [loop.create_future() for _ in range(self._settings.gateways)]
        self._keepers = [loop.create_task(self._keep(ready)) for ready in started]
        done, waiting = await asyncio.wait(started, timeout=_START_LIMIT, return_when=asyncio.FIRST_EXCEPTION)
        for future in done:
            future.result()
        if waiting:
            raise GatewayStartError(f"{len(waiting)} gateways were not ready within {_START_LIMIT:g} s")

    async def stop(self) -> float:
        """Accept no more connections, finish what runs, or end it when its time is over; how much of that is left."""
        now = asyncio.get_running_loop().time
        deadline = now() + self._settings.shutdown_timeout
        self._stopping.set()
        self._distributor.close()
        for link in self._links:
            link.send(STOP, 0)
        if self._keepers:
            _, running = await asyncio.wait(self._keepers, timeout=self._settings.shutdown_timeout)
            if running:
                log.error("ending %d requests that have not finished", len(self._tasks))
                for task in tuple(self._tasks):
                    task.cancel()
                await asyncio.wait(self._keepers, timeout=_LAST_WORDS)
            self.give_up()
            await asyncio.gather(*self._keepers, return_exceptions=True)
        return max(1.0, deadline - now())

    def give_up(self) -> None:
        """Wait for nothing any more."""
        for keeper in self._keepers:
            keeper.cancel()

    async def _keep(self, started: asyncio.Future[None]) -> None:
        """One gateway, and whichever comes after it."""
        now = asyncio.get_running_loop().time
        pause = _SHORTEST_PAUSE
        while not self._stopping.is_set():
            began = now()
            try:
                ended = f"status {await self._run(started)}"
            except OSError as problem:  # no process to be had, for instance
                ended = str(problem)
            except Exception as problem:  # whatever it is, there has to be a next one
                log.exception("a gateway can't be kept")
                ended = repr(problem)
            if self._stopping.is_set():
                return
            if not started.done():
                started.set_exception(GatewayStartError(f"a gateway ended before it was ready: {ended}"))
                return
            if now() - began > _LONG:
                pause = _SHORTEST_PAUSE
            log.error("a gateway ended: %s; the next one starts in %g s", ended, pause)
            with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _run(self, started: asyncio.Future[None]) -> int:
        """A gateway from its start to its end; its exit status."""
        link = GatewayLink(self._application, self._tasks, self._lent_calls, self._largest)
        ours, theirs = socket.socketpair()
        passage, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        passage.setblocking(False)
        link.passage = passage

        def is_ready(_: asyncio.Future[None]) -> None:
            self._lent_calls.add(link)
            self._distributor.add(link, passage)
            if not started.done():
                started.set_result(None)

        with passage:
            with theirs, its_end:
                process = await self._spawn(theirs, its_end)
            try:
                await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=ours)
                self._links.add(link)
                if self._stopping.is_set():
                    link.send(STOP, 0)
                link.ready.add_done_callback(is_ready)
                await link.lost
                if self._stopping.is_set():
                    return await process.wait()
            finally:
                link.ready.remove_done_callback(is_ready)
                self._distributor.remove(link)
                self._links.discard(link)
                link.close()
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        return await process.wait()

    async def _spawn(self, link: socket.socket, passage: socket.socket) -> asyncio.subprocess.Process:
        settings = self._settings
        options: dict[str, Any] = {
            "link": link.fileno(),
            "passage": passage.fileno(),
            "request_timeout": settings.request_timeout,
            "largest": self._largest,
            "max_input": settings.max_input_bytes,
            "shutdown_timeout": settings.shutdown_timeout,
            "tls_cert": settings.tls_cert and os.path.abspath(settings.tls_cert),
            "tls_key": settings.tls_key and os.path.abspath(settings.tls_key),
        }
        return await asyncio.create_subprocess_exec(
            *_COMMAND,
            json.dumps(options),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
            pass_fds=(link.fileno(), passage.fileno()),
        )
