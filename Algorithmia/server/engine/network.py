"""What a process finds in a network of its own: a way to the internet, if it may have one, and the platform.

slirp4netns is a process beside it that turns what comes out of the namespace into ordinary connections. It leads
to nothing on the machine's loopback; routes in the namespace keep the process from the machine's other addresses, which
would reach the same services, and from those that tell virtual machines their secrets. There is no IPv6 in there.

bubblewrap says which process it has made, and waits with it until the network is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import logging
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .process import Process
from .sandbox import Limits, limited

log = logging.getLogger("algorithmia.engine")

# Set aside for examples: nobody's network has it.
_NETWORK, _DNS = "198.51.100.0/24", "198.51.100.3"
# Where clouds tell machines who they are: link-local addresses, and those of Oracle, Alibaba and Azure.
_METADATA = ("169.254.0.0/16", "192.0.0.192/32", "100.100.100.200/32", "168.63.129.16/32")
# A socket may be bound to slirp4netns's device, which takes no rights: what it sends to the loopback's addresses would
# leave by the default route, and arrive at the machine's. All others find the loopback in another table first.
_LOOPBACK = "127.0.0.0/8"

Listening = tuple[int, Callable[[socket.socket], None]]

_NS_GET_USERNS = 0xB701
_TIME = 10.0  # for the network to be there
_LIMITS = Limits(processes=0, open_files=4096)
_PYTHON = (os.path.realpath(sys.executable), "-I", "-S", "-E", "-B", str(Path(__file__).with_name("routes.py")))


def find() -> str | None:
    """The slirp4netns to use."""
    return shutil.which("slirp4netns")


def resolver(path: str = "/etc/resolv.conf") -> bytes:
    """What a process's resolv.conf says: the machine's domains and options, with a server that it can reach."""
    lines = [f"nameserver {_DNS}"]
    with contextlib.suppress(OSError), open(path, errors="replace") as handle:
        lines += [line.strip() for line in handle if line.startswith(("search", "domain", "options"))]
    return ("\n".join(lines) + "\n").encode()


class Link:
    """The descriptors by which bubblewrap says which process it has made, and is told to go on with it.

    The server may be killed meanwhile, and bubblewrap isn't made for that: it ends with its parent only from a later
    moment on. If it couldn't say what it has made, that would wait for it for good; and the end of what it waits for is
    its sign to go on. So it holds both ends of the pipe in which it says it; and the filter of system calls comes
    with the sign, since without the one that it was promised it ends.
    """

    def __init__(self, program: bytes) -> None:
        """
        program  the filter; empty if there is none
        """
        self._go_on = b"1" + program
        with contextlib.ExitStack() as opened:

            def keep(descriptor: int) -> int:
                opened.callback(os.close, descriptor)
                return descriptor

            self._info, writing = map(keep, os.pipe())
            self._their_info = keep(os.open(f"/proc/self/fd/{writing}", os.O_RDWR))
            self._their_go, self._go = map(keep, os.pipe())
            self._their_filter = keep(os.dup(self._their_go)) if program else -1
            opened.pop_all()
        os.close(writing)

    @property
    def theirs(self) -> tuple[int, ...]:
        """What bubblewrap must inherit."""
        return (self._their_info, self._their_go, self._their_filter)[: 2 if self._their_filter < 0 else 3]

    @property
    def arguments(self) -> tuple[str, ...]:
        """What tells bubblewrap of them."""
        names = ("--info-fd", "--block-fd", "--seccomp")
        return tuple(itertools.chain(*zip(names, map(str, self.theirs), strict=False)))

    def handed_over(self) -> None:
        """bubblewrap has been started, or can't be: close its ends."""
        for descriptor in self.theirs:
            os.close(descriptor)

    def close(self) -> None:
        """Close our ends. If bubblewrap still waits it ends, or if there is no filter goes on."""
        os.close(self._info)
        os.close(self._go)

    def child(self, parent: int) -> int:
        """A descriptor of the directory in /proc of the process that bubblewrap, process `parent`, has made."""
        text = b""
        end = time.monotonic() + _TIME
        while b"}" not in text:
            part = os.read(self._info, 4096) if _readable(self._info, end) else b""
            if not part:
                raise OSError("the sandbox doesn't say that it has begun")
            text += part
        directory = os.open(f"/proc/{json.loads(text)['child-pid']}", os.O_PATH | os.O_DIRECTORY)
        try:  # whose number it is could have changed before it was opened
            status = os.open("stat", os.O_RDONLY, dir_fd=directory)
            with open(status, "rb") as handle:
                if int(handle.read().rpartition(b")")[2].split()[1]) != parent:
                    raise OSError("the sandbox has ended")
        except BaseException:
            os.close(directory)
            raise
        return directory

    def go_on(self) -> None:
        """Have bubblewrap go on."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._go, self._go_on)


class PrivateNetwork:
    """The network of one process, being made on a thread of its own; the process is ended if that fails."""

    def __init__(self, program: str, listening: Listening | None, process: Process, link: Link) -> None:
        """
        program    the slirp4netns to use; none if there is to be no internet
        listening  see `Confinement`
        """
        self.problem = ""
        self._program = program
        self._listening = listening
        self._process = process
        self._link = link
        self._slirp: subprocess.Popen[bytes] | None = None
        self._lifeline = -1  # slirp4netns ends when this is closed, by the kernel if need be
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take it away; the process has ended. Blocks."""
        self._thread.join()
        if self.problem:
            self._link.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        if self._slirp is not None:
            self._slirp.kill()
            self._slirp.wait()

    def _run(self) -> None:
        try:
            with contextlib.ExitStack() as stack:
                self._attach(stack)
            self._link.go_on()
        except (OSError, ValueError, KeyError, subprocess.SubprocessError) as problem:
            # The link stays: its end would be the sign to go on.
            self.problem = str(problem) or type(problem).__name__
            self._process.end()
        else:
            self._link.close()

    def _attach(self, stack: contextlib.ExitStack) -> None:
        child = self._link.child(self._process.pid)
        stack.callback(os.close, child)
        _await_loopback(child)
        network = os.open("ns/net", os.O_RDONLY, dir_fd=child)
        stack.callback(os.close, network)
        user = -1
        if os.geteuid():
            user = fcntl.ioctl(network, _NS_GET_USERNS)
            stack.callback(os.close, user)
        ready = self._start_slirp(network, user, stack) if self._program else -1
        if user < 0:
            self._furnish(network)
        else:
            _close_off(network, user)
        if ready < 0:
            return
        if not _readable(ready, time.monotonic() + _TIME) or os.read(ready, 1) != b"1":
            assert self._slirp is not None
            raise OSError(f"slirp4netns doesn't work (status {self._slirp.poll()})")

    def _start_slirp(self, network: int, user: int, stack: contextlib.ExitStack) -> int:
        """Start it; what becomes readable when it works."""
        ready, said_ready = os.pipe()
        stack.callback(os.close, ready)
        theirs = stack.enter_context(contextlib.ExitStack())
        theirs.callback(os.close, said_ready)
        held, self._lifeline = os.pipe()
        theirs.callback(os.close, held)
        descriptors = [network, said_ready, held]
        command = [self._program, "--configure", "--disable-host-loopback", f"--cidr={_NETWORK}"]
        command += ["--enable-seccomp", f"--ready-fd={said_ready}", f"--exit-fd={held}"]
        if user >= 0:
            descriptors.append(user)
            command.append(f"--userns-path=/proc/self/fd/{user}")
        else:
            command.append("--enable-sandbox")  # which takes a root
        command += ["--netns-type=path", f"/proc/self/fd/{network}", "tap0"]
        limits = limited(tuple(command), _LIMITS)
        group = self._process.group
        self._slirp = subprocess.Popen(
            # In the process's group: what it makes slirp4netns use up is the process's.
            limits if group is None else group.joined(limits),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            pass_fds=descriptors,
            start_new_session=True,
        )
        theirs.close()
        return ready

    def _furnish(self, network: int) -> None:
        """Do what takes living in `network`: from now on this thread does, which ends soon."""
        from . import routes  # the server may do without

        closed = _closed() if self._program else ()
        routes.enter(network)
        routes.prohibit(closed)
        if self._listening is not None:
            port, take = self._listening
            listener = socket.create_server(("127.0.0.1", port), backlog=128)
            take(listener)


