"""Uploads that go on where they were broken off: the client's half of docs/reference/transfers.md.

The platform keeps what it has got of an upload, and the file appears only when all of it came and its digest is ours.
So a broken connection costs what was on its way then, in this process or, for local files, in a later one.
"""
import random
import time
import weakref

from . import digests, errors
from ._compat import native
from .sending import body_of
from .uri import HOSTED

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, Optional  # noqa: F401

    from .datafile import DataFile  # noqa: F401
    from .sending import Content  # noqa: F401
    from .upload_notes import Note  # noqa: F401

MEDIA_TYPE = "application/partial-upload"
_LONGEST_PAUSE = 10.0
_MOST_BEGINNINGS = 3
_NO_PATCH = (403, 405, 501)  # what proxies say to methods that they don't let pass
_SYNCED_PER_SECOND = 16 * 1024 * 1024  # the least that a platform's disk is expected to do

# client -> address -> what uploads in parts can be compared by, as it says; None if it takes none
_offers = weakref.WeakKeyDictionary()  # type: Any


def is_offered(data_file):
    # type: (DataFile) -> bool
    """Whether the platform takes `data_file` in parts. It is asked once per client and address."""
    if data_file._place[0] != HOSTED:
        return False
    client = data_file.client
    known = _offers.setdefault(client, {})  # type: Dict[str, Optional[str]]
    if client.apiAddress not in known:
        response = data_file._request("OPTIONS", also_ok=range(300, 600))  # who knows no OPTIONS may still know PUT
        is_offered = response.status < 300 and MEDIA_TYPE in response.headers.get("Accept-Patch", "")
        if response.status >= 500:
            return False
        known[client.apiAddress] = response.headers.get(digests.WANTED, "") if is_offered else None
    return known[client.apiAddress] is not None


def store(data_file, content, content_type=None, note=None):
    # type: (DataFile, Content, Optional[str], Optional[Note]) -> None
    """Store `content` as `data_file`; `note` remembers where that stands for later processes.

    Damaged on its way, it is sent once more, if it can be read once more. Raises CorruptedTransferError and the errors
    of `Client.request`.
    """
    client = data_file.client
    content.hash_for(_offers.get(client, {}).get(client.apiAddress) or "")
    try:
        _Upload(data_file, content, content_type, note).run()
    except errors.CorruptedTransferError:
        if not content.start_over():
            raise
        _Upload(data_file, content, content_type, note).run()


class LostUpload(errors.DataApiError):
    """The platform doesn't know an upload that it has begun, time and again: perhaps it is several servers, each of
    which knows its own."""


class PartsRefused(errors.DataApiError):
    """Not even the first part was taken, though the platform offers it: what lies between may let no PATCH pass."""


