"""The platform's address inside a worker's own network, where nothing else can be reached.

A socket belongs to the network that it was made in. A server that runs as root makes it there (`network.py`); for any
other the worker's process does, before any of the algorithm's code runs (`launcher.py`), and hands it to the server
over a UNIX socket. The server answers what comes to it like what comes to its own address.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit


class Adopted(Protocol):
    """A socket that is being served."""

    def close(self) -> None: ...


# Serves the requests that come to a listening socket.
Adopt = Callable[[socket.socket], Awaitable[Adopted]]

LAUNCHER = Path(__file__).with_name("launcher.py")
# Not the virtual environment's: the launcher needs the standard library only.
_PYTHON = os.path.realpath(sys.executable)
_COMMAND = (_PYTHON, "-I", "-S", "-E", "-B", str(LAUNCHER))
_PREFIX = os.path.realpath(sys.base_prefix)

_LOWEST_PORT = 1024
_OTHER_PORT = 9000


def readable() -> tuple[str, ...]:
    """What must be readable where the launcher runs."""
    return (_PREFIX, str(LAUNCHER))


def inner_address(address: str) -> str:
    """The platform's address for a worker with a network of its own: the same one, if that has it."""
    port = urlsplit(address).port or 80
    # Only the machine's root may take the lower ones.
    return f"http://127.0.0.1:{port if port >= _LOWEST_PORT else _OTHER_PORT}"


def port_of(address: str) -> int:
    """The port in an address that `inner_address` has made."""
    port = urlsplit(address).port
    assert port is not None
    return port


class Doorway:
    """The server's side, for one worker."""

    def __init__(self, adopt: Adopt) -> None:
        self._adopt = adopt
        # On which the launcher hands the socket over, if there is one.
        self._ours: socket.socket | None = None
        self._theirs: socket.socket | None = None
        self._adopting: asyncio.Task[None] | None = None
        self._adopted: Adopted | None = None
        self._loop = asyncio.get_running_loop()
        self._is_open = False
        self._is_closed = False

    def command(self, command: tuple[str, ...], address: str) -> tuple[tuple[str, ...], int]:
        """`command`, after the launcher has listened at `address`; the descriptor that this must inherit."""
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        descriptor = self._theirs.fileno()
        return (*_COMMAND, str(descriptor), str(port_of(address)), *command), descriptor

    def open(self) -> None:
        """The process has been started: serve its socket once it comes."""
        if self._ours is None or self._theirs is None:
            return
        self._theirs.close()
        self._is_open = True
        self._loop.add_reader(self._ours, self._receive)

    def take(self, listener: socket.socket) -> None:
        """Serve what comes to `listener`; called on any thread."""
        try:
            self._loop.call_soon_threadsafe(self._begin, listener)
        except RuntimeError:  # the loop has closed
            listener.close()

    def close(self) -> None:
        """Serve no more."""
        self._is_closed = True
        self._stop_listening()
        if self._theirs is not None:
            self._theirs.close()
        if self._adopted is not None:
            self._adopted.close()
            self._adopted = None

    def _stop_listening(self) -> None:
        if self._ours is None:
            return
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._ours)
        self._ours.close()

    def _receive(self) -> None:
        assert self._ours is not None
        try:
            _, descriptors, _, _ = socket.recv_fds(self._ours, 16, 4)
        except BlockingIOError:
            return
        except OSError:
            descriptors = []
        self._stop_listening()
        listeners = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if len(listeners) == 1 and listeners[0].getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            self._begin(listeners[0])
            return
        for listener in listeners:
            listener.close()

    def _begin(self, listener: socket.socket) -> None:
        if self._is_closed:
            listener.close()
        else:
            self._adopting = self._loop.create_task(self._serve(listener))

    async def _serve(self, listener: socket.socket) -> None:
        """Not to be cancelled: who has the socket then, and closes it, would depend on how far this has come."""
        listener.setblocking(False)
        try:
            adopted = await self._adopt(listener)
        except BaseException:
            with contextlib.suppress(OSError):
                listener.close()
            raise
        if self._is_closed:
            adopted.close()
        else:
            self._adopted = adopted
