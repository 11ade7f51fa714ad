"""What is kept of large downloads beside their target: whose it is, and under which name."""
import os
import stat

import pytest

from Algorithmia import partial_files
from Algorithmia.partial_files import Part

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there are no locks there, and no links as a rule")
URI = "data://.my/c/f"


@pytest.fixture
def target(tmpdir):
    return tmpdir.mkdir("d").join("f")


@pytest.fixture
def begin(target):
    """A function that begins a download, as one of several processes would."""
    begun = []

    def make(etag="1"):
        begun.append(Part(str(target), URI, etag))
        return begun[-1]

    yield make
    for part in begun:
        if part.handle >= 0:
            part.remove()


@pytest.fixture
def usual(target):
    """Where the first one keeps it."""
    part = Part(str(target), URI, "1")
    part.remove()
    return part.path


def beside(target):
    return sorted(path.basename for path in target.dirpath().listdir() if path != target)


def test_the_second_one_never_touches_what_the_first_writes_out_of_order(begin, target):
    first = begin()
    first.write(b"first", 0)
    first.allow_gaps(lambda: 0, 10)
    second = begin()
    second.write(b"secon", 0)
    second.allow_gaps(lambda: 5, 10)
    third = begin()
    assert len({first.path, second.path, third.path}) == 3 and third.held == 0
    first.write(b"-all-", 5)
    first.finish()
    assert target.read_binary() == b"first-all-"
    assert not second.keep() and third.write(b"the third", 0)
    third.finish()
    assert target.read_binary() == b"the third" and beside(target) == []


def test_the_second_one_finishes_what_it_has_itself_when_the_first_is_interrupted(begin, target):
    first = begin()
    first.write(b"fir", 0)
    first.allow_gaps(lambda: 3, 10)
    second = begin()
    second.write(b"the", 0)
    assert first.keep()
    second.write(b" second", 3)
    second.finish()
    assert target.read_binary() == b"the second"
    assert begin().held == 3


def test_a_part_with_gaps_that_was_left_is_longer_than_all(begin, target):
    part = begin()
    part.write(b"12345", 5)
    part.allow_gaps(lambda: 0, 10)
    assert os.path.getsize(part.path) == 11
    part.write(b"12345", 0)
    part.finish()
    assert target.read_binary() == b"1234512345"


def test_what_took_its_name_meanwhile_is_left_alone(begin, target):
    for end in ("remove", "keep", "finish"):
        part = begin()
        part.write(b"ours", 0)
        os.rename(part.path, str(target.dirpath().join("elsewhere")))
        with open(part.path, "w") as other:
            other.write("theirs")
        if end == "finish":
            with pytest.raises(IOError, match="replaced"):
                part.finish()
        else:
            assert not getattr(part, end)()
        with open(part.path) as other:
            assert other.read() == "theirs"
        part.remove()
        os.unlink(part.path)
        assert not target.check()


@pytest.mark.parametrize("kind", ["symlink", "hard link", "pipe", "directory", "dangling"])
def test_nothing_is_written_through_what_somebody_has_put_there(begin, target, usual, tmpdir, kind):
    victim = tmpdir.join("victim")
    if kind != "dangling":
        victim.write("precious")
    if kind in ("symlink", "dangling"):
        os.symlink(str(victim), usual)
    elif kind == "hard link":
        os.link(str(victim), usual)
    elif kind == "pipe":
        os.mkfifo(usual)
    else:
        os.mkdir(usual)
    part = begin()
    assert part.path != usual and part.held == 0
    part.write(b"content", 0)
    part.finish()
    assert target.read_binary() == b"content" and stat.S_ISREG(os.lstat(str(target)).st_mode)
    assert victim.read() == "precious" if kind != "dangling" else not victim.check()


def test_a_file_of_another_account_is_not_written_to(begin, target, usual, monkeypatch):
    with open(usual, "w") as planted:
        planted.write("planted")
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    part = begin()
    assert part.path != usual and part.held == 0
    part.remove()
    with open(usual) as planted:
        assert planted.read() == "planted"


def test_what_is_swept_is_what_was_locked(begin, target, tmpdir, monkeypatch):
    old = begin("0")
    old.write(b"old", 0)
    assert old.keep()
    flock = partial_files._fcntl.flock

    def replace(handle, how):
        if not tmpdir.join("moved").check():
            os.rename(old.path, str(tmpdir.join("moved")))
            with open(old.path, "w") as other:
                other.write("of another process")
        return flock(handle, how)

    monkeypatch.setattr(partial_files._fcntl, "flock", replace)
    begin()
    with open(old.path) as other:
        assert other.read() == "of another process"


def test_who_is_late_writes_nothing_and_is_told(begin, target):
    part = begin()
    assert part.write(b"12345", 0)
    assert part.keep()
    assert not part.write(b"67890", 5)
    assert begin().held == 5
