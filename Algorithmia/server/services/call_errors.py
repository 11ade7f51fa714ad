"""Calls that failed, for the algorithm's owner and the caller: some days' worth, written off the response's path."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

import msgspec
import sqlalchemy as sa

from ..db import schema
from ..db.database import Database
from ..db.values import is_id, new_id, now_ms
from ..engine.base import Call, CallFailure
from ..errors import Code, NotAuthorized, NotFound
from ..identity import Identity
from .algorithm_access import Viewed, is_name
from .algorithms import Resolved

log = logging.getLogger("algorithmia.calls")

_KEPT = 200
_KEPT_MS = 7 * 24 * 3600 * 1000
_MAX_PENDING = 1000
_MAX_INPUT, _MAX_MESSAGE, _MAX_TRACE = 128, 4096, 16 * 1024


class CallErrors:
    """Recent failures. `record` and `drain` run on the event loop, the others block."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pending: deque[dict[str, Any]] = deque(maxlen=_MAX_PENDING)
        self._writing: asyncio.Future[None] | None = None

    def record(self, call: Call, resolved: Resolved, failure: CallFailure) -> None:
        """Keep that `call` failed."""
        self._pending.append(self.entry_of(call, resolved, failure))
        self._start()

    @staticmethod
    def entry_of(call: Call, resolved: Resolved, failure: CallFailure) -> dict[str, Any]:
        """The row that says that `call` failed. The input is kept only if it is the owner's own."""
        caller = call.session.account.id
        shown = ""
        if caller == resolved.owner_account_id:
            if call.content_type == "binary":
                shown = f"({len(call.body)} bytes)"
            else:
                shown = _plain(call.body[: 4 * _MAX_INPUT].decode("utf-8", "replace"))[:_MAX_INPUT]
        return entry(call.build.algorithm_id, caller, call.request_id, resolved.version, failure, shown)

    async def drain(self) -> None:
        """Write what is still to be written."""
        while self._writing is not None:
            await asyncio.wait([self._writing])
            await asyncio.sleep(0)

    def of_algorithm(self, viewed: Viewed) -> list[dict[str, Any]]:
        """Failed calls of an algorithm, newest first, as its owner sees them."""
        return self._list(schema.call_errors.c.algorithm_id == viewed.id, None)

    def of_caller(self, name: str, identity: Identity) -> list[dict[str, Any]]:
        """Failed calls that the account called `name` (or with that id) made, newest first.

        Raises NotFound, NotAuthorized for another's.
        """
        accounts = schema.accounts
        if not (is_name(name) or is_id(name)):
            raise NotFound(f"no user {name[:60]!r}", Code.USER_NOT_FOUND)
        if not identity.acts_for_itself:
            raise NotAuthorized("an algorithm can't see its caller's errors")
        if not identity.is_admin and name not in (identity.account.username, identity.account.id):
            raise NotAuthorized("only an administrator's key can see other users' errors")
        with self._database.read() as connection:
            account_id = connection.execute(
                sa.select(accounts.c.id).where(sa.or_(accounts.c.username == name, accounts.c.id == name))
            ).scalar()
        if account_id is None:
            raise NotFound(f"no user {name[:60]!r}", Code.USER_NOT_FOUND)
        return self._list(schema.call_errors.c.caller_id == account_id, str(account_id))

    # -- below -----------------------------------------------------------------------------------------------------

    def _list(self, condition: sa.ColumnElement[bool], reader: str | None) -> list[dict[str, Any]]:
        """`reader` sees stack traces only of algorithms whose source is theirs to read; None sees all."""
        errors, algorithms, accounts = schema.call_errors, schema.algorithms, schema.accounts
        callers = accounts.alias()
        query = (
            sa.select(
                errors,
                algorithms.c.name,
                algorithms.c.settings,
                algorithms.c.account_id,
                accounts.c.username.label("owner"),
                callers.c.username.label("caller"),
            )
            .join(algorithms, errors.c.algorithm_id == algorithms.c.id)
            .join(accounts, algorithms.c.account_id == accounts.c.id)
            .join(callers, errors.c.caller_id == callers.c.id)
            .where(condition, errors.c.created_at >= now_ms() - _KEPT_MS)
            .order_by(errors.c.created_at.desc(), errors.c.id)
            .limit(_KEPT)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [_document(row, reader) for row in rows]

    def _start(self) -> None:
        if self._writing is None:
            loop = asyncio.get_running_loop()
            batch = [self._pending.popleft() for _ in range(len(self._pending))]
            self._writing = loop.run_in_executor(None, self._write, batch)
            self._writing.add_done_callback(self._written)

    def _written(self, task: asyncio.Future[None]) -> None:
        self._writing = None
        if not task.cancelled() and task.exception() is not None:
            log.error("failed calls could not be recorded", exc_info=task.exception())
        if self._pending:
            self._start()

    def _write(self, batch: list[dict[str, Any]]) -> None:
        with self._database.write() as connection:
            self.write(connection, batch)

    @staticmethod
    def write(connection: sa.Connection, batch: list[dict[str, Any]]) -> None:
        """Store `batch`, made by `entry`, in the transaction of `connection`, and forget what is too old or too much.

        Blocks. What is about algorithms and accounts that have gone is left out.
        """
        errors = schema.call_errors
        if not batch:
            return
        known = _existing(connection, schema.algorithms, {row["algorithm_id"] for row in batch})
        callers = _existing(connection, schema.accounts, {row["caller_id"] for row in batch})
        rows = [row for row in batch if row["algorithm_id"] in known and row["caller_id"] in callers]
        if not rows:
            return
        connection.execute(errors.insert(), rows)
        connection.execute(errors.delete().where(errors.c.created_at < now_ms() - _KEPT_MS))
        for algorithm_id in known:
            mine = errors.c.algorithm_id == algorithm_id
            newest = sa.select(errors.c.id).where(mine).order_by(errors.c.created_at.desc(), errors.c.id).limit(_KEPT)
            connection.execute(errors.delete().where(mine, errors.c.id.not_in(newest)))


def entry(
    algorithm_id: str, caller_id: str, request_id: str, version: str, failure: CallFailure, shown: str = ""
) -> dict[str, Any]:
    """The row of one failed call; `shown` is what may be seen of its input."""
    return {
        "id": new_id(),
        "algorithm_id": algorithm_id,
        "caller_id": caller_id,
        "request_id": request_id,
        "version": version,
        "input": shown,
        "error": _encode([failure.message[:_MAX_MESSAGE], (failure.stacktrace or "")[-_MAX_TRACE:]]),
        "error_type": _plain(failure.error_type)[:128],
        "created_at": now_ms(),
    }


def _existing(connection: sa.Connection, table: sa.Table, ids: set[str]) -> set[str]:
    return set(connection.execute(sa.select(table.c.id).where(table.c.id.in_(ids))).scalars())


def _document(row: Any, reader: str | None) -> dict[str, Any]:
    message, trace = msgspec.json.decode(row.error)
    is_open = msgspec.json.decode(row.settings).get("source_visibility") == "open"
    if trace and (reader is None or reader == row.account_id or is_open):
        message = f"{message}\n{trace}"
    document = {
        "created_at": row.created_at,
        "request_id": row.request_id,
        "username": row.owner,
        "algoname": row.name,
        "algoversion": row.version,
        "error": message,
        "error_type": row.error_type,
        "billable_to": row.caller,
    }
    if row.input and (reader is None or reader == row.caller_id):
        document["input"] = row.input
    return document


def _encode(texts: list[str]) -> str:
    return msgspec.json.encode([_plain(text) for text in texts]).decode()


def _plain(text: str) -> str:
    """`text` without what can't be stored: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
