"""What differs between CPython 2.7 and 3: the only module of the SDK that asks which Python this is.

It imports nothing heavy, since `import Algorithmia` and `algo --help` pay for it.
"""
import sys

import six

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, Text  # noqa: F401

PY2 = six.PY2
text_type = six.text_type
string_types = six.string_types

if PY2:
    from urllib import getproxies, proxy_bypass, quote, unquote, urlencode  # type: ignore[attr-defined]

    from urlparse import urlsplit  # type: ignore[import-not-found]

    def quote_bytes(data, safe=""):
        # type: (bytes, str) -> str
        """Percent-encode `data`, keeping unreserved characters and those in `safe`."""
        return quote(data, safe + "~")

    def unquote_text(text):
        # type: (str) -> Text
        """Percent-decode `text` as UTF-8."""
        if isinstance(text, text_type):
            text = text.encode("utf-8")
        return unquote(text).decode("utf-8")

else:
    from urllib.parse import quote_from_bytes, unquote_to_bytes, urlencode, urlsplit  # noqa: F401

    def quote_bytes(data, safe=""):
        # type: (bytes, str) -> str
        """Percent-encode `data`, keeping unreserved characters and those in `safe`."""
        return quote_from_bytes(data, safe=safe + "~")  # 3.6 would encode the tilde

    def unquote_text(text):
        # type: (str) -> str
        """Percent-decode `text` as UTF-8."""
        return unquote_to_bytes(text).decode("utf-8")

    def getproxies():
        # type: () -> Dict[str, str]
        """Proxies that the environment names, by scheme. urllib.request is heavy, so it is imported on first use."""
        from urllib.request import getproxies as find

        return find()

    def proxy_bypass(host):
        # type: (str) -> bool
        """Whether the environment says that `host` is reached without a proxy."""
        from urllib.request import proxy_bypass as find

        return bool(find(host))


def to_bytes(value):
    # type: (Any) -> bytes
    """`value` (text, or bytes-like) as bytes; text as UTF-8."""
    if isinstance(value, text_type):
        return value.encode("utf-8")
    return bytes(value)


def native(value):
    # type: (Any) -> str
    """`value` as the native string type: bytes on 2.7, text on 3."""
    if PY2 and isinstance(value, text_type):
        return value.encode("utf-8")
    if not PY2 and isinstance(value, bytes):
        return value.decode("utf-8")
    return value


def to_text(value):
    # type: (Any) -> Text
    """`value` (text or UTF-8 bytes) as text."""
    return value.decode("utf-8") if isinstance(value, bytes) else value


def replace_file(source, target):
    # type: (str, str) -> None
    """Rename `source` over `target` in one step."""
    import os

    if PY2:
        os.rename(source, target)
    else:
        os.replace(source, target)


def make_dirs(path, mode=0o777):
    # type: (str, int) -> None
    """Create directory `path` and its parents; no error if it exists."""
    import os

    try:
        os.makedirs(path, mode)
    except OSError:
        if not os.path.isdir(path):
            raise


def warn(message):
    # type: (str) -> None
    """One line to the person at the terminal, on standard error."""
    sys.stderr.write("%s\n" % message)
    sys.stderr.flush()
