"""Rich display in Jupyter: MIME bundles for responses, files and directories. Imported only when a notebook asks."""
import base64
import json

from ._compat import string_types

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, List, Text  # noqa: F401

    from .algo_response import AlgoResponse  # noqa: F401
    from .datadirectory import DataDirectory  # noqa: F401
    from .datafile import DataFile  # noqa: F401

_IMAGES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_SHOWN_ROWS = 100


def escape(text):
    # type: (Any) -> Text
    """`text` made safe inside HTML."""
    text = text if isinstance(text, string_types) else str(text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def image_type(data):
    # type: (bytes) -> str
    """The MIME type of image `data`, or an empty string if it is none that a notebook shows."""
    for signature, mime in _IMAGES:
        if data.startswith(signature):
            return mime
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else ""


def response_bundle(response):
    # type: (AlgoResponse) -> Dict[str, Any]
    """The bundle of an `AlgoResponse`: an image for image bytes, indented JSON, or text; plain repr always."""
    result = response.result
    bundle = {"text/plain": repr(response)}  # type: Dict[str, Any]
    if response.metadata.content_type == "binary" and isinstance(result, bytes):
        mime = image_type(result)
        if mime:
            bundle[mime] = base64.b64encode(result).decode("ascii")
        else:
            bundle["text/html"] = "<pre>%d bytes of binary data</pre>" % len(result)
        return bundle
    if isinstance(result, (dict, list)):
        bundle["application/json"] = result
        bundle["text/html"] = "<pre>%s</pre>" % escape(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        bundle["text/html"] = "<pre>%s</pre>" % escape(result)
    return bundle


def file_html(item):
    # type: (DataFile) -> Text
    """A line about a data file: URI, size and time of change, or the error's text if the platform won't tell."""
    from .errors import ApiError

    parts = ["<code>%s</code>" % escape(item.uri)]
    if item.size is None:
        try:
            item.stat()
        except ApiError as error:
            return "%s: %s" % (parts[0], escape(error.message))
    if item.size is not None:
        parts.append(human_size(item.size))
    if item.last_modified is not None:
        parts.append(escape(item.last_modified.strftime("%Y-%m-%d %H:%M:%S")))
    return " &middot; ".join(parts)


def directory_html(directory):
    # type: (DataDirectory) -> Text
    """A table of the first entries of a directory; the error's text if it can't be listed."""
    from .errors import ApiError

    rows = []  # type: List[Text]
    more = False
    try:
        for item in directory.list():
            if len(rows) == _SHOWN_ROWS:
                more = True
                break
            rows.append(_row(item))
    except ApiError as error:
        return "<code>%s</code>: %s" % (escape(directory.uri), escape(error.message))
    table = "<table><thead><tr><th>Name</th><th>Size</th><th>Modified</th></tr></thead><tbody>%s</tbody></table>"
    note = "<p>and more</p>" if more else ""
    return "<code>%s</code>" % escape(directory.uri) + table % "".join(rows) + note


def _row(item):
    # type: (Any) -> Text
    if item.is_dir():
        return "<tr><td>%s/</td><td></td><td></td></tr>" % escape(item.getName())
    changed = item.last_modified.strftime("%Y-%m-%d %H:%M:%S") if item.last_modified else ""
    size = human_size(item.size) if item.size is not None else ""
    return "<tr><td>%s</td><td>%s</td><td>%s</td></tr>" % (escape(item.getName()), size, changed)


def human_size(size):
    # type: (float) -> str
    """`size` in bytes as ``algo ls -lH`` prints it: ``48``, ``1.5k``, ``657k``, ``2.1M``."""
    if size < 1000:
        return "%d" % size
    for unit in "kMGTP":
        size /= 1000.0
        if size < 1000 or unit == "P":
            break
    return "%.1f%s" % (size, unit) if size < 10 else "%.0f%s" % (size, unit)
