"""Reads the documents: given in the input, or behind a data URI or a web address."""
import json
import time
from html.parser import HTMLParser

import Algorithmia
from Algorithmia.errors import ApiError

from .web import InputError, fetch

MAX_DOCUMENTS = 20000
MAX_FETCHED = 100  # entries of a list that are addresses
MAX_BYTES = 20 * 1024 * 1024  # of all documents together
FETCH_SECONDS = 60  # for everything that is fetched together
_WEB = ("http://", "https://")
_SCHEMES = ("data", "s3", "dropbox", "gs", "azureblob")


def read_documents(given):
    """The texts that ``docsList`` stands for: a list of texts and addresses, or one address of a file of texts."""
    source = _Source()
    if isinstance(given, str):
        if not is_address(given):
            raise InputError(
                "docsList must be a list of texts, or the data URI or web address of a file, not %.80r" % given
            )
        documents = _split(source.read(given), given)
    elif isinstance(given, list):
        documents = []
        for position, entry in enumerate(given):
            if not isinstance(entry, str):
                raise InputError("docsList[%d] must be a text, not %.80r" % (position, entry))
            documents.append(source.read(entry) if is_address(entry) else source.take(entry))
    else:
        raise InputError("docsList must be a list of texts, or the data URI or web address of a file")
    if len(documents) > MAX_DOCUMENTS:
        raise InputError("there are %d documents; the limit is %d" % (len(documents), MAX_DOCUMENTS))
    if not any(document.strip() for document in documents):
        raise InputError("docsList has no text in it")
    return documents


def is_address(text):
    """Whether `text` is, as a whole, a data URI or a web address."""
    text = text.strip()
    if any(character.isspace() for character in text):
        return False
    lower = text.lower()
    # A connector's label follows a "+": s3+label://...
    return lower.startswith(_WEB) or ("://" in lower and lower.split("://")[0].split("+")[0] in _SCHEMES)


class _Source(object):
    """Counts what is read, over all documents of one call."""

    def __init__(self):
        self._left = MAX_BYTES
        self._fetches = MAX_FETCHED
        self._until = time.time() + FETCH_SECONDS

    def take(self, text):
        self._left -= len(text)
        if self._left < 0:
            raise _too_large()
        return text

    def read(self, address):
        address = address.strip()
        self._fetches -= 1
        if self._fetches < 0:
            raise InputError("docsList has more than %d addresses in it" % MAX_FETCHED)
        if address.lower().startswith(_WEB):
            content, kind = fetch(address, self._left, self._until)
        else:
            content, kind = self._stored(address), ""
        self._left -= len(content)
        if self._left < 0:
            raise _too_large()
        text = content.decode("utf-8", "replace")
        return _text_of_html(text) if "html" in kind else text

    def _stored(self, uri):
        try:
            with Algorithmia.client().file(uri).open("rb") as file:
                return file.read(self._left + 1)
        except ApiError as error:
            raise InputError("%.200s can't be read: %s" % (uri, error))


def _too_large():
    return InputError("the documents together may have %d MB" % (MAX_BYTES // 2**20))


def _split(text, address):
    """The documents of a file: the members of a JSON list, or its lines."""
    if text.lstrip("\ufeff \t\r\n").startswith("["):
        try:
            documents = json.loads(text.lstrip("\ufeff"))
        except ValueError:
            documents = None  # a line of text may start with a bracket
        if documents is not None:
            if not all(isinstance(document, str) for document in documents):
                raise InputError("%.200s must be a JSON list of texts, or one document a line" % address)
            return documents
    return [line for line in text.lstrip("\ufeff").splitlines() if line.strip()]


class _Text(HTMLParser):
    def __init__(self):
        HTMLParser.__init__(self, convert_charrefs=True)
        self.pieces = []
        self._hidden = 0

    def handle_starttag(self, tag, attributes):
        if tag in ("script", "style"):
            self._hidden += 1

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._hidden = max(0, self._hidden - 1)

    def handle_data(self, data):
        if not self._hidden:
            self.pieces.append(data)


def _text_of_html(page):
    parser = _Text()
    parser.feed(page)
    parser.close()
    return "\n".join(piece for piece in map(str.strip, parser.pieces) if piece)
