"""What the emulator of Google Cloud Storage lacks of its XML interface: uploads, whole and in parts, and credentials.

Everything else goes on to the emulator, where complete uploads end, too. What is imitated is in
cloud.google.com/storage/docs/xml-api/reference-methods: numbered parts of 5 MiB at least but for the last, an object
only when all are there, nothing without a token.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import threading
import uuid
import xml.etree.ElementTree as ElementTree
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

LEAST_PART = 5 * 1024 * 1024


_BETWEEN_TWO = {"host", "connection", "content-length", "transfer-encoding", "date"}


class Refused(Exception):
    """An answer with an error document."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.document = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>".encode()


class XmlInterface:
    """Listens at `host` in front of the `emulator`'s address; `token` is the only one that opens.

    uploads  those in parts that were begun and neither completed nor aborted: path and parts by their ids
    """

    def __init__(self, emulator: str, token: str) -> None:
        self.uploads: dict[str, tuple[str, dict[int, bytes]]] = {}
        self._emulator, self._token = emulator, token
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                outer._answer(self)

            do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        try:
            if request.headers.get("Authorization") != f"Bearer {self._token}":
                raise Refused(401, "AuthenticationRequired")
            status, headers, content = self._do(request, body)
        except Refused as refusal:
            status, headers, content = refusal.status, {"Content-Type": "application/xml"}, refusal.document
        with contextlib.suppress(OSError):  # who reads a part of an answer hangs up
            self._send(request, status, headers, content)

    @staticmethod
    def _send(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], content: bytes) -> None:
        request.send_response(status)
        headers.setdefault("Content-Length", str(len(content)))
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)

    def _do(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        bucket, _, name = unquote(parts.path).lstrip("/").partition("/")
        if request.command == "POST" and "uploads" in query:
            upload_id = uuid.uuid4().hex
            self.uploads[upload_id] = (f"{bucket}/{name}", {})
            return 200, {}, _document("InitiateMultipartUploadResult", Bucket=bucket, Key=name, UploadId=upload_id)
        if "uploadId" in query:
            return self._part(request.command, f"{bucket}/{name}", query, body)
        if request.command == "PUT" and name:
            return 200, self._store(bucket, name, body), b""
        told = {key: value for key, value in request.headers.items() if key.lower() not in _BETWEEN_TWO}
        return self._emulated(request.command, request.path, body, told)

    def _part(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        upload_id = query["uploadId"]
        known, parts = self.uploads.get(upload_id, ("", {}))
        if known != path:
            raise Refused(404, "NoSuchUpload")
        if method == "DELETE":
            del self.uploads[upload_id]
            return 204, {}, b""
        if method == "PUT":
            number = int(query["partNumber"])
            if not 1 <= number <= 10_000:
                raise Refused(400, "InvalidArgument")
            parts[number] = body
            return 200, {"ETag": _etag(body)}, b""
        found = ElementTree.fromstring(body).iter("Part")
        listed = [(int(part.findtext("PartNumber") or 0), part.findtext("ETag")) for part in found]
        if not listed:
            raise Refused(400, "MalformedXML")
        numbers = [number for number, _ in listed]
        if numbers != sorted(set(numbers)):
            raise Refused(400, "InvalidPartOrder")
        if any(number not in parts or _etag(parts[number]) != etag for number, etag in listed):
            raise Refused(400, "InvalidPart")
        if any(len(parts[number]) < LEAST_PART for number in numbers[:-1]):
            raise Refused(400, "EntityTooSmall")
        bucket, _, name = path.partition("/")
        headers = self._store(bucket, name, b"".join(parts[number] for number in numbers))
        self.uploads.pop(upload_id, None)
        return 200, headers, _document("CompleteMultipartUploadResult", Bucket=bucket, Key=name, ETag=headers["ETag"])

    def _store(self, bucket: str, name: str, content: bytes) -> dict[str, str]:
        place = f"/upload/storage/v1/b/{quote(bucket)}/o?uploadType=media&name={quote(name, safe='')}"
        status, _, answer = self._emulated("POST", place, content, {"Content-Type": "application/octet-stream"})
        if status != 200:
            raise Refused(status, "NoSuchBucket" if status == 404 else "InternalError")
        generation = re.search(rb'"generation":"(\d+)"', answer)
        return {"ETag": _etag(content), "x-goog-generation": generation[1].decode() if generation else "1"}

    def _emulated(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self._emulator, timeout=60)
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            size = answer.getheader("Content-Length")  # of a HEAD, too
            kept = {"Content-Length": size} if size is not None else {}
            kept |= {name: value for name, value in answer.getheaders() if name.lower() not in _BETWEEN_TWO}
            return answer.status, kept, answer.read()
        finally:
            connection.close()


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


def _document(kind: str, **values: str) -> bytes:
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
    return f"<?xml version='1.0' encoding='UTF-8'?><{kind}>{inner}</{kind}>".encode()
