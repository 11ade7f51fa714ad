"""Which servers a connector may talk to: none of this machine, its network or a cloud's metadata, unless allowed.

Checked when a connector is made, and again whenever a connection is: the name is resolved, every address is judged, and
the connection goes to an address that was judged, so that a name that changes its mind gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from ..errors import BadRequest

# Global addresses by their numbers, but servers of the cloud's inside.
_METADATA = frozenset({ipaddress.ip_address("168.63.129.16")})
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")


class AddressRefused(Exception):
    """The server is at an address that connectors may not use."""


class Guard:
    """Decides about hosts and addresses.

    allowed  the setting ``connector_hosts``: comma-separated ``host`` or ``host:port``, or ``any``
    """

    def __init__(self, allowed: str = "") -> None:
        entries = {entry.strip().lower() for entry in allowed.split(",")}
        self._any = "any" in entries
        self._entries = entries - {"", "any"}

    def check_url(self, url: str) -> str:
        """`url` as an endpoint, without a slash at its end. Resolves its name.

        Raises BadRequest for anything but ``http(s)://host[:port][/path]`` of a permitted server.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise BadRequest(f"endpoint {url[:100]!r} is not a valid URL") from None
        unprintable = not url.isascii() or any(character <= " " or character == "\x7f" for character in url)
        if parts.scheme not in ("http", "https") or not parts.hostname or unprintable:
            raise BadRequest(f"endpoint {url[:100]!r} is not valid: expected https://host[:port]")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise BadRequest("an endpoint has neither credentials nor a query: expected https://host[:port]")
        try:
            self.addresses(parts.hostname, port or (443 if parts.scheme == "https" else 80))
        except AddressRefused as problem:
            raise BadRequest(f"endpoint {url[:100]}: {problem}") from None
        except OSError:
            raise BadRequest(f"endpoint {url[:100]}: the name {parts.hostname[:100]} can't be resolved") from None
        return url.rstrip("/")

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of `host` that may be connected to. Raises AddressRefused if one may not, OSError."""
        host = host.strip("[]").rstrip(".").lower()
        found = [str(item[4][0]) for item in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        if not found:
            raise OSError(f"no address for {host}")
        if not (self._any or host in self._entries or f"{host}:{port}" in self._entries):
            for address in found:
                if not _is_public(address):
                    raise AddressRefused(
                        f"{host} is an address inside the platform's own network, which connectors may not use; the "
                        f"operator can allow it by the setting connector_hosts ({host}:{port})"
                    )
        return list(dict.fromkeys(found))


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        # The same server by another name.
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _TRANSLATED:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(str(inner))
    return (
        address.is_global
        and not (address.is_multicast or address.is_reserved or address.is_unspecified)
        and address not in _METADATA
    )


def guarded_pools(guard: Guard, pools: dict[str, Any] | None = None) -> dict[str, Any]:
    """urllib3's pool classes by scheme, or `pools`, with connections that go only where `guard` permits."""
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    bases = pools or {"http": HTTPConnectionPool, "https": HTTPSConnectionPool}
    return {scheme: _guarded_pool(guard, pool) for scheme, pool in bases.items()}


def _guarded_pool(guard: Guard, pool: Any) -> Any:
    class Connection(pool.ConnectionCls):
        _dns_host: str

        def _new_conn(self) -> Any:
            # What urllib3 resolves is its _dns_host; the certificate is checked against the name all the same.
            name = self._dns_host
            try:
                addresses = guard.addresses(name, self.port)
            except OSError as problem:
                from urllib3.exceptions import NewConnectionError

                raise NewConnectionError(self, str(problem)) from None
            try:
                for address in addresses[:-1]:
                    self._dns_host = address
                    try:
                        return super()._new_conn()
                    except Exception:  # noqa: S112 the next address may answer
                        continue
                self._dns_host = addresses[-1]
                return super()._new_conn()
            finally:
                self._dns_host = name

    return type("Guarded" + pool.__name__, (pool,), {"ConnectionCls": Connection})


def guarded_session(guard: Guard | None, session: Any = None, moved: Callable[[str], str] | None = None) -> Any:
    """A requests.Session (or `session`) that goes only where `guard` permits, follows no redirect and uses no proxy.

    Without a guard, for a provider's own servers, the operator's proxies are used. `moved` gives the address to use in
    place of another, for libraries that know only one server.
    """
    import requests
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            super().init_poolmanager(*arguments, **options)
            if guard is not None:
                self.poolmanager.pool_classes_by_scheme = guarded_pools(guard)

        def send(self, request: Any, *arguments: Any, **options: Any) -> Any:
            if moved is not None:
                request.url = moved(request.url)
            return super().send(request, *arguments, **options)

    session = session or requests.Session()
    session.max_redirects = 0
    session.trust_env = guard is None
    for scheme in ("http://", "https://"):
        session.mount(scheme, Adapter(pool_maxsize=32, max_retries=0))
    return session
