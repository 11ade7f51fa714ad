"""Fetches from the public web only: not from the platform's machine, its network or its cloud's metadata.

Algorithms that fetch have this file each, word for word.
"""
import ipaddress
import socket
import time
from urllib.parse import urljoin

import requests
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

MAX_REDIRECTS = 5
MAX_TRIED = 4  # addresses of one name
CONNECT_SECONDS = 10  # for each of them, and between two pieces of an answer
# Global addresses by their numbers, but servers of the cloud's inside.
_METADATA = (ipaddress.ip_address("168.63.129.16"),)
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")


class InputError(ValueError):
    """The input can't be used; the message says why."""

    error_type = "InputError"


def fetch(url, limit, until, accept="*/*", check_kind=None, addresses=None):
    """``(content, media type)`` of what `url` answers; the content is longer than `limit` bytes if there is more of it.

    until       the time.time() to give up at
    check_kind  is called with the media type before the content is read, to raise what it likes
    addresses   gives the addresses of a host and port that may be connected to: public_addresses
    """
    with requests.Session() as session:
        session.trust_env = False  # a proxy would look up the name itself
        for scheme, pool in (("http://", HTTPConnectionPool), ("https://", HTTPSConnectionPool)):
            session.mount(scheme, _Adapter(_guarded(pool, addresses or public_addresses)))
        try:
            with _follow(session, url, until, accept) as response:
                if response.status_code != 200:
                    raise InputError("%.200s answered with status %d" % (url, response.status_code))
                kind = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
                if check_kind is not None:
                    check_kind(kind)
                pieces, size = [], 0
                for piece in response.iter_content(65536):
                    pieces.append(piece)
                    size += len(piece)
                    if size > limit:
                        break
                    _check_time(url, until)
        except InputError:
            raise
        except (requests.RequestException, ValueError) as error:  # ValueError: of addresses that make no sense
            raise InputError("%.200s can't be fetched (%s)" % (url, type(error).__name__))
    return b"".join(pieces), kind


def public_addresses(host, port):
    """The addresses of `host`. Raises InputError if one of them is not on the public internet, and OSError."""
    found = [str(item[4][0]) for item in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)]
    for address in found:
        if not is_public(address):
            raise InputError(
                "%.200s is an address of this platform's machine or network, where nothing is fetched from; put the "
                "file into hosted data and give its data URI (data://.my/folder/file)" % host
            )
    return list(dict.fromkeys(found))


def is_public(text):
    """Whether the IP address `text` is one of the public internet."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if address.version == 6:
        # The same server by another name.
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _TRANSLATED:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return (
        address.is_global
        and not (address.is_multicast or address.is_reserved or address.is_unspecified)
        and address not in _METADATA
    )


def _follow(session, url, until, accept):
    """The answer at the end of the redirects, which are followed here: their own bodies are never read."""
    target = url
    for _ in range(MAX_REDIRECTS + 1):
        _check_time(url, until)
        response = session.get(
            target, stream=True, timeout=CONNECT_SECONDS, allow_redirects=False, headers={"Accept": accept}
        )
        location = session.get_redirect_target(response)
        if location is None:
            return response
        response.close()
        target = urljoin(target, location)
    raise InputError("%.200s redirects more than %d times" % (url, MAX_REDIRECTS))


def _check_time(url, until):
    if time.time() > until:
        raise InputError("%.200s took too long to answer" % url)


class _Adapter(HTTPAdapter):
    def __init__(self, pool):
        self._pool = pool
        HTTPAdapter.__init__(self)

    def init_poolmanager(self, *arguments, **options):
        HTTPAdapter.init_poolmanager(self, *arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": self._pool, "https": self._pool}


def _guarded(pool, addresses):
    """The connection pool class `pool` with connections to what `addresses` gives for a name, and nothing else."""

    class Connection(pool.ConnectionCls):
        def _new_conn(self):
            # A certificate is checked against the name all the same: that stays self.host.
            failure = OSError("%s has no address" % self.host)
            for address in addresses(self.host, self.port)[:MAX_TRIED]:
                try:
                    return socket.create_connection((address, self.port), self.timeout)
                except OSError as error:
                    failure = error
            raise failure

    return type("Guarded" + pool.__name__, (pool,), {"ConnectionCls": Connection})
