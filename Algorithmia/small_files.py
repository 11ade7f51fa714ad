"""Small files of hosted data travel together: many in one request, as a tar archive, where the platform offers that.

What can't go this way, or was refused, is left to the caller, to be sent alone: so each file's error is its own.
"""
import io
import threading
from collections import namedtuple

from . import digests, errors, tar_files
from ._compat import to_text
from .arrivals import Arrivals, is_plain
from .uri import HOSTED, api_path, data_uri, parse_data_uri, quote_segment, split_hosted

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import (  # noqa: F401
        Any,
        Callable,
        Dict,
        Generator,
        List,
        NamedTuple,
        Optional,
        Sequence,
        Text,
        Tuple,
    )

    from .client import Client  # noqa: F401
    from .parallel import Crew  # noqa: F401

    _Item = Tuple[Any, Any]  # a job, and the `Small` that it moves, or None
    _Together = Callable[[List[Any]], List[Optional[int]]]
    _Outcomes = Generator[Tuple[Any, Any, Optional[Exception]], None, None]

    _Small = NamedTuple(
        "_Small", [("collection", str), ("name", Text), ("quoted", str), ("path", str), ("size", int)]
    )
else:
    _Small = namedtuple("Small", "collection name quoted path size")

LARGEST = 256 * 1024  # larger files gain nothing by company
# Of one request: small enough that a few at a time are little memory, large enough that requests cost little.
_MOST_BYTES = 2 * 1024 * 1024
_MOST_FILES = 500
_MOST_ANSWER = 4 * _MOST_BYTES  # listings are older than answers, and archives larger than what is in them
_MOST_NAMES = 3000  # bytes of query, which proxies limit, also where it comes back in the head of the answer
_AT_ONCE = 4
_FEWEST = 4  # of which it's worth asking whether they can go together


class Small(_Small):
    """A file that may travel in company: where it is in hosted data, its local path, and its size as far as known.

    quoted  its name, as it stands in queries
    """

    __slots__ = ()


def small(uri, path, size):
    # type: (str, str, Optional[int]) -> Optional[Small]
    """What is at `uri`, or will be, and at the local `path`; None for what has to travel alone."""
    if size is None or size > LARGEST:
        return None
    connector, place = parse_data_uri(uri)
    found = split_hosted(place) if connector == HOSTED else None
    if found is None:
        return None
    try:
        return Small(found[0], to_text(found[1]), quote_segment(found[1]), path, size)
    except UnicodeError:
        return None  # no name that hosted data can have: whoever sends it alone says so


