"""The embedded platform as a process: find it, start it on demand, stop it. Never imports the server.

Its files are described in docs/architecture.md ("The embedded platform's process"). Whether it runs is known from the
lock that it holds for as long as it lives, so that a stale file, a reused pid or a reused port can't mislead anybody.
"""
import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time

from . import config
from ._compat import make_dirs, warn
from .errors import ConfigError, UnreachableError

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, Optional  # noqa: F401

START_TIMEOUT = 60.0
_SERVER_MODULES = ("uvicorn", "starlette", "sqlalchemy", "msgspec", "alembic")
_HOW_TO_INSTALL = (
    "Install one with: pip install 'algorithmia[server]' (Python 3.10 or newer), "
    "or connect to a platform elsewhere with: algo auth"
)


def state_directory(home=None):
    # type: (Optional[str]) -> str
    """Path of the embedded platform's own directory."""
    return os.path.join(home or config.home(), "platform")


def log_path(home=None):
    # type: (Optional[str]) -> str
    """Path of the background platform's log."""
    return os.path.join(state_directory(home), "logs", "server.log")


def running(home=None):
    # type: (Optional[str]) -> Optional[Dict[str, Any]]
    """What the running platform says of itself (``pid``, ``address``, ``version``, ``background``, ``started_at``), or
    None if none runs."""
    state = state_directory(home)
    if not _is_locked(os.path.join(state, "server.lock")):
        return None
    try:
        with open(os.path.join(state, "server.json")) as handle:
            return json.load(handle)
    except (IOError, OSError, ValueError):
        return None  # it has the lock and is not ready yet, or about to end


def status(home=None):
    # type: (Optional[str]) -> Optional[Dict[str, Any]]
    """`running`, with the platform's own ``health`` report added; None if none runs."""
    info = running(home)
    if info is None:
        return None
    from .client import Client

    response = Client(apiAddress=info["address"], retries=1, timeout=5.0).request("GET", "/health", also_ok=(503,))
    info["health"] = json.loads(response.data.decode("utf-8"))
    return info


def ensure_running(home=None, failed=None):
    # type: (Optional[str], Optional[str]) -> config.Connection
    """The address and key of the embedded platform, started first if it doesn't run.

    Any number of processes may ask at once: one starts it, the others wait.

    failed  an address where a connection was just refused: the platform there is gone, or about to be

    Raises ConfigError if no platform is installed, UnreachableError if it doesn't come up.
    """
    home = home or config.home()
    info = running(home)
    if failed is not None:
        info = _wait_for_end(home, failed)
    if info is None:
        state = state_directory(home)
        try:
            make_dirs(state, 0o700)
            with _lock(os.path.join(state, "start.lock")):
                info = running(home) or _wait_for_other(home) or _start(home)
        except UnreachableError:  # an IOError too
            raise
        except (IOError, OSError) as error:
            raise ConfigError(
                "can't start the local platform: %s: %s. Repair it, or set ALGORITHMIA_HOME to another directory"
                % (error.filename or state, error.strerror or error)
            )
    profile = config.load_profiles(os.path.join(home, "config")).get("local")
    if profile is None or not profile.api_key:
        raise ConfigError(
            "the local platform runs at %s, but %s has no profile 'local' with its key. Restart it with "
            "'algo local stop' and any command" % (info["address"], os.path.join(home, "config"))
        )
    return config.Connection(str(info["address"]), profile.api_key, None, None, config.EMBEDDED)


def stop(home=None, timeout=45.0):
    # type: (Optional[str], float) -> bool
    """Ask the running platform to end after the calls in flight; returns whether one ran.

    timeout  seconds to wait for that; raises UnreachableError if it still runs then
    """
    info = running(home)
    if info is None:
        return False
    try:
        os.kill(info["pid"], signal.SIGTERM)
    except OSError as error:
        if error.errno != errno.ESRCH:  # it has just ended by itself
            raise
    lock = os.path.join(state_directory(home), "server.lock")
    deadline = time.time() + timeout
    while _is_locked(lock):
        if time.time() > deadline:
            raise UnreachableError("the local platform (pid %d) is still finishing calls; try again" % info["pid"])
        time.sleep(0.02)
    return True


