"""File objects over the Data API: read with one request and bounded memory, write in one step at close.

`DataFile.open` is the public way in; any library that takes a file object can use the result.
"""
import io
import re
import tempfile

from . import digests, errors
from ._compat import PY2

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Union  # noqa: F401

    from typing_extensions import Buffer  # noqa: F401
    from urllib3 import BaseHTTPResponse  # noqa: F401

    from .client import Client  # noqa: F401
    from .datafile import DataFile  # noqa: F401

BUFFER_SIZE = 1024 * 1024
_SPOOL_IN_MEMORY = 8 * 1024 * 1024


class RemoteReader(io.RawIOBase):
    """A binary reader of one remote file. The request is made at the first read and serves sequential reads to the
    end; a seek elsewhere makes one more, for the rest from there (a ``Range`` request, or by skipping where the server
    has no ranges)."""

    def __init__(self, client, url, uri):
        # type: (Client, str, str) -> None
        super(RemoteReader, self).__init__()
        self._client = client
        self._url = url
        self.name = uri
        self._response = None  # type: Optional[BaseHTTPResponse]
        self._position = 0  # where the caller is
        self._stream_at = 0  # where the open response is
        self._etag = None  # type: Optional[str]
        self.size = None  # type: Optional[int]
        # Of what is read from the beginning to the end without a leap: what was told, and what came.
        self._told = None  # type: Optional[str]
        self._digest = None  # type: Any

    def readable(self):
        # type: () -> bool
        return True

    def seekable(self):
        # type: () -> bool
        return True

    def tell(self):
        # type: () -> int
        return self._position

    def seek(self, offset, whence=io.SEEK_SET):
        # type: (int, int) -> int
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence == io.SEEK_END:
            offset += self._find_size()
        if offset < 0:
            raise ValueError("negative seek position %d" % offset)
        self._position = offset
        return offset

    def readinto(self, target):
        # type: (Any) -> int
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if not len(target):
            return 0
        response = self._response
        if response is None or self._stream_at != self._position:
            response = self._open_at(self._position)
            if response is None:
                return 0
        with self._client.reading(self.name):
            data = response.read(len(target))
        target[: len(data)] = data
        if self._digest is not None:
            self._verify(data)
        self._position += len(data)
        self._stream_at = self._position
        return len(data)

    def _find_size(self):
        # type: () -> int
        size = self.size
        if size is None:
            response = self._client.request("HEAD", self._url, family=errors.DATA, subject=self.name)
            size = self.size = int(response.headers.get("Content-Length", 0))
        return size

    def _open_at(self, offset):
        # type: (int) -> Optional[BaseHTTPResponse]
        """Start reading at `offset`; None if that is at or past the end."""
        self._drop()
        if offset and self.size is not None and offset >= self.size:
            return None
        headers = {} if offset else digests.wish()  # type: Dict[str, str]
        if offset:
            headers["Range"] = "bytes=%d-" % offset
            if self._etag:
                headers["If-Range"] = self._etag
        response = self._client.request(
            "GET", self._url, headers=headers, stream=True, family=errors.DATA, subject=self.name, also_ok=(416,)
        )
        if response.status == 416:
            response.drain_conn() if hasattr(response, "drain_conn") else response.close()
            return None
        if response.headers.get("X-Data-Type") == "directory":
            response.close()
            raise errors.DataApiError("unable to get file %s - it is a directory" % self.name)
        part = re.match(r"\s*bytes\s+(\d+)-", response.headers.get("Content-Range") or "")
        if response.status == 206 and part is not None and int(part.group(1)) != offset:
            response.close()
            raise errors.CorruptedTransferError("%s: another part came than was asked for" % self.name)
        etag = response.headers.get("ETag")
        if self._etag and etag != self._etag:
            response.close()
            raise errors.DataApiError("%s changed while it was being read; read it again" % self.name)
        self._etag = etag
        length = response.headers.get("Content-Length")
        self._response = response
        if response.status == 206:
            if length is not None:
                self.size = offset + int(length)
        else:
            self.size = int(length) if length is not None else None
            self._skip(response, offset)
        self._stream_at = offset
        self._told = digests.told(response.headers) if not offset and response.status == 200 else None
        if self._told is not None:
            self._digest = digests.hasher(self.size, self._told)
        return response

    def _verify(self, data):
        # type: (bytes) -> None
        """Count `data`, the next piece, in; its end is an empty one. Raises CorruptedTransferError there."""
        if data:
            self._digest.update(data)
            return
        digest, self._digest = self._digest, None
        if digest.hexdigest() != self._told:
            raise errors.CorruptedTransferError("%s was damaged on its way here" % self.name)

    def _skip(self, response, count):
        # type: (BaseHTTPResponse, int) -> None
        with self._client.reading(self.name):
            while count > 0:
                data = response.read(min(count, BUFFER_SIZE))
                if not data:
                    break
                count -= len(data)

    def _drop(self):
        # type: () -> None
        """Let go of the open response; its connection can be used again only if the body was read to the end."""
        if self._digest is not None:
            digest, self._digest = self._digest, None
            digests.close(digest)
        if self._response is not None:
            response, self._response = self._response, None
            response.close()

    def close(self):
        # type: () -> None
        if not self.closed:
            self._drop()
        super(RemoteReader, self).close()


