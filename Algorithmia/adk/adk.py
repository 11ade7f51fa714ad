"""`ADK`: turns an author's `apply` and `load` functions into an algorithm that a platform, or a terminal, can call.

Where the calls come from is decided in `ADK.init`: a host process of this platform, the documented protocol of standard
input and the FIFO ``/tmp/algoout``, or, with neither, the person who started the file.
"""
from __future__ import print_function

import os
import sys

# Set by the process in which this platform runs algorithms: an object whose serve(adk) answers the calls.
host = None  # type: object

# Frames of this module are not shown in the stack traces of algorithms (see calls.describe).
_hidden_frames = True

READY_LINE = "PIPE_INIT_COMPLETE"


class ADK(object):
    """An algorithm.

    apply_func  ``apply(input)`` or ``apply(input, state)``: the work
    load_func   ``load()`` or ``load(model_data)``: runs once, before the first call; what it returns is the state.
                `model_data` is a `ModelData`
    client      the `Client` that fetches model files; default: ``Algorithmia.client()``, made when first needed

    Raises TypeError for functions that can't be called so.
    """

    FIFO_PATH = "/tmp/algoout"  # noqa: S108  (the documented name)
    MANIFEST_PATH = "model_manifest.json"

    def __init__(self, apply_func, load_func=None, client=None):
        # type: (object, object, object) -> None
        _, least, most = positional(apply_func, "apply")
        if load_func is not None:
            load_name, load_least, load_most = positional(load_func, "load")
            if load_least > 1 or (load_most > 1 and load_name is not None):
                raise TypeError("load takes no argument, or one (the model data); %s takes more" % load_name)
            self._load_arguments = min(load_most, 1)
        self.apply_func = apply_func
        self.load_func = load_func
        # Without load, a second argument that has a default of its own keeps it.
        self._takes_state = most == 2 and (load_func is not None or least == 2)
        self.load_result = None
        self.failure = None  # type: object
        self.model_data = None  # type: object
        self._client = client
        self._is_loaded = False

    @property
    def is_local(self):
        # type: () -> bool
        """Whether a person runs this, rather than a platform."""
        return host is None and not os.path.exists(self.FIFO_PATH)

    @property
    def client(self):
        # type: () -> object
        """The client that fetches model files."""
        if self._client is None:
            from .. import client

            self._client = client()
        return self._client

    def init(self, local_payload=None, pprint=print, mlops=False):
        # type: (object, object, bool) -> None
        """Load, then answer calls until there are no more.

        local_payload  when run by a person: the input of one call, after which this returns; without it, requests are
                       read from standard input, one JSON document a line
        pprint         takes each answer of a local run (JSON text)
        mlops          accepted for old algorithms; this platform has no monitoring agent to start
        """
        if mlops and not self.is_local:
            sys.stderr.write("ADK: there is no MLOps agent on this platform; mlops=True has no effect\n")
        if host is not None:
            host.serve(self)  # type: ignore[attr-defined]
        else:
            from . import serving

            if not self.is_local:
                serving.serve_fifo(self)
            elif local_payload is not None:
                serving.run_once(self, local_payload, pprint)
            else:
                serving.serve_lines(self, pprint)

    def load(self):
        # type: () -> bool
        """Fetch the manifest's required files and call `load_func`, once. Returns whether that went well.

        A failure is kept in `failure`: the members of an error document. Calling sys.exit() still exits.
        """
        if not self._is_loaded:
            self._is_loaded = True
            try:
                self._load()
            except Exception:
                from .calls import describe

                self.failure = describe(sys.exc_info(), "LoadingError")
        return self.failure is None

    def apply(self, value):
        # type: (object) -> object
        """Call `apply_func` with `value`, and the state if it takes one. Raises what it raises."""
        if self._takes_state:
            return self.apply_func(value, self.load_result)  # type: ignore[operator]
        return self.apply_func(value)  # type: ignore[operator]

    def _load(self):
        # type: () -> None
        wants_data = self.load_func is not None and self._load_arguments == 1
        frozen = os.path.exists(self.MANIFEST_PATH + ".freeze")
        if wants_data or frozen or os.path.exists(self.MANIFEST_PATH):
            from .modeldata import ModelData

            self.model_data = ModelData(lambda: self.client, self.MANIFEST_PATH)
            if self.model_data.available():
                self.model_data.initialize()
        if self.load_func is not None:
            arguments = (self.model_data,) if wants_data else ()
            self.load_result = self.load_func(*arguments)  # type: ignore[operator]


def positional(function, role):
    # type: (object, str) -> tuple
    """``(name, least, most)`` positional arguments that `function` can be called with. `name` is None when `most` is
    no promise (``*args`` or a callable that does not tell). Raises TypeError if it is not callable."""
    if not callable(function):
        raise TypeError("%s must be a function, not %s" % (role, type(function).__name__))
    # Decorated functions mostly take *args; what they wrap says what they expect.
    inner = function  # type: object
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    if not hasattr(inner, "__code__") and not isinstance(inner, type):
        inner = inner.__call__  # type: ignore[operator]  # an object that can be called
    code = getattr(inner, "__code__", None)
    if code is None:
        return None, 0, 1
    bound = 1 if getattr(inner, "__self__", None) is not None else 0
    # Bound methods show their function's defaults under one name on 2.7 and 3.
    defaults = getattr(getattr(inner, "__func__", inner), "__defaults__", None) or ()
    most = code.co_argcount - bound
    least = most - len(defaults)
    if code.co_flags & 0x04 and most == 0:  # *args only
        return None, 0, 1
    return getattr(function, "__name__", role), least, most
