"""What a command line is described with: `Argument` and `Command`, and the kinds of values that arguments take.

The tables are in `commands` and `algorithm_commands`. Imports nothing, since `algo --help` waits for it.
"""


class Argument(object):
    """One argument of a command: its flags (or name) and the options that argparse takes."""

    def __init__(self, *flags, **options):
        self.flags = flags
        self.options = options

    @property
    def is_option(self):
        # type: () -> bool
        return self.flags[0].startswith("-")

    @property
    def label(self):
        # type: () -> str
        """How the reference and the usage write it: ``-o FILE, --output FILE``."""
        metavar = self.options.get("metavar")
        if not self.is_option:
            return str(metavar or self.flags[0].upper())
        value = " " + str(metavar) if metavar else ""
        return ", ".join(flag + value for flag in self.flags)


class Command(object):
    """One command.

    name, aliases  what is typed
    handler        ``module:function`` under this package; called with (args, env), returns an exit status or None
    help           one line
    description    more, for ``algo help NAME``
    arguments      list of `Argument`
    variadic       name of the positional argument that takes whatever stands between and after the options
    usage          replaces argparse's, where that would mislead
    examples       lines of a shell
    actions        commands below this one
    passes_on      whether unknown options are somebody else's to judge
    literal        options whose value may be anything, so also something that looks like an option
    is_hidden      left out of lists: other programs call it
    """

    def __init__(self, name, help, handler=None, aliases=(), description="", arguments=(), variadic=None, usage=None,
                 examples=(), actions=(), passes_on=False, literal=frozenset(), is_hidden=False):
        self.name = name
        self.help = help
        self.handler = handler
        self.aliases = aliases
        self.description = description
        self.arguments = arguments
        self.variadic = variadic
        self.usage = usage
        self.examples = examples
        self.actions = actions
        self.passes_on = passes_on
        self.literal = literal
        self.is_hidden = is_hidden


def _input(kind, from_file=False):
    """Parser of an input option's value: keeps which option it was."""

    def parse(value):
        # type: (str) -> tuple
        return kind, from_file, value

    return parse


def seconds(text):
    """A positive number of seconds; whole ones stay whole."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError(text)
    return int(number) if number == int(number) else number


def positive(text):
    # type: (str) -> int
    """A whole number above zero."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def including(pattern):
    # type: (str) -> tuple
    """The value of ``--include``: the last of these and those of ``--exclude`` decides, so they keep their order."""
    return True, pattern


def excluding(pattern):
    # type: (str) -> tuple
    """The value of ``--exclude``."""
    return False, pattern


def input_option(short, long, kind, from_file, help):
    # type: (str, str, str, bool, str) -> Argument
    return Argument(
        short, long, dest="inputs", action="append", type=_input(kind, from_file),
        metavar="FILE" if from_file else "X", help=help,
    )  # fmt: skip


# How an input is given to an algorithm.
DATA_OPTIONS = (
    input_option("-d", "--data", "auto", False, "input: JSON if it parses as JSON, else text, else binary"),
    input_option("-D", "--data-file", "auto", True, "same, from a file"),
    input_option("-t", "--text", "text", False, "input: text"),
    input_option("-T", "--text-file", "text", True, "same, from a file"),
    input_option("-j", "--json", "json", False, "input: JSON"),
    input_option("-J", "--json-file", "json", True, "same, from a file"),
    input_option("-b", "--binary", "binary", False, "input: binary"),
    input_option("-B", "--binary-file", "binary", True, "same, from a file"),
)
LITERAL_DATA = frozenset(["-d", "--data", "-t", "--text", "-j", "--json", "-b", "--binary"])
