"""`client.fs()`: hosted data and connectors as an fsspec file system, for pandas, pyarrow, dask and their like.

Paths mirror the API's ``/v1/connector/CONNECTOR/PATH``: ``algorithmia://data/.my/collection/file``,
``algorithmia://s3+label/bucket/key``. Data URIs (``data://.my/collection/file``) name the same and are taken wherever a
path is; only ``fsspec.open`` has another meaning for ``data:``. Python 3 only, as fsspec is.
"""
import errno
import os
from datetime import timezone

import fsspec
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.compression import compr
from fsspec.core import get_compression
from fsspec.spec import AbstractFileSystem
from fsspec.utils import isfilelike, stringify_path, tokenize

from . import digests, errors, fs_credentials, transfer
from .client import Client
from .dates import parse_http_date
from .fs_bulk import BulkMethods
from .fs_errors import changed, refusals
from .fs_files import CompressedWriter, FileReader, FileWriter
from .streams import TextWriter
from .uri import HOSTED, api_path, data_uri, is_remote, parse_data_uri

TYPE_CHECKING = False  # as everywhere in the SDK
if TYPE_CHECKING:
    from datetime import datetime  # noqa: F401
    from typing import Any, Dict, List, Optional, Tuple  # noqa: F401

    from .datafile import AdvancedDataFile  # noqa: F401

_SCHEME = "algorithmia://"
_TEXT = ("encoding", "errors", "newline")


