"""Small algorithm projects, one habit each, and a pool to run them on: what the engine's tests share."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from Algorithmia.server.auth import SessionKeys
from Algorithmia.server.builds.runtimes import Runtimes
from Algorithmia.server.engine.base import Build, Call, CallFailure, ContentType, NetworkAccess, Result
from Algorithmia.server.engine.pool import LocalPool
from Algorithmia.server.engine.sandbox import Sandbox, Unconfined, detect
from Algorithmia.server.identity import Account, CallContext, Identity
from Algorithmia.server.languages.python3.language import own_runtime
from Algorithmia.server.settings import Settings

ZOO = {
    "echo": "def apply(input): return input",
    "exit": "import sys\ndef apply(input): print('bye'); sys.exit(input)",
    "os_exit": "import os\ndef apply(input): os._exit(input)",
    "kill": "import os, signal\ndef apply(input): os.kill(os.getpid(), input)",
    "sleep": "import time\ndef apply(input): print('zzz'); time.sleep(input); return 'slept'",
    "stubborn": (
        "import signal, time\n"
        "def apply(input):\n"
        "    for number in (signal.SIGTERM, signal.SIGINT): signal.signal(number, signal.SIG_IGN)\n"
        "    while True:\n"
        "        try: time.sleep(60)\n"
        "        except BaseException: pass"
    ),
    # Not its id: in a sandbox every process has the same.
    "who": "import uuid\nME = uuid.uuid4().hex\ndef apply(input): return ME",
    "count": "n = 0\ndef apply(input):\n    global n\n    n += 1\n    return n",
    "environment": (
        "import os, stat\n"
        "def apply(input):\n"
        "    home = os.environ['HOME']\n"
        "    return dict(env=dict(os.environ), cwd=os.getcwd(), fds=sorted(map(int, os.listdir('/proc/self/fd'))),\n"
        "                mode=stat.S_IMODE(os.stat(home).st_mode), sid=os.getsid(0) == os.getpid())"
    ),
    "token_after": "import os, time\ndef apply(input): time.sleep(input); return os.environ['TOKEN']",
    "limits": "import resource\ndef apply(input): return [resource.getrlimit(resource.RLIMIT_CORE), "
    "resource.getrlimit(resource.RLIMIT_NOFILE)]",
    "print_all_ways": (
        "import os, subprocess, sys\n"
        "def apply(input):\n"
        "    print('python')\n"
        "    sys.stdout.flush()\n"
        "    os.write(1, b'descriptor\\n')\n"
        "    subprocess.check_call(['sh', '-c', 'echo child; echo error >&2'])\n"
        "    sys.stderr.write('stderr\\n')\n"
        "    sys.stdout.write('no newline')\n"
        "    return input"
    ),
    "flood": "import os\ndef apply(input):\n    for _ in range(input): os.write(1, b'x' * 1024)\n    return 'done'",
    "background_printer": (
        "import threading, time\n"
        "def chatter():\n"
        "    while True: print('noise', flush=True); time.sleep(0.01)\n"
        "def apply(input):\n"
        "    if input == 'start': threading.Thread(target=chatter, daemon=True).start()\n"
        "    print('mine')\n"
        "    return input"
    ),
    "orphans": (
        "import os, subprocess, time\n"
        "def apply(input):\n"
        "    how, mark = input\n"
        "    subprocess.Popen(['sleep', mark])\n"
        "    if how == 'exit': time.sleep(0.3); os._exit(1)\n"
        "    time.sleep(300)"
    ),
    "fork_and_return": "import os\ndef apply(input): return 'child' if os.fork() == 0 else 'parent'",
    "closes_everything": "import os\ndef apply(input):\n    os.closerange(3, 1024)\n    return 'ok'",
    "breaks_protocol": (
        "import os\ndef apply(input):\n"
        "    for fd in range(3, 64):\n"
        "        try: os.write(fd, b'\\xff' * 100)\n"
        "        except OSError: pass\n"
        "    return 'ok'"
    ),
    "memory": "def apply(input): raise MemoryError()",
    "nan": "def apply(input): return float('nan')",
    "unserialisable": "def apply(input): return {1, 2}",
    "large": "def apply(input): return 'x' * input",
    "large_bytes": "def apply(input): return b'x' * input",
    "recursion": "def apply(input): return apply(input)",
    "raises": (
        "def helper(): raise ValueError('bo\\u20acom')\n"
        "def apply(input):\n    try: helper()\n    except ValueError as e: raise KeyError('outer') from e"
    ),
    "threads_at_exit": (
        "import sys, threading, time\n"
        "def apply(input):\n    threading.Thread(target=time.sleep, args=[300]).start()\n    sys.exit(4)"
    ),
    "load_fails": "raise ImportError('no such library')",
    "load_exits": "import sys; print('goodbye'); sys.exit(7)",
    "load_is_killed": "import os; os.kill(os.getpid(), 11)",
    "load_hangs": "import time; time.sleep(300)",
    "load_prints": "print('from load')\ndef apply(input): print('from apply'); return input",
    "no_apply": "x = 1",
    "syntax_error": "def apply(input) return input",
    "own_json": "import json\ndef apply(input): return json.WHO",
    "adk": (
        "from Algorithmia import ADK\n"
        "def load(): return {}\n"
        "def apply(input, state): state[input] = 1; return sorted(state)\n"
        "algorithm = ADK(apply, load)\n"
        "algorithm.init('local')"
    ),
    "adk_guarded": (
        "from Algorithmia import ADK\n"
        "def apply(input): return __name__\n"
        "if __name__ == '__main__':\n    ADK(apply).init('local')"
    ),
    "adk_load_fails": (
        "from Algorithmia import ADK\n"
        "def load(): raise ValueError('no weights')\n"
        "ADK(lambda input: input, load).init()"
    ),
    "adk_forgotten": "x = 1",
    "handler": (
        "import Algorithmia\n"
        "state = []\n"
        "def load(): state.append('loaded')\n"
        "def apply(input): return [input, state]\n"
        "Algorithmia.handler(apply, load).serve()"
    ),
    "sibling": "from .other import WHO\ndef apply(input): return WHO",
    # A number: sleep so long; "pid", "exit", "kill"; anything else comes back.
    "moody": (
        "import os, sys, time\n"
        "def apply(input):\n"
        "    if input == 'pid': return os.getpid()\n"
        "    if input == 'exit': os._exit(3)\n"
        "    if isinstance(input, float): time.sleep(input)\n"
        "    return input"
    ),
    "hoard": "import uuid\nME, KEPT = uuid.uuid4().hex, []\n"
    "def apply(input): KEPT.append(bytearray(b'x') * input); return ME",
    # Says in the project that it has tidied up; where no sandbox makes that read-only.
    "tidy": (
        "import os, time\n"
        "def apply(input):\n"
        "    try: time.sleep(input)\n"
        "    finally:\n"
        "        print('tidied')\n"
        "        try: open('tidied', 'w').close()\n"
        "        except OSError: pass"
    ),
    "killed_once": (
        "import os, signal\n"
        "try: os.mkdir('killed')\n"
        "except FileExistsError: pass\n"
        "else: os.kill(os.getpid(), signal.SIGKILL)\n"
        "def apply(input): return input"
    ),
    # How many calls met: those with "meet" wait for two others.
    "together": (
        "import os, threading, time\n"
        "meeting = threading.Barrier(3, timeout=20)\n"
        "def apply(input):\n"
        "    if input == 'meet': meeting.wait()\n"
        "    if isinstance(input, float): time.sleep(input)\n"
        "    return os.getpid()"
    ),
    "client": (
        "import Algorithmia\n"
        "def apply(input):\n    client = Algorithmia.client()\n    return [client.apiAddress, client.apiKey]"
    ),
}
WITH_ADK = ("adk", "adk_guarded", "adk_load_fails", "adk_forgotten")
EXTRA = {"sibling": {"src/other.py": "WHO = 'sibling'"}, "own_json": {"json.py": "WHO = 'author'"}}

ME = Account("account-me", "me")


def make_project(directory: Path, name: str) -> Path:
    """The project of the zoo called `name`, written below `directory`."""
    root = directory / name
    (root / "src").mkdir(parents=True, exist_ok=True)
    (root / "algorithmia.conf").write_text(json.dumps({"username": "zoo", "algoname": name}))
    (root / "src" / "__init__.py").write_text("")
    (root / "src" / f"{name}.py").write_text(ZOO[name] + "\n")
    for path, content in EXTRA.get(name, {}).items():
        (root / path).write_text(content)
    if name in WITH_ADK:
        (root / ".adk").write_text("")
    return root


class Keeper:
    """A pool and the zoo: ``await keeper("echo", 1)`` is the decoded result of a call."""

    # What the pools of all keepers start their processes with.
    sandbox: Sandbox = Unconfined()

    def __init__(self, home: Path, **settings: Any) -> None:
        self.home = home
        self.settings = Settings(home=home / "home", **settings)
        self.sessions = SessionKeys()
        self.runtimes = Runtimes(self.settings.state)
        self.pool = LocalPool(self.settings, "http://127.0.0.1:9009", self.sessions, self.sandbox)
        # Not when a test first calls: this copies the SDK.
        self.runtime = self.runtimes.located(own_runtime())
        self.network: NetworkAccess = "full"
        self.concurrency = 1

    async def result(
        self,
        name: str,
        value: Any = None,
        content_type: ContentType = "json",
        timeout: float = 20.0,
        account: Account = ME,
        depth: int = 1,
        wants_output: bool = True,
        session: str = "session",
        is_awaited: bool = True,
    ) -> Result:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        identity = Identity(account, call=CallContext(session, "owner", "zoo", name, depth))
        call = Call(self.build(name), content_type, body, timeout, identity, "req-1", wants_output, is_awaited)
        return await self.pool.call(call)

    def build(self, name: str) -> Build:
        """The build of the zoo's project called `name`."""
        project = make_project(self.home, name)
        runtime = replace(self.runtimes.located(self.runtime), concurrency=self.concurrency)
        return Build(f"build-{name}", "zoo", name, project, runtime, f"algorithm-{name}", self.network)

    def processes(self) -> list[int]:
        """The ids, as this machine counts, of the processes that the pool has started."""
        return [worker._process.pid for worker in self.pool._processes if worker._process is not None]

    async def warm(self, name: str, account: Account = ME) -> str:
        return await self.pool.warm(self.build(name), Identity(account))

    async def __call__(self, name: str, value: Any = None, **options: Any) -> Any:
        result = await self.result(name, value, **options)
        return json.loads(result.body)

    async def failure(self, name: str, value: Any = None, **options: Any) -> CallFailure:
        try:
            result = await self.result(name, value, **options)
        except CallFailure as failure:
            return failure
        raise AssertionError(f"{name} answered {result}")


