"""What remains of processes that have ended is removed apart from everything else that takes a thread."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from pathlib import Path

import pytest
from engine_zoo import Keeper, with_keeper

from Algorithmia.server.engine.disposal import Disposal
from Algorithmia.server.engine.process import Process
from Algorithmia.server.engine.worker import disposal


def test_what_takes_long_to_remove_keeps_no_request_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even when more workers end at the same time than there are threads for requests."""
    may_go, really = threading.Event(), Process.dispose

    def dispose(process: Process) -> None:
        may_go.wait(60)
        really(process)

    async def test(keeper: Keeper) -> None:
        monkeypatch.setattr(Process, "dispose", dispose)
        for number in range(12):
            assert (await keeper.failure("os_exit", number)).error_type == "SystemExit"
        try:
            executor = asyncio.get_running_loop().run_in_executor
            assert await asyncio.wait_for(executor(None, "works".upper), 30) == "WORKS"
            assert sum(thread.name == "disposal" for thread in threading.enumerate()) <= 4
        finally:
            monkeypatch.undo()
            may_go.set()
            await asyncio.to_thread(disposal.wait, 60)

    with_keeper(tmp_path, test)


def test_what_is_to_be_removed_is_removed_without_threads_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done: list[int] = []
    work = Disposal(2)
    for number in range(3):
        work.do(partial(done.append, number))
    assert done == [0, 1, 2]
