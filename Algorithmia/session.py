"""A requests.Session as the client's transport, for code that took `Client.requestSession` and may have changed it.

Until somebody does, requests is not even imported; `transport.py` talks to urllib3 directly.
"""
import requests
from requests.adapters import HTTPAdapter

from .transport import CONNECT_TIMEOUT, MAX_CONNECTIONS, _retry, ssl_context

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from ssl import SSLContext  # noqa: F401
    from typing import Any, Mapping, Optional  # noqa: F401

    from urllib3 import BaseHTTPResponse  # noqa: F401

    from ._types import Body, CaCert  # noqa: F401

_CHUNK = 64 * 1024


class _Adapter(HTTPAdapter):
    """requests' adapter with the client's TLS settings and retry policy."""

    def __init__(self, context, retries):
        # type: (Optional[SSLContext], int) -> None
        self._context = context
        super(_Adapter, self).__init__(
            pool_connections=4, pool_maxsize=MAX_CONNECTIONS, max_retries=_retry(retries)
        )

    def init_poolmanager(self, *args, **kwargs):
        # type: (*Any, **Any) -> Any
        if self._context is not None:
            kwargs["ssl_context"] = self._context
        return super(_Adapter, self).init_poolmanager(*args, **kwargs)


def _keep_authorization(request):
    # type: (requests.PreparedRequest) -> requests.PreparedRequest
    """A requests "auth" that leaves the request alone; with none, requests would put a netrc entry over our header."""
    return request


def make_session(address, ca_cert, retries):
    # type: (str, CaCert, int) -> requests.Session
    """A session for `address` with the client's trust, retries and pool sizes."""
    session = requests.Session()
    session.auth = _keep_authorization
    if ca_cert is False:
        session.verify = False
        session.trust_env = False
    context = ssl_context(ca_cert) if address.startswith("https") else None
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(context, retries))
    return session


class SessionTransport(object):
    """`Transport.send` by way of a requests session."""

    def __init__(self, session, address):
        # type: (requests.Session, str) -> None
        self._session = session
        self._address = address

    def send(self, method, target, headers, body, stream, read_timeout, retry):
        # type: (str, str, Mapping[str, str], Body, bool, Optional[float], bool) -> BaseHTTPResponse
        """As `Transport.send`; raises requests' exceptions, which are IOErrors.

        A session has one policy for all of its requests, so `retry` is not looked at: repeating a request whose body
        can't be rewound fails.
        """
        data = source = body  # type: Any
        if hasattr(source, "read") and "Content-Length" not in headers:
            # Of unknown length, so in chunks: for those, older releases of requests want something to iterate over.
            data = iter(lambda: source.read(_CHUNK), b"")
        elif isinstance(source, memoryview):
            data = source.tobytes()
        response = self._session.request(
            method,
            self._address + target,
            data=data,
            headers=headers,
            stream=True,
            timeout=(CONNECT_TIMEOUT, read_timeout),
            allow_redirects=False,
        )
        raw = response.raw
        if not stream:
            _ = raw.data  # read now: the body belongs to this call's time limit
        return raw


def as_requests_response(raw, method, url):
    # type: (BaseHTTPResponse, str, str) -> requests.Response
    """urllib3's response as a requests.Response, for the methods that are documented to return one."""
    request = requests.Request(method, url).prepare()
    response = HTTPAdapter().build_response(request, raw)  # type: Any
    body = getattr(raw, "_body", None)
    if body is not None:
        response._content = body
        response._content_consumed = True
    return response
