"""Files and directories of this machine (``file://``) under the names of hosted data."""
import io
import os
import shutil
import stat

from . import errors, temporary, transfer
from ._compat import make_dirs, text_type, to_bytes
from .archives import unpack
from .content import FileContent, open_downloaded
from .data import DataObject, DataObjectType

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import IO, Any, Dict, Iterator, List, Optional, Text, Tuple, Union  # noqa: F401

    from typing_extensions import Self  # noqa: F401

    from ._types import BytesLike, Progress, Readable  # noqa: F401
    from .acl import Acl  # noqa: F401
    from .client import Client  # noqa: F401


class LocalDataFile(FileContent, DataObject):
    """A file of this machine under the names of `DataFile`; `path` is its path."""

    def __init__(self, client, filePath):
        # type: (Client, str) -> None
        super(LocalDataFile, self).__init__(DataObjectType.file)
        self.client = client
        self.path = filePath.replace("file://", "", 1)
        self.uri = "file://" + self.path
        self.url = "file://" + self.path
        self.last_modified = None
        self.size = None

    def __repr__(self):
        # type: () -> str
        return "LocalDataFile(%r)" % self.uri

    def set_attributes(self, attributes):
        # type: (Dict[str, Any]) -> None
        """Nothing: local files answer for themselves."""

    def getName(self):
        # type: () -> str
        """The file's name without its directories."""
        return os.path.basename(self.path)

    def exists(self):
        # type: () -> bool
        """Whether there is such a file."""
        return os.path.isfile(self.path)

    def existsWithError(self):
        # type: () -> Tuple[bool, Optional[str]]
        """``(True, None)``, or ``(False, reason)``."""
        return (True, None) if self.exists() else (False, "no such file: %s" % self.path)

    def open(self, mode="rb", **options):
        # type: (str, **Any) -> IO[Any]
        """The file, opened as the builtin does."""
        return io.open(self.path, mode, **options)

    def get(self):
        # type: () -> IO[bytes]
        """The file, opened for binary reading. Deprecated: use `open`."""
        return self.open("rb")

    def getBytes(self):
        # type: () -> bytes
        """The whole content. Raises DataApiError if it can't be read."""
        try:
            with io.open(self.path, "rb") as handle:
                return handle.read()
        except (OSError, IOError) as error:
            raise errors.DataApiError("unable to get file %s - %s" % (self.path, error.strerror))

    def getFile(self, as_path=False, mode=None):
        # type: (bool, Optional[str]) -> Any
        """The file itself, opened (see `DataFile.getFile`), or its path."""
        if not self.exists():
            raise errors.DataApiError("unable to get file %s - no such file" % self.path)
        return self.path if as_path else open_downloaded(self.path, mode)

    def getAsZip(self):
        # type: () -> str
        """As `DataFile.getAsZip`; the archive stays."""
        return unpack(self.path, temporary.new_directory())

    def put(self, data):
        # type: (Union[Text, BytesLike]) -> Self
        """Write text (as UTF-8) or bytes; the file is replaced in one step."""
        if not isinstance(data, (bytes, bytearray, memoryview, text_type)):
            raise TypeError("put takes text or bytes, not %s" % type(data).__name__)
        return self.put_stream(io.BytesIO(to_bytes(data)))

    def _put_typed(self, data, content_type):
        # type: (bytes, Optional[str]) -> Self
        return self.put(data)

    def putFile(self, path):
        # type: (str) -> Self
        """Copy the local file at `path` here."""
        with io.open(path, "rb") as source:
            return self.put_stream(source)

    def upload(self, path, progress=None):
        # type: (str, Progress) -> Self
        """Copy the local file at `path` here; see `DataFile.upload`."""
        with io.open(path, "rb") as source:
            return self.put_stream(source, progress)

    def download(self, path, progress=None):
        # type: (str, Progress) -> str
        """Copy this file to `path`, or into the directory `path`; see `DataFile.download`."""
        if os.path.isdir(path):
            path = os.path.join(path, self.getName())
        with io.open(self.path, "rb") as source:
            transfer.write_local(source, path, progress)
        return path

    def put_stream(self, source, progress=None, content_type=None, size=None):
        # type: (Readable, Progress, Optional[str], Optional[int]) -> Self
        """Write what can be read from `source`."""
        transfer.write_local(source, self.path, progress)
        return self

    def delete(self):
        # type: () -> bool
        """Remove the file. Raises DataApiError if that fails."""
        try:
            os.remove(self.path)
        except OSError as error:
            raise errors.DataApiError("unable to delete file %s - %s" % (self.path, error.strerror))
        return True


