"""Whole directories up and down: file by file, several at a time, in bounded memory. See `DataDirectory.upload`."""
import os
import stat
import threading
from itertools import islice

from . import errors, transfer
from ._compat import make_dirs, native
from .local_files import is_file_name
from .parallel import Crew
from .small_files import Company, small
from .uri import HOSTED, data_uri, split_hosted

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, Iterator, List, Optional, Tuple  # noqa: F401

    from ._types import Progress  # noqa: F401
    from .datadirectory import DataDirectory  # noqa: F401
    from .small_files import Small  # noqa: F401

    _Upload = Tuple[Any, str, int]
    _Download = Tuple[Any, str]

_BATCH = 1000
_NAMED = 10  # files that one message names


def upload(directory, path, progress, concurrency):
    # type: (DataDirectory, str, Progress, int) -> None
    """Store the file at `path`, or the files in the directory at `path`, in `directory`, which is made if need be.

    Raises OSError at the end for links that lead nowhere.
    """
    if not os.path.isdir(path):
        directory.file(os.path.basename(path)).upload(path, progress)
        return
    company = Company(directory.client)
    if directory._place[0] == HOSTED:
        collection = _make(directory)
        if not company.takes_folders(collection):
            _check_flat(directory, path)

    def describe(job):
        # type: (_Upload) -> Optional[Small]
        return small(job[0].uri, job[1], job[2])

    def alone(job, tell):
        # type: (_Upload, Progress) -> object
        return job[0].upload(job[1], tell)

    missed = []  # type: List[OSError]
    _in_parallel(_found(directory, path, missed), company, describe, company.send, alone, progress, concurrency)
    check_complete(missed)


def download(directory, path, progress, concurrency):
    # type: (DataDirectory, str, Progress, int) -> None
    """Copy what `directory` holds into the local directory `path`, which is made if need be."""
    company = Company(directory.client)

    def describe(job):
        # type: (_Download) -> Optional[Small]
        return small(job[0].uri, job[1], job[0].size)

    def alone(job, tell):
        # type: (_Download, Progress) -> object
        return transfer.download(directory.client, job[0].uri, job[1], tell, keep_time=True)

    _in_parallel(_listed(directory, path), company, describe, company.fetch, alone, progress, concurrency)


def local_name(name):
    # type: (str) -> str
    """A name from a listing as one part of a local path. Raises DataApiError for one that would lead elsewhere."""
    if not is_file_name(name):
        raise errors.DataApiError("the remote name %r can't be a local file name" % (name,))
    return name


def check_complete(missed):
    # type: (List[OSError]) -> None
    """Raise the error of the file that was left out, or one that names all of them, if there are any."""
    if len(missed) == 1:
        raise missed[0]
    if missed:
        names = ", ".join(native(error.filename) for error in missed[:_NAMED])
        more = " and %d more" % (len(missed) - _NAMED) if len(missed) > _NAMED else ""
        reason = "%s; everything was stored but %s%s" % (missed[0].strerror, names, more)
        raise OSError(missed[0].errno, reason)


def _check_flat(directory, path):
    # type: (DataDirectory, str) -> None
    for name in sorted(os.listdir(path)):
        below = os.path.join(path, name)
        if os.path.isdir(below) and not os.path.islink(below):
            raise errors.DataApiError(
                "%s holds the directory %s, and on this platform %s, a collection of hosted data, holds only files; "
                "upload each directory to a collection of its own" % (path, name, directory.uri)
            )


def _make(directory):
    # type: (DataDirectory) -> str
    """Make the collection that `directory` is, or is in, unless it is there; returns its URI."""
    path = directory._place[1].strip("/")
    collection = data_uri(HOSTED, (split_hosted(path) or (path, ""))[0])
    try:
        directory.client.dir(collection).create()
    except errors.ConflictError:
        pass  # it exists
    return collection


def _found(directory, path, missed):
    # type: (Any, str, List[OSError]) -> Iterator[_Upload]
    """Target, path and size of the files below `path`; links to directories are not followed.

    Adds to `missed` what can't be looked at: a link that leads nowhere, or a file that has just gone.
    """
    for name in sorted(os.listdir(path)):
        below = os.path.join(path, name)
        try:
            facts = os.stat(below)
        except OSError as error:
            missed.append(error)
            continue
        if stat.S_ISREG(facts.st_mode):
            yield directory.file(name), below, facts.st_size
        elif stat.S_ISDIR(facts.st_mode) and not os.path.islink(below):
            for job in _found(directory.dir(name), below, missed):
                yield job


def _listed(directory, path):
    # type: (Any, str) -> Iterator[_Download]
    """Source and path of the files in `directory`; makes the local directories."""
    for item in directory.list():
        make_dirs(path)
        target = os.path.join(path, local_name(item.getName()))
        if item.is_dir():
            for pair in _listed(item, target):
                yield pair
        else:
            yield item, target
    make_dirs(path)


def _in_parallel(jobs, company, describe, together, alone, progress, concurrency):
    # type: (Iterable[Any], Company, Any, Any, Callable[[Any, Progress], object], Progress, int) -> None
    """Do all `jobs`, `concurrency` at a time (see `Company.run`); the first error ends it, and is raised."""
    remaining, lock, crew = iter(jobs), threading.Lock(), Crew(concurrency)

    def tell(count):
        # type: (int) -> None
        crew.check()
        if progress is not None and count:
            with lock:
                progress(count)

    while True:
        batch = list(islice(remaining, _BATCH))  # type: List[Any]
        if not batch:
            return
        work = company.run(
            crew, batch, describe, lambda files: together(files, tell), lambda job: alone(job, tell)
        )
        try:
            for _, _, error in work:
                if error is not None:
                    raise error
        finally:
            work.close()
