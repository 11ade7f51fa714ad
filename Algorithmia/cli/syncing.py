"""`algo sync`: make a directory hold what another holds, by moving only what differs."""
import calendar
import os
import stat

from .. import errors, uri
from .._compat import make_dirs
from . import exit_status, failures, remote
from .apart import RealPlaces
from .context import CliError, UsageError
from .copying import check_protocol, local_path, safe_name
from .filters import Filter
from .moving import COPY, DOWNLOAD, UPLOAD, Job, Options, move

_BOTH_LOCAL = (
    "algo sync: error: one of the two directories must be remote: data://, s3://, gs://, azureblob://, dropbox://"
)


class Entry(object):
    """A file of one side: where it is (a local path or a data URI), bytes, and seconds since the epoch or None."""

    def __init__(self, place, size, changed):
        self.place = place
        self.size = size
        self.changed = changed


def sync(args, env):
    """The sync command."""
    if len(args.paths) != 2:
        raise UsageError("algo sync: error: give the source directory and the destination directory")
    for path in args.paths:
        check_protocol(path, "sync")
    if not any(uri.is_remote(path) for path in args.paths):
        raise UsageError(_BOTH_LOCAL)
    client, chosen = remote.connect(args), Filter(args.filters)
    source, destination = (_side(client, path, env) for path in args.paths)
    _check_apart(client, source, destination)
    wanted = source.files(chosen)
    if destination.is_remote:
        _check_folders(client, wanted, source, destination)
    missed = [failures.report(error, env) for error in source.missed]
    present = destination.files(chosen) if destination.exists() else {}
    for error in destination.missed:
        env.note("algo sync: skipped %s" % failures.local_reason(error))
    options = Options(args.concurrency, checksum=args.checksum, dry_run=args.dry_run, tells_skipped=False)
    jobs = _jobs(source, destination, wanted, present, args.checksum)
    if not args.dry_run:
        destination.make({name.rpartition("/")[0] for name in wanted})
    status = move(client, jobs, options, env) or (missed + [exit_status.OK])[0]
    surplus = sorted(name for name in present if name not in wanted)
    if args.delete and surplus:
        if status:
            env.note("algo sync: nothing was deleted, because not everything could be copied")
        else:
            status = _delete(destination, present, surplus, args.dry_run, env)
    return status


def _side(client, path, env):
    return RemoteSide(client, path) if uri.is_remote(path) else LocalSide(local_path(path), env)


class LocalSide(object):
    """A directory of this machine.

    missed  why files can't be looked at that `files` has left out: links that lead nowhere, and such as have just gone
    """

    is_remote = False

    def __init__(self, path, env):
        self.path = path
        self.missed = []  # type: list
        self._env = env

    def exists(self):
        # type: () -> bool
        if os.path.lexists(self.path) and not os.path.isdir(self.path):
            raise CliError("algo sync: %s is not a directory" % self.path, exit_status.USAGE)
        return os.path.isdir(self.path)

    def files(self, chosen):
        """`Entry` by path below the directory. Links to directories are not followed. Raises CliError, OSError."""
        if not self.exists():
            raise CliError("algo sync: %s: no such directory" % self.path, exit_status.NOT_FOUND)
        found = {}

        def fail(error):
            raise error  # what can't be listed must not count as empty

        for folder, _, names in os.walk(self.path, onerror=fail):
            for name in names:
                place = os.path.join(folder, name)
                path = os.path.relpath(place, self.path).replace(os.sep, "/")
                if not chosen(path):
                    continue
                try:
                    facts = os.stat(place)
                except OSError as error:
                    self.missed.append(error)
                    continue
                if stat.S_ISREG(facts.st_mode):
                    found[path] = Entry(place, facts.st_size, facts.st_mtime)
                else:
                    self._env.note("algo sync: skipped %s: neither a file nor a directory" % place)
        return found

    def place(self, name):
        # type: (str) -> str
        return os.path.join(self.path, *[safe_name(part) for part in name.split("/")])

    def make(self, folders):
        # type: (set) -> None
        """Make the directory, and `folders` below it."""
        for folder in sorted(folders | {""}):
            make_dirs(self.place(folder) if folder else self.path)

    def delete(self, entry):
        os.unlink(entry.place)


