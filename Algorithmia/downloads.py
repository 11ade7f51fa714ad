"""Downloads: small ones through one request; large ones over several connections where that helps, and continued by the
next run where they were broken off. Contents are compared with the digest that the platform tells.
"""
import os
import time

from . import digests, errors, local_files
from .buffers import Buffers
from .dates import parse_http_date
from .incoming import Incoming
from .uri import is_local

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from datetime import datetime  # noqa: F401
    from typing import Any, Optional, Tuple  # noqa: F401

    from ._types import Progress, Writable  # noqa: F401
    from .client import Client  # noqa: F401

# From here on a download is kept when it is interrupted, and may take several connections.
LARGE = 16 * 1024 * 1024
CONNECTIONS = 4
# After so many bytes one connection has shown what it can.
_PROBE = 8 * 1024 * 1024
# Bytes a second that are not for others to improve on: then the processor is what limits.
_FAST = 100 * 1024 * 1024
_SMALL_PIECE = 256 * 1024
_SYNCED_AT_ONCE = 16 * 1024 * 1024


def download(client, uri, local_path, progress=None, expect=None, keep_time=False, connections=None):
    # type: (Client, str, str, Progress, Progress, bool, Optional[int]) -> int
    """Copy the file at `uri` to `local_path`; returns its size in bytes.

    The content arrives under a temporary name beside `local_path` and is renamed when it is complete and on disk.
    Damaged content is fetched once more. What an interruption leaves of a large file is continued by the next call.

    keep_time    give the local file the remote one's time of change, where the platform tells it
    connections  that a large file may take; not given: 4, if one proves slow

    Raises the errors of `Client.request`, CorruptedTransferError, and OSError for the local side.
    """
    local_path = os.path.realpath(local_path)
    with local_files.naming(local_path):
        try:
            size, changed = _download(client, uri, local_path, progress, expect, connections)
        except errors.CorruptedTransferError as error:
            if not local_files.is_replaceable(local_path):
                raise
            if progress is not None:
                progress(-error.received)
            size, changed = _download(client, uri, local_path, progress, None, connections)
    if keep_time and changed is not None:
        local_files.set_time(local_path, changed)
    return size


def download_to(client, uri, target, progress=None, expect=None):
    # type: (Client, str, Writable, Progress, Progress) -> int
    """Write the content of the file at `uri` to `target`, a binary file object; returns the number of bytes.

    expect  called with the size, if the platform tells it, before the first byte

    Raises CorruptedTransferError, when everything has been written, if it was damaged on the way.
    """
    if is_local(uri):
        return _copy_local(client, uri, target, progress)
    remote = _Remote(client, uri, expect)
    try:
        return remote.write_to(target, progress)
    finally:
        remote.close()


def _download(client, uri, local_path, progress, expect, connections):
    # type: (Client, str, str, Progress, Progress, Optional[int]) -> Tuple[int, Optional[datetime]]
    if is_local(uri):
        with local_files.replacing(local_path) as target:
            return _copy_local(client, uri, target, progress), None
    remote = _Remote(client, uri, expect)
    try:
        if remote.is_resumable and (remote.size or 0) >= LARGE and local_files.is_replaceable(local_path):
            return _download_large(remote, local_path, progress, connections), remote.changed
        with local_files.replacing(local_path) as target:
            return remote.write_to(target, progress), remote.changed
    finally:
        remote.close()


def _copy_local(client, uri, target, progress):
    # type: (Client, str, Writable, Progress) -> int
    with open(client.file(uri).path, "rb") as source:
        return local_files.pump(source.read, target, progress)


