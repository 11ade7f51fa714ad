"""Algorithms that ask the kernel for what would let them out. The numbers of system calls are those of x86_64."""

import ctypes
import fcntl
import mmap
import os
import platform
import resource
import signal
import struct
import time

from .attempts import attempt, libc, system

CALLS = {
    "acct": (163, 0), "add_key": (248, b"user", b"x", b"y", 1, -3), "bpf": (321, 0, 0, 0), "chroot": (161, b"/tmp"),
    "fanotify_init": (300, 0, 0), "fsopen": (430, b"tmpfs", 0), "fsconfig": (431, 0, 0, 0, 0, 0),
    "init_module": (175, 0, 0, b""), "finit_module": (313, 0, b"", 0), "io_uring_setup": (425, 1, 0),
    "ioperm": (173, 0, 1, 1), "iopl": (172, 3), "kcmp": (312, 1, 2, 0, 0, 0), "kexec_load": (246, 0, 0, 0, 0),
    "keyctl": (250, 0, -3, 0), "mount": (165, b"a", b"/tmp", b"tmpfs", 0, 0), "move_mount": (429, 0, 0, 0, 0, 0),
    "move_pages": (279, 0, 0, 0, 0, 0, 0), "name_to_handle_at": (303, -100, b"/", 0, 0, 0),
    "open_by_handle_at": (304, -100, 0, 0), "open_tree": (428, -100, b"/", 0),
    "perf_event_open": (298, 0, 0, -1, -1, 0),
    "pidfd_getfd": (438, 0, 0, 0), "pivot_root": (155, b"/tmp", b"/tmp"), "process_vm_readv": (310, 1, 0, 0, 0, 0, 0),
    "process_vm_writev": (311, 1, 0, 0, 0, 0, 0), "ptrace": (101, 16, 1, 0, 0), "quotactl": (179, 0, 0, 0, 0),
    "reboot": (169, 0, 0, 0, 0), "request_key": (249, b"user", b"x", 0, -3), "setdomainname": (171, b"x", 1),
    "sethostname": (170, b"x", 1), "setns": (308, 0, 0), "settimeofday": (164, 0, 0), "swapon": (167, b"/tmp/x", 0),
    "syslog": (103, 3, 0, 0), "umount2": (166, b"/tmp", 2), "unshare_mounts": (272, 0x20000),
    "unshare_users": (272, 0x10000000), "unshare_network": (272, 0x40000000), "userfaultfd": (323, 0),
    "clone_users": (56, 0x10000000 | 17, 0, 0, 0, 0), "vhangup": (153,),
}  # fmt: skip


def makes_forbidden_calls(input):
    """Every system call that administers, traces or breaks out: those that aren't refused with EPERM."""
    found = {name: attempt(system, *arguments) for name, arguments in CALLS.items()}
    return {name: outcome for name, outcome in found.items() if outcome != "EPERM"}


def makes_clone3(input):
    """The one whose flags a filter can't see."""
    return attempt(system, 435, 0, 0)


def enters_other_namespaces(input):
    """The namespaces of the sandbox's own first process, entered through their files or its descriptor."""
    found = []
    for name in ("mnt", "pid", "net", "user", "uts", "ipc", "cgroup"):
        try:
            descriptor = os.open("/proc/1/ns/" + name, os.O_RDONLY)
        except OSError:
            continue
        if attempt(system, 308, descriptor, 0) != "EPERM":
            found.append(name)
    descriptor = system(434, 1, 0)
    if attempt(system, 308, descriptor, 0x20000) != "EPERM":
        found.append("pidfd")
    return found


def traces_its_child(input):
    """Even its own child, which would then make calls in its name."""
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    found = [
        attempt(system, 101, 0x4206, child, 0, 0),
        attempt(system, 310, child, 0, 0, 0, 0, 0),
        attempt(system, 438, system(434, child, 0), 0, 0),
    ]
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return found


def uses_another_architecture(input):
    """mount() by the system call of 32-bit programs, whose numbers are others."""
    if platform.machine() != "x86_64":
        os.kill(os.getpid(), signal.SIGSYS)
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x15\x00\x00\x00\xcd\x80\xc3")  # mov eax, 21; int 0x80; ret
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()


def uses_the_other_numbers(input):
    """mount() by its number among those of x32 programs."""
    if platform.machine() != "x86_64":
        os.kill(os.getpid(), signal.SIGSYS)
    return attempt(system, 0x40000000 | 165, b"a", b"/tmp", b"tmpfs", 0, 0)


def types_into_terminals(input):
    """Input pushed into a terminal, as if somebody had typed it."""
    _, terminal = os.openpty()
    return [
        attempt(fcntl.ioctl, terminal, 0x5412, b"x"),
        # The filter compares what the kernel looks at: half of the number.
        attempt(system, 16, ctypes.c_ulong(terminal), ctypes.c_ulong(0x100005412), b"x"),
    ]


def takes_rights(input):
    """Users, groups, capabilities, priorities and limits beyond what it was given; those that it got."""
    everything = struct.pack("IIIIII", 0xFFFFFFFF, 0xFFFFFFFF, 0, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    header = struct.pack("Ii", 0x20080522, 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    tried = {
        "setuid": attempt(os.setuid, 0),
        "setgid": attempt(os.setgid, 0),
        "setgroups": attempt(os.setgroups, [0]),
        "capset": attempt(system, 126, header, everything),
        "ambient": attempt(system, 157, 47, 2, 21, 0, 0),
        "nice": attempt(os.nice, -5),
        "realtime": attempt(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(50)),
        "files": attempt(resource.setrlimit, resource.RLIMIT_NOFILE, (hard + 1, hard + 1)),
        "processes": attempt(resource.setrlimit, resource.RLIMIT_NPROC, (100000, 100000)),
        "core": attempt(resource.setrlimit, resource.RLIMIT_CORE, (1, 1)),
    }
    return sorted(name for name, outcome in tried.items() if outcome == "done")


def dumps_core(input):
    """A crash whose image would be written to the disk of whoever collects them."""
    attempt(resource.setrlimit, resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    libc.prctl(4, 1, 0, 0, 0)
    os.kill(os.getpid(), signal.SIGQUIT)


def opens_foreign_sockets(input):
    """Kinds of sockets that lead around the network's walls, or deep into the kernel; those that it got."""
    families = {"packet": 17, "alg": 38, "vsock": 40, "bluetooth": 31, "can": 29, "xdp": 44, "tipc": 30, "rds": 21,
                "key": 15, "x25": 9, "phonet": 35, "smc": 43}  # fmt: skip
    found = []
    for name, family in sorted(families.items()):
        descriptor = libc.socket(family, 1, 0)
        if descriptor < 0:
            descriptor = libc.socket(family, 2, 0)
        if descriptor < 0:
            descriptor = libc.socket(family, 5, 0)
        if descriptor >= 0:
            found.append(name)
            os.close(descriptor)
    if libc.socket(2, 3, 1) >= 0:
        found.append("raw")
    return found