class LocalDataDirectory(DataObject):
    """A directory of this machine under the names of `DataDirectory`; `path` is its path."""

    def __init__(self, client, dataUrl):
        # type: (Client, str) -> None
        super(LocalDataDirectory, self).__init__(DataObjectType.directory)
        self.client = client
        self.path = dataUrl.replace("file://", "", 1)
        self.uri = "file://" + self.path
        self.url = self.uri

    def __repr__(self):
        # type: () -> str
        return "LocalDataDirectory(%r)" % self.uri

    def getName(self):
        # type: () -> str
        """The directory's name without its parents."""
        return os.path.basename(self.path.rstrip("/"))

    def exists(self):
        # type: () -> bool
        """Whether there is such a directory."""
        return os.path.isdir(self.path)

    def create(self, acl=None):
        # type: (Optional[Acl]) -> None
        """Make the directory and its parents. Raises DataApiError if that fails."""
        try:
            make_dirs(self.path)
        except OSError as error:
            raise errors.DataApiError("unable to create directory %s - %s" % (self.path, error.strerror))

    def delete(self, force=False):
        # type: (bool) -> bool
        """Remove the directory; with `force` also if it holds something. Raises DataApiError if that fails."""
        try:
            if force:
                shutil.rmtree(self.path)
            else:
                os.rmdir(self.path)
        except OSError as error:
            raise errors.DataApiError("unable to delete directory %s - %s" % (self.path, error.strerror))
        return True

    def file(self, name):
        # type: (str) -> LocalDataFile
        """The file `name` of this directory."""
        return LocalDataFile(self.client, "file://" + os.path.join(self.path, name))

    def dir(self, name):
        # type: (str) -> LocalDataDirectory
        """The directory `name` of this directory."""
        return LocalDataDirectory(self.client, "file://" + os.path.join(self.path, name))

    def putFile(self, path):
        # type: (str) -> LocalDataFile
        """Copy the local file at `path` into this directory."""
        return self.file(os.path.basename(path)).putFile(path)

    def upload(self, path, progress=None, concurrency=8):
        # type: (str, Progress, int) -> Self
        """Copy the files in the directory `path`, or the one file at `path`, here, one after the other; see
        `DataDirectory.upload`.
        """
        from .trees import check_complete

        self.create()
        missed = []  # type: List[OSError]
        names = os.listdir(path) if os.path.isdir(path) else [""]
        for source in sorted(os.path.join(path, name) if name else path for name in names):
            try:
                mode = os.stat(source).st_mode
            except OSError as error:
                missed.append(error)
                continue
            if stat.S_ISREG(mode):
                self.file(os.path.basename(source)).upload(source, progress)
        check_complete(missed)
        return self

    def download(self, path, progress=None, concurrency=8):
        # type: (str, Progress, int) -> str
        """Copy the files here into the directory `path`, one after the other; returns `path`."""
        make_dirs(path)
        for item in self.files():
            item.download(path, progress)
        return path

    def list(self):
        # type: () -> Iterator[str]
        """The names of the entries, sorted."""
        return iter(sorted(os.listdir(self.path)))

    def dirs(self, content=None):
        # type: (Any) -> Iterator[LocalDataDirectory]
        """The directories. (`content` is accepted for old callers and not used.)"""
        return (self.dir(name) for name in self.list() if os.path.isdir(os.path.join(self.path, name)))

    def files(self, content=None):
        # type: (Any) -> Iterator[LocalDataFile]
        """The files. (`content` is accepted for old callers and not used.)"""
        return (self.file(name) for name in self.list() if os.path.isfile(os.path.join(self.path, name)))

    def getDir(self):
        # type: () -> str
        """The path: the files are here already."""
        return self.path

    def get_permissions(self):
        # type: () -> None
        """None: the operating system's permissions apply."""
        return None

    def update_permissions(self, acl):
        # type: (Acl) -> bool
        """Raises DataApiError: the operating system's permissions apply."""
        raise errors.DataApiError("%s is a local directory, which has no ACL; use os.chmod" % self.path)
