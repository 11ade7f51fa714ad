"""The old home of the command line: scripts read profiles through its class `CLI`. The command itself is in `cli`."""
import os

from . import config
from .errors import ProfileNotFoundError

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Optional  # noqa: F401


class CLI(object):
    """Access to the profiles file under the names of the 2.x client."""

    def auth(self, apiaddress, apikey="", cacert="", profile="default", bearer=""):
        # type: (str, str, str, str, str) -> None
        """Save a profile. Raises ConfigError for an address that is not an http or https URL."""
        address = config.normalize_address(apiaddress or config.DEFAULT_ADDRESS)
        config.save_profile(profile, config.Profile(apikey, address, cacert, bearer))

    def getAPIkey(self, profile):
        # type: (str) -> Optional[str]
        """The profile's key, else that of ``ALGORITHMIA_API_KEY``, else None."""
        return self._value(profile, "api_key", "ALGORITHMIA_API_KEY")

    def getBearerToken(self, profile):
        # type: (str) -> Optional[str]
        """The profile's token, else that of ``ALGORITHMIA_BEARER_TOKEN``, else None."""
        return self._value(profile, "bearer_token", "ALGORITHMIA_BEARER_TOKEN")

    def getAPIaddress(self, profile):
        # type: (str) -> Optional[str]
        """The profile's address, else that of ``ALGORITHMIA_API``, else None."""
        return self._value(profile, "api_server", "ALGORITHMIA_API")

    def getCert(self, profile):
        # type: (str) -> Optional[str]
        """The profile's CA file, else None."""
        return self._value(profile, "ca_cert", None)

    def getconfigfile(self):
        # type: () -> str
        """Path of the profiles file."""
        return config.config_path()

    @staticmethod
    def _value(profile, field, variable):
        # type: (str, str, Optional[str]) -> Optional[str]
        profiles = config.load_profiles()
        if profile not in profiles and profile != config.DEFAULT_PROFILE:
            raise ProfileNotFoundError("%s profile not found. Run 'algo auth --profile %s'" % (profile, profile))
        value = getattr(profiles.get(profile, config.Profile()), field)
        return value or (os.environ.get(variable) if variable else None) or None
