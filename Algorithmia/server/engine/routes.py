"""Keeps a network namespace from some addresses, by routes that whoever lives in it has no right to change.

    python routes.py USER-NAMESPACE NETWORK-NAMESPACE ADDRESS/BITS...

Namespaces are numbers of inherited descriptors. As a program it needs nothing but what is next to it and the standard
library, so that it costs little: a server that isn't root has to go by way of a user namespace, which a process with
several threads can't enter.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Iterable

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000

_NEW_ROUTE, _ERROR = 24, 2
_REQUEST, _ACKNOWLEDGE, _CREATE, _EXCLUSIVE = 0x1, 0x4, 0x400, 0x200
_MAIN_TABLE, _STATIC, _UNIVERSE, _PROHIBIT = 254, 4, 0, 8
_DESTINATION = 1


def enter(descriptor: int, is_user: bool = False) -> None:
    """Have this thread live in a network namespace, or this process in a user namespace. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWUSER if is_user else _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "can't enter a namespace")


def prohibit(networks: Iterable[str]) -> None:
    """Let nobody here reach the IPv4 `networks`, ``address/bits`` each. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as kernel:
        for network in networks:
            address, _, bits = network.partition("/")
            route = struct.pack(
                "=BBBBBBBBI", socket.AF_INET, int(bits), 0, 0, _MAIN_TABLE, _STATIC, _UNIVERSE, _PROHIBIT, 0
            )
            route += struct.pack("=HH", 8, _DESTINATION) + socket.inet_aton(address)
            flags = _REQUEST | _ACKNOWLEDGE | _CREATE | _EXCLUSIVE
            kernel.send(struct.pack("=IHHII", 16 + len(route), _NEW_ROUTE, flags, 1, 0) + route)
            answer = kernel.recv(4096)
            kind, number = struct.unpack_from("=H", answer, 4)[0], -struct.unpack_from("=i", answer, 16)[0]
            if kind != _ERROR or number not in (0, errno.EEXIST):
                raise OSError(number, f"can't keep a network from {network}: {os.strerror(number)}")


if __name__ == "__main__":
    enter(int(sys.argv[1]), is_user=True)
    enter(int(sys.argv[2]))
    prohibit(sys.argv[3:])
