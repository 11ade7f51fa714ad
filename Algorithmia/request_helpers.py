"""Requests verb by verb, under names that code outside the SDK uses: a mixin of `Client`. All go to its `request`."""
import json

from . import errors

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any  # noqa: F401

    import requests  # noqa: F401
    from urllib3 import BaseHTTPResponse  # noqa: F401

    from ._types import SendingBase
else:
    SendingBase = object

_ANY = tuple(range(300, 600))


class RequestHelpers(SendingBase):
    """The verbs; `url` is always an API path such as ``/v1/data/.my``."""

    def postJsonHelper(self, url, input_object, parse_response_as_json=True, retry=False, **query):
        # type: (str, Any, bool, bool, **Any) -> Any
        """POST a Python value to API path `url`: text as text/plain, bytes as binary, anything else as JSON.

        Returns the parsed JSON, or a requests.Response. (`retry` is accepted for old callers and not used.)
        """
        from .algorithm import encode_input

        body, content_type = encode_input(input_object)
        response = self.request("POST", url, query, body, content_type, read_timeout=None)
        return self._parsed(response) if parse_response_as_json else self._as_requests(response, "POST", url)

    def getHelper(self, url, **query):
        # type: (str, **Any) -> requests.Response
        """GET API path `url`; returns a requests.Response whatever its status."""
        return self._as_requests(self.request("GET", url, query, stream=True, also_ok=_ANY), "GET", url)

    def getStreamHelper(self, url, **query):
        # type: (str, **Any) -> requests.Response
        """Same as `getHelper`; the body is read as the caller asks for it."""
        return self.getHelper(url, **query)

    def getJsonHelper(self, url, **query):
        # type: (str, **Any) -> Any
        """GET API path `url` and return its parsed JSON."""
        return self._parsed(self.request("GET", url, query))

    def patchHelper(self, url, params):
        # type: (str, Any) -> requests.Response
        """PATCH `params` as JSON; returns a requests.Response whatever its status."""
        response = self.request(
            "PATCH", url, body=json.dumps(params), content_type="application/json", also_ok=_ANY, stream=True
        )
        return self._as_requests(response, "PATCH", url)

    def headHelper(self, url):
        # type: (str) -> requests.Response
        """HEAD API path `url`; returns a requests.Response whatever its status."""
        return self._as_requests(self.request("HEAD", url, also_ok=_ANY), "HEAD", url)

    def putHelper(self, url, data):
        # type: (str, Any) -> Any
        """PUT `data` (text, bytes, a file object, or a value to send as JSON); returns parsed JSON."""
        content_type = "application/json" if isinstance(data, (dict, list)) else None
        if content_type:
            data = json.dumps(data)
        return self._parsed(self.request("PUT", url, body=data, content_type=content_type))

    def deleteHelper(self, url):
        # type: (str) -> Any
        """DELETE API path `url`; returns parsed JSON, or None for an empty answer."""
        return self._parsed(self.request("DELETE", url))

    def _parsed(self, response):
        # type: (BaseHTTPResponse) -> Any
        data = response.data
        if not data:
            return None
        try:
            document = json.loads(data.decode("utf-8"))
        except (ValueError, RuntimeError):  # RuntimeError: nested deeper than Python can follow
            raise errors.ApiInternalError(
                "%s answered with something that is not JSON: %r" % (self.apiAddress, data[:80]),
                status=response.status,
            )
        if isinstance(document, dict) and "error" in document:
            raise errors.from_error_member(document["error"])
        return document

    def _as_requests(self, response, method, url):
        # type: (BaseHTTPResponse, str, str) -> requests.Response
        from .session import as_requests_response

        return as_requests_response(response, method, self.apiAddress + url)
