"""Which client a file system uses, here and wherever a copy of it is unpickled: keys don't travel.

A pickled file system says where its platform is, or which profile it was made from, and gives its client a name that
means something in this process and its forks alone. Elsewhere the credentials are those configured there for the same
address, as `Algorithmia.config` says: another machine has its own environment and profiles.
"""
import errno
import uuid
import weakref

from . import config
from .client import Client

TYPE_CHECKING = False  # as everywhere in the SDK
if TYPE_CHECKING:
    from typing import Any, Dict, Optional  # noqa: F401

    from .fs import AlgorithmiaFileSystem  # noqa: F401

_names = weakref.WeakKeyDictionary()  # type: Any  # client -> its name
_clients = weakref.WeakValueDictionary()  # type: Any  # name -> client
_travelling = {}  # type: Dict[str, Client]  # kept: they were pickled
_PROFILE = "profile "
_KEY = "key"


def filesystem(client, options):
    # type: (Client, Dict[str, Any]) -> AlgorithmiaFileSystem
    """The file system of `client`. Raises ImportError where fsspec isn't installed."""
    try:
        from .fs import AlgorithmiaFileSystem
    except ImportError as problem:
        if "fsspec" not in str(problem):
            raise
        raise ImportError("file systems need fsspec, 2024.12 or newer: pip install 'algorithmia[fsspec]'")
    # Not remembered by fsspec, for whom clients with other keys would be the same.
    return AlgorithmiaFileSystem(skip_instance_cache=True, **dict(options, **options_of(client)))


def options_of(client):
    # type: (Client) -> Dict[str, Any]
    """The options, none of them secret, from which `client_of` makes `client` again."""
    options = {}  # type: Dict[str, Any]
    if client.source == config.EMBEDDED:
        options["profile"] = config.LOCAL_PROFILE
    elif client.source.startswith(_PROFILE):
        options["profile"] = client.source[len(_PROFILE) :]
    else:
        options["api_address"] = client.apiAddress
    if client.ca_cert is not None:
        options["ca_cert"] = client.ca_cert
    has_key = client.apiKey or client.bearerToken
    name = _names.setdefault(client, "%s-%s" % (_KEY if has_key else "none", uuid.uuid4().hex))
    _clients[name] = client
    options["credentials"] = name
    return options


def client_of(credentials=None, api_address=None, profile=None, ca_cert=None):
    # type: (Optional[str], Optional[str], Optional[str], Any) -> Client
    """The client that `options_of` described, or one with what is configured here for the same address or profile."""
    client = _clients.get(credentials)
    if client is None:
        client = Client(apiAddress=api_address, profile=profile, caCert=ca_cert)
        if credentials is not None:  # and elsewhere it's passed on under the same name
            _names[client] = credentials
            _clients[credentials] = client
    return client


def keep(client):
    # type: (Client) -> None
    """Remember `client` as long as this process lives: a description of it is on its way."""
    name = _names.get(client)
    if name is not None:
        _travelling[name] = client


def check(client):
    # type: (Client) -> None
    """Raises PermissionError if `client` was to have credentials that are not configured here."""
    if _names.get(client, "").startswith(_KEY) and not (client.apiKey or client.bearerToken or client._embedded):
        raise PermissionError(
            errno.EACCES,
            "this file system was pickled without its key, and no key is configured here for %s: set ALGORITHMIA_API "
            "and ALGORITHMIA_API_KEY where it is used, or name a profile" % client.apiAddress,
        )
