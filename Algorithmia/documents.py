"""Parsed JSON whose members can be read as items and as attributes, for scripts of both old client generations."""


class Document(dict):
    """A JSON object: ``document["results"]`` and ``document.results`` are the same."""

    def __getattr__(self, name):
        # type: (str) -> object
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name)

    def __setattr__(self, name, value):
        # type: (str, object) -> None
        self[name] = value


def wrap(value):
    # type: (object) -> object
    """`value` with every object in it, however deep, as a `Document`."""
    if isinstance(value, dict):
        return Document((name, wrap(item)) for name, item in value.items())
    if isinstance(value, list):
        return [wrap(item) for item in value]
    return value
