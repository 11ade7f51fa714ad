"""Archives that try to get out, or to fill the disk."""
import io
import os
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


def tar_of(member, content=b"x"):
    member.size = len(content) if member.type == tarfile.REGTYPE else 0
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(member, io.BytesIO(content))
    buffer.seek(0)
    return buffer
