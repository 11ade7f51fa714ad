"""What failures below HTTP mean to a user: urllib3's and the socket's exceptions mapped, once, to UnreachableError.

Imported only when something has gone wrong. The classes are also requests' exceptions, which old code catches.
"""
import errno
import re
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


def _layers(error):
    # type: (Optional[BaseException]) -> Iterator[BaseException]
    """`error`, and what urllib3's and requests' wrappers hold, from the outside in."""
    while error is not None:
        yield error
        candidates = [getattr(error, "reason", None), getattr(error, "original_error", None)] + list(error.args[:1])
        error = next((inner for inner in candidates if isinstance(inner, BaseException)), None)


def _root(error):
    # type: (BaseException) -> BaseException
    return list(_layers(error))[-1]


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
    if "WRONG_VERSION_NUMBER" in str(root):
        return CertificateError(
            "TLS with %s failed: what answers there speaks no TLS. Perhaps the address should begin with http://"
            % address
        )
    if "certificate" in str(root).lower() or isinstance(root, _urllib3.SSLError) or "SSL" in type(root).__name__:
        return CertificateError(
            "TLS with %s failed: %s. For a private certificate authority give its PEM file (ca_cert, or 'algo auth')"
            % (address, root)
        )
    if address == config.DEFAULT_ADDRESS:
        return ConnectionFailed(
            "can't reach %s: %s. That is the closed public service; a key without an address, or an old profile, leads "
            "there. For the platform on this machine use profile 'local', or no key; name another platform with "
            "'algo auth' or ALGORITHMIA_API" % (address, _words(root))
        )
    if any(isinstance(layer, _urllib3.ProxyError) for layer in _layers(error)):
        return ConnectionFailed(
            "can't reach %s: the proxy that the environment names (http_proxy, https_proxy) fails: %s. Repair it, or "
            "add the platform's host to no_proxy" % (address, _words(root))
        )
    if before_sending(error):
        return ConnectionFailed(
            "can't reach %s: %s. Is the platform running, and is the address right (ALGORITHMIA_API, 'algo auth')?"
            % (address, _words(root))
        )
    return ConnectionFailed("the connection to %s broke%s: %s" % (address, about, _words(root)))


def _words(root):
    # type: (BaseException) -> str
    # urllib3 puts its connection object in front of the sentence that says what happened: its repr, or, in version 2,
    # ``HTTPConnection(host='h', port=80): ``.
    text = re.sub(r"^(<.*?>|HTTPS?Connection\(.*?\)): ", "", str(root))
    text = re.sub(r"^Failed to establish a new connection: (\[Errno -?\d+\] )?", "", text)
    return text[:1].lower() + text[1:] if text else type(root).__name__
