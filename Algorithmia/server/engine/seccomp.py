"""The filter of system calls: everything but what administers the machine, watches other processes, or is rarely used
except to break out.
"""

from __future__ import annotations

import errno
import os
import tempfile

_REFUSED = (
    "acct", "add_key", "bpf", "clock_adjtime", "clock_settime", "delete_module", "fanotify_init", "finit_module",
    "fsconfig", "fsmount", "fsopen", "fspick", "init_module", "io_uring_enter", "io_uring_register", "io_uring_setup",
    "ioperm", "iopl", "kcmp", "kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "mount", "mount_setattr",
    "move_mount", "move_pages", "name_to_handle_at", "nfsservctl", "open_by_handle_at", "open_tree", "perf_event_open",
    "pidfd_getfd", "pivot_root", "process_vm_readv", "process_vm_writev", "ptrace", "quotactl", "quotactl_fd", "reboot",
    "request_key", "setdomainname", "sethostname", "setns", "settimeofday", "swapoff", "swapon", "syslog", "umount2",
    "unshare", "userfaultfd", "vhangup",
)  # fmt: skip
_CLONE_NEWUSER = 0x10000000
_INT = 0xFFFFFFFF
# UNIX, IPv4, IPv6, netlink. Of the others most are rarely used code of the kernel's, and VSOCK leads from a virtual
# machine to its host whatever network a process has.
_FAMILIES = (1, 2, 10, 16)
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C


def program() -> bytes:
    """The filter as the kernel takes it. Raises ImportError, OSError or RuntimeError where it can't be made."""
    import pyseccomp  # type: ignore[import-untyped]

    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    refuse = pyseccomp.ERRNO(errno.EPERM)
    for name in _REFUSED:
        try:
            rules.add_rule(refuse, name)
        except (OSError, ValueError):
            continue  # not a system call here
    new_user = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _CLONE_NEWUSER, _CLONE_NEWUSER)
    rules.add_rule(refuse, "clone", new_user)
    # Its flags are out of a filter's sight; the C library then uses clone.
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    for request in (_TIOCSTI, _TIOCLINUX):
        rules.add_rule(refuse, "ioctl", pyseccomp.Arg(1, pyseccomp.MASKED_EQ, _INT, request))
    unknown = pyseccomp.ERRNO(errno.EAFNOSUPPORT)
    for family in set(range(_FAMILIES[-1])) - set(_FAMILIES):
        rules.add_rule(unknown, "socket", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _INT, family))
    rules.add_rule(unknown, "socket", pyseccomp.Arg(0, pyseccomp.GT, _FAMILIES[-1]))
    with tempfile.TemporaryFile() as handle:
        rules.export_bpf(handle)
        handle.seek(0, os.SEEK_SET)
        return handle.read()
