"""The rules of calling, on a real database and an engine that does as the test says."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from callable_world import EVERYTHING, World
from msgspec import structs

from Algorithmia.server.db import schema
from Algorithmia.server.engine.base import Call, CallFailure, InvalidInput, Origin, Result
from Algorithmia.server.errors import ApiProblem, BadRequest, NotAuthorized, TooManyRequests, Unavailable
from Algorithmia.server.identity import Identity, KeyPermissions
from Algorithmia.server.routes.algo import parse_reference
from Algorithmia.server.services.async_calls import AsyncCalls
from Algorithmia.server.services.call_documents import CallOptions
from Algorithmia.server.services.call_errors import CallErrors
from Algorithmia.server.services.call_trees import CallDepthLimit, ChildCallLimit
from Algorithmia.server.services.invoke import Invoker


class FakeEngine:
    """Answers with `outcome`; holds calls until `gate` opens; keeps what it was asked. Or it does as `behaviour`."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.outcome: Any = Result("json", b"1", 0.5, "printed")
        self.behaviour: Callable[[Call], Awaitable[Result]] | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def call(self, call: Call, origin: Origin | None = None) -> Result:
        self.calls.append(call)
        if self.behaviour is not None:
            return await self.behaviour(call)
        await self.gate.wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        result: Result = self.outcome
        return result


class FakeData:
    """Remembers which sessions were ended; those in `used` had files."""

    def __init__(self) -> None:
        self.used: set[tuple[str, str]] = set()
        self.ended: list[tuple[str, str]] = []

    def has_session_files(self, account_id: str, session_id: str) -> bool:
        return (account_id, session_id) in self.used

    def end_session(self, account_id: str, session_id: str) -> None:
        self.ended.append((account_id, session_id))


