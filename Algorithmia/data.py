"""What files and directories have in common."""
from enum import Enum

from .uri import api_path, base_name, data_uri, parse_data_uri

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict  # noqa: F401

    from .client import Client  # noqa: F401


class DataObjectType(Enum):
    """Whether a data object is a file or a directory."""

    file = 1
    directory = 2


class DataObject(object):
    """A file or a directory, of hosted data, a connector, or the local disk."""

    def __init__(self, data_object_type):
        # type: (DataObjectType) -> None
        self.data_object_type = data_object_type

    def is_file(self):
        # type: () -> bool
        """Whether this is a file."""
        return self.data_object_type is DataObjectType.file

    def is_dir(self):
        # type: () -> bool
        """Whether this is a directory."""
        return self.data_object_type is DataObjectType.directory

    def get_type(self):
        # type: () -> DataObjectType
        """``DataObjectType.file`` or ``DataObjectType.directory``."""
        return self.data_object_type

    def set_attributes(self, attributes):
        # type: (Dict[str, Any]) -> None
        """Take over what a listing says about this object. Nothing is kept here."""


class RemoteObject(DataObject):
    """A data object behind the API.

    path       without the ``data://`` of hosted data; other connectors keep their protocol
    uri        the whole data URI
    url        API path
    """

    def __init__(self, client, data_url, kind):
        # type: (Client, str, DataObjectType) -> None
        super(RemoteObject, self).__init__(kind)
        self.client = client
        connector, path = parse_data_uri(data_url)
        self.uri = data_uri(connector, path)
        self.path = path if connector == "data" else self.uri
        self.url = api_path(connector, path)
        self._place = (connector, path)

    def getName(self):
        # type: () -> str
        """The last part of the path."""
        return base_name(self.uri)
