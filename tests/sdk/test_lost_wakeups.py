"""Threads whose queue has forgotten to wake them up, as a signal's exception in the middle of `put` makes it do."""
import hashlib
import threading
import time

import pytest
from six.moves import queue

from Algorithmia import buffers, digests

Whole = queue.Queue


class Forgetful(Whole):
    """Wakes nobody up for the next `lost` of what is put in."""

    lost = 0

    def put(self, item, block=True, timeout=None):
        if not self.lost:
            return Whole.put(self, item, block, timeout)
        self.lost -= 1
        with self.mutex:
            self._put(item)
            self.unfinished_tasks += 1


@pytest.fixture
def ends():
    """``ends(work)``: `work` comes to its end."""

    def check(work):
        thread = threading.Thread(target=work)
        thread.daemon = True
        thread.start()
        thread.join(30)
        assert not thread.is_alive()

    return check


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    monkeypatch.setattr(queue, "Queue", Forgetful)


def idle(pieces):
    """Wait until everything has been taken out, and whoever takes it waits for more."""
    while not pieces.empty():
        time.sleep(0.01)
    time.sleep(0.05)


def test_buffers_are_closed(ends):
    used = buffers.Buffers(hashlib.sha256())
    idle(used._work)
    used._work.lost = 1
    ends(used.close)


def test_buffers_are_drained(ends):
    digest = hashlib.sha256()
    used = buffers.Buffers(digest)
    idle(used._work)
    used._work.lost = 2
    used.hash(memoryview(b"12345"))
    ends(used.drain)
    assert digest.hexdigest() == hashlib.sha256(b"12345").hexdigest()
    used.close()


def test_a_digest_in_the_background_ends(ends):
    digest = digests.Background()
    idle(digest._pieces)
    digest._pieces.lost = 2
    digest.update(b"12345")
    ends(digest.close)
    assert digest.hexdigest() == hashlib.sha256(b"12345").hexdigest()
