"""The address inside a worker's own network, when the worker ends before its socket is served."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from Algorithmia.server.engine.doorway import Doorway


class _Adopted:
    def __init__(self, listener: socket.socket) -> None:
        self.close = listener.close


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5])
def test_a_socket_is_closed_however_soon_its_worker_ends(turns: int) -> None:
    async def adopt(listener: socket.socket) -> Any:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return _Adopted(listener)

    async def test() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        doorway = Doorway(adopt)
        doorway.take(listener)
        for _ in range(turns):
            await asyncio.sleep(0)
        doorway.close()
        for _ in range(10):
            await asyncio.sleep(0)
        assert listener.fileno() == -1

    asyncio.run(test())


def test_a_socket_that_cannot_be_served_is_closed() -> None:
    async def adopt(listener: socket.socket) -> Any:
        raise OSError("no")

    async def test() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        listener = socket.create_server(("127.0.0.1", 0))
        doorway = Doorway(adopt)
        doorway.take(listener)
        for _ in range(10):
            await asyncio.sleep(0)
        assert listener.fileno() == -1
        doorway.close()

    asyncio.run(test())
