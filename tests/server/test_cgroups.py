"""What algorithms may take of the machine's memory: the kernel's limit, the watchdog where there is none, and what the
caller of an algorithm that wanted more is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import engine_zoo
import pytest
from engine_zoo import Keeper, sandbox_called, wait_until, with_keeper

from Algorithmia.server.engine import bubblewrap, cgroups, process, sandbox
from Algorithmia.server.engine.cgroups import Group, Groups
from Algorithmia.server.engine.process import Process
from Algorithmia.server.engine.sandbox import Confinement, Limits, Sandbox, Unconfined
from Algorithmia.server.engine.worker import TIMED_OUT

MIB = 1024 * 1024
LIMIT = 96 * MIB

ZOO = {
    "hog": "def apply(size): return len(b'x' * size)",
    "hoards": (
        "import time\nkept = []\n"
        "def apply(size):\n    kept.append(b'x' * size)\n    time.sleep(60)"
    ),
    "child_hog": (
        "import subprocess, sys\n"
        "def apply(size): return subprocess.call([sys.executable, '-c', 'x = b\"x\" * %d' % size])"
    ),
    "children_hog": (
        "import subprocess, sys, time\n"
        "def apply(size):\n"
        "    program = 'import time; x = b\"x\" * %d; time.sleep(60)' % (size // 4)\n"
        "    for child in [subprocess.Popen([sys.executable, '-c', program]) for _ in range(4)]: child.wait()"
    ),
    "tmp_hog": (
        "import errno\n"
        "def apply(size):\n"
        "    with open('/tmp/big', 'wb', 0) as file:\n"
        "        for _ in range(size // 65536): file.write(bytes(65536))\n"
        "    return 'written'"
    ),
    "loads_a_lot": "kept = b'x' * (200 * 2 ** 20)\ndef apply(input): return 1",
    "writes_a_lot": (
        "import os, time\n"
        "def apply(files):\n"
        "    for number in range(files):\n"
        "        with open(os.path.join(os.environ['TMPDIR'], str(number)), 'wb') as file: file.write(bytes(2 ** 20))\n"
        "    time.sleep(60)"
    ),
    "writes_one": (
        "import errno, os\n"
        "def apply(size):\n"
        "    try:\n"
        "        with open(os.path.join(os.environ['TMPDIR'], 'one'), 'wb') as file: file.write(bytes(size))\n"
        "    except OSError as problem: return errno.errorcode[problem.errno]"
    ),
}


@pytest.fixture(scope="module")
def groups() -> Groups:
    found = cgroups.find()
    if found is None:
        pytest.skip("no control group here is the tests' to divide")
    return found


@pytest.fixture(autouse=True)
def zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, source in ZOO.items():
        monkeypatch.setitem(engine_zoo.ZOO, name, source)


@pytest.fixture(params=["bubblewrap", "none"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, groups: Groups) -> Sandbox:
    """Sandboxes whose processes the kernel limits."""
    found = sandbox_called("bubblewrap") if request.param == "bubblewrap" else Unconfined(groups)
    monkeypatch.setattr(Keeper, "sandbox", found)
    return found


@pytest.fixture
def watched(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Sandboxes whose processes nobody but the watchdog limits."""
    found: Sandbox = Unconfined()
    if request.param == "bubblewrap":
        found = bubblewrap.Bubblewrap(next(iter(bubblewrap.find()), "bwrap"))
        sandbox_called("bubblewrap")  # or skip
    monkeypatch.setattr(Keeper, "sandbox", found)
    return found


def ours(groups: Groups) -> list[Path]:
    """The groups that this process has made."""
    return [path for base in groups._directories for path in base.glob(f"algorithmia-{os.getpid()}-*")]


# -- the kernel's limit ------------------------------------------------------------------------------------------


def test_what_needs_too_much_memory_fails_alone_and_says_so(tmp_path: Path, kernel: Sandbox, groups: Groups) -> None:
    async def test(keeper: Keeper) -> None:
        assert await keeper("hog", 8 * MIB) == 8 * MIB
        [worker] = keeper.pool._processes
        assert MIB < worker.memory() < LIMIT
        failure = await keeper.failure("hog", 2 * LIMIT)
        assert (failure.error_type, failure.was_killed) == ("OutOfMemoryError", False)
        assert failure.message == f"{TIMED_OUT} (the worker process needed more than its 96 MiB of memory)"
        assert await keeper("hog", MIB) == MIB
        # Together, they are as much; the one that the kernel ends isn't the worker.
        assert await keeper("child_hog", 2 * LIMIT) == -signal.SIGKILL
        [busy] = [worker for worker in keeper.pool._processes if "child_hog" in str(worker.launch.project)]
        assert await keeper("child_hog", MIB) == 0 and busy in keeper.pool._processes
        loading = await keeper.failure("loads_a_lot")
        assert loading.error_type == "LoadingError" and "needed more than its 96 MiB of memory" in loading.message
        # Python's own refusal is the algorithm's to handle.
        assert (await keeper.failure("memory")).error_type == "OutOfMemoryError"

    with_keeper(tmp_path, test, max_memory_bytes=LIMIT)
    assert ours(groups) == []


