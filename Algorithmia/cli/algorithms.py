"""`algo create`, `publish`, `versions`, `info`, `algorithms`, `delete` and `errors`: one algorithm's record."""
import re

from .._compat import to_text
from . import exit_status, output, processes
from .context import CliError, UsageError, encode
from .remote import algorithm, connect, named_algorithm
from .source import clone_url

_UUID = re.compile(r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
DEFAULT_LANGUAGE = "python3"


def create(args, env):
    """The create command."""
    found = algorithm(connect(args), args.algorithm)
    if found.version:
        raise UsageError("algo create: error: a new algorithm has no version yet: write OWNER/NAME")
    details = {"label": args.label or found.algoname}
    for name in ("tagline", "summary"):
        if getattr(args, name):
            details[name] = getattr(args, name)
    answer = found.create(details, _settings(args))
    if args.json:
        output.write_json(env, answer)
        return exit_status.OK
    env.done("Created algo://%s" % found.path)
    env.note("Its source is at %s" % clone_url(found))
    env.note("Next: algo clone %s && cd %s" % (found.path, found.algoname))
    return exit_status.OK


def _settings(args):
    """The new algorithm's settings, as the API has them."""
    if args.environment and args.language:
        raise UsageError("algo create: error: --environment includes the language; give one of the two")
    settings = new_settings(args.language or DEFAULT_LANGUAGE, args.gpu)
    if args.environment:
        del settings["language"], settings["environment"]
        settings["algorithm_environment" if _UUID.match(args.environment) else "package_set"] = args.environment
    if args.no_pipeline:
        settings["pipeline_enabled"] = False
    for name, value in (("source_visibility", args.source_visibility), ("license", args.license),
                        ("network_access", args.network)):
        if value:
            settings[name] = value
    return settings


def new_settings(language, gpu=False):
    """Settings of a new algorithm in `language` where nothing else is asked for."""
    return {
        "language": language,
        "environment": "gpu" if gpu else "cpu",
        "source_visibility": "closed",
        "license": "apl",
        "network_access": "full",
        "pipeline_enabled": True,
    }


def publish(args, env):
    """The publish command."""
    found = named_algorithm(connect(args), one_at_most(args.names, "publish"))
    version = {"version_type": args.part or "minor"}
    if args.commit:
        version["git_hash"] = args.commit
    if args.rebuild:
        version["git_hash"] = _rebuilt(found, args.commit, env)
    answer = publish_build(found, version, args)
    show_version(found, answer, args, env)
    return exit_status.OK


def _rebuilt(found, commit, env):
    """Commit of a build that no version has yet: made now if there is none. Raises CliError if it fails."""
    env.note("Building %s" % found.path)
    built = found.compile(commit=commit)
    if not built["compilation"]["successful"]:
        output.log_writer(env, to_stderr=True)(encode(built["compilation"].get("output") or ""))
        raise CliError("algo publish: the build failed; nothing was published", exit_status.FAILED)
    return built["version_info"]["git_hash"]


def publish_build(found, version, args):
    """Publish `version`, a ``version_info``, with what the options add; returns the platform's answer."""
    for name in ("sample_input", "release_notes"):
        if getattr(args, name) is not None:
            version[name] = getattr(args, name)
    settings = {"algorithm_callability": args.callability} if args.callability else {}
    return found.publish(settings=settings, version_info=version)


def show_version(found, answer, args, env):
    """Print the version that was published, or the whole answer."""
    number = answer["version_info"]["semantic_version"]
    if args.json:
        output.write_json(env, answer)
        return
    path = "%s/%s/%s" % (found.username, found.algoname, number)
    env.done("Published algo://%s" % path)
    env.note("Next: %s" % run_line(path, answer["version_info"].get("sample_input")))


def run_line(path, sample):
    """A command that calls the algorithm at `path` with `sample`, JSON text."""
    return "algo run %s -d %s" % (path, processes.shell_word(sample) if sample else "INPUT")


def one_at_most(names, command):
    """`names`. Raises UsageError if they are several."""
    if len(names) > 1:
        raise UsageError("algo %s: error: give one OWNER/NAME, not %d words" % (command, len(names)))
    return names


def versions(args, env):
    """The versions command."""
    found = named_algorithm(connect(args), one_at_most(args.names, "versions"))
    results = found.versions(args.limit, published=True)["results"]
    if args.json:
        output.write_json(env, results)
        return exit_status.OK
    rows = []
    for version in results:
        found_info = version["version_info"]
        number, commit = found_info.get("semantic_version") or "", found_info.get("git_hash") or ""
        callability = version.get("settings", {}).get("algorithm_callability") or ""
        rows.append((number, callability, commit[:10], _first_line(found_info.get("release_notes"))))
    output.write_table(env, ("VERSION", "CALLABLE", "COMMIT", "NOTES"), rows)
    return exit_status.OK


def _first_line(text):
    return ((text or "").strip().splitlines() or [""])[0]


def info(args, env):
    """The info command."""
    found = named_algorithm(connect(args), one_at_most(args.names, "info"))
    answer = found.info()
    if args.json:
        output.write_json(env, answer)
        return exit_status.OK
    details, settings = answer.get("details") or {}, answer.get("settings") or {}
    version, build = answer.get("version_info") or {}, answer.get("build") or {}
    pairs = [("algorithm", "%s/%s" % (found.username, found.algoname)), ("id", answer.get("id"))]
    pairs.extend((name, details.get(name)) for name in ("label", "tagline"))
    pairs.extend((name.replace("_", " "), _word(settings[name])) for name in sorted(settings))
    pairs.append(("version", version.get("semantic_version")))
    pairs.append(("commit", version.get("git_hash")))
    if build:
        pairs.append(("build", "%s, %s" % (build.get("build_id"), build.get("status"))))
    output.write_pairs(env, pairs)
    return exit_status.OK


def _word(value):
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def algorithms(args, env):
    """The algorithms command."""
    client = connect(args)
    owner = args.owner if args.owner not in (None, "me", ".my") else client.username()
    found = client.algorithms(owner)
    if args.json:
        output.write_json(env, found)
    else:
        for item in found:
            env.out("%s/%s" % (item["username"], item["algoname"]))
    return exit_status.OK


def delete(args, env):
    """The delete command."""
    found = algorithm(connect(args), args.algorithm)
    if found.version:
        raise UsageError("algo delete: error: versions can't be deleted one by one: write OWNER/NAME")
    if not args.yes:
        if not env.stdin_isatty:
            raise UsageError("algo delete: error: nobody is there to be asked; add --yes to delete %s" % found.path)
        env.note("This deletes the source, all builds and all versions of %s." % found.path)
        if env.ask("type its name to go on: ") not in (to_text(found.algoname), to_text(found.path)):
            raise CliError("algo delete: that isn't its name; nothing was deleted")
    found.delete()
    env.done("Deleted algo://%s" % found.path)
    return exit_status.OK


def errors(args, env):
    """The errors command."""
    import datetime

    found = named_algorithm(connect(args), one_at_most(args.names, "errors"))
    results = found.errors()
    if args.json:
        output.write_json(env, results)
        return exit_status.OK
    rows = []
    for item in results:
        moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=item.get("created_at") or 0)
        rows.append((
            moment.strftime("%Y-%m-%d %H:%M:%S"), item.get("algoversion") or "", item.get("username") or "",
            item.get("error_type") or "", _first_line(item.get("error")),
        ))  # fmt: skip
    if not rows:
        env.note("No call of %s has failed in the last seven days" % found.path)
        return exit_status.OK
    output.write_table(env, ("WHEN (UTC)", "VERSION", "CALLER", "TYPE", "MESSAGE"), rows)
    return exit_status.OK
