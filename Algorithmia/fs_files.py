"""The file objects of the file system in `fs`: readers by ranges of one version of a file, writers that store at close.

Python 3 only, as fsspec is.
"""
import errno
import io
import sys

from fsspec.caching import BaseCache, register_cache
from fsspec.spec import AbstractBufferedFile

from . import digests, fs_errors
from .streams import AllOrNothing, SpooledWriter

TYPE_CHECKING = False  # as everywhere in the SDK
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Tuple  # noqa: F401

    from .fs import AlgorithmiaFileSystem  # noqa: F401

_LINE = 8192


class GrowingCache(BaseCache):
    """After a leap reads what is asked for, unless that is very little, and ahead where reading goes on from there:
    twice as much each time, up to the block size. Columns of tables cost what they are, and whole files few requests.
    """

    name = "growing"
    FIRST = 64 * 1024

    def __init__(self, blocksize, fetcher, size, **options):
        # type: (int, Any, int, **Any) -> None
        BaseCache.__init__(self, blocksize, fetcher, size, **options)
        self._start = 0
        self._data = b""
        self._ahead = 0

    def _fetch(self, start, end):
        # type: (Optional[int], Optional[int]) -> bytes
        start = start or 0
        end = self.size if end is None else min(end, self.size)
        if start >= end:
            return b""
        known = self._start + len(self._data)
        if self._start <= start and end <= known:
            self.hit_count += 1
            return self._data[start - self._start : end - self._start]
        begin, part = start, b""
        if self._data and self._start <= start <= known:
            begin, part = known, self._data[start - self._start :]
            self._ahead = min(2 * self._ahead, self.blocksize)
            stop = end + self._ahead
        else:
            self._ahead = min(self.FIRST, self.blocksize)
            stop = max(end, start + self._ahead)
        stop = min(stop, self.size)
        self.miss_count += 1
        self.total_requested_bytes += stop - begin
        data = self.fetcher(begin, stop)
        self._start, self._data = begin, data
        return part + data[: end - begin]


register_cache(GrowingCache, clobber=True)


class FileReader(AbstractBufferedFile):
    """A file as it was when it was opened: should it be replaced meanwhile, reading raises OSError (ESTALE).

    Read from the beginning to the end it is compared with the digest that the platform names.
    """

    DEFAULT_BLOCK_SIZE = 8 * 1024 * 1024

    def __init__(self, fs, path, block_size=None, cache_type="growing", cache_options=None, size=None, etag=None):
        # type: (AlgorithmiaFileSystem, str, Any, str, Any, Optional[int], Optional[str]) -> None
        self._etag = etag
        self._digest = None  # type: Any  # of what was read so far, as long as that is the beginning
        self._hashed = 0
        self._whole = None  # type: Any  # a reader of the whole, where there are no ranges
        if size is None:
            details = fs._head(path)
            if details["type"] == "directory":
                raise IsADirectoryError(errno.EISDIR, "%s is a directory" % fs._uri(path))
            self._details = details
            self._etag, size = etag or details["ETag"], details["size"]
            self._digest = digests.new(details["digest"]) if details["digest"] else None
            if not details["ranges"]:
                self._whole = fs._file(path).open("rb")
        AbstractBufferedFile.__init__(self, fs, path, "rb", block_size, True, cache_type, cache_options, size)

    def _fetch_range(self, start, end):
        # type: (int, int) -> bytes
        end = min(end, self.size)  # some caches ask for whole blocks
        if self._whole is not None:
            with fs_errors.refusals():
                self._whole.seek(start)
                data = self._whole.read(end - start)
        else:
            data, etag = self.fs._read(self.path, start, end, self._etag)
            self._etag = self._etag or etag
        if len(data) != end - start:
            raise OSError(errno.EIO, "%s ended %d bytes early" % (self.fs._uri(self.path), end - start - len(data)))
        if self._digest is not None:
            self._verify(start, data)
        return data

    def _verify(self, start, data):
        # type: (int, bytes) -> None
        digest, told = self._digest, self.details["digest"]
        if start != self._hashed:
            self._digest = None
            return
        digest.update(data)
        self._hashed += len(data)
        if self._hashed == self.size:
            self._digest = None
            if digest.hexdigest() != told:
                raise OSError(errno.EIO, "%s was damaged on its way here" % self.fs._uri(self.path))

    def readline(self, size=-1):
        # type: (Optional[int]) -> bytes
        """The next line, as bytes; at most `size` of them if that isn't negative."""
        start = self.tell()
        line = self.readuntil(b"\n", _LINE)
        if size is not None and 0 <= size < len(line):
            self.seek(start + size)
            line = line[:size]
        return line

    def close(self):
        # type: () -> None
        if getattr(self, "_whole", None) is not None:
            self._whole.close()
        AbstractBufferedFile.close(self)

    def __reduce__(self):
        # type: () -> Tuple[Any, ...]
        options = {"block_size": self.blocksize, "cache_type": self.cache.name if self.cache else "none"}
        if self._whole is None:
            options.update(size=self.size, etag=self._etag)
        return _opened_again, (self.fs, self.path, options, self.loc)


