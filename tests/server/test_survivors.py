"""A server that is killed leaves nothing, whatever it was starting: what the kernel doesn't end somebody else does.

A sandbox that hangs while it's made stands for all the moments from which bubblewrap doesn't end with its parent.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from engine_zoo import is_running, processes_with, sandbox_called, wait_until

from Algorithmia import errors
from Algorithmia.server.engine import cgroups, sandbox
from Algorithmia.server.engine.sandbox import Confinement
from Algorithmia.server.engine.survivors import began, survivors

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/cmdline"), reason="there is no /proc")

_PATIENCE = 60.0  # nobody else would end what these tests start in ten times that

# Hangs when it's to start a worker; for everything else the real one.
_HANGING = """#!{python} -ISE
import os, sys, time
if any(argument.endswith("runner.py") for argument in sys.argv):
    time.sleep(600)
os.execv({program!r}, sys.argv)
"""


def _hanging(directory: Path, program: str) -> Path:
    path = directory / os.path.basename(program)
    path.write_text(_HANGING.format(python=os.path.realpath(sys.executable), program=program))
    path.chmod(0o755)
    return path


def _sweep() -> None:
    if groups := cgroups.find():
        groups.sweep()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _run(script: str) -> subprocess.CompletedProcess[str]:
    """`script`, which kills itself."""
    head = (
        "import os, sys, time\nfrom pathlib import Path\n"
        "from Algorithmia.server.engine import cgroups, sandbox\nfrom Algorithmia.server.engine.sandbox import *\n"
    )
    done = subprocess.run([sys.executable, "-c", head + script], stdout=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL
    return done


def test_a_sandbox_that_is_being_made_ends_with_a_platform_that_is_killed(start_server: Any, tmp_path: Path) -> None:
    program = _hanging(tmp_path, sandbox_called("bubblewrap").program)
    server = start_server(environment={"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"})
    echo = server.client().algo("util/Echo")
    thread = threading.Thread(target=lambda: pytest.raises(errors.ApiError, echo.pipe, "x"))
    thread.start()
    mark = f"algorithmia-{server.process.pid}-{began(server.process.pid)}"
    assert wait_until(lambda: str(program) in _commands(_children(server.process.pid)), _PATIENCE)
    [hanging] = _children(server.process.pid)
    assert hanging in processes_with(mark)
    server.kill()
    thread.join()
    assert wait_until(lambda: not is_running(hanging) and not processes_with(mark), _PATIENCE)
    _sweep()


def _commands(pids: list[int]) -> list[str]:
    found = []
    for pid in pids:
        try:
            found += Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
        except OSError:
            continue
    return found


def test_sandboxes_end_with_a_server_that_is_killed_at_any_moment_while_they_are_made() -> None:
    program = sandbox_called("bubblewrap").program
    marks = [f"600{os.getpid()}.{moment}" for moment in range(12)]
    for moment, mark in enumerate(marks):
        _run(
            "import socket, threading\nfrom Algorithmia.server.engine.bubblewrap import Bubblewrap\n"
            f"bubblewrap = Bubblewrap({program!r}, (), cgroups.find())\nbubblewrap.load_filter(False)\n"
            "bubblewrap._filter.program\n"
            f"threading.Timer({moment / 100}, os.kill, (os.getpid(), 9)).start()\n"
            "listening = (9000, socket.socket.close) if bubblewrap.listens else None\n"
            "confinement = Confinement(Path('/'), {}, Path('/'), network=False, listening=listening)\n"
            "for _ in range(8):\n"
            f"    bubblewrap.start(('/bin/sleep', '{mark}'), confinement)\n"
            "time.sleep(60)"
        )
    # None began after the first look that finds none: each is made by another one that has the mark, too.
    assert wait_until(lambda: not any(map(processes_with, marks)), _PATIENCE)
    _sweep()


@pytest.mark.skipif(not os.access(sandbox.SETPRIV, os.X_OK), reason="there is no setpriv")
def test_without_a_sandbox_nothing_begins_after_the_servers_death(tmp_path: Path) -> None:
    mark = f"600{os.getpid()}.5"
    slow = tmp_path / "setpriv"
    slow.write_text(
        f"#!{os.path.realpath(sys.executable)} -ISE\nimport os, sys, time\n"
        f"while os.getppid() == int(open({str(tmp_path / 'server')!r}).read()):\n"
        f"    time.sleep(0.01)\nos.execv({sandbox.SETPRIV!r}, sys.argv)\n"
    )
    slow.chmod(0o755)
    _run(
        f"(Path({str(tmp_path)!r}) / 'server').write_text(str(os.getpid()))\n"
        f"sandbox.SETPRIV = {str(slow)!r}\n"
        f"sandbox.Unconfined().start(('/bin/sleep', '{mark}'), Confinement(Path('/'), {{}}, Path('/')))\n"
        "os.kill(os.getpid(), 9)"
    )
    assert wait_until(lambda: not processes_with(mark), _PATIENCE)


def test_what_detached_itself_ends_with_a_server_that_is_killed() -> None:
    if cgroups.find() is None:
        pytest.skip("there is no control group that may be used")
    mark = f"600{os.getpid()}.7"
    command = ("/bin/sh", "-c", f"setsid /bin/sleep {mark} & wait")
    _run(
        f"Unconfined(cgroups.find()).start({command!r}, Confinement(Path('/'), {{'PATH': os.defpath}}, Path('/')))\n"
        "while True:\n"
        "    for path in Path('/proc').glob('[0-9]*/cmdline'):\n"
        "        try:\n"
        f"            if path.read_text(errors='replace').split(chr(0))[:2] == ['/bin/sleep', '{mark}']:\n"
        "                os.kill(os.getpid(), 9)\n"
        "        except OSError:\n"
        "            pass\n"
        "    time.sleep(0.02)"
    )
    assert wait_until(lambda: not processes_with(mark), _PATIENCE)
    _sweep()


def test_somebody_waits_for_the_servers_end_even_if_who_did_was_killed() -> None:
    if not shutil.which("grep"):
        pytest.skip("there is no grep")
    survivors.watch(())
    who = f"{os.getpid()}-{began(os.getpid())}"
    [first] = [pid for pid in processes_with(who) if is_running(pid)]
    os.kill(first, signal.SIGKILL)
    assert wait_until(lambda: not is_running(first), _PATIENCE)
    process = sandbox_called("bubblewrap").start(("/bin/true",), Confinement(Path("/"), {}, Path("/")))
    assert process.wait(60) == 0
    process.dispose()
    [second] = [pid for pid in processes_with(who) if is_running(pid)]
    assert second != first and survivors.watch(()) == f"algorithmia-{who}"
    assert [pid for pid in processes_with(who) if is_running(pid)] == [second]
