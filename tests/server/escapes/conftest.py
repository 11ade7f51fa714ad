"""Fixtures: the arena, shared by all families of hostile algorithms, and what must hold after each of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from arena import Arena


@pytest.fixture(scope="package")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """The platform on which all of them run; at the end nothing is left."""
    found = Arena(tmp_path_factory.mktemp("arena"))
    try:
        yield found
        found.check_nothing_is_left()
    finally:
        assert found.server.stop() == 0
        assert not list(found.temporary.iterdir())


@pytest.fixture(scope="module")
def confined(arena: Arena) -> None:
    """Skips where algorithms run as the platform's own user."""
    if not arena.is_confined:
        pytest.skip("there is no sandbox on this machine: install bubblewrap")


@pytest.fixture(scope="module")
def outcomes(arena: Arena, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """What came of the module's algorithms, all let loose at once."""
    family, escapes = request.module.FAMILY, getattr(request.module, "ALL", None) or request.module.ESCAPES
    arena.check_bystander()
    try:
        yield arena.outcomes(family, escapes)
    finally:
        arena.check_bystander()
        arena.clear(family)
