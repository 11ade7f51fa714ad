"""Metrics that an algorithm reports about its own calls. API document: "Sessions and calls between algorithms"."""
import json

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Union  # noqa: F401

    from .client import Client  # noqa: F401


class Insights(object):
    """Metrics, sent when this object is made, through the client so that credentials and time limits apply.

    insights  a dict of name to value, or the API's list of ``{"insight_key": ..., "insight_value": ...}``
    client    the `Client` to send with; default: the module's default client
    """

    def __init__(self, insights, client=None):
        # type: (Union[Dict[str, Any], List[Dict[str, Any]]], Optional[Client]) -> None
        if isinstance(insights, dict):
            insights = [{"insight_key": key, "insight_value": value} for key, value in insights.items()]
        self.insights = insights
        if client is None:
            from . import getDefaultClient

            client = getDefaultClient()
        client.request("POST", "/v1/insights", body=json.dumps(insights), content_type="application/json")
