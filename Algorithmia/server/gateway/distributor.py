"""Connections are accepted in one place and handed to the gateway that has the fewest.

If gateways accepted by themselves, the kernel would wake the same one first time and again: those that keep their
connections would all sit with one gateway, and the others on idle cores.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket

from .frames import CONNECTION
from .streams import GatewayLink

log = logging.getLogger("algorithmia.gateway")

# So many at once, then others get their turn of the event loop.
_AT_ONCE = 32
_PAUSE = 0.01
_LONG_PAUSE = 1.0


class Distributor:
    """Accepts what comes to `listener`, as long as there is a gateway to hand it to."""

    def __init__(self, listener: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._gateways: dict[GatewayLink, socket.socket] = {}
        self._held: socket.socket | None = None  # accepted, and every gateway's hands were full
        self._is_listening = self._is_closed = False

    def add(self, link: GatewayLink, passage: socket.socket) -> None:
        """Hand connections to the gateway of `link` from now on, over `passage`."""
        self._gateways[link] = passage
        self._resume()

    def remove(self, link: GatewayLink) -> None:
        """Hand the gateway of `link` no more connections."""
        self._gateways.pop(link, None)
        if not self._gateways:
            self._stop()

    def close(self) -> None:
        """Accept no more."""
        self._stop()
        self._is_closed = True
        self._listener.close()
        if self._held is not None:
            self._held.close()

    def _stop(self) -> None:
        if self._is_listening:
            self._is_listening = False
            self._loop.remove_reader(self._listener)

    def _resume(self) -> None:
        if self._is_closed or self._is_listening or not self._gateways:
            return
        if self._held is not None:
            held, self._held = self._held, None
            if not self._hand_over(held):
                return
        self._is_listening = True
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as problem:  # no descriptor left, or no memory
                log.error("can't accept connections: %s", problem)
                self._stop()
                self._loop.call_later(_LONG_PAUSE, self._resume)
                return
            if not self._hand_over(connection):
                self._stop()
                return

    def _hand_over(self, connection: socket.socket) -> bool:
        """Give `connection` to the gateway with the fewest; else keep it, and try again a moment later."""
        for link in sorted(self._gateways, key=_connections):
            with contextlib.suppress(OSError):  # it has died, or takes no more for the moment
                socket.send_fds(self._gateways[link], [CONNECTION], [connection.fileno()])
                link.connections += 1
                connection.close()
                return True
        self._held = connection
        self._loop.call_later(_PAUSE, self._resume)
        return False


def _connections(link: GatewayLink) -> int:
    return link.connections
