"""`algo languages`, `environment`, `template` and `freeze`: what algorithms are made from."""
import json
import os

from .._compat import native
from . import exit_status, output
from .remote import connect


def languages(args, env):
    """The languages command."""
    found = connect(args).get_supported_languages()
    if args.json:
        output.write_json(env, found)
        return exit_status.OK
    # Names and widths are those of earlier versions, for scripts that cut columns.
    env.out("%-25s %-35s" % ("Name", "Description"))
    for language in found:
        env.out("%-25s %-35s" % (language["name"], language.get("display_name", "")))
    return exit_status.OK


def environment(args, env):
    """The environment command."""
    answer = connect(args).get_environment(args.language)
    found = answer if isinstance(answer, list) else answer["environments"]
    if args.json or not env.stdout_isatty:
        # As earlier versions printed it, for scripts.
        env.out(json.dumps(found, indent=1, separators=(",", ": "), ensure_ascii=False))
        return exit_status.OK
    rows = [
        (one["display_name"], one["id"], one["environment_specification_id"], one.get("problem") or "") for one in found
    ]  # fmt: skip
    output.write_table(env, ("NAME", "ID", "ENVSPEC_ID", "NOT USABLE"), rows)
    return exit_status.OK


def template(args, env):
    """The template command."""
    connect(args).get_template(args.environment, native(args.destination))
    return exit_status.OK


def freeze(args, env):
    """The freeze command."""
    manifest = native(args.manifest)
    directory = native(args.output_dir) if args.output_dir else os.path.dirname(manifest) or "."
    env.done("Wrote %s" % connect(args).freeze(manifest, directory))
    return exit_status.OK
