"""Whether two places on the platform are apart, by whatever names they go: what overlaps can't be copied safely."""
from .. import errors, uri

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Tuple  # noqa: F401


class RealPlaces(object):
    """Data URIs without the names that ``.my`` and a default connector stand for, so that equal means the same place.

    operands  the places that a command names; what is below them can be asked for, too. If all of them begin alike
              nothing has to be asked of the platform.
    """

    def __init__(self, client, operands):
        # type: (Any, Iterable[str]) -> None
        self._client = client
        heads = {_head(place) for place in operands if uri.is_remote(place)}
        self._owners = len({head for connector, head in heads if connector == uri.HOSTED}) > 1
        self._connectors = {connector for connector, _ in heads}
        self._known = {}  # type: Dict[str, str]

    def parts(self, place):
        # type: (str) -> Tuple[str, ...]
        """Connector, owner and names, one by one. Raises the SDK's errors."""
        connector, path = uri.parse_data_uri(place)
        names = [name for name in path.split("/") if name]
        if connector == uri.HOSTED:
            if names:
                names[0] = names[0].lower()
                if names[0] == ".my" and self._owners:
                    names[0] = self._ask(".my", lambda: self._client.username().lower())
        elif "+" not in connector and any(other.startswith(connector + "+") for other in self._connectors):
            default = connector
            connector = self._ask(default, lambda: self._client.connector(default)["connector_id"])
        return tuple([connector] + names)

    def holds(self, place, other):
        # type: (str, str) -> bool
        """Whether `other` is `place`, or in it."""
        outer = self.parts(place)
        return self.parts(other)[: len(outer)] == outer

    def _ask(self, name, ask):
        # type: (str, Any) -> str
        if name not in self._known:
            try:
                self._known[name] = ask()
            except errors.RefusedError:
                self._known[name] = name  # a platform, or a key, that doesn't tell
        return self._known[name]


def _head(place):
    # type: (str) -> Tuple[str, str]
    """Connector, and the first name of the path."""
    connector, path = uri.parse_data_uri(place)
    return connector, path.strip("/").partition("/")[0].lower()
