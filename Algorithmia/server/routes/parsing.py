"""Reading requests: JSON bodies of a bounded size into typed structures, and flags of the query."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from starlette.requests import Request

from ..errors import BadRequest, Code, TooLarge

MAX_JSON_BYTES = 64 * 1024

T = TypeVar("T")


async def read_json(request: Request, type_: type[T], example: str, max_bytes: int = MAX_JSON_BYTES) -> T:
    """The body of `request` as a `type_`. Its content type doesn't matter.

    example  a body as it should be, for the message

    Raises BadRequest (code 2013 for what isn't JSON at all), TooLarge.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise TooLarge(f"the body is larger than {max_bytes} bytes")
    try:
        return msgspec.json.decode(bytes(body), type=type_)
    except msgspec.ValidationError as problem:
        raise BadRequest(f"the body is not as expected: {problem}; for example {example}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise BadRequest(
            f"the body is not valid JSON ({problem}); for example {example}", Code.MALFORMED_JSON
        ) from None


def flag(request: Request, name: str) -> bool:
    """Whether the query of `request` has `name` switched on: ``true``, ``True`` or ``1``."""
    return request.query_params.get(name, "").lower() in ("true", "1")
