"""Where hostile algorithms are let loose: one real platform with small limits, their author, a stranger who calls them,
and an innocent bystander whose algorithm must go on as if nothing had happened.

A hostile algorithm is a function of a module in `hostile/`, deployed as a project of its own. An `Escape` says what it
is called with and what must come of it.
"""

from __future__ import annotations

import contextlib
import glob
import itertools
import json
import sys
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from managed import Manager, packed
from platforms import ROOT, Server

if ROOT not in sys.path:
    sys.path.append(ROOT)
from benchmarks.embedded import memory  # noqa: E402
from benchmarks.serving.leftovers import Inventory, processes_naming  # noqa: E402

_numbers = itertools.count(1)
HOSTILE = Path(__file__).parent / "hostile"
MIB = 1 << 20

MAX_SCRATCH, MAX_OUTPUT, MAX_RESULT, MAX_MEMORY = 8 * MIB, 64 << 10, MIB, 512 * MIB
LOAD_TIMEOUT = 4
LIMITS = {
    "ALGORITHMIA_MAX_SCRATCH_BYTES": MAX_SCRATCH,
    "ALGORITHMIA_MAX_MEMORY_BYTES": MAX_MEMORY,
    "ALGORITHMIA_MAX_STDOUT_BYTES": MAX_OUTPUT,
    "ALGORITHMIA_MAX_RESULT_BYTES": MAX_RESULT,
    "ALGORITHMIA_LOAD_TIMEOUT": LOAD_TIMEOUT,
    "ALGORITHMIA_MAX_WORKERS": 2,
    "ALGORITHMIA_MAX_CALL_DEPTH": 3,
    "ALGORITHMIA_MAX_CHILD_CALLS": 5,
}
# In the server's environment, where no algorithm may find it.
MARK = "hush-hush-of-the-server"

# Counts its calls: a worker that was ended, or that somebody else's call got into, would count differently.
INNOCENT = """
calls, seen = 0, set()
def apply(input):
    global calls
    calls += 1
    seen.add(input)
    return [calls, sorted(seen)]
"""

Input = Any


@dataclass(frozen=True)
class Escape:
    """One hostile algorithm and its fate.

    algorithm  a function of the family's module
    input      what it is called with; a function gets the `Arena` and tells
    expected   the answer without what changes from call to call: ``{"result": ...}`` or ``{"error": {...}, ...}``
    timeout    of the call, in seconds
    settings   of the algorithm, such as ``network_access``
    secrets    set once it is built: what its builds don't have
    content    a body of octets, instead of an input
    is_harmless  whether it harms nobody without a sandbox; others are never let loose without one
    needs_group  whether only a control group bounds what it takes
    """

    algorithm: str
    expected: Any
    input: Input | Callable[[Arena], Input] = None
    timeout: float = 60
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    is_harmless: bool = False
    needs_group: bool = False


def harmless(escapes: Iterable[Escape]) -> list[Escape]:
    """`escapes`, which may be let loose without a sandbox too."""
    return [replace(one, is_harmless=True) for one in escapes]


