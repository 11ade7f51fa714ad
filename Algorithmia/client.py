"""`Client`: credentials, the one HTTP session, and the one funnel that every request of the SDK and CLI goes through.

Build (`build_request`), send (`request`), map errors: each step once. API documents: algorithms, data, management.
"""
import contextlib
import os
import threading
from collections import namedtuple

from . import config, errors
from ._compat import native, string_types, to_bytes, urlencode
from ._version import __version__
from .connectors import ConnectorMethods
from .organizations import OrganizationMethods
from .request_helpers import RequestHelpers
from .uri import api_path, is_local, parse_data_uri

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import (  # noqa: F401
        Any,
        Dict,
        Iterator,
        List,
        Mapping,
        NamedTuple,
        NoReturn,
        Optional,
        Sequence,
        Union,
    )

    import requests  # noqa: F401
    from urllib3 import BaseHTTPResponse  # noqa: F401

    from ._types import Body, CaCert, Query, ReadTimeout, Sender  # noqa: F401
    from .algorithm import Algorithm  # noqa: F401
    from .datadirectory import AdvancedDataDirectory  # noqa: F401
    from .datafile import AdvancedDataFile  # noqa: F401
    from .fs import AlgorithmiaFileSystem  # noqa: F401
    from .insights import Insights  # noqa: F401
    from .transport import Transport  # noqa: F401

    _Request = NamedTuple(
        "_Request", [("method", str), ("target", str), ("headers", Dict[str, str]), ("body", Body)]
    )
else:
    _Request = namedtuple("Request", "method target headers body")

USER_AGENT = "algorithmia-python/%s" % __version__
_UNSET = Ellipsis


class Request(_Request):
    """One HTTP request, ready to send: `target` is the percent-encoded path and query."""

    __slots__ = ()


