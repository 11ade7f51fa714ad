"""Programs that commands start: this program's own interpreter, git, test runners."""
import errno
import os
import subprocess
import sys
import threading

from .._compat import native
from . import exit_status
from .context import CliError


def python_command(code):
    # type: (str) -> list
    """The command that runs `code` on this interpreter with this package, wherever both are.

    Not ``-m``, which would look for every module in the working directory first: that is somebody's project.
    """
    package_parent = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return [sys.executable, "-c", "import sys; sys.path[0] = %r; %s" % (package_parent, code)]


def run(command, env, cwd=None, stdin=b"", timeout=None, variables=()):
    """Run a program whose output, all of it, goes to standard error; returns its exit status.

    stdin      bytes for its standard input
    timeout    seconds after which it is killed; raises CliError then
    variables  added to the environment
    """
    env.flush()
    try:
        process = subprocess.Popen(
            [native(word) for word in command],
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=_descriptor(env.stderr),
            stderr=_descriptor(env.stderr),
            env=dict(os.environ, **dict(variables)),
        )
    except OSError as error:
        hint = "; is it installed, and on the PATH?" if error.errno == errno.ENOENT else ""
        raise CliError("algo: can't run %s: %s%s" % (command[0], error.strerror or error, hint))
    expired = []

    def end():
        # type: () -> None
        expired.append(True)
        process.kill()

    timer = threading.Timer(timeout or 0, end)
    if timeout:
        timer.start()
    try:
        process.communicate(stdin)
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        timer.cancel()
    if expired:
        raise CliError("algo: it took longer than %s seconds and was ended" % timeout, exit_status.TIMEOUT)
    return process.returncode


def _descriptor(stream):
    """What a program may write to in place of `stream`: the process's standard error, if it is no file."""
    try:
        stream.fileno()
    except (AttributeError, IOError, ValueError):  # io.UnsupportedOperation is both of the last
        return 2
    return stream


def shell_word(text):
    """`text` as one word of a shell."""
    return "'%s'" % text.replace("'", "'\\''")
