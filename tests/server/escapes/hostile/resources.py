"""Algorithms that take more than their share: memory, disk, descriptors, whatever the kernel gives."""

import ctypes
import errno
import mmap
import os
import socket
import time

from .attempts import attempt, libc

_held = []
MIB = 1 << 20


def _ends_with(action):
    """``[how often it succeeded, the error that ended it]``."""
    count = 0
    try:
        while count < 10**7:
            action()
            count += 1
    except OSError as problem:
        return [count, errno.errorcode[problem.errno]]
    return [count, "no end"]


def hogs_memory(input):
    """Memory until there is none."""
    while True:
        _held.append(bytearray(b"x") * (4 * MIB))


def hogs_memory_by_children(input):
    """The same by a family of which no member takes much; it tells whether one of them came to grief."""
    for _ in range(60):
        if os.fork() == 0:
            block = mmap.mmap(-1, 16 * MIB)
            for position in range(0, 16 * MIB, 4096):
                block[position] = 1
            time.sleep(600)
            os._exit(0)
    return os.waitstatus_to_exitcode(os.wait()[1])


def hogs_shared_memory(input):
    """Memory that no process has: segments of System V, each within bounds."""
    for _ in range(800):
        number = libc.shmget(0, MIB, 0o1600)
        if number < 0:
            return "refused"
        libc.shmat.restype = ctypes.c_void_p
        place = libc.shmat(number, None, 0)
        libc.memset(ctypes.c_void_p(place), 1, MIB)
    time.sleep(600)


def hogs_memory_files(input):
    """Memory in files without a name."""
    while True:
        descriptor = os.memfd_create("x")
        _held.append(descriptor)
        for _ in range(16):
            os.write(descriptor, bytes(MIB))


def hogs_pipes(input):
    """Memory of the kernel's, in pipes that nobody reads; it ends with the descriptors."""

    def fill():
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        attempt(os.write, writing, bytes(MIB))

    return _ends_with(fill)[1]


def hogs_sockets(input):
    """Memory of the kernel's, in sockets that nobody reads; it ends with the descriptors."""

    def fill():
        ours, theirs = socket.socketpair()
        _held.extend((ours, theirs))
        ours.setblocking(False)
        while attempt(ours.send, bytes(65536)) == "done":
            pass

    return _ends_with(fill)[1]


def hogs_descriptors(input):
    """Every descriptor that it gets."""
    count, problem = _ends_with(lambda: os.open("/dev/null", os.O_RDONLY))
    return [count < 1024, problem]


def fills_its_directory(where):
    """Everything that can be written there."""
    written = 0
    try:
        with open(where + "/big", "wb", 0) as handle:
            while written < 1 << 30:
                written += handle.write(bytes(65536))
    except OSError as problem:
        return [written, errno.errorcode[problem.errno]]


def fills_shared_memory(where):
    """The same for the other directory that is its own."""
    return fills_its_directory(where)


def makes_many_files(input):
    """Files without contents, of which each takes memory all the same."""
    numbers = iter(range(10**7))
    return _ends_with(lambda: os.close(os.open("/tmp/%d" % next(numbers), os.O_CREAT | os.O_WRONLY)))[1]


def makes_deep_directories(input):
    """Directories in directories, which somebody has to remove."""
    os.chdir("/tmp")
    for _ in range(5000):
        os.mkdir("d" * 50)
        os.chdir("d" * 50)
    return "deep"


def makes_odd_names(input):
    """Names that confuse whoever lists or removes them."""
    os.chdir("/tmp")
    for name in (b"-rf", b"\n", b"\xff\xfe", b" ", b"*", b"$(touch x)", b"a\x1b[2J", b"n" * 255):
        os.mkdir(name)
        with open(name + b"/" + name, "wb"):
            pass
        os.chmod(name, 0)
    return "odd"


def makes_a_large_hole(input):
    """A file of a terabyte that takes no room, for whoever believes its size."""
    with open("/tmp/hole", "wb") as handle:
        handle.truncate(1 << 40)
    return os.stat("/tmp/hole").st_blocks


def hogs_queues(input):
    """Queues of messages of System V, which outlive the processes that made them."""
    made = 0
    while made < 100 and libc.msgget(0, 0o1600) >= 0:
        made += 1
    return made > 0
