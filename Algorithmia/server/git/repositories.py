"""The repositories of algorithms: bare ones, ``state/git/ALGORITHM_ID.git``, that only the platform writes to.

What changes a repository runs while a file of its name in ``busy/`` is locked; git processes hold that lock too, so it
is free only once the last of them has ended, also when the platform was killed before them. Start-up cleans exactly the
repositories with such a file. Versions are git namespaces: ``refs/namespaces/1.2.3/refs/heads/master``.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..durable import sync
from ..errors import BadRequest, Conflict
from ..languages.base import BuildProblem
from ..settings import Settings
from . import hooks, sources
from .program import NAME, UNFINISHED, VERSION_NAMESPACES, Git, GitError
from .sources import Files, SourceFile, archived_files, given_files

log = logging.getLogger("algorithmia.git")

BRANCH = "master"
MASTER = f"refs/heads/{BRANCH}"

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){2}")
_IMPORT_SECONDS = 300.0
_TIDY_SECONDS = 900.0
_TIDY_AT_PACKS = 40
_MAX_LOG = 4 * 1024 * 1024
_ATTEMPTS = 5
# A file in each repository: the commit that it was made with.
_FIRST = "first-commit"
# How long start-up waits for git processes that outlived a killed platform; they end with their input.
_RECOVERY_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit. `short_message` is the first line, `author` NAME <ADDRESS>, `time_ms` milliseconds since 1970."""

    id: str
    short_message: str
    message: str
    author: str
    time_ms: int


