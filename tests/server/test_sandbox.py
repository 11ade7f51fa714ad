"""What hostile algorithms can do in the sandbox, each attempt with its exact outcome; and what it lets through."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import engine_zoo
import pytest
import uvicorn
from engine_zoo import Keeper, processes_with, sandbox_called, with_keeper
from hosted_algorithms import Hosted

from Algorithmia.server.connections import BoundedConnection, adopter
from Algorithmia.server.engine import bubblewrap
from Algorithmia.server.engine.base import Runtime
from Algorithmia.server.engine.sandbox import Limits, NoSandbox, Unconfined, detect
from Algorithmia.server.identity import Account

MIB = 1024 * 1024
IS_ROOT = os.geteuid() == 0

# ``attempt(thing)`` is "done", or the name of the error that it met; a list of outcomes is the result.
HEAD = """
import ctypes, errno, json, os, signal, socket, subprocess, sys, time
def attempt(action, *arguments):
    try: action(*arguments)
    except OSError as problem: return errno.errorcode.get(problem.errno, str(problem))
    return "done"
libc = ctypes.CDLL(None, use_errno=True)
def system(number, *arguments):
    if libc.syscall(number, *arguments) < 0: raise OSError(ctypes.get_errno(), "")
"""

ZOO = {
    "reads": "def apply(paths): return {p: attempt(os.listdir if p.endswith('/') else open, p) for p in paths}",
    "writes": "def apply(paths): return {p: attempt(open, p + '/x', 'w') for p in paths}",
    "lists": "def apply(path): return sorted(os.listdir(path))",
    "processes": (
        "def read(path):\n"
        "    try: return open(path, 'rb').read().decode('utf-8', 'replace')\n"
        "    except OSError as problem: return errno.errorcode[problem.errno]\n"
        "def apply(input):\n"
        "    pids = [p for p in os.listdir('/proc') if p.isdigit()]\n"
        "    return {p: read('/proc/%s/environ' % p) for p in pids}"
    ),
    "status": (
        "def apply(input):\n"
        "    fields = dict(line.split(':\\t', 1) for line in open('/proc/self/status').read().splitlines())\n"
        "    fields['uid'] = os.getuid()\n"
        "    return fields"
    ),
    "kills": "def apply(pid): return attempt(os.kill, pid, 9)",
    "escapes": (
        "def apply(mark):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork() == 0: os.execvp('sleep', ['sleep', mark])\n"
        "        os._exit(0)\n"
        "    time.sleep(0.2)\n"
        "    return 'escaped'"
    ),
    "fills": (
        "def apply(where):\n"
        "    written = 0\n"
        "    try:\n"
        "        with open(where + '/big', 'wb', 0) as handle:\n"
        "            while written < 2 ** 30: written += handle.write(bytes(65536))\n"
        "    except OSError as problem: return [written, errno.errorcode[problem.errno]]"
    ),
    "forks": (
        "def apply(input):\n"
        "    children = []\n"
        "    try:\n"
        "        while len(children) < 5000:\n"
        "            child = os.fork()\n"
        "            if child == 0: time.sleep(60); os._exit(0)\n"
        "            children.append(child)\n"
        "    except OSError as problem: return [len(children), errno.errorcode[problem.errno]]"
    ),
    "calls": (
        "def apply(input):\n"
        "    return {\n"
        "        'unshare': attempt(system, 272, 0x10000000),\n"
        "        'mount': attempt(system, 165, b'a', b'/tmp', b'tmpfs', 0, 0),\n"
        "        'ptrace': attempt(system, 101, 16, 1, 0, 0), 'bpf': attempt(system, 321, 0, 0, 0),\n"
        "        'io_uring': attempt(system, 425, 1, 0), 'clone3': attempt(system, 435, 0, 0),\n"
        "        'clone': attempt(system, 56, 0x10000000 | 17, 0, 0, 0, 0), 'chroot': attempt(os.chroot, '/tmp'),\n"
        "        'setuid': attempt(os.setuid, 0), 'mknod': attempt(os.mknod, '/tmp/sda', 0o60600, 0x800),\n"
        "    }"
    ),
    "connects": (
        "def connect(address):\n"
        "    family = socket.AF_INET if isinstance(address, list) else socket.AF_UNIX\n"
        "    with socket.socket(family) as s:\n"
        "        s.settimeout(2)\n"
        "        s.connect(tuple(address) if isinstance(address, list) else address.replace('@', chr(0)))\n"
        "def apply(addresses): return [attempt(connect, address) for address in addresses]"
    ),
    "asks": (
        "import urllib.request\n"
        "def ask(url): return urllib.request.urlopen(url, timeout=10).read().decode()\n"
        "print(ask(os.environ['ALGORITHMIA_API'] + '/load'))\n"
        "def apply(path): return [os.environ['ALGORITHMIA_API'], ask(os.environ['ALGORITHMIA_API'] + path)]"
    ),
    "shows": "def apply(names): return {name: os.environ.get(name) for name in names}",
    "names": "import pwd, grp, getpass\ndef apply(i): return [getpass.getuser(), grp.getgrgid(os.getgid()).gr_name,"
    " socket.gethostname(), [p.pw_name for p in pwd.getpwall()], os.path.expanduser('~')]",
}


@pytest.fixture(autouse=True)
def sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keeper, "sandbox", sandbox_called("bubblewrap"))
    for name, source in ZOO.items():
        monkeypatch.setitem(engine_zoo.ZOO, name, HEAD + source)


# -- files -------------------------------------------------------------------------------------------------------


def test_files_of_the_platform_and_of_people_are_not_there(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    hidden = [
        str(secret), "/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/machine-id", "/var/", "/home/", "/run/",
        "/sys/", "/mnt/", "/proc/1/root/", "/proc/1/fd/",
    ]  # fmt: skip

    async def test(keeper: Keeper) -> None:
        state = keeper.settings.state
        (state / "platform.db").write_text("x")
        other = state / "builds" / "other" / "src"
        other.mkdir(parents=True)
        (other / "other.py").write_text("x")
        mine = str(tmp_path / "reads" / "src" / "reads.py")
        hidden.extend((str(state / "platform.db"), f"{other}/", f"{state}/builds/", f"{state}/work/"))
        wanted = [*hidden, mine, "/etc/passwd", "/etc/hosts"]
        outcome = await keeper("reads", wanted)
        assert [outcome.pop(path) for path in (mine, "/etc/passwd", "/etc/hosts")] == ["done"] * 3
        assert outcome.pop("/proc/1/root/") in ("EACCES", "EPERM") or not IS_ROOT
        assert outcome.pop("/proc/1/fd/") in ("EACCES", "EPERM") or not IS_ROOT
        assert {path: reason for path, reason in outcome.items() if reason != "ENOENT"} == {}
        # On the way to what it may see there is nothing else: the runner's own modules, the project.
        assert await keeper("lists", str(tmp_path)) == ["home", "lists"]
        assert await keeper("lists", str(state)) == ["environments"]

    with_keeper(tmp_path, test)


def test_the_state_directory_is_hidden_even_inside_of_what_may_be_read(tmp_path: Path) -> None:
    found = detect("auto", hidden=[tmp_path / "home"])
    tmp_path.chmod(0o755)

    async def test(keeper: Keeper) -> None:
        keeper.pool._sandbox = keeper.pool.starter._sandbox = found
        (keeper.settings.state / "platform.db").write_text("x")
        project = engine_zoo.make_project(keeper.settings.state / "builds", "reads")
        runtime = engine_zoo.own_runtime()
        keeper.runtime = Runtime(runtime.command, "frames", runtime.environment, (*runtime.readable, str(tmp_path)))
        (tmp_path / "toolchain").write_text("x")
        engine_zoo_make = engine_zoo.make_project
        engine_zoo.make_project = lambda directory, name: project
        try:
            paths = [str(keeper.settings.state / "platform.db"), str(tmp_path / "toolchain"), f"{project}/src/"]
            outcome = await keeper("reads", paths)
            assert list(outcome.values()) == ["ENOENT", "done", "done"]
        finally:
            engine_zoo.make_project = engine_zoo_make

    with_keeper(tmp_path, test)


def test_nothing_but_its_own_tmp_can_be_written(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        project = str(tmp_path / "writes")
        outcome = await keeper("writes", ["/", "/usr", "/etc", "/dev", project, f"{project}/src", "/tmp", "/dev/shm"])
        assert outcome.pop("/tmp") == outcome.pop("/dev/shm") == "done"
        assert set(outcome.values()) == {"EROFS"}
        assert not (tmp_path / "writes" / "x").exists()
        # Another process doesn't find what the first one left.
        assert "x" not in await keeper("lists", "/tmp", account=Account("account-other", "other"))

    with_keeper(tmp_path, test)


def test_tmp_has_a_size(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        for where in ("/tmp", "/dev/shm"):
            assert await keeper("fills", where) == [3 * MIB, "ENOSPC"]

    with_keeper(tmp_path, test, max_scratch_bytes=3 * MIB)


# -- processes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["retired", "killed"])
def test_no_process_outlives_its_worker(tmp_path: Path, how: str) -> None:
    mark = f"{700 + os.getpid() / 1e7:.7f}"

    async def test(keeper: Keeper) -> None:
        assert await keeper("escapes", mark) == "escaped"
        assert processes_with(mark)
        if how == "retired":
            keeper.pool.recycle("algorithm-escapes")
        else:
            [worker] = keeper.pool._processes
            worker.kill()
        while processes_with(mark):
            await asyncio.sleep(0.02)

    with_keeper(tmp_path, test)


def test_other_processes_and_the_servers_environment_are_out_of_sight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "hush")

    async def test(keeper: Keeper) -> None:
        assert await keeper("echo", 1) == 1
        seen = await keeper("processes")
        assert set(seen) == {"1", "2"}
        assert "ALGORITHMIA_API_KEY" in seen["2"] and "hush" not in str(seen)
        assert seen["1"] == ("EACCES" if IS_ROOT else "")
        assert await keeper("kills", os.getpid() + 100_000) == "ESRCH"
        assert await keeper("kills", os.getpid()) in ("ESRCH", "done")  # perhaps a process of its own has that number
        assert await keeper("kills", -1) == "ESRCH"
        assert await keeper("echo", 2) == 2

    with_keeper(tmp_path, test)


def test_workers_have_no_rights_and_as_root_users_of_their_own(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        first = await keeper("status")
        second = await keeper("status", account=Account("account-other", "other"))
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(first[name], 16) == 0
        assert (first["NoNewPrivs"], first["Seccomp"]) == ("1", "2")
        if IS_ROOT:
            assert len({first["uid"], second["uid"], os.getuid()}) == 3
            assert first["Groups"].split() in ([], [str(first["uid"])])
        else:
            assert first["uid"] == second["uid"] == os.getuid()

    with_keeper(tmp_path, test)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of system calls are those of x86_64")
def test_calls_that_break_out_are_refused(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        outcome = await keeper("calls")
        assert outcome.pop("clone3") == "ENOSYS"
        assert outcome.pop("setuid") in (("EPERM",) if IS_ROOT else ("EPERM", "EINVAL"))
        assert set(outcome.values()) == {"EPERM"}

    with_keeper(tmp_path, test)


def test_a_fork_bomb_is_bounded_and_harms_nobody(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        count, reason = await keeper("forks")
        assert reason == "EAGAIN" and 100 < count < Limits().processes
        assert await keeper("echo", 1) == 1
        keeper.pool.recycle("algorithm-forks")

    with_keeper(tmp_path, test)


# -- network -----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def serving(keeper: Keeper) -> AsyncIterator[int]:
    """uvicorn with an application that tells the path, as the platform of `keeper`'s pool; its port."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"you asked for " + scope["raw_path"]})

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(application, http=BoundedConnection, lifespan="off", log_config=None, access_log=False)
    )
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    port: int = listener.getsockname()[1]
    keeper.pool.adopt = adopter(server)
    keeper.pool.starter._address = f"http://127.0.0.1:{port}"
    try:
        yield port
    finally:
        server.should_exit = True
        await task


