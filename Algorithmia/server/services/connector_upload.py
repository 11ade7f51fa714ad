"""An upload to a provider: pieces come in here, and the provider's library reads them in a thread of its own."""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Callable

from ..connectors.base import UploadStopped
from ..errors import ApiProblem, BadRequest, CallTimeout, Code
from .data_uploads import Stored
from .digests import CorruptedContent, Digest, Hasher

_WAITING_PIECES = 2
# A library that takes nothing for this long is stuck; a client that sends nothing ends its request earlier.
_PATIENCE = 300.0
_END, _STOP = b"", None


class _Pipe(io.RawIOBase):
    """What the library reads: blocks until there is something. Raises UploadStopped when there will be nothing."""

    def __init__(self) -> None:
        self.pieces: queue.Queue[bytes | None] = queue.Queue(_WAITING_PIECES)
        self.stopped = threading.Event()
        self.is_drained = False
        self._rest = memoryview(b"")
        self._ended = False
        self._given = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        # Some libraries ask it of what can't be rewound, too.
        return self._given

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest and not self._ended:
            if self.stopped.is_set():
                raise UploadStopped
            try:
                piece = self.pieces.get(timeout=1.0)
            except queue.Empty:
                continue
            if piece is _STOP:
                self.stopped.set()
                raise UploadStopped
            self._rest = memoryview(piece)
            self._ended = self.is_drained = not piece
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        self._given += count
        return count


class ConnectorUpload:
    """One upload; see `data_store.UploadInProgress`.

    put     the driver's, with all but the source bound; returns the ETag
    digest  what the content must have, or None
    """

    def __init__(
        self, uri: str, size: int | None, put: Callable[[io.BufferedReader], str], digest: Digest | None = None
    ) -> None:
        self._uri = uri
        self._held = b""
        self._is_checked = digest is not None
        self._hash = Hasher(digest, size=size)
        self._announced = size
        self._size = 0
        self._put = put
        self._pipe = _Pipe()
        self._problem: BaseException | None = None
        self._etag = ""
        self._done = False
        self._thread = threading.Thread(target=self._run, name="connector-upload", daemon=True)
        self._thread.start()

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`; waits while the provider is slower. Raises what the provider's refusal means."""
        if data:
            data = bytes(data)  # the caller's buffer may change before the library reads it
            self._size += len(data)
            if not self._is_checked:
                self._hand_over(data)
                return
            # A library that has read all that was announced may be done: so it gets the last piece after the check.
            self._hash.update(data)
            held, self._held = self._held, data
            if held:
                self._hand_over(held)

    def commit(self) -> Stored:
        """Wait until the provider has everything."""
        if self._announced is not None and self._announced != self._size:
            self.abort()
            raise BadRequest(f"{self._size} bytes came instead of the announced {self._announced}; nothing was stored")
        try:
            self._hash.check(self._uri)
        except CorruptedContent:
            self.abort()
            raise
        if self._held:
            self._hand_over(self._held)
        self._hand_over(_END)
        self._thread.join()
        self._done = True
        if self._problem is not None:
            raise self._problem
        return Stored(self._uri, self._etag, self._size)

    def abort(self) -> None:
        """Make the library's next read fail, and wait until it has tidied up."""
        if not self._done:
            self._done = True
            self._pipe.stopped.set()
            self._thread.join(_PATIENCE)

    def _hand_over(self, piece: bytes) -> None:
        waited = 0.0
        while self._thread.is_alive():
            try:
                self._pipe.pieces.put(piece, timeout=0.5)
                return
            except queue.Full:
                waited += 0.5
            if waited > _PATIENCE:
                raise CallTimeout(f"the storage provider of {self._uri} takes no more; nothing was stored")
        if piece or self._problem is not None:
            self._thread.join()
            raise self._problem or _unexpected(self._uri)

    def _check_end(self) -> None:
        if self._pipe.read(1):
            raise _unexpected(self._uri)

    def _run(self) -> None:
        try:
            self._etag = self._put(io.BufferedReader(self._pipe, 1024 * 1024))
            if not self._pipe.is_drained:
                # A library that knows the length needs no look at the end.
                self._check_end()
        except BaseException as problem:
            self._problem = problem if isinstance(problem, ApiProblem) else _unexpected(self._uri)


def _unexpected(uri: str) -> ApiProblem:
    problem = ApiProblem(f"storing {uri} failed; nothing was stored", Code.INTERNAL)
    problem.status = 502
    return problem
