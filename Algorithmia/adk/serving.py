"""The documented protocol of algorithm processes: JSON lines on standard input, answers to a FIFO; and local runs."""
from __future__ import print_function

import base64
import binascii
import io
import json
import sys

from .._compat import text_type
from .adk import READY_LINE
from .calls import BINARY, InvalidInput, decode_input, describe, encode_result, error_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator  # noqa: F401

_hidden_frames = True


def serve_fifo(adk):
    # type: (object) -> None
    """Load, say so, and answer every line of standard input into the FIFO, until there are no more."""
    adk.load()  # type: ignore[attr-defined]
    print(READY_LINE)
    sys.stdout.flush()
    # Whatever the line is, somebody waits for its answer.
    for line in _lines():
        answer = answer_line(adk, line)
        sys.stdout.flush()
        with io.open(adk.FIFO_PATH, "wb") as fifo:  # type: ignore[attr-defined]
            fifo.write(answer + b"\n")


def write_failure(adk):
    # type: (object) -> None
    """Write the error of a failed load into the FIFO, once."""
    with io.open(adk.FIFO_PATH, "wb") as fifo:  # type: ignore[attr-defined]
        fifo.write(_error(adk.failure) + b"\n")  # type: ignore[attr-defined]


def serve_lines(adk, pprint):
    # type: (object, object) -> None
    """Answer every line of standard input to `pprint`; only the error, if loading fails."""
    if _load_locally(adk, pprint):
        for line in _lines():
            if line.strip():
                _show(pprint, answer_line(adk, line))


def run_once(adk, value, pprint):
    # type: (object, object, object) -> None
    """Call the algorithm with `value` and give the answer to `pprint`; only the error, if loading fails."""
    if _load_locally(adk, pprint):
        _show(pprint, _answer(adk, lambda: value))


def answer_line(adk, line):
    # type: (object, bytes) -> bytes
    """The answer (encoded JSON) to one request line. Nothing that a line holds ends the process."""
    if adk.failure is not None:  # type: ignore[attr-defined]
        return _error(adk.failure)  # type: ignore[attr-defined]
    return _answer(adk, lambda: _decode_request(line))


def _answer(adk, get_input):
    # type: (object, object) -> bytes
    try:
        try:
            value = get_input()  # type: ignore[operator]
        except InvalidInput as error:
            return _error({"message": str(error), "error_type": "ParsingError"})
        content_type, body = encode_result(adk.apply(value))  # type: ignore[attr-defined]
    except Exception:
        return _error(describe(sys.exc_info()))
    if content_type == BINARY:
        body = b'"' + base64.b64encode(body) + b'"'
    return b'{"result":' + body + b',"metadata":{"content_type":"' + content_type.encode("ascii") + b'"}}'


def _decode_request(line):
    # type: (bytes) -> object
    request = decode_input("json", line)
    if not isinstance(request, dict) or "content_type" not in request or "data" not in request:
        raise InvalidInput("a request is a JSON object with content_type and data")
    content_type, data = request["content_type"], request["data"]
    if content_type not in ("text", "json", BINARY):
        raise InvalidInput("unknown content_type %s: use text, json or binary" % json.dumps(content_type))
    if content_type == BINARY:
        try:
            return base64.b64decode(data)
        except (TypeError, ValueError, binascii.Error) as error:
            raise InvalidInput("binary data must be base64: %s" % error)
    return data


def _error(members):
    # type: (dict) -> bytes
    return b'{"error":' + error_json(members) + b"}"


def _lines():
    # type: () -> Iterator[bytes]
    stream = getattr(sys.stdin, "buffer", sys.stdin)
    return iter(stream.readline, b"")


def _load_locally(adk, pprint):
    # type: (object, object) -> bool
    if adk.load():  # type: ignore[attr-defined]
        print("loading complete")
        return True
    _show(pprint, _error(adk.failure))  # type: ignore[attr-defined]
    return False


def _show(pprint, answer):
    # type: (object, bytes) -> None
    text = answer.decode("utf-8")
    pprint(text if str is text_type else answer)  # type: ignore[operator]
