"""The profiles file, and the answer to "which address, which credentials, and where did that come from".

Rules, first match wins (`resolve`):

1. explicit: constructor arguments (`Algorithmia.apiKey` and `apiAddress` count), or a profile named by argument or
   ``ALGORITHMIA_PROFILE`` (``local``, as the platform on this machine wrote it, is the embedded platform);
2. environment: ``ALGORITHMIA_API``, ``ALGORITHMIA_API_KEY``, ``ALGORITHMIA_BEARER_TOKEN``, ``REQUESTS_CA_BUNDLE``;
3. the ``default`` profile of ``$ALGORITHMIA_HOME/config``;
4. nothing at all: the embedded platform.

Credentials never mix across rules, and a key never goes to an address that it was not configured with.
"""
import os
import re
from collections import OrderedDict, namedtuple

from ._compat import make_dirs, native, replace_file, string_types, text_type, to_bytes, to_text, urlsplit
from .errors import ConfigError, ProfileNotFoundError

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, Mapping, NamedTuple, Optional  # noqa: F401
    from typing import OrderedDict as Ordered  # noqa: F401

    from ._types import CaCert  # noqa: F401

    _Profile = NamedTuple(
        "_Profile", [("api_key", str), ("api_server", str), ("ca_cert", str), ("bearer_token", str)]
    )
    _Connection = NamedTuple(
        "_Connection",
        [
            ("address", Optional[str]),
            ("api_key", Optional[str]),
            ("bearer_token", Optional[str]),
            ("ca_cert", CaCert),
            ("source", str),
        ],
    )
else:
    _Profile = namedtuple("Profile", "api_key api_server ca_cert bearer_token")
    _Connection = namedtuple("Connection", "address api_key bearer_token ca_cert source")

DEFAULT_ADDRESS = "https://api.algorithmia.com"
DEFAULT_PROFILE = "default"
LOCAL_PROFILE = "local"  # written by the platform on this machine


class Profile(_Profile):
    """One entry of the profiles file; an empty string is an unset value."""

    __slots__ = ()

    def __new__(cls, api_key="", api_server="", ca_cert="", bearer_token=""):
        # type: (str, str, str, str) -> Profile
        return super(Profile, cls).__new__(cls, api_key, api_server, ca_cert, bearer_token)


class Connection(_Connection):
    """Where to connect and as whom.

    address       base address, or None for the embedded platform
    api_key, bearer_token, ca_cert  or None; ca_cert may be False (no verification)
    source        a phrase that says where this came from, for messages
    """

    __slots__ = ()


EMBEDDED = "the embedded platform"


def home():
    # type: () -> str
    """``$ALGORITHMIA_HOME``, else ``~/.algorithmia`` (Windows: ``%LOCALAPPDATA%\\Algorithmia``)."""
    given = os.environ.get("ALGORITHMIA_HOME")
    if given:
        return os.path.expanduser(given)
    if os.name == "nt" and os.environ.get("LOCALAPPDATA"):
        return os.path.join(os.environ["LOCALAPPDATA"], "Algorithmia")
    return os.path.join(os.path.expanduser("~"), ".algorithmia")


def config_path():
    # type: () -> str
    """Path of the profiles file. An ancient ``~/.algorithmia`` that is itself the file is read where it is."""
    place = home()
    return place if os.path.isfile(place) else os.path.join(place, "config")


def load_profiles(path=None):
    # type: (Optional[str]) -> Ordered[str, Profile]
    """All profiles by name, in file order; empty if there is no file.

    Files of the old Python CLI and of the older Rust CLI are read; unknown keys are ignored, missing ones are empty.
    Raises ConfigError if the file can't be read or is not TOML.
    """
    return OrderedDict((name, _profile(table)) for name, table in _tables(path or config_path()).items())


def save_profile(name, profile, path=None):
    # type: (str, Profile, Optional[str]) -> None
    """Write `profile` as `name`, keeping the others and the keys of `name` that this version doesn't know.

    The file is replaced in one step and readable by its owner alone (0600).
    """
    path = path or config_path()
    if os.path.isfile(home()) and path == home():
        path = _move_old_file(path)
    make_dirs(os.path.dirname(path), 0o700)
    with _locked(path):
        document = _document(path)
        profiles = document.setdefault("profiles", {})
        table = profiles.get(name)
        if not isinstance(table, dict):
            table = profiles[name] = {}
        table.update(profile._asdict())
        _write(path, document)


