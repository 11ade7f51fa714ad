"""From a build to what is started for it: the environment that a worker gets, and what it may see and use."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..settings import Settings
from .base import Build
from .sandbox import Confinement, Limits, Sandbox

PRIVATE_TMP = "/tmp"  # noqa: S108  (the sandbox's, of which each process has its own)


@dataclass(frozen=True, slots=True)
class Launch:
    """What a worker starts. The worker adds its descriptors to `confinement`, and the runner's own arguments.

    directory  the worker's private one outside, removed when it ends; sizes in bytes
    """

    command: tuple[str, ...]
    confinement: Confinement
    sandbox: Sandbox
    directory: Path
    max_result: int
    max_output: int

    @property
    def project(self) -> Path:
        """Where the algorithm's files are."""
        return self.confinement.directory


def prepare(
    build: Build, settings: Settings, sandbox: Sandbox, work: Path, address: str, key: str, secrets: Mapping[str, str]
) -> Launch:
    """What to start for one worker of `build`; makes its directory in `work`. Raises OSError.

    key      the session key by which the algorithm reaches the platform at `address`
    secrets  the author's own variables; the platform's win over them
    """
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory = Path(tempfile.mkdtemp(prefix="worker-", dir=work))
    home = PRIVATE_TMP if sandbox.is_private else str(directory)
    project = build.path.absolute()
    environment = {
        **secrets,
        "PATH": os.pathsep.join([os.path.dirname(build.runtime.command[0]), "/usr/local/bin", "/usr/bin", "/bin"]),
        "LANG": "C.UTF-8",
        "HOME": home,
        "TMPDIR": home,
        "ALGORITHMIA_API": address,
        "ALGORITHMIA_API_KEY": key,
        "ALGORITHMIA_HOME": os.path.join(home, ".algorithmia"),
        # For programs that the algorithm starts; the worker itself gets flags.
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        **build.runtime.environment,
    }
    return Launch(
        command=build.runtime.command,
        confinement=Confinement(
            directory=project,
            environment=environment,
            scratch=directory,
            readable=(str(project), *build.runtime.readable),
            network=build.network == "full",
            limits=Limits(scratch=settings.max_scratch_bytes),
        ),
        sandbox=sandbox,
        directory=directory,
        max_result=settings.max_result_bytes,
        max_output=settings.max_stdout_bytes,
    )
