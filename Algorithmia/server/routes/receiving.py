"""Bodies of requests on their way into an upload: piece by piece, each written while the next one is being received."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import anyio
from anyio import CapacityLimiter
from starlette.requests import ClientDisconnect, Request

from .. import direct
from ..app import platform_of
from ..errors import CallTimeout

# One hop to the thread pool per this many bytes: received pieces are far smaller.
PIECE = 1024 * 1024

Write = Callable[[Any], None]
Blocking = Callable[[Callable[[], Any]], Awaitable[Any]]


async def write_body(
    request: Request, size: int | None, write: Write, blocking: Blocking, threads: CapacityLimiter | None = None
) -> None:
    """Give what comes as the body of `request` to `write`, as bytes-like objects that are only valid meanwhile.

    size      as announced, or None
    blocking  calls a function in a thread
    threads   what bounds these threads, if there is anything but the platform's own

    Raises ClientDisconnect when the body ends before its announced end, CallTimeout when nothing comes for long, and
    what `write` does.
    """
    if not await write_directly(request, size, write, threads):
        async with aclosing(pieces(request)) as coming:
            await write_pieces(coming, write, blocking)


async def write_directly(
    request: Request, size: int | None, write: Write, threads: CapacityLimiter | None = None
) -> bool:
    """As `write_body`, for bodies that are large enough on connections that allow it; whether that was so. Of a body
    that breaks off everything that came has been written."""
    if (size or 0) < direct.WORTHWHILE:
        return False
    patience = _patience(request)
    try:
        return await direct.receive(request.scope, write, patience, threads)
    except direct.Stalled:
        raise _stalled(patience) from None
    except direct.Gone:
        raise ClientDisconnect from None


async def write_pieces(
    coming: AsyncGenerator[list[bytes], None], write: Write, blocking: Blocking, first: list[bytes] | None = None
) -> None:
    """Give `first` and all of `coming` to `write`."""

    def join(chunks: list[bytes]) -> None:
        write(b"".join(chunks))

    async def start(chunks: list[bytes]) -> None:
        await blocking(lambda: join(chunks))

    writing = asyncio.ensure_future(start(first or []))
    try:
        async for piece in coming:
            await writing
            writing = asyncio.ensure_future(start(piece))
    finally:
        await writing


async def pieces(request: Request) -> AsyncGenerator[list[bytes], None]:
    """The body in pieces of about `PIECE` bytes, each a list of chunks; at least one, the last one shorter.

    Raises ClientDisconnect when the body ends before its announced end, CallTimeout when nothing comes for long.
    """
    chunks: list[bytes] = []
    size = 0
    stream = request.stream()
    patience = _patience(request)
    while True:
        chunk = None
        with anyio.move_on_after(patience):
            chunk = await anext(stream, b"")
        if chunk is None:
            raise _stalled(patience)
        if not chunk:
            yield chunks
            return
        chunks.append(chunk)
        size += len(chunk)
        if size >= PIECE:
            yield chunks
            chunks, size = [], 0


def _patience(request: Request) -> float | None:
    return platform_of(request).settings.request_timeout or None


def _stalled(patience: float | None) -> CallTimeout:
    return CallTimeout(f"the upload stalled: nothing received for {patience or 0:g} s")
