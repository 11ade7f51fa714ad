"""The rows of calls that were acknowledged before they ran (``output=void``): on disk before the caller hears of it,
gone when the call has ended.

What arrives while something is being written is written together, with one fsync. A call that failed leaves its row and
enters the list of errors in one transaction, so no crash loses what became of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

import sqlalchemy as sa

from ..db import schema
from ..db.database import Database
from ..db.values import now_ms
from ..engine.base import Call, CallFailure, ContentType
from ..errors import Unavailable
from .algorithms import Resolved
from .call_errors import CallErrors, entry

log = logging.getLogger("algorithmia.calls")

_table = schema.async_calls

# Bounds of one transaction: other writers wait for it.
_MOST_TOGETHER, _MOST_BYTES = 256, 16 * 1024 * 1024
_RETRY, _LONGEST_RETRY = 1.0, 30.0


@dataclass(frozen=True, slots=True)
class Earlier:
    """A call that an earlier server accepted, but for its input.

    username          name of its caller's account
    key_exists        whether the key that it was made with still does
    owner_account_id  of its algorithm
    depth, attempts   as in the table
    """

    request_id: str
    account_id: str
    username: str
    key_id: str | None
    key_exists: bool
    algorithm_id: str
    owner_account_id: str
    build_id: str
    version: str
    content_type: ContentType
    timeout: float
    depth: int
    attempts: int
    created_at: int


@dataclass(slots=True, eq=False)
class _Change:
    """Something to write. Somebody waits for `written`, or else it is tried again until it succeeds."""

    kind: Literal["accepted", "begun", "left", "ended"]
    request_id: str
    row: dict[str, Any] | None = None  # of the call when it is accepted; of the list of errors when it has failed
    written: asyncio.Future[None] | None = None

    @property
    def size(self) -> int:
        return len(self.row["body"]) if self.row is not None and self.kind == "accepted" else 0


class AsyncCalls:
    """Calls that run later. Methods are called on the event loop, except those that say that they block."""

    def __init__(self, database: Database, errors: CallErrors) -> None:
        self._database = database
        self._errors = errors
        self._pending: set[str] = set()
        self._changes: list[_Change] = []
        self._writing: asyncio.Future[list[Exception | None]] | None = None
        self._unwritten: list[_Change] = []  # to be tried again when the timer says so
        self._retry: asyncio.TimerHandle | None = None
        self._retry_after = _RETRY
        self._is_closing = False

    @property
    def pending(self) -> int:
        """How many calls have been acknowledged and have not ended."""
        return len(self._pending)

    async def accept(self, call: Call, resolved: Resolved) -> None:
        """Return once `call` is on disk. It counts as begun. Raises Unavailable if it can't be stored."""
        context = call.session.call
        row = {
            "request_id": call.request_id,
            "account_id": call.session.account.id,
            "key_id": call.session.key_id,
            "algorithm_id": call.build.algorithm_id,
            "build_id": call.build.id,
            "version": resolved.version,
            "content_type": call.content_type,
            "timeout": call.timeout,
            "depth": 1 if context is None else context.depth,
            "attempts": 1,
            "created_at": now_ms(),
            "body": call.body,
        }
        self._pending.add(call.request_id)
        try:
            await self._written("accepted", call.request_id, row)
        except asyncio.CancelledError:
            self.ended(call.request_id)  # nobody will be told that it was accepted
            raise
        except Exception as problem:
            self._pending.discard(call.request_id)
            if isinstance(problem, Unavailable):
                raise Unavailable(f"the call was not accepted: {problem.message}") from problem
            log.error("an async call could not be stored", exc_info=problem)
            raise Unavailable(
                "the call was not accepted, and has not run: the platform's database can't take it (the platform's "
                "log has the reason); try again later, or call without output=void"
            ) from problem

    async def begin(self, request_id: str) -> None:
        """Return once it is on disk that an earlier call is begun again. Raises what the database raises."""
        try:
            await self._written("begun", request_id)
        except asyncio.CancelledError:
            self.left(request_id)
            raise

    def left(self, request_id: str) -> None:
        """A call that had begun doesn't run any more because the platform stops in good order: that is no attempt."""
        self._change("left", request_id)

    def ended(self, request_id: str) -> None:
        """A call has ended well, or has nothing to be recorded."""
        self._change("ended", request_id)

    def failed(self, call: Call, resolved: Resolved, failure: CallFailure) -> None:
        """A call has ended because of `failure`, which the list of errors tells once it is written."""
        self._change("ended", call.request_id, self._errors.entry_of(call, resolved, failure))

    def given_up(self, earlier: Earlier, failure: CallFailure) -> None:
        """A call won't be begun again; the list of errors says why."""
        row = entry(
            earlier.algorithm_id, earlier.account_id, earlier.request_id, earlier.version, failure
        )
        self._change("ended", earlier.request_id, row)

    async def drain(self) -> None:
        """Write what is still to be written; what can't be is left to the next start, which runs the call again."""
        self._is_closing = True
        if self._retry is not None:
            self._retry.cancel()
        self._try_again()
        while self._writing is not None:
            await asyncio.wait([self._writing])
            await asyncio.sleep(0)

    # -- what an earlier server left: these block --------------------------------------------------------------------

    def load(self) -> list[tuple[str, str, int]]:
        """Request id, account id and attempts of all calls in the table, which are pending from now on: first those
        that were begun least often, and of them the oldest."""
        columns = (_table.c.request_id, _table.c.account_id, _table.c.attempts)
        query = sa.select(*columns).order_by(_table.c.attempts, _table.c.created_at, _table.c.request_id)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        self._pending.update(row.request_id for row in rows)
        return [(row.request_id, row.account_id, row.attempts) for row in rows]

    def find(self, request_id: str) -> Earlier | None:
        """The call, unless its algorithm or account has been deleted meanwhile, and the call with it."""
        accounts, keys, algorithms = schema.accounts, schema.api_keys, schema.algorithms
        columns = [column for column in _table.c if column.name != "body"]
        query = (
            sa.select(
                *columns,
                accounts.c.username,
                keys.c.id.is_not(None).label("key_exists"),
                algorithms.c.account_id.label("owner_account_id"),
            )
            .join(accounts, _table.c.account_id == accounts.c.id)
            .join(algorithms, _table.c.algorithm_id == algorithms.c.id)
            .outerjoin(keys, sa.and_(_table.c.key_id == keys.c.id, keys.c.account_id == _table.c.account_id))
            .where(_table.c.request_id == request_id)
        )
        with self._database.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return Earlier(**{**row, "key_exists": bool(row["key_exists"])}) if row is not None else None

    def body(self, request_id: str) -> bytes | None:
        """The call's input, as its caller sent it; None as for `find`."""
        query = sa.select(_table.c.body).where(_table.c.request_id == request_id)
        with self._database.read() as connection:
            found = connection.execute(query).scalar()
        return cast("bytes | None", found)

    # -- writing -----------------------------------------------------------------------------------------------------

    async def _written(
        self, kind: Literal["accepted", "begun"], request_id: str, row: dict[str, Any] | None = None
    ) -> None:
        change = _Change(kind, request_id, row, asyncio.get_running_loop().create_future())
        assert change.written is not None
        self._changes.append(change)
        self._start()
        await change.written

    def _change(self, kind: Literal["left", "ended"], request_id: str, row: dict[str, Any] | None = None) -> None:
        self._changes.append(_Change(kind, request_id, row))
        self._start()

    def _start(self) -> None:
        if self._writing is not None or not self._changes:
            return
        count = size = 0
        for change in self._changes[:_MOST_TOGETHER]:
            size += change.size
            if count and size > _MOST_BYTES:
                break
            count += 1
        batch, self._changes = self._changes[:count], self._changes[count:]
        self._writing = asyncio.get_running_loop().run_in_executor(None, self._write, batch)
        self._writing.add_done_callback(lambda done: self._batch_done(batch, done))

    def _batch_done(self, batch: list[_Change], done: asyncio.Future[list[Exception | None]]) -> None:
        self._writing = None
        for change, problem in zip(batch, done.result(), strict=True):
            waiting = change.written
            if waiting is not None:
                if not waiting.done():
                    waiting.set_result(None) if problem is None else waiting.set_exception(problem)
            elif problem is None:
                if change.kind == "ended":
                    self._pending.discard(change.request_id)
                self._retry_after = _RETRY
            else:
                log.error("the end of an async call could not be stored", exc_info=problem)
                self._unwritten.append(change)
        if self._unwritten and self._retry is None and not self._is_closing:
            self._retry = asyncio.get_running_loop().call_later(self._retry_after, self._try_again)
            self._retry_after = min(_LONGEST_RETRY, 2 * self._retry_after)
        self._start()

    def _try_again(self) -> None:
        self._retry = None
        self._changes.extend(self._unwritten)
        self._unwritten.clear()
        self._start()

    def _write(self, batch: list[_Change]) -> list[Exception | None]:
        """Write `batch`, on a thread: for each change what went wrong, or None."""
        try:
            with self._database.write() as connection:
                self._apply(connection, batch)
        except Exception as problem:
            if len(batch) == 1:
                return [problem]
            return [self._write([change])[0] for change in batch]  # what one is to blame for is no other's
        return [None] * len(batch)

    def _apply(self, connection: sa.Connection, batch: Iterable[_Change]) -> None:
        groups: dict[str, list[_Change]] = {"accepted": [], "begun": [], "left": [], "ended": []}
        for change in batch:
            groups[change.kind].append(change)
        if groups["accepted"]:
            connection.execute(_table.insert(), [change.row for change in groups["accepted"] if change.row])
        for kind, more in (("begun", 1), ("left", -1)):
            if groups[kind]:
                ids = [change.request_id for change in groups[kind]]
                update = _table.update().where(_table.c.request_id.in_(ids))
                connection.execute(update.values(attempts=_table.c.attempts + more))
        if groups["ended"]:
            ids = [change.request_id for change in groups["ended"]]
            connection.execute(_table.delete().where(_table.c.request_id.in_(ids)))
            self._errors.write(connection, [change.row for change in groups["ended"] if change.row is not None])
