"""What a call returns: `AlgoResponse` with its `Metadata`. API document: "HTTP output specification"."""
import base64

from . import errors
from ._compat import to_bytes

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, Optional  # noqa: F401

# Scripts written for the 1.x client import this name from here.
AlgoException = errors.AlgorithmException


class Metadata(object):
    """Facts about a call.

    content_type   ``text``, ``json``, ``binary`` or ``void``
    duration       seconds that the algorithm ran
    stdout         its output, if asked for and permitted; else None
    full_metadata  everything the platform said, as a dict; also by item: ``metadata["request_id"]``
    """

    def __init__(self, metadata):
        # type: (Dict[str, Any]) -> None
        self.content_type = metadata.get("content_type")  # type: Optional[str]
        self.duration = metadata.get("duration")  # type: Optional[float]
        self.stdout = metadata.get("stdout")  # type: Optional[str]
        self.full_metadata = metadata

    def __getitem__(self, key):
        # type: (str) -> Any
        return self.full_metadata[key]

    def __repr__(self):
        # type: () -> str
        values = (_native(self.content_type), _native(self.duration), _native(self.stdout))
        return "Metadata(content_type='%s',duration=%s,stdout=%s)" % values


class AlgoResponse(object):
    """The result of a call, decoded, and its `Metadata`. Notebooks show JSON indented and images as images."""

    def __init__(self, result, metadata):
        # type: (Any, Metadata) -> None
        self.result = result
        self.metadata = metadata

    def __repr__(self):
        # type: () -> str
        return "AlgoResponse(result=%s,metadata=%r)" % (_native(self.result), self.metadata)

    @staticmethod
    def create_algo_response(response):
        # type: (Dict[str, Any]) -> AlgoResponse
        """The response for a parsed answer document. Raises AlgorithmException if it holds an error."""
        if "error" in response:
            raise errors.from_error_member(response["error"])
        metadata = Metadata(response.get("metadata") or {})
        result = response.get("result")
        if metadata.content_type == "binary" and result is not None:
            result = base64.b64decode(to_bytes(result))
        elif metadata.content_type == "void":
            result = None
        return AlgoResponse(result, metadata)

    from_document = create_algo_response

    def _repr_mimebundle_(self, include=None, exclude=None):
        # type: (Any, Any) -> Dict[str, Any]
        """Rich display for Jupyter."""
        from .notebook import response_bundle

        return response_bundle(self)


def _native(value):
    # type: (Any) -> Any
    from ._compat import native, text_type

    return native(value) if isinstance(value, text_type) else value
