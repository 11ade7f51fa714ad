"""What a Python 2.7 worker process executes: loads one project, then answers standard input, line by line.

    python runner.py          (in the project's directory; ALGORITHMIA_OUTPUT_FIFO names the FIFO)

The documented protocol; `Algorithmia.adk` speaks it. Of what is installed beside the platform, only the SDK can be
imported.
"""
from __future__ import print_function

import imp
import os
import sys

_PARENT = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 4))
# The directory of this file: a project's import of, say, `language` is not meant for it.
sys.path[:] = [path for path in sys.path if os.path.abspath(path) != os.path.dirname(os.path.abspath(__file__))]


class SDKFinder(object):
    """Finds the platform's SDK, and nothing else, where it lies; before any other release of it."""

    def find_module(self, name, path=None):
        # type: (str, object) -> object
        return self if name in ("Algorithmia", "adk") else None

    def load_module(self, name):
        # type: (str) -> object
        if name not in sys.modules:
            imp.load_module(name, *imp.find_module(name, [_PARENT]))  # type: ignore[arg-type]
        return sys.modules[name]


sys.meta_path.insert(0, SDKFinder())  # type: ignore[arg-type]

from Algorithmia.adk import adk as adk_module  # noqa: E402
from Algorithmia.adk import serving  # noqa: E402
from Algorithmia.adk.adk import ADK  # noqa: E402, F401
from Algorithmia.adk.calls import describe  # noqa: E402
from Algorithmia.adk.project import run_project  # noqa: E402

_hidden_frames = True


class Host(object):
    """Answers calls with one algorithm; what `ADK.init` finds."""

    def serve(self, adk):
        # type: (ADK) -> None
        """Load `adk`, then answer until standard input ends; never returns."""
        adk.FIFO_PATH = os.environ.get("ALGORITHMIA_OUTPUT_FIFO") or adk.FIFO_PATH
        if not adk.load():
            refuse(adk.failure)  # type: ignore[arg-type]
        serving.serve_fifo(adk)
        sys.stdout.flush()
        os._exit(0)


def refuse(failure):
    # type: (dict) -> None
    """Say why loading failed, and end the process before it is ready, which is how the platform learns of it."""
    print((failure.get("stacktrace") or failure["message"]).encode("utf-8"))
    sys.stdout.flush()
    os._exit(1)


def main():
    # type: () -> None
    root = os.getcwd()
    sys.argv = [os.path.join(root, "src")]
    sys.path.insert(0, root)
    host = adk_module.host = Host()
    try:
        run_project(root, host)
    except Exception:
        refuse(describe(sys.exc_info(), "LoadingError"))


if __name__ == "__main__":
    main()
