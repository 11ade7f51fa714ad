"""The second half of `algo mv`: a source goes only when its copy is known to be complete, and it is what was copied."""
import os

from .. import digests, errors, local_files
from .context import CliError
from .moving import DOWNLOAD, UPLOAD

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any  # noqa: F401


class Source(object):
    """The source of `job` as it is before the copying. `remove` it afterwards."""

    def __init__(self, client, job):
        self._client = client
        self._job = job
        # Of a local file as `_local_facts` has them, of a remote one its `FileStat`.
        facts = _local_facts(job.source) if job.kind == UPLOAD else client.file(job.source).stat()
        self._facts = facts  # type: Any

    def remove(self):
        # type: () -> None
        """Remove the source. Raises CliError, and removes nothing, if the copy isn't the same or the source changed."""
        self._check_copy()
        if self._job.kind == UPLOAD:
            if _local_facts(self._job.source) != self._facts:
                raise self._changed()
            os.unlink(self._job.source)
            return
        if self._job.kind == DOWNLOAD:
            local_files.sync_directory(os.path.dirname(os.path.realpath(self._job.target)))
        source = self._client.file(self._job.source)
        headers = {"If-Match": self._facts.etag} if self._facts.etag else None
        try:
            self._client.request("DELETE", source.url, headers=headers, family=errors.DATA, subject=source.uri)
        except errors.ConflictError:
            raise self._changed()

    def _check_copy(self):
        # type: () -> None
        if self._job.kind == DOWNLOAD:
            size, digest = os.path.getsize(self._job.target), None
        else:
            there = self._client.file(self._job.target).stat()
            size, digest = there.size, there.digest
        if self._job.kind == UPLOAD:
            expected, expected_digest = self._facts[0], None  # which the upload itself has compared
        else:
            expected, expected_digest = self._facts.size, self._facts.digest
        differs = digests.differ(digest, expected_digest)
        if differs or (size != expected and None not in (size, expected)):
            raise CliError("algo mv: %s is not the same as %s; both stay" % (self._job.target, self._job.source))

    def _changed(self):
        # type: () -> CliError
        return CliError("algo mv: %s changed while it was being moved; it stays, beside its copy" % self._job.source)


def _local_facts(path):
    # type: (str) -> tuple
    facts = os.stat(path)
    return facts.st_size, facts.st_mtime, facts.st_ino