class Client(RequestHelpers, OrganizationMethods, ConnectorMethods):
    """A connection to one platform as one account. Safe to share between threads.

    apiKey       API key; sent as it is in the Authorization header
    apiAddress   base address such as ``https://api.algorithmia.com``
    caCert       path of a PEM file to trust besides the bundled authorities; False turns verification off
    bearerToken  JSON web token, used when there is no API key
    profile      name of a profile of the profiles file
    timeout      seconds without an answer after which a data or management request fails (None: no limit); calls of
                 algorithms wait for the call's own limit instead
    retries      how often a request that is safe to repeat is repeated

    Whatever is not given comes from the environment, then the default profile, then the embedded platform, as
    `Algorithmia.config` says. Nothing is sent and nothing started before the first request.

    Raises ConfigError for an unusable address or profile.
    """

    def __init__(self, apiKey=None, apiAddress=None, caCert=None, bearerToken=None, profile=None, timeout=60.0,
                 retries=3):
        # type: (Optional[str], Optional[str], CaCert, Optional[str], Optional[str], Optional[float], int) -> None
        connection = config.resolve(apiKey, apiAddress, caCert, bearerToken, profile)
        self.apiKey = _header_value(connection.api_key, "API key")
        self.bearerToken = _header_value(connection.bearer_token, "bearer token")
        self.ca_cert = connection.ca_cert
        self.source = connection.source
        self._address = connection.address  # type: Any  # None until the embedded platform runs
        self._embedded = connection.source is config.EMBEDDED
        self._timeout = timeout
        self._retries = retries
        self._lock = threading.Lock()
        self._transport = None  # type: Optional[Transport]
        self._session = None  # type: Optional[requests.Session]
        self._pid = os.getpid()

    def __repr__(self):
        # type: () -> str
        return "Client(%r)" % (self._address or config.EMBEDDED)

    def __getstate__(self):
        # type: () -> Dict[str, Any]
        """Clients travel to other processes without their connections."""
        state = self.__dict__.copy()
        state.update(_lock=None, _transport=None, _session=None)
        return state

    def __setstate__(self, state):
        # type: (Dict[str, Any]) -> None
        self.__dict__.update(state)
        self._lock = threading.Lock()

    # -- what the client is made of -----------------------------------------------------------------------------

    @property
    def apiAddress(self):
        # type: () -> str
        """Base address. For the embedded platform this starts it if need be, since its port is known only then."""
        if self._address is None:
            self._connect_embedded()
        return self._address

    @apiAddress.setter
    def apiAddress(self, value):
        # type: (str) -> None
        self._address = config.normalize_address(value)
        self._embedded = False
        self._transport = self._session = None

    @property
    def requestSession(self):
        # type: () -> requests.Session
        """A requests.Session with this client's settings. Once taken, every request of the client goes through it, so
        that adapters, proxies or hooks set on it apply."""
        if self._session is None:
            from .session import make_session

            address = self.apiAddress
            with self._lock:
                if self._session is None:
                    self._session = make_session(address, self.ca_cert, self._retries)
        return self._session

    def algo(self, algoRef):
        # type: (str) -> Algorithm
        """The `Algorithm` that `algoRef` names: ``OWNER/NAME[/VERSION]``. Raises ValueError for anything else."""
        from .algorithm import Algorithm

        return Algorithm(self, algoRef)

    def file(self, dataUrl, cleanup=False):
        # type: (str, bool) -> AdvancedDataFile
        """The file at `dataUrl`: a data URI, or ``file://PATH`` for a local one. No request is made.

        Type checkers are told `AdvancedDataFile`; a local one is a `LocalDataFile`, with the same verbs.
        """
        from .datafile import AdvancedDataFile
        from .local_data import LocalDataFile

        if is_local(dataUrl):
            local = LocalDataFile(self, dataUrl)  # type: Any
            return local
        return AdvancedDataFile(self, dataUrl, cleanup)

    def dir(self, dataUrl):
        # type: (str) -> AdvancedDataDirectory
        """The directory at `dataUrl`: a data URI, or ``file://PATH`` for a local one. No request is made.

        Type checkers are told `AdvancedDataDirectory`; a local one is a `LocalDataDirectory`, with the same
        verbs, whose `list` gives names.
        """
        from .datadirectory import AdvancedDataDirectory, LocalDataDirectory

        if is_local(dataUrl):
            local = LocalDataDirectory(self, dataUrl)  # type: Any
            return local
        return AdvancedDataDirectory(self, dataUrl)

    def fs(self, **options):
        # type: (**Any) -> AlgorithmiaFileSystem
        """Hosted data and connectors as an fsspec file system, for pandas, pyarrow, dask and others. Needs Python 3
        and ``algorithmia[fsspec]``.

        options  of `Algorithmia.fs.AlgorithmiaFileSystem`, such as use_listings_cache
        """
        from .fs_credentials import filesystem

        return filesystem(self, options)

    def data_type(self, uri):
        # type: (str) -> Optional[str]
        """``"file"``, ``"directory"`` or None: what is at a data URI."""
        connector, path = parse_data_uri(uri)
        try:
            response = self.request("HEAD", api_path(connector, path), family=errors.DATA, subject=uri)
        except errors.NotFoundError:
            return None
        return response.headers.get("X-Data-Type", "file")

    def username(self):
        # type: () -> str
        """Name of the account that the credentials belong to (the one entry of ``data://``)."""
        return next(iter(self.dir("data://").list())).path

    # -- the funnel ---------------------------------------------------------------------------------------------

    def build_request(self, method, path, query=None, body=None, content_type=None, headers=None):
        # type: (str, str, Query, Body, Optional[str], Optional[Mapping[str, str]]) -> Request
        """The request for an API path, with credentials; nothing is sent.

        path   percent-encoded, as `Algorithmia.uri` makes it
        query  dict (None values are left out, booleans become true and false) or an encoded string
        body   bytes, text (as UTF-8), or a file object opened for binary reading
        """
        all_headers = {"User-Agent": USER_AGENT}
        if self.apiKey:
            all_headers["Authorization"] = native(self.apiKey)
        elif self.bearerToken:
            all_headers["Authorization"] = native("Bearer " + self.bearerToken)
        if content_type:
            all_headers["Content-Type"] = content_type
        if headers:
            all_headers.update(headers)
        if isinstance(body, string_types):
            body = to_bytes(body)
        target = path if path.startswith("/") else "/" + path
        encoded = encode_query(query) if query else ""
        if encoded:
            target += "?" + encoded
        return Request(method, target, all_headers, body)

    def request(
        self,
        method,  # type: str
        path,  # type: str
        query=None,  # type: Query
        body=None,  # type: Body
        content_type=None,  # type: Optional[str]
        headers=None,  # type: Optional[Mapping[str, str]]
        stream=False,  # type: bool
        read_timeout=_UNSET,  # type: ReadTimeout
        retry=True,  # type: bool
        family=errors.OTHER,  # type: str
        subject=None,  # type: Optional[str]
        also_ok=(),  # type: Sequence[int]
    ):
        # type: (...) -> BaseHTTPResponse
        """Send one request; every request of the SDK comes through here.

        Returns urllib3's response (``.status``, ``.headers``, ``.data``); with `stream` its body is still to be read.
        family, subject  what the request is about, for the error (see `errors.from_response`)
        also_ok          statuses beside 2xx that are not errors for this request

        Raises ApiError subclasses only: `RefusedError` and `ApiInternalError` for an answer, `UnreachableError` for
        none.
        """
        if self._address is None:
            self._connect_embedded()
        request = self.build_request(method, path, query, body, content_type, headers)
        response = self._send(request, stream, read_timeout, retry, subject)
        if 200 <= response.status < 300 or response.status in also_ok:
            _check_target(response, request.target, subject)
            return response
        self._refuse(response, family, subject)

    def _send(self, request, stream, read_timeout, retry, subject):
        # type: (Request, bool, ReadTimeout, bool, Optional[str]) -> BaseHTTPResponse
        from urllib3.exceptions import HTTPError

        if read_timeout is _UNSET:
            read_timeout = self._timeout
        restarted = False
        while True:
            try:
                return self._connection().send(
                    request.method, request.target, request.headers, request.body, stream, read_timeout, retry
                )
            except (HTTPError, IOError) as error:
                from . import unreachable

                # A platform that was stopped or killed comes back, maybe on another port; nothing was sent to it.
                if self._embedded and not restarted and unreachable.before_sending(error):
                    restarted = True
                    self._connect_embedded(failed=self._address)
                    continue
                problem = unreachable.from_exception(error, self._address, subject)
            raise problem

    def abort(self, thread):
        # type: (int) -> None
        """Break off the request that the thread with this identifier is making, if any: it raises UnreachableError.

        Does nothing to requests that go through a `requestSession`.
        """
        if self._transport is not None:
            self._transport.abort(thread)

    def _refuse(self, response, family, subject):
        # type: (BaseHTTPResponse, str, Optional[str]) -> NoReturn
        """Raise the error that a non-2xx answer stands for."""
        with self.reading(subject):
            raw = response  # type: Any  # whose body may have been read already
            body = raw.read(1024 * 1024) if raw._fp and not raw._body else response.data
            response.release_conn()
        if 300 <= response.status < 400:
            raise errors.BadRequestError(
                "%s redirects to %s: use that as the API address (the key is not sent on)"
                % (self._address, response.headers.get("Location")),
                status=response.status,
            )
        raise errors.from_response(response.status, response.headers, body, family, subject)

    @contextlib.contextmanager
    def reading(self, subject=None):
        # type: (Optional[str]) -> Iterator[None]
        """A context in which reading a streamed body raises UnreachableError instead of urllib3's exceptions."""
        from urllib3.exceptions import HTTPError

        try:
            yield
        except (HTTPError, IOError) as error:
            from . import unreachable  # which takes long, as requests does: only when something has gone wrong

            problem = unreachable.from_exception(error, self._address, subject)
            raise problem

    def _connection(self):
        # type: () -> Sender
        """The pools, or the session once somebody took it; made on first use, and anew after a fork."""
        if self._session is not None:
            from .session import SessionTransport

            return SessionTransport(self._session, self._address)
        if self._transport is None or self._pid != os.getpid():
            from .transport import Transport

            with self._lock:
                if self._transport is None or self._pid != os.getpid():
                    self._transport = Transport(self._address, self.ca_cert, self._retries)
                    self._pid = os.getpid()
        return self._transport

    def _connect_embedded(self, failed=None):
        # type: (Optional[str]) -> None
        """Find or start the embedded platform and take its address and key."""
        from . import local

        connection = local.ensure_running(failed=failed)
        with self._lock:
            if connection.address != self._address:
                self._transport = self._session = None
            self._address, self.apiKey = connection.address, connection.api_key

    def report_insights(self, insights):
        # type: (Union[Dict[str, Any], List[Dict[str, Any]]]) -> Insights
        """Send `insights` (a dict of metrics, or the list of the API's insight objects) and return an `Insights`."""
        from .insights import Insights

        return Insights(insights, client=self)

    def freeze(self, manifest_path, manifest_output_dir="."):
        # type: (str, str) -> str
        """Write ``model_manifest.json.freeze``: the manifest with the MD5 of every model file.

        See `Algorithmia.freeze`.
        """
        from .freeze import freeze

        return freeze(self, manifest_path, manifest_output_dir)