@pytest.mark.parametrize("protocol", ["frames", "stdio"])
def test_an_isolated_algorithm_reaches_the_platform_and_nothing_else(tmp_path: Path, protocol: str) -> None:
    async def test(keeper: Keeper) -> None:
        keeper.network = "isolated"
        abstract = f"algorithmia-test-{os.getpid()}"
        async with serving(keeper) as port:
            with socket.create_server(("127.0.0.1", 0)) as other, socket.socket(socket.AF_UNIX) as unix:
                unix.bind(f"\0{abstract}")
                unix.listen()
                address = f"http://127.0.0.1:{port}"
                if protocol == "frames":
                    assert await keeper.warm("asks") == "you asked for /load"
                    for number in range(3):
                        assert await keeper("asks", f"/{number}") == [address, f"you asked for /{number}"]
                    slept = await asyncio.gather(*(keeper("asks", "/x", account=account) for account in accounts(3)))
                    assert slept == [[address, "you asked for /x"]] * 3
                else:
                    program = """
import json, os, sys, urllib.request
print("PIPE_INIT_COMPLETE", flush=True)
for line in sys.stdin:
    text = urllib.request.urlopen(os.environ["ALGORITHMIA_API"] + "/stdio", timeout=10).read().decode()
    with open("/tmp/algoout", "w") as handle:
        json.dump({"result": text, "metadata": {"content_type": "text"}}, handle)
"""
                    readable = (sys.prefix, sys.base_prefix)
                    keeper.runtime = Runtime((sys.executable, "-I", "-c", program), "stdio", {}, readable)
                    assert await keeper("echo") == "you asked for /stdio"
                    return
                targets = [["127.0.0.1", other.getsockname()[1]], ["192.0.2.1", 80], f"@{abstract}"]
                assert await keeper("connects", targets) == ["ECONNREFUSED", "ENETUNREACH", "ECONNREFUSED"]
                assert await keeper("asks", "/again") == [address, "you asked for /again"]
        # Once the worker has ended, its socket is closed.
        for worker in tuple(keeper.pool._processes):
            worker.kill()
            await worker.ended
            assert worker._doorway is None or worker._doorway._adopted is None

    opened = len(os.listdir("/proc/self/fd"))
    with_keeper(tmp_path, test)
    assert len(os.listdir("/proc/self/fd")) <= opened + 1


