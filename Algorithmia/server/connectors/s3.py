"""Amazon S3 and what speaks its protocol, through boto3. Paths are BUCKET/KEY; the root lists buckets."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import BadRequest, NotFound
from .base import (
    CONNECT_SECONDS,
    PIECE,
    READ_SECONDS,
    Account,
    Driver,
    Entry,
    MissingPackage,
    Page,
    Reader,
    split_bucket,
)
from .endpoints import guarded_pools

# The protocol's limits: parts of an upload, and names of one deletion.
_MAX_PARTS = 10_000
_DELETE_BATCH = 1000


class S3(Driver):
    """A `Driver` with an access key."""

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            raise MissingPackage("boto3", "s3") from None
        # Their debug messages show headers and addresses, which hold signatures.
        for name in ("boto3", "botocore", "s3transfer", "urllib3"):
            logging.getLogger(name).setLevel(logging.WARNING)
        given = account.credentials
        options: dict[str, Any] = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "retries": {"max_attempts": 3, "mode": "standard"},
            "max_pool_connections": 32,
            "ignore_configured_endpoint_urls": True,
            # Other implementations don't know Amazon's newer checksums.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
        if account.endpoint:
            options["s3"] = {"addressing_style": "path"}
            options["proxies"] = {}
        session = boto3.session.Session(
            given["access_key_id"],
            given["secret_access_key"],
            given.get("session_token"),
            given.get("region", "us-east-1"),
        )
        self._client: Any = session.client("s3", endpoint_url=account.endpoint or None, config=Config(**options))
        if account.endpoint:
            manager = self._client._endpoint.http_session._manager
            manager.pool_classes_by_scheme = guarded_pools(account.guard, manager.pool_classes_by_scheme)

    def may_hold_files(self, path: str) -> bool:
        return "/" in path

    def stat(self, path: str) -> Entry | None:
        bucket, key = split_bucket(path)
        if not key:
            return None
        with self.translated(path):
            try:
                found = self._client.head_object(Bucket=bucket, Key=key)
            except self._client.exceptions.ClientError as problem:
                if self.status_of(problem)[0] == 404:
                    return None
                raise
        return Entry(
            path,
            found["ContentLength"],
            found["ETag"].strip('"'),
            _milliseconds(found["LastModified"]),
            found.get("ContentType") or "application/octet-stream",
            found["ETag"],
        )

    def is_directory(self, path: str) -> bool:
        bucket, key = split_bucket(path)
        if not bucket:
            return True
        try:
            with self.translated(path):
                if not key:
                    self._client.head_bucket(Bucket=bucket)
                    return True
                found = self._client.list_objects_v2(Bucket=bucket, Prefix=f"{key}/", MaxKeys=1)
        except NotFound:
            return False
        return bool(found.get("KeyCount"))

    def page(self, directory: str, token: str = "", limit: int = 1000, recursive: bool = False) -> Page:
        bucket, key = split_bucket(directory)
        with self.translated(directory):
            if not bucket:
                return Page([item["Name"] for item in self._client.list_buckets()["Buckets"]])
            prefix = f"{key}/" if key else ""
            options: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": limit}
            if not recursive:
                options["Delimiter"] = "/"
            if token:
                options["ContinuationToken"] = token
            found = self._client.list_objects_v2(**options)
        files = [
            Entry(f"{bucket}/{item['Key']}", item["Size"], item["ETag"].strip('"'), _milliseconds(item["LastModified"]))
            for item in found.get("Contents", ())
        ]
        folders = [f"{bucket}/{item['Prefix'].removesuffix('/')}" for item in found.get("CommonPrefixes", ())]
        return Page(folders, files, found.get("NextContinuationToken") or "")

    def open(self, entry: Entry, start: int, length: int) -> Reader:
        bucket, key = split_bucket(entry.path)
        with self.translated(entry.path):
            found = self._client.get_object(
                Bucket=bucket, Key=key, Range=f"bytes={start}-{start + length - 1}", IfMatch=entry.version
            )
        body: Reader = found["Body"]
        return body

    def put(self, path: str, source: io.BufferedReader, size: int | None, content_type: str) -> str:
        from boto3.s3.transfer import TransferConfig

        bucket, key = split_bucket(path)
        # Of unknown length: parts that let it grow to 160 GB.
        piece = 4 * PIECE if size is None else max(2 * PIECE, size // (_MAX_PARTS - 1) + 1)
        config = TransferConfig(multipart_threshold=piece, multipart_chunksize=piece, max_concurrency=3)
        config.max_in_memory_upload_chunks = 3
        with self.translated(path):
            self._client.upload_fileobj(source, bucket, key, {"ContentType": content_type}, Config=config)
        stored = self.stat(path)
        return stored.etag if stored else ""

    def delete(self, path: str) -> None:
        bucket, key = split_bucket(path)
        with self.translated(path):
            self._client.delete_object(Bucket=bucket, Key=key)

    def delete_many(self, paths: Sequence[str]) -> Iterator[int]:
        bucket = split_bucket(paths[0])[0] if paths else ""
        for index in range(0, len(paths), _DELETE_BATCH):
            batch = paths[index : index + _DELETE_BATCH]
            names = [{"Key": split_bucket(path)[1]} for path in batch]
            with self.translated(batch[0]):
                answer = self._client.delete_objects(Bucket=bucket, Delete={"Objects": names, "Quiet": True})
            failed = answer.get("Errors", ())
            yield len(batch) - len(failed)
            if failed:
                raise BadRequest(f"the storage provider did not remove {len(failed)} files ({failed[0].get('Code')})")

    def make_directory(self, path: str) -> None:
        bucket, key = split_bucket(path)
        if not key:
            raise BadRequest("buckets can't be created through a connector; create them with their provider")
        with self.translated(path):
            self._client.put_object(Bucket=bucket, Key=f"{key}/", Body=b"")

    def remove_directory(self, path: str) -> None:
        bucket, key = split_bucket(path)
        if not key:
            raise BadRequest("buckets can't be removed through a connector; remove them with their provider")
        with self.translated(path):
            self._client.delete_object(Bucket=bucket, Key=f"{key}/")

    def status_of(self, problem: Exception) -> tuple[int, str]:
        from botocore.exceptions import ClientError, ParamValidationError

        if isinstance(problem, ClientError):
            response = problem.response
            code = str(response.get("Error", {}).get("Code", ""))
            status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            return status, code[:60]
        if isinstance(problem, ParamValidationError):
            # A bucket name that can't be.
            return 404, ""
        return 0, ""


def _milliseconds(moment: Any) -> int:
    return int(moment.timestamp() * 1000)