def test_files_in_tmp_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: Groups) -> None:
    monkeypatch.setattr(Keeper, "sandbox", sandbox_called("bubblewrap"))

    async def test(keeper: Keeper) -> None:
        assert await keeper("tmp_hog", MIB) == "written"
        [worker] = keeper.pool._processes
        assert (await keeper.failure("tmp_hog", 2 * LIMIT)).error_type == "OutOfMemoryError"
        assert worker not in keeper.pool._processes

    with_keeper(tmp_path, test, max_memory_bytes=LIMIT)


def test_a_limit_of_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: Groups) -> None:
    monkeypatch.setattr(Keeper, "sandbox", Unconfined(groups))

    async def test(keeper: Keeper) -> None:
        assert await keeper("hog", 200 * MIB) == 200 * MIB

    with_keeper(tmp_path, test, max_memory_bytes=0)


def test_the_command_is_in_its_group_from_the_first_moment(tmp_path: Path, kernel: Sandbox, groups: Groups) -> None:
    confinement = Confinement(tmp_path, {}, tmp_path, (str(tmp_path),), limits=Limits(memory=LIMIT, processes=20))
    tmp_path.chmod(0o755)
    process = kernel.start(("/bin/cat", "/proc/self/cgroup"), confinement, stdout=subprocess.PIPE)
    output, _ = process.communicate(timeout=60)
    made = ours(groups)
    process.dispose()
    # Inside of a sandbox, its own group is all there is.
    assert made and (kernel.name == "bubblewrap" or all(path.name in output.decode() for path in made))
    assert ours(groups) == []


def test_processes_are_counted_and_whatever_is_left_ends_with_the_group(tmp_path: Path, groups: Groups) -> None:
    """No sandbox needed for that: not even a new session gets a process out."""
    mark = f"{800 + os.getpid() / 1e7:.7f}"
    script = f"for i in $(seq 30); do setsid sleep {mark} >&2 & done; echo all"
    confinement = Confinement(tmp_path, {"PATH": "/usr/bin:/bin"}, tmp_path, limits=Limits(processes=10))
    process = Unconfined(groups).start(("/bin/sh", "-c", script), confinement, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b""  # the shell gives up when it can't fork
    process.wait()
    assert wait_until(lambda: 0 < len(engine_zoo.processes_with(mark)) <= 10)
    process.dispose()
    process.stdout.close()
    assert not engine_zoo.processes_with(mark)
    assert ours(groups) == []


def test_what_a_server_that_is_gone_has_left_is_removed(groups: Groups) -> None:
    """It made a group, put a process in it, and was killed."""
    script = (
        "import os, subprocess, sys\n"
        "from Algorithmia.server.engine import cgroups\n"
        "group = cgroups.find().make(2 ** 30, 10)\n"
        "command = group.joined(('/bin/sleep', '600'))\n"
        "child = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)\n"
        "while not all(open(d / 'cgroup.procs').read().split() for d in group._directories): pass\n"
        "print(child.pid, *group._directories, sep='\\n', flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, timeout=60)
    pid, *directories = done.stdout.splitlines()
    assert all(map(os.path.isdir, directories)) and engine_zoo.is_running(int(pid))
    mine = groups.make(2**30, 10)
    groups.sweep()
    assert not any(map(os.path.exists, directories)) and not engine_zoo.is_running(int(pid))
    assert all(path.is_dir() for path in mine._directories)
    mine.remove()


# -- the watchdog ------------------------------------------------------------------------------------------------


def test_a_watchdog_that_could_not_be_started_is_started_for_the_next_process(monkeypatch: pytest.MonkeyPatch) -> None:
    unconfined = Unconfined()
    confinement = Confinement(Path("/"), {}, Path("/"), limits=Limits(memory=LIMIT))
    begun: list[Process] = []

    def start(*arguments: Any, **options: Any) -> Process:
        begun.append(process.start(*arguments, **options))
        return begun[-1]

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(sandbox, "start", start)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OSError, match="can't start new thread"):
            unconfined.start(("/bin/sleep", "600"), confinement)
    assert begun[0].returncode == -signal.SIGKILL
    hog = unconfined.start((sys.executable, "-c", f"x = b'x' * {2 * LIMIT}; import time; time.sleep(600)"), confinement)
    assert hog.wait(60) == -signal.SIGKILL and hog.why() == "memory"
    hog.dispose()


@pytest.mark.parametrize(
    ("watched", "name"), [("bubblewrap", "children_hog"), ("none", "hoards")], indirect=["watched"]
)
def test_without_control_groups_the_watchdog_ends_what_has_grown_too_much(
    tmp_path: Path, watched: Sandbox, name: str
) -> None:
    async def test(keeper: Keeper) -> None:
        assert watched.memory == "watchdog"
        failure = await keeper.failure(name, 2 * LIMIT)
        assert failure.error_type == "OutOfMemoryError" and "more than its 96 MiB of memory" in failure.message
        assert await keeper("hog", MIB) == MIB

    with_keeper(tmp_path, test, max_memory_bytes=LIMIT)


def test_without_a_sandbox_the_private_directory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keeper, "sandbox", Unconfined())

    async def test(keeper: Keeper) -> None:
        assert await keeper("writes_one", 2 * MIB) is None
        assert await keeper("writes_one", 5 * MIB) == "EFBIG"
        failure = await keeper.failure("writes_a_lot", 8)
        assert failure.error_type == "SystemExit" and "wrote more than 4 MiB to its directory" in failure.message

    with_keeper(tmp_path, test, max_scratch_bytes=4 * MIB)


