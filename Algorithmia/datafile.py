"""Files behind the API; those of this machine are in `local_data`, under the same names.

API document: Data API ("Verbs", "Response headers"). Every read is one GET; existence is one HEAD.
"""
import io
import os
from collections import namedtuple

from . import digests, errors, temporary, transfer, uploads
from ._compat import text_type
from .content import FileContent, open_downloaded
from .data import DataObjectType, RemoteObject
from .dates import parse_http_date, parse_timestamp
from .local_data import LocalDataFile
from .uri import HOSTED

__all__ = ["AdvancedDataFile", "DataFile", "FileStat", "LocalDataFile"]

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from datetime import datetime  # noqa: F401
    from typing import (  # noqa: F401
        IO,
        Any,
        Dict,
        List,
        Literal,
        NamedTuple,
        Optional,
        Text,
        Tuple,
        Union,
        overload,
    )

    import requests  # noqa: F401
    from typing_extensions import Self  # noqa: F401
    from urllib3 import BaseHTTPResponse  # noqa: F401

    from ._types import BytesLike, Progress, Readable  # noqa: F401
    from .client import Client  # noqa: F401
    from .streams import RemoteWriter, TextWriter  # noqa: F401

    _FileStat = NamedTuple(
        "_FileStat",
        [
            ("size", Optional[int]),
            ("content_type", Optional[str]),
            ("last_modified", Optional[datetime]),
            ("etag", Optional[str]),
            ("digest", Optional[str]),
        ],
    )
else:
    _FileStat = namedtuple("FileStat", "size content_type last_modified etag digest")


class FileStat(_FileStat):
    """What a HEAD says of a file: size in bytes, MIME type, naive UTC datetime or None, ETag or None, and digest:
    the SHA-256 of the content in hexadecimal, or its MD5, or of a large file ``xxh128:`` and its XXH3-128, if the
    platform tells it."""

    __slots__ = ()


