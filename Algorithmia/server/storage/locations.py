"""Where a platform keeps file contents: what ``--storage`` may say, and the blob store that it means.

The file ``storage`` in the state directory remembers it, because a platform that looks in another place finds nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import durable
from .base import PROBE, BlobStore
from .local import LocalBlobStore

if TYPE_CHECKING:
    from obstore.store import ObjectStore

LOCAL = "local"
_EXTRA = 'pip install "algorithmia[object-storage]"'
# Compiled on use: most platforms never ask.
_URL = r"(s3|gs|az)://([a-zA-Z0-9][a-zA-Z0-9._-]{1,221})(?:/(.*))?"
_PREFIX = r"[a-zA-Z0-9_.=+@-]+(?:/[a-zA-Z0-9_.=+@-]+)*"
# While it starts, somebody waits for the message; later, a store that is away for a moment fails no request.
_AT_START = timedelta(seconds=10)
_LATER = timedelta(seconds=60)


class StorageProblem(Exception):
    """File contents can't be kept where the operator says; the message names the place and the remedy."""


class Location(NamedTuple):
    """A place for file contents: `scheme` is ``local``, ``s3``, ``gs`` or ``az``; `bucket` is a container there."""

    scheme: str = LOCAL
    bucket: str = ""
    prefix: str = ""

    def __str__(self) -> str:
        if self.scheme == LOCAL:
            return LOCAL
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")


def parse(text: str) -> Location:
    """What `text` names. Raises StorageProblem."""
    if text.strip().lower() in ("", LOCAL):
        return Location()
    found = re.fullmatch(_URL, text.strip())
    prefix = (found[3] or "").strip("/") if found else ""
    # Neither keys nor options: this is seen in lists of processes.
    if found is None or (prefix and not re.fullmatch(_PREFIX, prefix)) or {".", ".."} & set(prefix.split("/")):
        shown = re.sub(r"//[^/]*@", "//...@", text.partition("?")[0])
        raise StorageProblem(
            f"--storage {shown} is not valid: it takes local, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or "
            "az://CONTAINER/PREFIX; credentials come from the environment"
        )
    return Location(found[1].lower(), found[2], prefix)


def open_store(location: Location, state: Path) -> BlobStore:
    """The blob store at `location`; what isn't settled is below the directory `state`. Raises StorageProblem.

    One elsewhere is tried: a small object is written and removed.
    """
    root = state / "blobs"
    if location.scheme == LOCAL:
        return LocalBlobStore(root)
    try:
        _try(location, _connected(location, os.environ, _AT_START))
        objects = _connected(location, os.environ, _LATER)
    except ImportError as problem:
        raise StorageProblem(f"--storage {location} needs the Python package obstore: {_EXTRA} [{problem}]") from None
    from .objects import ObjectBlobStore

    if location.scheme == "s3":
        from . import s3_parts

        return ObjectBlobStore(objects, root, partial(s3_parts.remove, location.bucket, location.prefix))
    return ObjectBlobStore(objects, root)


def remembered(state: Path) -> Location | None:
    """Where this platform's contents are, as far as `state` tells; None when there may be none yet."""
    try:
        return parse((state / "storage").read_text())
    except FileNotFoundError:
        pass
    try:
        # From before it was remembered: whatever there is, is here.
        return Location() if any(len(name) == 2 for name in os.listdir(state / "blobs")) else None
    except FileNotFoundError:
        return None


def remember(state: Path, location: Location) -> None:
    """From now on this platform's contents are at `location`."""
    if location.scheme == LOCAL and not (state / "storage").exists():
        return  # nothing to tell from a platform that never had another
    durable.replace(state / "storage", f"{location}\n")


def check(state: Path, location: Location) -> None:
    """Raises StorageProblem when this platform's contents are elsewhere."""
    before = remembered(state)
    if before is not None and before != location:
        raise StorageProblem(
            f"this platform's files are in {before}, not in {location}: start it with --storage {before} "
            f"(or ALGORITHMIA_STORAGE={before}), or move them first: algo local migrate-storage {location}"
        )


def _connected(location: Location, environ: Mapping[str, str], patience: timedelta) -> ObjectStore:
    """The library's store at `location`. It finds the credentials by itself; some variables go by further names."""
    from obstore import store
    from obstore.exceptions import BaseError

    from . import s3_profiles

    options: dict[str, Any] = {
        # A slow client may take hours over a file; what counts is that it goes on.
        "client_options": {"timeout": timedelta(days=7), "connect_timeout": "5s", "read_timeout": "60s"},
        "retry_config": {"max_retries": 5, "retry_timeout": patience},
        "prefix": location.prefix or None,
    }
    config: Any = {}
    try:
        if location.scheme == "s3":
            endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or ""
            _allow_plain(options, endpoint)
            if endpoint:
                config["aws_endpoint_url"] = endpoint
            options["credential_provider"], region = s3_profiles.find(environ)
            if region and not environ.get("AWS_REGION"):
                config["aws_region"] = region
            return store.S3Store(location.bucket, config=config, **options)
        if location.scheme == "gs":
            _allow_plain(options, environ.get("GOOGLE_BASE_URL") or "")
            return store.GCSStore(location.bucket, **options)
        # The names that Azure's own programs know them by.
        for key, variable in (
            ("azure_storage_account_name", "AZURE_STORAGE_ACCOUNT"),
            ("azure_storage_account_key", "AZURE_STORAGE_KEY"),
        ):
            if environ.get(variable):
                config[key] = environ[variable]
        endpoint = environ.get("AZURE_STORAGE_ENDPOINT") or environ.get("AZURE_ENDPOINT") or ""
        _allow_plain(options, endpoint)
        return store.AzureStore(location.bucket, config=config, **options)
    except (BaseError, ValueError) as problem:
        raise _unusable(location, problem) from None


def _allow_plain(options: dict[str, Any], endpoint: str) -> None:
    if endpoint.startswith("http://"):
        options["client_options"]["allow_http"] = True


def _try(location: Location, objects: Any) -> None:
    import obstore
    from obstore.exceptions import BaseError

    try:
        obstore.put(objects, PROBE, b"", use_multipart=False)
        with suppress(FileNotFoundError):  # another server starts, too
            obstore.delete(objects, PROBE)
    except (BaseError, OSError) as problem:
        raise _unusable(location, problem) from None


def _unusable(location: Location, problem: BaseException) -> StorageProblem:
    from .object_errors import told

    return StorageProblem(
        f"can't use --storage {location}: {told(problem)}. Check that the {_KIND[location.scheme]} exists, and the "
        f"credentials in the environment ({_VARIABLES[location.scheme]})"
    )


_KIND = {"s3": "bucket", "gs": "bucket", "az": "container"}
_VARIABLES = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, or AWS_PROFILE with the extra s3; AWS_ENDPOINT_URL "
    "for a store of another make",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN",
}
