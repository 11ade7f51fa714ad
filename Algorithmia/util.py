"""Small helpers under the names that old scripts import: paths and MD5 sums."""
import hashlib

from . import uri as _uri
from ._compat import to_bytes

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Text, Tuple, Union  # noqa: F401

_CHUNK = 1024 * 1024


def getParentAndBase(path):
    # type: (str) -> Tuple[str, str]
    """``('a/b', 'c')`` for ``a/b/c``. Raises ValueError when there is no last part."""
    return _uri.parent_and_base(path)


def pathJoin(parent, base):
    # type: (str, str) -> str
    """`base` below `parent`, with one ``/`` between them."""
    return _uri.join(parent, base)


def md5_for_file(fname):
    # type: (str) -> str
    """Hex MD5 of the file at path `fname`, read in bounded pieces."""
    digest = hashlib.md5()
    with open(fname, "rb") as handle:
        for block in iter(lambda: handle.read(_CHUNK), b""):
            digest.update(block)
    return digest.hexdigest()


def md5_for_str(content):
    # type: (Union[Text, bytes]) -> str
    """Hex MD5 of text (as UTF-8) or bytes."""
    return hashlib.md5(to_bytes(content)).hexdigest()
