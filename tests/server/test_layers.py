"""Dependencies point one way: what a package of the platform imports of the others, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import Algorithmia.server

SERVER = Path(Algorithmia.server.__file__).parent
# Each may import those after it in its row, and modules that stand in no package.
BELOW = {
    "routes": {"services", "builds", "git", "languages", "engine", "db", "connectors"},
    "services": {"builds", "git", "languages", "engine", "db", "storage", "connectors"},
    "builds": {"git", "languages", "engine", "db"},
    "git": {"languages"},
    "languages": {"engine"},
    "engine": set(),
    "storage": set(),
    "connectors": set(),
    "db": set(),
    "gateway": {"services", "engine"},
}


def imported(path: Path) -> Iterator[str]:
    """First names below ``Algorithmia.server`` of what the module at `path` imports."""
    package = ("Algorithmia", "server", *path.relative_to(SERVER).parent.parts)
    for node in ast.walk(ast.parse(path.read_bytes())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*start, *([node.module] if node.module else [])))
            names = [f"{base}.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("Algorithmia.server."):
                yield name.split(".")[2]


@pytest.mark.parametrize("layer", BELOW)
def test_a_layer_knows_only_what_is_below_it(layer: str) -> None:
    modules = [path for path in (SERVER / layer).rglob("*.py") if "template" not in path.parts]
    assert modules
    packages = set(BELOW) - BELOW[layer] - {layer}
    # Routes are handed the platform; their types may name it.
    above = packages | {"main"} | (set() if layer == "routes" else {"platform"})
    found = {(path.name, name) for path in modules for name in imported(path) if name in above}
    assert not found