class AllOrNothing(io.RawIOBase):
    """A writer whose `close` is to store nothing if it is `_abandoned`: by an exception in the ``with`` block, or by
    nobody closing it. It was not finished then, and storing half a file is worse than storing none.
    """

    _abandoned = False

    def __exit__(self, exc_type, exc_value, traceback):
        # type: (Any, Any, Any) -> None
        self._abandoned = self._abandoned or exc_type is not None
        self.close()

    def __del__(self):
        # type: () -> None
        if not self.closed:
            self._abandoned = True
            self.close()


class SpooledWriter(AllOrNothing):
    """Collects what is written, on disk beyond a few MiB, for its subclasses to store at close."""

    def __init__(self):
        # type: () -> None
        super(SpooledWriter, self).__init__()
        self._spool = tempfile.SpooledTemporaryFile(max_size=_SPOOL_IN_MEMORY)  # type: Any

    def writable(self):
        # type: () -> bool
        return True

    def seekable(self):
        # type: () -> bool
        return True

    def write(self, data):
        # type: (Buffer) -> int
        if self.closed:
            raise ValueError("I/O operation on closed file")
        view = memoryview(data)
        if PY2:
            copy = view.tobytes()
            self._spool.write(copy)
            return len(copy)
        self._spool.write(view)
        return view.nbytes

    def tell(self):
        # type: () -> int
        return self._spool.tell()

    def seek(self, offset, whence=io.SEEK_SET):
        # type: (int, int) -> int
        self._spool.seek(offset, whence)
        return self._spool.tell()


class RemoteWriter(SpooledWriter):
    """A binary writer of one remote file: stores what was written with one request at close."""

    def __init__(self, data_file):
        # type: (DataFile) -> None
        super(RemoteWriter, self).__init__()
        self._file = data_file
        self.name = data_file.uri

    def close(self):
        # type: () -> None
        if self.closed:
            return
        try:
            if not self._abandoned:
                self._spool.seek(0)
                self._file.put_stream(self._spool)
        finally:
            self._spool.close()
            super(RemoteWriter, self).close()


class TextWriter(io.TextIOWrapper):
    """Text over a `RemoteWriter`: an exception in the ``with`` block, or nobody closing it, discards what was written.
    """

    def __exit__(self, exc_type, exc_value, traceback):
        # type: (Any, Any, Any) -> None
        if exc_type is not None:
            self._abandon()
        self.close()

    def __del__(self):
        # type: () -> None
        try:
            self._abandon()
        except (AttributeError, ValueError):  # detached, or never made
            return
        self.close()

    def _abandon(self):
        # type: () -> None
        writer = self.buffer  # type: Any
        writer._abandoned = True


def open_remote(data_file, mode="rb", encoding=None, errors=None, newline=None, buffering=-1):
    # type: (DataFile, str, Optional[str], Optional[str], Optional[str], int) -> Any
    """A file object for `data_file`; `mode` is ``r``, ``rb``, ``w`` or ``wb`` (text is UTF-8 unless told).

    Raises ValueError for another mode.
    """
    if mode not in ("r", "rt", "rb", "w", "wt", "wb"):
        raise ValueError("mode %r: remote files open with r, rb, w or wb" % (mode,))
    if mode.startswith("w"):
        writer = RemoteWriter(data_file)
        return writer if "b" in mode else TextWriter(writer, encoding or "utf-8", errors, newline)
    raw = RemoteReader(data_file.client, data_file.url, data_file.uri)  # type: Any
    reader = io.BufferedReader(raw, BUFFER_SIZE if buffering < 2 else buffering)
    return reader if "b" in mode else io.TextIOWrapper(reader, encoding or "utf-8", errors, newline)
