"""The bodies that calls are answered with. A result is passed through as its worker encoded it, never parsed."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import msgspec

from ..engine.base import CallFailure, Result

_encode = msgspec.json.encode

DEFAULT, RAW, VOID = "default", "raw", "void"


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The query parameters of a call. `timeout` is seconds."""

    timeout: float = 300.0
    stdout: bool = False
    output: str = DEFAULT
    timing: bool = False


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A body ready to send."""

    body: bytes
    media_type: str = "application/json"
    status: int = 200


class Circumstances(msgspec.Struct, frozen=True, gc=False):
    """What the answer says about the call besides its result. `total` is seconds, from request to answer."""

    options: CallOptions
    request_id: str
    source_visible: bool
    total: float


def success(result: Result, about: Circumstances) -> Answer:
    """The answer of a call that ended well."""
    if about.options.output == RAW:
        return _raw(result)
    body = result.body
    if result.content_type == "binary":
        body = b'"%b"' % base64.b64encode(body)
    metadata = _metadata(result.duration, result.stdout, about, {"content_type": result.content_type})
    return Answer(b'{"result":%b,"metadata":%b}' % (body, metadata))


def failure(problem: CallFailure, about: Circumstances) -> Answer:
    """The answer of a call whose algorithm failed: 200 with an error document; for raw output 400 with the message."""
    if about.options.output == RAW:
        body = problem.message.encode("utf-8", "replace")
        return Answer(body, "text/plain; charset=utf-8", 400)
    error = {"message": problem.message, "error_type": problem.error_type}
    if problem.stacktrace and about.source_visible:
        error["stacktrace"] = problem.stacktrace
    return Answer(
        b'{"error":%b,"metadata":%b}' % (_encode(error), _metadata(problem.duration, problem.stdout, about, {}))
    )


def accepted(request_id: str) -> Answer:
    """The answer of a call whose result nobody waits for."""
    return Answer(_encode({"async": "void", "request_id": request_id}))


def _metadata(duration: float, stdout: str, about: Circumstances, metadata: dict[str, Any]) -> bytes:
    metadata["duration"] = duration
    metadata["request_id"] = about.request_id
    if about.options.stdout:
        if about.source_visible:
            metadata["stdout"] = stdout
        else:
            metadata["alerts"] = ["stdout was asked for, but only those who may read the algorithm's source get it"]
    if about.options.timing:
        metadata["timing"] = {"total": about.total, "running": duration}
    return _encode(metadata)


def _raw(result: Result) -> Answer:
    if result.content_type == "binary":
        return Answer(result.body, "application/octet-stream")
    if result.content_type == "json":
        return Answer(result.body)
    # json, unlike msgspec, takes half a surrogate pair, which Python's strings may hold.
    return Answer(json.loads(result.body).encode("utf-8", "replace"), "text/plain; charset=utf-8")