class Desk:
    """An invoker for calls of ``author/Algo``."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.engine, self.data = FakeEngine(), FakeData()
        self.async_calls = AsyncCalls(world.database, CallErrors(world.database))
        self.invoker = Invoker(
            world.algorithms,
            self.engine,  # type: ignore[arg-type]
            self.data,  # type: ignore[arg-type]
            world.settings,
            self.async_calls,
        )

    async def call(
        self,
        identity: Identity,
        reference: str = "author/Algo",
        body: bytes = b"1",
        request_id: str = "req-1",
        **options: Any,
    ) -> Any:
        resolved = await self.invoker.admit(parse_reference(reference.encode()), identity)
        answer = await self.invoker.invoke(resolved, identity, CallOptions(**options), "json", body, request_id)
        return json.loads(answer.body) if answer.media_type == "application/json" else answer

    async def start(self, identity: Identity, **options: Any) -> asyncio.Task[Any]:
        """A call that runs (the gate must be shut)."""
        before = len(self.engine.calls)
        task = asyncio.create_task(self.call(identity, **options))
        while len(self.engine.calls) == before and not task.done():
            await asyncio.sleep(0.001)
        return task


def at_desk(world: World, test: Any) -> None:
    async def run() -> None:
        await asyncio.wait_for(test(Desk(world)), 30)

    asyncio.run(run())


def test_answers(world: World) -> None:
    async def test(desk: Desk) -> None:
        author, stranger = world.author, world.stranger
        assert await desk.call(stranger) == {
            "result": 1,
            "metadata": {"content_type": "json", "duration": 0.5, "request_id": "req-1"},
        }
        assert (await desk.call(author, stdout=True))["metadata"]["stdout"] == "printed"
        refused = (await desk.call(stranger, stdout=True))["metadata"]
        assert "stdout" not in refused and "may read the algorithm's source" in refused["alerts"][0]
        timing = (await desk.call(author, timing=True))["metadata"]["timing"]
        assert timing["running"] == 0.5 and timing["total"] > 0
        desk.engine.outcome = Result("binary", b"\xff\x00", 0.5, "")
        document = await desk.call(author)
        assert document["result"] == "/wA=" and document["metadata"]["content_type"] == "binary"
        raw = await desk.call(author, output="raw")
        assert (raw.body, raw.media_type) == (b"\xff\x00", "application/octet-stream")
        desk.engine.outcome = Result("text", b'"\\ud83d \xe2\x82\xac"', 0.5, "")
        raw = await desk.call(author, output="raw")
        assert (raw.body.decode(), raw.media_type) == ("? \u20ac", "text/plain; charset=utf-8")
        desk.engine.outcome = Result("json", b'{"a":1}', 0.5, "")
        assert await desk.call(author, output="raw") == {"a": 1}

    at_desk(world, test)


def test_failures(world: World) -> None:
    async def test(desk: Desk) -> None:
        desk.engine.outcome = CallFailure("boom", "InputError", "Traceback...", 0.25, "printed")
        document = await desk.call(world.author, stdout=True)
        assert document["error"] == {"message": "boom", "error_type": "InputError", "stacktrace": "Traceback..."}
        assert document["metadata"] == {"duration": 0.25, "request_id": "req-1", "stdout": "printed"}
        assert (await desk.call(world.stranger))["error"] == {"message": "boom", "error_type": "InputError"}
        raw = await desk.call(world.stranger, output="raw")
        assert (raw.status, raw.body, raw.media_type) == (400, b"boom", "text/plain; charset=utf-8")
        desk.engine.outcome = InvalidInput("the input is not valid JSON: x")
        with pytest.raises(BadRequest) as problem:
            await desk.call(world.author)
        assert problem.value.code == 2013

    at_desk(world, test)


@pytest.mark.parametrize(
    "changes, origin, allowed",
    [
        ({}, None, True),
        ({"allow_algo": False}, None, False),
        ({"allow_algo": False}, "example.com", True),
        ({"allow_web_algo": False}, "example.com", False),
        ({"allow_web_algo": False}, None, True),
        ({"referer_host": "example.com"}, "Example.com", True),
        ({"referer_host": "example.com"}, "evil.example", False),
        ({"referer_host": "example.com"}, "", False),
        ({"referer_host": "example.com"}, None, True),
        ({"algo_acl": ()}, None, False),
        ({"algo_acl": ("algo://author/*",)}, None, True),
        ({"algo_acl": ("algo://author/Algo/*",)}, None, True),
        ({"algo_acl": ("algo://author/Algo",)}, None, True),
        ({"algo_acl": ("algo://author/Other", "algo://aut/*")}, None, False),
    ],
)
def test_key_scopes(world: World, changes: dict[str, Any], origin: str | None, allowed: bool) -> None:
    identity = structs.replace(world.stranger, permissions=replace(EVERYTHING, **changes))

    async def test(desk: Desk) -> None:
        for reference in ("author/Algo", world.algorithm_id):
            work = desk.invoker.admit(parse_reference(reference.encode()), identity, origin)
            if allowed:
                assert (await work).version == "0.10.0"
            else:
                with pytest.raises(NotAuthorized, match="Caller is not authorized to perform the operation: ") as no:
                    await work
                assert (no.value.status, no.value.code) == (403, 2001)

    at_desk(world, test)


def test_the_algorithm_acts_for_its_caller(world: World) -> None:
    async def test(desk: Desk) -> None:
        limited = structs.replace(
            world.stranger, key_id="k", permissions=KeyPermissions(allow_algo=True, algo_acl=("algo://author/Algo",))
        )
        await desk.call(limited, timeout=7.0)
        [call] = desk.engine.calls
        session = call.session
        assert (call.timeout, call.body, call.request_id) == (7.0, b"1", "req-1")
        assert session.account == world.stranger.account and session.key_id == "k"
        assert session.permissions.allow_data and session.permissions.allow_data_write
        assert not session.permissions.allow_algo_management
        assert session.call is not None
        assert (session.call.depth, session.call.owner, session.call.name) == (1, "author", "Algo")
        assert session.call.algorithm_owner == world.author.account.id

    at_desk(world, test)


def test_concurrent_calls_of_an_account_are_limited(world: World) -> None:
    async def test(desk: Desk) -> None:
        desk.engine.gate.clear()
        running = [await desk.start(world.author) for _ in range(2)]
        await desk.call(world.author, output="void")
        with pytest.raises(TooManyRequests) as problem:
            await desk.call(world.author)
        assert problem.value.status == 429 and problem.value.headers["Retry-After"]
        assert "the limit is 3" in problem.value.message
        other = await desk.start(world.stranger)
        child = Identity(world.author.account, permissions=EVERYTHING, call=desk.engine.calls[0].session.call)
        nested = await desk.start(child)
        desk.engine.gate.set()
        await asyncio.gather(*running, other, nested)
        await asyncio.sleep(0)
        assert (await desk.call(world.author))["result"] == 1
        assert not desk.invoker.has_calls and desk.invoker.trees.in_flight == {}

    at_desk(world, test)


def test_a_tree_makes_a_limited_number_of_calls(world: World) -> None:
    async def test(desk: Desk) -> None:
        desk.engine.gate.clear()
        outer = await desk.start(world.author)
        child = desk.engine.calls[0].session
        nested = [await desk.start(child) for _ in range(2)]
        grandchild = desk.engine.calls[-1].session
        assert grandchild.call is not None and child.call is not None
        assert (grandchild.call.depth, grandchild.call.session_id) == (2, child.call.session_id)
        nested += [await desk.start(grandchild) for _ in range(2)]
        for identity in (child, grandchild):
            with pytest.raises(ChildCallLimit, match="may make 4 calls"):
                await desk.call(identity)
        desk.engine.gate.set()
        await asyncio.gather(outer, *nested)
        with pytest.raises(ApiProblem, match="has ended"):
            await desk.call(child)

    at_desk(world, test)


def test_a_chain_of_calls_has_a_limited_length(world: World) -> None:
    world.settings.max_call_depth = 3

    async def test(desk: Desk) -> None:
        desk.engine.gate.clear()
        running = [await desk.start(world.author)]
        for _ in range(2):
            running.append(await desk.start(desk.engine.calls[-1].session))
        for options in ({}, {"output": "void"}):
            with pytest.raises(CallDepthLimit, match="number 3 in a chain.*max-call-depth") as problem:
                await desk.call(desk.engine.calls[-1].session, **options)
            assert problem.value.status == 400
        running.append(await desk.start(desk.engine.calls[0].session))
        desk.engine.gate.set()
        await asyncio.gather(*running)
        assert not desk.invoker.has_calls and desk.async_calls.pending == 0

    at_desk(world, test)


def test_pipeline_enabled(world: World) -> None:
    algorithm_id = world.add_algorithm("Alone", pipeline_enabled=False)
    world.add_version(algorithm_id, "0.1.0", "public")

    async def test(desk: Desk) -> None:
        desk.engine.gate.clear()
        outer = await desk.start(world.author, reference="author/Alone")
        with pytest.raises(NotAuthorized, match="algo://author/Alone may not call other algorithms"):
            await desk.call(desk.engine.calls[0].session)
        desk.engine.gate.set()
        await outer

    at_desk(world, test)


def test_session_files_go_when_the_whole_tree_has_ended(world: World) -> None:
    async def test(desk: Desk) -> None:
        await desk.call(world.author)
        desk.engine.gate.clear()
        outer = await desk.start(world.author)
        session = desk.engine.calls[-1].session
        assert session.call is not None
        entry = (world.author.account.id, session.call.session_id)
        desk.data.used.add(entry)
        await desk.call(session, output="void")
        outer.cancel()
        await asyncio.wait([outer])
        assert outer.cancelled() and desk.data.ended == []
        desk.engine.gate.set()
        await desk.invoker.drain()
        assert desk.data.ended == [entry]

    at_desk(world, test)


def test_void_calls_are_waited_for_at_shutdown(world: World) -> None:
    async def test(desk: Desk) -> None:
        desk.engine.gate.clear()
        assert await desk.call(world.author, output="void") == {"async": "void", "request_id": "req-1"}
        asyncio.get_running_loop().call_later(0.1, desk.engine.gate.set)
        await desk.invoker.drain()
        assert desk.invoker.trees.in_flight == {}
        with pytest.raises(Unavailable):
            await desk.call(world.author)

    at_desk(world, test)


def test_shutdown_does_not_wait_for_ever(world: World) -> None:
    world.settings.shutdown_timeout = 0.1

    async def test(desk: Desk) -> None:
        desk.engine.gate.clear()
        await desk.call(world.author, output="void")
        await desk.invoker.drain()
        assert desk.invoker.trees.in_flight == {}

    at_desk(world, test)


def test_void_failures_are_in_the_list_of_errors(world: World) -> None:
    async def test(desk: Desk) -> None:
        outcomes = (CallFailure("boom"), InvalidInput("bad"), ValueError("a defect of the platform"))
        for number, outcome in enumerate(outcomes):
            desk.engine.outcome = outcome
            await desk.call(world.author, output="void", request_id=f"req-{number}")
            await asyncio.wait(desk.invoker._background)
        await desk.invoker.drain()
        await desk.async_calls.drain()
        assert desk.async_calls.pending == 0
        with world.database.read() as connection:
            assert connection.execute(sa.select(schema.async_calls)).all() == []
            rows = connection.execute(sa.select(schema.call_errors)).all()
        found = {(row.request_id, row.error_type, json.loads(row.error)[0]) for row in rows}
        assert found == {
            ("req-0", "AlgorithmError", "boom"),
            ("req-1", "InputError", "bad"),
            ("req-2", "SystemError", "internal server error"),
        }

    at_desk(world, test)


def test_what_fails_while_the_platform_stops(world: World) -> None:
    """Only what the stop may be the reason for runs again: not an algorithm's own failure."""

    async def test(desk: Desk) -> None:
        outcomes = (
            CallFailure("boom"),
            CallFailure("too long", "TimeoutError"),
            InvalidInput("bad"),
            CallFailure("no worker", "SystemError"),
            CallFailure("exited with code -15", "SystemExit"),
            Unavailable("no builds any more"),
        )
        desk.invoker.begin_shutdown()
        for number, outcome in enumerate(outcomes):
            desk.engine.outcome = outcome
            await desk.call(world.author, output="void", request_id=f"req-{number}")
            await asyncio.wait(desk.invoker._background)

        async def fail_after(childs: Any, call: Call) -> Result:
            if call.request_id == "child":
                if isinstance(childs, Exception):
                    raise childs
                return Result("json", b"1", 0.5, "")
            await desk.engine.gate.wait()
            with contextlib.suppress(Unavailable):
                await desk.call(call.session, request_id="child")
            raise CallFailure("boom")

        # An algorithm may call others to the end; it is not its fault if they can't be called.
        for name, childs in (("refused", Unavailable("no builds any more")), ("served", "")):
            desk.engine.gate.clear()
            desk.engine.behaviour = functools.partial(fail_after, childs)
            await desk.call(world.author, output="void", request_id=f"req-{name}")
            running = tuple(desk.invoker._background)
            if name == "served":
                draining = asyncio.create_task(desk.invoker.drain())
                await asyncio.sleep(0)
                with pytest.raises(Unavailable):
                    await desk.call(world.author)
            desk.engine.gate.set()
            await asyncio.wait(running)
        assert [call.request_id for call in desk.engine.calls].count("child") == 2
        await draining
        await desk.async_calls.drain()
        with world.database.read() as connection:
            left = {row.request_id: row.attempts for row in connection.execute(sa.select(schema.async_calls))}
            failed = {row.request_id for row in connection.execute(sa.select(schema.call_errors))}
        assert left == dict.fromkeys(("req-3", "req-4", "req-5", "req-refused"), 0)
        assert failed == {"req-0", "req-1", "req-2", "req-served"}

    at_desk(world, test)


def test_nobody_is_somebody_else(world: World) -> None:
    """Two calls of different accounts at once act as their own callers."""

    async def test(desk: Desk) -> None:
        desk.engine.gate.clear()
        tasks = [await desk.start(identity) for identity in (world.author, world.stranger)]
        accounts = [call.session.account for call in desk.engine.calls]
        assert accounts == [world.author.account, world.stranger.account]
        sessions = {call.session.call.session_id for call in desk.engine.calls if call.session.call}
        assert len(sessions) == 2
        desk.engine.gate.set()
        await asyncio.gather(*tasks)

    at_desk(world, test)
