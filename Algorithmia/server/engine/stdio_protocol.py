"""The documented protocol between the platform and an algorithm's process, as text: a line of JSON on standard input,
one JSON value into a FIFO.

Values pass through as they are: only what the answer consists of is taken apart.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from .base import CallFailure, ContentType, InvalidInput, Result

READY = b"PIPE_INIT_COMPLETE"

_check_json = msgspec.json.Decoder(msgspec.Raw).decode
_encode = msgspec.json.encode
_decode = msgspec.json.decode


class ProtocolError(Exception):
    """What the process wrote is not an answer; the message says why."""


def request_line(content_type: ContentType, body: bytes) -> bytes:
    """The request for a call. Raises InvalidInput if `body` isn't what its content type says."""
    if content_type == "binary":
        data = b'"' + base64.b64encode(body) + b'"'
    else:
        try:
            text = str(body, "utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInput(
                f"the input is not UTF-8 (byte {error.start}): send it as application/octet-stream"
            ) from None
        data = _encode(text) if content_type == "text" else _one_line(body)
    return b'{"content_type":"%b","data":%b}\n' % (content_type.encode(), data)


def _one_line(body: bytes) -> bytes:
    if not body.strip():
        raise InvalidInput("the input is empty, which is not JSON: send null for no value, or use text/plain")
    try:
        _check_json(body)
    except msgspec.MsgspecError as error:
        if b"NaN" in body or b"Infinity" in body:
            raise InvalidInput("the input is not valid JSON: NaN and Infinity are not JSON") from None
        raise InvalidInput(f"the input is not valid JSON: {error}") from None
    except RecursionError:
        raise InvalidInput("the input is JSON nested too deeply") from None
    # Inside of a JSON text's strings there are none.
    return body.replace(b"\n", b" ").replace(b"\r", b" ")


class Value:
    """Finds the end of one JSON object in bytes that come in pieces, without waiting for more than the object."""

    def __init__(self) -> None:
        self._depth = 0
        self._is_begun = False
        self._in_string = False
        self._escape = b""

    def feed(self, data: bytes) -> bool:
        """Whether the object is whole with this piece. Raises ProtocolError if it's no object at all."""
        if not self._is_begun:
            data = data.lstrip()
            if not data:
                return False
            if not data.startswith(b"{"):
                raise ProtocolError("its answer is not a JSON object")
            self._is_begun = True
        data = self._escape + data
        backslashes = len(data) - len(data.rstrip(b"\\"))
        self._escape = b"\\" if backslashes % 2 else b""
        if self._escape:
            data = data[:-1]
        if b"\\" in data:
            data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = data.split(b'"')
        outside = b"".join(parts[1::2] if self._in_string else parts[::2])
        if len(parts) % 2 == 0:
            self._in_string = not self._in_string
        self._depth += outside.count(b"{") - outside.count(b"}")
        return self._depth <= 0 and not self._in_string


class _Answer(msgspec.Struct):
    """What both shapes of an answer consist of."""

    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode_answer = msgspec.json.Decoder(_Answer).decode


def parse_answer(data: bytes, max_result: int, duration: float, stdout: str) -> Result:
    """The result that the answer `data` means; raises the CallFailure that it means, or ProtocolError."""
    try:
        str(data, "utf-8")
        answer = _decode_answer(data)
    except UnicodeDecodeError:
        raise ProtocolError("its answer is not UTF-8") from None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ProtocolError(f"its answer is not valid JSON ({error})") from None
    error_members = _members(answer.error)
    if isinstance(error_members.get("message"), str):
        raise _failure(error_members, duration, stdout)
    content_type = _members(answer.metadata).get("content_type")
    if isinstance(answer.result, msgspec.Raw) and content_type in ("text", "json", "binary"):
        body = _body(content_type, answer.result)
        if len(body) > max_result:
            raise CallFailure(too_large(len(body), max_result), "TooLargeError", None, duration, stdout)
        return Result(content_type, body, duration, stdout)
    raise ProtocolError("its answer has neither a result with a content type, nor an error with a message")


def too_large(size: int, limit: int) -> str:
    """What to tell the author of an algorithm whose result is too large."""
    return (
        f"the result has {size} bytes and the limit is {limit}: write it to a file such as data://.algo/temp/NAME and "
        "return its URI"
    )


def _members(raw: msgspec.Raw | msgspec.UnsetType) -> dict[str, Any]:
    found = _decode(raw) if isinstance(raw, msgspec.Raw) else None
    return found if isinstance(found, dict) else {}


def _failure(members: dict[str, Any], duration: float, stdout: str) -> CallFailure:
    error_type, trace = members.get("error_type"), members.get("stacktrace")
    if not isinstance(error_type, str) or not error_type:
        error_type = "AlgorithmError"
    return CallFailure(
        members["message"], error_type[:200], trace if isinstance(trace, str) else None, duration, stdout
    )


def _body(content_type: ContentType, raw: msgspec.Raw) -> bytes:
    body = bytes(raw)
    if content_type == "json":
        return body
    if not body.startswith(b'"'):
        raise ProtocolError(f"its {content_type} result is not a JSON string")
    if content_type == "text":
        return body
    try:
        return binascii.a2b_base64(_decode(body, type=str))  # passes over line breaks
    except ValueError:
        raise ProtocolError("its binary result is not base64") from None
