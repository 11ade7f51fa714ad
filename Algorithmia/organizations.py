"""Accounts, organizations, environments and secrets providers: a mixin of `Client`. API document: management API."""
import io
import json

from . import errors
from .documents import wrap
from .uri import quote_segment

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Union  # noqa: F401

    import requests  # noqa: F401
    from urllib3 import BaseHTTPResponse  # noqa: F401

    from ._types import Json, RequestingBase  # noqa: F401
    from .documents import Document  # noqa: F401
else:
    RequestingBase = object


class OrganizationMethods(RequestingBase):
    """The administrative half of `Client`; needs `self.request`. All return parsed JSON unless they say otherwise."""

    def scms(self):
        # type: () -> Document
        """Source hosting services that algorithms can use."""
        return self._get("/v1/scms")

    def create_user(self, requestString):
        # type: (Json) -> Document
        """Create an account from a dict with ``username`` and ``email``. Needs an admin key."""
        return self._send_json("POST", "/v1/users", requestString)

    def get_org_types(self):
        # type: () -> List[Document]
        """Kinds of organization."""
        return self._get("/v1/organization/types")

    def create_org(self, requestString):
        # type: (Json) -> Document
        """Create an organization; ``type_id`` may be the name of a type. The dict is left as it is."""
        return self._send_json("POST", "/v1/organizations", self._with_type_id(requestString))

    def get_org(self, org_name):
        # type: (str) -> Document
        """One organization."""
        return self._get("/v1/organizations/" + quote_segment(org_name))

    def edit_org(self, org_name, requestString):
        # type: (str, Json) -> Union[Document, requests.Response]
        """Change an organization. Returns the answer as a requests.Response if it is empty (204)."""
        return self._send_or_response(
            "PUT", "/v1/organizations/" + quote_segment(org_name), self._with_type_id(requestString)
        )

    def invite_to_org(self, orgname, username):
        # type: (str, str) -> Union[Document, requests.Response]
        """Invite an account. Returns the answer as a requests.Response if it is empty."""
        path = "/v1/organizations/%s/members/%s" % (quote_segment(orgname), quote_segment(username))
        return self._send_or_response("PUT", path, {})

    def get_environment(self, language):
        # type: (str) -> Document
        """Environments of a language."""
        return self._get("/v1/algorithm-environments/edge/languages/%s/environments" % quote_segment(language))

    def get_supported_languages(self):
        # type: () -> List[Document]
        """Languages of algorithms on this platform."""
        return self._get("/v1/algorithm-environments/edge/languages")

    def get_template(self, envid, dest, save_tar=False):
        # type: (str, str, bool) -> requests.Response
        """Unpack the template of an environment specification into directory `dest`, made if need be.

        save_tar  keep ``template.tar.gz`` there too

        Returns the answer as a requests.Response. Raises ValueError for an archive that would write outside `dest`.
        """
        import os

        from ._compat import make_dirs
        from .archives import unpack_tar

        path = "/v1/algorithm-environments/edge/environment-specifications/%s/template" % quote_segment(envid)
        response = self.request("GET", path)
        make_dirs(dest)
        unpack_tar(io.BytesIO(response.data), dest)
        if save_tar:
            with open(os.path.join(dest, "template.tar.gz"), "wb") as archive:
                archive.write(response.data)
        return self._as_requests(response, "GET", path)

    def get_secret_providers(self):
        # type: () -> List[Document]
        """Where secrets can be kept."""
        return self._get("/v1/secret-provider")

    def get_organization_errors(self, org_name):
        # type: (str) -> List[Document]
        """Recent errors of calls by an organization."""
        return self._get("/v1/organizations/%s/errors" % quote_segment(org_name))

    def get_user_errors(self, user_id):
        # type: (str) -> List[Document]
        """Recent errors of calls by an account."""
        return self._get("/v1/users/%s/errors" % quote_segment(user_id))

    def get_algorithm_errors(self, algorithm_id):
        # type: (str) -> List[Document]
        """Recent errors of an algorithm."""
        return self._get("/v1/algorithms/%s/errors" % quote_segment(algorithm_id))

    def algorithms(self, owner=None):
        # type: (Optional[str]) -> List[Document]
        """Algorithms of the account `owner` (your own if it is None) that you may see: ``algoname``, ``username``,
        ``id``."""
        return self._get("/v1/users/%s/algorithms" % quote_segment(owner or self.username()))

    def convert_type_id(self, type_id):
        # type: (str) -> str
        """The id of the organization type called `type_id` (an id stays as it is).

        Raises NotFoundError for an unknown one.
        """
        types = self.get_org_types()
        for kind in types:
            if type_id in (kind.get("id"), kind.get("name")):
                return kind["id"]
        raise errors.NotFoundError(
            "no organization type %r; there are: %s" % (type_id, ", ".join(str(kind.get("name")) for kind in types))
        )

    def _with_type_id(self, request):
        # type: (Json) -> Dict[str, Any]
        document = dict(request)
        if document.get("type_id"):
            document["type_id"] = self.convert_type_id(document["type_id"])
        return document

    def _get(self, path):
        # type: (str) -> Any
        return wrap(self._parsed(self.request("GET", path)))

    def _send_json(self, method, path, document):
        # type: (str, str, Any) -> Any
        response = self.request(method, path, body=json.dumps(document), content_type="application/json")
        return wrap(self._parsed(response))

    def _send_or_response(self, method, path, document):
        # type: (str, str, Any) -> Any
        response = self.request(method, path, body=json.dumps(document), content_type="application/json")
        if not response.data:
            return self._as_requests(response, method, path)
        return wrap(self._parsed(response))
