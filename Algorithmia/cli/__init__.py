"""The `algo` command.

Three rings: `main` wires streams to a status, `_guarded` turns every error into a message and an exit status, and the
commands, one module per family, do the work and simply raise. They are found through the table in `commands`, and each
is imported only when it is called.
"""
import sys

from . import exit_status
from .context import CliError, Environment, OutputGone, UsageError
from .parser import ParserExit, parse


def main(argv=None, env=None):
    """Run one command line and return its exit status.

    argv  the words after ``algo``; default: those of this process
    env   streams and variables; default: those of this process
    """
    env = env or Environment()
    try:
        status = _guarded(_words(sys.argv[1:] if argv is None else argv), env)
        env.flush()
        return status
    except OutputGone:
        env.abandon_stdout()  # whoever read the output has seen enough
        return exit_status.OK
    except CliError as error:  # the last of the output could not be written
        env.abandon_stdout()
        env.complain(error.message)
        return error.status


def _guarded(argv, env):
    # type: (list, Environment) -> int
    debug = "--debug-errors" in argv or bool(env.environ.get("ALGORITHMIA_DEBUG_ERRORS"))
    try:
        return _dispatch(argv, env) or exit_status.OK
    except OutputGone:
        raise
    except ParserExit:
        return exit_status.OK
    except KeyboardInterrupt as error:
        return _report(error, env, debug)
    except Exception as error:
        return _report(error, env, debug)


def _dispatch(argv, env):
    # type: (list, Environment) -> int
    args = parse(argv, env)
    env.quiet = args.quiet
    module_name, _, function_name = args.spec.handler.partition(":")
    module = __import__(__name__ + "." + module_name, fromlist=[function_name])
    try:
        return getattr(module, function_name)(args, env)
    except UsageError as error:
        if not error.usage:
            error.usage = "usage: " + args.spec.usage if args.spec.usage else ""
        raise


def _report(error, env, debug):
    # type: (BaseException, Environment, bool) -> int
    from .failures import report

    return report(error, env, debug)


def _words(argv):
    # type: (list) -> list
    """Arguments as text; on 2.7 they come as bytes, and those that are not UTF-8 stay so."""
    words = []
    for word in argv:
        if isinstance(word, bytes):
            try:
                word = word.decode("utf-8")
            except UnicodeDecodeError:
                pass
        words.append(word)
    return words
