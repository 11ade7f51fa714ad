"""`algo connectors`: storage elsewhere as data URIs. Credentials are typed, piped or in the environment."""
import json
import os

from . import exit_status, output
from .context import UsageError, decode
from .remote import connect

# Per protocol: what is asked for, and the variables that --from-env reads. A question mark: may be left out.
_MEMBERS = {
    "s3": (
        ("access_key_id", "AWS_ACCESS_KEY_ID"),
        ("secret_access_key", "AWS_SECRET_ACCESS_KEY"),
        ("session_token?", "AWS_SESSION_TOKEN"),
        ("region?", "AWS_DEFAULT_REGION"),
    ),
    "gs": (
        ("email", "GOOGLE_CLIENT_EMAIL"),
        ("private_key_id", "GOOGLE_PRIVATE_KEY_ID"),
        ("private_key", "GOOGLE_PRIVATE_KEY"),
        ("project_id?", "GOOGLE_CLOUD_PROJECT"),
    ),
    "azureblob": (
        ("storage_uri", "AZURE_STORAGE_URI"),
        ("container_name", "AZURE_STORAGE_CONTAINER"),
        ("sas_token", "AZURE_STORAGE_SAS_TOKEN"),
    ),
    "dropbox": (
        ("access_token", "DROPBOX_ACCESS_TOKEN"),
        ("refresh_token?", "DROPBOX_REFRESH_TOKEN"),
        ("app_key?", "DROPBOX_APP_KEY"),
        ("app_secret?", "DROPBOX_APP_SECRET"),
    ),
}


def ls(args, env):
    """`algo connectors ls`."""
    found = connect(args).connectors()
    if args.json:
        output.write_json(env, found)
        return exit_status.OK
    rows = [
        (
            item["connector_id"],
            "read, write" if item["writeable"] else "read",
            item["path"],
            "yes" if item["is_default"] else "",
            item.get("endpoint") or "",
        )
        for item in found
    ]
    output.write_table(env, ("CONNECTOR", "ACCESS", "PATH", "DEFAULT", "ENDPOINT"), rows)
    return exit_status.OK


def add(args, env):
    """`algo connectors add`."""
    protocol = args.protocol.lower()
    if protocol not in _MEMBERS:
        raise _wrong("%s is not one of %s" % (args.protocol, ", ".join(sorted(_MEMBERS))))
    client = connect(args)
    given = _credentials(protocol, args.from_env, env)
    made = client.create_connector(
        protocol, args.label, given, args.path or "*", args.writeable, args.default, args.endpoint
    )
    env.done("Made connector %s (%s, %s)" % (
        made["connector_id"], "read and write" if made["writeable"] else "read only", made["path"]
    ))
    return exit_status.OK


def test(args, env):
    """`algo connectors test`."""
    connect(args).test_connector(args.connector)
    env.done("Connector %s works" % args.connector)
    return exit_status.OK


def rm(args, env):
    """`algo connectors rm`."""
    connect(args).delete_connector(args.connector)
    env.done("Removed connector %s" % args.connector)
    return exit_status.OK


def _credentials(protocol, from_env, env):
    if from_env:
        return _from_environment(protocol)
    if env.stdin_isatty:
        required = [name for name, _ in _MEMBERS[protocol] if not name.endswith("?")]
        return {name: env.ask_secret("%s: " % name) for name in required}
    try:
        given = json.loads(decode(env.stdin.read()))
    except ValueError:  # its text would quote what it read
        given = None
    names = [name.rstrip("?") for name, _ in _MEMBERS[protocol]]
    if not isinstance(given, dict):
        raise _wrong("standard input is not a JSON object with %s" % ", ".join(names))
    if protocol == "gs" and "client_email" in given:  # the file that Google gives out, which has more in it
        given["email"] = given["client_email"]
        given = {name: given[name] for name in names if name in given}
    return given


def _from_environment(protocol):
    found = {}
    for member, variable in _MEMBERS[protocol]:
        value = os.environ.get(variable)
        if value:
            found[member.rstrip("?")] = value
        elif not member.endswith("?"):
            raise _wrong("the environment variable %s is not set" % variable)
    return found


def _wrong(text):
    return UsageError("algo connectors: error: " + text)
