"""The verbs that files have in common, wherever they are, and opening what was downloaded."""
import io
import json
import os

from . import temporary
from .archives import pack, unpack

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import IO, Any, Optional, Text  # noqa: F401

    from typing_extensions import Self  # noqa: F401

    from ._types import FileBase
else:
    FileBase = object

_NUMPY_MAGIC = b"\x93NUMPY"


class FileContent(FileBase):
    """The verbs that local and remote files share, derived from `getBytes`, `getFile` and `putFile`."""

    def getString(self):
        # type: () -> Text
        """The content as text (UTF-8)."""
        return self.getBytes().decode("utf-8")

    def getJson(self):
        # type: () -> Any
        """The content, parsed as JSON. Raises ValueError if it isn't."""
        return json.loads(self.getString())

    def getNumpy(self):
        # type: () -> Any
        """The content as a numpy array: as `putNumpy` stored it, or a JSON list. Needs numpy."""
        numpy = _numpy()
        data = self.getBytes()
        if data.startswith(_NUMPY_MAGIC):
            return numpy.load(io.BytesIO(data), allow_pickle=False)
        return numpy.array(json.loads(data.decode("utf-8")))

    def getAsZip(self):
        # type: () -> str
        """Unpack the content, a zip archive, into a temporary directory.

        Returns the path of its single file, or else of the directory. Raises ValueError for an archive that would
        write outside it or unpack to an absurd size.
        """
        path = self.getFile(as_path=True)
        try:
            return unpack(path, temporary.new_directory())
        finally:
            os.unlink(path)

    def putJson(self, data):
        # type: (Any) -> Self
        """Store `data` as JSON."""
        return self._put_typed(json.dumps(data).encode("utf-8"), "application/json")

    def putNumpy(self, array):
        # type: (Any) -> Self
        """Store a numpy array with its dtype and shape (the ``.npy`` format). Needs numpy."""
        buffer = io.BytesIO()
        _numpy().save(buffer, array, allow_pickle=False)
        return self._put_typed(buffer.getvalue(), "application/octet-stream")

    def putAsZip(self, path):
        # type: (str) -> Self
        """Store the local file or directory at `path` as a zip archive."""
        archive = temporary.new_path("archive.zip")
        try:
            pack(path, archive)
            return self.putFile(archive)
        finally:
            os.unlink(archive)


def open_downloaded(path, mode=None):
    # type: (str, Optional[str]) -> IO[Any]
    """`path` opened for reading; without a mode as text if its beginning is UTF-8 text, else as binary."""
    if mode is None:
        mode = "r" if _looks_like_text(path) else "rb"
    return io.open(path, mode, encoding="utf-8") if "b" not in mode else io.open(path, "rb")


def _looks_like_text(path):
    # type: (str) -> bool
    import codecs

    with io.open(path, "rb") as handle:
        beginning = handle.read(65536)
    if b"\0" in beginning:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(beginning, len(beginning) < 65536)
    except UnicodeDecodeError:
        return False
    return True


def _numpy():
    # type: () -> Any
    try:
        import numpy
    except ImportError:
        raise ImportError("arrays need numpy: pip install numpy")
    return numpy
