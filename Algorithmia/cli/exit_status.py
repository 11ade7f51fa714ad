"""What the exit status of `algo` means, and which status an error stands for."""
import errno

OK = 0
FAILED = 1
USAGE = 2
AUTH = 3
NOT_FOUND = 4
TIMEOUT = 5
NETWORK = 6
INTERRUPTED = 130

MEANINGS = (
    (OK, "done"),
    (FAILED, "the platform or the algorithm said no, or a local file could not be used"),
    (USAGE, "the command line or the configuration is wrong; nothing was done"),
    (AUTH, "not authenticated or not permitted, or no such profile: see 'algo auth'"),
    (NOT_FOUND, "no such algorithm, file or directory"),
    (TIMEOUT, "time ran out"),
    (NETWORK, "the platform can't be reached"),
    (INTERRUPTED, "interrupted from the keyboard"),
)


def for_error(error):
    # type: (BaseException) -> int
    """The exit status for an exception of the SDK or of the operating system."""
    from .. import errors

    if isinstance(error, errors.ApiError):
        return _for_api_error(error, errors)
    if isinstance(error, (IOError, OSError)) and error.errno == errno.ENOENT:
        return NOT_FOUND
    return FAILED


def _for_api_error(error, errors):
    # A call that timed out is also unreachable, and every refusal of a call is also an AlgorithmException.
    table = (
        (errors.ApiTimeoutError, TIMEOUT),
        (errors.UnreachableError, NETWORK),
        ((errors.AuthenticationError, errors.PermissionDeniedError, errors.ProfileNotFoundError), AUTH),
        (errors.NotFoundError, NOT_FOUND),
        (errors.ConfigError, USAGE),
    )
    for kinds, status in table:
        if isinstance(error, kinds):
            return status
    return TIMEOUT if getattr(error, "error_type", None) == "TimeoutError" else FAILED