def _check_target(response, target, subject):
    # type: (BaseHTTPResponse, str, Optional[str]) -> None
    """Raise CorruptedTransferError if the platform says that the request arrived with another target: with a damaged
    one it may have been about another file."""
    told = response.headers.get("X-Request-Target")
    if told is None or told == target:
        return
    from ._compat import unquote_text

    try:
        if unquote_text(told) == unquote_text(target):  # written in another way by something in between
            return
    except UnicodeError:
        pass
    response.close()
    raise errors.CorruptedTransferError(
        "the request for %s was damaged on its way: it arrived as one for %s" % (subject or target, told)
    )


def _header_value(secret, what):
    # type: (Optional[str], str) -> Optional[str]
    """`secret` without surrounding blanks. Raises ConfigError, without showing it, if a header can't carry it."""
    if not secret:
        return None
    text = native(secret).strip()
    if not all(" " <= character <= "~" for character in text):
        raise errors.ConfigError("the %s has characters that can't be sent; copy it again" % what)
    return text


def encode_query(query):
    # type: (Union[str, Mapping[str, Any]]) -> str
    """`query` as a URL query: None left out, booleans as true and false; text is one already."""
    parameters = query  # type: Any
    if isinstance(parameters, string_types):
        return native(parameters)
    pairs = []
    for name, value in parameters.items():
        if value is None:
            continue
        if isinstance(value, bool):
            value = "true" if value else "false"
        pairs.append((name, native(value) if isinstance(value, string_types) else value))
    return urlencode(pairs)
