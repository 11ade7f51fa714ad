"""Algorithms and builds that may use the network reach what is outside of the machine, and nothing of the machine."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import engine_zoo
import pytest
from engine_zoo import Keeper, is_running, processes_with, sandbox_called, wait_until, with_keeper
from test_sandbox import HEAD, serving
from test_sandbox import ZOO as PROBES

from Algorithmia.server.engine import bubblewrap, cgroups, network, sandbox
from Algorithmia.server.engine import process as process_module
from Algorithmia.server.engine.network import PrivateNetwork, own_addresses, resolver
from Algorithmia.server.engine.process import Process
from Algorithmia.server.engine.sandbox import Confinement, NoSandbox, detect

ZOO = {
    "asks": PROBES["asks"],
    "connects": PROBES["connects"],
    "resolves": "def apply(host): return open('/etc/resolv.conf').read(), attempt(socket.getaddrinfo, host, 80)",
    "binds": (
        "def send(kind, host, port):\n"
        "    with socket.socket(socket.AF_INET, kind) as s:\n"
        "        s.settimeout(0.2)\n"
        "        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'tap0')\n"
        "        s.connect((host, port))\n"
        "        s.send(b'x')\n"
        "def apply(targets):\n"
        "    kinds = socket.SOCK_STREAM, socket.SOCK_DGRAM\n"
        "    return [attempt(send, kind, *target) for target in targets for kind in kinds]"
    ),
    "ip": (
        "def apply(input):\n"
        "    import fcntl, struct\n"
        "    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:\n"
        "        down = attempt(fcntl.ioctl, s, 0x8914, struct.pack('16sh22x', b'tap0', 0))\n"
        "        away = attempt(fcntl.ioctl, s, 0x890C, bytes(120))\n"
        "    return [down, away, attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1),\n"
        "            attempt(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0), sorted(os.listdir('/proc/self/fd'))]"
    ),
}


@pytest.fixture(autouse=True)
def private(monkeypatch: pytest.MonkeyPatch) -> None:
    found = sandbox_called("bubblewrap")
    if found.network != "private":
        pytest.skip("there is no slirp4netns that works here")
    monkeypatch.setattr(Keeper, "sandbox", found)
    for name, source in ZOO.items():
        monkeypatch.setitem(engine_zoo.ZOO, name, HEAD + source)


@contextlib.contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[int]:
    """The port of a service of this machine, which hears nothing of anybody when the block is left."""
    with socket.create_server((host, 0)) as service:
        yield service.getsockname()[1]
        service.setblocking(False)
        with pytest.raises(BlockingIOError):
            service.accept()


def slirps(keeper: Keeper) -> list[int]:
    """The slirp4netns of the pool's workers."""
    attached = [worker._process.attachment for worker in keeper.pool._processes if worker._process is not None]
    found = [entry._slirp for entry in attached if isinstance(entry, PrivateNetwork)]
    return [process.pid for process in found if process is not None]


