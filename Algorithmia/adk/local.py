"""One call of a project on its author's machine, in a process of its own: what `algo test` starts.

    main(["CONTENT_TYPE", "ANSWER_FILE"]), in the project's directory, the input on standard input

The project is found, loaded and called as on the platform; what it prints goes to standard error, and the answer, the
API's response document, to ANSWER_FILE.
"""
import base64
import json
import os
import sys
import time

from . import adk as adk_module
from .calls import BINARY, InvalidInput, decode_input, describe, encode_result
from .project import run_project

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any  # noqa: F401

_hidden_frames = True


class OneCall(object):
    """What `ADK.init` finds instead of a platform: answers the one input, then ends the process."""

    def __init__(self, content_type, body, answer_path):
        # type: (str, bytes, str) -> None
        self._content_type, self._body, self._answer_path = content_type, body, answer_path

    def serve(self, adk):
        # type: (adk_module.ADK) -> None
        """Load `adk` and call it; never returns."""
        if not adk.load():
            self.answer({"error": adk.failure})
        began = time.time()
        try:
            value = decode_input(self._content_type, self._body)
            content_type, result = encode_result(adk.apply(value))
        except InvalidInput as error:
            self.answer({"error": {"message": str(error), "error_type": "InputError"}})
        except SystemExit as error:
            message = "the algorithm ended its process: exited with code %s" % (error.code or 0)
            self.answer({"error": {"message": message, "error_type": "SystemExit"}})
        except Exception:
            self.answer({"error": describe(sys.exc_info())})
        else:
            is_binary = content_type == BINARY
            value = base64.b64encode(result).decode("ascii") if is_binary else json.loads(result.decode("utf-8"))
            duration = max(time.time() - began, 0.0)
            self.answer({"result": value, "metadata": {"content_type": content_type, "duration": duration}})

    def answer(self, document):
        # type: (object) -> None
        """Write the answer and end the process, whatever threads the algorithm has."""
        with open(self._answer_path, "wb") as output:
            output.write(json.dumps(document).encode("ascii"))
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:  # closed or replaced by the algorithm
                pass
        os._exit(0)


def main(arguments):
    # type: (list) -> None
    """Run the project in the working directory: see the module's first lines for `arguments`."""
    content_type, answer_path = arguments
    stdin = getattr(sys.stdin, "buffer", sys.stdin)  # type: Any
    body = stdin.read()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    root = os.getcwd()
    sys.argv = [os.path.join(root, "src")]
    sys.path.insert(0, root)
    host = adk_module.host = OneCall(content_type, body, answer_path)
    try:
        run_project(root, host)
    except Exception:
        host.answer({"error": describe(sys.exc_info(), "LoadingError")})
