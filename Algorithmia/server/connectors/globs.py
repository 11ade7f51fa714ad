"""The path restriction of a connector: one glob with ``*`` (anything, slashes too) and ``?`` (one character)."""

from __future__ import annotations


class Glob:
    """A compiled `pattern`. Time grows with the lengths of pattern and text, whatever they are."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    @property
    def directory(self) -> str:
        """The deepest directory that holds everything the pattern matches."""
        literal = self._pattern
        for wild in "*?":
            literal = literal.partition(wild)[0]
        return literal.rpartition("/")[0]

    def matches(self, path: str) -> bool:
        """Whether the file at `path` is within the restriction."""
        return len(self._pattern) in self._after(path)

    def reaches(self, directory: str) -> bool:
        """Whether anything below `directory` can be within the restriction."""
        return not directory or bool(self._after(directory + "/"))

    def _after(self, text: str) -> set[int]:
        """The places in the pattern that `text` can lead to."""
        states = self._closed({0})
        for character in text:
            step = set()
            for place in states:
                if place < len(self._pattern):
                    if self._pattern[place] == "*":
                        step.add(place)
                    elif self._pattern[place] in ("?", character):
                        step.add(place + 1)
            states = self._closed(step)
            if not states:
                break
        return states

    def _closed(self, states: set[int]) -> set[int]:
        """`states` and those behind a ``*`` that matches nothing."""
        found = set()
        for place in states:
            found.add(place)
            while place < len(self._pattern) and self._pattern[place] == "*":
                place += 1
                found.add(place)
        return found
