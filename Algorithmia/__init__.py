"""An open Algorithmia: call algorithms and keep data on the embedded platform, or on any other that speaks the API.

::

    import Algorithmia
    Algorithmia.client().algo("demo/Hello").pipe("HAL 9000").result

Importing this package reads no file, opens no connection and imports no HTTP library; first use does.
"""
import threading as _threading

from . import config as _config
from ._version import __version__
from .client import Client
from .handler import Handler

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Callable, Optional, Tuple  # noqa: F401

    from ._types import CaCert  # noqa: F401
    from .algorithm import Algorithm  # noqa: F401
    from .datadirectory import AdvancedDataDirectory  # noqa: F401
    from .datafile import AdvancedDataFile  # noqa: F401

__all__ = [
    "ADK",
    "Client",
    "Handler",
    "__version__",
    "algo",
    "apiAddress",
    "apiKey",
    "client",
    "dir",
    "file",
    "getApiAddress",
    "getDefaultClient",
    "handler",
]

# Credentials of the default client; set them at any time.
apiKey = None  # type: Optional[str]
apiAddress = None  # type: Optional[str]

defaultClient = None  # type: Optional[Client]
_default_from = None  # type: Optional[Tuple[Optional[str], ...]]  # the settings that defaultClient was made with
_default_lock = _threading.Lock()


def client(api_key=None, api_address=None, ca_cert=None, bearer_token=None, profile=None):
    # type: (Optional[str], Optional[str], CaCert, Optional[str], Optional[str]) -> Client
    """A `Client`; what is not given comes from `apiKey`/`apiAddress` of this module, the environment, the default
    profile, or is the embedded platform. Raises ConfigError for an unusable address or profile."""
    if profile is None:
        api_key = api_key or (None if bearer_token else apiKey)
        api_address = api_address or apiAddress
    return Client(api_key, api_address, ca_cert, bearer_token, profile)


def getDefaultClient():
    # type: () -> Client
    """The client behind `algo`, `file` and `dir`; made anew when the settings it depends on have changed."""
    global defaultClient, _default_from
    import os

    names = ("ALGORITHMIA_API", "ALGORITHMIA_API_KEY", "ALGORITHMIA_BEARER_TOKEN", "ALGORITHMIA_PROFILE",
             "ALGORITHMIA_HOME", "REQUESTS_CA_BUNDLE")
    settings = (apiKey, apiAddress) + tuple(os.environ.get(name) for name in names)
    with _default_lock:
        if defaultClient is None or _default_from != settings:
            defaultClient, _default_from = client(), settings
        return defaultClient


def getApiAddress():
    # type: () -> str
    """The configured address: `apiAddress`, ``ALGORITHMIA_API``, or the documented default."""
    import os

    return apiAddress or os.environ.get("ALGORITHMIA_API") or _config.DEFAULT_ADDRESS


def algo(algoRef):
    # type: (str) -> Algorithm
    """The `Algorithm` that `algoRef` names, on the default client."""
    return getDefaultClient().algo(algoRef)


def file(dataUrl):
    # type: (str) -> AdvancedDataFile
    """The file at `dataUrl`, on the default client."""
    return getDefaultClient().file(dataUrl)


def dir(dataUrl):
    # type: (str) -> AdvancedDataDirectory
    """The directory at `dataUrl`, on the default client."""
    return getDefaultClient().dir(dataUrl)


def handler(apply_func, load_func=lambda: None):
    # type: (Callable[..., Any], Callable[..., Any]) -> Handler
    """A `Handler`: the older way for an algorithm to serve its `apply_func`."""
    return Handler(apply_func, load_func)


from .adk import ADK  # noqa: E402  (algorithms import it from here)
