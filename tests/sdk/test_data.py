# -*- coding: utf-8 -*-
"""Hosted data through the SDK, against the platform."""
import csv
import gc
import io
import json
import os
import subprocess
import sys
import zipfile
from collections import OrderedDict

import pytest
from platforms import ROOT, clean_environment

from Algorithmia import acl, errors, transfer
from Algorithmia.datadirectory import DataDirectory
from Algorithmia.datafile import DataFile

NAMES = [u"plain.txt", u"with space", u"a#b", u"what?", u"100%41", u"a+b", u"ünïcödé ☃", u".hidden", u"a&b=c;d",
         u"~tilde", u"'quotes\"", u"[brackets]", u"back\\slash", u"comma,semi;", u"x" * 200]


@pytest.mark.parametrize("name", NAMES)
def test_defect_14_any_name_goes_round(collection, name):
    item = collection.file(name)
    content = name.encode("utf-8")
    item.put(content)
    assert item.exists() and item.getBytes() == content
    (listed,) = collection.files()
    assert listed.getName() == name and listed.size == len(content)
    assert listed.getBytes() == content
    listed.delete()
    assert not item.exists() and list(collection.list()) == []


def test_text_json_bytes(collection):
    assert collection.file("t").put(u"hällo").getString() == u"hällo"
    assert collection.file("b").put(b"\x00\xff").getBytes() == b"\x00\xff"
    assert collection.file("j").putJson({"a": [1, None, u"ü"]}).getJson() == {"a": [1, None, u"ü"]}
    assert collection.file("e").put("").getBytes() == b""
    with pytest.raises(TypeError):
        collection.file("x").put({"a": 1})


def test_content_types_are_kept(collection):
    assert collection.file("t").put(u"x").stat().content_type.startswith("text/plain")
    assert collection.file("j").putJson([]).stat().content_type == "application/json"
    assert collection.file("a.png").put(b"\x89PNG\r\n").stat().content_type == "image/png"
    assert collection.file("guess").put(b"\x00\x01").stat().content_type == "application/octet-stream"


def test_stat(collection):
    stat = collection.file("f").put(b"12345").stat()
    assert stat.size == 5 and stat.etag == '"827ccb0eea8a706c4c34a16891f84e7b"' and stat.last_modified.year > 2000


def test_a_missing_file(collection):
    missing = collection.file("nope")
    assert missing.exists() is False
    found, reason = missing.existsWithError()
    assert found is False and reason
    for read in (missing.getBytes, missing.getString, missing.getJson, missing.getFile, missing.delete):
        with pytest.raises(errors.NotFoundError) as caught:
            read()
        assert isinstance(caught.value, errors.DataApiError)
    with pytest.raises(errors.DataApiError) as caught:
        missing.getBytes()
    assert "unable to get file" in str(caught.value) and "nope" in str(caught.value)


def test_a_missing_collection_is_named(client):
    with pytest.raises(errors.NotFoundError) as caught:
        client.file("data://.my/no_such_collection/f").put("x")
    assert "no_such_collection" in str(caught.value) and "mkdir" in str(caught.value)


def test_defect_03_reading_is_one_request(collection, monkeypatch):
    collection.file("f").put("x")
    sent = []
    original = type(collection.client)._send
    monkeypatch.setattr(type(collection.client), "_send",
                        lambda self, request, *rest: sent.append(request.method) or original(self, request, *rest))
    collection.file("f").getBytes()
    collection.file("f").getFile().close()
    with collection.file("f").open() as stream:
        stream.read()
    collection.file("f").read()
    assert sent == ["GET"] * 4


def test_defect_13_a_file_is_no_directory(collection):
    collection.file("f").put("x")
    assert collection.client.dir(collection.uri + "/f").exists() is False
    assert collection.client.file(collection.uri).exists() is False
    with pytest.raises(errors.DataApiError):
        collection.client.file(collection.uri).getBytes()


def test_defect_18_downloads_of_binary_and_text(collection):
    with collection.file("b").put(b"\xff\x00\xfe").getFile() as handle:
        assert handle.read() == b"\xff\x00\xfe"
    with collection.file("t").put(u"zwölf\n").getFile() as handle:
        assert handle.read() == u"zwölf\n"
        assert os.path.exists(handle.name)
    with collection.file("t").getFile(mode="rb") as handle:
        assert handle.read() == u"zwölf\n".encode("utf-8")
    path = collection.file("x.png").put(b"1").getFile(as_path=True)
    assert path.endswith(".png") and open(path, "rb").read() == b"1"


