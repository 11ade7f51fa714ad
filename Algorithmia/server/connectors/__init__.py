"""Drivers of the storage providers that people connect: S3, Google Cloud Storage, Azure blobs and Dropbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..errors import BadRequest
from .base import Account, Driver
from .credentials import PROTOCOLS


def open_driver(protocol: str, account: Account) -> Driver:
    """A driver of `protocol` for what `account` gives access to. Nothing is sent yet.

    Raises BadRequest for a protocol that is not offered, MissingPackage when its package is not installed.
    """
    return _constructor(protocol)(account)


def check_protocol(protocol: str) -> None:
    """Raises BadRequest unless this platform has a driver for `protocol`."""
    _constructor(protocol)


def _constructor(protocol: str) -> Callable[[Account], Driver]:
    try:
        return _CONSTRUCTORS[protocol]
    except KeyError:
        raise BadRequest(
            f"protocol {protocol[:60]!r} is not one of those that can be connected: {', '.join(sorted(_CONSTRUCTORS))}"
        ) from None


def _s3(account: Account) -> Driver:
    from .s3 import S3

    return S3(account)


def _gs(account: Account) -> Driver:
    from .gs import GoogleStorage

    return GoogleStorage(account)


def _azureblob(account: Account) -> Driver:
    from .azureblob import AzureBlob

    return AzureBlob(account)


def _dropbox(account: Account) -> Driver:
    from .dropbox import Dropbox

    return Dropbox(account)


_CONSTRUCTORS: Mapping[str, Callable[[Account], Driver]] = {
    "azureblob": _azureblob,
    "dropbox": _dropbox,
    "gs": _gs,
    "s3": _s3,
}

__all__ = ["PROTOCOLS", "Account", "Driver", "check_protocol", "open_driver"]