# -- finding control groups --------------------------------------------------------------------------------------


def proc(directory: Path, cgroup: str, mounts: str) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "cgroup").write_text(cgroup)
    (directory / "mountinfo").write_text(mounts)
    return directory


def test_version_1_below_the_servers_own(tmp_path: Path) -> None:
    for name in ("memory/a/b", "pids/c"):
        (tmp_path / name).mkdir(parents=True)
    mounts = (
        f"30 25 0:26 / {tmp_path}/memory rw,relatime - cgroup cgroup rw,memory\n"
        f"31 25 0:27 /outer {tmp_path}/pids rw,relatime shared:1 - cgroup cgroup rw,pids\n"
        f"32 25 0:28 / {tmp_path}/unified rw - cgroup2 cgroup2 rw\n"
    )
    own = dict(cgroups._own(proc(tmp_path / "proc", "8:pids:/outer/c\n4:memory:/a/b\n0::/x\n", mounts)))
    assert own == {
        "memory": tmp_path / "memory/a/b",
        "pids": tmp_path / "pids/c",
        "": tmp_path / "unified/x",
    }
    # What is mounted isn't where this process is: a container that sees another's.
    assert "pids" not in dict(cgroups._own(proc(tmp_path / "proc", "8:pids:/elsewhere\n", mounts)))
    assert cgroups.find(proc(tmp_path / "proc", "", "")) is None


class Files:
    """A group of version 2 as its files look, on a kernel that has none for tests."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.group = Group((directory,), cgroups._V2)
        directory.mkdir()

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.directory / name.replace("_", ".")).write_text(text)


def test_version_2_is_read_and_written(tmp_path: Path) -> None:
    files = Files(tmp_path / "group")
    files.write(memory_stat="anon 4096\nfile 100\nkernel 5\nshmem 1000\n", pids_max="max")
    (files.directory / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 0\n")
    files.group.limit(1 << 20, 40)
    wanted = {"memory.max": "1048576", "memory.swap.max": "0", "pids.max": "40"}
    assert {name: (files.directory / name).read_text() for name in wanted} == wanted
    assert (files.group.memory(), files.group.kills()) == (5096, 3)


@pytest.mark.parametrize(
    ("controllers", "enabled", "outcome"),
    [("cpu memory pids", "memory pids", True), ("cpu memory", "", True), ("cpu", "cpu", False), ("", "", False)],
)
def test_version_2_must_let_the_server_divide_its_group(
    tmp_path: Path, controllers: str, enabled: str, outcome: bool
) -> None:
    (tmp_path / "cgroup.controllers").write_text(controllers + "\n")
    (tmp_path / "cgroup.subtree_control").write_text(enabled)
    assert cgroups._delegates(tmp_path) is outcome
    if outcome and not enabled:
        assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"


def test_version_2_the_server_makes_way_if_it_is_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, Any]] = []

    def write(path: Path, value: Any) -> None:
        if path.name == "cgroup.subtree_control" and not any(name == "cgroup.procs" for name, _ in written):
            raise OSError(16, "busy")
        written.append((path.name, value))

    monkeypatch.setattr(cgroups, "_write", write)
    (tmp_path / "cgroup.controllers").write_text("memory pids")
    (tmp_path / "cgroup.subtree_control").write_text("")
    (tmp_path / "cgroup.procs").write_text(f"{os.getpid()}\n1\n")
    assert not cgroups._delegates(tmp_path) and not written
    (tmp_path / "cgroup.procs").write_text(f"{os.getpid()}\n")
    assert cgroups._delegates(tmp_path)
    assert written == [("cgroup.procs", 0), ("cgroup.subtree_control", "+memory +pids")]
    assert [path.name.rsplit("-", 1)[1] for path in tmp_path.glob("algorithmia-*")] == ["server"]


def test_a_group_that_cannot_be_made_fails_the_start(tmp_path: Path, groups: Groups) -> None:
    gone = Groups((tmp_path / "nowhere",), cgroups._V1)
    with pytest.raises(OSError):
        Unconfined(gone).start(("/bin/true",), Confinement(tmp_path, {}, tmp_path))
    assert sandbox.Limits().memory == 0
