"""`algo cp`: which files go where; `moving` then moves them."""
import os
import stat

from .. import errors, uri
from .._compat import make_dirs
from . import exit_status, failures, remote
from .apart import RealPlaces
from .context import CliError, UsageError
from .filters import Filter
from .moving import COPY, DOWNLOAD, PIPE, UPLOAD, Job, Options, move

_BOTH_LOCAL = (
    "algo cp: error: at least one of the operands must be a path to a remote data source data:// (or s3://, gs://, "
    "azureblob://, dropbox://)"
)


def cp(args, env):
    """The cp command."""
    if len(args.paths) < 2:
        raise UsageError("algo cp: error: give one or more sources and then the destination")
    sources, destination = args.paths[:-1], args.paths[-1]
    for path in args.paths:
        check_protocol(path)
    if not uri.is_remote(destination) and not all(uri.is_remote(path) for path in sources):
        raise UsageError(_BOTH_LOCAL + "".join(_meant(path) for path in args.paths))
    options = Options(args.concurrency, args.no_clobber, args.checksum, args.dry_run)
    plan = Plan(remote.connect(args), sources, destination, args.recursive, env, Filter(args.filters), args.dry_run)
    status = failures.each(sources, plan.add, env)
    moved = move(plan.client, plan.jobs, options, env)
    return status or plan.status or moved


def _meant(path):
    # type: (str) -> str
    """What to write for an operand that is hosted data in other commands, where the protocol may be left out."""
    return "; write data://%s for hosted data" % path if path.startswith(".my/") else ""


def check_protocol(path, command="cp"):
    # type: (str, str) -> None
    """Raise UsageError if `path` begins with a protocol that is neither a connector's nor ``file``."""
    head = path.split("://")[0]
    if "://" in path and head.replace("+", "").isalnum() and not uri.is_remote(path) and not uri.is_local(path):
        raise UsageError(
            "algo %s: error: %s: protocol %s:// is not one of %s"
            % (command, path, head, ", ".join(uri.CONNECTORS + ("file",)))
        )


def local_path(text):
    # type: (str) -> str
    """The path of a local operand, which may be written as file://PATH."""
    return text[len("file://") :] if uri.is_local(text) else text


class _Overlap(CliError):
    """What one job writes another reads."""


