"""The content type that a hosted file keeps: the sender's, or a guess from its name, or one from its bytes."""

from __future__ import annotations

import codecs
import mimetypes
import re

_VALID = re.compile(r"[\w.+*-]{1,127}/[\w.+*-]{1,127}[\x20-\x7e]{0,200}", re.ASCII)
# What curl and old clients say when nobody told them anything.
_MEANINGLESS = ("application/x-www-form-urlencoded",)


class ContentType:
    """Finds the type of one file while its bytes pass by.

    sent  the request's Content-Type header
    name  the file's name
    """

    def __init__(self, sent: str | None, name: str) -> None:
        self._type = self._from_header(sent)
        self._looks_at_bytes = False
        if self._type is None:
            self._type = self._from_name(name)
            # Without a charset, clients read text as Latin-1: say UTF-8 where it's true.
            self._looks_at_bytes = self._type is None or self._type.startswith("text/")
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._is_text = True

    def feed(self, data: bytes | memoryview) -> None:
        """Look at the next bytes of the file."""
        if self._looks_at_bytes and self._is_text:
            data = bytes(data)
            self._is_text = b"\0" not in data and self._decodes(data)

    def result(self) -> str:
        """The type, once all bytes have been seen."""
        if not self._looks_at_bytes:
            return self._type or "application/octet-stream"
        if self._is_text and self._decodes(b"", final=True):
            return f"{self._type or 'text/plain'}; charset=utf-8"
        return self._type or "application/octet-stream"

    def _decodes(self, data: bytes, final: bool = False) -> bool:
        try:
            self._decoder.decode(data, final)
        except UnicodeDecodeError:
            return False
        return True

    @staticmethod
    def _from_header(sent: str | None) -> str | None:
        if not sent or sent.partition(";")[0].strip().lower() in _MEANINGLESS:
            return None
        # It'll be sent back as a header: anything odd is as good as nothing.
        return sent if _VALID.fullmatch(sent) else None

    @staticmethod
    def _from_name(name: str) -> str | None:
        extension = name.rpartition(".")[2] if "." in name else ""
        # guess_type takes a URL: only a plain extension can't be read as anything else.
        if not re.fullmatch(r"[A-Za-z0-9]+", extension):
            return None
        if extension.lower() in ("gz", "tgz"):
            return "application/gzip"
        kind, encoding = mimetypes.guess_type(f"x.{extension}")
        return None if encoding else kind
