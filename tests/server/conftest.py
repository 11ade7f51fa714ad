"""Fixtures over `hosted_site`: a platform without algorithms, and accounts on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from callable_world import World
from hosted_site import Caller, Site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A platform for a whole module; each test takes accounts of its own."""
    found = Site(tmp_path_factory.mktemp("site"), page_size=10)
    yield found
    found.stop()


@pytest.fixture
def new_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Site]]:
    """A function that makes a platform of the test's own: ``new_site(home=None, **settings)``."""
    made = []

    def make(home: Path | None = None, **settings: Any) -> Site:
        found = Site(home or tmp_path_factory.mktemp("site"), **settings)
        made.append(found)
        return found

    yield make
    for found in made:
        found.stop()


@pytest.fixture
def me(site: Site) -> Caller:
    """A fresh account."""
    return site.caller()


@pytest.fixture
def other(site: Site) -> Caller:
    """Another fresh account."""
    return site.caller()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Accounts and versions in a database, without a platform."""
    found = World(tmp_path)
    yield found
    found.database.close()
