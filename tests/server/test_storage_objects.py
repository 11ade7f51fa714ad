"""What only object stores have: connections that break while an object is read; messages that could hold secrets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from Algorithmia.server.storage.object_errors import StoreUnavailable, told
from Algorithmia.server.storage.object_streams import ObjectReader

CONTENT = os.urandom(1_000_000)


class Answer:
    """The library's answer to a request; its stream breaks after `breaks_after` bytes, if that's given."""

    def __init__(self, start: int, breaks_after: int | None) -> None:
        self.meta = {"size": len(CONTENT)}
        self._start, self._breaks_after = start, breaks_after

    def stream(self, min_chunk_size: int) -> Iterator[bytes]:
        from obstore.exceptions import GenericError

        sent = 0
        for place in range(self._start, len(CONTENT), 50_000):
            if self._breaks_after is not None and sent >= self._breaks_after:
                raise GenericError("connection closed before message completed")
            yield CONTENT[place : place + 50_000]
            sent += 50_000


def reader(breaks_after: list[int | None]) -> tuple[ObjectReader, list[int]]:
    """A reader whose connections break as told one after the other, and where it began to read each time."""
    pytest.importorskip("obstore", reason="object stores need obstore")
    begun: list[int] = []

    def get(start: int) -> Any:
        begun.append(start)
        return Answer(start, breaks_after.pop(0))

    return ObjectReader(get(0), get, lambda: None), begun


def test_reading_goes_on_where_a_connection_broke() -> None:
    handle, begun = reader([200_000, 0, 100_000, None])
    with handle:
        assert b"".join(iter(lambda: handle.read(70_000), b"")) == CONTENT
    assert begun == [0, 200_000, 200_000, 300_000]


def test_reading_ends_when_every_connection_breaks() -> None:
    handle, begun = reader([100_000] + [0] * 9)
    with handle:
        assert handle.read(100_000) == CONTENT[:100_000]
        with pytest.raises(StoreUnavailable):
            handle.read(1)
    assert len(begun) == 4


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("PUT http://host/c/x?sv=1&sig=SECRET failed\nDebug source:\nSECRET", "PUT http://host/c/x?... failed"),
        ("403 Forbidden: <Error><Code>BadKey</Code><Key>SECRET</Key></Error>", "403 Forbidden (BadKey)"),
        ("plain", "plain"),
    ],
)
def test_messages_hold_no_secrets(message: str, shown: str) -> None:
    assert told(ValueError(message)) == shown
