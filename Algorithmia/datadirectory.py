"""Directories behind the API; those of this machine are in `local_data`, under the same names.

API document: Data API ("Verbs", "Listing JSON", "ACLs").
"""
import json
import os

from . import digests, errors, temporary, uri
from .acl import Acl
from .data import DataObjectType, RemoteObject
from .datafile import DataFile
from .local_data import LocalDataDirectory

__all__ = ["AdvancedDataDirectory", "DataDirectory", "LocalDataDirectory"]

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, Optional, Tuple, Union  # noqa: F401

    from typing_extensions import Self  # noqa: F401
    from urllib3 import BaseHTTPResponse  # noqa: F401

    from ._types import Progress  # noqa: F401
    from .client import Client  # noqa: F401
    from .datafile import AdvancedDataFile  # noqa: F401


class DataDirectory(RemoteObject):
    """A directory of hosted data or of a connector; path, uri, url as in `RemoteObject`."""

    def __init__(self, client, dataUrl):
        # type: (Client, str) -> None
        super(DataDirectory, self).__init__(client, dataUrl, DataObjectType.directory)

    def __repr__(self):
        # type: () -> str
        return "%s(%r)" % (type(self).__name__, str(self.uri))

    def _repr_html_(self):
        # type: () -> str
        """Rich display for Jupyter: a table of the entries."""
        from .notebook import directory_html

        return directory_html(self)

    def exists(self):
        # type: () -> bool
        """Whether there is such a directory. Raises if the platform doesn't tell (no permission, no connection)."""
        try:
            response = self._request("GET", stream=True)
        except errors.NotFoundError:
            return False
        kind = response.headers.get("X-Data-Type")
        if kind == "file":
            response.close()
            return False
        with self.client.reading(self.uri):
            _ = response.data  # to the end, so that the connection can be used again
        return True

    def create(self, acl=None):
        # type: (Optional[Acl]) -> None
        """Make the directory, readable as `acl` says (default: by the owner and the owner's algorithms).

        Raises ConflictError if it exists and DataApiError if it can't be made.
        """
        parent, name = _split(self._place[1])
        document = {"name": name}  # type: Dict[str, Any]
        if acl is not None:
            document["acl"] = acl.to_api_param()
        self.client.request(
            "POST",
            uri.api_path(self._place[0], parent),
            body=json.dumps(document),
            content_type="application/json",
            family=errors.DATA,
            subject=self.uri,
        )

    def delete(self, force=False):
        # type: (bool) -> bool
        """Remove the directory; with `force` also if it holds files.

        Raises ConflictError if it isn't empty, NotFoundError if it doesn't exist.
        """
        self._request("DELETE", query={"force": True} if force else None)
        return True

    def file(self, name):
        # type: (str) -> AdvancedDataFile
        """The file `name` of this directory."""
        return self.client.file(uri.join(self.uri, name))

    def dir(self, name):
        # type: (str) -> AdvancedDataDirectory
        """The directory `name` of this directory."""
        return self.client.dir(uri.join(self.uri, name))

    def putFile(self, path):
        # type: (str) -> AdvancedDataFile
        """Store the local file at `path`, streamed, in this directory under its own name; returns the `DataFile`."""
        return self.file(os.path.basename(path)).putFile(path)

    def upload(self, path, progress=None, concurrency=8):
        # type: (str, Progress, int) -> Self
        """Store the files in and below the local directory `path` here, or the one file at `path`; the collection is
        made if need be. Small files travel together, where the platform offers that.

        progress     called with the number of bytes just sent, by one thread at a time
        concurrency  files at once

        The first error ends it, and is raised: what was stored by then stays. Links that lead nowhere are left out, and
        named by an OSError when all else is stored.
        """
        from . import trees

        trees.upload(self, path, progress, concurrency)
        return self

    def download(self, path, progress=None, concurrency=8):
        # type: (str, Progress, int) -> str
        """Copy the files in and below this directory into the local directory `path`, which is made if need be; returns
        `path`. See `upload`, and `DataFile.download`.
        """
        from . import trees

        trees.download(self, path, progress, concurrency)
        return path

    def files(self):
        # type: () -> Iterator[DataFile]
        """The files, page by page, as `DataFile`."""
        return (item for item in self.list() if isinstance(item, DataFile))

    def dirs(self):
        # type: () -> Iterator[DataDirectory]
        """The directories, page by page, as `DataDirectory`."""
        return (item for item in self.list() if isinstance(item, DataDirectory))

    def list(self):
        # type: () -> Iterator[Union[DataDirectory, DataFile]]
        """The entries, page by page: the directories of a page, then its files."""
        marker = None
        while True:
            page = self._page(marker)
            for entry in page.get("folders") or ():
                yield DataDirectory(self.client, uri.join(self.uri, entry["name"]))
            for entry in page.get("files") or ():
                item = DataFile(self.client, uri.join(self.uri, entry["filename"]))
                item.set_attributes(entry)
                yield item
            following = page.get("marker")
            if not following:
                return
            if following == marker:
                raise errors.DataApiError("the listing of %s repeats its marker %r" % (self.uri, marker))
            marker = following

    def getDir(self):
        # type: () -> str
        """Download all files to a temporary directory, removed when the process ends; returns its path."""
        target = temporary.new_directory()
        return self.download(target)

    def get_permissions(self):
        # type: () -> Optional[Acl]
        """The `Acl`, or None where there is none (``.session`` and ``.algo``)."""
        acl = self._page(None, acl=True).get("acl")
        return Acl.from_acl_response(acl) if acl is not None else None

    def update_permissions(self, acl):
        # type: (Acl) -> bool
        """Set who may read."""
        body = json.dumps({"acl": acl.to_api_param()})
        self._request("PATCH", body=body, content_type="application/json")
        return True

    def _page(self, marker, acl=None):
        # type: (Optional[str], Optional[bool]) -> Dict[str, Any]
        query = {"marker": marker, "acl": acl}
        try:
            response = self._listing(query)
        except errors.CorruptedTransferError:
            response = self._listing(query)
        if response.headers.get("X-Data-Type") == "file":
            raise errors.DataApiError("%s is a file, not a directory" % self.uri)
        try:
            document = json.loads(response.data.decode("utf-8"))
        except (ValueError, RuntimeError):  # RuntimeError: nested deeper than Python can follow
            document = None
        if not isinstance(document, dict):
            raise errors.DataApiError("the listing of %s is not the API's JSON document" % self.uri)
        return document

    def _listing(self, query):
        # type: (Dict[str, Any]) -> BaseHTTPResponse
        """One page as it came. Raises CorruptedTransferError if that isn't how it was sent."""
        response = self._request("GET", query=query)
        told = digests.told(response.headers)
        if digests.differ(told, digests.of_bytes(response.data, told)):
            raise errors.CorruptedTransferError("the listing of %s was damaged on its way here" % self.uri)
        return response

    def _request(self, method, **options):
        # type: (str, **Any) -> BaseHTTPResponse
        return self.client.request(method, self.url, family=errors.DATA, subject=self.uri, **options)


class AdvancedDataDirectory(DataDirectory):
    """What `Client.dir` gives."""


def _split(path):
    # type: (str) -> Tuple[str, str]
    """Parent and last part of a connector's path; the parent of a top entry is empty."""
    parent, _, name = path.rstrip("/").rpartition("/")
    return parent, name
