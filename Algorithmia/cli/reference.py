"""`docs/reference/cli.md`, made from the table of commands by ``python -m Algorithmia.cli.reference``.

A test compares the page with what this module makes, so that the help and the page can't drift apart.
"""
import sys

from . import commands, exit_status

_INTRODUCTION = """\
# The `algo` command

<!-- Made by `python -m Algorithmia.cli.reference`; change Algorithmia/cli/commands.py instead. -->

Results go to standard output, everything else to standard error. `algo help COMMAND` shows
what is here for one command.

"""


def render():
    """The page as text."""
    parts = [_INTRODUCTION, "| Command | |\n| --- | --- |\n"]
    parts.extend("| [`algo %s`](#algo-%s) | %s |\n" % (c.name, c.name, c.help) for c in commands.ALL)
    parts.append("\n## Options of every command\n\n")
    parts.append(_table(commands.GLOBAL_OPTIONS))
    parts.append("| `-h`, `--help` | show the help of a command |\n")
    parts.append("| `--version` | show the version (without a command) |\n")
    parts.append("\n## Exit status\n\n| Status | Meaning |\n| --- | --- |\n")
    parts.extend("| %d | %s |\n" % pair for pair in exit_status.MEANINGS)
    for command in commands.ALL:
        parts.extend(_section(command, "algo " + command.name, "##"))
    return "".join(parts)


def _section(command, title, mark):
    yield "\n%s `%s`\n\n" % (mark, title)
    yield "%s.%s\n" % (command.help[:1].upper() + command.help[1:], _aliases(command))
    if command.description:
        yield "\n%s\n" % _escaped(command.description)
    if not command.actions:
        yield "\n```\n%s\n```\n" % usage(command, title)
    if command.arguments:
        yield "\n" + _table(command.arguments)
    for action in command.actions:
        for part in _section(action, title + " " + action.name, mark + "#"):
            yield part
    if command.examples:
        yield "\n```sh\n%s\n```\n" % "\n".join(command.examples)


def usage(command, title):
    """The usage line of a command, the same on every version of Python."""
    if command.usage:
        return command.usage
    words = [title]
    if any(item.is_option for item in command.arguments):
        words.append("[options]")
    for item in command.arguments:
        if not item.is_option:
            words.append(_positional(item))
    return " ".join(words)


def _positional(item):
    name = "{%s}" % ",".join(item.options["choices"]) if "choices" in item.options else item.label
    return {"?": "[%s]", "*": "[%s...]", "+": "%s..."}.get(item.options.get("nargs", ""), "%s") % name


def _aliases(command):
    return " Also: %s." % ", ".join("`algo %s`" % alias for alias in command.aliases) if command.aliases else ""


def _table(arguments):
    rows = ["| Argument | |\n| --- | --- |\n"]
    for item in arguments:
        label = ", ".join("`%s`" % part for part in item.label.split(", "))
        rows.append("| %s | %s |\n" % (label, _escaped(item.options["help"])))
    return "".join(rows)


def _escaped(text):
    return text.replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    sys.stdout.write(render())
