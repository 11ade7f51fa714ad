"""One job from its turn to its end: made, proven to load, written down as succeeded or failed, its log closed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool

from ..engine.base import Build, CallFailure, NetworkAccess
from ..errors import ApiProblem
from ..identity import Account
from ..languages.base import BuildProblem
from ..settings import Settings
from .commands import whole
from .queue import Job
from .records import INTERRUPTED, BuildRecords
from .runtimes import Runtimes
from .workshop import Made, Workshop

log = logging.getLogger("algorithmia.builds")

_TRIES = 5
_SHORTEST_SECRET = 6

Warm = Callable[[Build, Account, dict[str, Any]], Awaitable[str]]
SecretsOf = Callable[[str], Mapping[str, str]]


class Builder:
    """Does jobs; see `Builds` for `warm` and `secrets_of`.

    succeeded  told of every build that can be called from now on, by the id of its algorithm
    """

    def __init__(
        self,
        records: BuildRecords,
        workshop: Workshop,
        runtimes: Runtimes,
        warm: Warm,
        secrets_of: SecretsOf,
        succeeded: Callable[[str], None],
        settings: Settings,
    ) -> None:
        self._records = records
        self._workshop = workshop
        self._runtimes = runtimes
        self._warm = warm
        self._secrets_of = secrets_of
        self._succeeded = succeeded
        self._limit = settings.build_timeout

    async def build(self, job: Job) -> None:
        """Do one job, or fail it for the reason that it has. Whatever goes wrong is in its row and its log then."""
        began = time.monotonic()
        made: Made | None = None
        problem = ""
        try:
            if job.reason:
                raise asyncio.CancelledError
            made = await asyncio.wait_for(self._make(job), self._limit or None)
        except asyncio.CancelledError:
            problem = job.reason or INTERRUPTED
        except (asyncio.TimeoutError, TimeoutError):
            problem = f"the build took longer than {self._limit:g} s, the limit of this platform (--build-timeout)"
        except BuildProblem as error:
            problem = str(error)
        except ApiProblem as error:
            problem = error.message
        except Exception as error:
            log.exception("a build failed for a reason of the platform's", extra={"build": job.order.build_id})
            problem = f"the platform failed to build it: {type(error).__name__}"
        # Whoever cancels from here on is too late: files and rows must agree.
        await whole(self._conclude(job, made, _one_line(problem), time.monotonic() - began))

    async def _make(self, job: Job) -> Made:
        """The finished build, once it is clear that it loads. Raises BuildProblem."""
        order = job.order
        made = await self._workshop.make(order, job.log)
        job.log.say("==> Start the algorithm")
        subject = order.subject
        job.log.mask(_recognizable(await run_in_threadpool(self._secrets_of, subject.id)))
        network: NetworkAccess = "isolated" if subject.settings.get("network_access") == "isolated" else "full"
        build = Build(
            order.build_id,
            subject.owner.username,
            subject.name,
            made.path,
            await run_in_threadpool(self._runtimes.located, made.runtime),
            subject.id,
            network,
        )
        try:
            output = await self._warm(build, subject.owner, subject.settings)
        except CallFailure as failure:
            for text in (failure.stdout, failure.stacktrace):
                if text:
                    job.log.feed(text.encode("utf-8", "replace") + b"\n")
            reason = _one_line(job.log.masked(failure.message))
            raise BuildProblem(f"the algorithm does not load: {reason}") from None
        if output:
            job.log.feed(output.encode("utf-8", "replace") + b"\n")
        return made

    async def _conclude(self, job: Job, made: Made | None, problem: str, seconds: float) -> None:
        """Write down how `job` ended."""
        build_id, subject = job.order.build_id, job.order.subject
        name = f"{subject.owner.username}/{subject.name}"
        if made is not None:
            problem = await self._succeed(build_id, made)
        if problem:
            try:
                await self._workshop.discard(build_id)
            except Exception:
                # The next start tries again; the build has ended all the same.
                log.exception("can't remove what a build left", extra={"build": build_id})
            await self._fail(build_id, problem)
            last = f"FAILED: {problem}"
        else:
            assert made is not None
            self._succeeded(subject.id)
            last = f"SUCCEEDED: {name} at {job.order.commit} for {made.environment.display_name}, in {seconds:.1f} s"
        try:
            job.log.finish(last)
            await run_in_threadpool(job.log.close)
        except OSError as error:
            log.warning("can't write a build's log", extra={"build": build_id, "problem": str(error)})
        status = "failed" if problem else "succeeded"
        log.info("build ended", extra={"build": build_id, "algorithm": name, "status": status})

    async def _succeed(self, build_id: str, made: Made) -> str:
        """Write down that the build is complete; why that isn't so, else ""."""
        runtime = self._runtimes.pack(made.runtime)
        try:
            if await run_in_threadpool(self._records.succeed, build_id, made.environment.name, runtime):
                return ""
            return "the algorithm was deleted"
        except Exception:
            log.exception("can't write down that a build succeeded", extra={"build": build_id})
            return "the platform failed to write down that it succeeded"

    async def _fail(self, build_id: str, problem: str) -> None:
        """Write down that the build failed; it would seem to be in progress otherwise."""
        for _ in range(_TRIES):
            try:
                await run_in_threadpool(self._records.fail, build_id, problem)
                return
            except Exception:
                log.exception("can't write down that a build failed", extra={"build": build_id})
                await asyncio.sleep(1.0)


def _recognizable(secrets: Mapping[str, str]) -> list[str]:
    """What to look for in a log: logs are written line by line, and what is short is in any text."""
    lines = {line.strip() for value in secrets.values() for line in value.splitlines()}
    return sorted((line for line in lines if len(line) >= _SHORTEST_SECRET), key=len, reverse=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:1000]
