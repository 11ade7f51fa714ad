"""`algo secrets`: what an algorithm finds in its environment and nobody sees again."""
from . import exit_status, output
from .context import CliError, UsageError, decode
from .remote import algorithm, connect


def ls(args, env):
    """`algo secrets ls`."""
    found = _secrets(algorithm(connect(args), args.algorithm))
    if args.json:
        output.write_json(env, found)
        return exit_status.OK
    rows = [(secret["secret_key"], (secret.get("description") or "").strip()) for secret in found]
    output.write_table(env, ("KEY", "DESCRIPTION"), rows)
    return exit_status.OK


def _secrets(found):
    answer = found.get_secrets()
    return answer.get("results") or answer.get("secrets") or []


def _find(found, key):
    for secret in _secrets(found):
        if secret["secret_key"] == key:
            return secret
    return None


def set_(args, env):
    """`algo secrets set`."""
    found = algorithm(connect(args), args.algorithm)
    value = _value(args.key, env)
    old = _find(found, args.key)
    if old is None:
        found.set_secret(args.key, args.key, value, args.description)
    else:
        found.update_secret(old["id"], old["short_name"], value, args.description or old.get("description"))
    env.done("%s secret %s of algo://%s" % ("Replaced" if old else "Stored", args.key, found.path))
    return exit_status.OK


def _value(key, env):
    """The value: what is typed, or all of standard input but the line end after it."""
    if env.stdin_isatty:
        value = env.ask_secret("value of %s: " % key)
    else:
        data = env.stdin.read()
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            raise UsageError("algo secrets: error: the value is not UTF-8 text, which a variable needs")
        value = decode(data)
        value = value[:-1] if value.endswith("\n") else value
        value = value[:-1] if value.endswith("\r") else value
    if not value:
        raise UsageError("algo secrets: error: the value of %s is empty" % key)
    return value


def rm(args, env):
    """`algo secrets rm`."""
    found = algorithm(connect(args), args.algorithm)
    secret = _find(found, args.key)
    if secret is None:
        raise CliError("algo: algo://%s has no secret %s" % (found.path, args.key), exit_status.NOT_FOUND)
    found.delete_secret(secret["id"])
    env.done("Removed secret %s of algo://%s" % (args.key, found.path))
    return exit_status.OK
