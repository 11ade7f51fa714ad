"""The exception tree, and the one place that turns an answer of the API into an exception.

::

    ApiError                          everything the SDK raises about the API: message, status, request_id, code
     +-- AlgorithmException           the algorithm failed: message, stack_trace, error_type
     +-- DataApiError                 hosted data or a connector refused
     |    +-- CorruptedTransferError  content was damaged on its way, also when it was sent again
     +-- ApiInternalError             the platform failed (HTTP 5xx)
     +-- RefusedError                 the platform said no before anything ran
     |    +-- BadRequestError         400 and other 4xx
     |    +-- AuthenticationError     401
     |    +-- PermissionDeniedError   403
     |    +-- NotFoundError           404
     |    +-- ConflictError           409, 412
     |    +-- TooLargeError           413
     |    +-- TooManyRequestsError    429 (retry_after, seconds)
     |    +-- ApiTimeoutError         408, 504
     +-- UnreachableError             no answer: refused, reset, unknown host, timed out, not HTTP
     +-- ConfigError                  profiles file or address is unusable
          +-- ProfileNotFoundError

An answer to a call or a management request raises a class that is both its kind above and an AlgorithmException; one of
the Data API is also a DataApiError. So ``except AlgorithmException`` and ``except DataApiError`` of old code still
catch, and ``type(error) is AlgorithmException`` says that the algorithm itself failed.

Wire facts: "Error object" and "Errors" in the API documents for algorithms and data.
"""
from ._compat import string_types, to_text

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, Mapping, Optional, Tuple, Type  # noqa: F401

ALGORITHM = "algorithm"
DATA = "data"
OTHER = "other"


class ApiError(Exception):
    """Base of all errors about the API.

    message     text for a person
    status      HTTP status, or None when there was no answer
    request_id  id to quote to the platform's operator, or None
    code        the platform's numeric error code, or None
    """

    status = None  # type: Optional[int]
    request_id = None  # type: Optional[str]
    code = None  # type: Optional[int]

    def __init__(self, message="", status=None, request_id=None, code=None):
        # type: (str, Optional[int], Optional[str], Optional[int]) -> None
        super(ApiError, self).__init__(message)
        self.message = message
        self.status = status
        self.request_id = request_id
        self.code = code

    def __str__(self):
        # type: () -> str
        return _native_text(self.message)


class ApiInternalError(ApiError):
    """The platform failed: HTTP 5xx."""


class DataApiError(ApiError):
    """Hosted data, or a connector, refused a request."""


class CorruptedTransferError(DataApiError):
    """Content was damaged on its way, and again when the transfer was repeated; neither side keeps the damaged one.

    received  bytes of the damaged content, for a download
    """

    received = 0


class AlgorithmException(ApiError):
    """An algorithm failed. Algorithms raise it, too, to choose the error type that their caller sees.

    stack_trace  the algorithm's, when the caller may read its source; else None
    error_type   such as ``AlgorithmError`` or ``UnsupportedError``

    ``AlgorithmException("text", "UnsupportedError")``, the form of the 1.x documents, sets the error type.
    """

    def __init__(self, message="", stack_trace=None, error_type=None, **details):
        # type: (str, Optional[str], Optional[str], **Any) -> None
        super(AlgorithmException, self).__init__(message, **details)
        if error_type is None and _is_type_name(stack_trace):
            stack_trace, error_type = None, stack_trace
        self.stack_trace = stack_trace
        self.error_type = error_type

    def __str__(self):
        # type: () -> str
        text = repr(_native_text(self.message))
        return text + "\n" + _native_text(self.stack_trace) if self.stack_trace else text


class RefusedError(ApiError):
    """The platform refused the request; nothing was run or stored."""


class BadRequestError(RefusedError):
    """The request itself is wrong (HTTP 400 and other 4xx)."""


class AuthenticationError(RefusedError):
    """No credentials, or credentials that the platform doesn't know (HTTP 401)."""


