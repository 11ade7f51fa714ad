"""How results look: JSON, sizes, columns, lines of listings, and files that are written whole."""
import json
import os
import re

from .context import CliError, encode

# What a terminal acts on, as UTF-8; tabs and line ends may stay.
_CONTROL_BYTES = re.compile(b"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")
_BLUE, _PLAIN = "\033[34m", "\033[0m"


def json_text(value, pretty):
    """`value` as JSON: indented for a person, compact for a program."""
    if pretty:
        return json.dumps(value, indent=2, separators=(",", ": "), ensure_ascii=False)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def write_json(env, value):
    """Print `value` as JSON."""
    env.out(json_text(value, env.stdout_isatty))


def human_size(size):
    # type: (int) -> str
    """``48``, ``1.5k``, ``657k``, ``2.1M``: powers of 1000, two digits at least."""
    value = float(size)
    if value < 1000:
        return "%d" % size
    for suffix in "kMGTP":
        value /= 1000.0
        if round(value) < 1000 or suffix == "P":
            break
    return ("%.1f%s" if value < 9.95 else "%.0f%s") % (value, suffix)


def columns(names, width):
    # type: (list, int) -> tuple
    """Rows that hold `names`, ordered down the columns, in as few rows as fit `width`; and the width of a cell."""
    cell = max(len(name) for name in names) + 2
    across = max(1, min(len(names), (width + 2) // cell))
    down = -(-len(names) // across)
    return [names[row::down] for row in range(down)], cell


def write_columns(env, entries):
    """Print ``(name, is directory)`` pairs in columns, directories blue."""
    if not entries:
        return
    kinds = dict(entries)
    rows, cell = columns([name for name, _ in entries], env.columns())
    for row in rows:
        parts = []
        for position, name in enumerate(row):
            shown = _BLUE + name + _PLAIN if kinds[name] else name
            parts.append(shown + " " * (cell - len(name) if position < len(row) - 1 else 0))
        env.out("".join(parts))


def log_writer(env, to_stderr=False):
    """A function that prints pieces (bytes) of a log as they come; a terminal gets nothing that would drive it."""
    stream, is_terminal = (env.stderr, env.stderr_isatty) if to_stderr else (env.stdout, env.stdout_isatty)

    def write(piece):
        # type: (bytes) -> None
        stream.write(_CONTROL_BYTES.sub(b"?", piece) if is_terminal else piece)
        stream.flush()

    return write


def safe_for_terminal(env, name):
    """`name` with control characters made visible if a terminal would act on them."""
    if not env.stdout_isatty or name.isalnum():
        return name
    return "".join("?" if ord(c) < 32 or 127 <= ord(c) < 160 else c for c in name)


class OutputFile(object):
    """The target of ``--output``: checked before the work starts, complete or untouched afterwards."""

    def __init__(self, path):
        # type: (str) -> None
        self.path = os.path.expanduser(path)
        # A device or a pipe is written to; only an ordinary file can be replaced.
        self._in_place = os.path.exists(self.path) and not os.path.isfile(self.path)
        directory = os.path.dirname(os.path.abspath(self.path))
        if os.path.isdir(self.path):
            raise CliError("algo: --output %s is a directory; give a file name" % path, 2)
        if not os.path.isdir(directory):
            raise CliError("algo: --output %s: there is no directory %s" % (path, directory), 4)
        if not os.access(directory if not os.path.exists(self.path) else self.path, os.W_OK):
            raise CliError("algo: --output %s: no permission to write there" % path)

    def write(self, data):
        # type: (bytes) -> None
        """Make `data` the file's content."""
        if self._in_place:
            with open(self.path, "wb") as target:
                target.write(encode(data))
            return
        import io

        from ..transfer import write_local

        write_local(io.BytesIO(encode(data)), os.path.realpath(self.path))


def write_table(env, titles, rows):
    """Print rows of short texts under `titles`, which are for people: left out in a pipe."""
    lines = ([titles] if env.stdout_isatty else []) + list(rows)
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))] if lines else []
    for line in lines:
        cells = [safe_for_terminal(env, text).ljust(widths[column]) for column, text in enumerate(line)]
        env.out("  ".join(cells).rstrip())


def write_pairs(env, pairs):
    """Print names and values, a pair a line; those without a value are left out."""
    shown = [(name, value) for name, value in pairs if value not in (None, "")]
    width = max([len(name) for name, _ in shown] or [0]) + 1
    for name, value in shown:
        env.out("%s  %s" % ((name + ":").ljust(width), safe_for_terminal(env, "%s" % (value,))))
