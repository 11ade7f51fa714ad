"""Finding and running a project's entry module, the same way wherever that happens: on a platform, or on the author's
machine. Runs on CPython 2.7 and 3.6+."""
import io
import json
import os
import runpy
from importlib import import_module

from .._compat import native
from .adk import ADK, positional

_hidden_frames = True


def entry_module(root):
    # type: (str) -> str
    """The project's entry module: ``src.ALGONAME``, else ``src.Algorithm``. Raises Exception if there is neither."""
    name, problem = None, ""
    try:
        with io.open(os.path.join(root, "algorithmia.conf"), encoding="utf-8") as handle:
            name = json.load(handle)["algoname"]
    except (IOError, OSError) as error:
        problem = error.strerror or str(error)
    except KeyError:
        problem = "it has none"
    except TypeError:
        problem = "it is no object"
    except (ValueError, RuntimeError) as error:  # not JSON, or nested too deeply
        problem = str(error)
    if problem:  # outside of the handlers: how it was found out is nothing to the author
        raise Exception("algorithmia.conf must be a JSON object with the member algoname: %s" % problem)
    for candidate in (name, "Algorithm"):
        if os.path.isfile(os.path.join(root, "src", "%s.py" % candidate)):
            return native("src.%s" % candidate)  # runpy of 2.7 refuses unicode
    raise Exception(
        "there is no src/%s.py (nor src/Algorithm.py): the algorithm's code goes there, and %s is the algoname in "
        "algorithmia.conf" % (name, name)
    )


def run_project(root, host):
    # type: (str, object) -> None
    """Run the project's entry module the way its layout asks for; `host` serves it. `root` must be on the path.

    Returns only if `host` does, or if the project serves nothing.
    """
    module_name = entry_module(root)
    if os.path.exists(os.path.join(root, ".adk")):
        runpy.run_module(module_name, run_name="__main__", alter_sys=True)
        raise Exception(
            "%s ended without serving: end it with ADK(apply).init() (from Algorithmia import ADK), or remove the file "
            ".adk from the project, and its function apply is called" % module_name.replace(".", "/")
        )
    module = import_module(module_name)
    apply_func = getattr(module, "apply", None)
    if apply_func is None:
        raise Exception("%s has no function apply" % module_name)
    load_func = getattr(module, "load", None)
    # Without .adk, `load` may also be the name of something else entirely.
    if load_func is not None and positional(load_func, "load")[1] > 0:
        load_func = None
    host.serve(ADK(apply_func, load_func))  # type: ignore[attr-defined]
