"""Errors that services raise, each with its HTTP status and platform code; `app.py` turns any of them into the
``{"error": {...}}`` document of the API. Codes: `contract` names are kept as constant names below."""

from __future__ import annotations

from typing import Any


class Code:
    """Platform error codes of the public API that this platform uses."""

    ALGORITHM_NOT_FOUND = 1000
    NAME_TAKEN = 1002
    ENVIRONMENT_NOT_FOUND = 1003
    VERSION_PUBLISHED = 1007
    BUILD_NOT_FOUND = 1010
    BUILD_LOGS_NOT_FOUND = 1011
    VERSION_NOT_FOUND = 1014
    NOT_AUTHORIZED = 2001
    NOT_AUTHENTICATED = 2002
    MALFORMED_JSON = 2013
    INVALID_REQUEST = 2015
    USER_NOT_FOUND = 3000
    MALFORMED_USER = 3001
    USERNAME_TAKEN = 3003
    EMAIL_TAKEN = 3004
    MISSING_FIELDS = 3005
    UNKNOWN_LANGUAGE = 4001
    UNSUPPORTED_LANGUAGE = 4002
    SCM_NOT_FOUND = 4009
    SCM_BAD_CREATE = 4020
    INTERNAL = 5001
    INVALID_MARKER = 5002
    INVALID_LIMIT = 5003
    INPUT_VALIDATION = 6001
    MALFORMED_SECRET = 8000
    SECRET_CONSTRAINT = 8001
    SECRET_NEEDS_VALUE = 8004
    SECRET_PROVIDER_NOT_FOUND = 8006
    SECRET_NOT_FOUND = 8008


class ApiProblem(Exception):
    """A request that the platform refuses.

    message  what is wrong, naming the object and, where there is one, the remedy
    code     platform error code (`Code`) or None
    headers  extra response headers, such as Retry-After
    extra    further members of the error object (strings or numbers only: old clients decode them so)
    """

    status = 400
    default_code: int | None = Code.INVALID_REQUEST

    def __init__(
        self,
        message: str,
        code: int | None = None,
        *,
        error_type: str | None = None,
        headers: dict[str, str] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code if code is not None else self.default_code
        self.error_type = error_type
        self.headers = headers or {}
        self.extra = extra or {}


class BadRequest(ApiProblem):
    """400: the request itself is wrong."""


class NotAuthenticated(ApiProblem):
    """401: no credentials, or unknown ones."""

    status = 401
    default_code = Code.NOT_AUTHENTICATED

    def __init__(self, message: str = "authorization required", code: int | None = None) -> None:
        super().__init__(message, code, headers={"WWW-Authenticate": "Simple"})


class NotAuthorized(ApiProblem):
    """403: known credentials that may not do this."""

    status = 403
    default_code = Code.NOT_AUTHORIZED

    def __init__(
        self, message: str = "Caller is not authorized to perform the operation", code: int | None = None
    ) -> None:
        super().__init__(message, code)


class NotFound(ApiProblem):
    """404"""

    status = 404
    default_code = None


class MethodNotAllowed(ApiProblem):
    """405"""

    status = 405


class Conflict(ApiProblem):
    """409: the object exists already, or is not in the state that the request needs."""

    status = 409


class PreconditionFailed(ApiProblem):
    """412: an If-Match or If-None-Match condition on a write did not hold."""

    status = 412


class TooLarge(ApiProblem):
    """413: over a size limit."""

    status = 413
    default_code = Code.INPUT_VALIDATION


class UnsupportedMediaType(ApiProblem):
    """415"""

    status = 415


class TooManyRequests(ApiProblem):
    """429: over a concurrency limit; nothing was run."""

    status = 429

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})


class Unavailable(ApiProblem):
    """503: shutting down, or a resource is exhausted for the moment."""

    status = 503
    default_code = Code.INTERNAL


class CallTimeout(ApiProblem):
    """408: the client paused for too long while it sent a body. (An algorithm's time limit is no ApiProblem.)"""

    status = 408
