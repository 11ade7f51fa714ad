"""Programs that commands start: this program's own interpreter, git, test runners."""
import errno
import os
import signal
import subprocess
import sys
import threading
import time

from .._compat import native
from . import exit_status
from .context import CliError

# A session of its own, so that what a program starts in turn (npm, make) can be ended with it.
if os.name != "posix":
    _OWN_SESSION = {}  # type: dict
elif sys.version_info >= (3, 2):
    _OWN_SESSION = {"start_new_session": True}
else:
    _OWN_SESSION = {"preexec_fn": os.setsid}
# For what a program has to clear away when it is interrupted: git, a half-made clone.
_GRACE_SECONDS = 3


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
    timeout    seconds after which it is killed, with all that it started; raises CliError then
    variables  added to the environment

    An interrupt (Ctrl-C), which the terminal doesn't send to it, is passed on to it and all that it started.
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
            **_OWN_SESSION
        )
    except OSError as error:
        hint = "; is it installed, and on the PATH?" if error.errno == errno.ENOENT else ""
        raise CliError("algo: can't run %s: %s%s" % (command[0], error.strerror or error, hint))
    expired = []

    def end():
        # type: () -> None
        expired.append(True)
        _kill(process)

    timer = threading.Timer(timeout or 0, end)
    try:
        if timeout:
            timer.start()
        process.communicate(stdin)
    except BaseException:
        _interrupt(process)
        raise
    finally:
        timer.cancel()
    if expired:
        raise CliError("algo: it took longer than %s seconds and was ended" % timeout, exit_status.TIMEOUT)
    return process.returncode


def _interrupt(process):
    """Ask `process` and what it started to end, and see to it soon after."""
    try:
        if _signal(process, signal.SIGINT):
            until = time.time() + _GRACE_SECONDS
            while process.poll() is None and time.time() < until:
                time.sleep(0.05)
    finally:  # of a second interrupt too
        _kill(process)
        process.wait()


def _kill(process):
    if not _signal(process, getattr(signal, "SIGKILL", None)):
        process.kill()


def _signal(process, number):
    """Send a signal to all of the session of `process`; whether there are such things here."""
    if not _OWN_SESSION:
        return False
    try:
        os.killpg(process.pid, number)
    except OSError:
        pass  # they have all ended
    return True


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