class Plan(object):
    """Turns operands into jobs.

    client       the `Client`
    sources      all source operands; more than one needs a destination that is a directory
    destination  the last operand
    recursive    whether directories are copied
    chosen       the `Filter`; None: all files
    dry_run      make no directories

    `status` is the exit status of the first file in a directory that can't be copied, and was reported.
    """

    def __init__(self, client, sources, destination, recursive, env, chosen=None, dry_run=False):
        self.client = client
        self.jobs = []  # type: list
        self.status = exit_status.OK
        self._env = env
        self._recursive = recursive
        self._chosen = chosen or Filter()
        self._dry_run = dry_run
        self._to_remote = uri.is_remote(destination)
        self._to_pipe = destination == PIPE
        self._destination = destination if self._to_remote or self._to_pipe else local_path(destination)
        self._many = len(sources) > 1
        self._kind = None
        self._targets = {}  # type: dict
        self._real = RealPlaces(client, list(sources) + [destination])
        self._real_sources, self._real_targets = set(), set()  # type: set, set  # of copies on the platform
        self._made = set()  # type: set

    def add(self, source):
        # type: (str) -> None
        """Plan the copying of one operand. Raises CliError, or the SDK's errors, if it can't be."""
        if source == PIPE:
            self._add_pipe()
        elif uri.is_remote(source):
            self._add_remote(source)
        else:
            self._add_local(local_path(source))

    # -- the destination ------------------------------------------------------------------------------------------

    def _destination_kind(self):
        # type: () -> str
        """``directory``, ``file`` or ``missing``; found out once."""
        if self._kind is None:
            if self._to_remote:
                slash = self._destination.endswith("/")
                self._kind = "directory" if slash else self.client.data_type(self._destination) or "missing"
            elif os.path.isdir(self._destination):
                self._kind = "directory"
            else:
                self._kind = "file" if os.path.exists(self._destination) else "missing"
        return self._kind

    def _place(self, name):
        # type: (str) -> str
        """Where something called `name` goes: into the destination if that is a directory, else under its name."""
        if self._destination_kind() == "directory":
            if self._to_remote:
                return uri.join(self._destination, name)
            return os.path.join(self._destination, safe_name(name))
        if self._many:
            raise CliError(self._not_a_directory(), exit_status.USAGE)
        if not self._to_remote and self._destination.endswith(("/", os.sep)):
            raise CliError("algo: %s: there is no such directory" % self._destination, exit_status.NOT_FOUND)
        return self._destination

    def _place_file(self, name):
        # type: (str) -> str
        """As `_place`, for a file. Raises CliError if there is no directory to put it in."""
        place = self._place(name)
        if self._kind != "missing":
            return place
        if self._to_remote:
            connector, path = uri.parse_data_uri(self._destination)
            if connector == uri.HOSTED and path.strip("/").count("/") == 1:  # a collection's place, not a file's
                raise CliError(
                    "algo cp: directory %s not found; create it with: algo mkdir %s"
                    % (self._destination, self._destination),
                    exit_status.NOT_FOUND,
                )
        elif not os.path.isdir(os.path.dirname(os.path.abspath(self._destination))):
            raise CliError(
                "algo cp: %s: there is no directory %s" % (self._destination, os.path.dirname(self._destination)),
                exit_status.NOT_FOUND,
            )
        return place

    def _not_a_directory(self):
        # type: () -> str
        how = "algo mkdir" if self._to_remote else "mkdir"
        missing = " (make it first: %s %s)" % (how, self._destination) if self._kind == "missing" else ""
        return "algo cp: error: for several sources %s must be a directory that exists%s" % (self._destination, missing)

    def _append(self, kind, source, target, size=None):
        other = self._targets.setdefault(target, source)
        if other != source and target != PIPE:
            raise CliError("algo cp: %s and %s would both become %s" % (other, source, target), exit_status.USAGE)
        if kind == COPY:
            self._check_apart(source, target)
        self.jobs.append(Job(kind, source, target, size))

    def _check_apart(self, source, target):
        # type: (str, str) -> None
        """Raise CliError for a file that would be read and written, under whatever names."""
        here, there = self._real.parts(source), self._real.parts(target)
        if here == there:
            raise CliError("algo: %s and %s are the same file" % (source, target), exit_status.USAGE)
        if here in self._real_targets or there in self._real_sources:
            both = target if there in self._real_sources else source
            raise _Overlap("algo: %s is source and destination" % both, exit_status.USAGE)
        self._real_sources.add(here)
        self._real_targets.add(there)

    # -- the sources ----------------------------------------------------------------------------------------------

    def _add_pipe(self):
        # type: () -> None
        if self._many or self._destination_kind() == "directory":
            raise CliError(
                "algo cp: error: standard input has no name; give the destination's full name, such as %s"
                % uri.join(self._destination, "NAME"),
                exit_status.USAGE,
            )
        self._append(UPLOAD, PIPE, self._place_file(PIPE))

    def _add_local(self, source):
        # type: (str) -> None
        if not os.path.exists(source) and "*" in os.path.basename(source):
            self._add_local_pattern(source)
        elif os.path.isdir(source):
            if not self._recursive:
                raise CliError("algo: %s is a directory; algo cp -r copies what it holds" % source)
            target = self._tree_place(os.path.basename(os.path.abspath(source)))
            self._make_remote(target)
            self._check_folders(source, target)
            self._add_local_tree(source, target)
        else:
            size = os.stat(source).st_size  # raises for a missing file, before anything is sent
            if self._chosen(os.path.basename(source)):
                self._append(UPLOAD, source, self._place_file(os.path.basename(source)), size)

    def _add_local_pattern(self, pattern):
        # type: (str) -> None
        import glob

        names = [name for name in sorted(glob.glob(pattern)) if os.path.isfile(name)]
        if not names:
            raise CliError("algo cp: no file matches %s" % pattern, exit_status.NOT_FOUND)
        self._many = True
        for name in names:
            self._add_local(name)

    def _add_local_tree(self, source, target, above=""):
        # type: (str, str, str) -> None
        self._make_remote(target)
        for name in sorted(os.listdir(source)):
            path = os.path.join(source, name)
            try:
                mode = os.stat(path).st_mode
            except OSError as error:  # a link that leads nowhere, or a file that has just gone
                if self._chosen(above + name):
                    failed = failures.report(error, self._env)
                    self.status = self.status or failed
                continue
            if stat.S_ISREG(mode):
                if self._chosen(above + name):
                    self._append(UPLOAD, path, uri.join(target, name), os.path.getsize(path))
            elif stat.S_ISDIR(mode) and not os.path.islink(path):
                self._add_local_tree(path, uri.join(target, name), above + name + "/")
            else:
                why = "a link to a directory, which isn't followed" if stat.S_ISDIR(mode) else "no file or directory"
                self._env.note("algo cp: skipped %s: %s" % (path, why))

    def _add_remote(self, source):
        # type: (str) -> None
        kind = COPY if self._to_remote else DOWNLOAD
        if remote.has_wildcard(source):
            self._many = True
            for item in remote.expand(self.client, source):
                if not self._chosen(item.getName()):
                    continue
                target = PIPE if self._to_pipe else self._place(item.getName())
                self._append(kind, item.uri, target, item.size)
        elif self._recursive and self.client.data_type(source) == "directory":
            if self._to_pipe:
                raise CliError("algo cp: %s is a directory; standard output takes files" % source, exit_status.USAGE)
            target = self._tree_place(uri.base_name(source))
            if self._to_remote and self._real.holds(source, target):
                raise CliError("algo: %s can't be copied into itself, to %s" % (source, target), exit_status.USAGE)
            planned = len(self.jobs)
            try:
                self._add_remote_tree(source, target)
            except _Overlap:
                del self.jobs[planned:]  # which of them would overwrite what others are to read is a matter of luck
                raise
        else:
            name = uri.base_name(source)
            if not name:
                raise CliError("algo cp: %s names no file" % source, exit_status.USAGE)
            connector, path = uri.parse_data_uri(source)
            source = uri.data_uri(connector, path)
            if connector == uri.HOSTED and path.strip("/").count("/") == 1 and not self._recursive:
                raise CliError("algo: %s can only be a directory; algo cp -r copies what it holds" % source)
            if self._chosen(name):
                self._append(kind, source, PIPE if self._to_pipe else self._place_file(name))

    def _add_remote_tree(self, source, target, above=""):
        # type: (str, str, str) -> None
        if self._to_remote:
            self._make_remote(target)
        elif not self._dry_run:
            make_dirs(target)
        for item in self.client.dir(source).list():
            name = item.getName()
            place = uri.join(target, name) if self._to_remote else os.path.join(target, safe_name(name))
            if item.is_dir():
                self._add_remote_tree(item.uri, place, above + name + "/")
            elif self._chosen(above + name):
                self._append(COPY if self._to_remote else DOWNLOAD, item.uri, place, item.size)

    def _tree_place(self, name):
        # type: (str) -> str
        """Where a directory called `name` goes; into a collection goes what it holds."""
        if self._destination_kind() == "file":
            raise CliError("algo cp: %s is a file; a directory can't replace it" % self._destination, exit_status.USAGE)
        if self._to_remote and self._kind == "directory":
            connector, path = uri.parse_data_uri(self._destination)
            if connector == uri.HOSTED and len(path.strip("/").split("/")) == 2:
                return self._destination.rstrip("/")
        return self._place(name).rstrip("/")

    def _make_remote(self, target):
        # type: (str) -> None
        """Make the directory `target`; in hosted data the collection that it is or is in: folders make themselves."""
        directory = remote.collection(target) or target
        if self._dry_run or directory in self._made:
            return
        self._made.add(directory)
        try:
            self.client.dir(directory).create()
        except errors.ConflictError:
            pass  # it exists

    def _check_folders(self, source, target):
        # type: (str, str) -> None
        """Raise CliError, before anything is sent, if `source` holds directories, and the platform has none there."""
        collection = remote.collection(target)
        if collection is None:
            return
        for name in sorted(os.listdir(source)):
            path = os.path.join(source, name)
            if os.path.isdir(path) and not os.path.islink(path):
                if remote.has_no_folders(self.client, collection):
                    raise CliError(
                        "algo cp: %s holds the directory %s, and this platform's collections hold only files; copy "
                        "each directory to a collection of its own" % (source, name),
                        exit_status.USAGE,
                    )
                return


def safe_name(name):
    # type: (str) -> str
    """A name from a listing as one part of a local path. Raises CliError for one that would lead elsewhere."""
    from ..local_files import is_file_name

    if not is_file_name(name):
        raise CliError("algo: the remote name %r can't be a local file name; copy it under another name" % name)
    return name
