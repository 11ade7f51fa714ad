"""What workers answer over frames, looked through before it is passed on: results undecoded, failures decoded."""

from __future__ import annotations

import re

import msgspec

from .base import CallFailure, ContentType

_MOST_SURROGATES = 100_000  # what is looked at must not take long
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_check_json = msgspec.json.Decoder(msgspec.Raw).decode


class _Failure(msgspec.Struct):
    """The error members that a worker sends."""

    message: str
    error_type: str = "AlgorithmError"
    stacktrace: str | None = None


_decode_failure = msgspec.json.Decoder(_Failure).decode


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
