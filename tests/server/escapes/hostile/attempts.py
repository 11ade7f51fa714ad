"""What hostile algorithms share: trying things, and telling the name of the error that they met."""

import ctypes
import errno
import os
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)


def attempt(action, *arguments, **options):
    """``done``, or the name of the error: what `action` came to."""
    try:
        action(*arguments, **options)
    except OSError as problem:
        return errno.errorcode.get(problem.errno, str(problem))
    except (ValueError, RuntimeError) as problem:
        return type(problem).__name__
    return "done"


def system(number, *arguments):
    """The system call `number`."""
    result = libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def look(path):
    """Read or list `path`."""
    if path.endswith("/"):
        return os.listdir(path)
    with open(path, "rb") as handle:
        return handle.read(100)


def processes():
    """The processes in sight."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def private_socket():
    """A copy of the socket over which the platform talks to this process."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink("/proc/self/fd/" + name).startswith("socket:"):
                continue
            found = socket.socket(fileno=os.dup(int(name)))
            if found.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_SEQPACKET:
                return found
        except OSError:
            continue
    raise LookupError("there is no such socket")


def number_of_this_call():
    """The number by which the platform knows the call that runs, from the frames below this one."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "_answer":
            return frame.f_locals["number"]
        frame = frame.f_back
    raise LookupError("this isn't the platform's runner")