class AlgorithmiaFileSystem(BulkMethods):
    """Hosted data and connectors. Safe to share between threads, to fork, and to pickle; keys are never pickled.

    api_key, api_address, ca_cert, bearer_token, profile  as of `Algorithmia.client`; none: its default client
    use_listings_cache  whether listings are remembered (off: others change them), with listings_expiry_time and
                        max_paths as in other file systems of fsspec
    """

    protocol = "algorithmia"
    root_marker = ""

    def __init__(self, api_key=None, api_address=None, ca_cert=None, bearer_token=None, profile=None, credentials=None,
                 **options):
        # type: (Optional[str], Optional[str], Any, Optional[str], Optional[str], Optional[str], **Any) -> None
        if self._cached:
            return
        options.setdefault("use_listings_cache", False)
        self._client = None  # type: Optional[Client]
        if credentials is not None or (profile and not (api_key or bearer_token)):
            self._client = fs_credentials.client_of(credentials, api_address, profile, ca_cert)
        elif api_key or api_address or bearer_token or ca_cert is not None:
            self._client = Client(api_key, api_address, ca_cert, bearer_token, profile)
        self._options = options
        AbstractFileSystem.__init__(self, **options)

    @property
    def client(self):
        # type: () -> Client
        """The SDK's client behind it; raises PermissionError if it was unpickled where nothing is configured."""
        if self._client is None:
            from Algorithmia import getDefaultClient

            return getDefaultClient()
        fs_credentials.check(self._client)
        return self._client

    # -- what it is made from: as much as may be known --------------------------------------------------------------

    @property
    def storage_options(self):
        # type: () -> Dict[str, Any]
        """What makes an equal one, without the key."""
        if self._client is None:
            return dict(self._options)
        fs_credentials.keep(self._client)
        return dict(self._options, **fs_credentials.options_of(self._client))

    @storage_options.setter
    def storage_options(self, value):
        # type: (Dict[str, Any]) -> None
        """fsspec would keep them as they are, key and all."""

    @property
    def storage_args(self):
        # type: () -> Tuple[Any, ...]
        return ()

    @storage_args.setter
    def storage_args(self, value):
        # type: (Tuple[Any, ...]) -> None
        """As for `storage_options`."""

    @property
    def _fs_token(self):
        # type: () -> str
        known = {} if self._client is None else fs_credentials.options_of(self._client)
        return tokenize(self.protocol, sorted(dict(self._options, **known).items()))

    def __repr__(self):
        # type: () -> str
        return "AlgorithmiaFileSystem(%s)" % ("" if self._client is None else self._client)

    # -- paths ------------------------------------------------------------------------------------------------------

    @classmethod
    def _strip_protocol(cls, path):
        # type: (Any) -> Any
        if isinstance(path, list):
            return [cls._strip_protocol(item) for item in path]
        path = stringify_path(path)
        if path.startswith(_SCHEME):
            path = path[len(_SCHEME) :]
        if is_remote(path):
            path = "%s/%s" % parse_data_uri(path)
        return path.strip("/")

    def unstrip_protocol(self, name):
        # type: (str) -> str
        return _SCHEME + self._strip_protocol(name)

    def _place(self, path):
        # type: (str) -> Tuple[str, str]
        """Connector, and path there. Raises FileNotFoundError for what can be neither."""
        connector, _, inside = self._strip_protocol(path).partition("/")
        if not is_remote(data_uri(connector, inside)):
            raise FileNotFoundError(
                errno.ENOENT,
                "no such connector: %s. Paths are such as data/.my/collection/file or s3+label/bucket/key" % path,
            )
        return parse_data_uri(data_uri(connector, inside))

    def _uri(self, path):
        # type: (str) -> str
        return data_uri(*self._place(path))

    def _file(self, path):
        # type: (str) -> AdvancedDataFile
        return self.client.file(self._uri(path))

    # -- what there is ------------------------------------------------------------------------------------------------

    def _head(self, path):
        # type: (str) -> Dict[str, Any]
        """What a HEAD says of `path`."""
        path = self._strip_protocol(path)
        connector, inside = self._place(path)
        with refusals():
            headers = self.client.request(
                "HEAD", api_path(connector, inside), family=errors.DATA, subject=data_uri(connector, inside)
            ).headers
        if headers.get("X-Data-Type") == "directory":
            return _directory(path)
        return {
            "name": path,
            "size": int(headers.get("Content-Length", 0)),
            "type": "file",
            "mtime": _aware(parse_http_date(headers.get("Last-Modified"))),
            "ETag": headers.get("ETag"),
            "content_type": headers.get("Content-Type"),
            "digest": digests.told(headers),
            "ranges": headers.get("Accept-Ranges") == "bytes",
        }

    def info(self, path, **kwargs):
        # type: (str, **Any) -> Dict[str, Any]
        """``name``, ``type`` and ``size``; of files also ``mtime`` (aware, UTC), ``ETag``, ``content_type`` and
        ``digest``, as far as the platform tells."""
        path = self._strip_protocol(path)
        if not path:
            return _directory("")
        found = self._ls_from_cache(path) if self.dircache.use_listings_cache else None
        for entry in found or ():
            if entry["name"] == path:
                return entry
        return _directory(path) if found is not None else self._head(path)

    def exists(self, path, **kwargs):
        # type: (str, **Any) -> bool
        """Whether there is such a file or directory. Raises if the platform doesn't tell."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def ls(self, path, detail=True, refresh=False, **kwargs):
        # type: (str, bool, bool, **Any) -> List[Any]
        """The entries of a directory, or the one file; `refresh`: whatever is remembered."""
        path = self._strip_protocol(path)
        entries = None if refresh else self.dircache.get(path)
        if entries is None:
            entries = self.dircache[path] = self._list(path) if path else self._connectors()
        return list(entries) if detail else [entry["name"] for entry in entries]

    def _list(self, path):
        # type: (str) -> List[Dict[str, Any]]
        entries = []
        try:
            with refusals():
                # With the slash it's never a file, whose content would be the answer.
                for item in self.client.dir(self._uri(path) + "/").list():
                    if item.uri.endswith(("/", "/.", "/..")):
                        continue  # keys of object stores may be called so; no path leads there
                    name = "%s/%s" % (path, item.getName())
                    known = item  # type: Any
                    entries.append(_directory(name) if item.is_dir() else _entry(name, known.size, known.last_modified))
        except FileNotFoundError:
            found = self._head(path)
            if found["type"] == "directory":
                raise
            return [found]
        return entries

    def _connectors(self):
        # type: () -> List[Dict[str, Any]]
        names = [HOSTED]
        try:
            names += [connector["connector_id"] for connector in self.client.connectors()]
        except errors.RefusedError:
            pass  # this key may not see which there are, or the platform has none
        return [_directory(name) for name in names]

    def modified(self, path):
        # type: (str) -> Optional[datetime]
        """When the file was stored; aware, UTC."""
        return self.info(path).get("mtime")

    def created(self, path):
        # type: (str) -> Any
        """Not told by the API."""
        raise NotImplementedError("the platform doesn't tell when a file was first stored; see modified()")

    def sign(self, path, expiration=100, **kwargs):
        # type: (str, int, **Any) -> str
        """Not offered by the API."""
        raise NotImplementedError("there are no signed URLs; make the collection public, or give a key that may read")

    def checksum(self, path):
        # type: (str) -> int
        """A number that changes when the file does."""
        return int(self.ukey(path), 16)

    def ukey(self, path):
        # type: (str) -> str
        """As `checksum`, in hexadecimal."""
        entry = self._head(path)
        return tokenize(entry["name"], entry["size"], entry.get("ETag") or str(entry.get("mtime")))

    def invalidate_cache(self, path=None):
        # type: (Optional[str]) -> None
        """Forget the remembered listings, or those that `path` is in or that are below it."""
        AbstractFileSystem.invalidate_cache(self, path)
        if path is None:
            self.dircache.clear()
            return
        path = self._strip_protocol(path)
        for known in list(self.dircache):
            if known == path or known.startswith(path + "/") or path.startswith(known + "/") or not known:
                self.dircache.pop(known, None)

    # -- reading ----------------------------------------------------------------------------------------------------

    def _read(self, path, start=None, end=None, etag=None):
        # type: (str, Optional[int], Optional[int], Optional[str]) -> Tuple[bytes, Optional[str]]
        """Bytes from `start` (None: the last `end` of them) to `end`, and the ETag; of the version `etag` if given.

        Compared with the digest that the platform sends ahead; damaged ones are asked for once more.
        """
        connector, inside = self._place(path)
        headers = digests.wish_of_part()
        headers["Range"] = "bytes=%s-%s" % ("" if start is None else start, "" if end is None else end - 1)
        if start is None:
            headers["Range"] = "bytes=-%d" % (end or 0)
        if etag:
            headers["If-Match"] = etag
        uri = data_uri(connector, inside)
        options = {"headers": headers, "family": errors.DATA, "subject": uri, "also_ok": (412, 416)}  # type: Any
        for is_last in (False, True):
            with refusals():
                response = self.client.request("GET", api_path(connector, inside), **options)
            if not digests.is_damaged(response.headers, response.data):
                break
            if is_last:
                raise OSError(errno.EIO, "%s was damaged on its way here" % uri)
        if response.headers.get("X-Data-Type") == "directory":
            raise IsADirectoryError(errno.EISDIR, "%s is a directory" % uri)
        if response.status == 416:
            return b"", None
        found = response.headers.get("ETag")
        if response.status == 412 or (etag and found != etag):
            raise changed(uri)
        data = response.data
        if response.status != 206:  # a platform without ranges
            data = data[start:end] if start is not None else data[-(end or 0) :]
        return data, found

    def cat_file(self, path, start=None, end=None, **kwargs):
        # type: (str, Optional[int], Optional[int], **Any) -> bytes
        """The content of a file, compared with its digest, or the bytes from `start` to `end`; negative ones count from
        its end."""
        return self._part(path, start, end)[0]

    def _part(self, path, start, end):
        # type: (str, Optional[int], Optional[int]) -> Tuple[bytes, Optional[str]]
        if start is None and end is None:
            with refusals():
                return self._file(path).getBytes(), None
        if start is not None and start < 0 and end is None:
            return self._read(path, None, -start)
        if (start or 0) < 0 or (end or 0) < 0:
            size = self._head(path)["size"]
            start = max(0, size + start) if start is not None and start < 0 else start
            end = size + end if end is not None and end < 0 else end
        if end is not None and end <= (start or 0):
            return b"", None
        return self._read(path, start or 0, end)

    def head(self, path, size=1024):
        # type: (str, int) -> bytes
        """The first `size` bytes."""
        return self.cat_file(path, 0, size)

    def tail(self, path, size=1024):
        # type: (str, int) -> bytes
        """The last `size` bytes."""
        return self.cat_file(path, -size) if size else b""

    def get_file(self, rpath, lpath, callback=DEFAULT_CALLBACK, outfile=None, **kwargs):
        # type: (str, Any, Any, Any, **Any) -> None
        """Copy a file to the local path, or the file object, `lpath`: verified, and in one step."""
        outfile = lpath if outfile is None and isfilelike(lpath) else outfile
        uri = self._uri(rpath)
        if outfile is not None:
            with refusals():
                transfer.download_to(self.client, uri, outfile, callback.relative_update, callback.set_size)
            return
        if os.path.isdir(lpath):
            if not self.isdir(rpath):
                raise IsADirectoryError(errno.EISDIR, "%s is a local directory" % lpath)
            return
        os.makedirs(os.path.dirname(os.path.abspath(lpath)), exist_ok=True)
        try:
            with refusals():
                transfer.download(self.client, uri, lpath, callback.relative_update, callback.set_size)
        except IsADirectoryError:
            os.makedirs(lpath, exist_ok=True)

    # -- writing ----------------------------------------------------------------------------------------------------

    def _open(self, path, mode="rb", block_size=None, autocommit=True, cache_options=None, **kwargs):
        # type: (str, str, Any, bool, Any, **Any) -> Any
        if mode == "rb":
            return FileReader(self, path, block_size, cache_options=cache_options, **kwargs)
        if mode not in ("wb", "xb"):
            raise NotImplementedError(
                "mode %r: files are stored as a whole. Read with rb, replace with wb, make new ones with xb" % mode
            )
        self._place(path)
        if mode == "xb" and self.exists(path):
            raise FileExistsError(errno.EEXIST, "%s exists already" % self._uri(path))
        return FileWriter(self, path, mode == "xb", autocommit)

    def open(self, path, mode="rb", block_size=None, cache_options=None, compression=None, **kwargs):
        # type: (str, str, Any, Any, Optional[str], **Any) -> Any
        """As of any file system of fsspec; text is UTF-8 unless told. What is written appears at close, or, after an
        exception in the ``with`` block, never. `compression`: such as gzip, or "infer" from the name."""
        if "b" not in mode:
            text = {name: kwargs.pop(name) for name in _TEXT if name in kwargs}
            text.setdefault("encoding", "utf-8")
            if "r" in mode:
                kwargs.update(text)
                return AbstractFileSystem.open(self, path, mode, block_size, cache_options, compression, **kwargs)
            binary = self.open(path, mode.replace("t", "") + "b", block_size, cache_options, compression, **kwargs)
            return TextWriter(binary, **text)
        compression = get_compression(path, compression)
        if compression is None or "r" in mode:
            return AbstractFileSystem.open(self, path, mode, block_size, cache_options, compression, **kwargs)
        plain = AbstractFileSystem.open(self, path, mode, block_size, cache_options, **kwargs)
        return CompressedWriter(plain, compr[compression])


def _directory(name):
    # type: (str) -> Dict[str, Any]
    return {"name": name, "size": 0, "type": "directory"}


def _entry(name, size, modified):
    # type: (str, int, Optional[datetime]) -> Dict[str, Any]
    return {"name": name, "size": size, "type": "file", "mtime": _aware(modified)}


def _aware(moment):
    # type: (Optional[datetime]) -> Optional[datetime]
    return moment and moment.replace(tzinfo=timezone.utc)


# Wherever this was imported by another way than its entry point.
fsspec.register_implementation("algorithmia", AlgorithmiaFileSystem, clobber=True)
