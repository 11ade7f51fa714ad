"""What runs first in a process with a network of its own: listens where the algorithm will look for the platform, gives
the listening socket to the server, and becomes the program that it was asked to start.

    python launcher.py DESCRIPTOR PORT PROGRAM ARGUMENT...

It runs without site packages, and imports nothing that isn't built in or next to it, so that it costs little.
"""

import _socket
import os
import sys


def main(descriptor: int, port: int, command: list[str]) -> None:
    """See the module's first lines."""
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, _socket.IPPROTO_TCP)
    listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
    given = listener.fileno().to_bytes(4, sys.byteorder)
    channel.sendmsg([b"listening"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, given)])
    listener.close()
    channel.close()
    os.execv(command[0], command)  # noqa: S606  (that is its purpose)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
