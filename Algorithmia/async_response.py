"""What an asynchronous call (``OutputType.void``) returns at once."""

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, Optional  # noqa: F401


class AsyncResponse(object):
    """The platform took the call; its result can't be fetched.

    async_protocol  ``void``
    request_id      id of the call
    """

    def __init__(self, response):
        # type: (Dict[str, Any]) -> None
        self.async_protocol = response.get("async", response.get("async_protocol"))  # type: Optional[str]
        self.request_id = response.get("request_id")  # type: Optional[str]

    def __repr__(self):
        # type: () -> str
        return "AsyncResponse(async_protocol=%r,request_id=%r)" % (self.async_protocol, self.request_id)

    @staticmethod
    def create_algo_response(response):
        # type: (Dict[str, Any]) -> AsyncResponse
        """The response for a parsed answer document."""
        return AsyncResponse(response)
