"""Algorithms that look around in the network."""

import errno
import os
import socket
import urllib.request

from .attempts import attempt


def _connect(address):
    if isinstance(address, list):
        host, port = address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as link:
            link.settimeout(3)
            link.connect((host, port))
    else:
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(address.replace("@", "\0"))


def _reached(addresses):
    """The addresses where somebody listens."""
    return [address for address in addresses if attempt(_connect, address) == "done"]


def isolated_reaches(addresses):
    """Services of the machine, of others, and of the cloud around them."""
    return _reached(addresses)


def full_reaches(addresses):
    """The same with the internet."""
    return _reached(addresses)


def _open_ports():
    found = []
    for port in range(1, 65536):
        with socket.socket() as link:
            # Who asks for the port that it has just been given talks to itself.
            if link.connect_ex(("127.0.0.1", port)) == 0 and link.getsockname() != link.getpeername():
                found.append(port)
    return found


def isolated_scans_loopback(input):
    """Every port of the machine."""
    return _open_ports()


def full_scans_loopback(input):
    """The same with the internet."""
    return _open_ports()


def isolated_asks_the_platform(input):
    """What it is for: the platform answers, at the address that it was told."""
    return urllib.request.urlopen(os.environ["ALGORITHMIA_API"] + "/health", timeout=30).status


def full_asks_the_platform(input):
    return isolated_asks_the_platform(input)


def isolated_sends_datagrams(input):
    """Names asked for, and datagrams to anybody."""
    outcomes = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        for address in (("192.0.2.1", 53), ("8.8.8.8", 53), ("169.254.169.254", 80), ("255.255.255.255", 67)):
            outcomes.append(attempt(link.sendto, b"x", address) == "done")
    try:
        socket.getaddrinfo("example.com", 80)
        outcomes.append(True)
    except OSError:
        outcomes.append(False)
    return outcomes


def isolated_changes_its_network(input):
    """Addresses and routes of its own making."""
    import fcntl
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        request = struct.pack("16sH2s4s8s", b"lo", socket.AF_INET, b"", socket.inet_aton("10.0.0.1"), b"")
        return [attempt(fcntl.ioctl, link, number, request) for number in (0x8916, 0x8914, 0x8924)]


def isolated_listens(port):
    """A service of its own at a port of the machine."""
    with socket.create_server(("0.0.0.0", port)) as service:
        service.settimeout(2)
        try:
            service.accept()
        except socket.timeout:
            return "nobody came"
        except OSError as problem:
            return errno.errorcode[problem.errno]
    return "somebody came"


def isolated_takes_the_platforms_port(input):
    """The platform's own address, closed and opened again by somebody else."""
    port = int(os.environ["ALGORITHMIA_API"].rpartition(":")[2])
    return attempt(socket.create_server, ("127.0.0.1", port))
