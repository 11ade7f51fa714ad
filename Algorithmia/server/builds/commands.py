"""Runs the commands of a build, confined, without blocking the event loop: output into the log, a certain end, limits.

What a command gets from the server's environment is the table `PASSED` and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool

from ..engine.process import Process
from ..engine.sandbox import Confinement, Limits, Sandbox
from ..languages.base import BuildProblem, Environment, Step
from ..settings import MIB, Settings
from . import tree
from .log import BuildLog

# What operators set to say where packages come from and how to get there; docs/guides/serving.md has the list.
PASSED = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "PIP_CERT"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT"),
    *("UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS", "UV_HTTP_TIMEOUT"),
    *("UV_INSECURE_HOST", "UV_NATIVE_TLS"),
    *("NPM_CONFIG_REGISTRY", "npm_config_registry", "NPM_CONFIG_CAFILE", "npm_config_cafile"),
    *("MAVEN_MIRROR_URL", "BUNDLE_MIRROR__ALL", "CRAN_MIRROR", "CARGO_REGISTRIES_CRATES_IO_PROTOCOL"),
)

_T = TypeVar("_T")

_CHUNK = 65536
_DRAIN_READS = 64
_FIRST_LOOK = 1.0  # seconds between two looks at how much was written, at first


class Commands:
    """Runs the steps of builds."""

    def __init__(self, sandbox: Sandbox, settings: Settings, environ: Mapping[str, str] = os.environ) -> None:
        self._sandbox = sandbox
        self._settings = settings
        self._lent: dict[Path, asyncio.Task[None]] = {}
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
        cache: Path,
        writable: Iterable[Path],
        log: BuildLog,
        readable: Iterable[Path] = (),
    ) -> None:
        """Run `step` in `directory`; it writes to `writable`, `cache` and `scratch`, its home directory, alone.

        Raises BuildProblem if it fails or writes too much. Cancelling ends every process that it started.
        """
        log.say(f"==> {step.title}")
        measured = (*writable, scratch)
        program = os.path.dirname(environment.program) or "/usr/bin"
        variables = {
            **self._passed,
            "PATH": os.pathsep.join(dict.fromkeys((program, "/usr/local/bin", "/usr/bin", "/bin"))),
            "LANG": "C.UTF-8",
            # On disk, where compilers and installers find more room than in the sandbox's /tmp, which is memory.
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            **step.environment,
        }
        confinement = Confinement(
            directory=directory,
            environment=variables,
            scratch=scratch,
            readable=tuple(
                dict.fromkeys((*environment.readable, *step.readable, *self._files, *map(str, readable)))
            ),
            writable=tuple(str(path) for path in (*measured, cache)),
            network=step.network,
            limits=Limits(
                processes=1024,
                open_files=4096,
                file_size=self._settings.max_build_bytes or 0,
                cpu_seconds=int(self._settings.build_timeout) * 4,
                memory=self._settings.max_memory_bytes,
                scratch=self._settings.max_scratch_bytes,
            ),
        )
        status, why = await self._execute(step.command, confinement, measured, cache, log)
        if status:
            reason = f"exit status {status}" if status > 0 else _signal_name(-status)
            if why == "memory":
                reason += f", having needed more than {self._settings.max_memory_bytes // MIB} MiB of memory"
                reason += " (--max-memory-bytes)"
            elif why == "network":
                reason = "no network: it could not be given one"
            raise BuildProblem(f"{step.title}: failed with {reason}; what it printed is above")

    @contextlib.asynccontextmanager
    async def lending(self, *paths: Path) -> AsyncIterator[None]:
        """Within the block `paths` can be written to by commands; then they are the server's again.

        Raises BuildProblem if they hold what can't be taken back.
        """
        try:
            for path in paths:
                await whole(run_in_threadpool(self._sandbox.lend, path))
            yield
        finally:
            # All of them: what is not taken back stays the builder's to write.
            failures: list[BaseException] = []
            for path in paths:
                try:
                    await whole(run_in_threadpool(self._sandbox.reclaim, path))
                except (OSError, asyncio.CancelledError) as failure:
                    failures.append(failure)
            failures.sort(key=lambda failure: isinstance(failure, OSError))  # whoever cancels hears of that
            with _explained():
                for problem in failures:
                    raise problem

    async def lend_for_good(self, path: Path) -> None:
        """Commands may write to `path` from now on: a cache, which is never the server's again."""
        task = self._lent.get(path)
        if task is None:
            # Once, however many builds ask: what one's commands remove meanwhile would trip another's.
            task = self._lent[path] = asyncio.ensure_future(run_in_threadpool(self._sandbox.lend, path))
        try:
            await asyncio.wait((task,))
            task.result()
        except OSError:
            self.forget(path)
            raise

    def forget(self, path: Path) -> None:
        """`path`, which was lent for good, has been removed."""
        self._lent.pop(path, None)

    async def _execute(
        self,
        command: tuple[str, ...],
        confinement: Confinement,
        measured: tuple[Path, ...],
        cache: Path,
        log: BuildLog,
    ) -> tuple[int, str]:
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
        watch = asyncio.ensure_future(self._watch(measured, cache))
        try:
            await asyncio.wait((ended, watch), return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                watch.result()
        finally:
            watch.cancel()
            ended.cancel()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # what it left behind, too
            try:
                why = await whole(run_in_threadpool(_gone, process))
            finally:
                loop.remove_reader(reading)
                try:
                    _read(reading, log, _DRAIN_READS)
                finally:  # the log may be on a full disk
                    os.close(reading)
        await self.check_size(measured)
        return self._sandbox.status(process.returncode), why

    async def check_size(self, paths: tuple[Path, ...]) -> None:
        """Raises BuildProblem if `paths` together hold more than a build may."""
        limit = self._settings.max_build_bytes
        if await self._size(paths, limit) > limit > 0:
            raise BuildProblem(
                f"the build wrote more than {limit // MIB} MiB, the limit of this platform (--max-build-bytes)"
            )

    async def _size(self, paths: tuple[Path, ...], limit: int) -> int:
        with _explained():
            return await run_in_threadpool(lambda: tree.size(*paths, limit=limit))

    async def _watch(self, paths: tuple[Path, ...], cache: Path) -> None:
        """Look at the size again and again; returns never. Caches may be twice as large: they outlive their builds."""
        limit = 2 * self._settings.max_build_bytes
        clock = asyncio.get_running_loop().time
        pause = _FIRST_LOOK
        while True:
            await asyncio.sleep(pause)
            began = clock()
            await self.check_size(paths)
            if await self._size((cache,), limit) > limit > 0:
                raise BuildProblem(f"the cache of the account's builds has grown over {limit // MIB} MiB")
            pause = max(pause, 20 * (clock() - began))


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """What is wrong with the files that a build wrote is the build's problem."""
    try:
        yield
    except OSError as error:
        raise BuildProblem(f"the files that the build wrote can't be kept: {error.strerror or error}") from None


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


def _gone(process: Process) -> str:
    """Wait for the process's end and remove what belonged to it; what it had none left of."""
    process.wait()
    why = process.why()
    process.dispose()
    return why


async def _end_of(process: Process) -> None:
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


async def whole(work: Awaitable[_T]) -> _T:
    """What `work` returns. It runs to its end even if the caller is cancelled meanwhile, who learns of it then."""
    task = asyncio.ensure_future(work)
    is_cancelled = False
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled:
        raise asyncio.CancelledError
    return task.result()


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return name
