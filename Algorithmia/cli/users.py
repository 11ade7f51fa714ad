"""`algo users`: accounts of a platform, for its administrator."""
import json

from .. import config, errors
from .._compat import native
from ..uri import quote_segment
from . import exit_status, output
from .context import CliError

ADMIN_PROFILE = "local-admin"
# What the key that comes with an account may do: everything that its owner may.
_EVERYTHING = {
    "allow_data": True,
    "allow_data_write": True,
    "allow_algo": True,
    "allow_web_algo": True,
    "allow_algo_management": True,
    "algo_acl": ["algo://*"],
}


def add(args, env):
    """`algo users add`."""
    client = _administrator(args)
    name = args.name
    user = {"username": name, "email": args.email or "%s@localhost" % name, "fullname": args.fullname or name}
    account = client.create_user(user)
    try:
        key = _create_key(client, account["username"])
    except errors.ApiError as error:
        raise CliError(
            "algo users: the account %s was made, but not its key: %s" % (name, error.message),
            exit_status.for_error(error),
        )
    if args.json:
        output.write_json(env, {"user": dict(account), "key": dict(key)})
    else:
        env.note("Made the account %s. Its key is shown only now:" % account["username"])
        env.out(key["api_key"])
        if not args.save_profile:
            env.note("Whoever gets it says: algo auth --api-address %s" % client.apiAddress)
    if args.save_profile:
        profile = config.Profile(
            api_key=native(key["api_key"]),
            api_server=client.apiAddress,
            ca_cert=native(client.ca_cert or ""),
        )
        config.save_profile(native(args.save_profile), profile)
        env.note("Saved as profile %s. Test with 'algo ls --profile %s'" % (args.save_profile, args.save_profile))
    return exit_status.OK


def ls(args, env):
    """`algo users ls`."""
    users = list(_users(_administrator(args)))
    if args.json:
        output.write_json(env, users)
        return exit_status.OK
    rows = [(user["username"], user.get("email") or "", user.get("fullname") or "") for user in users]
    output.write_table(env, ("NAME", "EMAIL", "FULL NAME"), rows)
    return exit_status.OK


def _users(client):
    """The accounts, page after page."""
    query = {"limit": 1000}
    while True:
        response = client.request("GET", "/v1/users", query)
        page = json.loads(response.data.decode("utf-8"))
        for user in page["results"]:
            yield user
        if not page.get("marker"):
            return
        query["marker"] = page["marker"]


def _administrator(args):
    """A client with an administrator's key. Raises CliError if there's no such profile."""
    from ..client import Client

    name = args.profile or ADMIN_PROFILE
    profiles = config.load_profiles()
    if name == ADMIN_PROFILE and name in profiles and config.is_embedded(profiles[name]):
        from .. import local

        local.ensure_running()  # the platform on this machine may have stopped when it was idle
    if not args.profile and name not in profiles:
        raise CliError(
            "algo users: there is no profile %s, which a platform makes on its own machine at its first start "
            "('algo serve', 'algo local start'); name another administrator's profile with --profile" % name,
            exit_status.AUTH,
        )
    return Client(profile=name)


def _create_key(client, name):
    document = {"key_label": "default-key", "key_type": "AlgorithmKey", "permissions": _EVERYTHING}
    response = client.request(
        "POST", "/v1/users/%s/keys" % quote_segment(name), body=json.dumps(document), content_type="application/json"
    )
    return json.loads(response.data.decode("utf-8"))
