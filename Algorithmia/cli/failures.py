"""Errors in words: what is printed for an exception, and the exit status that goes with it."""
import errno
import socket

from . import exit_status
from .context import CliError, UsageError

# What a write to an open file says, without naming it.
_OF_FILES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


def report(error, env, debug=False):
    """Print `error` on standard error and return its exit status."""
    if debug:
        import traceback

        env.error(traceback.format_exc().rstrip("\n"))
    if isinstance(error, KeyboardInterrupt):
        env.error("")
        return exit_status.INTERRUPTED
    if isinstance(error, UsageError):
        if error.usage:
            env.error(error.usage)
        env.error(error.message)
        return error.status
    if isinstance(error, CliError):
        env.error(error.message)
        return error.status
    text = describe(error)
    if text is None:
        env.error(
            "algo: unexpected %s: %s (--debug-errors shows where; please report it)" % (type(error).__name__, error)
        )
        return exit_status.FAILED
    env.error(text)
    return exit_status.for_error(error)


def describe(error):
    """A message for an error that can happen to anybody; None for one that only a defect explains."""
    from .. import errors

    if isinstance(error, errors.ProfileNotFoundError):
        return error.message
    if type(error) is errors.AlgorithmException:
        trace = (error.stack_trace or "").rstrip("\n")
        return "API error: %s%s" % (error.message, "\n" + trace if trace else "")
    if isinstance(error, errors.ApiError):
        return "algo: %s%s" % (error.message, quote_id(error))
    if isinstance(error, (IOError, OSError)) and not isinstance(error, socket.error):
        return "algo: %s" % local_reason(error)
    if isinstance(error, socket.error) and (getattr(error, "filename", None) or error.errno in _OF_FILES):
        return "algo: %s" % local_reason(error)  # on 3 every OSError is a socket.error
    return None


def quote_id(error):
    """The id by which the operator finds a failure of the platform, in brackets; empty for everything else."""
    request_id = getattr(error, "request_id", None)
    if request_id and (getattr(error, "status", None) or 0) >= 500:
        return " [request %s]" % request_id
    return ""


def local_reason(error):
    """``FILE: reason`` of an operating system error."""
    reason = getattr(error, "strerror", None) or str(error)
    name = getattr(error, "filename", None)
    return "%s: %s" % (name, reason[:1].lower() + reason[1:]) if name else reason


def each(items, action, env):
    """Do `action` to every item, going on after errors that concern one item only; the first one's exit status."""
    from .. import errors

    status = exit_status.OK
    for item in items:
        try:
            action(item)
        except (errors.AuthenticationError, errors.UnreachableError, errors.ConfigError):
            raise
        except (errors.ApiError, IOError, OSError, CliError) as error:
            failed = report(error, env)
            status = status or failed
    return status
