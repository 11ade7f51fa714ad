"""What killed processes left of downloads: files called ``.NAME.KEY.part``, which nobody will ever finish.

The next process that downloads into the directory removes them once they are too old to be written by anybody: a
download of which nothing came for so long has failed.
"""
import os
import re
import time
from itertools import islice

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Iterator, Set  # noqa: F401

# Small files under a key that is never used again; large ones, which the next run continues, under one made of theirs.
UNFINISHED = re.compile(r"\..*\.(?:([0-9a-f]{32})|[0-9a-f]{16})\.part\Z", re.DOTALL)
_HOUR = 3600.0
_WEEK = 7 * 24 * _HOUR
_MOST_ENTRIES = 20000  # of a directory with more, the others stay: looking must not take longer than the download
_swept = set()  # type: Set[str]


def sweep(directory):
    # type: (str) -> None
    """Remove what is abandoned in `directory`; once per process."""
    if directory in _swept:
        return
    _swept.add(directory)
    now = time.time()
    for name in islice(_names(directory), _MOST_ENTRIES):
        found = UNFINISHED.match(name) if name.endswith(".part") else None
        if found is None:
            continue
        path = os.path.join(directory, name)
        try:
            if os.lstat(path).st_mtime < now - (_HOUR if found.group(1) else _WEEK):
                os.unlink(path)
        except OSError:
            pass  # somebody was quicker, or it is somebody else's


def _names(directory):
    # type: (str) -> Iterator[str]
    try:
        if not hasattr(os, "scandir"):
            return iter(os.listdir(directory))
        return (entry.name for entry in os.scandir(directory))
    except OSError:  # writing there will say why
        return iter(())