def accounts(count: int) -> list[Account]:
    return [Account(f"account-{number}", f"a{number}") for number in range(count)]


ISOLATED = """
import os, socket
import Algorithmia
def attempt(action, *arguments):
    try: return action(*arguments)
    except OSError as problem: return type(problem).__name__
def apply(state):
    client = Algorithmia.client()
    client.file("data://.my/isolated/note").put("kept")
    return {
        "data": client.file("data://.my/isolated/note").getString(),
        "call": client.algo("demo/Hello").pipe("you").result,
        "database": attempt(open, state + "/platform.db"),
        "outside": attempt(socket.create_connection, ("192.0.2.1", 80), 2),
    }
"""


def test_an_isolated_algorithm_on_a_platform_works_with_data_and_other_algorithms(
    start_server: Any, tmp_path: Path
) -> None:
    server = start_server("--sandbox", "auto")
    hosted = Hosted(server, tmp_path)
    hosted.send("POST", "/v1/connector/data/.my", b'{"name": "isolated"}')
    settings = {"language": "python3", "environment": "cpu", "source_visibility": "closed", "license": "apl"}
    settings |= {"network_access": "isolated", "pipeline_enabled": True}
    body = {"name": "Quiet", "details": {"label": "Quiet"}, "settings": settings}
    hosted.send("POST", f"/v1/algorithms/{hosted.name}", json.dumps(body).encode())
    directory = hosted.clone("Quiet")
    (directory / "src" / "Quiet.py").write_text(ISOLATED)
    (directory / ".adk").unlink(missing_ok=True)
    commit = hosted.push("Quiet", directory)
    state = str(Path(server.home) / "platform")
    outcome = hosted.call(f"Quiet/{commit}", "json", state)
    assert outcome.value == {
        "data": "kept",
        "call": "Hello you",
        "database": "FileNotFoundError",
        "outside": "OSError",
    }, outcome


