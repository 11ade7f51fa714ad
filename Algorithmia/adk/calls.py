"""One call's values: input from its content type, result to its content type, exception to the members of an error.

Shared by every way an algorithm is called, so that an answer does not depend on where the algorithm runs.
"""
import json
import os
import traceback

from .._compat import text_type

_hidden_frames = True

TEXT, JSON, BINARY = "text", "json", "binary"
_MAX_MESSAGE = 100000
_MAX_STACK = 400000
# Where the project is: the working directory of an algorithm's process, when it starts.
_ROOT = os.path.join(os.path.abspath(os.curdir), "")
_MACHINERY = ("importlib", "importlib._bootstrap", "importlib._bootstrap_external", "runpy")


class InvalidInput(Exception):
    """The input is not what its content type says."""


def _no_constant(name):
    # type: (str) -> None
    raise ValueError("%s is not JSON" % name)


_decode_json = json.JSONDecoder(parse_constant=_no_constant).decode
_encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_encode_ascii = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


def decode_input(content_type, body):
    # type: (str, bytes) -> object
    """The value that `body` (bytes) stands for. Raises InvalidInput with a reason for a person."""
    if content_type == BINARY:
        return body
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput("the input is not UTF-8 (byte %d): send it as application/octet-stream" % error.start)
    if content_type == TEXT:
        return text
    try:
        return _decode_json(text)
    except ValueError as error:
        if not text.strip():
            raise InvalidInput("the input is empty, which is not JSON: send null for no value, or use text/plain")
        raise InvalidInput("the input is not valid JSON: %s" % error)
    except RuntimeError:  # RecursionError is one
        raise InvalidInput("the input is JSON nested too deeply")


def encode_result(value):
    # type: (object) -> tuple
    """``(content type, bytes)`` of a result: encoded JSON for text and json, the bytes themselves for binary.

    Raises TypeError if `value` has no JSON form.
    """
    if isinstance(value, (bytearray, memoryview)):
        return BINARY, bytes(value) if isinstance(value, bytearray) else value.tobytes()
    if isinstance(value, bytes):
        if bytes is not str:
            return BINARY, value
        try:  # 2.7, where people write text in byte strings
            return TEXT, _json_bytes(value.decode("utf-8"))
        except UnicodeDecodeError:
            return BINARY, value
    return TEXT if isinstance(value, text_type) else JSON, _json_bytes(value)


def _json_bytes(value):
    # type: (object) -> bytes
    try:
        try:
            text = _encode_json(value)
            return (text if isinstance(text, text_type) else text.decode("utf-8")).encode("utf-8")
        except UnicodeError:  # half a surrogate pair, or undecodable bytes on 2.7
            return _encode_ascii(value).encode("ascii")
    except (TypeError, ValueError, OverflowError) as error:
        reason = str(error)
        if "Out of range float" in reason:
            reason = "it holds NaN or infinity, which JSON cannot express"
        problem = TypeError("the result can't be written as JSON: %s. Return text, bytes, or plain values" % reason)
    except RuntimeError:
        problem = TypeError("the result can't be written as JSON: it is nested too deeply, or contains itself")
    raise problem


def describe(exc_info, default_type="AlgorithmError"):
    # type: (tuple, str) -> dict
    """The error document's members for an exception: ``message``, ``error_type``, ``stacktrace``; all text.

    An ``error_type`` attribute of the exception wins over `default_type`. The trace begins at the author's code.
    """
    try:
        return _described(exc_info, default_type)
    except Exception:  # whatever the exception does when it is asked something
        name = _text(exc_info[0].__name__)
        return {"message": name, "error_type": _text(default_type), "stacktrace": name}


def _described(exc_info, default_type):
    # type: (tuple, str) -> dict
    kind, error, trace = exc_info
    error_type = getattr(error, "error_type", None)
    if not isinstance(error_type, (text_type, str)) or not error_type:
        error_type = "OutOfMemoryError" if isinstance(error, MemoryError) else default_type
    while trace is not None and _is_hidden(trace.tb_frame.f_globals):
        trace = trace.tb_next
    try:
        stack = _text("".join(traceback.format_exception(kind, error, trace)))
    except Exception:  # an exception may fail to describe itself
        stack = u"%s" % kind.__name__
    # Traces show paths as the author knows them: below the project.
    stack = stack.replace(u'"' + _text(_ROOT), u'"')
    return {
        "message": _message(error)[:_MAX_MESSAGE],
        "error_type": _text(error_type)[:200],
        "stacktrace": stack if len(stack) <= _MAX_STACK else u"..." + stack[-_MAX_STACK:],
    }


def error_json(members):
    # type: (dict) -> bytes
    """An error's members as encoded JSON."""
    return _encode_ascii(members).encode("ascii")


def _is_hidden(module):
    # type: (dict) -> bool
    return bool(module.get("_hidden_frames")) or module.get("__name__") in _MACHINERY


def _message(error):
    # type: (BaseException) -> text_type
    # The SDK's own exceptions put quotes and a trace into str(); what their raiser wrote is `message`.
    message = vars(error).get("message") if hasattr(error, "error_type") else None
    if not isinstance(message, (text_type, str)) or not message:
        try:
            message = str(error)
        except UnicodeError:  # 2.7: a unicode message
            message = text_type(error)
        except Exception:
            message = ""
    return _text(message) or _text(type(error).__name__)


def _text(value):
    # type: (object) -> text_type
    """`value` as text that UTF-8 can express."""
    if not isinstance(value, text_type):
        return value.decode("utf-8", "replace")  # type: ignore[attr-defined]
    try:
        value.encode("utf-8")
        return value
    except UnicodeError:
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