def with_keeper(home: Path, test: Callable[[Keeper], Awaitable[None]], **settings: Any) -> None:
    """Run `test` with a started pool; afterwards nothing of it may be left."""

    async def run() -> None:
        keeper = Keeper(home, **settings)
        await keeper.pool.start()
        try:
            await asyncio.wait_for(test(keeper), 60)
        finally:
            await keeper.pool.close()
        assert list((keeper.settings.state / "work").iterdir()) == []
        assert children_of_this_process() == []
        assert not len(keeper.sessions)

    asyncio.run(run())


def children_of_this_process() -> list[str]:
    """Command lines of the worker processes that this process started and that still run."""
    import os

    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if parent == os.getpid() and b"runner" in command:
                found.append(command.decode())
    return found


def processes_with(mark: str) -> list[int]:
    """The processes on this machine that have the argument `mark`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@functools.cache
def _bubblewrap() -> Sandbox | str:
    found = detect("auto")
    if found.name != "bubblewrap":
        return "bubblewrap doesn't work here"
    found.load_filter(True)
    return found


def sandbox_called(name: str) -> Sandbox:
    """The sandbox called ``none`` or ``bubblewrap``; the test is skipped where there is none."""
    if name == "none":
        return Unconfined()
    found = _bubblewrap()
    if isinstance(found, str):
        pytest.skip(found)
    return found


def is_running(pid: int) -> bool:
    """Whether process `pid` exists and isn't a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether `condition` came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False
