"""What a push sets off: a build of master's new head, whose log the pusher sees, and the README as the summary."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from ..builds.records import FAILED, SUCCEEDED
from ..errors import ApiProblem
from ..git.news import Update
from ..git.repositories import BRANCH
from ..services.algorithm_access import Viewed

if TYPE_CHECKING:
    from ..platform import Platform

log = logging.getLogger("algorithmia.git")

_README = "README.md"
_MAX_README = 256 * 1024
_HEADS = "refs/heads/"

Pushed = Callable[[list[Update]], AsyncGenerator[bytes, None]]


def announce_to(platform: Platform, viewed: Viewed) -> Pushed:
    """What to do with the news of a push to `viewed`."""

    def pushed(updates: list[Update]) -> AsyncGenerator[bytes, None]:
        return _pushed(platform, viewed, updates)

    return pushed


async def _pushed(platform: Platform, viewed: Viewed, updates: list[Update]) -> AsyncGenerator[bytes, None]:
    changed = {update.reference.removeprefix(_HEADS): update.new for update in updates}
    commit = changed.get(BRANCH)
    if commit is None:
        yield _hint(changed).encode("utf-8")
        return
    try:
        build_id = await platform.builds.request(viewed.id, commit)
    except ApiProblem as problem:
        yield f"The push is stored, but can't be built: {problem.message}\n".encode()
        return
    except Exception:
        log.exception("a push could not be built", extra={"algorithm": viewed.id})
        yield b"The push is stored, but its build could not be started; try algo compile.\n"
        return
    reference = f"{viewed.owner}/{viewed.name}"
    yield f"Stored. The build goes on when you leave; algo logs {reference} shows it again.\n".encode()
    await _feed_summary(platform, viewed.id, commit)
    async for piece in platform.builds.follow(build_id):
        if piece:
            yield piece
    row = await run_in_threadpool(platform.builds.get, viewed.id, build_id)
    if row is not None and row.status == SUCCEEDED:
        yield (
            f"\nCall it:     algo run {reference}/{commit} -d INPUT\n"
            f"Publish it:  algo publish {reference} --minor\n"
        ).encode()
    elif row is not None and row.status == FAILED:
        yield b"\nThe push is stored, but its build failed. Change the source and push again.\n"


def _hint(changed: dict[str, str]) -> str:
    """What to say of a push that builds nothing."""
    branches = [name for name in changed if not name.startswith("refs/")]
    if not branches:
        return "Nothing to build: only the branch master is built.\n"
    # Not pasted into a shell line unless it is plain: branch names may hold nearly anything.
    name = next((name for name in branches if name.replace("-", "").replace("_", "").isalnum()), "BRANCH")
    return f"Nothing to build: only the branch {BRANCH} is built. To build {name}: git push origin {name}:{BRANCH}\n"


async def _feed_summary(platform: Platform, algorithm_id: str, commit: str) -> None:
    """The README of the pushed head becomes the algorithm's summary."""
    readme_changed: Callable[[str, str], None] = platform.management.readme_changed

    def feed() -> None:
        content = platform.repositories.read_file(algorithm_id, commit, _README, _MAX_README)
        if content is not None:
            readme_changed(algorithm_id, content.decode("utf-8", "replace"))

    try:
        await run_in_threadpool(feed)
    except Exception:
        log.exception("a README could not become a summary", extra={"algorithm": algorithm_id})
