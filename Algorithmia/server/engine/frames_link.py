"""The socket between the server and one worker process, of which the server keeps both ends: what the process has not
taken yet can be read back from its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from . import protocol
from .protocol import HEADER

# A number: as the flags that they are, putting them together takes longer than all else that is done with a frame.
_CUT_OFF = int(socket.MSG_TRUNC | socket.MSG_CTRUNC)

# Kind, content type, number of the call, seconds, body.
Frame = tuple[int, int, int, float, bytes]


class BrokenFrame(Exception):
    """The process sent what no worker may send, or nothing any more."""


class FramesLink:
    """Frames of one worker. `largest` body that it may send, in bytes."""

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._loop = asyncio.get_running_loop()
        self._ours: socket.socket | None = None
        self._theirs: socket.socket | None = None
        self._is_paused = False
        self._buffer = bytearray(protocol.MAX_PACKET)

    @property
    def is_open(self) -> bool:
        return self._ours is not None

    def open(self, for_us: ExitStack) -> int:
        """The descriptor of the process's end. `for_us` closes both ends."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for_us.callback(ours.close)
        for_us.callback(theirs.close)
        ours.setblocking(False)
        self._ours, self._theirs = ours, theirs
        return theirs.fileno()

    def listen(self, on_frames: Callable[[], None]) -> None:
        """Have `on_frames` called when frames have come."""
        assert self._ours is not None
        self._loop.add_reader(self._ours, on_frames)

    def pause(self) -> tuple[int, int]:
        """Take nothing more, for somebody else does: the descriptors of both ends, for duplicates of them."""
        assert self._ours is not None and self._theirs is not None
        self._is_paused = True
        self._loop.remove_reader(self._ours)
        return self._ours.fileno(), self._theirs.fileno()

    def resume(self, on_frames: Callable[[], None]) -> None:
        """Undo `pause`."""
        self._is_paused = False
        if self._ours is not None:
            self._loop.add_reader(self._ours, on_frames)

    def adopt(self, ours: int, theirs: int) -> None:
        """Use duplicates of the descriptors that another's `pause` gave; they are closed by `close`."""
        self._ours, self._theirs = socket.socket(fileno=ours), socket.socket(fileno=theirs)

    def send(self, kind: int, content_type: str, number: int, body: bytes) -> None:
        """Send a frame. Raises OSError; BlockingIOError if the process has too many waiting."""
        assert self._ours is not None
        protocol.send(self._ours, kind, content_type, number, body)

    def receive(self) -> Frame | None:
        """The next frame, if one has come. Raises BrokenFrame: that nothing more comes is no end either, since the
        server holds the process's end as well."""
        if self._ours is None or self._is_paused:
            return None
        try:
            size, ancillary, flags, _ = self._ours.recvmsg_into([self._buffer], protocol.ANCILLARY)
        except BlockingIOError:
            return None
        except OSError:
            raise BrokenFrame from None
        attached = protocol.descriptors(ancillary) if ancillary else []
        try:
            if size < HEADER.size or flags & _CUT_OFF:
                raise BrokenFrame
            kind, content_type, where, number, length, seconds = HEADER.unpack_from(self._buffer)
            return kind, content_type, number, seconds, self._body(size, where, length, attached)
        finally:
            for descriptor in attached:
                with contextlib.suppress(OSError):
                    os.close(descriptor)

    def _body(self, size: int, where: int, length: int, attached: list[int]) -> bytes:
        """The body of the packet in the buffer; what it closes is taken from `attached`. Raises BrokenFrame."""
        if where == protocol.INLINE and not attached:
            if length != size - HEADER.size:
                raise BrokenFrame
            return bytes(self._buffer[HEADER.size : size])
        if len(attached) != 1 or size != HEADER.size or length > self._largest:
            raise BrokenFrame
        if not stat.S_ISREG(os.fstat(attached[0]).st_mode):
            raise BrokenFrame
        try:
            body = protocol.read_file(attached.pop(), length)
        except OSError:  # it isn't open for reading
            raise BrokenFrame from None
        if len(body) != length:
            raise BrokenFrame
        return body

    def take_back(self) -> Iterator[int]:
        """Numbers of the calls that the process has not taken, and won't."""
        while self._theirs is not None and not self._is_paused:
            try:
                size, ancillary, _, _ = self._theirs.recvmsg_into(
                    [self._buffer], protocol.ANCILLARY, socket.MSG_DONTWAIT
                )
            except OSError:
                return
            for descriptor in protocol.descriptors(ancillary):
                os.close(descriptor)
            if not size:
                return
            yield HEADER.unpack_from(self._buffer)[3]

    def close(self) -> None:
        """Close both ends: the process finds the end of its socket."""
        ours, theirs = self._ours, self._theirs
        self._ours = self._theirs = None
        if ours is not None:
            self._loop.remove_reader(ours)
            ours.close()
        if theirs is not None:
            theirs.close()
