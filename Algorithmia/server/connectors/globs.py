"""The path restriction of a connector: one glob, in which ``*`` is anything, slashes too, and the rest is itself."""

from __future__ import annotations


class Glob:
    """A `pattern`. Matching is a few searches for literal text, whatever the pattern."""

    def __init__(self, pattern: str) -> None:
        self._head, *self._rest = pattern.split("*")

    @property
    def directory(self) -> str:
        """The deepest directory that holds everything the pattern matches."""
        return self._head.rpartition("/")[0]

    def matches(self, path: str) -> bool:
        """Whether the file at `path` is within the restriction."""
        if not self._rest:
            return path == self._head
        if not path.startswith(self._head):
            return False
        place = len(self._head)
        for literal in self._rest[:-1]:
            # The leftmost place leaves the most for what follows.
            found = path.find(literal, place)
            if found < 0:
                return False
            place = found + len(literal)
        return len(path) - place >= len(self._rest[-1]) and path.endswith(self._rest[-1])

    def reaches(self, directory: str) -> bool:
        """Whether anything below `directory` can be within the restriction."""
        if not directory:
            return True
        start = f"{directory}/"
        if self._head.startswith(start):
            return True
        # Behind a star everything is possible further down.
        return bool(self._rest) and start.startswith(self._head)