def normalize_address(text):
    # type: (str) -> str
    """An API address as it is used: scheme and host, no trailing ``/`` and no ``/v1``.

    Raises ConfigError unless it is an http or https URL with a host and without user, query or fragment.
    """
    address = to_text(text).strip()
    try:
        parts = urlsplit(address)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port  # raises ValueError when it isn't a number
    except ValueError:
        valid = False
    if not valid or parts.username or parts.query or parts.fragment or any(c.isspace() for c in address):
        example = "http://%s" % address if re.match(r"[\w.-]+(:\d+)?$", address) else DEFAULT_ADDRESS
        shown = re.sub("//[^/]*@", "//...@", native(address))  # without a password
        raise ConfigError("invalid API address %r: give an http or https URL, such as %s" % (shown, native(example)))
    address = address.rstrip("/")
    if address.endswith("/v1"):
        address = address[:-3].rstrip("/")
    return native(address)


def git_address(address, profile=None):
    # type: (str, Optional[str]) -> str
    """Base address of the git hosting that belongs to the API at `address`: what `profile` says under ``git_server``,
    else the API's address with ``git.`` for ``api.``, else the API's own."""
    table = _tables(config_path()).get(profile, {}) if profile else {}
    given = table.get("git_server")
    if given and isinstance(given, string_types):
        return normalize_address(given)
    return address.replace("//api.", "//git.", 1)


def resolve(
    api_key=None,  # type: Optional[str]
    api_address=None,  # type: Optional[str]
    ca_cert=None,  # type: CaCert
    bearer_token=None,  # type: Optional[str]
    profile=None,  # type: Optional[str]
    environ=None,  # type: Optional[Mapping[str, str]]
):
    # type: (...) -> Connection
    """Decide the connection by the rules at the top of this module.

    Raises ProfileNotFoundError for an unknown profile and ConfigError for an unusable address or profiles file.
    """
    env = os.environ if environ is None else environ  # type: Mapping[str, str]
    if api_key or bearer_token or api_address:
        connection = _from_arguments(api_key, api_address, bearer_token, env)
    elif profile or env.get("ALGORITHMIA_PROFILE"):
        connection = _from_profile(profile or env["ALGORITHMIA_PROFILE"])
    elif env.get("ALGORITHMIA_API") or env.get("ALGORITHMIA_API_KEY") or env.get("ALGORITHMIA_BEARER_TOKEN"):
        connection = _from_environment(env)
    else:
        connection = _from_default_profile()
    if ca_cert is None:
        ca_cert = connection.ca_cert or env.get("REQUESTS_CA_BUNDLE") or None
    return connection._replace(ca_cert=ca_cert)


def _from_arguments(api_key, api_address, bearer_token, env):
    # type: (Optional[str], Optional[str], Optional[str], Mapping[str, str]) -> Connection
    env_address = env.get("ALGORITHMIA_API")
    address = normalize_address(api_address or env_address or DEFAULT_ADDRESS)
    connection = Connection(address, api_key or None, bearer_token or None, None, "arguments")
    if api_key or bearer_token:
        return connection
    if not env_address or normalize_address(env_address) == address:
        connection = connection._replace(
            api_key=env.get("ALGORITHMIA_API_KEY") or None, bearer_token=env.get("ALGORITHMIA_BEARER_TOKEN") or None
        )
    return connection if connection.api_key or connection.bearer_token else _with_profile_key(connection)


def _from_environment(env):
    # type: (Mapping[str, str]) -> Connection
    connection = Connection(
        normalize_address(env.get("ALGORITHMIA_API") or DEFAULT_ADDRESS),
        env.get("ALGORITHMIA_API_KEY") or None,
        env.get("ALGORITHMIA_BEARER_TOKEN") or None,
        None,
        "environment",
    )
    return connection if connection.api_key or connection.bearer_token else _with_profile_key(connection)


def _with_profile_key(connection):
    # type: (Connection) -> Connection
    """Add the default profile's credentials if they were configured for just this address."""
    profile = load_profiles().get(DEFAULT_PROFILE)
    if profile and profile.api_server and normalize_address(profile.api_server) == connection.address:
        return connection._replace(
            api_key=profile.api_key or None, bearer_token=profile.bearer_token or None, ca_cert=profile.ca_cert or None
        )
    return connection


