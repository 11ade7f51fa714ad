"""Bytes out, response in: connection pools, TLS, proxies, time limits and retries, all of them urllib3's.

Nothing here knows what the API means. `Client.request` is the only caller.
"""
import random
import re
import socket
import threading

from ._compat import getproxies, native, proxy_bypass, urlsplit
from .errors import ConfigError

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from ssl import SSLContext  # noqa: F401
    from typing import Any, Dict, Mapping, Optional, Tuple, Type  # noqa: F401
    from urllib.parse import SplitResult  # noqa: F401

    from urllib3 import BaseHTTPResponse  # noqa: F401
    from urllib3.util import Timeout  # noqa: F401
    from urllib3.util.retry import Retry  # noqa: F401

    from ._types import Body, CaCert  # noqa: F401

CONNECT_TIMEOUT = 10.0
MAX_CONNECTIONS = 32  # kept for reuse; more are opened when more threads need them
LONGEST_PAUSE = 30.0
_IDEMPOTENT = frozenset(["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
_RETRY_STATUSES = frozenset([429, 502, 503, 504])


def _retry_class():
    # type: () -> Type[Retry]
    from urllib3.util.retry import Retry

    class JitteredRetry(Retry):
        """urllib3's policy with random pauses, so that many clients don't come back at once, and a bounded wait."""

        def get_backoff_time(self):
            # type: () -> float
            return min(LONGEST_PAUSE, Retry.get_backoff_time(self)) * random.uniform(0.5, 1.0)  # noqa: S311

        def get_retry_after(self, response):
            # type: (BaseHTTPResponse) -> Optional[float]
            seconds = Retry.get_retry_after(self, response)
            return None if seconds is None else min(seconds, LONGEST_PAUSE)

    return JitteredRetry


def _retry(retries):
    # type: (int) -> Retry
    """What is repeated: anything idempotent; of other requests only those whose connection never came up."""
    make = _retry_class()  # type: Any
    options = dict(
        total=retries,
        connect=retries,
        read=retries,
        redirect=False,
        status=retries,
        status_forcelist=_RETRY_STATUSES,
        backoff_factor=0.2,
        raise_on_status=False,
    )
    try:
        return make(allowed_methods=_IDEMPOTENT, **options)
    except TypeError:  # urllib3 before 1.26
        return make(method_whitelist=_IDEMPOTENT, **options)


def ssl_context(ca_cert):
    # type: (CaCert) -> SSLContext
    """The TLS settings: the bundled authorities and those of file `ca_cert`; False verifies nothing.

    Raises ConfigError if `ca_cert` is not a readable PEM file.
    """
    import ssl

    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context()
    if ca_cert is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    import certifi

    context.load_verify_locations(certifi.where())
    if ca_cert:
        try:
            context.load_verify_locations(str(native(ca_cert)))
        except (IOError, ssl.SSLError) as error:
            raise ConfigError("can't use the CA certificate file %r: %s" % (str(native(ca_cert)), error))
    return context


class Transport(object):
    """Pooled connections to one address; safe to share between threads, and usable after a fork.

    address  base address
    ca_cert  path of a PEM file to trust besides the bundled ones; False: verify nothing and use no proxy
    retries  how often a request that is safe to repeat is repeated
    """

    def __init__(self, address, ca_cert, retries):
        # type: (str, CaCert, int) -> None
        from urllib3.util import Timeout

        self.address = address
        parts = urlsplit(address)
        self._base = parts.path.rstrip("/")
        self._timeout_class = Timeout
        self._retry = _retry(retries)
        # For bodies that can't be read twice: repeat only what failed before the first byte left.
        self._connect_retry = _retry_class()(
            total=retries, connect=retries, read=False, status=0, redirect=False, backoff_factor=0.2,
            raise_on_status=False,
        )
        self._timeouts = {}  # type: Dict[Optional[float], Timeout]
        options = {"maxsize": MAX_CONNECTIONS, "block": False}  # type: Dict[str, Any]
        if parts.scheme == "https":
            options["ssl_context"] = ssl_context(ca_cert)
            if ca_cert is False:
                options["assert_hostname"] = False
                options["cert_reqs"] = "CERT_NONE"
                _silence_unverified_warning()
        self._pool, self._via_proxy = self._make_pool(parts, ca_cert, options)
        self._waiting = {}  # type: Dict[int, Any]  # thread -> its connection, while it waits for an answer
        self._waiting_lock = threading.Lock()
        if not self._via_proxy:
            self._pool.ConnectionCls = _abortable(self._pool.ConnectionCls, self._waiting, self._waiting_lock)

    def _make_pool(self, parts, ca_cert, options):
        # type: (SplitResult, CaCert, Dict[str, Any]) -> Tuple[Any, bool]
        import urllib3

        proxy = None
        host = parts.hostname or ""
        if ca_cert is not False and not _is_loopback(host) and not proxy_bypass(host):
            proxies = getproxies()
            proxy = proxies.get(parts.scheme) or proxies.get("all")
        if not proxy:
            return urllib3.PoolManager(**options).connection_from_url(self.address), False
        proxy_parts = urlsplit(proxy if "://" in proxy else "http://" + proxy)
        proxy_headers = {}
        if proxy_parts.username:
            from ._compat import unquote_text

            credentials = "%s:%s" % (unquote_text(proxy_parts.username), unquote_text(proxy_parts.password or ""))
            proxy_headers = urllib3.make_headers(proxy_basic_auth=str(credentials))
        manager = urllib3.ProxyManager(
            proxy_parts.geturl().replace(proxy_parts.netloc, proxy_parts.netloc.rpartition("@")[2]),
            proxy_headers=proxy_headers,
            **options
        )
        return manager, True

    def send(self, method, target, headers, body, stream, read_timeout, retry):
        # type: (str, str, Mapping[str, str], Body, bool, Optional[float], bool) -> BaseHTTPResponse
        """Send one request and return urllib3's response; with `stream`, its body is still to be read.

        target        path and query, percent-encoded
        read_timeout  seconds without an answer after which the request fails; None: no limit
        retry         whether this request may be repeated at all (a body that can't be rewound may not)

        Raises urllib3's exceptions; `Client` maps them.
        """
        timeout = self._timeouts.get(read_timeout)
        if timeout is None:
            timeout = self._timeout_class(connect=CONNECT_TIMEOUT, read=read_timeout)
            if len(self._timeouts) < 100:
                self._timeouts[read_timeout] = timeout
        target = self._base + target
        options = dict(
            body=body,
            headers=headers,
            retries=self._retry if retry else self._connect_retry,
            redirect=False,
            timeout=timeout,
            preload_content=not stream,
            decode_content=False,
            enforce_content_length=True,
        )
        if self._via_proxy:
            parts = urlsplit(self.address)
            return self._pool.urlopen(method, "%s://%s%s" % (parts.scheme, parts.netloc, target), **options)
        return self._pool.urlopen(method, target, assert_same_host=False, **options)


    def abort(self, thread):
        # type: (int) -> None
        """Shut the connection on which `thread` waits for an answer; not one through a proxy."""
        with self._waiting_lock:  # as long as it is held, the connection is nobody else's
            sock = getattr(self._waiting.get(thread), "sock", None)
            if sock is not None:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except (IOError, OSError):  # it has ended by itself
                    pass


def _abortable(connection_class, waiting, lock):
    # type: (Any, Dict[int, Any], Any) -> Any
    """`connection_class`, noting in `waiting` which thread waits for an answer on which connection, and refusing
    answers whose head was cut off: to httplib, what is missing there seems not to have been meant to come."""
    from six.moves.http_client import IncompleteRead

    class AbortableConnection(connection_class):
        def getresponse(self, *args, **options):
            # type: (*Any, **Any) -> Any
            thread = threading.current_thread().ident or 0
            with lock:
                waiting[thread] = self
            try:
                response = connection_class.getresponse(self, *args, **options)
            finally:
                with lock:
                    waiting.pop(thread, None)
            if _is_cut_off(getattr(response, "_original_response", None) or response):
                self.close()
                raise IncompleteRead(b"")
            return response

    AbortableConnection.__name__ = connection_class.__name__  # as urllib3's messages have it
    return AbortableConnection


def _is_cut_off(response):
    # type: (Any) -> bool
    """Whether the head of httplib's `response` doesn't say how its body ends, as any whole one of HTTP/1.1 does."""
    if response.version != 11 or response.length is not None or response.chunked:
        return False
    return "close" not in (response.getheader("connection") or "").lower()


def _is_loopback(host):
    # type: (str) -> bool
    """Whether `host` is this machine, which a proxy elsewhere can't reach."""
    return host in ("localhost", "::1") or re.match(r"127(\.\d+){3}$", host) is not None


_warned = threading.Event()


def _silence_unverified_warning():
    # type: () -> None
    """The caller chose ``ca_cert=False``; urllib3 would repeat the warning for every request."""
    if not _warned.is_set():
        _warned.set()
        import urllib3

        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
