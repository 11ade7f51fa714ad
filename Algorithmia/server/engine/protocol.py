"""The private protocol between the server and a worker process: frames over one UNIX socket, a call at a time.

A frame is a header and a body::

    kind (1 byte)  content type (1 byte)  2 bytes unused  call number (4)  length of body (8)  seconds (8, float)

    server -> worker   CALL      content type, body as the caller sent it
    worker -> server   READY     the algorithm has loaded; calls may come
                       UNLOADED  loading failed; body: error members as JSON; the process ends
                       DONE      content type, encoded result; seconds that the call took
                       FAILED    body: error members as JSON (message, error_type, stacktrace); seconds
                       INVALID   the input is not what its content type says; body: UTF-8 text

The end of the socket, either way, is the end of the worker. Both sides import this module, the worker under whatever
Python its algorithm needs, so it imports next to nothing and keeps to old syntax.
"""

import struct

HEADER = struct.Struct("!BB2xIQd")

CALL, READY, UNLOADED, DONE, FAILED, INVALID = range(1, 7)

CONTENT_TYPES = ("text", "json", "binary")


def frame_header(kind, content_type="json", number=0, length=0, seconds=0.0):
    # type: (int, str, int, int, float) -> bytes
    """The header of a frame whose body has `length` bytes."""
    return HEADER.pack(kind, CONTENT_TYPES.index(content_type), number, length, seconds)
