"""`client.fs()`: paths, what there is, reading, storing, and what happens when something is in the way."""

from __future__ import annotations

import errno
import os
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest

fsspec = pytest.importorskip("fsspec", reason="file systems need fsspec")

MIB = 1024 * 1024


@pytest.fixture
def fs(client: Any) -> Any:
    return client.fs()


@pytest.fixture
def here(collection: Any) -> str:
    """The path of a collection of this test's own."""
    return f"data/{collection.path}"


# -- paths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("algorithmia://data/.my/c/f", "data/.my/c/f"),
        ("algorithmia://s3+label/bucket/key", "s3+label/bucket/key"),
        ("algorithmia://data://.my/c/f", "data/.my/c/f"),
        ("data://.my/c/f", "data/.my/c/f"),
        ("data:///me/c/f", "data/me/c/f"),
        ("s3+label://bucket/key", "s3+label/bucket/key"),
        ("S3+label://bucket/a//b", "s3+label/bucket/a//b"),
        ("data/.my/c/", "data/.my/c"),
        ("/data/.my/c", "data/.my/c"),
        ("data://", "data"),
        ("algorithmia://", ""),
    ],
)
def test_paths(fs: Any, written: str, path: str) -> None:
    assert fs._strip_protocol(written) == path
    assert fs._strip_protocol(path) == path
    assert fs.unstrip_protocol(written) == f"algorithmia://{path}"


def test_data_uris_are_paths(fs: Any, here: str, collection: Any) -> None:
    fs.pipe(f"{collection.uri}/a.txt", b"hello")
    assert fs.cat(f"algorithmia://{here}/a.txt") == b"hello"
    assert fs.ls(collection.uri, detail=False) == [f"{here}/a.txt"]
    assert fs.find(collection.uri) == fs.glob(f"{collection.uri}/*.txt") == [f"{here}/a.txt"]
    assert [fs.cat(names) for names in ([f"{collection.uri}/a.txt"],)] == [{f"{here}/a.txt": b"hello"}]


def test_the_root_lists_connectors(fs: Any, client: Any) -> None:
    assert "data" in fs.ls("", detail=False) and fs.isdir("") and fs.isdir("data")
    assert f"data/{client.username()}" in fs.ls("data://", detail=False)


@pytest.mark.parametrize("path", ["nothing/x", "file:///etc/passwd", "s3+no-label/b", "x"])
def test_what_is_no_connector_is_not_found(fs: Any, path: str) -> None:
    assert not fs.exists(path) and not fs.isdir(path) and not fs.isfile(path)
    for refused in (fs.ls, fs.info, fs.cat_file, fs.rm_file, lambda name: fs.open(name, "wb")):
        with pytest.raises(FileNotFoundError, match="no such connector"):
            refused(path)


# -- what there is -----------------------------------------------------------------------------------------------


def test_info(fs: Any, here: str) -> None:
    fs.pipe(f"{here}/a/b.csv", b"x,y\n")
    found = fs.info(f"{here}/a/b.csv")
    assert (found["name"], found["size"], found["type"]) == (f"{here}/a/b.csv", 4, "file")
    assert found["content_type"].startswith("text/csv") and found["ETag"] and len(found["digest"]) == 64
    assert abs(found["mtime"] - datetime.now(timezone.utc)) < timedelta(hours=1)
    assert fs.modified(f"{here}/a/b.csv") == found["mtime"]
    for path in (here, f"{here}/a"):
        assert fs.info(path) == {"name": path, "size": 0, "type": "directory"}
    listed = fs.ls(here + "/a")[0]
    assert (listed["name"], listed["size"], listed["type"]) == (f"{here}/a/b.csv", 4, "file")
    assert fs.ls(f"{here}/a/b.csv", detail=False) == [f"{here}/a/b.csv"]
    assert fs.size(f"{here}/a/b.csv") == fs.du(here) == 4
    for path in (f"{here}/none", f"{here}/a/b", f"{here}/a/b.csv/c"):
        assert not fs.exists(path)
        for refused in (fs.info, fs.ls, fs.cat_file, fs.open, fs.rm):
            with pytest.raises(FileNotFoundError):
                refused(path)


