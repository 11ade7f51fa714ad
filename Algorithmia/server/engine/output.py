"""What a process prints: taken from its pipe in bounded pieces between other events, kept up to a limit."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

CHUNK = 65536
# More than a pipe holds: what a call printed before its answer is then read before the call ends.
DRAIN_READS = 20


class Output:
    """The pipe of one process.

    limit    how many bytes are kept until somebody takes them; of the others it is only known how many there were
    on_data  told of every piece
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.on_data: Callable[[bytes], None] | None = None
        self._descriptor = -1
        self._loop = asyncio.get_running_loop()
        self._pieces: list[bytes] = []
        self._kept = 0
        self._printed = 0

    def open(self, descriptor: int) -> None:
        """Read from `descriptor`, which doesn't block, and close it in the end."""
        self._descriptor = descriptor
        self._loop.add_reader(descriptor, self.read)

    def read(self, reads: int = 1) -> None:
        """Take up to `reads` pieces; what is over the limit is counted and dropped."""
        while reads and self._descriptor >= 0:
            reads -= 1
            try:
                data = os.read(self._descriptor, CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        self._printed += len(data)
        room = self.limit - self._kept
        if room > 0:
            self._pieces.append(data[:room])
            self._kept += min(room, len(data))
        if self.on_data is not None:
            self.on_data(data)

    def take(self) -> str:
        """What was captured since the last time, as text without its last line end."""
        if not self._printed:
            return ""
        text = b"".join(self._pieces).decode("utf-8", "replace").removesuffix("\n")
        if self._printed > self._kept:
            text += f"\n[output truncated: the first {self._kept} of {self._printed} bytes are shown]"
        self._pieces, self._kept, self._printed = [], 0, 0
        return text

    def drop(self) -> None:
        """Forget what was captured."""
        if self._printed:
            self._pieces, self._kept, self._printed = [], 0, 0

    def close(self) -> None:
        """Read no more."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
