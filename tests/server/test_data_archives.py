"""Archives that are stored: what may be in them, how large they may be, and how many at once."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import re
import socket
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import sqlalchemy as sa
from archives_sent import GOOD, TAR, archive, fetch, listed, send, special
from hosted_site import Caller, Site

from Algorithmia.server.errors import TooManyRequests
from Algorithmia.server.services import data_batches


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_archivers_write(me: Caller, format: int) -> None:
    directory, name = me.collection(), "folder/" * 12 + "n" * 60
    folder = special("./", tarfile.DIRTYPE)
    assert send(me, directory, archive(folder, (f"./{name}", b"x"), format=format)).json == {"result": {"stored": 1}}
    assert me.get(f"{directory}/{name}").body == b"x"
    assert send(me, directory, archive(format=format)).json == {"result": {"stored": 0}}


def edited(data: bytes, place: int, new: bytes) -> bytes:
    """The header at the beginning of `data` changed, and its checksum made right."""
    header = bytearray(data[:512])
    header[place : place + len(new)] = new
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data[512:]


def extended(records: bytes, kind: bytes = b"x") -> bytes:
    """A file called f behind an extended header with `records`."""
    info = special("extended", kind)
    info.size = len(records)
    return info.tobuf(tarfile.USTAR_FORMAT) + records.ljust(-(-len(records) // 512) * 512, b"\0") + archive(("f", b"x"))


BELOW_ZERO = b"\xff" * 10 + b"\xfe\x00"

HOSTILE = {
    "a name that leads out": (archive(("../x", b"")), "'..'"),
    "a name that leads out, later": (archive(("a", b""), ("b/../../x", b"")), "'..'"),
    "an absolute name": (archive(("/etc/x", b"")), "empty name"),
    "two slashes": (archive(("a//x", b"")), "empty name"),
    "a control character": (archive(("a\tb", b"")), "control character"),
    "no name": (edited(archive(("a", b"")), 0, b"\0"), "twice|empty|directory"),
    "too long a name": (archive(("n" * 1025, b"")), "longer than 1024"),
    "not UTF-8": (edited(archive(("a", b"")), 0, b"\xff\xfe"), "not UTF-8"),
    "twice the same": (archive(("a", b"1"), ("./a", b"2")), "'a' twice"),
    "a file in a file": (archive(("a", b"1"), ("a/b", b"2")), "a is a"),
    "a symbolic link": (archive(special("a", tarfile.SYMTYPE, "/etc/passwd")), "symbolic link, 'a'"),
    "a hard link": (archive(("a", b""), special("b", tarfile.LNKTYPE, "a")), "hard link, 'b'"),
    "a device": (archive(special("a", tarfile.CHRTYPE)), "device"),
    "a named pipe": (archive(special("a", tarfile.FIFOTYPE)), "named pipe"),
    "a sparse file": (edited(archive(("a", b"")), 156, b"S"), "sparse file"),
    "a POSIX sparse file": (extended(b"22 GNU.sparse.major=1\n"), "sparse file"),
    "an unknown kind": (edited(archive(("a", b"")), 156, b"Z"), "something of kind 'Z'"),
    "a size below zero": (edited(archive(("a", b"")), 124, BELOW_ZERO), "how long 'a' is"),
    "going round in circles": (GOOD[:1536] + edited(GOOD[1536:], 124, BELOW_ZERO), "how long 'second' is"),
    "an immense size": (edited(archive(("a", b"")), 124, b"77777777777\0"), "breaks off in 'a'"),
    "a POSIX size": (extended(b"20 size=99999999999\n"), "breaks off in 'f'"),
    "no POSIX size": (extended(b"11 size=-5\n"), "has '-5' bytes"),
    "a damaged extended header": (extended(b"999 path=x\n"), "damaged extended header"),
    "an empty record": (extended(b"0 path=x\n"), "damaged extended header"),
    "an extended header of its own": (extended(b"9 path=x\n")[:1024] + b"\0" * 1024, "where a file should follow"),
    "a huge extended header": (extended(b"x" * 70_000), "takes 70000 bytes"),
    "a name beside the name": (extended(b"14 path=../xyz\n"[:14] + b"\n"), "damaged|'..'"),
    "truncated in a file": (GOOD[:900], "breaks off in 'first'"),
    "truncated in a header": (GOOD[:1700], "breaks off after 1700 bytes"),
    "truncated between files": (GOOD[:1536], "breaks off after 1536 bytes"),
    "something behind": (GOOD + GOOD, "goes on after its end"),
    "a bit that fell over": (GOOD[:30] + b"\1" + GOOD[31:], "damaged at byte 0"),
    "a bit that fell over later": (GOOD[:1540] + b"\1" + GOOD[1541:], "damaged at byte 1536"),
    "compressed": (gzip.compress(archive(("a", os.urandom(2000)))), "no tar archive"),
    "text": (b"hello" * 1000, "no tar archive"),
    "nothing": (b"", "breaks off after 0 bytes"),
    "a directory with content": (edited(archive(("a", b"x")), 156, b"5"), "directory with content"),
    "an old kind": (edited(archive(("a", b"")), 257, b"\0" * 8), "old kind"),
    "far too deep": (archive(*((f"{number}/" + "a/" * 400 + "f", b"") for number in range(60))), "20000 folders"),
    "an extended header of many records": (extended(b"5 a=\n" * 13_000), "more than 64 records"),
    "many extended headers": (extended(b"5 a=\n")[:1024] * 5000, "more than 4000 extended"),
    "too many": (archive(*((f"f{number}", b"") for number in range(1001))), "more than 1000 files"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives(me: Caller, site: Site, name: str) -> None:
    directory = me.collection()
    me.put(f"{directory}/a/old", b"old") if name != "a file in a file" else None
    before = len(site.blob_files())
    body, message = HOSTILE[name]
    refused = send(me, directory, body)
    assert refused.status in (400, 409) and re.search(message, refused.message), refused
    assert listed(me, directory) == [] and len(site.blob_files()) == before
    with site.database.read() as connection:
        assert connection.execute(sa.text("SELECT COUNT(*) FROM garbage")).scalar() is not None
    assert send(me, directory, archive(("fine", b""))).status == 200


def test_damage_is_found_before_anything_is_stored(me: Caller) -> None:
    directory = me.collection()
    wrong = base64.b64encode(hashlib.sha256(b"else").digest()).decode()
    right = base64.b64encode(hashlib.sha256(GOOD).digest()).decode()
    for header in ("Repr_Digest", "Content_Digest"):
        refused = send(me, directory, GOOD, **{header: f"sha-256=:{wrong}:"})
        assert "damaged on the way" in refused.refused(400) and right in refused.headers["repr-digest"]
        assert listed(me, directory) == []
        assert send(me, directory, GOOD, **{header: f"sha-256=:{right}:"}).status == 200
        me.send("DELETE", f"{directory}/first"), me.send("DELETE", f"{directory}/second")


def test_sizes(me: Caller, new_site: Callable[..., Site]) -> None:
    directory = me.collection()
    large = archive(("a", b"x" * (data_batches.MAX_BYTES - 16384)))
    assert send(me, directory, large).status == 200
    assert "larger than" in send(me, directory, large + b"\0" * 32768).refused(413)

    def pieces() -> Iterator[bytes]:
        yield large
        yield b"\0" * 32768

    chunked = me.send("POST", directory, pieces(), {"Content-Type": TAR}, encode_chunked=True)
    assert chunked.status == 413
    caller = new_site(max_file_bytes=10).caller()
    there = caller.collection()
    assert "b is larger than the 10 bytes" in send(caller, there, archive(("a", b"1"), ("b", b"x" * 11))).refused(413)
    assert listed(caller, there) == []


def test_room_in_memory(me: Caller, site: Site) -> None:
    directory = me.collection()
    with site.data.batches.room(120 * 1024 * 1024):
        large = archive(("a", b"x" * (9 * 1024 * 1024)))
        refused = send(me, directory, large)
        assert "too many archives" in refused.refused(429) and refused.headers["retry-after"]
        assert send(me, directory, GOOD).status == 200
    assert send(me, directory, large).status == 200
    with site.data.batches.room(128 * 1024 * 1024):  # all that was taken has been given back
        assert fetch(me, directory).status == 429
    assert fetch(me, directory).status == 200


def ask_for_an_archive(me: Caller) -> socket.socket:
    """A connection on which a large archive has begun to come, and nothing of it is taken."""
    directory = me.collection()
    assert send(me, directory, archive(*((f"{number}", b"x" * 260_000) for number in range(15)))).status == 200
    connection = socket.socket()
    connection.settimeout(60)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", me.site.port))
    request = f"GET /v1/data/{directory} HTTP/1.1\r\nHost: x\r\nAuthorization: {me.key}\r\nAccept: {TAR}\r\n\r\n"
    connection.sendall(request.encode())
    assert connection.recv(20).startswith(b"HTTP/1.1 200")
    return connection


def has_room(site: Site) -> bool:
    """Whether no archive is on its way."""
    try:
        with site.data.batches.room(128 * 1024 * 1024):
            return True
    except TooManyRequests:
        return False


def rest_of(site: Site, connection: socket.socket) -> int:
    """How much comes on `connection` until no archive is on its way any more, and then up to its end."""
    size, until = 0, time.monotonic() + 60
    with suppress(ConnectionError):
        while piece := connection.recv(65536):
            size += len(piece)
            if size > 3_900_000:
                break
    while not has_room(site):
        assert time.monotonic() < until
        time.sleep(0.01)
    return size


def test_room_is_held_while_archives_wait_for_their_clients(new_site: Callable[..., Site]) -> None:
    patient = new_site(request_timeout=0)
    with ask_for_an_archive(patient.caller()) as connection:
        assert not has_room(patient)
        assert rest_of(patient, connection) > 3_900_000
    hasty = new_site(request_timeout=1)
    with ask_for_an_archive(hasty.caller()) as connection:
        until = time.monotonic() + 60
        while not has_room(hasty):
            assert time.monotonic() < until
            time.sleep(0.01)
        assert rest_of(hasty, connection) < 3_900_000
