"""Calling algorithms: who may, what becomes of a call, what the answer is. All of it runs on the event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from ..builds.first_use import FirstUse
from ..engine.base import Build, Call, CallFailure, ContentType, Engine, InvalidInput, Origin, Result
from ..errors import ApiProblem, BadRequest, Code, NotAuthorized, Unavailable
from ..identity import Account, Identity
from ..settings import Settings
from . import call_documents
from .algorithms import Algorithms, Reference, Resolved
from .async_calls import AsyncCalls, Earlier
from .call_documents import VOID, Answer, CallOptions, Circumstances
from .call_meter import CallMeter
from .call_trees import CallTrees, Tree, acting
from .data import HostedData

log = logging.getLogger("algorithmia.calls")

# How a call fails whose process ends while the platform is stopped, which may be why: a signal for all processes.
_ENDED_FROM_OUTSIDE = frozenset({"SystemError", "SystemExit"})

_DENIED = "Caller is not authorized to perform the operation"


class Invoker:
    """Runs calls on an engine."""

    def __init__(
        self, algorithms: Algorithms, engine: Engine, data: HostedData, settings: Settings, async_calls: AsyncCalls
    ) -> None:
        self._algorithms = algorithms
        self._engine = engine
        self._data = data
        self._settings = settings
        self._async_calls = async_calls
        self.trees = CallTrees(settings, self._end_session)
        self._background: set[asyncio.Future[None]] = set()
        self._drain_by: float | None = None
        # Sees to it that a bundled algorithm is built when it is first called.
        self.first_use: FirstUse[Resolved] | None = None
        self.meter = CallMeter(settings.metrics_algorithms)
        # Told of every call whose algorithm failed while its caller waited.
        self.on_failure: Callable[[Call, Resolved, CallFailure], None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether anything runs that no open request stands for."""
        return bool(self._background)

    @property
    def has_calls(self) -> bool:
        """Whether any call runs."""
        return bool(self.trees)

    @property
    def is_ending(self) -> bool:
        """Whether the platform is about to stop: calls that can wait for the next start are not begun any more."""
        return self.trees.is_closed or self._drain_by is not None

    async def admit(self, reference: Reference, identity: Identity, origin: str | None = None) -> Resolved:
        """The build that `identity` calls by `reference`, once it is clear that it may.

        origin  for calls by the web route: host of the page that makes it ("" if the browser doesn't say)

        Raises NotFound and NotAuthorized.
        """
        if identity.call is not None and not identity.call.pipeline_enabled:
            raise NotAuthorized(
                f"{_DENIED}: algo://{identity.call.owner}/{identity.call.name} may not call other algorithms "
                "(its setting pipeline_enabled is off)"
            )
        permissions = identity.permissions
        if origin is None:
            if not permissions.allow_algo:
                raise NotAuthorized(f"{_DENIED}: this API key may not call algorithms (permission allow_algo is off)")
        elif not permissions.allow_web_algo:
            raise NotAuthorized(
                f"{_DENIED}: this API key may not call algorithms from web pages (permission allow_web_algo is off)"
            )
        elif permissions.referer_host and permissions.referer_host.lower() != origin.lower():
            raise NotAuthorized(f"{_DENIED}: this API key works only on pages of {permissions.referer_host}")
        resolved = await self._algorithms.resolve(reference, identity)
        if not permissions.may_call(resolved.build.owner, resolved.build.name):
            raise NotAuthorized(
                f"{_DENIED}: this API key may not call algo://{resolved.build.owner}/{resolved.build.name} "
                "(see its algo_acl)"
            )
        return resolved

    async def invoke(
        self,
        resolved: Resolved,
        identity: Identity,
        options: CallOptions,
        content_type: ContentType,
        body: bytes,
        request_id: str,
        notes: dict[str, Any] | None = None,
        origin: Origin | None = None,
    ) -> Answer:
        """Run one call that `admit` allowed; cancelling ends the algorithm's work, unless nobody waits for it anyway.

        notes   gets how the call ended, for the log: outcome, queued, duration, error_type
        origin  the gateway that it comes from, and may have begun it

        One that nobody waits for is on disk before it is answered, and runs again at the next start if need be.

        Raises TooManyRequests, ChildCallLimit, CallDepthLimit, and Unavailable before anything has run, and BadRequest
        for input that isn't what its content type says.
        """
        began = time.perf_counter()
        if notes is None:
            notes = {}
        begun = origin.begun if origin is not None else None
        try:
            if begun is None:
                tree = self.trees.enter(identity, resolved.build)
            else:  # whatever the limits say
                began = begun.since
                tree = self.trees.enter_anyway(identity.account.id)
        except ApiProblem as problem:
            self.meter.ended_badly(resolved.build, problem, 0.0, notes)
            raise
        session = acting(resolved.build, resolved.owner_account_id, resolved.settings, identity, tree)
        is_awaited = options.output != VOID
        call = Call(
            resolved.build, content_type, body, options.timeout, session, request_id, options.stdout, is_awaited
        )
        if not is_awaited:
            try:
                await self._async_calls.accept(call, resolved)
            except BaseException as problem:
                self.trees.leave(tree, identity)
                self.meter.ended_badly(resolved.build, problem, 0.0, notes)
                raise
            if self.trees.is_closed:  # nobody would wait for it any more; it runs at the next start
                self.trees.leave(tree, identity)
                self._async_calls.left(request_id)
            else:
                later = self._run_unattended(call, resolved, tree, identity, dict(notes))
                self.keep(asyncio.get_running_loop().create_task(later))
            notes["outcome"] = "accepted"
            return call_documents.accepted(request_id)
        try:
            result: Result | None = await self._run(call, resolved, identity, notes, origin)
        except Unavailable:
            tree.was_refused = True
            raise
        except InvalidInput as problem:
            raise _invalid(problem) from None
        except CallFailure as problem:
            result, failure = None, problem
            self._failed(call, resolved, problem)
        finally:
            self.trees.leave(tree, identity)
        about = Circumstances(options, request_id, resolved.source_visible, time.perf_counter() - began)
        if result is None:
            return call_documents.failure(failure, about)
        return call_documents.success(result, about)

    async def run_again(self, earlier: Earlier, resolved: Resolved, body: bytes) -> None:
        """Run a call that nobody waits for once more, as the root of a tree of its own. No limit refuses it."""
        identity = Identity(Account(earlier.account_id, earlier.username), key_id=earlier.key_id)
        tree = self.trees.enter_anyway(earlier.account_id)
        session = acting(resolved.build, resolved.owner_account_id, resolved.settings, identity, tree, earlier.depth)
        call = Call(
            resolved.build,
            earlier.content_type,
            body,
            earlier.timeout,
            session,
            earlier.request_id,
            wants_output=False,
            is_awaited=False,
        )
        algorithm = f"{resolved.build.owner}/{resolved.build.name}/{resolved.version}"
        notes = {"algorithm": algorithm, "attempt": earlier.attempts + 1}
        await self._run_unattended(call, resolved, tree, identity, notes)

    async def warm(self, build: Build, owner: Account, settings: Mapping[str, object]) -> str:
        """Start a worker of `build` for its `owner`, as a call of theirs would; what it printed while it loaded.

        While it loads, the algorithm acts for its owner. Raises CallFailure if it doesn't load.
        """
        tree = self.trees.plant(owner.id)
        try:
            return await self._engine.warm(build, acting(build, owner.id, settings, Identity(owner), tree))
        finally:
            self.trees.close(tree)

    def begin_shutdown(self) -> None:
        """The time that the settings allow for a shutdown runs from now on. Calls are taken until `drain`."""
        self._drain_by = asyncio.get_running_loop().time() + self._settings.shutdown_timeout

    def is_live(self, session_id: str) -> bool:
        """Whether a call of the tree `session_id` still runs. May be asked from any thread."""
        return self.trees.is_live(session_id)

    async def drain(self) -> None:
        """Refuse new calls and wait for those that run unattended, as long as the settings allow; then end them."""
        self.trees.is_closed = True
        clock = asyncio.get_running_loop().time
        deadline = self._drain_by or clock() + self._settings.shutdown_timeout
        # The end of a call may leave work of its own, so once is not enough.
        while self._background and clock() < deadline:
            await asyncio.wait(self._background, timeout=deadline - clock())
            await asyncio.sleep(0)
        for task in tuple(self._background):
            task.cancel()
        if self._background:
            await asyncio.wait(self._background, timeout=5.0)

    async def _run(
        self,
        call: Call,
        resolved: Resolved,
        identity: Identity,
        notes: dict[str, Any],
        origin: Origin | None = None,
    ) -> Result:
        """Run `call`, once its algorithm is built: that takes nothing of the time that the call has."""
        arrived = time.perf_counter()
        if origin is not None and origin.begun is not None:
            arrived = origin.begun.since
        try:
            if resolved.needs_build and self.first_use is not None:
                call = replace(call, build=(await self.first_use.built(resolved, identity)).build)
                arrived = time.perf_counter()
            result = await self._engine.call(call, origin)
        except BaseException as problem:
            self.meter.ended_badly(call.build, problem, time.perf_counter() - arrived, notes)
            raise
        self.meter.ended_well(call.build, result.duration, time.perf_counter() - arrived, notes)
        return result

    async def _run_unattended(
        self, call: Call, resolved: Resolved, tree: Tree, identity: Identity, notes: dict[str, Any]
    ) -> None:
        """Run a call whose answer nobody gets; a line of the log, and the list of errors, say how it ended."""
        failure = None
        try:
            await self._run(call, resolved, identity, notes)
        except asyncio.CancelledError:
            self._async_calls.left(call.request_id)
            raise
        except InvalidInput as problem:
            failure = CallFailure(str(problem), "InputError")
        except CallFailure as problem:
            failure = problem
        except ApiProblem as problem:
            failure = CallFailure(problem.message, "SystemError")
        except Exception:
            log.exception("an async call failed", extra={"request_id": call.request_id})
            failure = CallFailure("internal server error", "SystemError")
        finally:
            self.trees.leave(tree, identity)
            log.info("unattended call", extra={"request_id": call.request_id, **notes})
        if failure is None:
            self._async_calls.ended(call.request_id)
        elif self.is_ending and (tree.was_refused or failure.error_type in _ENDED_FROM_OUTSIDE):
            self._async_calls.left(call.request_id)
        else:
            self._async_calls.failed(call, resolved, failure)

    def _failed(self, call: Call, resolved: Resolved, problem: CallFailure) -> None:
        if self.on_failure is not None:
            self.on_failure(call, resolved, problem)

    def _end_session(self, account_id: str, session_id: str) -> None:
        """The last call of a tree has ended: its files go, off the answer's path."""
        if self._data.has_session_files(account_id, session_id):
            end = self._data.end_session
            self.keep(asyncio.get_running_loop().run_in_executor(None, end, account_id, session_id))

    def keep(self, task: asyncio.Future[None]) -> None:
        """`drain` waits for `task`, and cancels it when the time is up; until then the platform is busy."""
        self._background.add(task)
        task.add_done_callback(self._background_done)

    def _background_done(self, task: asyncio.Future[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("work after a call failed", exc_info=task.exception())


def _invalid(problem: InvalidInput) -> BadRequest:
    return BadRequest(str(problem), Code.MALFORMED_JSON if "JSON" in str(problem) else Code.INPUT_VALIDATION)
