"""What a Python worker process executes: loads one algorithm project, then answers one call at a time, or several if
the project says that it bears them.

    python runner.py [--libraries DIRECTORY] SOCKET_FD PROJECT_DIRECTORY MAX_RESULT_BYTES PARENT_PID CONCURRENCY

With --libraries (what the SDK needs), the interpreter was started without `site`, so that nothing else is installed.
The server's side of the conversation is `engine/worker.py`; the frames are those of `engine/protocol.py`. Everything
that the runner itself needs is imported before the project gets onto the path, where a file of the author's may have
the name of any module. Syntax: Python 3.6, the oldest that algorithms may use.
"""

import ctypes
import faulthandler
import os
import resource
import signal
import site
import socket
import sys
import threading
import traceback  # noqa: F401  (calls.describe needs it; see above)
from time import perf_counter
from typing import Any, Dict, List, Optional, Tuple  # noqa: UP035  (Python 3.6)

_PACKAGE_PARENT = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 4))
if _PACKAGE_PARENT not in sys.path:
    # Before any other Algorithmia, behind the standard library.
    _sites = [i for i, path in enumerate(sys.path) if path.endswith(("site-packages", "dist-packages"))]
    sys.path.insert(_sites[0] if _sites else len(sys.path), _PACKAGE_PARENT)
if sys.argv[1:2] == ["--libraries"]:
    sys.path.append(sys.argv[2])
    del sys.argv[1:3]
    # What the interpreter does by itself unless told to leave `site` out.
    site.setquit()
    site.setcopyright()
    site.sethelper()

from Algorithmia.adk import adk as adk_module  # noqa: E402
from Algorithmia.adk.adk import ADK  # noqa: E402
from Algorithmia.adk.calls import InvalidInput, decode_input, describe, encode_result, error_json  # noqa: E402
from Algorithmia.adk.project import run_project  # noqa: E402
from Algorithmia.server.engine import protocol  # noqa: E402

_hidden_frames = True

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Stopped(BaseException):
    """The call has run out of time, or nobody waits for it any more. No Exception, so that few things catch it."""