class Repositories:
    """The repositories below ``state_dir/git``. All methods block; all raise Unavailable where there is no git."""

    def __init__(self, state_dir: Path, settings: Settings) -> None:
        self.root = state_dir / "git"
        self._unfinished = self.root / "unfinished"
        self._busy = self.root / "busy"
        self._hooks = self.root / "hooks"
        self._max_source = settings.max_source_bytes
        self._is_prepared = False
        self._lock = threading.Lock()
        self.git = Git(self.root / "home", self._hooks, settings)

    # -- what there is

    def path(self, algorithm_id: str) -> Path:
        """Where the repository of `algorithm_id` is, or would be."""
        # Ids come from the database; this keeps it so.
        if not _ID.fullmatch(algorithm_id):
            raise ValueError(f"not an algorithm id: {algorithm_id!r}")
        return self.root / f"{algorithm_id}.git"

    def exists(self, algorithm_id: str) -> bool:
        """Whether the algorithm has a repository."""
        return self.path(algorithm_id).is_dir()

    def head(self, algorithm_id: str) -> str | None:
        """The newest commit of master; None without any, or without a repository."""
        # Start-up asks for the heads of all: where git keeps it in a file of its own, no process is needed.
        with suppress(OSError):
            text = (self.path(algorithm_id) / MASTER).read_text("ascii", "replace").strip()
            if _COMMIT.fullmatch(text):
                return text
        return self._commit_of(algorithm_id, MASTER)

    def is_first(self, algorithm_id: str, commit: str) -> bool:
        """Whether `commit`, the head of master, is the one that the repository was made with: nobody has pushed.

        No process is needed for that, but once for repositories of earlier releases. Raises GitError.
        """
        path = self.path(algorithm_id)
        with suppress(FileNotFoundError):
            return (path / _FIRST).read_text("ascii", "replace") == commit
        is_first = not self.git.run(path, "rev-list", "--max-count=1", "--skip=1", commit, "--").strip()
        if is_first:
            made = path / f"{_FIRST}.{uuid.uuid4().hex}"
            made.write_text(commit, "ascii")
            sync(made)
            made.rename(path / _FIRST)
        return is_first

    def version_head(self, algorithm_id: str, version: str) -> str | None:
        """The commit that `version` was published from, as its clone URL gives it; None if it has none."""
        return self._commit_of(algorithm_id, f"{VERSION_NAMESPACES}/{_checked_number(version)}/{MASTER}")

    def has_commit(self, algorithm_id: str, commit: str) -> bool:
        """Whether the repository holds the commit with these 40 hexadecimal digits."""
        if not _COMMIT.fullmatch(commit) or not self.exists(algorithm_id):
            return False
        with suppress(GitError):
            return self.git.run(self.path(algorithm_id), "cat-file", "-t", commit).strip() == b"commit"
        return False

    def commits(
        self, algorithm_id: str, since: str | None = None, until: str | None = None, limit: int = 100
    ) -> list[Commit]:
        """Commits of master, newest first: those after commit `since` up to commit `until`, which is one of them.

        Raises BadRequest for a commit that master doesn't have.
        """
        head = self.head(algorithm_id)
        if head is None:
            return []
        for commit in (since, until):
            if commit is not None and not self.has_commit(algorithm_id, commit):
                raise BadRequest(f"{commit[:60]!r} is not a commit of this algorithm: give one's 40 hexadecimal digits")
        chosen = [until or head, *([f"^{since}"] if since else [])]
        form = "--format=%H%x00%at%x00%an <%ae>%x00%s%x00%B%x00"
        arguments = ("log", "-z", f"--max-count={max(1, limit)}", "--encoding=UTF-8", form, *chosen, "--")
        with self.git.open(self.path(algorithm_id), *arguments) as process:
            assert process.stdout
            # Messages have no limit of their own: what doesn't fit is left out, from the oldest.
            output = process.stdout.read(_MAX_LOG)
            while process.stdout.read(65536):
                pass
        fields = output.decode("utf-8", "replace").split("\0")
        return [
            Commit(fields[at], fields[at + 3], fields[at + 4].rstrip("\n"), fields[at + 2], int(fields[at + 1]) * 1000)
            for at in range(0, len(fields) - 5, 6)
        ]

    def read_file(self, algorithm_id: str, commit: str, path: str, max_bytes: int) -> bytes | None:
        """The content of `path` in `commit`; None if there is no such file, or it is larger than `max_bytes`."""
        if not _COMMIT.fullmatch(commit) or not self.exists(algorithm_id) or set(path) & {"\n", "\0"}:
            return None
        repository = self.path(algorithm_id)
        with suppress(GitError):
            found = self.git.run(repository, "cat-file", "--batch-check", input=f"{commit}:{path}\n".encode()).split()
            if len(found) == 3 and found[1] == b"blob" and int(found[2]) <= max_bytes:
                return self.git.run(repository, "cat-file", "blob", found[0].decode(), max_output=max_bytes)
        return None

    def export(self, algorithm_id: str, commit: str, target: Path) -> None:
        """Write the files of `commit` into the empty directory `target`.

        Raises BuildProblem for what is no commit of this algorithm, and for sources that are too large or not safe to
        write (`sources.export`).
        """
        if not self.has_commit(algorithm_id, commit):
            raise BuildProblem(f"this algorithm has no commit {commit[:60]}")
        sources.export(self.git, self.path(algorithm_id), commit, target, self._max_source)

    # -- changes

    def create(self, algorithm_id: str, files: Files, message: str, when: int | None = None) -> str:
        """Make the repository with one commit on master that holds `files`, and return the commit.

        when  seconds since the epoch, for a commit that is the same wherever it is made

        If there is a repository by now, it stays as it is and its head is returned.
        """
        path = self.path(algorithm_id)
        self._prepare()
        made = self._unfinished / f"{algorithm_id}.{uuid.uuid4().hex}"
        try:
            self.git.run(None, "init", "--quiet", "--bare", "--template=", f"--initial-branch={BRANCH}", str(made))
            commit = self._import(made, MASTER, message, NAME, when or int(time.time()), None, given_files(files))
            (made / _FIRST).write_text(commit, "ascii")
            _sync_tree(made)
            try:
                os.rename(made, path)
            except OSError:
                if not path.is_dir():
                    raise
                commit = self.head(algorithm_id) or commit
            sync(self.root)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return commit

    def delete(self, algorithm_id: str) -> None:
        """Remove the repository, if there is one. It is gone at once for everybody who doesn't use it already."""
        self._prepare()
        removed = self._unfinished / f"{algorithm_id}.{uuid.uuid4().hex}"
        with suppress(FileNotFoundError):
            os.rename(self.path(algorithm_id), removed)
            sync(self.root)
        shutil.rmtree(removed, ignore_errors=True)

    def commit_files(
        self, algorithm_id: str, content: Path | Files, message: str, author: str = NAME
    ) -> str:
        """Make `content`, files or the path of a gzipped tar, the whole content of master; returns the commit.

        Without a difference that is the present head. Raises BadRequest or TooLarge for an archive that won't do,
        Conflict if others keep changing master meanwhile.
        """
        repository = self.path(algorithm_id)
        reference = f"{UNFINISHED}/{uuid.uuid4().hex}"
        with self.changing(algorithm_id) as held:
            for _ in range(_ATTEMPTS):
                head = self.head(algorithm_id)
                files = self._files(content)
                commit = self._import(repository, reference, message, author, int(time.time()), head, files, held)
                if head and self._tree(repository, head) == self._tree(repository, commit):
                    self._update(repository, f"delete {reference} {commit}\n", held)
                    return head
                change = f"update {MASTER} {commit} {head or '0' * 40}\ndelete {reference} {commit}\n"
                with suppress(GitError):
                    self._update(repository, change, held)
                    return commit
                self._update(repository, f"delete {reference}\n", held)
        raise Conflict("the algorithm's source is being changed by somebody else at the same time; try again")

    def publish_version(self, algorithm_id: str, version: str, commit: str) -> None:
        """Let ``NAME/VERSION.git`` clone `commit`, and tag it. Doing it again changes nothing."""
        space = f"{VERSION_NAMESPACES}/{_checked_number(version)}"
        if not _COMMIT.fullmatch(commit):
            raise ValueError(f"not a commit: {commit!r}")
        with self.changing(algorithm_id) as held:
            repository = self.path(algorithm_id)
            self.git.run(repository, "symbolic-ref", f"{space}/HEAD", f"{space}/{MASTER}", held=held)
            self._update(
                repository, f"update refs/tags/{version} {commit}\nupdate {space}/{MASTER} {commit}\n", held
            )

    def tidy(self, algorithm_id: str) -> None:
        """Join packs, if pushes have left many. Objects are never dropped, and readers are not disturbed."""
        packs = self.path(algorithm_id) / "objects" / "pack"
        if sum(1 for path in packs.glob("*.pack")) < _TIDY_AT_PACKS:
            return
        with self.changing(algorithm_id) as held:
            try:
                arguments = ("repack", "--geometric=2", "-d", "-q")
                self.git.run(self.path(algorithm_id), *arguments, seconds=_TIDY_SECONDS, held=held)
            except GitError as problem:
                log.warning("the packs of %s could not be joined: %s", algorithm_id, problem)

    @contextmanager
    def changing(self, algorithm_id: str) -> Iterator[Sequence[int]]:
        """While the block runs, the repository counts as being changed; git processes get the yielded descriptors.

        Any number of changes may run at once: git's own locks order them.
        """
        path = self.path(algorithm_id)
        self._prepare()
        busy = self._busy / algorithm_id
        descriptor = _lock_shared(busy)
        try:
            if not path.is_dir():
                raise FileNotFoundError(f"there is no repository of {algorithm_id}")
            yield (descriptor,)
        finally:
            # Whoever can have the lock alone is the last one.
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_quarantines(path)
                busy.unlink(missing_ok=True)
            os.close(descriptor)

    def recover(self) -> None:
        """After a crash: wait for git processes that still run, then remove what was never finished.

        Before the first change of this process. Costs nothing where nothing was going on.
        """
        if not self.root.is_dir():
            return
        for path in _listed(self._unfinished):
            shutil.rmtree(path, ignore_errors=True)
        deadline = time.monotonic() + _RECOVERY_PATIENCE
        for busy in _listed(self._busy):
            with open(busy, "rb") as handle:
                if not _lock_alone(handle.fileno(), deadline):
                    log.warning("left as it is: a git process of an earlier platform still changes %s", busy.name)
                elif _ID.fullmatch(busy.name):
                    self._clean(self.path(busy.name))
                    busy.unlink()

    def _clean(self, repository: Path) -> None:
        if not repository.is_dir():
            return
        _remove_quarantines(repository)
        for folder, _, files in os.walk(repository):
            for name in files:
                if name.endswith(".lock") or (name.startswith(("tmp_", ".tmp-")) and "objects" in folder):
                    os.unlink(os.path.join(folder, name))
        with suppress(GitError):
            names_left = self.git.run(repository, "for-each-ref", "--format=delete %(refname)", f"{UNFINISHED}/")
            self._update(repository, names_left.decode())

    # -- steps

    def _prepare(self) -> None:
        """Directories and hooks, at the first change of every start: an upgrade may have brought others."""
        with self._lock:
            if not self._is_prepared:
                for path in (self.root, self._unfinished, self._busy, self._hooks):
                    path.mkdir(parents=True, exist_ok=True, mode=0o700)
                hooks.install(self._hooks)
                self._is_prepared = True

    def _import(
        self,
        repository: Path,
        reference: str,
        message: str,
        author: str,
        when: int,
        parent: str | None,
        files: Iterator[SourceFile],
        held: Sequence[int] = (),
    ) -> str:
        arguments = ("fast-import", "--quiet", "--done", "--date-format=raw")
        with self.git.open(repository, *arguments, seconds=_IMPORT_SECONDS, held=held) as process:
            assert process.stdin
            sources.write_import(process.stdin, reference, message, author, when, parent, files)
        return self.git.run(repository, "rev-parse", "--verify", reference).decode().strip()

    def _files(self, content: Path | Files) -> Iterator[SourceFile]:
        return archived_files(content, self._max_source) if isinstance(content, Path) else given_files(content)

    def _update(self, repository: Path, changes: str, held: Sequence[int] = ()) -> None:
        self.git.run(repository, "update-ref", "--stdin", input=changes.encode("ascii"), held=held)

    def _tree(self, repository: Path, commit: str) -> bytes:
        return self.git.run(repository, "rev-parse", "--verify", f"{commit}^{{tree}}")

    def _commit_of(self, algorithm_id: str, reference: str) -> str | None:
        if not self.exists(algorithm_id):
            return None
        with suppress(GitError):
            return self.git.run(self.path(algorithm_id), "rev-parse", "--quiet", "--verify", reference).decode().strip()
        return None


def _checked_number(version: str) -> str:
    if not _NUMBER.fullmatch(version):
        raise ValueError(f"not a version: {version!r}")
    return version


def _remove_quarantines(repository: Path) -> None:
    """Remove what pushes that were killed have brought; nobody may be pushing."""
    for path in repository.glob("objects/*-*"):
        if path.name.startswith(("tmp_objdir-", "incoming-")):
            shutil.rmtree(path, ignore_errors=True)


def _lock_shared(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        # The one before may have removed the file between the two.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                return descriptor
        os.close(descriptor)


def _lock_alone(descriptor: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)


def _listed(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except FileNotFoundError:
        return []


def _sync_tree(directory: Path) -> None:
    for folder, _, files in os.walk(directory):
        for name in files:
            sync(os.path.join(folder, name))
        sync(folder)
