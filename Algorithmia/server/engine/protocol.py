"""The private protocol between the server and a worker process: one packet per frame over a UNIX socket.

A frame is a header and a body::

    kind (1 byte)  content type (1)  where the body is (2)  call number (4)  length of body (8)  seconds (8, float)

    server -> worker   CALL      content type, body as the caller sent it
    worker -> server   READY     the algorithm has loaded; calls may come
                       UNLOADED  loading failed; body: error members as JSON; the process ends
                       DONE      content type, encoded result; seconds that the call took
                       FAILED    body: error members as JSON (message, error_type, stacktrace); seconds
                       INVALID   the input is not what its content type says; body: UTF-8 text

The socket keeps packets apart (SOCK_SEQPACKET). A body follows its header in the packet, or, when it is longer than
`MAX_INLINE`, is the content of a file without a name whose descriptor comes with the packet.

The worker takes one packet at a time and answers it before it takes the next. The server may send several ahead, and
can take those back that the worker hasn't taken: it keeps the worker's end of the socket open too, and reads from it.

Both sides import this module, the worker under whatever Python its algorithm needs, so it imports next to nothing and
keeps to old syntax.
"""

import array
import os
import socket
import struct
import tempfile

HEADER = struct.Struct("!BBHIQd")

CALL, READY, UNLOADED, DONE, FAILED, INVALID = range(1, 7)

CONTENT_TYPES = ("text", "json", "binary")

INLINE, ATTACHED = range(2)
MAX_INLINE = 48 * 1024
MAX_PACKET = HEADER.size + MAX_INLINE
# Room for one descriptor beside a packet.
ANCILLARY = socket.CMSG_SPACE(array.array("i").itemsize)


def send(link, kind, content_type="json", number=0, body=b"", seconds=0.0):
    # type: (socket.socket, int, str, int, bytes, float) -> None
    """Send one frame over `link`. Raises OSError; BlockingIOError if `link` doesn't block and is full."""
    where = INLINE if len(body) <= MAX_INLINE else ATTACHED
    header = HEADER.pack(kind, CONTENT_TYPES.index(content_type), where, number, len(body), seconds)
    if where == INLINE:
        link.send(header + body)
        return
    descriptor = _file_with(body)
    try:
        given = array.array("i", [descriptor])
        link.sendmsg([header], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, given)])
    finally:
        os.close(descriptor)


def descriptors(ancillary):
    # type: (list) -> list
    """The descriptors that came with a packet; whoever asks owns them."""
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return found.tolist()


def read_file(descriptor, length):
    # type: (int, int) -> bytes
    """The first `length` bytes of the file, which may be fewer; closes `descriptor`."""
    parts = []
    position = 0
    try:
        while position < length:
            part = os.pread(descriptor, length - position, position)
            if not part:
                break
            parts.append(part)
            position += len(part)
    finally:
        os.close(descriptor)
    return b"".join(parts)


def _file_with(body):
    # type: (bytes) -> int
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("body")
    else:
        with tempfile.TemporaryFile() as handle:
            descriptor = os.dup(handle.fileno())
    try:
        view = memoryview(body)
        position = 0
        while position < len(view):
            position += os.pwrite(descriptor, view[position:], position)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
