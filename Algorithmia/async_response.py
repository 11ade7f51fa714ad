"""What an asynchronous call (``OutputType.void``) returns at once."""


class AsyncResponse(object):
    """The platform took the call; its result can't be fetched.

    async_protocol  ``void``
    request_id      id of the call
    """

    def __init__(self, response):
        # type: (dict) -> None
        self.async_protocol = response.get("async", response.get("async_protocol"))
        self.request_id = response.get("request_id")

    def __repr__(self):
        # type: () -> str
        return "AsyncResponse(async_protocol=%r,request_id=%r)" % (self.async_protocol, self.request_id)

    @staticmethod
    def create_algo_response(response):
        # type: (dict) -> AsyncResponse
        """The response for a parsed answer document."""
        return AsyncResponse(response)
