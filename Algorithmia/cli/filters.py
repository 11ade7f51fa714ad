"""``--include`` and ``--exclude``: which of many files a command is about. The last pattern that fits decides."""
import fnmatch
import re

from ..abandoned import UNFINISHED


class Filter(object):
    """Chooses files by their path below the source, with ``/`` between its parts; without rules all of them.

    rules  ``(is included, pattern)`` in the order of the command line; * stands for any characters, ? for one, [ab] for
           one of those
    """

    def __init__(self, rules=()):
        self._rules = [(keep, re.compile(fnmatch.translate(pattern))) for keep, pattern in rules or ()]

    def __call__(self, path):
        # type: (str) -> bool
        """Whether the file at `path` is meant."""
        if UNFINISHED.match(path.rsplit("/", 1)[-1]):
            return False
        for keep, pattern in reversed(self._rules):
            if pattern.match(path):
                return keep
        return True