class DataFile(FileContent, RemoteObject):
    """A file of hosted data or of a connector.

    path, uri, url  see `RemoteObject`
    size            bytes, if a listing or `stat` told; else None
    last_modified   naive UTC datetime, if a listing or `stat` told; else None
    """

    def __init__(self, client, dataUrl):
        # type: (Client, str) -> None
        RemoteObject.__init__(self, client, dataUrl, DataObjectType.file)
        self.last_modified = None  # type: Optional[datetime]
        self.size = None  # type: Optional[int]

    def __repr__(self):
        # type: () -> str
        return "%s(%r)" % (type(self).__name__, str(self.uri))

    def _repr_html_(self):
        # type: () -> str
        """Rich display for Jupyter."""
        from .notebook import file_html

        return file_html(self)

    def set_attributes(self, attributes):
        # type: (Dict[str, Any]) -> None
        """Take over size and time of change from an entry of a listing."""
        self.size = attributes.get("size")
        self.last_modified = parse_timestamp(attributes.get("last_modified"))

    # -- reading --------------------------------------------------------------------------------------------------

    def stat(self):
        # type: () -> FileStat
        """Size, type, time and ETag, by one HEAD. Raises NotFoundError if there is no such file."""
        response = self._request("HEAD", headers=digests.wish())
        headers = response.headers
        if headers.get("X-Data-Type") == "directory":
            raise errors.class_for(404, errors.DATA)("%s is a directory, not a file" % self.uri, status=404)
        length = headers.get("Content-Length")
        self.size = int(length) if length is not None else None
        self.last_modified = parse_http_date(headers.get("Last-Modified"))
        digest = digests.told(headers)
        if digest is None and self._place[0] == HOSTED and not digests.is_named(headers):
            digest = digests.of_etag(headers.get("ETag"))  # what the API says that it is
        return FileStat(self.size, headers.get("Content-Type"), self.last_modified, headers.get("ETag"), digest)

    def exists(self):
        # type: () -> bool
        """Whether there is such a file. Raises if the platform doesn't tell (no permission, no connection)."""
        try:
            self.stat()
        except errors.NotFoundError:
            return False
        return True

    def existsWithError(self):
        # type: () -> Tuple[bool, Optional[str]]
        """``(True, None)``, or ``(False, reason)``."""
        try:
            self.stat()
        except errors.ApiError as error:
            return False, error.message
        return True, None

    if TYPE_CHECKING:

        @overload
        def open(self, mode="rb", encoding=None, errors=None, newline=None, buffering=-1):
            # type: (Literal["rb"], None, None, None, int) -> io.BufferedReader
            pass

        @overload
        def open(self, mode, encoding=None, errors=None, newline=None, buffering=-1):
            # type: (Literal["r", "rt"], Optional[str], Optional[str], Optional[str], int) -> io.TextIOWrapper
            pass

        @overload
        def open(self, mode, encoding=None, errors=None, newline=None, buffering=-1):
            # type: (Literal["wb"], None, None, None, int) -> RemoteWriter
            pass

        @overload
        def open(self, mode, encoding=None, errors=None, newline=None, buffering=-1):
            # type: (Literal["w", "wt"], Optional[str], Optional[str], Optional[str], int) -> TextWriter
            pass

        @overload
        def open(self, mode, encoding=None, errors=None, newline=None, buffering=-1):
            # type: (str, Optional[str], Optional[str], Optional[str], int) -> Any
            pass

    def open(self, mode="rb", encoding=None, errors=None, newline=None, buffering=-1):
        # type: (str, Optional[str], Optional[str], Optional[str], int) -> Any
        """A file object: ``rb``, ``r`` stream the content with one request; ``wb``, ``w`` store it at close.

        See `Algorithmia.streams`. Raises ValueError for another mode.
        """
        from .streams import open_remote

        return open_remote(self, mode, encoding, errors, newline, buffering)

    def get(self):
        # type: () -> requests.Response
        """The raw answer to GET as a requests.Response. Deprecated: `getBytes`, `getFile` or `open` check it."""
        return self.client.getHelper(self.url)

    def getBytes(self):
        # type: () -> bytes
        """The whole content. Raises NotFoundError, PermissionDeniedError (both also DataApiError)."""
        for _ in range(2):
            response = self._request("GET", headers=digests.wish())
            if response.headers.get("X-Data-Type") == "directory":
                raise errors.DataApiError("unable to get file %s - it is a directory" % self.path)
            told = digests.told(response.headers)
            if told in (None, digests.of_bytes(response.data, told)):
                return response.data
        raise errors.CorruptedTransferError("%s was damaged on its way here, twice" % self.uri)

    if TYPE_CHECKING:

        @overload
        def getFile(self, as_path=False, mode=None):
            # type: (Literal[False], Optional[str]) -> IO[Any]
            pass

        @overload
        def getFile(self, as_path, mode=None):
            # type: (Literal[True], Optional[str]) -> str
            pass

        @overload
        def getFile(self, as_path=False, mode=None):
            # type: (bool, Optional[str]) -> Any
            pass

    def getFile(self, as_path=False, mode=None):
        # type: (bool, Optional[str]) -> Any
        """Download to a temporary file, never whole into memory; it is removed when the process ends.

        as_path  return the path instead of an open file object
        mode     ``r`` (UTF-8 text) or ``rb``; not given: text if the beginning of the content is UTF-8 text
        """
        path = temporary.new_path(self.getName())
        transfer.download(self.client, self.uri, path)
        return path if as_path else open_downloaded(path, mode)

    def download(self, path, progress=None):
        # type: (str, Progress) -> str
        """Copy the file to the local `path`, under its own name if that is a directory; returns the path it has.

        It appears when it is complete and on disk, with the time of change of the remote one. What an interruption
        leaves of a large file (more than 16 MiB) is continued by the next call.
        progress  called with the number of bytes just received, negative when a repeated request starts over
        """
        if os.path.isdir(path):
            from .trees import local_name

            path = os.path.join(path, local_name(self.getName()))
        transfer.download(self.client, self.uri, path, progress, keep_time=True)
        return path

    # -- writing --------------------------------------------------------------------------------------------------

    def put(self, data):
        # type: (Union[Text, BytesLike]) -> Self
        """Store `data`: text (as UTF-8) or bytes. Replaces the file, if there is one, in one step.

        Raises TypeError for anything else, and NotFoundError if the directory doesn't exist.
        """
        if isinstance(data, text_type):
            return self._put_typed(data.encode("utf-8"), "text/plain; charset=utf-8")
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                "put takes text or bytes, not %s: use putJson, putNumpy or putFile" % type(data).__name__
            )
        return self._put_typed(bytes(data), None)

    def putFile(self, path):
        # type: (str) -> Self
        """Store the local file at `path`, streamed. Interrupted, a large one is continued by the next call."""
        transfer.upload(self.client, path, self.uri)
        return self

    def upload(self, path, progress=None):
        # type: (str, Progress) -> Self
        """As `putFile`.

        progress  called with the number of bytes just sent, negative when a repeated request starts over
        """
        transfer.upload(self.client, path, self.uri, progress)
        return self

    def put_stream(self, source, progress=None, content_type=None, size=None):
        # type: (Readable, Progress, Optional[str], Optional[int]) -> Self
        """Store what can be read from `source`, a binary file object, from where it stands.

        progress      called with the number of bytes just sent
        content_type  MIME type to keep; not given: the platform guesses from name and content
        size          bytes that will be read, if known; else it is found out, or the body is sent in chunks
        """
        uploads.store(self, source, progress, content_type, size)
        return self

    def _put_typed(self, data, content_type):
        # type: (bytes, Optional[str]) -> Self
        uploads.store_bytes(self, data, content_type)
        return self

    def delete(self):
        # type: () -> bool
        """Remove the file. Raises NotFoundError if it doesn't exist."""
        self._request("DELETE")
        return True

    def _request(self, method, **options):
        # type: (str, **Any) -> BaseHTTPResponse
        try:
            return self.client.request(method, self.url, family=errors.DATA, subject=self.uri, **options)
        except errors.NotFoundError as error:
            if method == "GET":
                error.message = "unable to get file %s - %s" % (self.path, error.message)
            raise


