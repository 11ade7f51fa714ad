"""Archives that try to get out, or to fill the disk."""
import contextlib
import gzip
import io
import os
import signal
import tarfile
import zipfile

import pytest

from Algorithmia import archives

BAD_NAMES = ["../out", "a/../../out", "/etc/out", "..\\out", "C:\\out", "a/..", "c:out"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_zip_members_stay_inside(tmpdir, name):
    path = str(tmpdir.join("bad.zip"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")
    target = tmpdir.mkdir("target")
    with pytest.raises(ValueError):
        archives.unpack(path, str(target))
    assert target.listdir() == [] and not tmpdir.join("out").exists()


@pytest.mark.parametrize("name", BAD_NAMES)
def test_defect_26_tar_members_stay_inside(tmpdir, name):
    target = tmpdir.mkdir("target")
    with pytest.raises(ValueError):
        archives.unpack_tar(tar_of(tarfile.TarInfo(name)), str(target))
    assert target.listdir() == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_tar_members_are_files_and_directories(tmpdir, kind):
    member = tarfile.TarInfo("link")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(ValueError):
        archives.unpack_tar(tar_of(member), str(tmpdir))


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="bounded by an alarm")
@pytest.mark.parametrize("extended", [False, True])
def test_a_size_below_zero_ends(tmpdir, extended):
    """The standard library's reader finds the same file behind such a one, and again, for ever."""
    plain = tarfile.TarInfo("plain").tobuf(tarfile.USTAR_FORMAT)
    if extended:
        record = b"14 size=-1536\n"
        before = tarfile.TarInfo("before")
        before.type, before.size = tarfile.XHDTYPE, len(record)
        archive = plain + before.tobuf(tarfile.USTAR_FORMAT) + record.ljust(512, b"\0") + plain
    else:
        summed = plain[:124] + b"\xff" * 10 + b"\xfe\0" + plain[136:148] + b" " * 8 + plain[156:]
        archive = plain + summed[:148] + b"%06o\0 " % sum(bytearray(summed)) + summed[156:]
    with within_a_minute(), pytest.raises(ValueError):
        archives.unpack_tar(gzipped(archive + b"\0" * 10240), str(tmpdir))
    assert tmpdir.listdir() == []


@contextlib.contextmanager
def within_a_minute():
    def give_up(*_):
        raise AssertionError("this goes on for ever")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_a_tar_goes_round(tmpdir):
    source = tmpdir.mkdir("source")
    source.join("run.sh").write("1")
    source.join("run.sh").chmod(0o755)
    source.mkdir("empty")
    source.mkdir("sub").join(u"gr\xfcn" if str is not bytes else "plain").write("2")
    source.join("sub", "x" * 150).write("3")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.GNU_FORMAT) as archive:
        archive.add(str(source), ".")
    buffer.seek(0)
    target = tmpdir.mkdir("target")
    archives.unpack_tar(buffer, str(target))
    names = sorted(path.relto(target) for path in target.visit())
    assert names == sorted(path.relto(source) for path in source.visit())
    assert target.join("run.sh").read() == "1" and target.join("sub", "x" * 150).read() == "3"
    assert os.access(str(target.join("run.sh")), os.X_OK)
    assert not os.access(str(target.join("sub", "x" * 150)), os.X_OK)


def test_tar_bombs_are_refused(tmpdir, monkeypatch):
    monkeypatch.setattr(archives, "MAX_TAR", 1000000)
    with pytest.raises(ValueError):
        archives.unpack_tar(tar_of(tarfile.TarInfo("zeros"), b"\0" * 10000000), str(tmpdir))
    assert tmpdir.listdir() == []


@pytest.mark.parametrize("keep", [0, 5, 100, -20, None])
def test_damaged_tars_are_refused_whole(tmpdir, keep):
    content = tar_of(tarfile.TarInfo("random"), os.urandom(10000)).getvalue()
    damaged = b"no archive at all" if keep is None else content[:keep]
    with pytest.raises(ValueError):
        archives.unpack_tar(io.BytesIO(damaged), str(tmpdir))
    assert tmpdir.listdir() == []


def test_zip_links_are_refused(tmpdir):
    path = str(tmpdir.join("bad.zip"))
    member = zipfile.ZipInfo("link")
    member.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, b"/etc/passwd")
    with pytest.raises(ValueError):
        archives.unpack(path, str(tmpdir.mkdir("target")))


def test_zip_bombs_are_refused(tmpdir, monkeypatch):
    monkeypatch.setattr(archives, "MAX_RATIO", 100)
    path = str(tmpdir.join("bomb.zip"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", b"\0" * 10000000)
    with pytest.raises(ValueError):
        archives.unpack(path, str(tmpdir.mkdir("target")))


def test_a_directory_goes_round(tmpdir):
    source = tmpdir.mkdir("source")
    source.join("a").write("1")
    source.mkdir("b").join("c").write("2")
    archives.pack(str(source), str(tmpdir.join("z.zip")))
    target = tmpdir.mkdir("target")
    assert archives.unpack(str(tmpdir.join("z.zip")), str(target)) == str(target)
    assert target.join("a").read() == "1" and target.join("b", "c").read() == "2"


def test_a_single_file_is_returned_by_path(tmpdir):
    tmpdir.join("one.txt").write("1")
    archives.pack(str(tmpdir.join("one.txt")), str(tmpdir.join("z.zip")))
    target = tmpdir.mkdir("target")
    assert archives.unpack(str(tmpdir.join("z.zip")), str(target)) == os.path.join(str(target), "one.txt")


def gzipped(content):
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb") as target:
        target.write(content)
    buffer.seek(0)
    return buffer


def tar_of(member, content=b"x"):
    member.size = len(content) if member.type == tarfile.REGTYPE else 0
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(member, io.BytesIO(content))
    buffer.seek(0)
    return buffer
