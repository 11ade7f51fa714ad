"""Objects as they are written and read: in bounded memory, whatever their size."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .local import LocalBlobWriter
from .object_errors import StoreUnavailable, log, translated

if TYPE_CHECKING:
    from .objects import ObjectBlobStore

# An upload holds such a part in memory, and those in flight besides. An object has at most 10,000 of them.
PART = 8 * 1024 * 1024
_PIECE = 512 * 1024
# How often reading goes on with another request when a connection breaks, as one does whose far end waits for long.
_ATTEMPTS = 4


class StreamedWriter:
    """Sends a blob in parts while it is written; there is an object once it's finished, and not before.

    on_end  is called once when it's finished or aborted
    """

    def __init__(self, store: ObjectBlobStore, blob_id: str, on_end: Callable[[], None]) -> None:
        self.id = blob_id
        self.size = 0
        self._store = store
        self._may_exist = False
        store.unsettled.add(blob_id)
        self._parts = store.open_writer(blob_id)
        self._on_end = on_end

    def write(self, data: bytes | memoryview) -> None:
        with translated():
            # The library sends what it is given later, when the buffer may hold something else.
            self._parts.write(bytes(data))
        self.size += len(data)

    def finish(self) -> None:
        # A note that a power cut took away would leave an object that nobody looks for.
        self._store.unsettled.sync()
        self._may_exist = True
        parts, self._parts = self._parts, None
        try:
            with translated():
                parts.close()
        finally:
            self._on_end()

    def suspend(self) -> None:
        raise ValueError(f"blob {self.id} was not created as resumable")

    def abort(self) -> None:
        parts, self._parts = self._parts, None
        if parts is not None:
            try:
                with translated(), suppress(_NotWanted), parts:
                    raise _NotWanted
            finally:
                self._on_end()
        if self._may_exist:
            self._store.delete(self.id)
        self._store.unsettled.discard(self.id)


class _NotWanted(Exception):
    """Tells the library's writer to give up what it has sent."""


class SpooledWriter:
    """Writes a blob on the server's own disk, from where it goes to the store when it's finished."""

    def __init__(self, store: ObjectBlobStore, spooled: LocalBlobWriter) -> None:
        self.id = spooled.id
        self._store = store
        self._spooled = spooled

    @property
    def size(self) -> int:
        return self._spooled.size

    def write(self, data: bytes | memoryview) -> None:
        self._spooled.write(data)

    def finish(self) -> None:
        self._spooled.finish()
        self._store.send_spooled(self.id)

    def suspend(self) -> None:
        self._spooled.suspend()

    def abort(self) -> None:
        self._spooled.abort()
        if self.id in self._store.unsettled:
            self._store.delete(self.id)


class ObjectReader(io.RawIOBase):
    """An object as a file: one request streams it from where reading begins, and another after a `seek` elsewhere.

    whole     the answer to a request for all of it
    get       makes a request for what comes from a position on
    on_close  is called once

    Unlike other raw files, it returns as much as was asked for unless the content ends.
    """

    def __init__(self, whole: Any, get: Callable[[int], Any], on_close: Callable[[], None]) -> None:
        self._get = get
        self._on_close = on_close
        self._position = 0
        self._size: int = whole.meta["size"]
        self._stream: Iterator[bytes] | None = iter(whole.stream(min_chunk_size=_PIECE))
        self._at = 0  # where `_stream`, with what is left of its last piece, stands
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative seek position {start + offset}")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(target) and self._position < self._size:
            piece = self._piece()[: len(target) - filled]
            target[filled : filled + len(piece)] = piece
            filled += len(piece)
            self._position += len(piece)
            self._at += len(piece)
            self._rest = self._rest[len(piece) :]
        return filled

    def close(self) -> None:
        if not self.closed:
            self._stream, self._rest = None, memoryview(b"")
            self._on_close()
        super().close()

    def _piece(self) -> memoryview:
        """What comes at the position: some of it at least."""
        if self._at != self._position:
            self._stream, self._rest = None, memoryview(b"")
        for attempt in range(_ATTEMPTS):
            if self._rest:
                return self._rest
            try:
                with translated():
                    if self._stream is None:
                        self._stream = iter(self._get(self._position).stream(min_chunk_size=_PIECE))
                        self._at = self._position
                    self._rest = memoryview(next(self._stream))
            except StopIteration:
                raise OSError(f"an object of {self._size} bytes ended after {self._position}") from None
            except StoreUnavailable:
                self._stream = None
                if attempt == _ATTEMPTS - 1:
                    raise
                log.warning("reading an object goes on after %d bytes with another request", self._position)
        return self._rest
