"""`Handler`: the older entry point of algorithms, on the machinery of the ADK."""
from . import adk as _adk_package

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Callable  # noqa: F401

__all__ = ["Handler"]

_hidden_frames = True


class Handler(object):
    """An algorithm that serves `apply_func`; made by ``Algorithmia.handler(apply_func, load_func)``.

    apply_func  ``apply(input)`` or ``apply(input, state)``
    load_func   ``load()``; what it returns is the state
    """

    def __init__(self, apply_func, load_func=lambda: None):
        # type: (Callable[..., Any], Callable[..., Any]) -> None
        self._adk = _adk_package.ADK(apply_func, load_func)

    def serve(self):
        # type: () -> None
        """Load, then answer calls until there are no more.

        Where the documented protocol's FIFO exists and loading fails, the error is written there once and this
        returns, as the platform expects of this entry point.
        """
        algorithm = self._adk
        if algorithm.is_local or _adk_package.adk.host is not None or algorithm.load():
            algorithm.init()
        else:
            from .adk import serving

            serving.write_failure(algorithm)