def test_an_algorithm_reaches_the_platform_and_nothing_else_of_the_machine(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        name = f"algorithmia-test-{os.getpid()}"
        async with serving(keeper) as port:
            with listening() as local, listening("0.0.0.0") as everywhere, socket.socket(socket.AF_UNIX) as unix:  # noqa: S104
                unix.bind(f"\0{name}")
                unix.listen()
                assert await keeper("asks", "/x") == [f"http://127.0.0.1:{port}", "you asked for /x"]
                own = [address.partition("/")[0] for address in own_addresses()]
                gateway, dns = "198.51.100.2", "198.51.100.3"
                for host in ("127.0.0.1", gateway, dns, "localhost"):
                    outcome = await keeper("connects", [[host, local], [host, everywhere]])
                    assert set(outcome) <= {"ECONNREFUSED", "ENETUNREACH"}, host
                assert await keeper("connects", [[host, everywhere] for host in own]) == ["EACCES"] * len(own)
                outcome = await keeper("connects", [[dns, port], [gateway, port], f"@{name}"])
                assert set(outcome) <= {"ECONNREFUSED", "ENETUNREACH"}
        metadata = ["169.254.169.254", "169.254.0.1", "192.0.0.192", "100.100.100.200", "168.63.129.16"]
        assert await keeper("connects", [[host, 80] for host in metadata]) == ["EACCES"] * len(metadata)

    with_keeper(tmp_path, test)


def test_a_socket_bound_to_the_device_does_not_either(tmp_path: Path) -> None:
    """To whom routes mean less, and the namespace's own loopback nothing."""

    async def test(keeper: Keeper) -> None:
        own = [address.partition("/")[0] for address in own_addresses()]
        with contextlib.ExitStack() as stack:
            local, everywhere = (stack.enter_context(listening(host)) for host in ("127.0.0.1", "0.0.0.0"))  # noqa: S104
            datagrams = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            datagrams.bind(("0.0.0.0", 0))  # noqa: S104
            port = datagrams.getsockname()[1]
            targets = [("127.0.0.1", local)]
            for host in ("127.0.0.1", "127.9.9.9", "198.51.100.2", "198.51.100.3", *own):
                targets += [(host, everywhere), (host, port)]
            await keeper("binds", targets)
            # An answer to what was sent last: what came before has arrived where it could.
            assert set(await keeper("connects", [["198.51.100.2", everywhere]])) <= {"ECONNREFUSED", "ENETUNREACH"}
            datagrams.setblocking(False)
            with pytest.raises(BlockingIOError):
                datagrams.recv(1)

    with_keeper(tmp_path, test)


def test_what_is_outside_can_be_reached(tmp_path: Path) -> None:
    """The name server, that is: the only thing that every machine knows of the outside."""

    async def test(keeper: Keeper) -> None:
        text, _ = await keeper("resolves", "localhost")
        assert text.startswith("nameserver 198.51.100.3\n")
        lines = Path("/etc/resolv.conf").read_text().splitlines()
        servers = [line.split()[1] for line in lines if line.startswith("nameserver")]
        if not servers or ":" in servers[0] or not answers(servers[0]):
            pytest.skip("no name server answers over TCP")
        assert await keeper("connects", [["198.51.100.3", 53]]) == ["done"]

    with_keeper(tmp_path, test)


def answers(server: str) -> bool:
    try:
        socket.create_connection((server, 53), 2).close()
    except OSError:
        return False
    return True


def test_an_algorithm_cannot_change_its_network(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        *refused, descriptors = await keeper("ip")
        assert refused[:3] == ["EPERM"] * 3 and refused[3] in ("EPERM", "EAFNOSUPPORT")
        # Nothing of how it was made is left open.
        assert len(descriptors) <= 5, descriptors

    with_keeper(tmp_path, test)


def test_the_network_goes_with_the_worker_and_not_the_other_way_round(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        assert await keeper("echo", 1) == 1
        [slirp] = slirps(keeper)
        held = {os.readlink(f"/proc/{slirp}/fd/{name}") for name in os.listdir(f"/proc/{slirp}/fd")}
        assert not any("socket" in name and "memfd" in name for name in held) and len(held) < 12, held
        os.kill(slirp, signal.SIGKILL)
        assert await keeper("echo", 2) == 2 and slirps(keeper) == [slirp]
        assert await keeper("connects", [["198.51.100.3", 53]]) != ["done"] or slirps(keeper) != [slirp]
        [*_, last] = slirps(keeper)
        for worker in tuple(keeper.pool._processes):
            worker.kill()
            await worker.ended
        assert not is_running(last) and not slirps(keeper)

    opened, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    with_keeper(tmp_path, test)
    assert len(os.listdir("/proc/self/fd")) <= opened + 1
    assert threading.active_count() <= threads + 1


def test_it_does_not_outlive_a_server_that_is_killed() -> None:
    script = (
        "import os\n"
        "from pathlib import Path\n"
        "from Algorithmia.server.engine.sandbox import Confinement, detect\n"
        "process = detect().start(('/bin/sleep', '600'), Confinement(Path('/'), {}, Path('/')))\n"
        "process.attachment._thread.join()\n"
        "print(process.pid, process.attachment._slirp.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, timeout=60)
    started = [int(pid) for pid in done.stdout.split()]
    assert len(started) == 2
    assert wait_until(lambda: not any(map(is_running, started)), 20)
    if groups := cgroups.find():
        groups.sweep()


@pytest.mark.parametrize("moment", ["child", "go_on"])
def test_nothing_goes_on_without_a_server_that_is_killed_while_the_network_is_made(moment: str) -> None:
    if not Keeper.sandbox._filter.program:
        pytest.skip("there is no filter of system calls, which it takes")
    mark = f"600{os.getpid()}.{len(moment)}"
    script = (
        "import os, time\n"
        "from pathlib import Path\n"
        "from Algorithmia.server.engine import network\n"
        "from Algorithmia.server.engine.sandbox import Confinement, detect\n"
        "sandbox = detect('require')\n"
        f"network.Link.{moment} = lambda *_: os.kill(os.getpid(), 9)\n"
        f"sandbox.start(('/bin/sleep', '{mark}'), Confinement(Path('/'), {{}}, Path('/')))\n"
        "time.sleep(60)"
    )
    done = subprocess.run([sys.executable, "-c", script], timeout=60)
    assert done.returncode == -signal.SIGKILL
    # No process began after the first look that finds none: each is made by another one that has the mark, too.
    assert wait_until(lambda: not processes_with(mark), 20)
    if groups := cgroups.find():
        groups.sweep()


def test_builds_reach_nothing_of_the_machine_either(tmp_path: Path) -> None:
    with listening() as port:
        script = (
            f"import socket\nfor host in ('127.0.0.1', '198.51.100.2'):\n    s = socket.socket()\n"
            f"    print(s.connect_ex((host, {port})))"
        )
        confinement = Confinement(
            Path("/"), {"PATH": "/usr/bin"}, tmp_path, (sys.prefix, sys.base_prefix), (str(tmp_path),)
        )
        process = Keeper.sandbox.start((sys.executable, "-c", script), confinement, stdout=subprocess.PIPE)
        output, _ = process.communicate(timeout=60)
        process.dispose()
        assert output.split() == [b"111", b"101"]


def test_a_network_that_cannot_be_made_fails_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keeper.sandbox, "_slirp", "/bin/false")

    async def test(keeper: Keeper) -> None:
        failure = await keeper.failure("echo", 1)
        assert failure.error_type == "SystemError" and "could not be given a network" in failure.message

    with_keeper(tmp_path, test)


def test_a_start_that_fails_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    confinement = Confinement(Path("/"), {"A": "b"}, Path("/"))
    made, opened = os.memfd_create, len(os.listdir("/proc/self/fd"))
    for enough in range(6):  # one more each time, until it starts
        left = iter(range(enough))

        def make(name: str, left: Iterator[int] = left) -> int:
            if next(left, None) is None:
                raise OSError(errno.EMFILE, "Too many open files")
            return made(name)

        monkeypatch.setattr(os, "memfd_create", make)
        try:
            process = Keeper.sandbox.start(("/bin/true",), confinement)
        except OSError:
            pass
        else:
            assert process.wait(60) == 0
            process.dispose()
        assert len(os.listdir("/proc/self/fd")) == opened, enough
    assert process.returncode == 0


def test_a_link_that_cannot_be_made_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    made, opened = [os.pipe()], len(os.listdir("/proc/self/fd"))

    def pipe() -> tuple[int, int]:
        if made:
            return made.pop()
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pipe", pipe)
    with pytest.raises(OSError, match="Too many"):
        network.Link(b"")
    assert len(os.listdir("/proc/self/fd")) == opened - 2


def test_a_process_without_a_thread_for_its_network_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def start(*arguments: Any, **options: Any) -> Process:
        process = process_module.start(*arguments, **options)
        started.append(process.pid)
        return process

    opened = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        patch.setattr(bubblewrap, "start", start)
        with pytest.raises(OSError, match="can't start new thread"):
            Keeper.sandbox.start(("/bin/sleep", "600"), Confinement(Path("/"), {}, Path("/")))
    assert len(started) == 1 and not is_running(started[0])
    assert len(os.listdir("/proc/self/fd")) == opened


def test_where_there_is_no_slirp4netns_the_network_is_shared(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(network, "find", lambda: None)
    assert detect("auto").network == "shared"
    assert "NETWORK SHARED" in caplog.text and "no slirp4netns" in caplog.text
    with pytest.raises(NoSandbox, match="no slirp4netns.*Install slirp4netns"):
        detect("require")
    monkeypatch.setattr(network, "find", lambda: "/bin/false")
    with pytest.raises(NoSandbox, match="slirp4netns doesn't work"):
        detect("require")
    assert isinstance(detect("auto"), bubblewrap.Bubblewrap) and sandbox.Unconfined.network == "shared"


def test_what_resolv_conf_says(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("# mine\nnameserver 127.0.0.53\nsearch example.net\noptions ndots:2 edns0\nnameserver ::1\n")
    assert resolver(str(path)).decode().splitlines() == [
        "nameserver 198.51.100.3", "search example.net", "options ndots:2 edns0",
    ]  # fmt: skip
    assert resolver(str(tmp_path / "none")) == b"nameserver 198.51.100.3\n"


def test_which_addresses_are_the_machines_own(tmp_path: Path) -> None:
    table = tmp_path / "fib_trie"
    table.write_text(
        "Main:\n  +-- 0.0.0.0/0 3 0 4\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 10.1.2.3\n"
        "        /32 host LOCAL\n     |-- 10.1.2.255\n        /32 link BROADCAST\n     |-- 127.0.0.1\n"
        "        /32 host LOCAL\nLocal:\n     |-- 10.1.2.3\n        /32 host LOCAL\n"
    )
    assert list(own_addresses(str(table))) == ["10.1.2.3/32"]
    assert json.dumps(list(own_addresses()))
