"""Builds and sources of algorithms over HTTP; `algorithms.py` has the paths."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ..app import json_response, platform_of
from ..builds.records import IN_PROGRESS
from ..errors import BadRequest, Code, NotFound, TooLarge
from ..services.algorithm_access import Viewed
from .algorithm_paths import Asked, Path, owned, page_of, page_response, readable
from .parsing import flag, read_json

_BUILDS_PAGE = 10
_MAX_MESSAGE = 10_000


class CompileBody(msgspec.Struct):
    """The body of ``POST …/compile``; may be missing."""

    commitSha: str | None = None
    force: bool | None = None


async def list_builds(request: Request, path: Path) -> Response:
    """``GET …/builds?limit&marker``"""
    asked = await readable(request, path)
    limit, marker = page_of(request, _BUILDS_PAGE)
    return await run_in_threadpool(_page, request, asked.viewed, limit, marker or None)


async def get_build(request: Request, path: Path) -> Response:
    """``GET …/builds/ID``"""
    asked = await readable(request, path)
    build = await _build(request, asked, path)
    return json_response(await run_in_threadpool(platform_of(request).documents.build, asked.viewed, build))


async def get_logs(request: Request, path: Path) -> Response:
    """``GET …/builds/ID/logs``: the whole log once the build has ended; with ``?follow=true`` as it grows."""
    builds = platform_of(request).builds
    asked = await readable(request, path)
    build = await _build(request, asked, path)
    if flag(request, "follow"):
        return StreamingResponse(builds.follow(build.id), media_type="text/plain; charset=utf-8")
    if build.status == IN_PROGRESS:
        raise NotFound(
            f"build {build.id} is in progress: its logs are complete once it ends (?follow=true shows them as it runs)",
            Code.BUILD_LOGS_NOT_FOUND,
        )
    text = await run_in_threadpool(builds.log, build.id)
    if text is None:
        raise NotFound(f"build {build.id} has no logs", Code.BUILD_LOGS_NOT_FOUND)
    return json_response({"logs": text})


async def compile_(request: Request, path: Path) -> Response:
    """``POST …/compile``: build the newest source (or ``commitSha``) and answer once that has ended.

    What is built already is not built again, unless it is published (so that it can be published anew) or `force` says
    so.
    """
    platform = platform_of(request)
    asked = await owned(request, path)
    body = CompileBody()
    if request.headers.get("content-length", "") != "0":
        body = await read_json(request, CompileBody, '{"commitSha": "40 hexadecimal digits"}')
    viewed = asked.viewed
    commit = (body.commitSha or "").lower()
    if not commit:
        head = await run_in_threadpool(platform.repositories.head, viewed.id)
        commit = head or ""
    elif not await run_in_threadpool(platform.repositories.has_commit, viewed.id, commit):
        raise BadRequest(f"{viewed.reference} has no commit {commit[:60]!r}")
    if not commit:
        raise NotFound(f"{viewed.reference} has no source to build: push a commit first", Code.BUILD_NOT_FOUND)
    build_id = await platform.builds.request(viewed.id, commit, force=bool(body.force))
    await platform.builds.wait(build_id)
    document = await run_in_threadpool(platform.documents.version_of_build, viewed, build_id)
    if not body.force and "semantic_version" in document.get("version_info", {}):
        build_id = await platform.builds.request(viewed.id, commit, force=True)
        await platform.builds.wait(build_id)
        document = await run_in_threadpool(platform.documents.version_of_build, viewed, build_id)
    return json_response(document)


async def put_source(request: Request, path: Path) -> Response:
    """``PUT …/source?message=``: a gzipped tar becomes the whole content of master, and is built.

    Answers at once; ``created`` says whether anything had changed.
    """
    platform = platform_of(request)
    asked = await owned(request, path)
    viewed = asked.viewed
    message = request.query_params.get("message") or "Deploy"
    if len(message) > _MAX_MESSAGE or "\0" in message:
        raise BadRequest(f"message has a NUL character or more than {_MAX_MESSAGE} characters")
    with platform.management.upload() as archive:
        await _receive(request, archive, platform.settings.max_push_bytes)
        author = asked.identity.account.username
        commit, is_new = await platform.management.replace_source(viewed, archive, message, author)
    build_id = await platform.builds.request(viewed.id, commit)
    return json_response({"commit_sha": commit, "build_id": build_id, "created": is_new})


async def _receive(request: Request, target: FilePath, limit: int) -> None:
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
        raise _too_large(limit)
    size = 0
    with open(target, "wb") as handle:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            if chunk:
                await run_in_threadpool(handle.write, chunk)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the archive is larger than {limit} bytes, the most that this platform takes (--max-push-bytes)")


def _page(request: Request, viewed: Viewed, limit: int, marker: str | None) -> Response:
    platform = platform_of(request)
    rows, following = platform.builds.page(viewed.id, limit, marker)
    return page_response(request, platform.documents.builds(viewed, rows), following)


async def _build(request: Request, asked: Asked, path: Path) -> Any:
    build_id = path.rest[1]
    build = await run_in_threadpool(platform_of(request).builds.get, asked.viewed.id, build_id)
    if build is None:
        raise NotFound(f"{asked.viewed.reference} has no build {build_id[:60]!r}", Code.BUILD_NOT_FOUND)
    return build
