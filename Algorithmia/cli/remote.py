"""What several commands know about places on the platform: short forms, wildcards, listings."""
import re

from .. import errors, uri
from .context import UsageError

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any  # noqa: F401


def connect(args):
    """A client for the profile that the command line names."""
    from ..client import Client

    return Client(profile=args.profile)


def algorithm(client, text):
    """The `Algorithm` that `text` names; ``me/NAME`` and ``.my/NAME`` are of the client's own account.

    Raises UsageError if it isn't OWNER/NAME or OWNER/NAME/VERSION.
    """
    owner, slash, rest = re.sub("^algo:/*", "", text).lstrip("/").partition("/")
    try:
        if slash and owner in ("me", ".my"):
            uri.AlgorithmRef("me/" + rest)  # before the account is asked for
            text = "%s/%s" % (client.username(), rest)
        return client.algo(text)
    except ValueError as error:
        raise UsageError("algo: error: %s. Write OWNER/NAME or OWNER/NAME/VERSION" % error)


def named_algorithm(client, names):
    """The `Algorithm` that the first of `names` names, else the one that the project in the working directory is."""
    from ..project import Project

    return algorithm(client, names[0] if names else Project(".").reference)


def full_uri(path):
    # type: (str) -> str
    """`path` as a data URI; without a protocol it is hosted data. Raises UsageError for an unknown protocol."""
    try:
        return uri.data_uri(*uri.parse_data_uri(path))
    except ValueError as error:
        raise UsageError("algo: error: %s" % error)


def collection(target):
    # type: (str) -> Any
    """The URI of the collection that `target` is, or is in; None if that isn't hosted data."""
    connector, path = uri.parse_data_uri(target)
    if connector != uri.HOSTED:
        return None
    path = path.strip("/")
    return uri.data_uri(connector, (uri.split_hosted(path) or (path, ""))[0])


def has_no_folders(client, collection):
    # type: (Any, str) -> bool
    """Whether it is known that the collection can't have folders; of one that isn't there yet nothing is known."""
    from ..small_files import Company

    return not Company(client).takes_folders(collection) and client.data_type(collection) is not None


def has_wildcard(path):
    # type: (str) -> bool
    """Whether the last part of `path` holds a ``*``."""
    return "*" in uri.base_name(path)


def matcher(pattern):
    """A compiled pattern in which only ``*`` is special: every other character may be part of a file's name."""
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")) + r"\Z", re.DOTALL)


def _split(target):
    # type: (str) -> tuple
    """Directory and last part of a URI whose last part is a pattern."""
    connector, path = uri.parse_data_uri(target)
    parent, _, pattern = path.rstrip("/").rpartition("/")
    return uri.data_uri(connector, parent), pattern


def expand(client, target, with_directories=False):
    """The files that `target` stands for: itself, or those that match its wildcard. Raises NotFoundError for none."""
    if not has_wildcard(target):
        yield client.file(target)
        return
    parent, pattern = _split(target)
    match = matcher(pattern).match
    found = False
    for item in client.dir(parent).list():
        if (with_directories or item.is_file()) and match(item.getName()):
            found = True
            yield item
    if not found:
        raise errors.NotFoundError("no file matches %s" % target)


def open_entries(client, path):
    """``(kind, entries)`` for ``ls PATH``: a directory's entries, a file itself, or what matches a wildcard.

    The first page is fetched here, so that a missing place is an error before anything is printed.
    """
    target = full_uri(path)
    if has_wildcard(target):
        parent, pattern = _split(target)
        match = matcher(pattern).match
        found = [item for item in client.dir(parent).list() if match(item.getName())]
        if not found:
            raise errors.NotFoundError("nothing matches %s" % target)
        return "wildcard", found
    item = _as_file(client, target)
    if item is not None:
        return "file", [item]
    entries = iter(client.dir(target).list())
    try:
        first = [next(entries)]
    except StopIteration:
        first = []
    return "directory", _chain(first, entries)


def _as_file(client, target):
    """The file at `target`, by one HEAD; None if it can't be or isn't one. A GET would fetch its content."""
    connector, inside = uri.parse_data_uri(target)
    shallow = connector == uri.HOSTED and inside.rstrip("/").count("/") < 2  # an account or a collection
    if shallow or not inside or inside.endswith("/"):
        return None
    item = client.file(target)
    try:
        item.stat()
    except errors.NotFoundError:
        return None
    return item


def _chain(first, rest):
    for item in first:
        yield item
    for item in rest:
        yield item