# -- variables ---------------------------------------------------------------------------------------------------


def test_no_secret_is_on_a_command_line(tmp_path: Path) -> None:
    secret = f"hush-{os.getpid()}-{time.time()}"

    async def test(keeper: Keeper) -> None:
        keeper.pool.starter.secrets_of = lambda _: {"TOKEN": secret, "LD_PRELOAD": "/tmp/evil.so", "GCONV_PATH": "/tmp"}
        names = ["TOKEN", "LD_PRELOAD", "GCONV_PATH", "ALGORITHMIA_API_KEY"]
        seen = await keeper("shows", names)
        key = seen.pop("ALGORITHMIA_API_KEY")
        assert seen == {"TOKEN": secret, "LD_PRELOAD": None, "GCONV_PATH": None}
        [outer] = keeper.processes()
        assert secret.encode() not in Path(f"/proc/{outer}/environ").read_bytes()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    text = (entry / "cmdline").read_bytes()
                    assert secret.encode() not in text and key.encode() not in text

    with_keeper(tmp_path, test)


def test_a_runtimes_own_library_path_arrives(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        runtime = engine_zoo.own_runtime()
        environment = {**runtime.environment, "LD_LIBRARY_PATH": "/opt/toolchain/lib", "EMPTY": ""}
        keeper.runtime = Runtime(runtime.command, "frames", environment, runtime.readable)
        assert await keeper("shows", ["LD_LIBRARY_PATH", "EMPTY"]) == {
            "LD_LIBRARY_PATH": "/opt/toolchain/lib",
            "EMPTY": "",
        }

    with_keeper(tmp_path, test)


def test_names_inside(tmp_path: Path) -> None:
    async def test(keeper: Keeper) -> None:
        assert await keeper("names") == ["algo", "algo", "algo", ["algo"], "/tmp"]

    with_keeper(tmp_path, test)


# -- finding one -------------------------------------------------------------------------------------------------


def test_detect(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(detect("off"), Unconfined)
    assert detect("auto").name == "bubblewrap"
    with pytest.raises(NoSandbox, match="--sandbox maybe: choose auto, require or off"):
        detect("maybe")
    monkeypatch.setattr(bubblewrap, "find", lambda: iter(["/bin/false"]))
    with pytest.raises(NoSandbox, match="can't be confined here .*choose --sandbox auto or off"):
        detect("require")
    assert detect("auto").name == "none"
    assert "NOT CONFINED" in caplog.text
    monkeypatch.setattr(bubblewrap, "find", lambda: iter([]))
    with pytest.raises(NoSandbox, match="install bubblewrap"):
        detect("require")


def test_a_bwrap_that_does_not_work_leads_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    working = list(bubblewrap.find())
    monkeypatch.setattr(bubblewrap, "find", lambda: iter(["/nowhere/bwrap", "/bin/false", *working]))
    found = detect("auto")
    assert isinstance(found, bubblewrap.Bubblewrap) and found.program == working[0]


@pytest.mark.parametrize("program", list(bubblewrap.find()))
def test_every_bwrap_here_works(program: str) -> None:
    found = bubblewrap.Bubblewrap(program)
    found.probe()
    found.load_filter(True)
    assert len(found._filter.program) > 100


def test_the_server_says_which_sandbox_it_has(start_server: Any) -> None:
    for wanted, name in (("auto", "bubblewrap"), ("off", "none")):
        server = start_server("--sandbox", wanted)
        health = json.loads(server.client().getHelper("/health").content)
        assert (health["sandbox"], health["engine"]["sandbox"]) == (name, name)
        assert health["memory"] == health["engine"]["memory"] == Keeper.sandbox.memory
        network = Keeper.sandbox.network if wanted == "auto" else "shared"
        assert health["network"] == health["engine"]["network"] == network


def test_a_server_that_must_have_a_sandbox_and_has_none_does_not_start(tmp_path: Path) -> None:
    environment = {"PATH": "/nowhere", "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    program = (
        "import sys; from Algorithmia.server.engine import bubblewrap; bubblewrap.find = lambda: iter([]);"
        "from Algorithmia.server.main import main; sys.exit(main(['--sandbox', 'require']))"
    )
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert b"algo serve: algorithms can't be confined here (there is no bwrap: install bubblewrap)" in done.stderr