class _Remote(object):
    """A remote file, its content on its way already. `close` it in any case.

    size, changed, told  what the platform says: bytes, time of change, digest; each may be None
    """

    def __init__(self, client, uri, expect):
        # type: (Client, str, Progress) -> None
        self._client = client
        self._source = source = client.file(uri)
        response = client.request(
            "GET", source.url, headers=digests.wish(), stream=True, family=errors.DATA, subject=source.uri
        )
        headers = response.headers
        if headers.get("X-Data-Type") == "directory":
            response.close()
            raise errors.DataApiError("unable to get file %s - it is a directory" % source.uri)
        length = headers.get("Content-Length")
        self.size = None if length is None else int(length)
        if expect is not None and self.size is not None:
            expect(self.size)
        self.uri = source.uri
        self.told = digests.told(headers)
        self.changed = parse_http_date(headers.get("Last-Modified"))
        self.etag = headers.get("ETag") if headers.get("Accept-Ranges") == "bytes" else None
        self.incoming = Incoming(client, source, response, self.etag, 0, self.size)

    @property
    def is_resumable(self):
        # type: () -> bool
        """Whether a part of the content can be continued, and be found right in the end."""
        return self.etag is not None and self.told is not None

    def stretch(self, start, stop):
        # type: (int, int) -> Incoming
        """The bytes from `start` to `stop`."""
        return Incoming(self._client, self._source, None, self.etag, start, stop)

    def continue_at(self, start):
        # type: (int) -> None
        """Have `incoming` give what comes from `start` on."""
        self.incoming.close()
        self.incoming = self.stretch(start, self.size or 0)

    def write_to(self, target, progress):
        # type: (Writable, Progress) -> int
        """Write all of it to `target`; returns the number of bytes. Raises CorruptedTransferError at the end."""
        digest = digests.hasher(self.size, self.told) if self.told else None
        buffer = memoryview(bytearray(local_files.CHUNK if (self.size or 0) > _SMALL_PIECE else _SMALL_PIECE))
        total = 0
        try:
            while True:
                data = buffer[: self.incoming.readinto(buffer)].tobytes()
                if not data:
                    break
                target.write(data)
                total += len(data)
                if digest is not None:
                    digest.update(data)
                if progress is not None:
                    progress(len(data))
            if digest is not None:
                self.compare(digest.hexdigest(), total)
        finally:
            digests.close(digest)
        return total

    def compare(self, digest, size):
        # type: (str, int) -> None
        """Raise CorruptedTransferError unless `digest`, of `size` bytes, is what the platform told."""
        if digest != self.told:
            problem = errors.CorruptedTransferError("%s was damaged on its way here" % self.uri)
            problem.received = size
            raise problem

    def close(self):
        # type: () -> None
        """Let go of the connection."""
        self.incoming.close()


def _download_large(remote, local_path, progress, connections):
    # type: (_Remote, str, Progress, Optional[int]) -> int
    from .parallel import Stopped
    from .partial_files import Part

    part = Part(local_path, remote.uri, str(remote.etag))
    whole = _Large(remote, part, progress, connections)
    try:
        whole.run()
        part.finish()
    except errors.PASSING + (Stopped, KeyboardInterrupt, SystemExit, GeneratorExit):
        part.keep()
        raise
    except BaseException:
        part.remove()
        raise
    return remote.size or 0


class _Large(object):
    """One download into `part`."""

    def __init__(self, remote, part, progress, connections):
        # type: (_Remote, Any, Progress, Optional[int]) -> None
        self._remote = remote
        self._part = part
        self._progress = progress
        self._connections = connections
        self._digest = digests.new(remote.told)

    def run(self):
        # type: () -> None
        """Fetch what is missing, and compare. Raises CorruptedTransferError, and what connections and disk do."""
        remote, size = self._remote, self._remote.size or 0
        self._take_up()
        if self._progress is not None and self._part.held:
            self._progress(self._part.held)
        if self._in_order():
            from .ranges import Ranges

            number = self._connections or CONNECTIONS
            Ranges(
                remote.stretch, remote.incoming, self._part, size, number, self._digest, self._progress
            ).run()
        remote.compare(self._digest.hexdigest(), size)

    def _take_up(self):
        # type: () -> None
        """Hash what an earlier run has left, and go on behind it."""
        from .ranges import hash_written

        if self._part.held > (self._remote.size or 0):
            self._part.empty()
        if self._part.held:
            self._remote.incoming.close()
            hash_written(self._part, self._digest, 0, self._part.held)
            self._remote.continue_at(self._part.held)

    def _in_order(self):
        # type: () -> bool
        """Fetch over one connection; whether it stopped because there had better be several."""
        incoming, size = self._remote.incoming, self._remote.size or 0
        began, began_at = time.time(), incoming.position
        synced = began_at
        buffers = Buffers(self._digest)
        is_probing = self._connections != 1 and self._part.may_have_gaps
        try:
            while incoming.position < size:
                if is_probing and self._is_slow(incoming.position - began_at, began, size - incoming.position):
                    return True
                is_probing = is_probing and incoming.position - began_at < _PROBE
                buffer = buffers.take()
                position = incoming.position
                count = incoming.readinto(buffer)
                piece = buffer[:count]
                buffers.hash(piece)
                self._part.write(piece, position)
                buffers.release(buffer)
                if incoming.position - synced >= _SYNCED_AT_ONCE:
                    buffers.then(self._part.start_syncing, (synced, incoming.position))
                    synced = incoming.position
                if self._progress is not None:
                    self._progress(count)
        finally:
            buffers.drain()
            buffers.close()
        return False

    def _is_slow(self, received, began, left):
        # type: (int, float, int) -> bool
        from .ranges import STRETCH

        if left < 2 * STRETCH:
            return False
        if self._connections:
            return True  # as somebody wants it
        return received >= _PROBE and received < _FAST * max(1e-6, time.time() - began)


