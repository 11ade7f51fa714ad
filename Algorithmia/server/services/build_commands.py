"""Runs the commands of a build, confined, without blocking the event loop: output into the log, a certain end, limits.

What a command gets from the server's environment is the table `PASSED` and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool

from ..engine.sandbox import Confinement, Limits, Sandbox
from ..languages.base import BuildProblem, Environment, Step
from ..settings import MIB, Settings
from . import build_tree
from .build_log import BuildLog

# What operators set to say where packages come from and how to get there. (docs/guides/builds.md)
PASSED = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "PIP_CERT"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT"),
    *("UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS", "UV_HTTP_TIMEOUT"),
    *("UV_INSECURE_HOST", "UV_NATIVE_TLS"),
    *("NPM_CONFIG_REGISTRY", "npm_config_registry", "NPM_CONFIG_CAFILE", "npm_config_cafile"),
    *("MAVEN_MIRROR_URL", "BUNDLE_MIRROR__ALL", "CRAN_MIRROR", "CARGO_REGISTRIES_CRATES_IO_PROTOCOL"),
)

_CHUNK = 65536
_DRAIN_READS = 64
_FIRST_LOOK = 1.0  # seconds between two looks at how much was written, at first


class Commands:
    """Runs the steps of builds."""

    def __init__(self, sandbox: Sandbox, settings: Settings, environ: Mapping[str, str] = os.environ) -> None:
        self._sandbox = sandbox
        self._settings = settings
        self._passed = {name: environ[name] for name in PASSED if environ.get(name)}
        index = environ.get("PYTHON_INDEX_URL")
        if index:  # the old platform's name for it
            for name in ("UV_DEFAULT_INDEX", "PIP_INDEX_URL"):
                self._passed.setdefault(name, index)
        # Certificates, directories of wheels: what the values name must be there to be read.
        parts = {part for value in self._passed.values() for part in value.split()}
        self._files = tuple(sorted(part for part in parts if os.path.isabs(part) and os.path.exists(part)))

    def secrets(self) -> list[str]:
        """Texts in the environment of builds that no log may show: the passwords in addresses."""
        found = []
        for value in self._passed.values():
            for part in value.split():
                with contextlib.suppress(ValueError):
                    password = urlsplit(part).password
                    if password:
                        found.append(password)
        return found

    async def run(
        self,
        step: Step,
        environment: Environment,
        directory: Path,
        scratch: Path,
        writable: Iterable[Path],
        log: BuildLog,
        readable: Iterable[Path] = (),
    ) -> None:
        """Run `step` in `directory`, with nothing but `writable` and the private `scratch` to write to.

        Raises BuildProblem if it fails or writes too much. Cancelling ends every process that it started.
        """
        log.say(f"==> {step.title}")
        writable = tuple(writable)
        home = "/tmp" if self._sandbox.is_private else str(scratch)  # noqa: S108  (the sandbox's own)
        program = os.path.dirname(environment.program) or "/usr/bin"
        variables = {
            **self._passed,
            "PATH": os.pathsep.join(dict.fromkeys((program, "/usr/local/bin", "/usr/bin", "/bin"))),
            "LANG": "C.UTF-8",
            "HOME": home,
            "TMPDIR": home,
            **step.environment,
        }
        confinement = Confinement(
            directory=directory,
            environment=variables,
            scratch=scratch,
            readable=tuple(
                dict.fromkeys((*environment.readable, *step.readable, *self._files, *map(str, readable)))
            ),
            writable=tuple(str(path) for path in writable),
            network=step.network,
            limits=Limits(
                processes=1024,
                open_files=4096,
                file_size=self._settings.max_build_bytes or 0,
                cpu_seconds=int(self._settings.build_timeout) * 4,
                scratch=self._settings.max_build_bytes,
            ),
        )
        await run_in_threadpool(self._lend, (*writable, scratch))
        try:
            status = await self._execute(step.command, confinement, (*writable, scratch), log)
        finally:
            await asyncio.shield(run_in_threadpool(self._reclaim, (*writable, scratch)))
        if status:
            reason = f"exit status {status}" if 0 < status < 128 else _signal_name(status)
            raise BuildProblem(f"{step.title}: failed with {reason}; what it printed is above")

    def _lend(self, paths: Iterable[Path]) -> None:
        for path in paths:
            self._sandbox.lend(path)

    def _reclaim(self, paths: Iterable[Path]) -> None:
        for path in paths:
            self._sandbox.reclaim(path)

    async def _execute(
        self, command: tuple[str, ...], confinement: Confinement, measured: tuple[Path, ...], log: BuildLog
    ) -> int:
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        try:
            process = self._sandbox.start(command, confinement, stdout=writing, stderr=writing)
        except OSError as problem:
            os.close(reading)
            raise BuildProblem(f"can't start {command[0]}: {problem.strerror or problem}") from None
        finally:
            os.close(writing)
        loop.add_reader(reading, _read, reading, log)
        ended = asyncio.ensure_future(_end_of(process))
        watch = asyncio.ensure_future(self._watch(measured))
        try:
            await asyncio.wait((ended, watch), return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                watch.result()
        finally:
            watch.cancel()
            ended.cancel()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # what it left behind, too
            waiting = loop.run_in_executor(None, process.wait)
            try:
                await asyncio.shield(waiting)
            finally:
                loop.remove_reader(reading)
                _read(reading, log, _DRAIN_READS)
                os.close(reading)
        await self.check_size(measured)
        return process.returncode

    async def check_size(self, paths: tuple[Path, ...]) -> None:
        """Raises BuildProblem if `paths` together hold more than a build may."""
        limit = self._settings.max_build_bytes
        if limit and await run_in_threadpool(build_tree.size, *paths, limit=limit) > limit:
            raise BuildProblem(
                f"the build wrote more than {limit // MIB} MiB, the limit of this platform (--max-build-bytes)"
            )

    async def _watch(self, paths: tuple[Path, ...]) -> None:
        """Look at the size again and again; returns never."""
        clock = asyncio.get_running_loop().time
        pause = _FIRST_LOOK
        while True:
            await asyncio.sleep(pause)
            began = clock()
            await self.check_size(paths)
            pause = max(pause, 20 * (clock() - began))


def _read(descriptor: int, log: BuildLog, reads: int = 1) -> None:
    """Take up to `reads` pieces of output."""
    for _ in range(reads):
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            asyncio.get_running_loop().remove_reader(descriptor)
            return
        log.feed(data)


async def _end_of(process: subprocess.Popen[bytes]) -> None:
    """Returns when `process` has ended; it is not reaped yet, so its id is still its own."""
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        await loop.run_in_executor(None, os.waitid, os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        return
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _signal_name(status: int) -> str:
    number = -status if status < 0 else status - 128
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"exit status {status}"
    return name + (" (perhaps for lack of memory)" if number == signal.SIGKILL else "")
