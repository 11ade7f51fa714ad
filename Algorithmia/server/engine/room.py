"""How many worker processes this machine has room for, and whose turn it is when there are more calls than that.

Accounts share the room: what becomes free goes to the one that holds least, of its groups to one that has no process,
and of these to the one whose calls have waited longest. A worker that has served one group for a moment leaves when
another has a better claim.
"""

from __future__ import annotations

import collections
import os

from .groups import Group

_LOWEST = 32
_HIGHEST = 1024
# What an algorithm with a library or two takes; the platform has to live as well.
_BYTES_EACH = 256 * 1024 * 1024
# Calls of algorithms go first, and are not refused for want of room: somebody waits for them who holds a worker. There
# is an end to that, sooner for one account than for all.
_FOR_CHILDREN, _OF_ONE_ACCOUNT = 4, 2
# Seconds that a worker serves one group before it leaves for another: several times what starting one takes.
TURN = 0.25


class Room:
    """Counts processes by account. `most` of them at the same time; 0: as many as the machine's memory is good for."""

    def __init__(self, most: int, limit: int) -> None:
        self.most = most or max(_by_memory(), 4 * limit)
        self._held: collections.Counter[str] = collections.Counter()
        self._total = 0
        self._hungry: dict[Group, None] = {}

    @property
    def is_full(self) -> bool:
        return self._total >= self.most

    @property
    def is_exceeded(self) -> bool:
        """Whether there are more than there is room for: calls of algorithms had to have them."""
        return self._total > self.most

    def is_crowded(self, group: Group) -> bool:
        """Whether not even a call of an algorithm may have another process."""
        own = self._held[group.account_id]
        return self._total >= _FOR_CHILDREN * self.most or own >= _OF_ONE_ACCOUNT * self.most

    @property
    def is_short(self) -> bool:
        """Whether some group had to do without."""
        return bool(self._hungry)

    def take(self, group: Group) -> None:
        """`group` starts a process."""
        self._held[group.account_id] += 1
        self._total += 1

    def give_back(self, group: Group) -> None:
        """A process of `group` has ended, or is about to."""
        self._total -= 1
        self._held[group.account_id] -= 1
        if not self._held[group.account_id]:
            del self._held[group.account_id]

    def wants(self, group: Group) -> None:
        """`group` has calls in line, and there was no room for it."""
        self._hungry[group] = None

    def refuse(self, group: Group) -> None:
        """`group` has no claim any more."""
        self._hungry.pop(group, None)

    def next(self) -> Group | None:
        """The group that has the best claim to the next process, if any has one."""
        for group in tuple(self._hungry):
            if group.first_waiter() is None:
                del self._hungry[group]
        return min(self._hungry, key=self._claim, default=None)

    def has_better_claim(self, group: Group) -> bool:
        """Whether another group should have one of `group`'s processes."""
        other = self.next()
        if other is None or other is group:
            return False
        if self._held[other.account_id] < self._held[group.account_id] - 1:
            return True
        own, theirs = group.first_waiter(), other.first_waiter()
        return not other.size and (own is None or theirs is None or theirs.since < own.since)

    def _claim(self, group: Group) -> tuple[int, bool, float]:
        first = group.first_waiter()
        return self._held[group.account_id], bool(group.size), first.since if first else 0.0


def _by_memory() -> int:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        size = 0
    return min(max(_LOWEST, size // _BYTES_EACH), _HIGHEST)