class PermissionDeniedError(RefusedError):
    """The credentials are known and not sufficient (HTTP 403)."""


class NotFoundError(RefusedError):
    """No such algorithm, version, file, directory or account (HTTP 404)."""


class ConflictError(RefusedError):
    """The object exists already, or is not in the state that the request needs (HTTP 409, 412)."""


class TooLargeError(RefusedError):
    """Over a size limit (HTTP 413). Larger data goes through the Data API."""


class TooManyRequestsError(RefusedError):
    """Over a rate or concurrency limit (HTTP 429). `retry_after`: seconds the platform asks to wait, or None."""

    retry_after = None  # type: Optional[float]


class ApiTimeoutError(RefusedError):
    """The platform gave up waiting (HTTP 408, 504)."""


class UnreachableError(ApiError, IOError):
    """No usable answer: the address can't be resolved or reached, the connection broke, or time ran out."""

    def __init__(self, message="", **details):
        # type: (str, **Any) -> None
        ApiError.__init__(self, message, **details)


class ConfigError(ApiError):
    """The profiles file, an address or a certificate path can't be used as given."""


class ProfileNotFoundError(ConfigError):
    """The profile that was asked for is not in the profiles file."""


# What may be over soon, so that what has been transferred is worth keeping.
PASSING = (UnreachableError, ApiInternalError, ApiTimeoutError, TooManyRequestsError)

_KINDS = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: ApiTimeoutError,
    409: ConflictError,
    412: ConflictError,
    413: TooLargeError,
    429: TooManyRequestsError,
    504: ApiTimeoutError,
}  # type: Dict[int, Type[ApiError]]
_FAMILIES = {
    ALGORITHM: AlgorithmException,
    DATA: DataApiError,
    OTHER: AlgorithmException,
}  # type: Dict[str, Type[ApiError]]
_combined = {}  # type: Dict[Tuple[Type[ApiError], Type[ApiError]], Type[ApiError]]


def _kind_for(status):
    # type: (int) -> Type[ApiError]
    if status in _KINDS:
        return _KINDS[status]
    return ApiInternalError if status >= 500 else BadRequestError


def class_for(status, family):
    # type: (int, str) -> Type[ApiError]
    """The class of error for HTTP `status` of a request of `family`: its kind, and the family's old name."""
    return _combination(_kind_for(status), _FAMILIES[family])


def _combination(kind, base):
    # type: (Type[ApiError], Type[ApiError]) -> Type[ApiError]
    if (kind, base) not in _combined:

        def reduce(error):
            # type: (ApiError) -> Tuple[Any, ...]
            """How to pickle and copy: pickle finds classes by name, and this one's name is that of `kind`."""
            return _remade, (kind, base, error.args), error.__dict__

        # One class per pair, so that errors of the same sort compare equal by type.
        members = {
            "__doc__": kind.__doc__, "__module__": __name__, "__str__": ApiError.__str__, "__reduce__": reduce
        }
        _combined[kind, base] = type(kind.__name__, (kind, base), members)
    return _combined[kind, base]


def _remade(kind, base, arguments):
    # type: (Type[ApiError], Type[ApiError], Tuple[Any, ...]) -> ApiError
    return _combination(kind, base)(*arguments)


