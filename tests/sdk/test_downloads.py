"""Large downloads: over several connections or one, broken off and continued, damaged, and what they leave beside the
target."""
import hashlib
import io
import os
import subprocess
import sys
import threading
import time

import pytest
from breaking import BreakingWay
from platforms import ROOT, clean_environment

import Algorithmia
from Algorithmia import downloads, errors, parallel, ranges, transfer
from Algorithmia._compat import PY2
from Algorithmia.incoming import ReplacedError

CONTENT = b"".join(b"%08d" % number for number in range(500000))
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def soon_large(monkeypatch):
    monkeypatch.setattr(downloads, "LARGE", MIB)
    monkeypatch.setattr(ranges, "STRETCH", 256 * 1024)


@pytest.fixture
def through(server):
    """A function that makes a way that breaks and a client that takes it: ``through(down=[1000000])``."""
    opened = []

    def make(**options):
        way = BreakingWay(server.address, **options)
        opened.append(way)
        way.__enter__()
        return way, Algorithmia.Client(server.key, way.address, retries=0)

    yield make
    for way in opened:
        way.__exit__()


@pytest.fixture
def item(collection):
    return collection.file("f").put(CONTENT)


@pytest.fixture
def target(tmpdir):
    return tmpdir.mkdir("d").join("down")


def beside(target):
    """Names of what is beside `target`."""
    return sorted(path.basename for path in target.dirpath().listdir() if path != target)


def parts(target, size=None):
    names = beside(target)
    assert all(name.startswith(".down.") and name.endswith(".part") for name in names)
    return names


@pytest.mark.parametrize("connections", [None, 1, 3])
def test_all_ways_bring_the_same(item, target, connections):
    moved, expected = [], []
    size = transfer.download(
        item.client, item.uri, str(target), moved.append, expected.append, connections=connections
    )
    assert size == sum(moved) == len(CONTENT) and expected == [len(CONTENT)]
    assert target.read_binary() == CONTENT and beside(target) == []


def test_a_slow_connection_gets_company(item, target, monkeypatch, through):
    monkeypatch.setattr(downloads, "_PROBE", MIB)
    monkeypatch.setattr(downloads, "_FAST", 10 ** 15)
    way, client = through()
    transfer.download(client, item.uri, str(target))
    assert target.read_binary() == CONTENT and len(way.heads) > 4
    monkeypatch.setattr(downloads, "_FAST", 0)
    del way.heads[:]
    transfer.download(client, item.uri, str(target))
    assert target.read_binary() == CONTENT and len(way.heads) == 1


@pytest.mark.parametrize("connections", [1, 3])
def test_broken_connections_are_replaced(item, target, through, connections):
    way, client = through(down=[300000, 1500000, 200000, 700000])
    moved = []
    transfer.download(client, item.uri, str(target), moved.append, connections=connections)
    assert target.read_binary() == CONTENT and sum(moved) == len(CONTENT) and beside(target) == []


@pytest.mark.parametrize("connections", [1, 3])
def test_an_interrupted_download_is_continued(item, target, through, connections):
    target.write("before")
    way, client = through(down=[2000000] + [200] * 50)
    with pytest.raises(errors.UnreachableError):
        transfer.download(client, item.uri, str(target), connections=connections)
    assert target.read() == "before" and len(parts(target)) == 1
    kept = target.dirpath().join(parts(target)[0]).read_binary()
    assert CONTENT.startswith(kept) and kept
    del way.down[:], way.heads[:]
    moved = []
    transfer.download(client, item.uri, str(target), moved.append)
    assert target.read_binary() == CONTENT and moved[0] == len(kept) and sum(moved) == len(CONTENT)
    assert beside(target) == []


@pytest.mark.parametrize("connections", [1, 3])
def test_who_stops_it_may_continue(item, target, connections):
    def stop(count):
        received.append(count)
        if sum(received) > MIB:
            raise parallel.Stopped()

    received = []
    with pytest.raises(parallel.Stopped):
        transfer.download(item.client, item.uri, str(target), stop, connections=connections)
    assert len(parts(target)) == 1 and not target.check()
    transfer.download(item.client, item.uri, str(target))
    assert target.read_binary() == CONTENT and beside(target) == []


def test_other_errors_leave_nothing(item, target):
    def fail(count):
        raise ValueError("a callback's own")

    for connections in (1, 3):
        with pytest.raises(ValueError):
            transfer.download(item.client, item.uri, str(target), fail, connections=connections)
        assert target.dirpath().listdir() == []


def test_a_kept_part_of_another_version_is_swept(item, target, through):
    way, client = through(down=[2000000] + [200] * 50)
    with pytest.raises(errors.UnreachableError):
        transfer.download(client, item.uri, str(target))
    old = parts(target)
    item.put(CONTENT[::-1])
    del way.down[:]
    transfer.download(client, item.uri, str(target))
    assert target.read_binary() == CONTENT[::-1] and old and beside(target) == []