class AdvancedDataFile(DataFile, io.RawIOBase):
    """What `Client.file` gives: a `DataFile` that is itself a binary file object for reading.

    `cleanup`: remove the temporary file of `getFile(as_path=True)` when this object is collected.
    """

    def __init__(self, client, dataUrl, cleanup=True):
        # type: (Client, str, bool) -> None
        io.RawIOBase.__init__(self)
        DataFile.__init__(self, client, dataUrl)
        self.cleanup = cleanup
        self.local_file = None  # type: Optional[str]
        self._reader = None  # type: Optional[io.BufferedReader]
        self._downloaded = []  # type: List[str]

    if not TYPE_CHECKING:  # its types are those of `DataFile.getFile`

        def getFile(self, as_path=False, mode=None):
            """As `DataFile.getFile`."""
            result = super(AdvancedDataFile, self).getFile(as_path, mode)
            if as_path and self.cleanup:
                self._downloaded.append(result)
            return result

    def _opened(self):
        # type: () -> io.BufferedReader
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if self._reader is None:
            self._reader = self.open("rb")
        return self._reader

    def readable(self):
        # type: () -> bool
        return True

    def seekable(self):
        # type: () -> bool
        return True

    def writable(self):
        # type: () -> bool
        return False

    def read(self, size=-1):
        # type: (Optional[int]) -> bytes
        """Up to `size` bytes; all that is left if negative or None."""
        return self._opened().read(-1 if size is None else size)

    def readall(self):
        # type: () -> bytes
        return self._opened().read()

    def readinto(self, target):
        # type: (Any) -> int
        return self._opened().readinto(target)

    def readline(self, size=-1):
        # type: (Optional[int]) -> bytes
        """The next line, as bytes."""
        return self._opened().readline(-1 if size is None else size)

    def readlines(self, hint=-1):
        # type: (Optional[int]) -> List[bytes]
        """The lines that are left, as bytes."""
        return self._opened().readlines(-1 if hint is None else hint)

    def tell(self):
        # type: () -> int
        return self._opened().tell()

    def seek(self, offset, whence=io.SEEK_SET):
        # type: (int, int) -> int
        return self._opened().seek(offset, whence)

    def close(self):
        # type: () -> None
        """Close the stream; reading again needs a new object."""
        reader, self._reader = getattr(self, "_reader", None), None
        if reader is not None:
            reader.close()
        io.RawIOBase.close(self)

    def __del__(self):
        # type: () -> None
        for path in getattr(self, "_downloaded", ()):
            try:
                os.unlink(path)
            except OSError:
                pass  # already gone: nothing is left to clean up
        self.close()
