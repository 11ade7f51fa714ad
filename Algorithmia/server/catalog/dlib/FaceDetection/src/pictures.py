"""Pictures in and out: fetched within limits, decoded without trust, written in the format that the name asks for."""
import os
import time

import Algorithmia
from Algorithmia.errors import ApiError

from .web import InputError, fetch

MAX_IMAGES = 20
MAX_BYTES = 25 * 1024 * 1024
MAX_PIXELS = 50 * 1000 * 1000
FETCH_SECONDS = 30
# OpenCV reads this once, before it decodes its first picture: small files may claim enormous sizes.
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(MAX_PIXELS)

import cv2  # noqa: E402
import numpy  # noqa: E402

_WEB = ("http://", "https://")
_SCHEMES = ("data", "s3", "dropbox", "gs", "azureblob")  # not file: that is the machine's, not the caller's
_FORMATS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def read(address):
    """The bytes behind a data URI or a web address."""
    if address.lower().startswith(_WEB):
        until = time.time() + FETCH_SECONDS
        content, _ = fetch(address, MAX_BYTES, until, "image/*", lambda kind: _check_kind(address, kind))
    elif _is_data(address):
        content = _stored(address)
    else:
        raise InputError("%.200s is neither a data URI (data://.my/folder/picture.jpg) nor a web address" % address)
    if len(content) > MAX_BYTES:
        raise _too_large(address)
    return content


def _stored(uri):
    try:
        with Algorithmia.client().file(uri).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except ApiError as error:
        raise InputError("%.200s can't be read: %s" % (uri, error))


def _check_kind(address, kind):
    if kind.startswith("text/") or kind in ("application/json", "application/xhtml+xml"):
        raise InputError("%.200s is %.80s, not an image" % (address, kind))


def decode(content, address):
    """The picture as OpenCV has it (rows of blue, green, red), turned the right way up."""
    picture = None
    if content:
        try:
            picture = cv2.imdecode(numpy.frombuffer(content, dtype=numpy.uint8), cv2.IMREAD_COLOR)
        except cv2.error:
            pass
    if picture is None:
        raise InputError(
            "%.200s is not an image that can be read: PNG, JPEG, WebP or BMP with at most %d million pixels"
            % (address, MAX_PIXELS // 10**6)
        )
    return picture


def check_output(uri):
    """Raise InputError unless a picture can be written to `uri`."""
    if not isinstance(uri, str) or not _is_data(uri):
        raise InputError("output must be a data URI such as data://.algo/temp/faces.png, not %.200r" % (uri,))
    if _extension(uri) not in _FORMATS:
        raise InputError("output %.200s must end in one of %s" % (uri, ", ".join(_FORMATS)))


def encode(picture, uri):
    """`picture` in the format that the name of `uri` ends in."""
    return cv2.imencode(_extension(uri), picture)[1].tobytes()


def store(uri, content):
    """Write `content` to `uri`."""
    try:
        Algorithmia.client().file(uri).put(content)
    except ApiError as error:
        raise InputError("%.200s can't be written: %s" % (uri, error))


def _is_data(address):
    scheme, separator, _ = address.partition("://")
    # A connector's label follows a "+": s3+label://...
    return bool(separator) and scheme.lower().split("+")[0] in _SCHEMES


def _extension(uri):
    return os.path.splitext(uri)[1].lower()


def _too_large(address):
    return InputError("%.200s is larger than %d MB" % (address, MAX_BYTES // 2**20))