def test_defect_18_temporary_files_are_removed_when_the_process_ends(server, collection):
    collection.file("f").put("x")
    code = ("import Algorithmia; f = Algorithmia.client(%r, %r).file(%r); f.getFile(); print(f.getFile(as_path=True))"
            % (server.key, server.address, str(collection.uri + "/f")))
    environment = dict(clean_environment("/nonexistent"), PYTHONPATH=ROOT)
    path = subprocess.check_output([sys.executable, "-c", code], env=environment).decode().strip()
    assert path and not os.path.exists(path) and not os.path.exists(os.path.dirname(path))


def test_the_cleanup_flag(collection, client):
    collection.file("f").put("x")
    kept = client.file(collection.uri + "/f")
    path = kept.getFile(as_path=True)
    del kept
    gc.collect()
    assert os.path.exists(path)
    item = client.file(collection.uri + "/f", cleanup=True)
    path = item.getFile(as_path=True)
    del item
    gc.collect()
    assert not os.path.exists(path)


def test_defect_19_a_file_object(collection, client):
    lines = [b"line %d\n" % number for number in range(1000)]
    collection.file("f").put(b"".join(lines))
    stream = client.file(collection.uri + "/f")
    assert stream.readline() == lines[0] and stream.readline() == lines[1]
    assert stream.read(4) == b"line" and stream.tell() == len(lines[0] + lines[1]) + 4
    assert stream.seek(0) == 0
    assert stream.readlines() == lines
    stream.seek(-9, os.SEEK_END)
    assert stream.read() == lines[-1]
    stream.close()
    with pytest.raises(ValueError):
        stream.read()
    with client.file(collection.uri + "/f") as again:
        assert list(again) == lines
        assert again.readable() and again.seekable() and not again.writable()


def test_streams_work_with_libraries(collection):
    with collection.file("z.zip").open("wb") as target:
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr("a.txt", b"A" * 100000)
            archive.writestr("b.txt", b"B")
    with collection.file("z.zip").open("rb") as source:
        with zipfile.ZipFile(source) as archive:
            assert archive.read("b.txt") == b"B" and len(archive.read("a.txt")) == 100000
    if sys.version_info >= (3,):
        with collection.file("t.csv").open("w", newline="") as target:
            csv.writer(target).writerows([["a", "ü"], ["1", "2"]])
        with collection.file("t.csv").open("r", newline="") as source:
            assert list(csv.reader(source)) == [["a", "ü"], ["1", "2"]]
    with collection.file("j").open("w") as target:
        target.write(u'{"a": "ü"}')
    with collection.file("j").open("r") as source:
        assert json.load(source) == {"a": u"ü"}


def test_a_writer_left_by_an_exception_stores_nothing(collection):
    collection.file("f").put("old")
    with pytest.raises(KeyError):
        with collection.file("f").open("wb") as target:
            target.write(b"half")
            raise KeyError("x")
    with pytest.raises(KeyError):
        with collection.file("f").open("w") as target:
            target.write(u"half")
            raise KeyError("x")
    for mode, half in (("wb", b"half"), ("w", u"half")):
        target = collection.file("f").open(mode)
        target.write(half)
        del target
        gc.collect()
    assert collection.file("f").getBytes() == b"old"


def test_a_writer_takes_bytes_only(collection):
    with collection.file("f").open("wb") as target:
        for wrong in (5, u"text"):
            with pytest.raises(TypeError):
                target.write(wrong)
        for piece in (b"1", bytearray(b"2"), memoryview(b"3")):
            assert target.write(piece) == 1
    assert collection.file("f").getBytes() == b"123"


def test_other_modes_are_refused(collection):
    for mode in ("a", "r+", "x", "nonsense"):
        with pytest.raises(ValueError):
            collection.file("f").open(mode)


def test_seeking_reads_ranges(collection):
    content = bytes(bytearray(range(256))) * 20000
    collection.file("big").put(content)
    with collection.file("big").open("rb") as stream:
        stream.seek(5000001)
        assert stream.read(10) == content[5000001:5000011]
        stream.seek(7)
        assert stream.read(10) == content[7:17]
        stream.seek(len(content) + 5)
        assert stream.read() == b""


def test_files_and_streams_up_and_down(collection, tmpdir):
    content = os.urandom(3000000)
    tmpdir.join("up").write(content, mode="wb")
    moved = []
    assert collection.putFile(str(tmpdir.join("up"))).getName() == "up"
    transfer.upload(collection.client, str(tmpdir.join("up")), collection.uri + "/again", moved.append)
    assert sum(moved) == len(content)
    moved = []
    size = transfer.download(collection.client, collection.uri + "/again", str(tmpdir.join("down")), moved.append)
    assert size == len(content)
    assert sum(moved) == len(content) and tmpdir.join("down").read("rb") == content
    transfer.copy_remote(collection.client, collection.uri + "/again", collection.uri + "/third")
    assert collection.file("third").getBytes() == content


