"""What failures below HTTP mean to a user: urllib3's and the socket's exceptions mapped, once, to UnreachableError.

Imported only when something has gone wrong. The classes are also requests' exceptions, which old code catches.
"""
import contextlib
import errno
import socket

import requests.exceptions as _requests
import urllib3.exceptions as _urllib3

from . import config
from .errors import ApiError, ApiTimeoutError, UnreachableError

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Iterator, Optional  # noqa: F401


class ConnectionFailed(UnreachableError, _requests.ConnectionError):
    """The address can't be reached, or the connection broke."""

    __str__ = ApiError.__str__


class CertificateError(ConnectionFailed, _requests.SSLError):
    """The server's certificate isn't trusted, or TLS failed."""


class ReadTimedOut(ApiTimeoutError, UnreachableError, _requests.ReadTimeout):
    """The request was sent and no answer came in time; it may have taken effect."""

    __str__ = ApiError.__str__


def _root(error):
    # type: (BaseException) -> BaseException
    """The exception inside urllib3's and requests' wrappers."""
    while True:
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = error.args[0] if error.args and isinstance(error.args[0], BaseException) else None
        if not isinstance(inner, BaseException):
            return error
        error = inner


def before_sending(error):
    # type: (BaseException) -> bool
    """Whether the connection was never made, so that nothing can have happened on the other side."""
    root = _root(error)
    if isinstance(root, (_urllib3.NewConnectionError, _urllib3.ConnectTimeoutError)):
        return True
    return getattr(root, "errno", None) == errno.ECONNREFUSED


def from_exception(error, address, subject=None):
    # type: (BaseException, Optional[str], Optional[str]) -> ApiError
    """The UnreachableError for `error`, with what to do next."""
    root = _root(error)
    about = " (%s)" % subject if subject else ""
    if isinstance(root, ApiError):
        return root
    if isinstance(root, (_urllib3.ReadTimeoutError, socket.timeout, _requests.ReadTimeout)) and not isinstance(
        root, _urllib3.ConnectTimeoutError
    ):
        return ReadTimedOut("no answer from %s in time%s" % (address, about))
    if "certificate" in str(root).lower() or isinstance(root, _urllib3.SSLError) or "SSL" in type(root).__name__:
        return CertificateError(
            "TLS with %s failed: %s. For a private certificate authority give its PEM file (ca_cert, or 'algo auth')"
            % (address, root)
        )
    if address == config.DEFAULT_ADDRESS:
        return ConnectionFailed(
            "can't reach %s: %s. That is the closed public service. Run 'algo serve' (or use no key at all) for a "
            "platform of your own, or name another one with 'algo auth' or ALGORITHMIA_API" % (address, _words(root))
        )
    if before_sending(error):
        return ConnectionFailed(
            "can't reach %s: %s. Is the platform running, and is the address right (ALGORITHMIA_API, 'algo auth')?"
            % (address, _words(root))
        )
    return ConnectionFailed("the connection to %s broke%s: %s" % (address, about, _words(root)))


@contextlib.contextmanager
def mapped(address, subject=None):
    # type: (Optional[str], Optional[str]) -> Iterator[None]
    """A context in which urllib3's exceptions leave as UnreachableError."""
    try:
        yield
    except (_urllib3.HTTPError, socket.error) as error:
        problem = from_exception(error, address, subject)
        raise problem


def _words(root):
    # type: (BaseException) -> str
    text = str(root)
    # urllib3 puts the repr of its connection object in front of the sentence that says what happened.
    return text.split(">: ", 1)[-1] if text.startswith("<") else text or type(root).__name__