class Company(object):
    """Sends and fetches small files, several at a time. May be shared between threads."""

    def __init__(self, client):
        # type: (Client) -> None
        self._client = client
        self._known = {}  # type: Dict[str, bool]  # collections, and whether they take archives
        self._asking = threading.Lock()
        self._turns = threading.BoundedSemaphore(_AT_ONCE)
        self._archives = [_Archive() for _ in range(_AT_ONCE)]  # those that nobody uses

    def run(self, crew, jobs, describe, together, alone):
        # type: (Crew, Sequence[Any], Callable[[Any], Optional[Small]], _Together, Callable[[Any], Any]) -> _Outcomes
        """Do all `jobs`, by `crew`; yields ``(job, result, error)`` as they finish (see `Crew.run`).

        describe  what a job moves, as `small` says it
        together  moves several: `send` or `fetch`
        alone     moves what one job does, and gives its result; the result of others is their size
        """

        def do(group):
            # type: (List[_Item]) -> List[Any]
            if len(group) == 1:
                return [alone(group[0][0])]
            crew.check()
            return together([file for _, file in group])

        left = []  # type: List[Any]
        for group, results, error in crew.run(self._groups(jobs, describe), do):
            if error is not None and len(group) > 1 and _is_its_own(error):
                results, error = [None] * len(group), None
            for index, (job, _) in enumerate(group):
                if error is None and results[index] is None and len(group) > 1:
                    left.append(job)
                else:
                    yield job, None if error else results[index], error
        for outcome in crew.run(left, alone):
            yield outcome

    def _groups(self, jobs, describe):
        # type: (Sequence[Any], Callable[[Any], Optional[Small]]) -> List[List[_Item]]
        """`jobs` in groups, each of which can go with one request; those that go alone are groups of one."""
        groups, open_groups = [], {}  # type: ignore[var-annotated]
        for job in jobs:
            file = describe(job)
            if file is None:
                groups.append([(job, None)])
                continue
            group = open_groups.get(file.collection)
            if group is None or not group.has_room(file):
                group = open_groups[file.collection] = _Group()
                groups.append(group.items)  # where its first job is: so what comes first goes first
            group.add(job, file)
        return [part for group in groups for part in self._as_offered(group)]

    def _as_offered(self, group):
        # type: (List[_Item]) -> List[List[_Item]]
        """`group` as it is, where the platform takes archives; else each of its jobs alone."""
        file = group[0][1]
        if file is not None and len(group) >= _FEWEST and self._offers(file.collection):
            return [group]
        return [[item] for item in group]

    def send(self, files, progress):
        # type: (List[Small], Callable[[int], object]) -> List[Optional[int]]
        """Store `files`, all of one collection. What each came to: its size, or None if it has to go alone.

        progress  called with the bytes just sent, and often without any; what it raises ends this
        """
        sizes = []  # type: List[Optional[int]]
        with self._turns:
            archive = self._archives.pop()
            try:
                archive.clear()
                for file in files:
                    progress(0)
                    sizes.append(archive.add(file))
                count = len(sizes) - sizes.count(None)
                if not count or not self._post(files[0].collection, archive.finished(), count):
                    return [None] * len(files)
            finally:
                self._archives.append(archive)
        progress(sum(size or 0 for size in sizes))
        return sizes

    def fetch(self, files, progress):
        # type: (List[Small], Callable[[int], object]) -> List[Optional[int]]
        """Bring `files`, all of one collection, to their paths: those that come, all or none of them. As `send`.

        They have their names when all of them are complete and on disk, and the times of change of the remote ones.
        """
        sizes = []  # type: List[Optional[int]]
        arrivals = Arrivals()
        try:
            with self._turns:
                sizes = self._write(files, arrivals, progress)
            arrivals.settle()  # which takes no memory, so the next ones can come meanwhile
        except (tar_files.ArchiveError, IOError, OSError) as error:
            if isinstance(error, errors.ApiError):
                raise
            # Whose fault it is shows when they go alone.
            progress(-sum(size or 0 for size in sizes))
            return [None] * len(files)
        finally:
            arrivals.discard()
        return sizes

    def _write(self, files, arrivals, progress):
        # type: (List[Small], Arrivals, Callable[[int], object]) -> List[Optional[int]]
        """Have `arrivals` write what comes of `files`."""
        content = self._get(files)
        if content is None:
            return [None] * len(files)
        sizes = []  # type: List[Optional[int]]
        found = {name: (data, seconds) for name, data, seconds in tar_files.read(content, len(files))}
        for file in files:
            data, seconds = found.pop(file.name, (None, 0))
            if data is None or not is_plain(file.path):
                sizes.append(None)
                continue
            progress(0)
            arrivals.write(file.path, data, seconds)
            sizes.append(len(data))
        progress(sum(size or 0 for size in sizes))
        return sizes

    def takes_folders(self, uri):
        # type: (str) -> bool
        """Whether names of files in the collection at `uri` may have folders in them, as they may where archives go."""
        return self._offers(parse_data_uri(uri)[1].strip("/"))

    def _offers(self, collection):
        # type: (str) -> bool
        """Whether there is such a collection, and it takes archives."""
        with self._asking:  # the others wait: they would ask the same
            if collection not in self._known:
                try:
                    response = self._client.request("HEAD", api_path(HOSTED, collection), family=errors.DATA)
                    offered = (response.headers.get("Accept-Post") or "").lower().split(",")
                except errors.NotFoundError:
                    return False  # it may be made yet
                except errors.ApiError:
                    offered = []  # what goes alone says what is wrong
                self._known[collection] = tar_files.CONTENT_TYPE in [kind.partition(";")[0].strip() for kind in offered]
            return self._known[collection]

    def _post(self, collection, body, count):
        # type: (str, memoryview, int) -> bool
        """Whether the platform stored all `count` files in `body`."""
        headers = digests.headers(digests.of_bytes(body))
        response = self._ask("POST", collection, body=body, content_type=tar_files.CONTENT_TYPE, headers=headers)
        if response is None:
            return False
        return ('"stored":%d}' % count).encode("ascii") in response.data.replace(b" ", b"")

    def _get(self, files):
        # type: (List[Small]) -> Optional[bytearray]
        """The archive of `files`, as far as the platform has them; None if it doesn't come whole. Raises ArchiveError
        for one that is far too large."""
        query = "&".join("file=" + file.quoted for file in files)
        headers = {"Accept": tar_files.CONTENT_TYPE}
        response = self._ask("GET", files[0].collection, query=query, headers=headers, stream=True)
        if response is None:
            return None
        content = _content(response)
        if content is None:
            return None
        told = digests.told(response.headers)
        is_archive = (response.headers.get("Content-Type") or "").partition(";")[0] == tar_files.CONTENT_TYPE
        if not is_archive or told is None or digests.of_bytes(content, told) != told:
            return None
        return content

    def _ask(self, method, collection, **options):
        # type: (str, str, **Any) -> Any
        """The answer; None for what one file less might change."""
        options.update(family=errors.DATA, subject=data_uri(HOSTED, collection))
        try:
            return self._client.request(method, api_path(HOSTED, collection), **options)
        except errors.ApiError as error:
            if not _is_its_own(error):
                raise
            return None


