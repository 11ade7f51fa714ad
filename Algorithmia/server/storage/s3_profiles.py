"""Credentials for S3 from the profiles in ``~/.aws``, by boto3 where it's installed: the library of object stores knows
only those of variables, machines, containers and pods."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

_LIFE = timedelta(minutes=15)
_FILES = (("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), ("AWS_CONFIG_FILE", "~/.aws/config"))


def find(environ: Mapping[str, str]) -> tuple[Callable[[], dict[str, Any]] | None, str | None]:
    """What gives the credentials of the profile that applies, and its region; None for what there isn't.

    Raises ValueError for a profile that can't be used.
    """
    if environ.get("AWS_ACCESS_KEY_ID") or not _has_profiles(environ):
        return None, None
    try:
        import boto3
        from botocore.exceptions import BotoCoreError
    except ImportError:
        return None, None
    try:
        session = boto3.session.Session()
        found = session.get_credentials()
    except BotoCoreError as problem:
        raise ValueError(str(problem)) from None
    if found is None:
        return None, session.region_name

    def credentials() -> dict[str, Any]:
        now = found.get_frozen_credentials()
        return {
            "access_key_id": now.access_key,
            "secret_access_key": now.secret_key,
            "token": now.token,
            "expires_at": datetime.now(timezone.utc) + _LIFE,
        }

    return credentials, session.region_name


def _has_profiles(environ: Mapping[str, str]) -> bool:
    if environ.get("AWS_PROFILE"):
        return True
    return any(os.path.exists(os.path.expanduser(environ.get(name) or usual)) for name, usual in _FILES)
