"""An algorithm's project on this machine: whose it is, and its files as one archive."""
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile

from ._compat import native, warn
from .errors import ConfigError

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import IO, Any, Dict, Iterator, List, Optional  # noqa: F401

CONF = "algorithmia.conf"
# Made by tools, by the platform or by this machine; never part of a project.
_NEVER = frozenset([".git", ".hg", ".svn", ".venv", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache",
                    "node_modules", ".DS_Store"])
# Configurations have a vocabulary of their own: python-3.x-1, java-ojdk11, node-5.x-1.
_LANGUAGES = (("python-2", "python2"), ("python2", "python2"), ("python-3", "python3"), ("python3", "python3"),
              ("javascript", "javascript"), ("node", "javascript"), ("java", "java"), ("scala", "scala"),
              ("ruby", "ruby"), ("rust", "rust"), ("r3", "r"))


class Project(object):
    """The project in `directory`. Raises ConfigError if there is none."""

    def __init__(self, directory="."):
        # type: (str) -> None
        self.directory = os.path.abspath(native(directory))
        self._conf = self._read()

    @property
    def reference(self):
        # type: () -> str
        """``OWNER/NAME`` from ``algorithmia.conf``. Raises ConfigError if it doesn't say."""
        owner = self._conf.get("username")
        if not owner or "__USER__" in str(owner):
            raise ConfigError("%s has no member username: it says whose algorithm this is" % self._path(CONF))
        return "%s/%s" % (native(owner), self.name)

    @property
    def name(self):
        # type: () -> str
        """The algorithm's name. Raises ConfigError if ``algorithmia.conf`` doesn't say."""
        name = self._conf.get("algoname")
        if not name:
            raise ConfigError("%s has no member algoname: it names the algorithm" % self._path(CONF))
        return native(name)

    @property
    def language(self):
        # type: () -> Optional[str]
        """The language that ``algorithmia.conf`` names, if any, as the management API calls it."""
        found = self._conf.get("language") or self._conf.get("langauge")  # sic: published templates
        if not found:
            return None
        word = native(found)
        return next((name for prefix, name in _LANGUAGES if word.startswith(prefix)), word)

    def has(self, *names):
        # type: (*str) -> bool
        """Whether the project has the file whose path's parts are `names`."""
        return os.path.exists(self._path(*names))

    def files(self):
        # type: () -> List[str]
        """Paths of the project's files, relative to it and in order: what git would commit, were it a repository, but
        never what tools leave behind."""
        found = self._git_files() or self._walked()
        return sorted(name for name in found if not _NEVER.intersection(name.split(os.sep)))

    def pack(self, target):
        # type: (IO[bytes]) -> None
        """Write the project's files into the file object `target` as a gzipped tar, names relative to the project."""
        with tarfile.open(fileobj=target, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
            for name in self.files():
                archive.add(self._path(name), arcname=name, recursive=False, **_anonymous())

    def _git_files(self):
        # type: () -> Optional[List[str]]
        """What git would commit here, with changes that aren't committed yet; None where neither a repository nor a
        ``.gitignore`` says."""
        output = self._git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
        if output is None and self.has(".gitignore"):
            output = self._not_ignored()
        if output is None:
            return None
        names = {native_path(name) for name in output.split(b"\0") if name}
        # A file that is known to git may have been deleted; a directory is a repository within this one.
        return [name for name in names if os.path.lexists(self._path(name)) and not self._is_directory(name)]

    def _not_ignored(self):
        # type: () -> Optional[bytes]
        """What ``.gitignore`` lets through where there is no repository: git reads it for an empty one elsewhere."""
        scratch = tempfile.mkdtemp(prefix="algo-project-")
        try:
            output = None
            if self._git("init", "-q", scratch) is not None:
                where = "--git-dir=%s" % os.path.join(scratch, ".git")
                output = self._git(where, "--work-tree=.", "ls-files", "-z", "--others", "--exclude-standard")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if output is None:
            warn("there is no git to read %s: what it excludes is not left out" % self._path(".gitignore"))
        return output

    def _git(self, *words):
        # type: (*str) -> Optional[bytes]
        """What git prints in the project's directory; None if it fails or there is none."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        try:
            with open(os.devnull) as nothing:
                process = subprocess.Popen(
                    ("git",) + words,
                    cwd=self.directory,
                    stdin=nothing,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=variables,
                )
                output = process.communicate()[0]
        except OSError:
            return None
        return None if process.returncode else output

    def _walked(self):
        # type: () -> Iterator[str]
        for folder, folders, names in os.walk(self.directory):
            folders[:] = [name for name in folders if name not in _NEVER]
            for name in names:
                if not name.endswith(".pyc"):
                    yield os.path.relpath(os.path.join(folder, name), self.directory)

    def _is_directory(self, name):
        # type: (str) -> bool
        path = self._path(name)
        return os.path.isdir(path) and not os.path.islink(path)

    def _path(self, *names):
        # type: (*str) -> str
        return os.path.join(self.directory, *names)

    def _read(self):
        # type: () -> Dict[str, Any]
        path = self._path(CONF)
        try:
            with io.open(path, encoding="utf-8") as handle:
                document = json.load(handle)
        except (IOError, OSError) as error:
            raise ConfigError(
                "%s is not an algorithm's project: can't read its %s (%s). Name another directory or OWNER/NAME"
                % (self.directory, CONF, error.strerror or error)
            )
        except ValueError as error:
            raise ConfigError("%s is not valid JSON: %s" % (path, error))
        if not isinstance(document, dict):
            raise ConfigError("%s must be a JSON object with the members username and algoname" % path)
        return document


def native_path(name):
    # type: (bytes) -> str
    """The bytes of a file's name as the interpreter names files."""
    fsdecode = getattr(os, "fsdecode", None)
    return fsdecode(name) if fsdecode else name  # type: ignore[return-value]


def _anonymous():
    # type: () -> Dict[str, Any]
    """Options of `TarFile.add` that leave out who owns the files here."""

    def clean(member):
        # type: (tarfile.TarInfo) -> tarfile.TarInfo
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    return {"filter": clean}
