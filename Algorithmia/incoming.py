"""The content of a remote file as it comes, over as many connections as it takes."""
import re

from . import errors
from ._compat import PY2

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Optional  # noqa: F401

    from .client import Client  # noqa: F401

_BARREN = 2  # connections in a row that may bring nothing


class ReplacedError(errors.DataApiError):
    """The file is another one than that of which a part has been read."""


class Incoming(object):
    """The bytes of the file `source` from `start` to `stop`, read through `response` at first.

    Where the connection breaks it goes on with the rest on another one, as long as the file is the same and something
    comes. `close` it in any case.

    response  the answer to GET; None: it is asked for, as `etag`
    etag      of the file; None if the platform doesn't give parts of files
    stop      None: to the end, wherever that is

    position  of the next byte
    """

    def __init__(self, client, source, response, etag, start=0, stop=None):
        # type: (Client, Any, Any, Optional[str], int, Optional[int]) -> None
        self._client = client
        self._source = source
        self._response = response
        self._etag = etag
        self.position = self._began_at = start
        self.stop = stop
        self._ends_at = stop if response is not None else None  # what the response brings
        self._barren = 0

    def readinto(self, view):
        # type: (Any) -> int
        """Read some bytes into `view`; how many, 0 at the end."""
        if self.stop is not None:
            view = view[: max(0, self.stop - self.position)]
            if not len(view):
                if self._response is not None and self.position == self._ends_at:
                    self._response.release_conn()
                return 0
        while True:
            try:
                if self._response is None:
                    self._reconnect()
                with self._client.reading(self._source.uri):  # and only that: a full disk here is no broken connection
                    count = self._receive(view)
                break
            except errors.UnreachableError:
                self._barren = self._barren + 1 if self.position == self._began_at else 0
                if not self._etag or self._barren >= _BARREN:
                    raise
                self.close()
        self.position += count
        return count

    def _receive(self, view):
        # type: (Any) -> int
        response = self._response
        if self._ends_at is None or not _is_plain(response):
            data = response.read(len(view))
            view[: len(data)] = data
            count = len(data)
        else:
            count = response._fp.readinto(view)  # urllib3 would pass every byte through two buffers of its own
        end = self.stop if self._ends_at is None else self._ends_at
        if end is not None and not count and len(view):
            from urllib3.exceptions import ProtocolError

            raise ProtocolError("%d bytes are missing" % (end - self.position))
        if self.position + count == self._ends_at and _is_plain(response):
            response.release_conn()
        return count

    def _reconnect(self):
        # type: () -> None
        """Ask for what is left."""
        self._began_at = self.position
        last = "" if self.stop is None else str(self.stop - 1)
        response = self._client.request(
            "GET",
            self._source.url,
            headers={"Range": "bytes=%d-%s" % (self.position, last), "If-Match": str(self._etag)},
            stream=True,
            family=errors.DATA,
            subject=self._source.uri,
            also_ok=(412, 416),
        )
        if response.status in (412, 416):
            response.close()
            raise ReplacedError("%s was replaced while it was read; read it once more" % self._source.uri)
        if response.status != 206:
            response.close()
            raise errors.DataApiError(
                "%s: the connection broke, and the platform doesn't give the rest alone (it answered %d to a request "
                "with Range)" % (self._source.uri, response.status)
            )
        self._response = response
        given = re.match(r"\s*bytes\s+(\d+)-\d+(?:/(\d+))?", response.headers.get("Content-Range") or "")
        if given is not None and int(given.group(1)) != self.position:  # the request was damaged on its way
            self.close()
            raise _broken("%s: the platform sent another part than was asked for" % self._source.uri)
        if self.stop is None and given is not None and given.group(2):
            self.stop = int(given.group(2))
        length = response.headers.get("Content-Length")
        self._ends_at = None if length is None else self.position + int(length)

    def close(self):
        # type: () -> None
        """Let go of the connection. (Read to its end, it has been given back already.)"""
        response, self._response = self._response, None
        if response is not None:
            response.close()


def _broken(problem):
    # type: (str) -> errors.ApiError
    from .unreachable import ConnectionFailed

    return ConnectionFailed(problem)


def _is_plain(response):
    # type: (Any) -> bool
    """Whether what comes on the connection is the content itself."""
    inner = getattr(response, "_fp", None)
    return not PY2 and hasattr(inner, "readinto") and not getattr(inner, "chunked", True)
