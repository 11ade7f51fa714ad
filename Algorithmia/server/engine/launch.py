"""From a build to what is started for it: the environment that a worker gets, and what it may see and use."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..identity import SessionKey
from ..settings import Settings
from . import doorway
from .base import Build
from .doorway import Adopt
from .sandbox import Confinement, Limits, Sandbox, is_unsafe

PRIVATE_TMP = "/tmp"  # noqa: S108  (the sandbox's, of which each process has its own)
PRIVATE_FIFO = f"{PRIVATE_TMP}/algoout"


@dataclass(frozen=True, slots=True)
class Launch:
    """What a worker starts. The worker adds its descriptors to `confinement`, and the runner's own arguments.

    directory  the worker's private one outside, removed when it ends
    session_key  what the process reaches the platform with
    fifo       where the process's answers come from, if it speaks the documented protocol
    adopt      serves the process's requests to the platform, where its network is its own; sizes in bytes
    """

    command: tuple[str, ...]
    confinement: Confinement
    sandbox: Sandbox
    directory: Path
    session_key: SessionKey
    max_result: int
    max_output: int
    fifo: str = ""
    adopt: Adopt | None = None

    @property
    def project(self) -> Path:
        """Where the algorithm's files are."""
        return self.confinement.directory


def prepare(
    build: Build,
    settings: Settings,
    sandbox: Sandbox,
    work: Path,
    address: str,
    key: SessionKey,
    secrets: Mapping[str, str],
    adopt: Adopt | None,
) -> Launch:
    """What to start for one worker of `build`; makes its directory in `work`. Raises OSError.

    key      the session key by which the algorithm reaches the platform at `address`
    secrets  the author's own variables; the platform's win over them
    adopt    serves requests to the platform from processes that can't reach its address
    """
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory = Path(tempfile.mkdtemp(prefix="worker-", dir=work))
    home = PRIVATE_TMP if sandbox.is_private else str(directory)
    project = build.path.absolute()
    is_isolated = build.network == "isolated" and sandbox.is_private
    has_own_network = is_isolated or sandbox.network == "private"
    readable = (str(project), *build.runtime.readable)
    if has_own_network:
        address = doorway.inner_address(address)
        if not sandbox.listens:
            readable += doorway.readable()
    environment = {
        **{name: value for name, value in secrets.items() if not is_unsafe(name)},
        "PATH": os.pathsep.join([os.path.dirname(build.runtime.command[0]), "/usr/local/bin", "/usr/bin", "/bin"]),
        "LANG": "C.UTF-8",
        "HOME": home,
        "TMPDIR": home,
        "ALGORITHMIA_API": address,
        "ALGORITHMIA_API_KEY": key.text,
        "ALGORITHMIA_HOME": os.path.join(home, ".algorithmia"),
        # For programs that the algorithm starts; the worker itself gets flags.
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        **build.runtime.environment,
    }
    fifo = ""
    if build.runtime.protocol == "stdio":
        fifo = str(directory / "algoout")
        os.mkfifo(fifo)
        os.chmod(fifo, 0o622 if sandbox.is_private else 0o600)  # written to by a user of the process's own
        environment["ALGORITHMIA_OUTPUT_FIFO"] = PRIVATE_FIFO if sandbox.is_private else fifo
    return Launch(
        command=build.runtime.command,
        confinement=Confinement(
            directory=project,
            environment=environment,
            scratch=directory,
            readable=readable,
            fifo=fifo if sandbox.is_private else "",
            network=not is_isolated,
            limits=Limits(memory=settings.max_memory_bytes, scratch=settings.max_scratch_bytes),
        ),
        sandbox=sandbox,
        directory=directory,
        session_key=key,
        max_result=settings.max_result_bytes,
        max_output=settings.max_stdout_bytes,
        fifo=fifo,
        adopt=adopt if has_own_network else None,
    )
