"""Blobs in an object store (S3, Google Cloud Storage, Azure): one object ``ab/ID`` each, as on a local disk.

An object has no name until it is complete, and has its final one then. So that none is left behind should the server
end before a row refers to it, its id is noted in the directory ``unsettled`` of the server's own disk for that long.
Blobs that may be suspended are in ``staging`` there, as local ones are, until something durable refers to them.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from .base import LOST, OWNER, PROBE, BlobWriter, Entry, checked, is_blob_id
from .local import LocalBlobStore
from .notes import Notes
from .object_errors import translated
from .object_streams import PART, ObjectReader, SpooledWriter, StreamedWriter

if TYPE_CHECKING:
    from obstore.store import ObjectStore

# Providers take 10,000 parts and no more.
_MOST_PARTS = 9_000
# What bounds the memory of all uploads together: so many are sent while they come, and more of them by way of the disk,
# from where so many go at once; of each, so many parts.
_STREAMS = 8
_STREAM_PARTS = 2
_SENDERS = 4
_SENDER_PARTS = 4
# Requests at once where there are many to make; names in one request that removes them.
_AT_ONCE = 16
_TOGETHER = 1000
_PIECE = 1024 * 1024


class ObjectBlobStore:
    """A `BlobStore` in `objects`, with what is unsettled in the directory `root`.

    remove_parts  removes what is left of uploads to these paths that were cut short
    """

    is_remote = True

    def __init__(
        self, objects: ObjectStore, root: Path, remove_parts: Callable[[Sequence[str]], None] = lambda paths: None
    ) -> None:
        self._remove_parts = remove_parts
        self.unsettled = Notes(root / "unsettled")
        self._objects: Any = objects
        self._spool = LocalBlobStore(root)
        self._streams = threading.BoundedSemaphore(_STREAMS)
        self._senders = threading.BoundedSemaphore(_SENDERS)
        self._lock = threading.Lock()
        self._readers: Counter[str] = Counter()
        self._deleted_while_read: set[str] = set()

    def owner(self) -> str | None:
        import obstore

        try:
            with translated():
                return bytes(obstore.get(self._objects, OWNER).bytes()).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return None

    def set_owner(self, owner: str) -> None:
        import obstore

        with translated():
            obstore.put(self._objects, OWNER, owner.encode() + b"\n", use_multipart=False)

    def create(self, resumable: bool = False, blob_id: str | None = None) -> BlobWriter:
        if resumable or not self._streams.acquire(blocking=False):
            return SpooledWriter(self, self._spool.create(blob_id=blob_id))
        try:
            return StreamedWriter(self, uuid.uuid4().hex if blob_id is None else blob_id, self._streams.release)
        except BaseException:
            self._streams.release()
            raise

    def resume(self, blob_id: str) -> BlobWriter:
        return SpooledWriter(self, self._spool.resume(blob_id))

    def create_many(self, contents: Sequence[bytes]) -> list[str]:
        import obstore

        ids = [uuid.uuid4().hex for _ in contents]
        if not ids:
            return ids
        for blob_id in ids:
            self.unsettled.add(blob_id)
        self.unsettled.sync()

        def put(blob_id: str, content: bytes) -> None:
            obstore.put(self._objects, _key(blob_id), content, use_multipart=False)

        try:
            with translated(), ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(put, ids, contents))
        except BaseException:
            with suppress(OSError):  # the notes stay: the next start tries again
                self._remove(ids)
            raise
        return ids

    def publish(self, blob_id: str) -> None:
        self.unsettled.remove(blob_id)
        self._spool.delete_staged(blob_id)

    def publish_many(self, blob_ids: Sequence[str]) -> None:
        for blob_id in blob_ids:
            with suppress(FileNotFoundError):
                self.publish(blob_id)

    def open_blob(self, blob_id: str) -> BinaryIO:
        with suppress(FileNotFoundError):
            return self._open_object(blob_id)
        with suppress(FileNotFoundError):
            return self._spool.open_staged(blob_id)
        return self._open_object(blob_id)  # it may have been finished and published between the two looks

    def delete(self, blob_id: str) -> None:
        self.delete_many([blob_id])

    def delete_many(self, blob_ids: Sequence[str]) -> None:
        unread = []
        for blob_id in blob_ids:
            self._spool.delete_staged(blob_id)
            with self._lock:
                if self._readers[blob_id]:
                    # Who reads it reads on, maybe with further requests; the last one removes it, or the next start.
                    self.unsettled.add(blob_id)
                    self._deleted_while_read.add(blob_id)
                else:
                    unread.append(blob_id)
        for start in range(0, len(unread), _TOGETHER):
            self._remove(unread[start : start + _TOGETHER])

    def set_aside(self, blob_id: str) -> str:
        # By way of here: not every provider copies large objects, or has copied them when it answers.
        path = f"{LOST}/{blob_id}"
        with self.open_blob(blob_id) as content:
            size = content.seek(0, 2)
            content.seek(0)
            with translated(), self._writer(path, max(PART, size // _MOST_PARTS)) as parts:
                while data := content.read(_PIECE):
                    parts.write(data)
        self.delete(blob_id)
        return path

    def recover(
        self, is_referenced: Callable[[str], bool], is_unfinished: Callable[[str], bool], garbage: Iterable[str]
    ) -> None:
        self._spool.make_directories()
        rest = iter(garbage)
        while batch := list(islice(rest, _TOGETHER)):
            self.delete_many(batch)
        for blob_id in self._spool.staged():
            if is_referenced(blob_id):
                # Its object was there before the row. Whatever lies here, never let it take the place of that.
                if not self._is_there(blob_id):
                    self.send_spooled(blob_id)
                self._spool.delete_staged(blob_id)
            elif not is_unfinished(blob_id):
                self._spool.delete_staged(blob_id)
        unsettled = self.unsettled.all()
        dropped = [blob_id for blob_id in unsettled if not is_referenced(blob_id)]
        if dropped:
            self._remove_parts([_key(blob_id) for blob_id in dropped])
        for start in range(0, len(dropped), _TOGETHER):
            self._remove(dropped[start : start + _TOGETHER])
        for blob_id in unsettled:
            self.unsettled.discard(blob_id)

    def entries(self) -> Iterator[Entry]:
        import obstore

        with translated():
            for page in obstore.list(self._objects, chunk_size=_TOGETHER):
                for found in page:
                    path = found["path"]
                    if path in (PROBE, OWNER) or path.startswith(f"{LOST}/"):
                        continue
                    name = path[3:]
                    is_blob = is_blob_id(name) and path == _key(name)
                    yield Entry(name if is_blob else path, found["size"], found["last_modified"].timestamp())

    def staged(self) -> list[str]:
        return self._spool.staged()

    def open_writer(self, blob_id: str) -> Any:
        """The library's writer of an object."""
        return self._writer(_key(blob_id), PART)

    def send_spooled(self, blob_id: str) -> None:
        """Make an object of what is in the spool, where it stays until it's published."""
        import obstore

        self.unsettled.add(blob_id)
        self.unsettled.sync()
        path = Path(self._spool.staged_path(blob_id))
        part = max(PART, path.stat().st_size // _MOST_PARTS)
        with self._senders, translated():
            obstore.put(self._objects, _key(blob_id), path, chunk_size=part, max_concurrency=_SENDER_PARTS)

    def _writer(self, path: str, part: int) -> Any:
        import obstore

        return obstore.open_writer(self._objects, path, buffer_size=part, max_concurrency=_STREAM_PARTS)

    def _open_object(self, blob_id: str) -> BinaryIO:
        with self._lock:
            self._readers[blob_id] += 1
        try:
            whole = self._get(blob_id, 0)
        except BaseException:
            self._reader_closed(blob_id)
            raise
        reader = ObjectReader(whole, lambda start: self._get(blob_id, start), lambda: self._reader_closed(blob_id))
        return cast(BinaryIO, reader)

    def _get(self, blob_id: str, start: int) -> Any:
        import obstore

        with translated():
            # A range that begins at the end of an empty object would be refused.
            options: Any = {"range": {"offset": start}} if start else None
            return obstore.get(self._objects, _key(blob_id), options=options)

    def _is_there(self, blob_id: str) -> bool:
        import obstore

        try:
            with translated():
                obstore.head(self._objects, _key(blob_id))
        except FileNotFoundError:
            return False
        return True

    def _reader_closed(self, blob_id: str) -> None:
        with self._lock:
            self._readers[blob_id] -= 1
            if self._readers[blob_id]:
                return
            del self._readers[blob_id]
            if blob_id not in self._deleted_while_read:
                return
            self._deleted_while_read.discard(blob_id)
        with suppress(OSError):  # the note stays: the next start tries again
            self._remove([blob_id])

    def _remove(self, blob_ids: Sequence[str]) -> None:
        import obstore

        keys = [_key(blob_id) for blob_id in blob_ids]
        try:
            with translated():
                obstore.delete(self._objects, keys)
        except FileNotFoundError:
            # Some providers stop at the first that isn't there.
            for one in keys if len(keys) > 1 else ():
                with translated(), suppress(FileNotFoundError):
                    obstore.delete(self._objects, one)
        for blob_id in blob_ids:
            self.unsettled.discard(blob_id)


def _key(blob_id: str) -> str:
    return f"{checked(blob_id)[:2]}/{blob_id}"
