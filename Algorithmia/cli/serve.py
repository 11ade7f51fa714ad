"""`algo serve` and `algo local`: the platform on this machine, in the foreground and in the background."""
import importlib
import os
import sys
import time

from . import exit_status
from .context import CliError

_INSTALL = (
    "algo %s: the platform is not installed. It needs Python 3.10 or newer. Install it with: "
    'pip install "algorithmia[server]"'
)
# Options of this program that the platform's own parser doesn't have.
_OWN = ("-q", "--quiet")
_FLAGS = ("host", "port", "home", "user", "tls_cert", "tls_key")


def serve(args, env):
    """The serve command."""
    words = []
    for name in _FLAGS:
        value = getattr(args, name)
        if value is not None:
            words.append("--%s=%s" % (name.replace("_", "-"), value))
    words.extend(word for word in args.passed_on if word not in _OWN)
    return _run_here("serve", "main", words, env)


def local_fsck(args, env):
    """`algo local fsck`."""
    words = ["fsck"] + ["--" + name for name in ("checksum", "repair") if getattr(args, name)]
    return _run_here("local fsck", "maintenance", words + _of_stopped(args, env), env)


def local_migrate_storage(args, env):
    """`algo local migrate-storage`."""
    return _run_here("local migrate-storage", "maintenance", ["migrate-storage", args.to] + _of_stopped(args, env), env)


def _of_stopped(args, env):
    words = ["--%s=%s" % (name, getattr(args, name)) for name in ("home", "database") if getattr(args, name)]
    return words + ["--json"] * bool(args.json) + ["--quiet"] * bool(env.quiet)


def _run_here(command, module, words, env):
    """Run `main` of a module of the platform's with `words`: this is the only place that imports any."""
    if sys.version_info < (3, 10):
        raise CliError(_INSTALL % command)
    try:
        main = importlib.import_module("Algorithmia.server." + module).main
    except ImportError as error:
        raise CliError("%s [%s]" % (_INSTALL % command, error))
    env.flush()
    try:
        return main(words)
    except SystemExit as ending:  # its argparse: usage errors are 2 there, too
        return int(ending.code or 0)


def local_start(args, env):
    """`algo local start`."""
    from .. import local

    env.out(local.ensure_running().address)
    return exit_status.OK


def local_status(args, env):
    """`algo local status`."""
    from .. import local

    return _print_status(local.status(), args, env)


def _print_status(found, args, env):
    from .. import local
    from . import platform_status
    from .output import write_json, write_pairs

    known = platform_status.measures(found) if found else None
    if args.json:
        write_json(env, dict(found, running=True, metrics=known) if found else {"running": False})
    elif found is None:
        env.out("not running")
    else:
        env.out(
            "running at %s (pid %d, version %s%s)"
            % (found["address"], found["pid"], found["version"], _since(found.get("started_at")))
        )
        write_pairs(env, platform_status.lines(found, known))
        sandbox = found.get("health", {}).get("sandbox", "none")
        if sandbox == "none":
            env.note("algorithms run WITHOUT A SANDBOX, as the platform's own user: see SECURITY.md")
        else:
            env.note("algorithms run in a sandbox (%s)" % sandbox)
            if found["health"].get("network") == "shared":
                env.note("they REACH THIS MACHINE'S OWN SERVICES if they may use the network: install slirp4netns")
        if found.get("health", {}).get("memory") == "watchdog":
            env.note("their memory is looked at twice a second: there is no control group to limit it")
        env.note("data in %s, log in %s" % (local.state_directory(), local.log_path()))
    return exit_status.OK


def _since(started_at):
    try:
        return ", since %s" % time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started_at))
    except (TypeError, ValueError):
        return ""


def local_stop(args, env):
    """`algo local stop`."""
    from .. import local

    env.done("stopped" if local.stop() else "not running")
    return exit_status.OK


def local_logs(args, env):
    """`algo local logs`."""
    from .. import local

    path = local.log_path()
    if not os.path.exists(path):
        raise CliError("algo: there is no log yet at %s: no platform has run in the background" % path, 4)
    with open(path, "rb") as log:
        env.out_bytes(b"".join(_last_lines(log, args.lines)))
        env.flush()
        while args.follow:
            data = log.read()
            if data:
                env.out_bytes(data)
                env.flush()
            else:
                time.sleep(0.2)
                log = _reopened(log, path)
    return exit_status.OK


def _last_lines(log, count):
    from collections import deque

    return deque(log, maxlen=count)


def _reopened(log, path):
    """The file at `path` if the log was rotated, else `log`."""
    try:
        if os.stat(path).st_ino == os.fstat(log.fileno()).st_ino:
            return log
        return open(path, "rb")
    except OSError:
        return log
