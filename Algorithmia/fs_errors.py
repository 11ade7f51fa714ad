"""The API's refusals as the exceptions that callers of a file system expect: OSError and its subclasses."""
import contextlib
import errno

from . import errors

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Iterator, Optional  # noqa: F401

_NUMBERS = {
    401: errno.EACCES,
    403: errno.EACCES,
    404: errno.ENOENT,
    408: errno.ETIMEDOUT,
    409: errno.EEXIST,
    412: errno.EEXIST,
    413: errno.EFBIG,
    429: errno.EBUSY,
    504: errno.ETIMEDOUT,
    507: errno.ENOSPC,
}


@contextlib.contextmanager
def refusals(conflict=None):
    # type: (Optional[int]) -> Iterator[None]
    """A context in which an ApiError becomes the OSError that it stands for, with the same message.

    conflict  the error number of a 409, where it doesn't mean that something exists already
    """
    try:
        yield
    except (errors.ConfigError, errors.UnreachableError):
        raise  # the one is about no file, the other an OSError already
    except errors.ApiError as error:
        number = conflict if conflict is not None and error.status == 409 else None
        raise os_error(error, number)


def os_error(error, number=None):
    # type: (errors.ApiError, Optional[int]) -> OSError
    """The OSError for `error`; its subclass follows from the error number."""
    if number is None:
        number = _number(error)
    problem = OSError(number, str(error.message))
    problem.__cause__ = error
    return problem


def changed(uri):
    # type: (str) -> OSError
    """What reading a file raises that was replaced since it was opened."""
    return OSError(errno.ESTALE, "%s changed while it was being read; open it again" % uri)


def _number(error):
    # type: (errors.ApiError) -> int
    if isinstance(error, errors.CorruptedTransferError):
        return errno.EIO
    if error.status is None:  # not an answer, but what the SDK found in one
        return errno.EISDIR if str(error.message).endswith("it is a directory") else errno.EIO
    if error.status in _NUMBERS:
        return _NUMBERS[error.status]
    return errno.EIO if error.status >= 500 else errno.EINVAL
