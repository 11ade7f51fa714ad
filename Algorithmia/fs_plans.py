"""What goes where when several files are copied: a mixin of the file system in `fs`.

fsspec's own methods decide it: their rules for globs, trailing slashes and existing directories are not written twice.
"""
import os

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.spec import AbstractFileSystem

from .fs_storing import StoringMethods
from .parallel import Crew
from .small_files import Company, small

TYPE_CHECKING = False  # as everywhere in the SDK
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple  # noqa: F401

    from .small_files import Small  # noqa: F401

AT_ONCE = 8


class Plan(object):
    """Stands in for a file system, and learns from fsspec's `get`, `put` or `copy` what would go where.

    pairs    source and target of each file and directory
    entries  what listings told of the file system's part, by path
    """

    def __init__(self, fs):
        # type: (Any) -> None
        self._fs = fs
        self.pairs = []  # type: List[Tuple[Any, Any]]
        self.options = {}  # type: Dict[str, Any]
        self.entries = {}  # type: Dict[str, Dict[str, Any]]

    def __getattr__(self, name):
        # type: (str) -> Any
        return getattr(self._fs, name)

    def get_file(self, source, target, callback=None, **options):
        # type: (Any, Any, Any, **Any) -> None
        self.pairs.append((source, target))
        self.options = options

    put_file = cp_file = get_file

    def expand_path(self, *args, **options):
        # type: (*Any, **Any) -> Any
        return AbstractFileSystem.expand_path(self, *args, **options)

    def find(self, path, maxdepth=None, withdirs=False, detail=False, **options):
        # type: (str, Optional[int], bool, bool, **Any) -> Any
        return self._noted(self._fs.find(path, maxdepth=maxdepth, withdirs=withdirs, detail=True, **options), detail)

    def glob(self, path, maxdepth=None, detail=False, **options):
        # type: (str, Optional[int], bool, **Any) -> Any
        return self._noted(self._fs.glob(path, maxdepth=maxdepth, detail=True, **options), detail)

    def _noted(self, found, detail):
        # type: (Dict[str, Any], bool) -> Any
        self.entries.update(found)
        return found if detail else sorted(found)

    def kind(self, path):
        # type: (str) -> Optional[str]
        """``file``, ``directory``, or None if no listing told."""
        return self.entries.get(self._fs._strip_protocol(path), {}).get("type")

    def isdir(self, path):
        # type: (str) -> bool
        kind = self.kind(path)
        return self._fs.isdir(path) if kind is None else kind == "directory"

    def exists(self, path):
        # type: (str) -> bool
        return self.kind(path) is not None or self._fs.exists(path)


class TransferMethods(StoringMethods):
    """Up and down, several files at a time, and small files of hosted data in company."""

    def get(self, rpath, lpath, recursive=False, callback=DEFAULT_CALLBACK, maxdepth=None, **kwargs):
        # type: (Any, Any, bool, Any, Optional[int], **Any) -> None
        """Copy files to this machine; see `get_file`."""
        plan = Plan(self)
        AbstractFileSystem.get(plan, rpath, lpath, recursive, DEFAULT_CALLBACK, maxdepth, **kwargs)
        company, files = Company(self.client), []
        callback.set_size(len(plan.pairs))
        for source, target in plan.pairs:
            if plan.kind(source) == "directory":
                os.makedirs(target, exist_ok=True)
                callback.relative_update(1)
            else:
                files.append((source, target))
        for directory in {os.path.dirname(os.path.abspath(target)) for _, target in files}:
            os.makedirs(directory, exist_ok=True)

        def describe(pair):
            # type: (Tuple[str, str]) -> Optional[Small]
            size = plan.entries.get(self._strip_protocol(pair[0]), {}).get("size")
            return small(self._uri(pair[0]), pair[1], size)

        self._transfer(files, company, describe, company.fetch, self.get_file, callback, plan.options)

    def put(self, lpath, rpath, recursive=False, callback=DEFAULT_CALLBACK, maxdepth=None, **kwargs):
        # type: (Any, Any, bool, Any, Optional[int], **Any) -> None
        """Copy files from this machine; see `put_file`."""
        plan = Plan(self)
        AbstractFileSystem.put(plan, lpath, rpath, recursive, DEFAULT_CALLBACK, maxdepth, **kwargs)
        if self._intrans:  # they become visible together, and so are collected one by one
            for source, target in plan.pairs:
                self.put_file(source, target, **plan.options)
            return
        company, files, needed = Company(self.client), [], set()
        callback.set_size(len(plan.pairs))
        for source, target in plan.pairs:
            if os.path.isdir(source):
                needed.add(target)
                callback.relative_update(1)
            else:
                needed.add(self._parent(target))
                files.append((source, target))
        self._prepare(needed)

        def describe(pair):
            # type: (Tuple[str, str]) -> Optional[Small]
            plain = os.path.isfile(pair[0]) and not plan.options
            return small(self._uri(pair[1]), pair[0], os.path.getsize(pair[0])) if plain else None

        try:
            self._transfer(files, company, describe, company.send, self.put_file, callback, plan.options)
        finally:
            for _, target in files:
                self.invalidate_cache(target)

    def _prepare(self, directories):
        # type: (Iterable[str]) -> None
        """Make what `directories` are in, or are."""
        for made in sorted({self._directory_of(path) for path in directories if path} - {""}):
            self.makedirs(made, exist_ok=True)

    def _transfer(self, pairs, company, describe, together, alone, callback, options):
        # type: (List[Tuple[Any, Any]], Company, Any, Any, Callable[..., Any], Any, Dict[str, Any]) -> None
        """Move all pairs, with a branch of `callback` for each: those that `describe` describes `together`."""
        crew = Crew(AT_ONCE)

        def tell(_):
            # type: (int) -> None
            crew.check()

        def do(pair):
            # type: (Tuple[Any, Any]) -> None
            with callback.branched(pair[0], pair[1]) as child:
                alone(pair[0], pair[1], callback=child, **options)

        work = company.run(crew, pairs, describe, lambda files: together(files, tell), do)
        try:
            for pair, size, error in work:
                if error is not None:
                    raise error
                if size is not None:
                    with callback.branched(pair[0], pair[1]) as child:
                        child.set_size(size)
                        child.relative_update(size)
                callback.relative_update(1)
        finally:
            work.close()