class Connection:
    """The worker's end of the socket."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)  # programs that the algorithm starts have no business here
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=descriptor)
        self._buffer = bytearray(protocol.MAX_PACKET)  # threads take turns at receiving
        self._owner = os.getpid()

    def send(
        self, kind: int, content_type: str = "json", number: int = 0, body: bytes = b"", seconds: float = 0.0
    ) -> None:
        """Send one frame; nothing from a process that the algorithm forked."""
        if os.getpid() != self._owner:
            os._exit(1)
        protocol.send(self._socket, kind, content_type, number, body, seconds)

    def receive(self) -> Optional[Tuple[str, int, bytes]]:
        """``(content type, call number, body)`` of the next call; None when the server has gone."""
        size, ancillary, _, _ = self._socket.recvmsg_into([self._buffer], protocol.ANCILLARY)
        if not size:
            return None
        _, content_type, where, number, length, _ = protocol.HEADER.unpack_from(self._buffer)
        if where == protocol.INLINE:
            body = bytes(self._buffer[protocol.HEADER.size : size])
        else:
            body = protocol.read_file(protocol.descriptors(ancillary)[0], length)
        return protocol.CONTENT_TYPES[content_type], number, body


class Host:
    """Answers the server's calls with one algorithm: what `ADK.init` finds instead of the documented protocol."""

    def __init__(self, connection: Connection, max_result: int, concurrency: int = 1) -> None:
        self._connection = connection
        self._max_result = max_result
        self._concurrency = concurrency
        self._is_running = False  # the author's code
        self._owner = os.getpid()

    def serve(self, adk: ADK) -> None:
        """Load `adk`, then answer calls until the server goes; never returns."""
        if not adk.load():
            self.refuse(adk.failure)
        flush_output()
        self._connection.send(protocol.READY)
        if self._concurrency > 1:
            self._serve_several(adk)
        while True:
            call = self._connection.receive()
            if call is None:
                sys.exit(0)
            self._answer(adk, *call)

    def _serve_several(self, adk: ADK) -> None:
        """Answer calls on threads; the server sends no more at a time than there are."""

        def work() -> None:
            try:
                while True:
                    with taking:
                        call = self._connection.receive()
                    if call is None:
                        os._exit(0)
                    self._answer(adk, *call)
            except BaseException:  # the connection is gone
                os._exit(1)

        taking = threading.Lock()
        for _ in range(self._concurrency - 1):
            threading.Thread(target=work, daemon=True).start()
        work()

    def on_stop(self, number: int, frame: Any) -> None:
        """SIGTERM: the server wants the call to end that runs. Children of the algorithm's end as they always would."""
        if os.getpid() != self._owner:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self._is_running:
            self._is_running = False
            raise Stopped("stopped by SIGTERM")

    def refuse(self, failure: Any) -> None:
        """Report that loading failed, and end the process."""
        flush_output()
        self._connection.send(protocol.UNLOADED, body=error_json(failure))
        sys.exit(0)

    def _answer(self, adk: ADK, content_type: str, number: int, body: bytes) -> None:
        began = perf_counter()
        kind, result_type = protocol.DONE, "json"
        try:
            value = decode_input(content_type, body)
        except InvalidInput as error:
            kind, answer = protocol.INVALID, str(error).encode("utf-8", "backslashreplace")
        else:
            del body
            try:
                self._is_running = True
                result = adk.apply(value)
                self._is_running = False
                result_type, answer = encode_result(result)
            except SystemExit as error:
                end_process(error)
            except BaseException:
                self._is_running = False
                kind, answer = protocol.FAILED, error_json(describe(sys.exc_info()))
            else:
                del result
                if len(answer) > self._max_result:
                    kind, answer = protocol.FAILED, error_json(self._too_large(len(answer)))
                    result_type = "json"
        flush_output()
        self._connection.send(kind, result_type, number, answer, perf_counter() - began)

    def _too_large(self, size: int) -> Dict[str, str]:
        return {
            "message": "the result has %d bytes and the limit is %d: write it to a file such as data://.algo/temp/NAME "
            "and return its URI" % (size, self._max_result),
            "error_type": "TooLargeError",
        }


def flush_output() -> None:
    """Push out what Python and the C library still hold, so that the server sees it before the answer."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # closed or replaced by the algorithm
            pass
    _libc.fflush(None)


def end_process(error: SystemExit) -> None:
    """Exit as `error`, a SystemExit, says; at once, whatever threads the algorithm has."""
    code = error.code
    if code is not None and not isinstance(code, int):
        sys.stderr.write("%s\n" % (code,))
        code = 1
    flush_output()
    os._exit((code or 0) & 0xFF)


def restrict(parent: int) -> None:
    """Limits of this process; it dies with the server's process `parent`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = 1024 if hard == resource.RLIM_INFINITY else min(1024, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    if sys.platform.startswith("linux"):  # elsewhere the end of the socket tells, once the call has ended
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def main(arguments: List[str]) -> None:
    """Run the worker: see the module's first lines for `arguments`."""
    descriptor, root = int(arguments[0]), arguments[1]
    max_result, parent, concurrency = map(int, arguments[2:5])
    restrict(parent)
    faulthandler.enable()
    if hasattr(sys.stdout, "reconfigure"):  # 3.7; a crash then loses half a line at most
        sys.stdout.reconfigure(line_buffering=True)
    connection = Connection(descriptor)
    host = adk_module.host = Host(connection, max_result, concurrency)
    if concurrency == 1:
        signal.signal(signal.SIGTERM, host.on_stop)
    sys.argv = [os.path.join(root, "src")]
    sys.path.insert(0, root)
    try:
        run_project(root, host)
    except Exception:
        host.refuse(describe(sys.exc_info(), "LoadingError"))


if __name__ == "__main__":
    main(sys.argv[1:])
