"""What files hold in the fault test: contents by digest, sizes of all orders of magnitude, and trees of files."""

from __future__ import annotations

import hashlib
import math
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

_PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """The identity of a content."""

    sha256: str
    size: int

    @classmethod
    def of_file(cls, path: Path) -> Content | None:
        """Of the file at `path`; None if there is none."""
        digest, size = hashlib.sha256(), 0
        try:
            with open(path, "rb") as source:
                while data := source.read(_PIECE):
                    digest.update(data)
                    size += len(data)
        except FileNotFoundError:
            return None
        return cls(digest.hexdigest(), size)

    def __str__(self) -> str:
        return f"{self.size} bytes {self.sha256[:8]}"


# What is under each name, None where there is nothing.
Contents = dict[str, Content]


def random_size(chance: random.Random, largest: int) -> int:
    """All orders of magnitude up to `largest` alike; nothing at all, and the largest, a little more often."""
    kind = chance.random()
    if kind < 0.04:
        return 0
    if kind > 0.97:
        return largest
    return int(math.exp(chance.uniform(0.0, math.log(largest))))


def write_random(path: Path, size: int, chance: random.Random) -> Content:
    """A file of `size` random bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as target:
        while size:
            size -= target.write(chance.randbytes(min(size, 8 * _PIECE)))
    found = Content.of_file(path)
    assert found is not None
    return found


def write_tree(directory: Path, names: list[str], chance: random.Random, largest: int) -> Contents:
    """Files called `names` of random sizes, alone in `directory`."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return {name: write_random(directory / name, random_size(chance, largest), chance) for name in names}


def tree(directory: Path) -> Contents:
    """All files below `directory` by their paths in it."""
    found: Contents = {}
    for above, _, names in os.walk(directory):
        for name in names:
            path = Path(above) / name
            content = Content.of_file(path)
            if content is not None:
                found[str(path.relative_to(directory))] = content
    return found


def names(chance: random.Random, count: int) -> list[str]:
    """File names of which no two are alike: a damaged bit in a request's path must not lead to another file."""
    return [f"{chance.getrandbits(48):012x}.bin" for _ in range(count)]


def nested_names(chance: random.Random, count: int) -> list[str]:
    """As `names`, some of them in directories."""
    return [chance.choice(("", "", "inner/", "inner/most/")) + name for name in names(chance, count)]
