"""The talk with a push's last hook: it says what has changed, and shows the pusher what comes back, line by line."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, Awaitable
from contextlib import suppress
from typing import Any, NamedTuple

from .hooks import MAX_REFERENCES

log = logging.getLogger("algorithmia.git")

_PIECE = 64 * 1024
_MAX_NEWS = MAX_REFERENCES * 8192
_LONGEST_SHOWN = 3300.0

_CLOSING = b"The platform is shutting down: algo logs will tell what became of the build.\n"
_TOO_LONG = b"The build still runs, but is not shown for longer: algo logs will tell what becomes of it.\n"
_TOO_MANY = b"Too many builds are being shown already: algo logs will tell what becomes of this one.\n"


class Update(NamedTuple):
    """One reference that a push has changed; `old` is all zeros for a new one."""

    old: str
    new: str
    reference: str


async def heard(hook: socket.socket) -> list[Update]:
    """What the hook says; nothing, if all processes of the push end without it."""
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) <= _MAX_NEWS and (piece := await loop.sock_recv(hook, _PIECE)):
        data += piece
    return [Update(*line.split(" ", 2)) for line in data.decode("utf-8", "replace").splitlines()]


async def show(
    hook: socket.socket,
    shown: AsyncGenerator[bytes, None],
    is_watched: bool,
    gone: asyncio.Event,
    closing: asyncio.Event,
) -> None:
    """Send the pieces of `shown` to the pusher until it ends, the pusher has `gone` or the platform is `closing`.

    The first piece is waited for in any case; without `is_watched` it is the only one.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _LONGEST_SHOWN
    try:
        await loop.sock_sendall(hook, await anext(shown, b""))
        if not is_watched:
            await loop.sock_sendall(hook, _TOO_MANY)
            return
        while not gone.is_set():
            showing = asyncio.ensure_future(anext(shown, b""))
            await first_of(showing, gone.wait(), closing.wait(), asyncio.sleep(max(0.0, deadline - loop.time())))
            if showing.cancelled():
                if not gone.is_set():
                    await loop.sock_sendall(hook, _CLOSING if closing.is_set() else _TOO_LONG)
                return
            if not (text := showing.result()):
                return
            await first_of(loop.sock_sendall(hook, text), gone.wait())
    except OSError:
        pass  # the hook has gone, with the pusher or by a limit
    except Exception:
        log.exception("a pusher could not be shown the build")
    finally:
        with suppress(OSError):
            hook.shutdown(socket.SHUT_RDWR)
        await shown.aclose()


async def first_of(*awaitables: Awaitable[Any]) -> None:
    """Wait for the first of `awaitables` and cancel the others. Raises the error of one that is done."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