class Unseekable(io.RawIOBase):
    """Bytes that can be read once, as from a pipe."""

    def __init__(self, content):
        io.RawIOBase.__init__(self)
        self._content = io.BytesIO(content)

    def readable(self):
        return True

    def readinto(self, target):
        return self._content.readinto(target)


def test_a_stream_of_unknown_length(collection):
    content = os.urandom(300000)
    transfer.upload_from(collection.client, Unseekable(content), collection.uri + "/f")
    assert collection.file("f").getBytes() == content


class OnlyReadable(object):
    """What has nothing but `read`."""

    def __init__(self, content):
        self.read = io.BytesIO(content).read


def test_a_source_needs_only_read(collection):
    assert collection.file("f").put_stream(OnlyReadable(b"content")).getBytes() == b"content"
    collection.client.requestSession  # takes another way from now on
    assert collection.file("g").put_stream(OnlyReadable(b"content")).getBytes() == b"content"


class FullDisk(object):
    def write(self, data):
        raise IOError("no space left")


def test_a_download_that_fails_here_does_not_disturb_the_next(collection):
    collection.file("big").put(b"x" * 4000000)
    for _ in range(3):
        with pytest.raises(IOError, match="no space left"):
            transfer.download_to(collection.client, collection.uri + "/big", FullDisk())
        assert collection.file("big").stat().size == 4000000


def test_downloads_have_the_permissions_that_the_umask_leaves(collection, tmpdir):
    collection.file("f").put("x")
    new, private = tmpdir.join("new"), tmpdir.join("private")
    private.write("")
    private.chmod(0o600)
    before = os.umask(0o027)
    try:
        for target in (new, private):
            transfer.download(collection.client, collection.uri + "/f", str(target))
    finally:
        os.umask(before)
    assert [target.stat().mode & 0o777 for target in (new, private)] == [0o640, 0o600]


def test_a_failed_download_keeps_the_old_file(collection, tmpdir):
    target = tmpdir.join("f")
    target.write("old")
    with pytest.raises(errors.NotFoundError):
        transfer.download(collection.client, collection.uri + "/nope", str(target))
    assert target.read() == "old" and [p.basename for p in tmpdir.listdir() if ".part" in p.basename] == []


def test_a_download_to_a_device_leaves_the_device(collection):
    collection.file("f").put("x")
    transfer.download(collection.client, collection.uri + "/f", os.devnull)
    assert not os.path.isfile(os.devnull)


def test_zip_archives(collection, tmpdir):
    source = tmpdir.mkdir("source")
    source.join("a").write("1")
    source.join("b").write("2")
    collection.file("z").putAsZip(str(source))
    unpacked = collection.file("z").getAsZip()
    assert sorted(os.listdir(unpacked)) == ["a", "b"]
    collection.file("one").putAsZip(str(source.join("a")))
    assert open(collection.file("one").getAsZip()).read() == "1"


def test_numpy(collection):
    numpy = pytest.importorskip("numpy", reason="numpy is optional for the SDK")
    array = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
    back = collection.file("n").putNumpy(array).getNumpy()
    assert back.dtype == array.dtype and back.shape == (2, 3) and (back == array).all()
    assert (collection.file("old").putJson([[1, 2], [3, 4]]).getNumpy() == numpy.array([[1, 2], [3, 4]])).all()


def test_directories(client):
    directory = client.dir("data://.my/test_directories")
    assert directory.exists() is False
    directory.create()
    try:
        assert directory.exists() is True and directory.getName() == "test_directories"
        with pytest.raises(errors.ConflictError):
            directory.create()
        assert "test_directories" in [item.getName() for item in client.dir("data://.my").dirs()]
        directory.file("f").put("x")
        with pytest.raises(errors.ConflictError):
            directory.delete()
        assert directory.file("f").exists()
        local = directory.getDir()
        assert os.listdir(local) == ["f"]
    finally:
        assert directory.delete(force=True) is True
    assert directory.exists() is False
    with pytest.raises(errors.NotFoundError):
        directory.delete()


def test_bad_names_of_directories(client):
    for name in ("9x", "a b", "a-b", "x" * 31):
        with pytest.raises(errors.DataApiError):
            client.dir("data://.my/" + name).create()


def test_listing_pages(start_server):
    server = start_server("--port", "0", "--page-size", "7")
    directory = server.client().dir("data://.my/pages")
    directory.create()
    names = sorted("file%02d" % number for number in range(24))
    for name in names:
        directory.file(name).put(name)
    assert [item.getName() for item in directory.files()] == names
    assert all(type(item) is DataFile and item.size == 6 for item in directory.files())
    for number in range(9):
        server.client().dir("data://.my/d%d" % number).create()
    listed = list(server.client().dir("data://.my").list())
    assert [item.getName() for item in listed] == ["d%d" % number for number in range(9)] + ["pages"]
    assert all(type(item) is DataDirectory for item in listed)