def test_what_is_swept_and_what_is_not(item, target):
    directory = target.dirpath()
    ancient = directory.join(".down.%s.part" % ("0" * 32))
    own = hashlib.sha256(b"down").hexdigest()[:8]
    stale = directory.join(".down.%s11111111.part" % own)
    # The second is of another file whose long name begins in the same way.
    names = (".other.%s.part" % ("3" * 16), ".down.%s.part" % ("5" * 16), ".down.part", ".down.x.part")
    others = [directory.join(name) for name in names]
    young = directory.join(".down.%s.part" % ("4" * 32))  # of a download that somebody is making
    for path in [ancient, stale, young] + others:
        path.write("x")
    os.utime(str(ancient), (time.time() - 8 * 24 * 3600,) * 2)
    transfer.download(item.client, item.uri, str(target))
    assert beside(target) == sorted(path.basename for path in others + [young])


def test_a_damaged_part_is_found_in_the_end(item, target, through):
    way, client = through(down=[2000000] + [200] * 50)
    with pytest.raises(errors.UnreachableError):
        transfer.download(client, item.uri, str(target))
    with open(str(target.dirpath().join(parts(target)[0])), "r+b") as part:
        part.write(b"?")
    del way.down[:]
    moved = []
    transfer.download(client, item.uri, str(target), moved.append)
    assert target.read_binary() == CONTENT and sum(moved) == len(CONTENT) and beside(target) == []


def test_a_file_that_is_replaced_meanwhile(item, target, through):
    way, client = through()

    def replace(size):
        item.put(CONTENT[::-1])

    with pytest.raises(ReplacedError, match="replaced"):
        transfer.download(client, item.uri, str(target), expect=replace, connections=2)
    assert target.dirpath().listdir() == []


def test_two_at_once_to_one_place(item, target):
    problems = []

    def fetch():
        try:
            transfer.download(item.client, item.uri, str(target))
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems and target.read_binary() == CONTENT and beside(target) == []


@pytest.mark.parametrize("connections", [1, 3])
def test_a_killed_process_leaves_what_the_next_one_uses_or_sweeps(item, server, target, tmpdir, connections):
    script = tmpdir.join("fetch.py")
    script.write(
        "import os, signal, sys\n"
        "import Algorithmia\n"
        "from Algorithmia import downloads, ranges, transfer\n"
        "downloads.LARGE = ranges.STRETCH = 256 * 1024\n"
        "received = []\n"
        "def count(size):\n"
        "    received.append(size)\n"
        "    if sum(received) > 1000000:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "client = Algorithmia.Client(sys.argv[1], sys.argv[2])\n"
        "transfer.download(client, sys.argv[3], sys.argv[4], count, connections=int(sys.argv[5]))\n"
    )
    environment = dict(clean_environment(str(tmpdir)), PYTHONPATH=ROOT)
    arguments = [sys.executable, str(script), server.key, server.address, item.uri, str(target), str(connections)]
    assert subprocess.call(arguments, env=environment) == -9
    assert len(parts(target)) == 1
    assert (target.dirpath().join(parts(target)[0]).size() > len(CONTENT)) == (connections > 1)
    moved = []
    transfer.download(item.client, item.uri, str(target), moved.append)
    assert target.read_binary() == CONTENT and sum(moved) == len(CONTENT) and beside(target) == []
    assert (moved[0] > 900000) == (connections == 1)


@pytest.mark.parametrize("content", [b"", b"x", CONTENT[: MIB - 1]])
def test_small_files_leave_their_connection_to_others(server, collection, target, content, through):
    collection.file("f").put(content)
    way, client = through()
    for _ in range(3):
        transfer.download(client, collection.uri + "/f", str(target))
        assert target.read_binary() == content
    assert client._transport is not None and client._transport._pool.num_connections == 1


def test_modes_and_times_of_large_files(item, target):
    previous = os.umask(0o027)
    try:
        transfer.download(item.client, item.uri, str(target), keep_time=True)
        assert os.name == "nt" or os.stat(str(target)).st_mode & 0o777 == 0o640
    finally:
        os.umask(previous)
    os.chmod(str(target), 0o600)
    transfer.download(item.client, item.uri, str(target))
    assert os.name == "nt" or os.stat(str(target)).st_mode & 0o777 == 0o600


def test_through_a_session_of_requests(server, item, target):
    client = Algorithmia.Client(server.key, server.address)
    assert client.requestSession
    transfer.download(client, item.uri, str(target), connections=2)
    assert target.read_binary() == CONTENT
    copy = io.BytesIO()
    transfer.download_to(client, item.uri, copy)
    assert copy.getvalue() == CONTENT and (PY2 or copy.tell() == len(CONTENT))


def test_another_part_than_was_asked_for_is_not_taken(item, target):
    client, asked = item.client, []
    request = client.request

    def damaging(method, path, **options):
        headers = options.get("headers") or {}
        if "Range" in headers:
            asked.append(headers["Range"])
            if len(asked) == 1:
                options["headers"] = dict(headers, Range="bytes=1-100")
        return request(method, path, **options)

    client.request = damaging
    moved = []
    transfer.download(client, item.uri, str(target), moved.append, connections=2)
    assert target.read_binary() == CONTENT and sum(moved) == len(CONTENT) and asked.count(asked[0]) == 2
