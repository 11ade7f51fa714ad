"""argparse over the table in `commands`, with `--profile` anywhere and words in any order.

Building it imports argparse and nothing else, since `algo --help` waits for it.
"""
import argparse

from .. import _version
from . import commands
from .context import UsageError, terminal_width


class ParserExit(Exception):
    """Raised where argparse would end the process with status 0, after printing help."""


class Parser(argparse.ArgumentParser):
    """A parser that writes to an `Environment` and raises instead of ending the process."""

    env = None

    def _print_message(self, message, file=None):
        if message:
            self.env.out(message.rstrip("\n"))  # type: ignore[attr-defined]

    def exit(self, status=0, message=None):
        self._print_message(message)
        raise ParserExit()

    def error(self, message):
        raise UsageError("%s: error: %s" % (self.prog, message), self.format_usage().rstrip("\n"))


class _Formatter(argparse.HelpFormatter):
    """Fills paragraphs, and leaves text that has lines of its own as it is."""

    def _fill_text(self, text, width, indent):
        if "\n" not in text:
            return argparse.HelpFormatter._fill_text(self, text, width, indent)
        return "".join(indent + line for line in text.splitlines(True))


class _Version(argparse.Action):
    """``--version`` on standard output, which argparse of 2.7 writes to standard error."""

    def __call__(self, parser, namespace, values, option_string=None):
        parser.env.out("algo %s" % _version.__version__)
        raise ParserExit()


def build(env):
    """The parser, and the parsers of all commands by their names (``("local", "stop")``)."""
    width = terminal_width(env.environ) - 2

    def formatter(prog):
        # type: (str) -> argparse.HelpFormatter
        # argparse would import shutil, and with it all compression modules, to find the width.
        return _Formatter(prog, width=min(width, 118), max_help_position=30)

    class Here(Parser):
        """`Parser`, bound to this environment."""

    Here.env = env
    common = Here(add_help=False, formatter_class=formatter)
    for item in commands.GLOBAL_OPTIONS:
        common.add_argument(*item.flags, **dict(item.options, default=argparse.SUPPRESS))
    root = Here(
        prog="algo",
        description="Call algorithms, and keep their data, on any platform that speaks the Algorithmia API.",
        epilog=_epilog(),
        parents=[common],
        formatter_class=formatter
    )
    root.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    index = {}  # type: dict
    _add(root, commands.ALL, (), common, formatter, index)
    return root, index


def _add(parent, table, names, common, formatter, index):
    choices = parent.add_subparsers(
        dest="action" if names else "command",
        metavar="ACTION" if names else "COMMAND",
        title="commands" if not names else "actions",
        parser_class=type(parent),
    )
    choices.required = bool(names)
    for command in table:
        description = command.description or command.help[:1].upper() + command.help[1:] + "."
        listed = {"help": command.help + (" (also: %s)" % ", ".join(command.aliases) if command.aliases else "")}
        parser = choices.add_parser(
            command.name,
            prog=" ".join(("algo",) + names + (command.name,)),
            description=description,
            usage=command.usage,
            epilog="examples:\n" + "\n".join("  " + line for line in command.examples) if command.examples else None,
            parents=[common],
            formatter_class=formatter,
            **({} if command.is_hidden else listed)
        )
        index[names + (command.name,)] = parser
        if command.actions:
            _add(parser, command.actions, names + (command.name,), common, formatter, index)
        for item in command.arguments:
            parser.add_argument(*item.flags, **item.options)
        parser.set_defaults(spec=command)


def _epilog():
    # type: () -> str
    from . import exit_status

    lines = ["  %-4d %s" % pair for pair in exit_status.MEANINGS]
    return (
        "'algo help COMMAND' explains a command; 'algo completion bash' prints completions for a shell.\n\n"
        "exit status:\n" + "\n".join(lines)
    )


def parse(argv, env):
    """The parsed command line. Raises UsageError, or ParserExit after printing help or the version."""
    words, profile, debug_errors = _hoist(list(argv))
    parser, index = build(env)
    _complete(parser, env)
    args, extras = parser.parse_known_args(words)
    args.passed_on = []
    if extras:
        _take_extras(args, args.spec, extras, index)
    args.profile = profile or getattr(args, "profile", None)
    args.debug_errors = debug_errors or getattr(args, "debug_errors", False)
    args.quiet = getattr(args, "quiet", False)
    return args


def _take_extras(args, command, extras, index):
    # type: (argparse.Namespace, commands.Command, list, dict) -> None
    """Words that argparse gave up on: paths that stood behind an option, or somebody else's options."""
    strange = [word for word in extras if word.startswith("-") and word not in ("-", "--")]
    if command.passes_on:
        args.passed_on = extras
    elif command.variadic and not strange:
        words = [word for word in extras if word != "--"]
        setattr(args, command.variadic, getattr(args, command.variadic) + words)
    else:
        names = (args.command, args.action) if getattr(args, "action", None) else (args.command,)
        hint = "" if strange or args.command != "run" else "; give the input with -d"
        index[names].error("unrecognized arguments: %s%s" % (" ".join(strange or extras), hint))


def _hoist(words):
    """Take ``--profile`` and ``--debug-errors`` out of any position, spell aliases out, and join values that
    argparse would take for options to theirs. Returns the words left, the profile, and whether to debug."""
    rest, profile, debug_errors, command = [], None, False, None
    remaining = iter(words)
    for word in remaining:
        if word == "--":
            rest.append(word)
            rest.extend(remaining)
        elif word == "--profile":
            profile = next(remaining, "")
            if not profile or profile.startswith("-"):
                raise UsageError("algo: --profile needs the name of a profile")
        elif word.startswith("--profile="):
            profile = word.partition("=")[2]
            if not profile:
                raise UsageError("algo: --profile needs the name of a profile")
        elif word == "--debug-errors":
            debug_errors = True
        elif not command and not word.startswith("-"):
            found = commands.find(word)
            if found is None:
                raise UsageError(_unknown_command(word), "usage: algo COMMAND [options]")
            command = found
            rest.append(command.name)
        elif command and word in command.literal:
            value = next(remaining, None)
            if value is None:
                rest.append(word)
            elif value.startswith("-") and value != "-":
                rest.append(word + ("=" if word.startswith("--") else "") + value)
            else:
                rest.extend((word, value))
        else:
            rest.append(word)
    if command is None:
        rest.append("help")  # no command is a wish for help; argparse of 2.7 would call it an error
    return rest, profile, debug_errors


def _unknown_command(word):
    # type: (str) -> str
    import difflib

    near = difflib.get_close_matches(word, [command.name for command in commands.COMMANDS], 1)
    hint = "; did you mean '%s'?" % near[0] if near else "."
    return "algo: error: there is no command '%s'%s 'algo help' lists them" % (word, hint)


def _complete(parser, env):
    """Answer argcomplete, if it is asking."""
    if env.environ.get("_ARGCOMPLETE"):
        try:
            import argcomplete
        except ImportError:
            return
        argcomplete.autocomplete(parser)


def show_help(args, env):
    """The help command."""
    parser, index = build(env)
    names = tuple(args.topic)
    if names:
        found = commands.find(names[0])
        names = (found.name if found else names[0],) + names[1:]
        if names not in index:
            raise UsageError(
                "algo help: no command '%s'; there are %s"
                % (" ".join(names), ", ".join(command.name for command in commands.COMMANDS))
            )
        parser = index[names]
    parser.print_help()
