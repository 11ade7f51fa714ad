"""The world that a command sees: three streams, whether they are terminals, and the environment's variables.

Nothing else under `cli` touches `sys.stdout` and its kin, so a test can run a command with streams of its own.
"""
import errno
import io
import os
import re
import sys

from .._compat import PY2, text_type

_UNDECODABLE = "strict" if PY2 else "surrogateescape"  # how 3 keeps file names that are not valid text

_CONTROL = re.compile(u"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class CliError(Exception):
    """Ends a command with `message` on standard error and exit status `status`."""

    def __init__(self, message, status=1):
        # type: (str, int) -> None
        super(CliError, self).__init__(message)
        self.message = message
        self.status = status


class UsageError(CliError):
    """The command line asks for something that can't be done as written; `usage` is shown above the message."""

    def __init__(self, message, usage=""):
        # type: (str, str) -> None
        super(UsageError, self).__init__(message, 2)
        self.usage = usage


class OutputGone(Exception):
    """Whoever read standard output has gone away."""


class Output(object):
    """A binary stream whose errors can't be mistaken for those of the network, which are also IOErrors."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, data):
        # type: (bytes) -> int
        """Write `data`. Raises OutputGone, or CliError if it can't be written."""
        return self._guarded(self.stream.write, data)

    def flush(self):
        # type: () -> None
        """Hand on what was written; raises as `write` does."""
        self._guarded(self.stream.flush)

    @staticmethod
    def _guarded(do, *arguments):
        try:
            return do(*arguments)
        except (IOError, OSError) as error:
            if error.errno == errno.EPIPE:
                raise OutputGone()
            raise CliError("algo: can't write to standard output: %s" % (error.strerror or error))


class Environment(object):
    """Streams and variables of one run.

    stdin, stdout, stderr  binary streams; stdout is an `Output`
    quiet                  leave out everything but results and errors
    """

    def __init__(self, stdin=None, stdout=None, stderr=None, environ=None):
        self._real_stdout = stdout is None
        self.stdin = _binary(sys.stdin, io.BytesIO) if stdin is None else stdin
        self.stdout = Output(_binary(sys.stdout, _discard) if stdout is None else stdout)
        self.stderr = _binary(sys.stderr, _discard) if stderr is None else stderr
        self.environ = os.environ if environ is None else environ
        self.stdin_isatty = _isatty(self.stdin)
        self.stdout_isatty = _isatty(self.stdout.stream)
        self.stderr_isatty = _isatty(self.stderr)
        self.quiet = False

    # -- out ------------------------------------------------------------------------------------------------------

    def out(self, text):
        # type: (str) -> None
        """One line of a result, on standard output."""
        self.stdout.write(encode(text) + b"\n")

    def out_bytes(self, data):
        # type: (bytes) -> None
        """Bytes of a result, as they are."""
        self.stdout.write(data)

    def done(self, text):
        # type: (str) -> None
        """One line that says what a command has done: on standard output, unless the user wants quiet."""
        if not self.quiet:
            if self.stdout_isatty:
                text = _CONTROL.sub(u"?", decode(text))  # names from a listing must not drive it, either
            self.out(text)

    def note(self, text):
        # type: (str) -> None
        """One line for the person at the terminal, on standard error, unless they want quiet."""
        if not self.quiet:
            self.error(text)

    def error(self, text):
        # type: (str) -> None
        """One line on standard error."""
        self.flush()  # so that a line of output comes before the error that followed it
        self.complain(text)

    def complain(self, text):
        # type: (str) -> None
        """One line on standard error, whatever became of standard output."""
        if self.stderr_isatty:
            text = _CONTROL.sub(u"?", decode(text))  # what a server or an algorithm says must not drive the terminal
        try:
            self.stderr.write(encode(text) + b"\n")
            self.stderr.flush()
        except (IOError, OSError):
            pass  # nobody is there to be told

    def flush(self):
        # type: () -> None
        """Hand on what was written to standard output."""
        self.stdout.flush()

    def abandon_stdout(self):
        # type: () -> None
        """Nobody reads standard output any more; keep the interpreter from complaining about that at exit."""
        if self._real_stdout and sys.stdout is not None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())

    def columns(self):
        # type: () -> int
        """Width of the terminal in characters."""
        return terminal_width(self.environ)

    # -- in -------------------------------------------------------------------------------------------------------

    def ask(self, prompt):
        # type: (str) -> str
        """Show `prompt` and return the line that is typed or piped in, without surrounding blanks."""
        self._prompt(prompt)
        line = self.stdin.readline()
        if not self.stdin_isatty:
            self.error("")  # nobody types the line end that follows the prompt
        if not line:
            raise CliError("the input ended before everything was answered; nothing was saved", 2)
        return decode(line).strip()

    def ask_secret(self, prompt):
        # type: (str) -> str
        """As `ask`, without showing what is typed."""
        if not self.stdin_isatty:
            return self.ask(prompt)
        import getpass

        try:
            return decode(getpass.getpass(str(prompt))).strip()
        except EOFError:
            raise CliError("the input ended before everything was answered; nothing was saved", 2)

    def _prompt(self, prompt):
        # type: (str) -> None
        self.flush()
        self.stderr.write(encode(prompt))
        self.stderr.flush()


def encode(text):
    """Text as UTF-8; names that came in undecodable go out as they came in."""
    if not isinstance(text, text_type):
        return text if isinstance(text, bytes) else encode(text_type(text))
    try:
        return text.encode("utf-8", _UNDECODABLE)
    except UnicodeError:
        return text.encode("utf-8", "replace" if PY2 else "backslashreplace")


def decode(data):
    """UTF-8 as text; what isn't UTF-8 survives as the interpreter's file names do."""
    return data.decode("utf-8", "replace" if PY2 else _UNDECODABLE) if isinstance(data, bytes) else data


def terminal_width(environ):
    """Columns of the terminal: ``COLUMNS``, else what the terminal says, else 80."""
    try:
        return max(int(environ.get("COLUMNS") or 0), 0) or os.get_terminal_size(2).columns
    except (ValueError, OSError, AttributeError):
        return 80


def _binary(stream, fallback):
    if stream is None:  # started with the descriptor closed
        return fallback()
    return getattr(stream, "buffer", stream)


def _discard():
    return open(os.devnull, "wb")


def _isatty(stream):
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False
