"""`algo du`, `stat`, `chmod` and `mv`: how much is where, what it is, who may read it, and where else it should be."""
from collections import OrderedDict

from .. import digests, errors, uri
from . import exit_status, failures, output
from .context import CliError, UsageError
from .copying import Plan, check_protocol
from .data import timestamp
from .filters import Filter
from .moving import COPY, PIPE, Options, move
from .remote import connect, expand, full_uri


def du(args, env):
    """The du command."""
    client = connect(args)
    rows = []  # type: list

    def add(path):
        # type: (str) -> None
        rows.extend(_usage(client, full_uri(path)))

    status = failures.each(args.paths or [".my"], add, env)
    if args.json:
        output.write_json(env, rows)
        return status
    sizes = [output.human_size(row["size"]) if args.human_readable else "%d" % row["size"] for row in rows]
    widths = [max([1] + [len(text) for text in texts]) for texts in (sizes, ["%d" % row["files"] for row in rows])]
    for row, size in zip(rows, sizes):  # noqa: B905
        place = output.safe_for_terminal(env, row["uri"])
        env.out("%s %s  %s" % (size.rjust(widths[0]), ("%d" % row["files"]).rjust(widths[1]), place))
    return status


def _usage(client, target):
    """Size and number of files of every directory below `target`, then of itself with all of them."""
    connector, inside = uri.parse_data_uri(target)
    shallow = connector == uri.HOSTED and inside.rstrip("/").count("/") < 1
    if not shallow and client.data_type(target) == "file":
        return [_row(target, client.file(target).stat().size or 0, 1)]
    rows, size, files = [], 0, 0
    for item in client.dir(target).list():
        if item.is_file():
            size, files = size + (item.size or 0), files + 1
            continue
        below = _usage(client, item.uri)
        rows.extend(below)
        size, files = size + below[-1]["size"], files + below[-1]["files"]
    return rows + [_row(target, size, files)]


def _row(place, size, files):
    return OrderedDict([("uri", place), ("size", size), ("files", files)])


def stat(args, env):
    """The stat command."""
    client = connect(args)
    rows = []  # type: list

    def add(path):
        # type: (str) -> None
        for item in expand(client, full_uri(path)):
            row = _facts(client, item.uri)
            rows.append(row)
            if not args.json:
                if len(rows) > 1:
                    env.out("")
                output.write_pairs(env, row.items())

    status = failures.each(args.paths, add, env)
    if args.json:
        output.write_json(env, rows)
    return status


def _facts(client, place):
    kind = client.data_type(place)
    if kind is None:
        raise errors.NotFoundError("path not found: %s" % place)
    row = OrderedDict([("uri", place), ("type", kind)])
    if kind == "file":
        facts = client.file(place).stat()
        row["size"], row["content_type"] = facts.size, facts.content_type
        row["last_modified"] = timestamp(facts.last_modified) if facts.last_modified else None
        row["etag"] = (facts.etag or "").strip('"') or None
        row["digest"] = digests.labelled(facts.digest) if facts.digest else None
        return row
    permissions = client.dir(place).get_permissions()
    if permissions is not None:
        row["readable_by"] = permissions.read_acl.pseudonym.replace("_", "-")
    return row


def chmod(args, env):
    """The chmod command."""
    from ..acl import ReadAcl

    client = connect(args)
    wanted = getattr(ReadAcl, args.permission.replace("-", "_"))

    def change(path):
        # type: (str) -> None
        directory = client.dir(full_uri(path))
        directory.update_permissions(wanted)
        env.done("Changed %s: %s" % (directory.uri, args.permission))

    return failures.each(args.paths, change, env)


def mv(args, env):
    """The mv command."""
    if len(args.paths) < 2:
        raise UsageError("algo mv: error: give one or more sources and then the destination")
    if PIPE in args.paths:
        raise UsageError("algo mv: error: standard input and output can't be moved; use algo cp")
    for path in args.paths:
        check_protocol(path, "mv")
    if not uri.is_remote(args.paths[-1]) and not all(map(uri.is_remote, args.paths[:-1])):
        raise UsageError("algo mv: error: sources or destination must be remote, such as data://.my/collection/file")
    client = connect(args)
    plan = Plan(client, args.paths[:-1], args.paths[-1], False, env, Filter(), args.dry_run)
    status = failures.each(args.paths[:-1], plan.add, env)
    for job in plan.jobs:
        if job.kind == COPY:
            _check_apart(client, job)
    options = Options(args.concurrency, args.no_clobber, dry_run=args.dry_run, removes_source=True)
    return move(client, plan.jobs, options, env) or status


def _check_apart(client, job):
    """Raise CliError if source and target of `job` may be one file under two names, which deleting one would lose."""
    (source, path), (target, other) = uri.parse_data_uri(job.source), uri.parse_data_uri(job.target)
    if source.split("+")[0] != target.split("+")[0]:
        return
    # (Of hosted data the plan knows. Two labels of connectors may be of one account.)
    if source != uri.HOSTED and path == other and (source == target or client.data_type(job.target) is not None):
        raise CliError("algo mv: %s and %s are, or may be, the same file" % (job.source, job.target), exit_status.USAGE)