def _start(home):
    # type: (str) -> Dict[str, Any]
    """Start the platform in the background and wait until it says that it is ready."""
    python = os.environ.get("ALGORITHMIA_SERVER_PYTHON") or _own_python()
    state = state_directory(home)
    make_dirs(os.path.join(state, "logs"), 0o700)
    output = os.path.join(state, "logs", "startup.log")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ALGORITHMIA_API")}
    for name in ("ALGORITHMIA_BEARER_TOKEN", "ALGORITHMIA_PROFILE"):
        environment.pop(name, None)
    environment["ALGORITHMIA_HOME"] = os.path.abspath(home)  # it runs in another directory
    options = {"start_new_session": True}  # type: Dict[str, Any]
    if sys.version_info < (3,):
        options = {"preexec_fn": os.setsid}
    with open(output, "wb") as errors_to, open(os.devnull, "rb") as nothing:
        process = subprocess.Popen(
            [python, "-m", "Algorithmia.server.main", "--background"],
            stdin=nothing,
            stdout=subprocess.PIPE,
            stderr=errors_to,
            close_fds=True,
            env=environment,
            # So that -m finds this very package, also when it is used from a checkout.
            cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))) if python == sys.executable else None,
            **options
        )
    ready = _ready_line(process)
    info = running(home) if ready else None
    if info is None:
        if process.poll() is None:
            process.terminate()
            process.wait()
        raise UnreachableError("the local platform did not start: %s (see %s)" % (_last_line(output), output))
    if ready.endswith("first"):
        warn(
            "Started a local Algorithmia platform at %s, data in %s ('algo local stop' ends it)"
            % (info["address"], state)
        )
    process.returncode = 0  # it outlives this process on purpose: no "still running" warning when collected
    return info


def _ready_line(process):
    # type: (subprocess.Popen[bytes]) -> str
    """The line that the starting platform writes when it is ready; empty if it ended or took too long."""
    import threading

    timer = threading.Timer(START_TIMEOUT, process.kill)
    timer.daemon = True
    timer.start()
    output = process.stdout  # type: Any
    try:
        with output as pipe:
            return pipe.readline().decode("utf-8", "replace").strip()
    finally:
        timer.cancel()


def _wait_for_other(home):
    # type: (str) -> Optional[Dict[str, Any]]
    """If a platform that somebody started by hand is coming up or going down, wait for how that ends."""
    lock = os.path.join(state_directory(home), "server.lock")
    deadline = time.time() + START_TIMEOUT
    while _is_locked(lock) and time.time() < deadline:
        info = running(home)
        if info is not None:
            return info
        time.sleep(0.02)
    return None


def _wait_for_end(home, failed):
    # type: (str, str) -> Optional[Dict[str, Any]]
    """What runs once the platform that refused at address `failed` has let go of its lock, or takes connections again.

    A killed process keeps its lock for the moment that the kernel needs to clear it away.
    """
    import socket

    deadline = time.time() + 5.0
    while time.time() < deadline:
        info = running(home)
        if info is None or info["address"] != failed:
            return info
        host, _, port = failed.rpartition("://")[2].rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), 1.0).close()
            return info
        except (OSError, socket.error):
            time.sleep(0.02)
    return running(home)


def _own_python():
    # type: () -> str
    """This interpreter, if it can run the platform. Raises ConfigError if not."""
    missing = list(_SERVER_MODULES)
    if sys.version_info >= (3, 10):
        from importlib.util import find_spec

        missing = [name for name in _SERVER_MODULES if find_spec(name) is None]
    if missing or os.name == "nt":
        raise ConfigError("no API address is configured and no local platform is installed. " + _HOW_TO_INSTALL)
    return sys.executable


def _last_line(path):
    # type: (str) -> str
    try:
        with open(path) as handle:
            lines = [line.strip() for line in handle if line.strip()]
    except (IOError, OSError):
        lines = []
    return lines[-1] if lines else "it ended without a message"


@contextlib.contextmanager
def _lock(path):
    # type: (str) -> Iterator[None]
    """Hold the lock file at `path`, waiting for it."""
    import fcntl

    with open(path, "a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _is_locked(path):
    # type: (str) -> bool
    """Whether some process holds the lock file at `path`."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        handle = open(path)
    except (IOError, OSError):  # none, or not ours to look at: whoever starts a platform here is told
        return False
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (IOError, OSError) as error:
            return error.errno in (errno.EAGAIN, errno.EACCES)
    return False
