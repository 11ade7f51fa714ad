"""One answer of the platform over plain HTTP, and what tests ask of it."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any


@dataclass
class Answer:
    """An HTTP answer, read to its end; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def ok(self) -> Any:
        """The document of an answer that succeeded."""
        assert self.status < 300, self
        return self.json if self.body else None

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json["error"]
        assert all(isinstance(value, (str, int, float)) for value in found.values())
        return found

    @property
    def message(self) -> str:
        return str(self.error["message"])

    def refused(self, status: int, code: int | None = None) -> str:
        """The message of an answer that refused with `status` (and platform code `code`)."""
        assert self.status == status, self
        if code is not None:
            assert self.error["code"] == code, self.error
        assert self.message
        return self.message


def exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: Any, headers: dict[str, str], **options: Any
) -> Answer:
    """One request over `connection`, which is closed then."""
    try:
        connection.request(method, path, body, headers, **options)
        response = connection.getresponse()
        received = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, received, response.read())
    finally:
        connection.close()
