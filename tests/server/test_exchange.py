"""Connections without a network: answers that are one message, and how long a client that says nothing is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from Algorithmia.server.app import WholeAnswer
from Algorithmia.server.connections import BoundedConnection, uvicorn_options
from Algorithmia.server.exchange import WHOLE

GET = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def connected(test: Callable[[BoundedConnection, Transport, list[Any]], Any]) -> None:
    """Run `test` with a connection whose requests are answered by the ASGI applications in the list, in turn."""

    async def run() -> None:
        answers: list[Any] = []

        async def application(scope: Any, receive: Any, send: Any) -> None:
            await answers.pop(0)(scope, receive, send)

        config = uvicorn.Config(application, lifespan="off", **uvicorn_options(5))
        config.load()
        transport = Transport()
        connection = BoundedConnection(config, ServerState(), {})
        connection.connection_made(transport)  # type: ignore[arg-type]
        await test(connection, transport, answers)
        connection.connection_lost(None)

    asyncio.run(run())


async def quiet(connection: BoundedConnection) -> None:
    """Return once everything that was begun is done."""
    while connection.tasks:
        await asyncio.sleep(0)
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("request_", "headers", "ends", "keeps"),
    [
        (GET, [], b"\r\n\r\nbody", True),
        (GET.replace(b"GET", b"HEAD"), [], b"x-one: 1\r\n\r\n", True),
        (GET.replace(b"1.1", b"1.0"), [], b"connection: close\r\n\r\nbody", False),
        (GET, [(b"connection", b"close")], b"connection: close\r\n\r\nbody", False),
    ],
    ids=["get", "head", "1.0", "close"],
)
def test_whole_answers(request_: bytes, headers: list[tuple[bytes, bytes]], ends: bytes, keeps: bool) -> None:
    async def test(connection: BoundedConnection, transport: Transport, answers: list[Any]) -> None:
        answers.append(WholeAnswer(b"body", 201, [(b"x-one", b"1"), *headers]))
        connection.data_received(request_)
        await quiet(connection)
        head = transport.written
        assert head.startswith(b"HTTP/1.1 201 Created\r\ncontent-length: 4\r\nx-one: 1\r\n") and head.endswith(ends)
        assert head.count(b"connection:") == (0 if keeps else 1) and transport.is_closed is not keeps

    connected(test)


def test_a_value_that_is_no_header_breaks_out_of_none() -> None:
    async def test(connection: BoundedConnection, transport: Transport, answers: list[Any]) -> None:
        answers.append(WholeAnswer(b"", 200, [(b"x-one", b"1\r\nx-two: 2")]))
        connection.data_received(GET)
        await quiet(connection)
        assert transport.written.startswith(b"HTTP/1.1 500 ") and b"x-two" not in transport.written

    connected(test)


def test_there_is_one_answer() -> None:
    async def test(connection: BoundedConnection, transport: Transport, answers: list[Any]) -> None:
        async def twice(scope: Any, receive: Any, send: Any) -> None:
            assert WHOLE in scope["extensions"]
            message = {"type": WHOLE, "status": 200, "headers": [(b"content-length", b"1")], "body": b"1"}
            await send(message)
            await send(message)

        answers.append(twice)
        connection.data_received(GET)
        await quiet(connection)
        assert transport.written.count(b"HTTP/1.1") == 1 and transport.is_closed

    connected(test)


def test_pipelined_requests_are_answered_in_order() -> None:
    async def test(connection: BoundedConnection, transport: Transport, answers: list[Any]) -> None:
        answers += [WholeAnswer(b"%d." % number, 200, []) for number in range(3)]
        connection.data_received(3 * GET)
        while answers:
            await quiet(connection)
        await quiet(connection)
        assert [part.partition(b"\r\n\r\n")[2] for part in transport.written.split(b"HTTP/1.1")[1:]] == [
            b"0.", b"1.", b"2."
        ]  # fmt: skip

    connected(test)


def test_silence_between_requests_has_an_end_and_a_request_has_time() -> None:
    async def test(connection: BoundedConnection, transport: Transport, answers: list[Any]) -> None:
        waits = asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await waits.wait()
            await WholeAnswer(b"", 200, [])(scope, receive, send)

        answers += [WholeAnswer(b"", 200, []), slow]
        connection.data_received(GET)
        await quiet(connection)
        first = connection.timeout_keep_alive_task
        assert first is not None
        connection.timeout_keep_alive_handler()  # as if it had been set for an earlier answer
        assert not transport.is_closed and connection.timeout_keep_alive_task is not None
        connection.data_received(GET)
        connection.timeout_keep_alive = 0
        connection.timeout_keep_alive_handler()  # in the middle of a request
        assert not transport.is_closed
        waits.set()
        while not transport.is_closed:  # nothing more comes
            await asyncio.sleep(0.01)
        assert transport.written.count(b"HTTP/1.1 200") == 2
        first.cancel()

    connected(test)