class Arena:
    """The platform and who is on it. `attacker` owns the hostile algorithms, `stranger` and `bystander` are others."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.home = home
        self.state = home / "platform"
        self.temporary = home / "temporary"
        self.temporary.mkdir()
        environment = {name: str(value) for name, value in LIMITS.items()}
        environment |= {"SECRET": MARK, "TMPDIR": str(self.temporary)}
        self.server = Server(home, "--port", "0", *arguments, environment=environment)
        self.attacker, self.stranger, self.bystander = (Manager(self.server) for _ in range(3))
        self.innocent = self.bystander.published(INNOCENT, "public")
        self.number = 0
        self.families: dict[str, set[str]] = {}
        self.end_workers(self.bystander, self.innocent)
        self.wait_for_workers(0)
        self.before = self.inventory()

    @property
    def port(self) -> int:
        """Where the platform listens."""
        return urllib.parse.urlsplit(self.server.address).port or 0

    @property
    def health(self) -> dict[str, Any]:
        """What /health says."""
        answer = self.bystander.send("GET", "/health", key="")
        assert answer.status == 200, answer
        return dict(answer.json)

    @property
    def is_confined(self) -> bool:
        """Whether there is a sandbox on this machine."""
        return bool(self.health["sandbox"] != "none")

    # -- algorithms ---------------------------------------------------------------------------------------------

    def deploy(self, family: str, algorithm: str, settings: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """Put the function `algorithm` of the module `family` on the platform, published for everybody."""
        self.attacker.create(algorithm, **settings)
        self.families.setdefault(family, set()).add(algorithm)
        files = project(self.attacker.name, family, algorithm)
        source = self.attacker.path(algorithm) + "/source"
        build_id = self.attacker.send("PUT", source, packed(files), "application/gzip").ok["build_id"]
        log = self.attacker.send("GET", f"{self.attacker.path(algorithm)}/builds/{build_id}/logs?follow=true").body
        build = self.attacker.send("GET", f"{self.attacker.path(algorithm)}/builds/{build_id}").ok
        assert build["status"] == "succeeded", log.decode()
        self.attacker.publish(algorithm, settings={"algorithm_callability": "public"}).ok
        for name, value in secrets.items():
            secret = {"short_name": name.lower(), "secret_key": name, "secret_value": value}
            self.attacker.send("POST", self.attacker.path(algorithm) + "/secrets", secret).ok

    def call(
        self,
        algorithm: str,
        input: Any = None,
        by: Manager | None = None,
        timeout: float = 60,
        content: bytes = b"",
    ) -> dict[str, Any]:
        """What the call is answered with, without what changes from call to call."""
        body = content or json.dumps(input).encode()
        kind = "application/octet-stream" if content else "application/json"
        path = f"/v1/algo/{self.attacker.name}/{algorithm}?timeout={timeout:g}"
        if by is None:
            path += "&stdout=true"
        answer = (by or self.attacker).send("POST", path, body, kind)
        assert answer.status == 200, answer
        document = answer.json
        metadata = document.pop("metadata")
        assert metadata.pop("duration") >= 0 and metadata.pop("request_id")
        metadata.pop("content_type", None)
        return {**document, **{name: value for name, value in metadata.items() if value}}

    def outcomes(self, family: str, escapes: Iterable[Escape]) -> dict[str, Any]:
        """Let all of them loose at once, as far as there is a sandbox; what came of each. What couldn't even be called
        is an exception."""
        is_confined, has_groups = self.is_confined, self.health["memory"] == "cgroup"
        escapes = tuple(
            one for one in escapes if (is_confined or one.is_harmless) and (has_groups or not one.needs_group)
        )
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda one: self.deploy(family, one.algorithm, one.settings, one.secrets), escapes))

        def run(one: Escape) -> Any:
            try:
                given = one.input(self) if callable(one.input) else one.input
                return self.call(one.algorithm, given, timeout=one.timeout, content=one.content)
            except Exception as problem:
                return problem

        with ThreadPoolExecutor(8) as threads:
            return dict(zip((one.algorithm for one in escapes), threads.map(run, escapes), strict=True))

    # -- what must hold whatever they do ------------------------------------------------------------------------

    def check_bystander(self) -> None:
        """The bystander's algorithm answers, in the process that it had, and the platform is well."""
        self.number += 1
        answer = self.bystander.send("POST", f"/v1/algo/{self.bystander.name}/{self.innocent}", self.number)
        assert answer.status == 200, answer
        assert answer.json["result"] == [self.number, list(range(1, self.number + 1))]
        assert self.health["status"] == "ok"

    def clear(self, family: str) -> None:
        """End the workers of a family; of its processes nothing may be left."""
        for algorithm in sorted(self.families.pop(family, set())):
            self.end_workers(self.attacker, algorithm)
        self.wait_for_workers(1 if self.number else 0)
        self.check_bystander()

    def check_nothing_is_left(self) -> None:
        """Without a worker there is nothing that wasn't there at first: process, descriptor, file, control group."""
        self.end_workers(self.bystander, self.innocent)
        self.number = 0
        self.wait_for_workers(0)
        left: list[str] = []
        for _ in range(100):  # directories are removed beside, connections close after their answers
            with contextlib.suppress(FileNotFoundError):  # it was being removed
                left = self.inventory().compared_with(self.before)
                left += [f"process left: {pid}" for pid in processes_naming(str(self.state))]
                left += [f"control group left: {path}" for path in self.control_groups()]
                if not left:
                    return
            time.sleep(0.1)
        raise AssertionError(left)

    def end_workers(self, owner: Manager, algorithm: str) -> None:
        """End an algorithm's workers, as a new secret does."""
        number = next(_numbers)
        secret = {"short_name": f"again{number}", "secret_key": f"AGAIN_{number}", "secret_value": "again"}
        owner.send("POST", owner.path(algorithm) + "/secrets", secret).ok

    def wait_for_workers(self, count: int) -> None:
        """Wait until just `count` workers are left, and no process of others."""
        engine: dict[str, Any] = {}
        for _ in range(300):
            engine = self.health["engine"]
            if engine["workers"] == count and (count or len(memory.tree(self.server.process.pid)) == 1):
                return
            time.sleep(0.05)
        raise AssertionError((engine, memory.tree(self.server.process.pid)))

    def control_groups(self) -> list[str]:
        """Those that the server has made for its processes."""
        found = glob.glob(f"/sys/fs/cgroup/**/algorithmia-{self.server.process.pid}-*", recursive=True)
        return [path for path in found if not path.endswith("-server")]  # which is the server's own

    def inventory(self) -> Inventory:
        """What there is of the platform at this moment, but for the connections to its database that it keeps."""
        found = Inventory.of(_Seen(self.server.process.pid, self.state), self.temporary)  # type: ignore[arg-type]
        kept = str(self.state / "platform.db")
        descriptors = Counter({name: n for name, n in found.descriptors.items() if not name.startswith(kept)})
        return Inventory(found.processes, descriptors, found.files)


@dataclass(frozen=True)
class _Seen:
    """What `Inventory` asks of a server."""

    pid: int
    state: Path


def project(owner: str, family: str, algorithm: str) -> dict[str, bytes]:
    """The files of the project of one hostile algorithm."""
    if (HOSTILE / f"{family}.js").exists():
        entry = f"const family = require('./{family}');\nmodule.exports = family.{algorithm};\n"
        entry += f"if (process.env.ARMED && family.{algorithm}_load) family.{algorithm}_load();\n"
        sources = {f"src/{algorithm}.js": entry.encode(), f"src/{family}.js": (HOSTILE / f"{family}.js").read_bytes()}
        return {**_configuration(owner, algorithm), **sources}
    names = ["attempts", family]
    code = f"from .{family} import {algorithm} as apply\n"
    module = (HOSTILE / f"{family}.py").read_text()
    if f"def {algorithm}_load(" in module:
        code += f"from .{family} import {algorithm}_load\n{algorithm}_load()\n"
    return {
        **_configuration(owner, algorithm),
        "requirements.txt": b"",
        "src/__init__.py": b"",
        f"src/{algorithm}.py": code.encode(),
        **{f"src/{name}.py": (HOSTILE / f"{name}.py").read_bytes() for name in names},
    }


def _configuration(owner: str, algorithm: str) -> dict[str, bytes]:
    return {"algorithmia.conf": json.dumps({"username": owner, "algoname": algorithm}).encode()}
