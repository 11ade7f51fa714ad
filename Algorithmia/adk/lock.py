"""The checksum that locks a freeze file: MD5 of Python 3's ``str`` of the document without it, keys in file order.

The form is that of published freeze files, so it is the same on every Python here.
"""
import hashlib
import sys
import unicodedata

_NAMED = {u"\\": u"\\\\", u"\n": u"\\n", u"\r": u"\\r", u"\t": u"\\t"}
_UNPRINTABLE = frozenset(["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"])


def lock_checksum(manifest):
    # type: (dict) -> str
    """The checksum of `manifest`, an ordered mapping as decoded from JSON."""
    members = [(name, value) for name, value in manifest.items() if name != "lock_checksum"]
    if sys.version_info[0] > 2:
        text = str(_plain(dict(members)))
    else:
        text = _mapping(members)
    return hashlib.md5(text.encode("utf-8")).hexdigest()


def _plain(value):
    # type: (object) -> object
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


# -- Python 3's form, written out for 2.7 --------------------------------------------------------------------------


def _mapping(members):
    # type: (list) -> str
    return u"{%s}" % u", ".join(u"%s: %s" % (_python3_repr(name), _python3_repr(value)) for name, value in members)


def _python3_repr(value):
    # type: (object) -> str
    if isinstance(value, dict):
        return _mapping(list(value.items()))
    if isinstance(value, list):
        return u"[%s]" % u", ".join(_python3_repr(item) for item in value)
    if isinstance(value, type(u"")):
        quote = u'"' if u"'" in value and u'"' not in value else u"'"
        body = u"".join(u"\\" + quote if character == quote else _escaped(character) for character in value)
        return quote + body + quote
    return u"%s" % repr(value).rstrip("L")


def _escaped(character):
    # type: (str) -> str
    if character in _NAMED:
        return _NAMED[character]
    if character == u" " or unicodedata.category(character) not in _UNPRINTABLE:
        return character
    code = ord(character)
    return (u"\\x%02x" if code < 0x100 else u"\\u%04x" if code < 0x10000 else u"\\U%08x") % code
