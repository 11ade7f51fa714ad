"""What this machine remembers of uploads that were broken off, so that the next run goes on with them.

One small file each in ``uploads`` of the configuration directory. It says which upload of the platform belongs to which
state of which local file; it holds no credentials, and losing it costs no more than sending everything again.
"""
import hashlib
import json
import os
import time

from . import config
from ._compat import make_dirs, replace_file, to_bytes

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Optional, Set  # noqa: F401

    from .datafile import DataFile  # noqa: F401

unfinished = set()  # type: Set[str]  # notes that this process has written and not removed
_MAX_AGE = 3 * 24 * 3600.0  # longer than platforms keep what they have


class Note(object):
    """Where the upload of the local file at `path` to `data_file` stands, in terms of the platform.

    Nothing of this ever fails: where nothing can be written, nothing is remembered.
    """

    def __init__(self, data_file, path):
        # type: (DataFile, str) -> None
        status = os.stat(path)
        changed = getattr(status, "st_mtime_ns", None) or int(status.st_mtime * 1000000000)
        client, where = data_file.client, os.path.realpath(path)
        whose = hashlib.sha256(to_bytes(client.apiKey or client.bearerToken or "")).hexdigest()
        self._about = {
            "address": client.apiAddress,
            "uri": str(data_file.uri),
            "path": where.decode("utf-8", "replace") if isinstance(where, bytes) else where,
            "size": status.st_size,
            "changed": changed,
        }
        key = json.dumps([self._about, whose], sort_keys=True)
        self._directory = os.path.join(config.home(), "uploads")
        self._path = os.path.join(self._directory, hashlib.sha256(to_bytes(key)).hexdigest()[:32] + ".json")

    def read(self):
        # type: () -> Optional[str]
        """The API path of the upload, if there is one."""
        try:
            with open(self._path, "rb") as handle:
                upload = json.loads(handle.read().decode("utf-8"))["upload"]
        except (OSError, IOError, ValueError, KeyError, TypeError):
            return None
        return str(upload)

    def write(self, upload):
        # type: (str) -> None
        """Remember `upload`, and forget what is too old."""
        temporary = "%s.%d" % (self._path, os.getpid())
        try:
            make_dirs(self._directory, 0o700)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as note:
                note.write(to_bytes(json.dumps(dict(self._about, upload=upload))))
            replace_file(temporary, self._path)
            unfinished.add(self._path)
            self._sweep()
        except (OSError, IOError):
            pass

    def remove(self):
        # type: () -> None
        """Forget it."""
        unfinished.discard(self._path)
        _unlink(self._path)

    def _sweep(self):
        # type: () -> None
        for name in os.listdir(self._directory):
            path = os.path.join(self._directory, name)
            if os.path.getmtime(path) < time.time() - _MAX_AGE:
                _unlink(path)


def _unlink(path):
    # type: (Any) -> None
    try:
        os.unlink(path)
    except OSError:
        pass  # it wasn't there