def _opened_again(fs, path, options, position):
    # type: (AlgorithmiaFileSystem, str, Dict[str, Any], int) -> FileReader
    reader = FileReader(fs, path, **options)
    reader.seek(position)
    return reader


class FileWriter(SpooledWriter):
    """Collects what is written, and stores it in one step: at close, or at `commit` when `autocommit` is off. An
    exception in the ``with`` block, `discard`, or nobody closing it: nothing is stored. (In a transaction it is closed,
    and its end is still to come.)"""

    def __init__(self, fs, path, exclusive=False, autocommit=True):
        # type: (AlgorithmiaFileSystem, str, bool, bool) -> None
        SpooledWriter.__init__(self)
        self._exclusive = exclusive
        self.fs, self.path, self.autocommit = fs, path, autocommit
        self.mode = "xb" if exclusive else "wb"

    def close(self):
        # type: () -> None
        if self.closed:
            return
        self._abandoned = self._abandoned or _left_by_an_error()
        try:
            if self._abandoned:
                self.discard()
            elif self.autocommit:
                self.commit()
        finally:
            SpooledWriter.close(self)

    def commit(self):
        # type: () -> None
        """Store what was written; once, and not if it was discarded."""
        if self._spool.closed:
            return
        try:
            size = self._spool.seek(0, io.SEEK_END) or self._spool.tell()  # 3.10's spools don't return it
            self._spool.seek(0)
            self.fs._store(self.path, self._spool, size, self._exclusive)
        finally:
            self._spool.close()

    def discard(self):
        # type: () -> None
        """Throw away what was written."""
        self._abandoned = True
        self._spool.close()

    def __reduce__(self):
        # type: () -> Any
        raise TypeError("a file that is being written can't be pickled")

    def __repr__(self):
        # type: () -> str
        return "FileWriter(%r)" % self.path


class CompressedWriter(AllOrNothing):
    """Compresses into a `FileWriter`, which ends with it: stored as a whole, or not at all."""

    def __init__(self, plain, compress):
        # type: (FileWriter, Any) -> None
        io.RawIOBase.__init__(self)
        self._plain = plain
        self._compressor = compress(plain, mode="w")

    def writable(self):
        # type: () -> bool
        return True

    def write(self, data):
        # type: (Any) -> int
        self._compressor.write(data)
        return memoryview(data).nbytes

    def close(self):
        # type: () -> None
        if self.closed:
            return
        try:
            self._compressor.close()  # writes the end of the archive
            self._plain._abandoned = self._plain._abandoned or self._abandoned
            self._plain.close()
        finally:
            io.RawIOBase.close(self)


# Contexts around our files that close them in an exception's wake as if nothing had happened.
_WRAPPERS = ("fsspec.core", "pandas.io.common", "pyarrow.parquet.core")


def _left_by_an_error():
    # type: () -> bool
    """Whether the file is being closed because the ``with`` block of such a context was left by an exception."""
    if sys.exc_info()[0] is None:
        return False
    frame = sys._getframe(2)  # type: Any
    for _ in range(6):
        if frame is None:
            return False
        if frame.f_code.co_name == "__exit__" and frame.f_globals.get("__name__") in _WRAPPERS:
            told = frame.f_locals
            return (told["exc_type"] if "exc_type" in told else (told.get("args") or (None,))[0]) is not None
        frame = frame.f_back
    return False