def _close_off(network: int, user: int) -> None:
    """Do it in a process that isn't root, and so by one without threads."""
    command = (*_PYTHON, str(user), str(network), *_closed())
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, env={}, pass_fds=(user, network), timeout=_TIME
    )
    if done.returncode:
        raise OSError(done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2])


def _closed() -> tuple[str, ...]:
    return (_LOOPBACK, *_METADATA, *own_addresses())


def own_addresses(path: str = "/proc/net/fib_trie") -> Iterator[str]:
    """The machine's own IPv4 addresses, ``address/32`` each, but for those of its loopback."""
    found = set()
    with open(path) as handle:
        for address in re.findall(r"\|-- ([\d.]+)\n\s+/32 host LOCAL", handle.read()):
            if not address.startswith("127."):
                found.add(f"{address}/32")
    yield from sorted(found)


def _await_loopback(process: int) -> None:
    """Wait until bubblewrap has set up the loopback of `process`, a directory in /proc; it fails if others are faster.

    Raises OSError."""
    end = time.monotonic() + _TIME
    while time.monotonic() < end:
        with open(os.open("net/fib_trie", os.O_RDONLY, dir_fd=process), "rb") as handle:
            if b"127.0.0.1" in handle.read():
                return
        time.sleep(0.0002)
    raise OSError("the sandbox has no loopback")


def _readable(descriptor: int, end: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(0.0, end - time.monotonic()) * 1000))
