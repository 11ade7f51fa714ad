"""Parts of uploads to S3 that a killed server left: no object has them, nobody sees them, and they cost all the same.

The library that does everything else in object stores can't list them, so this takes boto3, where it's installed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

log = logging.getLogger("algorithmia.storage")


def remove(bucket: str, prefix: str, paths: Sequence[str]) -> None:
    """Remove what there is of unfinished uploads to `paths` below `prefix`. Failing is no reason not to start."""
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        log.info("parts of uploads that were cut short may be left in %s: pip install algorithmia[s3]", bucket)
        return
    start = f"{prefix}/" if prefix else ""
    keys = {start + path for path in paths}
    try:
        # Everything else it reads from the same variables.
        client = boto3.session.Session(region_name=os.environ.get("AWS_REGION")).client("s3")
        for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=start):
            for upload in page.get("Uploads", ()):
                if upload["Key"] in keys:
                    client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    except (BotoCoreError, ClientError, ValueError) as problem:
        log.warning("parts of uploads that were cut short may be left in %s: %s", bucket, type(problem).__name__)