def _from_profile(name):
    # type: (str) -> Connection
    profiles = load_profiles()
    if name == LOCAL_PROFILE and (name not in profiles or is_embedded(profiles[name])):
        return Connection(None, None, None, None, EMBEDDED)  # which is started if it doesn't run
    if name not in profiles:
        raise ProfileNotFoundError("%s profile not found. Run 'algo auth --profile %s'" % (name, name))
    return _of_profile(name, profiles[name])


def is_embedded(profile):
    # type: (Profile) -> bool
    """Whether `profile` is what the platform of this home wrote, not somebody's own profile of that name."""
    try:
        with open(os.path.join(home(), "platform", "port")) as handle:
            return profile.api_server == "http://127.0.0.1:%d" % int(handle.read())
    except (IOError, OSError, ValueError):
        return False


def _from_default_profile():
    # type: () -> Connection
    profile = load_profiles().get(DEFAULT_PROFILE)
    if profile is None or not any(profile):
        return Connection(None, None, None, None, EMBEDDED)
    return _of_profile(DEFAULT_PROFILE, profile)


def _of_profile(name, profile):
    # type: (str, Profile) -> Connection
    return Connection(
        normalize_address(profile.api_server or DEFAULT_ADDRESS),
        profile.api_key or None,
        profile.bearer_token or None,
        profile.ca_cert or None,
        "profile %s" % name,
    )


def _profile(table):
    # type: (Dict[str, Any]) -> Profile
    values = [table.get(field) or "" for field in Profile._fields]
    return Profile(*[native(value) if isinstance(value, string_types) else str(value) for value in values])


def _tables(path):
    # type: (str) -> Dict[str, Any]
    profiles = _document(path).get("profiles", {})
    if not isinstance(profiles, dict):
        return {}
    return OrderedDict((name, table) for name, table in profiles.items() if isinstance(table, dict))


def _document(path):
    # type: (str) -> Dict[str, Any]
    import io

    import toml

    if not os.path.exists(path):
        return {}
    try:
        with io.open(path, encoding="utf-8") as handle:
            return toml.loads(handle.read(), _dict=OrderedDict)
    except (OSError, IOError) as error:
        raise ConfigError("can't read the profiles file %s: %s" % (path, error.strerror or error))
    except Exception as error:  # toml raises IndexError and friends for some malformed files
        raise ConfigError("the profiles file %s is not valid TOML: %s. Repair or remove it" % (path, error))


def _write(path, document):
    # type: (str, Dict[str, Any]) -> None
    import tempfile

    import toml

    handle, temporary = tempfile.mkstemp(prefix=".config-", dir=os.path.dirname(path))  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(to_bytes(toml.dumps(document, _encoder())))
            stream.flush()
            os.fsync(stream.fileno())
        replace_file(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _encoder():
    # type: () -> Any
    """toml's encoder, for text as it is: its own writes ``\\xfc`` without the backslash on 2.7."""
    import json

    import toml

    encoder = toml.TomlEncoder(OrderedDict)
    # JSON's strings are TOML's.
    encoder.dump_funcs[str] = encoder.dump_funcs[text_type] = lambda text: json.dumps(to_text(text), ensure_ascii=False)
    return encoder


def _move_old_file(path):
    # type: (str) -> str
    """Turn the file ``~/.algorithmia`` into ``~/.algorithmia/config``, as installers used to."""
    aside = path + ".moving"
    os.rename(path, aside)
    make_dirs(path, 0o700)
    target = os.path.join(path, "config")
    os.rename(aside, target)
    return target


class _locked(object):
    """Holds off other writers of the profiles file, so that two of them can't lose each other's profile."""

    def __init__(self, path):
        # type: (str) -> None
        self._path = os.path.join(os.path.dirname(path), ".config.lock")

    def __enter__(self):
        # type: () -> None
        self._handle = open(self._path, "a")
        try:
            import fcntl
        except ImportError:  # Windows: the replace alone keeps the file whole
            return
        fcntl.flock(self._handle, fcntl.LOCK_EX)

    def __exit__(self, *exc_info):
        # type: (*object) -> None
        self._handle.close()
