"""The methods that take several paths, directories or patterns: a mixin of the file system in `fs`."""
import errno
from glob import has_magic

from fsspec.spec import AbstractFileSystem

from .errors import DATA, RefusedError
from .fs_errors import changed, refusals
from .fs_plans import AT_ONCE, Plan, TransferMethods
from .parallel import Crew
from .uri import HOSTED, api_path, data_uri

TYPE_CHECKING = False  # as everywhere in the SDK
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Set, Tuple  # noqa: F401

    _Version = Tuple[str, Optional[str]]  # path and ETag


class BulkMethods(TransferMethods):
    """What works on several files at a time."""

    # -- reading ------------------------------------------------------------------------------------------------------

    def cat(self, path, recursive=False, on_error="raise", **kwargs):
        # type: (Any, bool, str, **Any) -> Any
        """The content of a file; of several, a dict by path. `on_error`: raise, omit, or return the exception."""
        paths = self.expand_path(path, recursive=recursive)
        if len(paths) == 1 and not isinstance(path, list) and paths[0] == self._strip_protocol(path):
            return self.cat_file(paths[0], **kwargs)
        out = {}  # type: Dict[str, Any]
        for name, content, error in self._work(paths, lambda name: self.cat_file(name, **kwargs)):
            if error is None:
                out[name] = content
            elif on_error == "raise" and not (recursive and isinstance(error, IsADirectoryError)):
                raise error
            elif on_error == "return":
                out[name] = error
        return {name: out[name] for name in paths if name in out}

    def cat_ranges(self, paths, starts, ends, max_gap=None, on_error="return", **kwargs):
        # type: (List[str], Any, Any, Any, str, **Any) -> List[Any]
        """Ranges of files, all of one version of each file: else an OSError (ESTALE) in place of one."""
        if not isinstance(paths, list):
            raise TypeError("paths is a list")
        starts = starts if isinstance(starts, list) else [starts] * len(paths)
        ends = ends if isinstance(ends, list) else [ends] * len(paths)
        if len(starts) != len(paths) or len(ends) != len(paths):
            raise ValueError("one start and one end for each path")
        out = [None] * len(paths)  # type: List[Any]
        versions = {}  # type: Dict[str, str]

        def read(index):
            # type: (int) -> Tuple[bytes, Optional[str]]
            return self._part(paths[index], starts[index], ends[index])

        for index, result, error in self._work(list(range(len(paths))), read):
            if error is None:
                out[index], etag = result
                if etag and versions.setdefault(paths[index], etag) != etag:
                    error = changed(self._uri(paths[index]))
            if error is not None:
                if on_error != "return":
                    raise error
                out[index] = error
        return out

    def walk(self, path, maxdepth=None, topdown=True, on_error=None, **kwargs):
        # type: (str, Optional[int], bool, Any, **Any) -> Any
        """As `os.walk`. It leaves out what is gone meanwhile, and nothing else unless `on_error` says so: a part of a
        tree is not to be taken for the whole."""
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth is at least 1")
        maxdepth = None if maxdepth is None else maxdepth - 1
        handler = _unless_gone if on_error is None else on_error
        for top, directories, files in AbstractFileSystem.walk(self, path, 1, on_error=handler, **kwargs):
            if topdown:
                yield top, directories, files
            for name in list(directories) if maxdepth != 0 else ():
                below = top + "/" + name if top else name
                for found in self.walk(below, maxdepth, topdown, on_error, **kwargs):
                    yield found
            if not topdown:
                yield top, directories, files

    def du(self, path, total=True, maxdepth=None, withdirs=False, **kwargs):
        # type: (str, bool, Optional[int], bool, **Any) -> Any
        """Sizes of the files below `path`: their sum, or one for each."""
        found = self.find(path, maxdepth=maxdepth, withdirs=withdirs, detail=True)
        sizes = {name: entry["size"] for name, entry in found.items()}
        return sum(sizes.values()) if total else sizes

    # -- writing ------------------------------------------------------------------------------------------------------

    def pipe(self, path, value=None, **kwargs):
        # type: (Any, Optional[bytes], **Any) -> None
        """Store `value` as `path`, or each value of the dict `path`."""
        if not isinstance(path, dict) or self._intrans:
            AbstractFileSystem.pipe(self, path, value, **kwargs)
            return
        for _, _, error in self._work(list(path.items()), lambda item: self.pipe_file(item[0], item[1], **kwargs)):
            if error is not None:
                raise error

    def copy(self, path1, path2, recursive=False, maxdepth=None, on_error=None, **kwargs):
        # type: (Any, Any, bool, Optional[int], Optional[str], **Any) -> None
        """Copy files, on the platform if it can. `on_error`: raise, or ignore files that are gone (if recursive)."""
        ignored = on_error == "ignore" or (on_error is None and recursive)
        pairs, _ = self._copies(path1, path2, recursive, maxdepth)
        for _, _, error in self._work(pairs, lambda pair: self._copy(pair[0], pair[1])):
            if error is not None and not (ignored and isinstance(error, FileNotFoundError)):
                raise error

    def mv(self, path1, path2, recursive=False, maxdepth=None, **kwargs):
        # type: (Any, Any, bool, Optional[int], **Any) -> None
        """Copy, and then remove exactly what was copied: a file that changed meanwhile stays (OSError, ESTALE)."""
        places = {}  # type: Dict[str, str]
        pairs, directories = self._copies(path1, path2, recursive, maxdepth)
        if not pairs and not directories:
            raise IsADirectoryError(errno.EISDIR, "%s is a directory; move it with recursive=True" % path1)
        files = []  # type: List[_Version]
        pairs = [pair for pair in pairs if self._real_place(pair[0], places) != self._real_place(pair[1], places)]

        def copy(pair):
            # type: (Tuple[str, str]) -> Optional[_Version]
            etag = self._head(pair[0]).get("ETag")  # before the copy: what comes later isn't in it
            return (pair[0], etag) if self._copy(pair[0], pair[1]) else None

        for pair, version, error in self._work(pairs, copy):
            if error is not None:
                raise error
            if version is None:
                directories.append(pair[0])
            else:
                files.append(version)
        for _, _, error in self._work(files, self._remove_version):
            if error is not None:
                raise error
        for name in sorted(directories, reverse=True):
            try:
                self.rmdir(name)
            except OSError as problem:
                # Gone with its last file; or somebody has put something in it meanwhile.
                if problem.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                    raise

    def rm(self, path, recursive=False, maxdepth=None):
        # type: (Any, bool, Optional[int]) -> None
        """Remove files, and with `recursive` directories with all that is in them."""
        if maxdepth is not None:
            found = self.expand_path(path, recursive=recursive, maxdepth=maxdepth)
            self._remove_files([name for name in found if not self.isdir(name)])
            return
        files, gone = [], []  # type: List[str], List[str]
        for name in self._matching(path):
            if any(name.startswith(above + "/") for above in gone):
                continue
            if recursive and self.info(name)["type"] == "directory":
                self._remove_directory(name, force=True)
                gone.append(name)
            else:
                files.append(name)
        self._remove_files(files)

    # -- how ----------------------------------------------------------------------------------------------------------

    def _matching(self, path):
        # type: (Any) -> List[str]
        """The paths that `path`, or one of the list, is a pattern for; directories before what is in them."""
        out = set()  # type: Set[str]
        for name in path if isinstance(path, (list, tuple, set)) else [path]:
            name = self._strip_protocol(name)
            found = self.glob(name) if has_magic(name) else [name]
            if not found:
                raise FileNotFoundError(errno.ENOENT, "nothing matches %s" % name)
            out.update(found)
        return sorted(out)

    def _copies(self, path1, path2, recursive, maxdepth):
        # type: (Any, Any, bool, Optional[int]) -> Tuple[List[Tuple[str, str]], List[str]]
        """Sources and targets of what is to be copied, and the sources that are directories, whose targets there are
        now."""
        plan = Plan(self)
        AbstractFileSystem.copy(plan, path1, path2, recursive, maxdepth)
        pairs, made = [], {}  # type: List[Tuple[str, str]], Dict[str, str]
        for source, target in plan.pairs:
            if plan.kind(source) == "directory":
                made[source] = target
            else:
                pairs.append((source, target))
        self._prepare(made.values())
        return pairs, list(made)

    def _remove_files(self, names):
        # type: (List[str]) -> None
        for _, _, error in self._work(names, self.rm_file):
            if error is not None:
                raise error

    def _remove_version(self, version):
        # type: (_Version) -> None
        """Remove a file that has still that ETag."""
        path, etag = version
        if not etag:
            self.rm_file(path)
            return
        with refusals(conflict=errno.EISDIR):
            response = self.client.request(
                "DELETE",
                api_path(*self._place(path)),
                headers={"If-Match": etag},
                family=DATA,
                subject=self._uri(path),
                also_ok=(412,),
            )
        if response.status == 412:
            raise OSError(
                errno.ESTALE, "%s changed while it was being moved; it stays, beside its copy" % self._uri(path)
            )
        self.invalidate_cache(path)

    def _real_place(self, path, known):
        # type: (str, Dict[str, str]) -> str
        """`path` with the names that ``.my`` and a default connector stand for, so that equal means the same file."""
        connector, inside = self._place(path)
        first, slash, rest = inside.partition("/")
        if connector == HOSTED and first == ".my":
            if first not in known:
                known[first] = self.client.username()
            inside = known[first] + slash + rest
        elif connector != HOSTED and "+" not in connector:
            if connector not in known:
                try:
                    known[connector] = self.client.connector(connector)["connector_id"]
                except RefusedError:
                    known[connector] = connector
            connector = known[connector]
        return data_uri(connector, inside)

    def _work(self, jobs, action):
        # type: (List[Any], Callable[[Any], Any]) -> Any
        """``(job, result, error)`` of all jobs as they finish; leaving the loop stops the others."""
        return Crew(AT_ONCE).run(jobs, action)


def _unless_gone(error):
    # type: (Exception) -> None
    if not isinstance(error, FileNotFoundError):
        raise error
