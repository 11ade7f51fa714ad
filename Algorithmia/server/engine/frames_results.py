"""What workers answer over frames, looked through before it is passed on: results undecoded, failures decoded."""

from __future__ import annotations

import re

import msgspec

from . import protocol
from .base import CallFailure, ContentType, InvalidInput, Result

_MOST_SURROGATES = 100_000  # what is looked at must not take long
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_check_json = msgspec.json.Decoder(msgspec.Raw).decode


class _Failure(msgspec.Struct):
    """The error members that a worker sends."""

    message: str
    error_type: str = "AlgorithmError"
    stacktrace: str | None = None


_decode_failure = msgspec.json.Decoder(_Failure).decode


BROKEN = 0  # no kind of a frame
UNASKED, LOADED_AGAIN = "it answered what it wasn't asked", "it loaded a second time"


class BrokenAnswer(CallFailure):
    """The worker answered what no worker may answer: nothing it says can be relied on any more. `what` it did."""

    def __init__(self, what: str = "") -> None:
        super().__init__("the worker process broke the protocol" + (f": {what}" if what else ""), "SystemError")


def result_of(kind: int, content_type: int, seconds: float, body: bytes, stdout: str = "") -> Result:
    """What a worker's answer to a call says.

    kind, content_type  of the frame, see `protocol.py`; or `BROKEN`, with a body that says what it did instead

    Raises InvalidInput and CallFailure if it says so; BrokenAnswer.
    """
    if kind == BROKEN:
        raise BrokenAnswer(body.decode())
    try:
        if kind == protocol.DONE:
            name: ContentType = protocol.CONTENT_TYPES[content_type]  # type: ignore[assignment]
            check(name, body)
            return Result(name, body, seconds, stdout)
        if kind == protocol.INVALID:
            raise InvalidInput(body.decode("utf-8", "replace"))
        raise failure_of(body, seconds, stdout)
    except RecursionError:
        message = "the result can't be passed on: it is nested too deeply"
        raise CallFailure(message, "AlgorithmError", None, seconds, stdout) from None
    except (msgspec.MsgspecError, IndexError, UnicodeDecodeError):
        raise BrokenAnswer from None


def check(content_type: ContentType, body: bytes) -> None:
    """Look whether a result is what it says, since it goes into the answer as it is.

    Raises MsgspecError, UnicodeDecodeError, RecursionError."""
    if content_type == "binary":
        return
    try:
        _check_json(body)
    except msgspec.DecodeError:
        if b"\\u" not in body:
            raise
        # Python's texts may hold half a surrogate pair, and its JSON then does too.
        _check_json(_SURROGATE.sub(b"x", body.replace(rb"\\", b"x"), _MOST_SURROGATES))
    if content_type == "text" and not body.startswith(b'"'):
        raise msgspec.DecodeError("a text is a JSON string")
    if not body.isascii():
        str(body, "utf-8")


def stacktrace_of(body: bytes) -> str | None:
    """Where a call was that has been stopped, if its worker says so."""
    try:
        return _decode_failure(body).stacktrace
    except msgspec.MsgspecError:
        return None


def failure_of(body: bytes, seconds: float, stdout: str) -> CallFailure:
    """What a worker says of a call that failed. Raises MsgspecError."""
    failure = _decode_failure(body)
    return CallFailure(failure.message, failure.error_type[:200], failure.stacktrace, seconds, stdout)