class _Upload(object):
    """One upload, from its beginning, or from where an earlier process left it, to its end."""

    def __init__(self, data_file, content, content_type, note):
        # type: (DataFile, Content, Optional[str], Optional[Note]) -> None
        self._file = data_file
        self._client = data_file.client
        self._content = content
        self._type = content_type
        self._note = note
        self._path = None  # type: Optional[str]  # of the upload
        self._beginnings = 0
        self._is_completing = False
        self._is_complete = False
        self._refusals = 0  # in a row

    def run(self):
        # type: () -> None
        """Send everything. What was interrupted is remembered, what was refused is cancelled."""
        offset = self._take_up()
        failures = 0
        while True:
            try:
                if offset is None:
                    offset = self._begin()
                elif offset < self._content.end:
                    self._append(offset)
                    offset = self._content.end
                elif not self._content.advance():
                    self._complete(offset)
                    self._forget()
                    return
                failures = 0
                continue
            except errors.ApiError as error:
                refused = error if offset == 0 and error.status in _NO_PATCH and not self._is_completing else None
                if not self._may_go_on(error):
                    self._cancel(error)
                    if refused is not None:
                        raise _parts_refused(self._client, refused)
                    raise
                failures += 1
                if failures > self._client._retries:
                    raise
                self._refusals += isinstance(error, errors.RefusedError) or error.status == 501
            _pause(failures)
            if offset is not None:
                try:
                    reached = self._reached(failures)
                except errors.ApiError as error:
                    if refused is None or error.status not in _NO_PATCH:
                        raise
                    self._cancel(error)
                    raise _parts_refused(self._client, refused)
                if reached is not None and reached > offset:
                    failures = self._refusals = 0
                offset = reached
                if self._is_complete:
                    return

    def _begin(self):
        # type: () -> int
        self._beginnings += 1
        headers = dict(self._content.wish(), **{"Upload-Complete": "?0"})
        if self._content.size is not None:
            headers["Upload-Length"] = str(self._content.size)
        response = self._file._request("POST", body=b"", headers=headers, content_type=self._type)
        self._path = _path_of(response.headers.get("Location") or "", self._client.apiAddress)
        if self._path is None:
            raise errors.DataApiError("%s: the platform began an upload, but doesn't say where" % self._file.uri)
        if self._note is not None:
            self._note.write(self._path)
        return 0

    def _take_up(self):
        # type: () -> Optional[int]
        """Where the upload that the note names stands, if there still is one that fits."""
        if self._note is None:
            return None
        self._path = self._note.read()
        if self._path is None:
            return None
        offset = self._ask()
        if offset is None or offset > self._content.end:
            self._forget()
            return None
        return offset

    def _append(self, offset):
        # type: (int) -> None
        """Send what is at hand from `offset` on."""
        content = self._content
        size = content.end - offset
        headers = {"Upload-Offset": str(offset), "Upload-Complete": "?0", "Content-Length": str(size)}
        headers.update(content.wish())
        body = body_of(self._client, lambda: content.pieces(offset), size)
        self._request("PATCH", body=body, headers=headers, content_type=MEDIA_TYPE, retry=False)

    def _complete(self, size):
        # type: (int) -> None
        """Say that this was all, and what it was."""
        digest = self._content.digest()
        headers = {"Upload-Offset": str(size), "Upload-Complete": "?1"}
        headers.update(digests.headers(digest))
        options = {}  # type: Dict[str, Any]
        if self._client._timeout is not None:
            # Perhaps it has to read all of it again, and it brings all of it to its disk.
            options["read_timeout"] = self._client._timeout + size / _SYNCED_PER_SECOND
        self._is_completing = True
        response = self._request("PATCH", body=b"", headers=headers, content_type=MEDIA_TYPE, **options)
        if response.headers.get("Upload-Complete") != "?1":
            raise errors.UnreachableError("%s: the request to complete it was damaged on its way" % self._file.uri)
        if digests.differ(digests.told(response.headers, digest), digest):
            raise errors.CorruptedTransferError("%s arrived damaged at the platform" % self._file.uri)

    def _reached(self, failures):
        # type: (int) -> Optional[int]
        """Where the upload stands after a failure; None if it is complete, or has to be begun anew."""
        while True:
            try:
                offset = self._ask()
                break
            except (errors.UnreachableError, errors.ApiInternalError, errors.RefusedError):
                failures += 1
                if failures > self._client._retries:
                    raise
                _pause(failures)
        if offset is not None:
            return offset
        self._forget()
        self._path = None
        if self._is_completing and self._is_there():
            self._is_complete = True
        elif self._beginnings >= _MOST_BEGINNINGS or not self._content.start_over():
            raise LostUpload("%s: the platform has lost what it had of this upload" % self._file.uri)
        return None

    def _ask(self):
        # type: () -> Optional[int]
        """How much of the upload the platform has; None if it doesn't know it (any more)."""
        for _ in range(2):  # a request that was damaged on its way can be about another upload
            response = self._request("HEAD", also_ok=(404, 410))
            if response.status < 300:
                offset = response.headers.get("Upload-Offset") or ""
                if not offset.isdigit():
                    raise errors.UnreachableError("%s: the platform doesn't say how much it has" % self._file.uri)
                return int(offset)
        return None

    def _is_there(self):
        # type: () -> bool
        """Whether the file is what was sent: the upload was complete, and only the answer got lost."""
        digest = self._content.digest()
        response = self._file._request("HEAD", headers=self._content.wish(), also_ok=(404,))
        return response.status < 300 and digests.told(response.headers, digest) == digest

    def _cancel(self, error):
        # type: (errors.ApiError) -> None
        self._forget()
        if self._path is not None and not isinstance(error, errors.CorruptedTransferError):  # which it has dropped
            try:
                self._request("DELETE", also_ok=(404,), retry=False)
            except errors.ApiError:
                pass  # it goes when it is too old

    def _forget(self):
        # type: () -> None
        if self._note is not None:
            self._note.remove()

    def _may_go_on(self, error):
        # type: (errors.ApiError) -> bool
        """Whether asking where the upload stands, and going on there, may help.

        Once it may after any refusal: a request whose head was damaged on its way is refused, too.
        """
        if error.status == 501 and self._refusals:
            return False
        if isinstance(error, (errors.UnreachableError, errors.ApiInternalError, errors.ApiTimeoutError)):
            return True
        if self._path is None or not isinstance(error, errors.RefusedError):
            return False
        return error.status in (404, 409, 429) or not self._refusals

    def _request(self, method, **options):
        # type: (str, **Any) -> Any
        return self._client.request(method, str(self._path), family=errors.DATA, subject=self._file.uri, **options)


def _parts_refused(client, refusal):
    # type: (Any, errors.ApiError) -> PartsRefused
    if refusal.status != 403:  # which can be about this one file
        _offers.setdefault(client, {})[client.apiAddress] = None
    return PartsRefused(refusal.message, status=refusal.status)


def _pause(failures):
    # type: (int) -> None
    time.sleep(min(_LONGEST_PAUSE, 0.1 * 2 ** failures) * random.uniform(0.5, 1.0))  # noqa: S311


def _path_of(location, address):
    # type: (str, str) -> Optional[str]
    """The API path that `location` names; None for one on another server, which gets no key of ours."""
    location = native(location)
    if location.startswith(address + "/"):
        location = location[len(address) :]
    return location if location.startswith("/") and not location.startswith("//") else None
