"""`algo clone`, and the credential helper through which git asks for the key afterwards.

The key is never an argument, part of a URL, or in a file of the clone: git's configuration there names a command, this
program, that git runs when the platform asks who it is.
"""
import base64
import os

from .. import config, errors, uri
from .._compat import native, to_bytes, to_text, urlsplit
from . import exit_status, processes
from .context import CliError, UsageError, decode
from .remote import algorithm, connect

_LOCAL = ("127.0.0.1", "localhost", "::1")


def clone(args, env):
    """The clone command."""
    if len(args.names) > 1:
        raise UsageError("algo clone: error: give one DIRECTORY, not %d" % len(args.names))
    client = connect(args)
    found = algorithm(client, args.algorithm)
    address = _git_address(client)
    url = clone_url(found)
    env.note("Cloning %s" % url)
    command = ["git", "clone"] + (["--quiet"] if env.quiet else [])
    for name, value in _settings(client, address, found):
        command.extend(("-c", "%s=%s" % (name, value)))
    command.extend(("--", url))
    command.extend(args.names)
    variables = {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "SSH_ASKPASS": ""}  # git has a helper to ask
    if processes.run(command, env, variables=variables) != 0:
        _explain(found, address)
    return exit_status.OK


def clone_url(found):
    """Where git finds the source of `found`, an `Algorithm`, or of one of its versions."""
    return "%s/git/%s.git" % (_git_address(found.client), native(found.path))


def _git_address(client):
    return config.git_address(client.apiAddress, _profile_of(client))


def _profile_of(client):
    """Name of the profile that the client's settings come from; None if they don't come from one."""
    if client.source is config.EMBEDDED:
        return config.LOCAL_PROFILE
    return client.source[len("profile ") :] if client.source.startswith("profile ") else None


def _settings(client, address, found):
    """``(name, value)`` pairs of git's configuration, for this clone and later in it, for this address only."""
    where = address + "/"
    # Nobody else's helper is asked, and so none can keep the key.
    yield "credential.%s.helper" % where, ""
    yield "credential.%s.helper" % where, _helper(_profile_of(client))
    yield "credential.%s.username" % where, _account(client) or native(found.username)
    yield "credential.%s.useHttpPath" % where, "true"
    # Ask before the first request, which starts a platform on this machine that has gone to sleep (git 2.46).
    yield "http.%s.proactiveAuth" % where, "basic"
    if urlsplit(address).hostname in _LOCAL:
        yield "http.%s.proxy" % where, ""  # as for every other request to this machine
    if client.ca_cert and address.startswith("https:"):
        yield "http.%s.sslCAInfo" % where, os.path.abspath(str(native(client.ca_cert)))


def _account(client):
    """Name of the account that the key belongs to; empty if the key may not see even that."""
    try:
        return native(client.username())
    except errors.PermissionDeniedError:
        return ""


def _helper(profile):
    # type: (object) -> str
    """The shell command by which git asks this program, wherever it is and whatever the working directory holds."""
    words = processes.python_command("from Algorithmia.__main__ import main; main()") + ["git-credential"]
    if profile:
        words.extend(("--profile", native(profile)))
    command = " ".join(processes.shell_word(word) for word in words)
    home = os.environ.get("ALGORITHMIA_HOME")
    if home:
        command = "ALGORITHMIA_HOME=%s %s" % (processes.shell_word(os.path.abspath(os.path.expanduser(home))), command)
    return "!" + command


def _explain(found, address):
    """Raise the platform's own reason why git got nothing; git shows little more than its HTTP status."""
    client = found.client
    if address == client.apiAddress and client.apiKey:
        account = _account(client) or native(found.username)
        credentials = base64.b64encode(to_bytes("%s:%s" % (account, native(client.apiKey)))).decode("ascii")
        client.request(
            "GET",
            "/git/%s.git/info/refs" % uri.quote_path(found.path),
            {"service": "git-upload-pack"},
            headers={"Authorization": native("Basic " + credentials)},
            subject="algo://" + found.path,
        )
    else:
        found.info()
    raise CliError("algo clone: git could not clone %s; its message is above" % to_text(found.path))


def git_credential(args, env):
    """The git-credential command: see ``git help credentials``."""
    if args.operation != "get":
        return exit_status.OK
    asked = _question(env.stdin)
    client = connect(args)
    wanted = urlsplit(_git_address(client))
    if (asked.get("protocol"), asked.get("host")) != (wanted.scheme, wanted.netloc):
        return exit_status.OK  # git goes on as if nobody knew
    if not client.apiKey:
        env.error("algo: %s has no API key, which git needs; a bearer token won't do" % client.source)
        return exit_status.AUTH
    env.out("username=%s" % (asked.get("username") or _account(client)))
    env.out("password=%s" % client.apiKey)
    return exit_status.OK


def _question(stream):
    """The attributes that git writes, up to an empty line or the end."""
    asked = {}
    for line in iter(stream.readline, b""):
        name, equals, value = decode(line).rstrip("\r\n").partition("=")
        if not name:
            break
        asked[name] = native(value)
    return asked
