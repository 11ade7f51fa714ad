"""Running the real git: where it is, and the environment, settings and limits under which every git process runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import IO

from ..errors import Unavailable
from ..settings import Settings

NAME = "Algorithmia Platform"
EMAIL = "platform@localhost"

# References of the platform's own: versions by name, and commits that are being made.
VERSION_NAMESPACES = "refs/namespaces"
UNFINISHED = "refs/platform"

_MIB = 1024 * 1024
_ADDRESS_SPACE = 2048 * _MIB
_STREAM_ABOVE = 4 * _MIB
# A shell, not `preexec_fn`, which is not safe in a process with threads. dash counts -v in KiB and -f in 512 bytes.
_LIMITED = 'ulimit -c 0; ulimit -v "$1"; ulimit -t "$2"; ulimit -f "$3"; shift 3; exec "$@"'


class GitError(Exception):
    """git failed; the message is what it said, shortened."""


class Git:
    """The git program as the platform runs it.

    home   a directory that git may take for its user's home; it is made when first needed
    hooks  the directory of the hooks that pushes run
    """

    def __init__(self, home: Path, hooks: Path, settings: Settings) -> None:
        self._home = home
        self._hooks = hooks
        self._max_push = settings.max_push_bytes
        # Packs are joined in time, so the file limit is one for a whole repository.
        self._max_file = 16 * max(settings.max_push_bytes, settings.max_source_bytes)
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._is_closed = False

    @cached_property
    def program(self) -> str:
        """Absolute path of git. Raises Unavailable where there is none (and looks again the next time)."""
        found = shutil.which("git")
        if found is None:
            raise Unavailable(
                "this platform's machine has no git, which holds the sources of algorithms: "
                "install the package git (apt-get install git)"
            )
        return os.path.realpath(found)

    @cached_property
    def http_backend(self) -> str:
        """Absolute path of the program that speaks git's smart HTTP as a CGI. Raises Unavailable."""
        path = os.path.join(os.fsdecode(self.run(None, "--exec-path")).strip(), "git-http-backend")
        if not os.access(path, os.X_OK):
            raise Unavailable(f"this platform's git has no {path}: install the complete package git")
        return path

    @cached_property
    def environment(self) -> dict[str, str]:
        """Variables of every git process: nobody's configuration but this."""
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        variables = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(self._home),
            "LC_ALL": "C",
            "TZ": "UTC",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": NAME,
            "GIT_AUTHOR_EMAIL": EMAIL,
            "GIT_COMMITTER_NAME": NAME,
            "GIT_COMMITTER_EMAIL": EMAIL,
        }
        for number, (name, value) in enumerate(self._configuration()):
            variables[f"GIT_CONFIG_KEY_{number}"] = name
            variables[f"GIT_CONFIG_VALUE_{number}"] = value
            variables["GIT_CONFIG_COUNT"] = str(number + 1)
        return variables

    def _configuration(self) -> list[tuple[str, str]]:
        return [
            ("safe.directory", "*"),
            ("core.hooksPath", str(self._hooks)),
            # What git has answered "ok" to survives a power cut.
            ("core.fsync", "all"),
            ("core.fsyncMethod", "fsync"),
            ("core.logAllRefUpdates", "false"),
            ("core.bigFileThreshold", str(_STREAM_ABOVE)),
            ("core.packedGitWindowSize", str(32 * _MIB)),
            ("core.packedGitLimit", str(256 * _MIB)),
            ("core.deltaBaseCacheLimit", str(32 * _MIB)),
            ("pack.threads", "1"),
            ("pack.windowMemory", str(64 * _MIB)),
            ("transfer.fsckObjects", "true"),
            # Harmless slips of old tools, in histories that nobody can change any more.
            ("receive.fsck.badTimezone", "ignore"),
            ("receive.fsck.missingSpaceBeforeDate", "ignore"),
            ("receive.fsck.zeroPaddedFilemode", "ignore"),
            # Every push is one pack: one file to sync, and large files pass through without being held in memory.
            ("transfer.unpackLimit", "1"),
            ("fastimport.unpackLimit", "1"),
            ("transfer.hideRefs", VERSION_NAMESPACES),
            ("transfer.hideRefs", UNFINISHED),
            ("receive.denyNonFastForwards", "true"),
            ("receive.denyDeletes", "true"),
            ("receive.denyCurrentBranch", "ignore"),
            ("receive.maxInputSize", str(self._max_push)),
            ("receive.autogc", "false"),
            ("receive.updateServerInfo", "false"),
            ("http.receivepack", "true"),
            ("http.uploadpack", "true"),
            ("http.getanyfile", "false"),
            ("uploadpack.allowFilter", "true"),
            # Packs are joined by Repositories.tidy, which never drops an object.
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
            ("advice.detachedHead", "false"),
        ]

    def close(self) -> None:
        """Kill every process that `open` and `run` have started, and start no more: their threads must end."""
        with self._lock:
            self._is_closed = True
            for pid in self._running:
                kill_group(pid)

    def command(self, arguments: Sequence[str], seconds: float) -> list[str]:
        """`arguments` (a program and its arguments) under limits of memory, processor time and file size."""
        limits = [_ADDRESS_SPACE // 1024, max(1, round(seconds)), self._max_file // 512]
        return ["/bin/sh", "-c", _LIMITED, "git", *map(str, limits), *arguments]

    def run(
        self,
        repository: Path | None,
        *arguments: str,
        input: bytes = b"",
        max_output: int = 16 * _MIB,
        seconds: float = 60.0,
        environment: dict[str, str] | None = None,
        held: Sequence[int] = (),
    ) -> bytes:
        """What git prints. Raises GitError if it fails, takes too long or prints more than `max_output`."""
        with self.open(repository, *arguments, seconds=seconds, environment=environment, held=held) as process:
            assert process.stdin and process.stdout
            with suppress(BrokenPipeError):
                process.stdin.write(input)
                process.stdin.close()
            output = process.stdout.read(max_output + 1)
            if len(output) > max_output:
                raise GitError(f"git {arguments[0]} answered with more than {max_output} bytes")
        return output

    @contextmanager
    def open(
        self,
        repository: Path | None,
        *arguments: str,
        seconds: float = 60.0,
        environment: dict[str, str] | None = None,
        held: Sequence[int] = (),
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A git process with pipes for input and output, which ends with the block.

        held  descriptors that it keeps open for as long as it lives

        Raises GitError if it failed or took longer than `seconds`, Unavailable once the platform shuts down.
        """
        where = [] if repository is None else [f"--git-dir={repository}"]
        command = self.command([self.program, *where, *arguments], seconds)
        with tempfile.TemporaryFile() as errors:
            process = self._start(command, errors, {**self.environment, **(environment or {})}, held)
            timer = threading.Timer(seconds, kill_group, [process.pid])
            timer.daemon = True
            timer.start()
            try:
                yield process
                assert process.stdin and process.stdout
                with suppress(BrokenPipeError):
                    process.stdin.close()
                if process.stdout.read(1):
                    raise GitError(f"git {arguments[0]} answered with more than was expected")
                if process.wait() != 0:
                    raise GitError(_said(errors) or f"git {arguments[0]} ended with status {process.returncode}")
            except BrokenPipeError:
                process.wait()
                raise GitError(_said(errors) or f"git {arguments[0]} ended early") from None
            finally:
                if process.returncode is None:
                    kill_group(process.pid)
                timer.cancel()
                process.wait()
                with self._lock:
                    self._running.discard(process.pid)
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        with suppress(BrokenPipeError):
                            pipe.close()

    def _start(
        self, command: list[str], errors: IO[bytes], environment: dict[str, str], held: Sequence[int]
    ) -> subprocess.Popen[bytes]:
        # Starting takes the lock too, so that `close` misses none.
        with self._lock:
            if self._is_closed:
                raise Unavailable("the platform is shutting down")
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd="/",
                env=environment,
                pass_fds=held,
                start_new_session=True,
            )
            self._running.add(process.pid)
        return process


def kill_group(pid: int) -> None:
    """SIGKILL for the process group that `pid` leads."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _said(errors: IO[bytes]) -> str:
    errors.seek(0)
    return errors.read(2000).decode("utf-8", "replace").strip()
