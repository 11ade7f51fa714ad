"""`algo ls`, `mkdir`, `rmdir`, `rm` and `cat`: hosted data and connectors, one line or one stream at a time."""
from .. import errors, uri
from . import exit_status, failures, output
from .context import CliError, UsageError
from .remote import collection, connect, expand, full_uri, has_wildcard, open_entries

_BATCH = 1000


def ls(args, env):
    """The ls command."""
    client = connect(args)
    paths = args.paths or [""]
    if args.json:
        return _ls_json(client, paths, env)
    several = len(paths) > 1

    def show(path):
        # type: (str) -> None
        kind, entries = _entries(client, path)
        if several and kind == "directory":
            env.out("%s:" % full_uri(path))
        _print_entries(entries, args, env)

    return failures.each(paths, show, env)


def _entries(client, path):
    """What `path` is, and the entries that `ls` shows for it. Raises ListingError."""
    try:
        return open_entries(client, path)
    except (errors.AuthenticationError, errors.UnreachableError, errors.ConfigError):
        raise
    except errors.ApiError as error:
        raise CliError(
            "Error listing directory: %s%s" % (error.message, failures.quote_id(error)), exit_status.for_error(error)
        )


def _ls_json(client, paths, env):
    rows = []  # type: list

    def collect(path):
        # type: (str) -> None
        rows.extend(_row(item) for item in _entries(client, path)[1])

    status = failures.each(paths, collect, env)
    output.write_json(env, rows)
    return status


def _row(item):
    from collections import OrderedDict

    row = OrderedDict(
        [("name", item.getName()), ("type", "file" if item.is_file() else "directory"), ("uri", item.uri)]
    )
    if item.is_file():
        row["size"] = item.size
        changed = item.last_modified
        row["last_modified"] = timestamp(changed) if changed else None
    return row


def timestamp(moment):
    """As the API writes it: ``2016-01-06T00:52:34.000Z``."""
    return "%s.%03dZ" % (moment.strftime("%Y-%m-%dT%H:%M:%S"), moment.microsecond // 1000)


def _print_entries(entries, args, env):
    """Print as entries arrive, in batches within which columns line up."""
    batch = []
    for item in entries:
        batch.append(item)
        if len(batch) == _BATCH:
            _print_batch(batch, args, env)
            batch = []
    _print_batch(batch, args, env)


def _print_batch(batch, args, env):
    names = [output.safe_for_terminal(env, item.getName()) + ("/" if item.is_dir() else "") for item in batch]
    if args.long:
        facts = [_facts(item, args.human_readable) for item in batch]
        width = max([5] + [len(size) for _, size in facts])
        for position, (changed, size) in enumerate(facts):
            env.out("%-19s %s %s" % (changed, size.rjust(width), names[position]))
    elif env.stdout_isatty:
        output.write_columns(env, [(name, name.endswith("/")) for name in names])
    else:
        for name in names:
            env.out(name)


def _facts(item, human):
    if item.is_dir():
        return "--         --", "[dir]"
    changed = item.last_modified.strftime("%Y-%m-%d %H:%M:%S") if item.last_modified else "-"
    size = item.size
    if size is None:
        return changed, "-"
    return changed, output.human_size(size) if human else "%d" % size


def mkdir(args, env):
    """The mkdir command."""
    client = connect(args)

    def make(path):
        # type: (str) -> None
        target = _no_root(full_uri(path), "mkdir")
        if args.parents:  # folders of a collection make themselves, with their first file
            target = collection(target) or target
        directory = client.dir(target)
        try:
            directory.create()
        except errors.ConflictError:
            if args.parents:
                return
            raise
        env.done("Created directory: %s" % directory.uri)

    return failures.each(args.paths, make, env)


def rmdir(args, env):
    """The rmdir command."""
    client = connect(args)

    def remove(path):
        # type: (str) -> None
        directory = client.dir(_no_root(full_uri(path), "rmdir"))
        try:
            directory.delete(force=args.force)
        except errors.ConflictError:
            raise CliError("algo: directory %s is not empty; -f removes it together with its files" % directory.uri)
        env.done("Deleted directory: %s" % directory.uri)

    return failures.each(args.paths, remove, env)


def rm(args, env):
    """The rm command."""
    client = connect(args)

    def remove(path):
        # type: (str) -> None
        if not args.recursive:
            _no_directory(full_uri(path))
        for item in list(_matching(client, path, args)):
            try:
                item.delete(**({"force": True} if item.is_dir() else {}))
            except errors.NotFoundError:
                if args.force:
                    continue
                raise
            except errors.ConflictError:
                if item.is_dir() or client.data_type(item.uri) != "directory":
                    raise
                raise CliError("algo rm: %s is a directory; remove it with: algo rm -r %s" % (item.uri, item.uri))
            env.done("Deleted %s %s" % ("directory:" if item.is_dir() else "file", item.uri))

    return failures.each(args.paths, remove, env)


def _matching(client, path, args):
    target = _no_root(full_uri(path), "rm")
    if args.recursive and not has_wildcard(target) and client.data_type(target) == "directory":
        yield client.dir(target)
        return
    try:
        for item in expand(client, target, with_directories=args.recursive):
            yield item
    except errors.NotFoundError:
        if not args.force:
            raise


def cat(args, env):
    """The cat command."""
    from ..transfer import download_to

    client = connect(args)

    def show(path):
        # type: (str) -> None
        for item in expand(client, _no_root(full_uri(path), "cat")):
            download_to(client, item.uri, env.stdout)

    return failures.each(args.paths, show, env)


def _no_directory(target):
    # type: (str) -> None
    """Raises CliError for a collection of hosted data, which the API would remove if it is empty."""
    connector, inside = uri.parse_data_uri(target)
    if connector == uri.HOSTED and "*" not in inside and inside.strip("/").count("/") == 1:
        raise CliError("algo rm: %s can only be a directory; remove it with: algo rm -r %s" % (target, target))


def _no_root(target, command):
    # type: (str, str) -> str
    """`target`, unless it names no object at all. Raises UsageError."""
    if not uri.base_name(target):
        raise UsageError("algo %s: error: %s names no file or directory" % (command, target))
    return target