def test_listings_have_pages(fs: Any, here: str) -> None:
    fs.pipe({f"{here}/{number:04}": b"" for number in range(1005)})
    names = fs.ls(here, detail=False)
    assert names == [f"{here}/{number:04}" for number in range(1005)]
    assert len(fs.glob(f"{here}/000?")) == 10


def test_checksums_change_with_the_content(fs: Any, here: str) -> None:
    fs.pipe(f"{here}/f", b"1")
    one = fs.checksum(f"{here}/f"), fs.ukey(f"{here}/f")
    assert one == (fs.checksum(f"{here}/f"), fs.ukey(f"{here}/f"))
    fs.pipe(f"{here}/f", b"2")
    assert fs.checksum(f"{here}/f") != one[0] and fs.ukey(f"{here}/f") != one[1]


def test_listings_are_remembered_only_if_asked(client: Any, fs: Any, here: str) -> None:
    remembering = client.fs(use_listings_cache=True)
    for each in (fs, remembering):
        assert each.ls(here) == []
    client.file(f"{here.replace('data/', 'data://', 1)}/new").put("x")
    assert len(fs.ls(here)) == 1 and remembering.ls(here) == []
    assert len(remembering.ls(here, refresh=True)) == 1
    remembering.pipe(f"{here}/a/own", b"")  # what it changes itself it knows of
    assert len(remembering.ls(here)) == 2
    client.file(f"{here.replace('data/', 'data://', 1)}/other").put("x")
    remembering.invalidate_cache(f"{here}/other")
    assert len(remembering.ls(here)) == 3 and remembering.info(f"{here}/other")["size"] == 1


# -- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end"),
    [(None, None), (0, 5), (3, None), (None, 7), (-4, None), (-4, -1), (2, -2), (5, 5), (7, 3), (90, 200), (200, 300),
     (-500, None), (None, -95)],
)  # fmt: skip
def test_parts_are_as_slices(fs: Any, here: str, start: int | None, end: int | None) -> None:
    content = bytes(range(100))
    fs.pipe(f"{here}/f", content)
    assert fs.cat_file(f"{here}/f", start, end) == content[start:end]
    assert fs.cat_ranges([f"{here}/f"] * 2, start, [end, end]) == [content[start:end]] * 2


@pytest.mark.parametrize("cache", ["growing", "readahead", "none", "bytes", "all", "blockcache"])
def test_random_access(fs: Any, here: str, cache: str) -> None:
    content = os.urandom(300_000)
    fs.pipe(f"{here}/f", content)
    with fs.open(f"{here}/f", cache_type=cache, block_size=70_000) as source:
        for offset, length in ((0, 10), (10, 65_536), (290_000, 20_000), (100, 5), (105, 200_000), (299_999, 1)):
            source.seek(offset)
            assert source.read(length) == content[offset : offset + length]
        assert source.seek(-5, 2) == 299_995 and source.read() == content[-5:] and source.read() == b""
    with fs.open(f"{here}/f", cache_type=cache, block_size=70_000) as source:
        assert source.read() == content


def test_lines_and_text(fs: Any, here: str) -> None:
    with fs.open(f"{here}/t", "w", newline="") as target:
        target.write("grün\r\nblau\n" + "x" * 20_000 + "\nend")
    assert fs.cat(f"{here}/t").startswith("grün\r\n".encode())
    with fs.open(f"{here}/t", "r") as source:
        assert [line[:5] for line in source] == ["grün\n", "blau\n", "xxxxx", "end"]
    with fs.open(f"{here}/t") as source:
        assert source.readline(2) == b"gr" and source.readline() == "ün\r\n".encode()
        assert [len(line) for line in source] == [5, 20_001, 3]
    assert fs.head(f"{here}/t", 2) == b"gr" and fs.tail(f"{here}/t", 3) == b"end"


