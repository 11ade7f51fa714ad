"""Calls that an earlier server acknowledged and didn't end: run again, a few at a time, each account in its turn.

Their inputs stay on disk until they begin. A call that has begun several times without ever ending, because the server
didn't survive, is given up: it might be the reason. So that others don't share its fate only because they ran beside
it, those that have one attempt left come last, and one by one, whichever account they are of.

An attempt counts once a call is given to the engine, which may yet have to start a worker for it: what is counted only
later is not on disk when the call brings the platform down. Hence there are more attempts than it takes to find out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque

from starlette.concurrency import run_in_threadpool

from ..db.values import iso_time
from ..engine.base import CallFailure
from ..settings import Settings
from .algorithms import Algorithms, Resolved
from .async_calls import AsyncCalls, Earlier
from .invoke import Invoker

log = logging.getLogger("algorithmia.calls")

_MOST_ATTEMPTS = 5
_AT_ONCE = 32
_RETRY = 5.0

# Request ids by account, the account first whose turn is next.
_Lines = dict[str, deque[str]]


class Backlog:
    """What is left of earlier servers' calls. Methods run on the event loop, but for `load`."""

    def __init__(
        self, async_calls: AsyncCalls, algorithms: Algorithms, invoker: Invoker, settings: Settings
    ) -> None:
        self._async_calls = async_calls
        self._algorithms = algorithms
        self._invoker = invoker
        self._at_once = min(_AT_ONCE, settings.max_processes or _AT_ONCE)
        # Of each account no more than will really run: waiting for a worker counts as an attempt.
        self._limit = max(1, min(self._at_once, settings.max_workers, settings.max_concurrent_calls))
        self._waiting: _Lines = {}
        self._last: _Lines = {}  # those with one attempt left
        self._running: Counter[str] = Counter()
        self._is_last_running = False

    def load(self) -> None:
        """Find out what is left. Blocks; before the first call is accepted."""
        for request_id, account_id, attempts in self._async_calls.load():
            lines = self._last if attempts == _MOST_ATTEMPTS - 1 else self._waiting
            lines.setdefault(account_id, deque()).append(request_id)

    def start(self) -> None:
        """Begin with as many calls as may run at once, and go on with the others as these end."""
        while not self._invoker.is_ending and not self._is_last_running:
            total = self._running.total()
            if self._waiting:
                ready = [account_id for account_id in self._waiting if self._running[account_id] < self._limit]
                if total >= self._at_once or not ready:
                    return
                self._begin(min(ready, key=self._running.__getitem__), self._waiting)
            elif self._last and not total:
                self._is_last_running = True
                self._begin(next(iter(self._last)), self._last)
            else:
                return

    def _begin(self, account_id: str, lines: _Lines) -> None:
        """Begin the first call of `account_id` in `lines`."""
        line = lines.pop(account_id)
        request_id = line.popleft()
        if line:
            lines[account_id] = line  # behind those that have as many running
        self._running[account_id] += 1
        task = asyncio.get_running_loop().create_task(self._run(account_id, request_id, lines))
        self._invoker.keep(task)

    async def _run(self, account_id: str, request_id: str, lines: _Lines) -> None:
        try:
            await self._run_again(request_id)
        except Exception:
            log.exception("an async call of before could not be begun", extra={"request_id": request_id})
            asyncio.get_running_loop().call_later(_RETRY, self._put_back, account_id, request_id, lines)
        finally:
            self._running[account_id] -= 1
            if not self._running[account_id]:
                del self._running[account_id]
            if lines is self._last:
                self._is_last_running = False
            self.start()

    def _put_back(self, account_id: str, request_id: str, lines: _Lines) -> None:
        lines.setdefault(account_id, deque()).append(request_id)
        self.start()

    async def _run_again(self, request_id: str) -> None:
        earlier = await run_in_threadpool(self._async_calls.find, request_id)
        body = await run_in_threadpool(self._async_calls.body, request_id) if earlier is not None else None
        if earlier is None or body is None:  # its algorithm has been deleted, and all that is known of it
            self._async_calls.ended(request_id)
            return
        resolved = await self._algorithms.pinned(
            earlier.algorithm_id, earlier.build_id, earlier.version, earlier.account_id
        )
        problem = _objection(earlier, resolved)
        if problem or resolved is None:
            failure = CallFailure(problem, "SystemError")
            self._async_calls.given_up(earlier, failure)
            log.warning("async call given up", extra={"request_id": request_id, "problem": problem})
            return
        await self._async_calls.begin(request_id)
        await self._invoker.run_again(earlier, resolved, body)


def _objection(earlier: Earlier, resolved: Resolved | None) -> str:
    """Why a call is not begun again; "" if it is."""
    accepted = f"this async call, accepted at {iso_time(earlier.created_at)},"
    not_run = f"{accepted} was not run after a restart of the platform:"
    if earlier.attempts >= _MOST_ATTEMPTS:
        return (
            f"{accepted} has been given up: it was begun {earlier.attempts} times, and each time the platform was "
            "killed or crashed before it had ended. If it is not what brings the platform down, call again"
        )
    if earlier.key_id is not None and not earlier.key_exists:
        return f"{not_run} the API key that made it has been deleted"
    if resolved is None:
        return (
            f"{not_run} the build of version {earlier.version} that it was accepted for does not exist any more. "
            "Call again"
        )
    return ""
