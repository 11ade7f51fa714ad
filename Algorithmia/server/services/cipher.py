"""Encryption of what people entrust to the platform: secrets of algorithms, credentials of connectors."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from ..db.values import new_id
from ..durable import sync

if TYPE_CHECKING:
    from cryptography.fernet import Fernet


class WrongKey(Exception):
    """The text was encrypted with another key than the platform has now."""


class Cipher:
    """Encrypts and decrypts texts with one key. Any thread may call.

    key_file  holds the key; made at first use
    """

    def __init__(self, key_file: Path) -> None:
        self.key_file = key_file
        self._fernet: Fernet | None = None
        self._lock = threading.Lock()

    def encrypt(self, text: str) -> str:
        """`text` as ASCII that only this key opens."""
        return self._key().encrypt(text.encode("utf-8")).decode("ascii")

    def decrypt(self, encrypted: str) -> str:
        """What `encrypt` was given. Raises WrongKey."""
        from cryptography.fernet import InvalidToken

        try:
            return self._key().decrypt(encrypted.encode("ascii")).decode("utf-8")
        except (InvalidToken, ValueError):
            raise WrongKey(f"{self.key_file.name} is not the key that this was stored with") from None

    def _key(self) -> Fernet:
        from cryptography.fernet import Fernet

        with self._lock:
            if self._fernet is None:
                try:
                    key = self.key_file.read_bytes()
                except FileNotFoundError:
                    key = _make_key(self.key_file, Fernet.generate_key())
                self._fernet = Fernet(key)
            return self._fernet


def _make_key(path: Path, key: bytes) -> bytes:
    """Write `key` to `path` so that it survives a crash complete or not at all; what is there afterwards."""
    temporary = path.with_name(f"{path.name}.{new_id()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(key)
            handle.flush()
            os.fsync(handle.fileno())
        try:
            os.link(temporary, path)  # unlike a rename, never over a key that is in use
        except FileExistsError:
            return path.read_bytes()
    finally:
        temporary.unlink()
    sync(path.parent)
    return key
