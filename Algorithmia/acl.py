"""Who may read a hosted collection. API document: "ACLs" of the Data API."""

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional  # noqa: F401


class AclInner(object):
    """One kind of access: `pseudonym` for people and `acl_string` on the wire (None: nobody but the owner)."""

    def __init__(self, pseudonym, acl_string):
        # type: (str, Optional[str]) -> None
        self.pseudonym = pseudonym
        self.acl_string = acl_string

    def __repr__(self):
        # type: () -> str
        return "AclType(pseudonym=%s,acl_string=%s)" % (self.pseudonym, self.acl_string)


class AclType(object):
    """The kinds of access: anybody, the owner's algorithms, the owner alone. Compare members by identity."""

    public = AclInner("public", "user://*")
    my_algos = AclInner("my_algos", "algo://.my/*")
    private = AclInner("private", None)
    default = my_algos
    types = (public, my_algos, private)

    @staticmethod
    def from_acl_response(acl_list):
        # type: (Optional[List[str]]) -> AclInner
        """The kind that the wire's list stands for. Raises ValueError for one that the API doesn't have."""
        if not acl_list:
            return AclType.private
        for kind in AclType.types:
            if kind.acl_string == acl_list[0]:
                return kind
        raise ValueError("Invalid acl string %s" % (acl_list[0],))


class Acl(object):
    """Permissions of a collection: `read_acl` is one of the `AclType` members."""

    def __init__(self, read_acl):
        # type: (AclInner) -> None
        self.read_acl = read_acl

    def __repr__(self):
        # type: () -> str
        return "Acl(read_acl=%s)" % self.read_acl.pseudonym

    @staticmethod
    def from_acl_response(acl_response):
        # type: (Dict[str, Any]) -> Acl
        """The permissions in an ``acl`` object of the API."""
        return Acl(AclType.from_acl_response(acl_response.get("read", [])))

    def to_api_param(self):
        # type: () -> Dict[str, List[str]]
        """The ``acl`` object of the API."""
        return {"read": [] if self.read_acl.acl_string is None else [self.read_acl.acl_string]}


class ReadAcl(object):
    """Ready-made permissions, to pass to `DataDirectory.create` and `update_permissions`."""

    public = Acl(AclType.public)
    private = Acl(AclType.private)
    my_algos = Acl(AclType.my_algos)