def from_response(status, headers, body, family=OTHER, subject=None):
    # type: (int, Mapping[str, str], bytes, str, Optional[str]) -> ApiError
    """The exception for a non-2xx answer.

    status, headers, body  of the answer
    family                 ALGORITHM, DATA or OTHER: which old class the error must also be
    subject                what the request was about, such as ``data://.my/c/f``; named if the platform doesn't
    """
    get = headers.get
    error = _error_member(body)
    message = error.get("message") or get("X-Error-Message") or _plain_text(body, get("Content-Type"))
    if not message:
        # The wording that scripts written for the old client look for.
        message = "Non-Algorithm related Failure: <Response [%d]>" % status
    if subject and _plain_name(subject) not in to_text(message):
        message = u"%s (%s)" % (to_text(message), to_text(subject))
    hint = _HINTS.get(status)
    if hint and hint not in message and not (status == 401 and "algo auth" in message):
        message = u"%s. %s" % (to_text(message).rstrip("."), hint)
    kind = class_for(status, family)
    # The digest is that of what arrived, which is not what was announced.
    if status == 400 and (get("Repr-Digest") or (family == DATA and body.strip() == _UNREADABLE)):
        kind = CorruptedTransferError
    problem = kind(
        message, status=status, request_id=get("X-Request-Id") or error.get("id"), code=error.get("code")
    )
    if isinstance(problem, AlgorithmException):
        problem.stack_trace = error.get("stacktrace") or error.get("stack_trace")
        problem.error_type = error.get("error_type")
    if isinstance(problem, TooManyRequestsError):
        problem.retry_after = _seconds(get("Retry-After"))
    return problem


# What the platform says of bytes that are no request: what was sent on this connection is not what has come.
_UNREADABLE = b"Invalid HTTP request received."

_HINTS = {
    401: u"Check the API key, or run 'algo auth'",
    429: u"Wait a moment, then try again",
}


def from_error_member(error):
    # type: (Any) -> AlgorithmException
    """The exception for the ``error`` member of a document that came with a 2xx status: the algorithm failed.

    `error` is normally an object; a plain string is taken as its message.
    """
    if not isinstance(error, dict):
        return AlgorithmException(_text_of(error))
    return AlgorithmException(
        _text_of(error.get("message", error)),
        stack_trace=error.get("stacktrace") or error.get("stack_trace"),
        error_type=error.get("error_type") or "AlgorithmError",
        code=error.get("code"),
    )


def raiseDataApiError(result):
    # type: (Any) -> Exception
    """The exception for an error document of the Data API (the name is old: it returns, the caller raises)."""
    error = result.get("error") if isinstance(result, dict) else None
    if error is None:
        return Exception("Non-Algorithm related Failure: %s" % (result,))
    return DataApiError(_text_of(error.get("message", error) if isinstance(error, dict) else error))


def raiseAlgoApiError(result):
    # type: (Any) -> Exception
    """The exception for an error document of a call (the name is old: it returns, the caller raises)."""
    if isinstance(result, dict) and "error" in result:
        return from_error_member(result["error"])
    return Exception("Non-Algorithm related Failure: %s" % (result,))


def _error_member(body):
    # type: (bytes) -> Dict[str, Any]
    if not body or b"error" not in body:
        return {}
    import json

    try:
        document = json.loads(body.decode("utf-8"))
    except (ValueError, RuntimeError):  # RuntimeError: nested deeper than Python can follow
        return {}
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, dict):
        return error
    return {"message": error} if isinstance(error, string_types) else {}


def _plain_text(body, content_type):
    # type: (bytes, Optional[str]) -> str
    if not body or not (content_type or "").startswith("text/plain"):
        return ""
    return body[:2000].decode("utf-8", "replace").strip()


def _plain_name(subject):
    # type: (str) -> str
    return to_text(subject).split("://", 1)[-1].rstrip("/")


def _text_of(value):
    # type: (Any) -> str
    return value if isinstance(value, string_types) else str(value)


def _native_text(value):
    # type: (Any) -> str
    from ._compat import PY2, text_type

    if PY2 and isinstance(value, text_type):
        return value.encode("utf-8")
    return value if isinstance(value, str) else str(value)


def _is_type_name(value):
    # type: (Any) -> bool
    """Whether `value` is one word such as ``UnsupportedError`` and so can't be a stack trace."""
    return isinstance(value, string_types) and value[:1].isalpha() and value.isalnum()


def _seconds(value):
    # type: (Any) -> Optional[float]
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