def test_a_file_that_changes_while_it_is_read(fs: Any, here: str) -> None:
    fs.pipe(f"{here}/f", b"old" * 100_000)
    with fs.open(f"{here}/f", block_size=1000) as source:
        assert source.read(3) == b"old"
        fs.pipe(f"{here}/f", b"new" * 100_000)
        source.seek(290_000)
        with pytest.raises(OSError, match="changed while it was being read") as raised:
            source.read(3)
    assert raised.value.errno == errno.ESTALE
    with fs.open(f"{here}/f") as source:
        assert source.read(3) == b"new"


def test_directories_are_not_read(fs: Any, here: str) -> None:
    fs.pipe(f"{here}/a/f", b"")
    for path in (here, f"{here}/a"):
        for refused in (fs.open, fs.cat_file, lambda path: fs.cat_file(path, 0, 3), fs.rm_file, fs.rm):
            with pytest.raises(IsADirectoryError):
                refused(path)


# -- storing ---------------------------------------------------------------------------------------------------------


def test_what_is_written_appears_at_close(fs: Any, here: str) -> None:
    target = fs.open(f"{here}/f", "wb")
    target.write(b"a" * 9 * MIB)
    target.write(b"b")
    assert not fs.exists(f"{here}/f")
    target.close()
    assert fs.size(f"{here}/f") == 9 * MIB + 1 and fs.tail(f"{here}/f", 2) == b"ab"


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("mode", ["wb", "w", "xb"])
def test_an_exception_stores_nothing(fs: Any, here: str, mode: str, compression: str | None) -> None:
    path = f"{here}/f" if mode == "xb" else f"{here}/g"
    if mode != "xb":
        fs.pipe(path, b"before")
    for opened in (fs.open, fsspec_open(fs)):
        with pytest.raises(ZeroDivisionError), opened(path, mode, compression=compression) as target:
            target.write("half" if mode == "w" else b"half")
            raise ZeroDivisionError
        assert not fs.exists(path) if mode == "xb" else fs.cat(path) == b"before"
    target = fs.open(path, mode, compression=compression)
    target.write("half" if mode == "w" else b"half")
    del target  # nobody closed it
    assert not fs.exists(path) if mode == "xb" else fs.cat(path) == b"before"


def fsspec_open(fs: Any) -> Any:
    """As ``fsspec.open``, which closes files without a word about exceptions."""
    return partial(fsspec.core.OpenFile, fs)


def test_an_error_that_was_dealt_with_stops_nothing(fs: Any, here: str) -> None:
    target = fs.open(f"{here}/f", "wb")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        target.write(b"whole")
        target.close()
        with fsspec_open(fs)(f"{here}/g", "wb") as other:
            other.write(b"whole")
    assert fs.cat(f"{here}/f") == fs.cat(f"{here}/g") == b"whole"


@pytest.mark.parametrize("compression", ["gzip", "bz2", "xz", "infer"])
def test_compression(fs: Any, here: str, compression: str) -> None:
    with fs.open(f"{here}/f.gz", "w", compression=compression) as target:
        target.write("a lot\n" * 1000)
    assert fs.size(f"{here}/f.gz") < 1000
    with fs.open(f"{here}/f.gz", "r", compression=compression) as source:
        assert source.read() == "a lot\n" * 1000


def test_new_files_only(fs: Any, here: str) -> None:
    first, second = fs.open(f"{here}/f", "xb"), fs.open(f"{here}/f", "xb")
    for target in (first, second):
        target.write(b"%d" % id(target))
    first.close()
    with pytest.raises(FileExistsError):
        second.close()
    assert fs.cat(f"{here}/f") == b"%d" % id(first)
    with pytest.raises(FileExistsError):
        fs.pipe_file(f"{here}/f", b"", mode="create")
    with pytest.raises(FileExistsError):
        fs.put_file(__file__, f"{here}/f", mode="create")


