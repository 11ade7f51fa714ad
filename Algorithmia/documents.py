"""Parsed JSON whose members can be read as items and as attributes, for scripts of both old client generations."""

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict  # noqa: F401

    _Base = Dict[str, Any]
else:
    _Base = dict


class Document(_Base):
    """A JSON object: ``document["results"]`` and ``document.results`` are the same."""

    def __getattr__(self, name):
        # type: (str) -> Any
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name)

    def __setattr__(self, name, value):
        # type: (str, Any) -> None
        self[name] = value


def wrap(value):
    # type: (Any) -> Any
    """`value` with every object in it, however deep, as a `Document`."""
    if isinstance(value, dict):
        return Document((name, wrap(item)) for name, item in value.items())
    if isinstance(value, list):
        return [wrap(item) for item in value]
    return value
