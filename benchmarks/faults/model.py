"""What may be in a file: the history of what clients asked for, and the contents that it leaves possible."""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import dataclass

# Around the sizes at which the platform treats a body differently, too.
SIZES = (0, 1, 100, 4096, 65_536, 262_144, 1_048_575, 1_048_576, 1_048_577, 5_000_000)
_WEIGHTS = (8, 8, 30, 20, 12, 8, 3, 3, 3, 5)


@dataclass(frozen=True)
class Content:
    """The identity of a content: its MD5 in hexadecimal and its size."""

    md5: str
    size: int

    @classmethod
    def of(cls, data: bytes) -> Content:
        return cls(hashlib.md5(data, usedforsecurity=False).hexdigest(), len(data))


def new_content(chance: random.Random) -> bytes:
    """Random bytes of one of `SIZES`, small ones more often."""
    return chance.randbytes(chance.choices(SIZES, _WEIGHTS)[0])


@dataclass
class Change:
    """A write (`content`) or a removal (None) of a file; `ended` is when it was acknowledged, if it was."""

    content: Content | None
    started: float
    ended: float | None = None


class History:
    """The changes of one file since its content was last known for sure. Times are of one monotonic clock."""

    def __init__(self, known: Content | None = None) -> None:
        self.settle(known)

    def settle(self, known: Content | None) -> None:
        """Begin anew: nothing is under way, and the content is `known`."""
        self._known = known
        self.changes: list[Change] = []

    def possible(self, read_started: float = math.inf, read_ended: float = math.inf) -> set[Content | None]:
        """What a read between the two times may find.

        A change is over, if another one that was acknowledged before the read began had started after its end; an
        unacknowledged one may have taken effect at any time after its start, or never.
        """
        done = [change for change in self.changes if change.ended is not None and change.ended < read_started]
        last = max((change.started for change in done), default=-math.inf)
        found = {
            change.content
            for change in self.changes
            if change.started < read_ended and (change.ended is None or change.ended >= last)
        }
        return found if done else found | {self._known}

    def unacknowledged(self) -> list[Change]:
        return [change for change in self.changes if change.ended is None]
