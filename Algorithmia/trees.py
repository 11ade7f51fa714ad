"""Whole directories up and down: file by file, several at a time, in bounded memory. See `DataDirectory.upload`."""
import os
import stat
import threading
from itertools import islice

from . import errors, transfer
from ._compat import make_dirs
from .parallel import Crew
from .uri import HOSTED

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, Iterator, List, Tuple  # noqa: F401

    from ._types import Progress  # noqa: F401
    from .datadirectory import DataDirectory  # noqa: F401

_BATCH = 1000


def upload(directory, path, progress, concurrency):
    # type: (DataDirectory, str, Progress, int) -> None
    """Store the file at `path`, or the files in the directory at `path`, in `directory`, which is made if need be."""
    if not os.path.isdir(path):
        directory.file(os.path.basename(path)).upload(path, progress)
        return
    is_flat = directory._place[0] == HOSTED
    if is_flat:
        _check_flat(directory, path)
    _in_parallel(
        _found(directory, path, is_flat), lambda job, tell: job[0].upload(job[1], tell), progress, concurrency
    )


def download(directory, path, progress, concurrency):
    # type: (DataDirectory, str, Progress, int) -> None
    """Copy what `directory` holds into the local directory `path`, which is made if need be."""

    def fetch(job, tell):
        # type: (Tuple[Any, str], Progress) -> None
        transfer.download(directory.client, job[0].uri, job[1], tell, keep_time=True)

    _in_parallel(_listed(directory, path), fetch, progress, concurrency)


def local_name(name):
    # type: (str) -> str
    """A name from a listing as one part of a local path. Raises DataApiError for one that would lead elsewhere."""
    if name in ("", ".", "..") or "\0" in name or "/" in name or os.sep in name or (os.altsep or "/") in name:
        raise errors.DataApiError("the remote name %r can't be a local file name" % (name,))
    return name


def _check_flat(directory, path):
    # type: (DataDirectory, str) -> None
    for name in sorted(os.listdir(path)):
        below = os.path.join(path, name)
        if os.path.isdir(below) and not os.path.islink(below):
            raise errors.DataApiError(
                "%s holds the directory %s, and %s, a collection of hosted data, holds only files; upload each "
                "directory to a collection of its own" % (path, name, directory.uri)
            )


def _found(directory, path, is_flat):
    # type: (Any, str, bool) -> Iterator[Tuple[Any, str]]
    """Pairs of target and path of the files below `path`; links to directories are not followed."""
    try:
        if is_flat:
            directory.create()
    except errors.ConflictError:
        pass  # it exists
    for name in sorted(os.listdir(path)):
        below = os.path.join(path, name)
        mode = os.stat(below).st_mode
        if stat.S_ISREG(mode):
            yield directory.file(name), below
        elif stat.S_ISDIR(mode) and not os.path.islink(below):
            for pair in _found(directory.dir(name), below, is_flat):
                yield pair


def _listed(directory, path):
    # type: (Any, str) -> Iterator[Tuple[Any, str]]
    """Pairs of source and path of the files in `directory`; makes the local directories."""
    for item in directory.list():
        make_dirs(path)
        target = os.path.join(path, local_name(item.getName()))
        if item.is_dir():
            for pair in _listed(item, target):
                yield pair
        else:
            yield item, target
    make_dirs(path)


def _in_parallel(jobs, action, progress, concurrency):
    # type: (Iterable[Any], Callable[[Any, Progress], object], Progress, int) -> None
    """Do ``action(job, progress)`` for all `jobs`, `concurrency` at a time; the first error ends it, and is raised."""
    remaining, lock = iter(jobs), threading.Lock()
    while True:
        batch = list(islice(remaining, _BATCH))  # type: List[Any]
        if not batch:
            return
        crew = Crew(concurrency)

        def tell(count, crew=crew):
            # type: (int, Crew) -> None
            crew.check()
            if progress is not None:
                with lock:
                    progress(count)

        def do(job, tell=tell):
            # type: (Any, Progress) -> object
            return action(job, tell)

        work = crew.run(batch, do)
        try:
            for _, _, error in work:
                if error is not None:
                    raise error
        finally:
            work.close()
