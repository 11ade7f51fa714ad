"""Managing an algorithm: create, update, compile, publish, builds, versions, secrets. A mixin of `Algorithm`.

API document: Algorithm Management API. Every method returns the parsed answer as a dict whose members can also be read
as attributes (`Document`), as scripts for the 1.x client do. None of these requests is sent twice.
"""
import json
import tempfile
import time

from . import errors
from .documents import wrap
from .uri import quote_segment

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, List, Optional  # noqa: F401

    from ._types import Json, ManagementBase  # noqa: F401
    from .documents import Document  # noqa: F401
    from .project import Project  # noqa: F401
else:
    ManagementBase = object


class AlgorithmManagement(ManagementBase):
    """The management half of `Algorithm`; needs `self.client` and `self.ref`."""

    def create(self, details, settings, version_info=None, source=None, scmsCredentials=None):
        # type: (Json, Json, Optional[Json], Optional[Json], Optional[Json]) -> Document
        """Create this algorithm with `details` and `settings` (see the API document).

        Raises ConflictError if it exists.
        """
        body = _given(details=details, settings=settings, version_info=version_info, source=source,
                      scmsCredentials=scmsCredentials)
        body["name"] = self.ref.name
        return self._manage("POST", "", body, path="/v1/algorithms/" + self.ref.owner)

    def update(self, details=None, settings=None, version_info=None, source=None, scmsCredentials=None):
        # type: (Optional[Json], Optional[Json], Optional[Json], Optional[Json], Optional[Json]) -> Document
        """Change what is given; the rest stays."""
        body = _given(details=details, settings=settings, version_info=version_info, source=source,
                      scmsCredentials=scmsCredentials)
        return self._manage("PUT", "", body)

    def delete(self):
        # type: () -> None
        """Delete this algorithm with its source and builds. Raises ConflictError once it has a public version."""
        self._manage("DELETE", "")

    def publish(self, details=None, settings=None, version_info=None, source=None, scmsCredentials=None):
        # type: (Optional[Json], Optional[Json], Optional[Json], Optional[Json], Optional[Json]) -> Document
        """Publish the newest successful build as the next version.

        ``version_info["version_type"]`` says which part of the number grows.
        """
        body = _given(details=details, settings=settings, version_info=version_info, source=source,
                      scmsCredentials=scmsCredentials)
        # Its sample input is run before the answer comes.
        return self._manage("POST", "/versions", body, read_timeout=None)

    def compile(self, force=False, commit=None):
        # type: (bool, Optional[str]) -> Document
        """Build the newest source and wait for the build to end: ``compilation.successful`` says how it did.

        force   build it even if it is built already (what is published is built again in any case)
        commit  build this one
        """
        return self._manage("POST", "/compile", _given(force=force or None, commitSha=commit), read_timeout=None)

    def info(self, algo_hash=None):
        # type: (Optional[str]) -> Document
        """This algorithm, or its version built from commit `algo_hash`."""
        return self._manage("GET", "/versions/" + quote_segment(algo_hash) if algo_hash else "")

    def versions(self, limit=None, marker=None, published=None, callable=None):
        # type: (Optional[int], Optional[str], Optional[bool], Optional[bool]) -> Document
        """A page of versions under ``results``; `published` and `callable` filter when they are not None."""
        query = {"limit": limit, "marker": marker, "published": published, "callable": callable}
        return self._manage("GET", "/versions", query=query)

    def get_builds(self, limit=56, marker=None):
        # type: (Optional[int], Optional[str]) -> Document
        """A page of builds, newest first, under ``results``."""
        return self._manage("GET", "/builds", query={"limit": limit, "marker": marker})

    builds = get_builds

    def get_build(self, build_id):
        # type: (str) -> Document
        """One build."""
        return self._manage("GET", "/builds/" + quote_segment(build_id))

    def get_build_logs(self, build_id):
        # type: (str) -> Document
        """The log of one build under ``logs``. Raises NotFoundError while the build is in progress."""
        return self._manage("GET", "/builds/%s/logs" % quote_segment(build_id))

    build_logs = get_build_logs

    def stream_build_logs(self, build_id):
        # type: (str) -> Iterator[bytes]
        """The log of one build, from its beginning and as it grows, in pieces; ends when the build has ended."""
        subject = "algo://" + self.ref.path
        path = "%s/builds/%s/logs" % (self.ref.resource_path, quote_segment(build_id))
        response = self.client.request(
            "GET", path, {"follow": True}, stream=True, read_timeout=None, retry=False, subject=subject
        )
        try:
            with self.client.reading(subject):
                # Not by size: every piece is handed on as it comes.
                for piece in response.stream(None) if response.chunked else response.stream(65536):
                    if piece:
                        yield piece
            response.release_conn()
        finally:
            response.close()

    def wait_for_build(self, build_id, on_log=None):
        # type: (str, Optional[Callable[[bytes], object]]) -> Document
        """Wait until a build has ended and return it; its ``status`` is ``succeeded`` or ``failed``.

        on_log  called with every piece of the log as it comes
        """
        for piece in self.stream_build_logs(build_id):
            if on_log is not None:
                on_log(piece)
        build = self.get_build(build_id)
        while build["status"] not in ("succeeded", "failed"):
            time.sleep(1)
            build = self.get_build(build_id)
        return build

    def deploy(self, directory=".", message=None):
        # type: (str, Optional[str]) -> Document
        """Make the project in `directory` the algorithm's source: a commit, which is built.

        What git would commit there is sent; without git, all but what tools leave behind. Returns at once, with
        ``commit_sha``, ``build_id`` (see `wait_for_build`) and ``created``, False if nothing has changed.
        """
        from .project import Project

        return self.upload_source(Project(directory), message)

    def upload_source(self, project, message=None):
        # type: (Project, Optional[str]) -> Document
        """The same for a `Project`."""
        with tempfile.TemporaryFile() as packed:
            project.pack(packed)
            packed.seek(0)
            response = self.client.request(
                "PUT",
                self.ref.resource_path + "/source",
                {"message": message},
                packed,
                "application/gzip",
                read_timeout=None,
                retry=False,
                subject="algo://" + self.ref.path,
            )
        return wrap(self.client._parsed(response))

    def get_scm_status(self):
        # type: () -> Document
        """State of the source hosting."""
        return self._manage("GET", "/scm/status")

    def exists(self):
        # type: () -> bool
        """Whether there is such an algorithm."""
        try:
            self._manage("GET", "")
        except errors.NotFoundError:
            return False
        return True

    def errors(self):
        # type: () -> List[Document]
        """Calls of this algorithm that failed lately, newest first."""
        return self._manage("GET", "/errors")

    def log(self, since=None, until=None):
        # type: (Optional[str], Optional[str]) -> Document
        """Commits of the source under ``commits``, newest first: those after commit `since`, up to commit `until`."""
        return self._manage("GET", "/log", query={"since": since, "until": until})

    def get_algorithm_id(self):
        # type: () -> str
        """The algorithm's UUID."""
        return self._manage("GET", "")["id"]

    def get_secrets(self):
        # type: () -> Document
        """The algorithm's secrets, without their values."""
        return self._manage("GET", "/secrets", path="/v1/algorithms/" + self.get_algorithm_id())

    def set_secret(self, short_name, secret_key, secret_value, description=None):
        # type: (str, str, str, Optional[str]) -> Document
        """Store `secret_value` for the algorithm's workers as environment variable `secret_key`."""
        providers = self.client.get_secret_providers()
        default = [provider for provider in providers if provider.get("isDefault")] or providers[:1]
        algorithm_id = self.get_algorithm_id()
        body = {
            "owner_type": "algorithm",
            "owner_id": algorithm_id,
            "short_name": short_name,
            "provider_id": default[0]["id"] if default else None,
            "secret_key": secret_key,
            "secret_value": secret_value,
            "description": description or " ",
        }
        return self._manage("POST", "/secrets", body, path="/v1/algorithms/" + algorithm_id)

    def update_secret(self, secret_id, short_name=None, secret_value=None, description=None):
        # type: (str, Optional[str], Optional[str], Optional[str]) -> Document
        """Change what is given of a secret. The name of its variable stays."""
        body = _given(short_name=short_name, secret_value=secret_value, description=description)
        return self._manage("PUT", "/secrets/" + quote_segment(secret_id), body)

    def delete_secret(self, secret_id):
        # type: (str) -> None
        """Remove a secret."""
        self._manage("DELETE", "/secrets/" + quote_segment(secret_id))

    def _manage(self, method, rest, body=None, query=None, path=None, **options):
        # type: (str, str, Any, Optional[Json], Optional[str], **Any) -> Any
        """One management request about this algorithm; `rest` follows the algorithm's (or the given) path."""
        response = self.client.request(
            method,
            (path or self.ref.resource_path) + rest,
            query,
            None if body is None else json.dumps(body),
            None if body is None else "application/json",
            subject="algo://" + self.ref.path,
            **options
        )
        return wrap(self.client._parsed(response))


def _given(**members):
    # type: (**Any) -> Json
    return {name: value for name, value in members.items() if value is not None}