def test_permissions(collection, new_account):
    other = new_account()
    collection.file("f").put("x")
    foreign = other.client.file("data://%s/%s/f" % (collection.client.username(), collection.getName()))
    assert collection.get_permissions().read_acl is acl.AclType.my_algos
    with pytest.raises(errors.PermissionDeniedError):
        foreign.getString()
    assert collection.update_permissions(acl.ReadAcl.public) is True
    assert collection.get_permissions().read_acl is acl.AclType.public
    assert foreign.getString() == u"x"
    with pytest.raises(errors.PermissionDeniedError):
        foreign.put("y")
    collection.update_permissions(acl.ReadAcl.private)
    assert collection.get_permissions().read_acl is acl.AclType.private
    with pytest.raises(errors.PermissionDeniedError):
        foreign.getString()


def test_acl_values():
    assert acl.Acl.from_acl_response({"read": []}).read_acl is acl.AclType.private
    assert acl.ReadAcl.my_algos.to_api_param() == {"read": ["algo://.my/*"]}
    assert acl.ReadAcl.private.to_api_param() == {"read": []}
    assert acl.AclType.default is acl.AclType.my_algos
    with pytest.raises(ValueError):
        acl.AclType.from_acl_response(["nonsense"])


def test_username(client):
    assert client.username() == "tester"


def test_data_type(client, collection):
    collection.file("f").put("x")
    assert client.data_type(collection.uri) == "directory"
    assert client.data_type(collection.uri + "/f") == "file"
    assert client.data_type(collection.uri + "/g") is None


def test_raw_get_returns_a_requests_response(collection):
    response = collection.file("f").put("x").get()
    assert response.status_code == 200 and response.content == b"x" and response.headers["X-Data-Type"] == "file"


def test_rich_display(collection):
    collection.file("a<b.txt").put("x" * 2000)
    shown = collection._repr_html_()
    assert "a&lt;b.txt" in shown and "2.0k" in shown and "<table>" in shown
    assert collection.uri in next(collection.files())._repr_html_()
    assert "2.0k" in collection.file("a<b.txt")._repr_html_()
    assert "not found" in collection.file("nothing")._repr_html_()
    assert "not" in collection.client.dir("data://.my/no_such_one")._repr_html_().lower()
    assert repr(collection).startswith("AdvancedDataDirectory(")


def test_who_asks_for_bytes_only_gets_no_text(collection):
    item = collection.file("t").put(u"text")
    response = collection.client.request("GET", item.url, headers={"Accept": "application/octet-stream"})
    assert response.headers["Content-Type"] == "application/octet-stream" and response.data == b"text"
    assert item.stat().content_type.startswith("text/plain")


def test_defect_24_freeze_reads_required_and_optional_files(collection, tmpdir):
    import hashlib

    from Algorithmia.adk.lock import lock_checksum

    for name in ("required", "first", "second"):
        collection.file(name).put(name)
    manifest = {
        "required_files": [{"name": "r", "source_uri": collection.uri + "/required", "fail_on_tamper": True}],
        "optional_files": [{"name": name, "source_uri": collection.uri + "/" + name} for name in ("first", "second")],
    }
    tmpdir.join("model_manifest.json").write(json.dumps(manifest))
    path = collection.client.freeze(str(tmpdir.join("model_manifest.json")), str(tmpdir))
    assert path == str(tmpdir.join("model_manifest.json.freeze"))
    with io.open(path, encoding="utf-8") as handle:
        frozen = json.load(handle, object_pairs_hook=OrderedDict)
    entries = frozen["required_files"] + frozen["optional_files"]
    sums = [hashlib.md5(name).hexdigest() for name in (b"required", b"first", b"second")]
    assert [entry["md5_checksum"] for entry in entries] == sums
    assert frozen["lock_checksum"] == lock_checksum(frozen)
    for manifest in ("nothing.json", "broken.json"):
        tmpdir.join("broken.json").write("{")
        with pytest.raises(errors.ConfigError):
            collection.client.freeze(str(tmpdir.join(manifest)))


def test_local_trouble_is_not_told_as_trouble_with_the_network(collection, tmpdir):
    class FullDisk(object):
        def write(self, data):
            raise OSError(28, "No space left on device")

    collection.file("f").put("x")
    with pytest.raises(OSError) as caught:
        transfer.download_to(collection.client, collection.uri + "/f", FullDisk())
    assert not isinstance(caught.value, errors.ApiError) and caught.value.errno == 28


def test_local_files_are_read_as_such(client, tmpdir):
    tmpdir.join("f").write("local")
    target = io.BytesIO()
    assert transfer.download_to(client, "file://" + str(tmpdir.join("f")), target) == 5
    assert target.getvalue() == b"local"