class RemoteSide(object):
    """A collection of hosted data, or a directory of a connector."""

    is_remote = True
    missed = ()

    def __init__(self, client, path):
        connector, inside = uri.parse_data_uri(path)
        self.uri = uri.data_uri(connector, inside.strip("/"))
        self.path = self.uri
        self._collection = remote.collection(path)
        self._client = client
        if self._collection and inside.strip("/").count("/") < 1:
            raise UsageError(
                "algo sync: error: %s is an account; name one of its collections, such as %s"
                % (path, uri.join(self.uri, "NAME"))
            )

    def exists(self):
        # type: () -> bool
        kind = self._client.data_type(self.uri)
        if kind == "file":
            raise CliError("algo sync: %s is a file, not a directory" % self.uri, exit_status.USAGE)
        return kind is not None

    def files(self, chosen):
        """`Entry` by path below the directory. Raises the SDK's errors."""
        found = {}  # type: dict
        self._collect(self.uri, "", chosen, found)
        return found

    def _collect(self, place, above, chosen, found):
        for item in self._client.dir(place).list():
            name = above + item.getName()
            if item.is_dir():
                self._collect(item.uri, name + "/", chosen, found)
            elif chosen(name):
                changed = item.last_modified
                seconds = calendar.timegm(changed.timetuple()) + changed.microsecond / 1e6 if changed else None
                found[name] = Entry(item.uri, item.size, seconds)

    def place(self, name):
        # type: (str) -> str
        return uri.join(self.uri, name)

    def make(self, folders):
        # type: (set) -> None
        """Make the directory, if it is a collection: elsewhere files bring their directories with them."""
        if not self._collection:
            return
        try:
            self._client.dir(self._collection).create()
        except errors.ConflictError:
            pass  # it exists
        except errors.DataApiError:
            if not self.exists():  # .algo and .session make their own
                raise

    def delete(self, entry):
        try:
            self._client.file(entry.place).delete()
        except errors.NotFoundError:
            pass  # somebody else was quicker


def _check_apart(client, source, destination):
    """Raise UsageError for one place, or one inside the other, twice."""
    if not source.is_remote or not destination.is_remote:
        return
    first, second = source.path, destination.path
    real = RealPlaces(client, [first, second])
    if real.holds(first, second) or real.holds(second, first):
        raise UsageError("algo sync: error: %s and %s are not apart" % (source.path, destination.path))


def _check_folders(client, wanted, source, destination):
    nested = sorted(name for name in wanted if "/" in name)
    collection = remote.collection(destination.uri)
    if nested and collection and remote.has_no_folders(client, collection):
        folder = nested[0].partition("/")[0]
        raise CliError(
            "algo sync: %s holds the directory %s, and this platform's collections, such as %s, hold only files; sync "
            "each directory with a collection of its own, or leave it out: --exclude '%s/*'"
            % (source.path, folder, destination.path, folder),
            exit_status.USAGE,
        )


def _jobs(source, destination, wanted, present, checksum):
    kind = DOWNLOAD if not destination.is_remote else COPY if source.is_remote else UPLOAD
    jobs = []
    for name in sorted(wanted):
        here, there = wanted[name], present.get(name)
        if there is None or checksum or _differs(kind, here, there):
            jobs.append(Job(kind, here.place, destination.place(name), here.size, is_new=there is None))
    return jobs


def _differs(kind, here, there):
    """Whether size or time say that `here` isn't what is `there`."""
    if here.size != there.size:
        return True
    if here.changed is None or there.changed is None:
        return False
    if kind == DOWNLOAD:  # which gave the local file the remote one's time, in whole seconds
        return int(here.changed) != int(there.changed)
    return here.changed > there.changed


def _delete(destination, present, surplus, is_dry, env):
    def remove(name):
        # type: (str) -> None
        entry = present[name]
        if is_dry:
            env.done("Would delete %s" % entry.place)
            return
        destination.delete(entry)
        env.done("Deleted %s" % entry.place)

    return failures.each(surplus, remove, env)
