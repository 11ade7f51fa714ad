"""Connectors of an account to storage elsewhere, made, seen, tested and removed: a mixin of `Client`.

API document: data API ("Connector administration")."""
import json

from .documents import wrap
from .uri import quote_segment

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional  # noqa: F401

    from ._types import RequestingBase  # noqa: F401
    from .documents import Document  # noqa: F401
else:
    RequestingBase = object

# The kind of credentials that each protocol takes.
CRED_TYPES = {"s3": "iam", "gs": "serviceaccount", "azureblob": "sas", "dropbox": "oauth"}


class ConnectorMethods(RequestingBase):
    """Connectors of the account that the client acts for; `connector_id` is PROTOCOL+LABEL, such as ``s3+lab``.

    None of the documents holds credentials.
    """

    def connectors(self):
        # type: () -> List[Document]
        """All connectors: ``connector_id``, ``protocol``, ``label``, ``path``, ``permissions``, ``is_default``."""
        return self._connector_request("GET")["results"]

    def connector(self, connector_id):
        # type: (str) -> Document
        """One connector; PROTOCOL alone is the default one."""
        return self._connector_request("GET", connector_id)

    def create_connector(self, protocol, label, cred_data, path="*", writeable=False, is_default=False, endpoint=None):
        # type: (str, str, Dict[str, str], str, bool, bool, Optional[str]) -> Document
        """Connect storage.

        protocol    ``s3``, ``gs``, ``azureblob`` or ``dropbox``
        cred_data   credentials, as the guide to connectors says for each protocol
        path        glob that everything must match, such as ``bucket/folder/*``
        writeable   whether files may be changed and removed, too
        is_default  whether ``PROTOCOL://`` without a label means this one
        endpoint    address of a server of one's own
        """
        document = {
            "protocol": protocol,
            "label": label,
            "cred_type": CRED_TYPES.get(protocol, ""),
            "cred_data": cred_data,
            "path": path,
            "writeable": writeable,
            "is_default": is_default,
        }  # type: Dict[str, Any]
        if endpoint:
            document["endpoint"] = endpoint
        return self._connector_request("POST", document=document)

    def edit_connector(self, connector_id, **changes):
        # type: (str, Any) -> Document
        """Change ``path``, ``writeable``, ``is_default``, ``cred_data`` or ``endpoint`` of a connector."""
        return self._connector_request("PUT", connector_id, document=changes)

    def delete_connector(self, connector_id):
        # type: (str) -> None
        """Remove a connector; what it led to stays."""
        self.request("DELETE", self._connector_path(connector_id))

    def test_connector(self, connector_id):
        # type: (str) -> None
        """Ask the provider for something. Raises what is wrong, such as PermissionDeniedError for bad credentials."""
        self._connector_request("POST", connector_id, "/test")

    def _connector_path(self, connector_id=None):
        # type: (Optional[str]) -> str
        path = "/v1/users/%s/connectors" % quote_segment(self.username())
        return path + "/" + quote_segment(connector_id) if connector_id else path

    def _connector_request(self, method, connector_id=None, below="", document=None):
        # type: (str, Optional[str], str, Optional[Dict[str, Any]]) -> Any
        path = self._connector_path(connector_id) + below
        if document is None:
            return wrap(self._parsed(self.request(method, path)))
        response = self.request(method, path, body=json.dumps(document), content_type="application/json")
        return wrap(self._parsed(response))
