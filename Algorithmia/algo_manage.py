"""Managing an algorithm: create, update, compile, publish, builds, versions, secrets. A mixin of `Algorithm`.

API document: Algorithm Management API. Every method returns the parsed answer as a dict whose members can also be read
as attributes (`Document`), as scripts for the 1.x client do. None of these requests is sent twice.
"""
import json

from . import errors
from .documents import wrap


class AlgorithmManagement(object):
    """The management half of `Algorithm`; needs `self.client` and `self.ref`."""

    def create(self, details, settings, version_info=None, source=None, scmsCredentials=None):
        # type: (dict, dict, dict, dict, dict) -> dict
        """Create this algorithm with `details` and `settings` (see the API document). Raises ConflictError if it exists."""
        body = _given(details=details, settings=settings, version_info=version_info, source=source,
                      scmsCredentials=scmsCredentials)
        body["name"] = self.ref.name  # type: ignore[attr-defined]
        return self._manage("POST", "", body, path="/v1/algorithms/" + self.ref.owner)  # type: ignore[attr-defined]

    def update(self, details=None, settings=None, version_info=None, source=None, scmsCredentials=None):
        # type: (dict, dict, dict, dict, dict) -> dict
        """Change what is given; the rest stays."""
        body = _given(details=details, settings=settings, version_info=version_info, source=source,
                      scmsCredentials=scmsCredentials)
        return self._manage("PUT", "", body)

    def publish(self, details=None, settings=None, version_info=None, source=None, scmsCredentials=None):
        # type: (dict, dict, dict, dict, dict) -> dict
        """Publish the newest successful build as the next version; ``version_info["version_type"]`` says which part grows."""
        body = _given(details=details, settings=settings, version_info=version_info, source=source,
                      scmsCredentials=scmsCredentials)
        return self._manage("POST", "/versions", body)

    def compile(self):
        # type: () -> dict
        """Build the newest source and wait for the build to end."""
        return self._manage("POST", "/compile", {}, read_timeout=None)

    def info(self, algo_hash=None):
        # type: (str) -> dict
        """This algorithm, or its version built from commit `algo_hash`."""
        return self._manage("GET", "/versions/%s" % algo_hash if algo_hash else "")

    def versions(self, limit=None, marker=None, published=None, callable=None):
        # type: (int, str, bool, bool) -> dict
        """A page of versions under ``results``; `published` and `callable` filter when they are not None."""
        query = {"limit": limit, "marker": marker, "published": published, "callable": callable}
        return self._manage("GET", "/versions", query=query)

    def get_builds(self, limit=56, marker=None):
        # type: (int, str) -> dict
        """A page of builds, newest first, under ``results``."""
        return self._manage("GET", "/builds", query={"limit": limit, "marker": marker})

    builds = get_builds

    def get_build(self, build_id):
        # type: (str) -> dict
        """One build."""
        return self._manage("GET", "/builds/%s" % build_id)

    def get_build_logs(self, build_id):
        # type: (str) -> dict
        """The log of one build under ``logs``."""
        return self._manage("GET", "/builds/%s/logs" % build_id)

    build_logs = get_build_logs

    def get_scm_status(self):
        # type: () -> dict
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

    def get_algorithm_id(self):
        # type: () -> str
        """The algorithm's UUID."""
        return self._manage("GET", "")["id"]

    def get_secrets(self):
        # type: () -> dict
        """The algorithm's secrets, without their values."""
        return self._manage("GET", "/secrets", path="/v1/algorithms/" + self.get_algorithm_id())

    def set_secret(self, short_name, secret_key, secret_value, description=None):
        # type: (str, str, str, str) -> dict
        """Store `secret_value` for the algorithm's workers as environment variable `secret_key`."""
        providers = self.client.get_secret_providers()  # type: ignore[attr-defined]
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

    def _manage(self, method, rest, body=None, query=None, path=None, **options):
        # type: (str, str, object, dict, str, object) -> dict
        """One management request about this algorithm; `rest` follows the algorithm's (or the given) path."""
        response = self.client.request(  # type: ignore[attr-defined]
            method,
            (path or self.ref.resource_path) + rest,  # type: ignore[attr-defined]
            query,
            None if body is None else json.dumps(body),
            None if body is None else "application/json",
            subject="algo://" + self.ref.path,  # type: ignore[attr-defined]
            **options
        )
        return wrap(self.client._parsed(response))  # type: ignore[attr-defined]


def _given(**members):
    # type: (**object) -> dict
    return {name: value for name, value in members.items() if value is not None}