@pytest.mark.parametrize("mode", ["ab", "a", "r+b", "w+"])
def test_nothing_is_appended_or_changed_in_place(fs: Any, here: str, mode: str) -> None:
    with pytest.raises(NotImplementedError, match="stored as a whole"):
        fs.open(f"{here}/f", mode)


def test_transactions(fs: Any, here: str, tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(b"3")
    with fs.transaction:
        with fs.open(f"{here}/a", "wb") as target:
            target.write(b"1")
        fs.pipe(f"{here}/b", b"2")
        fs.put(str(tmp_path / "local"), f"{here}/c")
        assert fs.ls(here) == []
    assert fs.cat(f"{here}/*") == {f"{here}/a": b"1", f"{here}/b": b"2", f"{here}/c": b"3"}
    with pytest.raises(ZeroDivisionError), fs.transaction:
        fs.pipe(f"{here}/d", b"4")
        raise ZeroDivisionError
    assert len(fs.ls(here)) == 3
    with fs.open(f"{here}/e", "wb", autocommit=False) as target:
        target.write(b"5")
    assert not fs.exists(f"{here}/e")
    target.commit()
    assert fs.cat(f"{here}/e") == b"5"


def test_what_is_in_the_way(fs: Any, here: str) -> None:
    fs.pipe(f"{here}/a/f", b"")
    fs.pipe(f"{here}/g", b"")
    for path in (here, f"{here}/a"):
        with pytest.raises(IsADirectoryError):
            fs.pipe(path, b"")
    for refused in (lambda: fs.pipe(f"{here}/g/h", b""), lambda: fs.cp(f"{here}/g", f"{here}/a/f/h")):
        with pytest.raises(NotADirectoryError):
            refused()
    with pytest.raises(FileNotFoundError):
        fs.pipe("data/.my/none_of_that_name/f", b"")
    for existing in (here, f"{here}/a", f"{here}/g"):
        with pytest.raises(FileExistsError):
            fs.mkdir(existing)
    with pytest.raises(FileExistsError):
        fs.makedirs(here)
    fs.makedirs(here, exist_ok=True)
    with pytest.raises(OSError) as raised:
        fs.rmdir(here)
    assert raised.value.errno == errno.ENOTEMPTY


def test_collections_are_made_and_removed(fs: Any, here: str) -> None:
    path = here + "_new"
    fs.mkdir(path)
    assert fs.isdir(path) and fs.ls(path) == []
    fs.rmdir(path)
    assert not fs.exists(path)
    with pytest.raises(FileNotFoundError):
        fs.mkdir(f"{path}/a", create_parents=False)
    fs.makedirs(f"{path}/a/b")
    assert fs.isdir(path) and not fs.exists(f"{path}/a")  # folders come with their first file
    fs.pipe(f"{path}/a/b/f", b"")
    fs.rm(path, recursive=True)
    assert not fs.exists(path)
    with pytest.raises(FileNotFoundError):
        fs.rm(path, recursive=True)


def test_rights(server: Any, new_account: Any, fs: Any, here: str, collection: Any) -> None:
    from Algorithmia.acl import ReadAcl

    fs.pipe(f"{here}/f", b"mine")
    collection.update_permissions(ReadAcl.private)
    path = here.replace(".my", server.user)
    reader = new_account(allow_data=True)
    for other in (new_account().client.fs(), reader.client.fs(), server.client("sim" + "x" * 25).fs()):
        for refused in (other.cat_file, other.ls, other.info, other.rm_file, lambda path: other.pipe(path, b"")):
            with pytest.raises(PermissionError):
                refused(f"{path}/f")
        with pytest.raises(PermissionError):
            other.exists(f"{path}/f")
    with pytest.raises(PermissionError):
        reader.client.fs().mkdir("data/.my/c")
    assert fs.cat(f"{here}/f") == b"mine"