class _Group(object):
    """Jobs that go together."""

    def __init__(self):
        # type: () -> None
        self.items = []  # type: List[_Item]
        self._bytes = 0
        self._names = 0

    def has_room(self, file):
        # type: (Small) -> bool
        return (
            len(self.items) < _MOST_FILES
            and self._bytes + file.size <= _MOST_BYTES
            and self._names + len(file.quoted) <= _MOST_NAMES
        )

    def add(self, job, file):
        # type: (Any, Small) -> None
        self.items.append((job, file))
        self._bytes += file.size
        self._names += len(file.quoted) + len("file=&")


class _Archive(object):
    """An archive in the making, in a buffer that is used again and again: memory that comes and goes stays taken."""

    def __init__(self):
        # type: () -> None
        self._buffer = bytearray()
        self._end = 0

    def clear(self):
        # type: () -> None
        """Begin a new one."""
        self._end = 0

    def add(self, file):
        # type: (Small) -> Optional[int]
        """Append the file at its path; its size, or None if it isn't what it was, or can't be read."""
        try:
            with io.open(file.path, "rb", 0) as source:
                header = tar_files.header(file.name, file.size, 0)
                start = self._end + len(header)
                content = self._room(start, file.size + 1)
                got = source.readinto(content)
        except (IOError, OSError, UnicodeError):
            return None
        if got != file.size:
            return None
        self._buffer[self._end : start] = header
        self._end = start + file.size
        self._append(tar_files.padding(file.size))
        return file.size

    def finished(self):
        # type: () -> memoryview
        """The whole archive, good until the next `clear`."""
        self._append(tar_files.END)
        return memoryview(self._buffer)[: self._end]

    def _append(self, data):
        # type: (bytes) -> None
        self._room(self._end, len(data))[:] = data
        self._end += len(data)

    def _room(self, start, size):
        # type: (int, int) -> memoryview
        missing = start + size - len(self._buffer)
        if missing > 0:
            # (Not in place: somebody may still hold a view of the last archive.)
            self._buffer = self._buffer + bytearray(max(missing, _MOST_BYTES // 2))
        return memoryview(self._buffer)[start : start + size]


def _content(response):
    # type: (Any) -> Optional[bytearray]
    """The body of an answer; None if it breaks off. Raises ArchiveError for one that is too large to be what it was."""
    from urllib3.exceptions import HTTPError

    content = bytearray()
    try:
        while True:
            data = response.read(256 * 1024)
            if not data:
                return content
            content += data
            if len(content) > _MOST_ANSWER:
                raise tar_files.ArchiveError("the archive goes on after %d bytes" % len(content))
    except HTTPError:
        return None
    finally:
        response.close()


def _is_its_own(error):
    # type: (Exception) -> bool
    """Whether files that go alone might fare better, or at least learn more."""
    return isinstance(error, errors.ApiError) and not isinstance(error, errors.AuthenticationError)
