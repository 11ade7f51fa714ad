"""`algo builds` and `algo logs`."""
import json

from . import exit_status, output
from .algorithms import one_at_most
from .context import CliError, UsageError, encode
from .remote import algorithm, connect, named_algorithm

IN_PROGRESS = "in-progress"


def builds(args, env):
    """The builds command."""
    client = connect(args)
    if _is_old_form(args.names):
        page = algorithm(client, "/".join(args.names)).get_builds(args.limit or 56)
        env.out(json.dumps(page["results"], indent=1, separators=(",", ": ")))
        return exit_status.OK
    one_at_most(args.names, "builds")
    found = named_algorithm(client, args.names).get_builds(args.limit or 20)["results"]
    if args.json:
        output.write_json(env, found)
        return exit_status.OK
    rows = [
        (build["build_id"], build["status"], build["commit_sha"][:10], _moment(build.get("started_at")),
         (build.get("version_info") or {}).get("semantic_version") or "")
        for build in found
    ]  # fmt: skip
    output.write_table(env, ("BUILD", "STATUS", "COMMIT", "STARTED", "VERSION"), rows)
    return exit_status.OK


def _is_old_form(names):
    # type: (list) -> bool
    return len(names) == 2 and "/" not in names[0].strip("/") and "/" not in names[1].strip("/")


def _moment(text):
    # type: (str) -> str
    """``2021-07-29 21:12:56`` of the API's ``2021-07-29T21:12:56.442Z``."""
    return (text or "")[:19].replace("T", " ")


def logs(args, env):
    """The logs command."""
    names, build_id = _names_and_build(args.names)
    found = named_algorithm(connect(args), names)
    build = found.get_build(build_id) if build_id else _newest(found)
    if args.follow or build["status"] == IN_PROGRESS:  # whose log can only be read as it grows
        status = follow(found, build["build_id"], output.log_writer(env), env)
        return status if args.follow else exit_status.OK
    output.log_writer(env)(encode(found.get_build_logs(build["build_id"])["logs"]))
    return exit_status.OK


def _newest(found):
    results = found.get_builds(1)["results"]
    if not results:
        raise CliError(
            "algo logs: %s has no build yet: git push or 'algo deploy' makes one" % found.path, exit_status.NOT_FOUND
        )
    return results[0]


def _names_and_build(words):
    """``([OWNER/NAME], BUILD_ID)`` of the words, either of which may be missing."""
    names = [word for word in words if "/" in word]
    ids = [word for word in words if "/" not in word]
    if len(names) > 1 or len(ids) > 1:
        raise UsageError("algo logs: error: give OWNER/NAME and at most one BUILD_ID")
    return names, ids[0] if ids else ""


def follow(found, build_id, write, env):
    """Hand the build's log to `write` as it grows; the exit status says how the build ended."""
    build = found.wait_for_build(build_id, write)
    if build["status"] == "succeeded":
        return exit_status.OK
    env.error("algo: build %s of %s failed" % (build_id, found.path))
    return exit_status.FAILED
