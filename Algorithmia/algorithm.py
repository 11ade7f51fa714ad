"""`Algorithm`: calling an algorithm with options. Managing one is the mixin in `algo_manage.py`.

API document: "Call an Algorithm" (input types, query parameters, output modes).
"""
import io
import json
from enum import Enum

from . import errors
from ._compat import PY2, text_type
from .algo_manage import AlgorithmManagement
from .batch import BatchCalls
from .uri import AlgorithmRef

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Tuple, Union  # noqa: F401

    from urllib3 import BaseHTTPResponse  # noqa: F401

    from .algo_response import AlgoResponse  # noqa: F401
    from .client import Client  # noqa: F401

DEFAULT_TIMEOUT = 300
# What the network and the queue may add to an algorithm's own time limit before the client stops waiting.
_GRACE = 30.0


class OutputType(Enum):
    """What a call answers: the whole document, the bare result, or at once with nothing (asynchronous)."""

    default = "default"
    raw = "raw"
    void = "void"


def encode_input(value):
    # type: (Any) -> Tuple[Any, str]
    """``(body, content type)`` of an input: text, bytes (or bytearray), a file object, else JSON; None is JSON null.

    A binary file object is its own body, read as it is sent; one of text is read here.
    Raises TypeError if the value can't be written as JSON.
    """
    if hasattr(value, "read"):
        if isinstance(value, io.TextIOBase):
            return value.read().encode("utf-8"), "text/plain; charset=utf-8"
        return value, "application/octet-stream"
    if isinstance(value, text_type):
        return value.encode("utf-8"), "text/plain; charset=utf-8"
    if PY2 and isinstance(value, bytes):  # what people write text in there
        return value, "text/plain; charset=utf-8"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value), "application/octet-stream"
    try:
        return json.dumps(value).encode("utf-8"), "application/json"
    except (TypeError, ValueError) as error:
        raise TypeError(
            "can't send %s as JSON: %s. Give text, bytes, or lists and dicts of plain values"
            % (type(value).__name__, error)
        )


class Algorithm(AlgorithmManagement, BatchCalls):
    """An algorithm on a platform; safe to share between threads.

    client      the `Client` that makes the requests
    path        ``OWNER/NAME[/VERSION]``
    username, algoname, version   its parts; version is None if not given
    url         API path of the call
    query_parameters, output_type  options of the calls to come; see `set_options`
    """

    def __init__(self, client, algoRef):
        # type: (Client, str) -> None
        self.client = client
        self.ref = AlgorithmRef(algoRef)
        self.path = self.ref.path
        self.username = self.ref.owner
        self.algoname = self.ref.name
        self.version = self.ref.version
        self.url = self.ref.call_path
        self.output_type = OutputType.default
        self.query_parameters = {}  # type: Dict[str, Any]
        options = self.ref.query  # type: Dict[str, Any]
        self.set_options(**options)

    def __repr__(self):
        # type: () -> str
        return "Algorithm(%r)" % self.path

    def set_options(self, timeout=DEFAULT_TIMEOUT, stdout=False, output=OutputType.default, **query_parameters):
        # type: (Optional[float], bool, Union[OutputType, str], **Any) -> Algorithm
        """Choose the options of the calls to come and return this object.

        timeout  seconds that the algorithm may run; the platform's maximum is 3000
        stdout   have the algorithm's output in ``response.metadata.stdout`` (its owner only)
        output   an `OutputType`, or its name
        others are passed to the platform as they are
        """
        output_type = OutputType(output) if not isinstance(output, OutputType) else output
        options = dict(query_parameters, timeout=timeout, stdout=stdout)
        # Replaced, never changed: a call in another thread sees the options from before or after, whole.
        self.output_type, self.query_parameters = output_type, options
        return self

    def pipe(self, input1):
        # type: (Any) -> AlgoResponse
        """Call the algorithm with `input1` and wait for its result.

        Text is sent as text, bytes and bytearray as binary, anything else as JSON. A file object opened for binary
        reading is sent as binary from where it stands, without being read into memory.
        Returns an `AlgoResponse`; for ``OutputType.raw`` the bare result (text, or bytes of a binary result); for
        ``OutputType.void`` an `AsyncResponse`. Type checkers are told `AlgoResponse`, what nearly every call
        gives: annotate the variable that takes another one with ``typing.Any``.

        Raises AlgorithmException itself if the algorithm failed; its subclasses of RefusedError (NotFoundError,
        PermissionDeniedError, TooLargeError, TooManyRequestsError, ...) if the platform refused; UnreachableError.
        Never sent twice once it may have run.
        """
        output = self.output_type
        body, content_type = encode_input(input1)
        response = self.call(body, content_type, output=output)
        if output is OutputType.raw:
            return _raw_result(response)
        document = _decode(response)
        if output is OutputType.void or "async" in document or "async_protocol" in document:
            from .async_response import AsyncResponse

            accepted = AsyncResponse(document)  # type: Any
            return accepted
        from .algo_response import AlgoResponse

        return AlgoResponse.create_algo_response(document)

    def call(self, body, content_type, output=None):
        # type: (Any, str, Optional[OutputType]) -> BaseHTTPResponse
        """The call as HTTP: POST `body` (bytes or a binary file object), return urllib3's response. `pipe` uses it."""
        query = dict(self.query_parameters)
        output = output or self.output_type
        if output is not OutputType.default:
            query["output"] = output.value
        timeout = query.get("timeout")
        try:
            wait = float(timeout) + _GRACE if timeout is not None else None  # type: Optional[float]
        except (TypeError, ValueError):
            wait = DEFAULT_TIMEOUT + _GRACE  # the platform says what is wrong with it
        headers = None
        if hasattr(body, "read"):
            from . import transfer

            body, size = transfer.as_body(body)
            if size is not None:
                headers = {"Content-Length": str(size)}
            if size == 0:
                body = b""
        return self.client.request(
            "POST",
            self.url,
            query,
            body,
            content_type,
            headers,
            read_timeout=wait,
            family=errors.ALGORITHM,
            subject="algo://" + self.path,
        )


def _decode(response):
    # type: (BaseHTTPResponse) -> Dict[str, Any]
    data = response.data
    try:
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RuntimeError):  # RuntimeError: nested deeper than Python can follow
        document = None
    if not isinstance(document, dict):
        raise errors.ApiInternalError(
            "the answer to the call is not the API's JSON document: %r" % (data[:80],), status=response.status
        )
    return document


def _raw_result(response):
    # type: (BaseHTTPResponse) -> Any
    data = response.data
    if response.headers.get("Content-Type", "text/plain").startswith("application/octet-stream"):
        return data
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data
