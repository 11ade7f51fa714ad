"""Storing, copying and removing single files and directories: a mixin of the file system in `fs`."""
import contextlib
import errno
import functools
import os

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.spec import AbstractFileSystem

from . import digests, errors, transfer, uploads
from .fs_errors import os_error, refusals
from .uri import HOSTED, api_path

TYPE_CHECKING = False  # as everywhere in the SDK
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, Optional  # noqa: F401

# Where folders are more than a part of files' names.
_REAL_FOLDERS = ("dropbox",)
# Whose collections come by themselves.
_IMPLICIT = (".algo", ".session")


class StoringMethods(AbstractFileSystem):
    """What changes something, one file or directory at a time."""

    @contextlib.contextmanager
    def _storing(self, path):
        # type: (str) -> Iterator[None]
        """A context in which `path` is stored; raises what keeps it from being a file."""
        try:
            yield
        except (errors.ConfigError, errors.UnreachableError):
            raise
        except errors.ApiError as error:
            if error.status in (400, 409):
                above = path
                while "/" in above:
                    if self.isdir(above) if above == path else self.isfile(above):
                        raise os_error(error, errno.EISDIR if above == path else errno.ENOTDIR)
                    above = self._parent(above)
            raise os_error(error)
        self.invalidate_cache(path)

    def _store(self, path, source, size, exclusive=False, content_type=None):
        # type: (str, Any, int, bool, Optional[str]) -> None
        """Store the `size` bytes that `source` holds; if `exclusive` only where there is nothing yet."""
        target = self._file(path)
        with self._storing(path):
            if not exclusive:
                target.put_stream(source, size=size, content_type=content_type)
                return
            headers = {"If-None-Match": "*", "Content-Length": str(size)}
            headers.update(digests.headers(digests.of_stream(source)))
            source.seek(0)
            body = transfer.Body(source, None, size, hashing=False) if size else b""  # type: Any
            # Repeated after a lost answer it would find itself.
            target._request("PUT", body=body, headers=headers, retry=False)

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        # type: (str, bytes, str, **Any) -> None
        """Make `value` the content of a file; `mode` "create": a new one, or FileExistsError."""
        if self._intrans:
            with self.open(path, "xb" if mode == "create" else "wb") as target:
                target.write(value)
            return
        path = self._strip_protocol(path)
        if mode == "create":
            import io

            self._store(path, io.BytesIO(value), memoryview(value).nbytes, exclusive=True)
            return
        target = self._file(path)
        with self._storing(path):
            uploads.store_bytes(target, bytes(value), None)

    def touch(self, path, truncate=True, **kwargs):
        # type: (str, bool, **Any) -> None
        """Make an empty file; what is there is emptied unless `truncate` is off, and its time can't be changed."""
        if not truncate and self.exists(path):
            raise NotImplementedError("the platform sets the time of a file when it is stored, and only then")
        self.pipe_file(path, b"")

    def put_file(self, lpath, rpath, callback=DEFAULT_CALLBACK, mode="overwrite", **kwargs):
        # type: (str, str, Any, str, **Any) -> None
        """Copy a local file to `rpath`, verified; the collection is made if need be."""
        if os.path.isdir(lpath):
            self.makedirs(rpath, exist_ok=True)
            return
        path = self._strip_protocol(rpath)
        callback.set_size(os.path.getsize(lpath))
        if self._intrans:
            AbstractFileSystem.put_file(self, lpath, path, callback, mode)
            return
        self._with_collection(path, functools.partial(self._put, lpath, path, callback, mode == "create"))

    def _put(self, lpath, path, callback, exclusive):
        # type: (str, str, Any, bool) -> None
        if exclusive:
            with open(lpath, "rb") as source:
                self._store(path, source, os.path.getsize(lpath), exclusive=True)
            return
        with self._storing(path):
            transfer.upload(self.client, lpath, self._uri(path), callback.relative_update)

    def cp_file(self, path1, path2, **kwargs):
        # type: (str, str, **Any) -> None
        """Copy a file, on the platform if it can; the collection is made if need be. Of a directory, only itself."""
        self._copy(path1, path2)

    def _copy(self, path1, path2):
        # type: (str, str) -> bool
        """As `cp_file`; whether it was a file."""
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)

        def copy():
            # type: () -> None
            with self._storing(target):
                transfer.copy_remote(self.client, self._uri(source), self._uri(target))

        try:
            copy()
        except FileNotFoundError:
            is_directory = self.info(source)["type"] == "directory"
            self.makedirs(target if is_directory else self._parent(target), exist_ok=True)
            if is_directory:
                return False
            copy()
        return True

    def rm_file(self, path):
        # type: (str) -> None
        """Remove a file."""
        path = self._strip_protocol(path)
        if self._is_container(path):
            raise IsADirectoryError(errno.EISDIR, "%s is not a file" % path)
        with refusals(conflict=errno.EISDIR):
            self._file(path).delete()
        self.invalidate_cache(path)

    def _rm(self, path):
        # type: (str) -> None
        self.rm_file(path)

    def mkdir(self, path, create_parents=True, **kwargs):
        # type: (str, bool, **Any) -> None
        """Make a collection. Folders below one, and in object stores, come with their first file: nothing is made then,
        but the collection, if `create_parents`."""
        if self.exists(path):
            raise FileExistsError(errno.EEXIST, "%s exists already" % self._uri(path))
        path, made = self._strip_protocol(path), self._directory_of(path)
        if made == path or (made and create_parents):
            self._make(made)
        elif made and not self.exists(made):
            raise FileNotFoundError(errno.ENOENT, "there is no collection %s" % self._uri(made))

    def makedirs(self, path, exist_ok=False):
        # type: (str, bool) -> None
        """As `mkdir`; with `exist_ok` a directory may exist already."""
        if not exist_ok:
            self.mkdir(path)
            return
        made = self._directory_of(path)
        if made and not self.isdir(made):
            self._make(made)

    def _directory_of(self, path):
        # type: (str) -> str
        """The directory of its own that `path` is, or is in; empty for those that come by themselves."""
        path = self._strip_protocol(path)
        connector, inside = self._place(path)
        parts = inside.split("/")
        if connector.split("+")[0] in _REAL_FOLDERS or (len(parts) == 1 and connector != HOSTED):
            return path
        if connector != HOSTED or parts[0] in _IMPLICIT:
            return ""
        return "/".join([HOSTED] + parts[:2])

    def _make(self, path):
        # type: (str) -> None
        try:
            with refusals():
                self.client.dir(self._uri(path)).create()
        except FileExistsError:
            if not self.isdir(path):  # else somebody has just made it
                raise
        self.invalidate_cache(path)

    def rmdir(self, path):
        # type: (str) -> None
        """Remove an empty directory."""
        self._remove_directory(path, force=False)

    def _remove_directory(self, path, force):
        # type: (str, bool) -> None
        path = self._strip_protocol(path)
        connector, inside = self._place(path)
        with refusals(conflict=errno.ENOTEMPTY):
            # With the slash it's never a file.
            self.client.request(
                "DELETE",
                api_path(connector, inside + "/"),
                query={"force": True} if force else None,
                family=errors.DATA,
                subject=self._uri(path),
            )
        self.invalidate_cache(path)

    def _is_container(self, path):
        # type: (str) -> bool
        """Whether `path` can't be a file by its form: a connector, an account, a collection."""
        connector, inside = self._place(path)
        return not inside or (connector == HOSTED and inside.count("/") < (1 if inside.startswith(".session/") else 2))

    def _with_collection(self, path, action):
        # type: (str, Callable[[], None]) -> None
        """Do `action`, which stores `path`; if its collection is missing, make that and do it again."""
        try:
            action()
        except FileNotFoundError:
            self.makedirs(self._parent(path), exist_ok=True)
            action()
