"""`algo local migrate-storage`: all contents from one store to another and back, cut short, damaged, and refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import storage_providers
from blob_stores import environment
from platforms import Server

from Algorithmia.server import maintenance

CONTENTS = {"empty": b"", "small": b"small file", "large": os.urandom(9 * 1024 * 1024)}


@pytest.fixture(scope="module")
def moto(tmp_path_factory: Any) -> Iterator[Any]:
    pytest.importorskip("obstore", reason="object stores need obstore")
    yield from storage_providers.running("s3", tmp_path_factory.mktemp("emulator"))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: Any) -> Path:
    """The home of a platform with files on its own disk, which has been stopped."""
    home = tmp_path_factory.mktemp("template")
    platform = Server(home)
    client = platform.client()
    client.dir("data://.my/kept").create()
    for name, content in CONTENTS.items():
        client.file(f"data://.my/kept/{name}").put(content)
    platform.stop()
    return home


class Moving:
    """A stopped platform and a place in an object store."""

    def __init__(self, home: Path, moto: Any, output: Any) -> None:
        self.home = home
        self.prefix = f"moved/{home.parent.name}"
        self.location = f"s3://bucket/{self.prefix}"
        self.blobs = home / "platform" / "blobs"
        self.moto = moto
        self._output = output

    def migrate(self, to: str) -> tuple[int, dict[str, Any]]:
        status = maintenance.main(["migrate-storage", "--home", str(self.home), "--json", to])
        printed = self._output.readouterr()
        assert printed.err == ""
        return status, json.loads(printed.out)

    def refused(self, to: str) -> str:
        assert maintenance.main(["migrate-storage", "--home", str(self.home), to]) in (1, 2)
        printed = self._output.readouterr()
        assert printed.out == ""
        return str(printed.err)

    def is_well(self) -> bool:
        status = maintenance.main(["fsck", "--home", str(self.home), "--checksum", "--quiet"])
        printed = self._output.readouterr()
        assert (printed.out, printed.err) == ("", "")
        return status == 0

    def objects(self) -> list[str]:
        found = [name.removeprefix(f"bucket/{self.prefix}/") for name in self.moto.names(f"{self.prefix}/")]
        return [name for name in found if name != "platform"]  # whose they are

    def local(self) -> list[str]:
        return sorted(str(path.relative_to(self.blobs)) for path in self.blobs.rglob("*") if path.is_file())

    def serves(self, storage: str) -> bool:
        platform = Server(self.home, "--port", "0", "--storage", storage, environment=environment(self.moto))
        try:
            directory = platform.client().dir("data://.my/kept")
            return {file.getName(): file.getBytes() for file in directory.files()} == CONTENTS
        finally:
            platform.stop()


@pytest.fixture
def moving(stopped: Path, moto: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Moving:
    for name, value in environment(moto).items():
        monkeypatch.setenv(name, value)
    shutil.copytree(stopped, tmp_path / "home")
    return Moving(tmp_path / "home", moto, capsys)


def test_there_and_back(moving: Moving) -> None:
    size = sum(map(len, CONTENTS.values()))
    before = moving.local()
    status, report = moving.migrate(moving.location)
    assert (status, report["done"], report["copied"], report["files"], report["bytes"]) == (0, True, 3, 3, size)
    assert (report["from"], report["to"]) == ("local", moving.location)
    assert moving.objects() == before == moving.local()
    assert moving.is_well() and moving.serves(moving.location)

    for path in before:
        (moving.blobs / path).unlink()
    status, report = moving.migrate("local")
    assert (status, report["copied"]) == (0, 3)
    assert moving.local() == before
    assert moving.is_well() and moving.serves("local")


def test_run_that_was_cut_short_goes_on(moving: Moving) -> None:
    whole, cut, unverified = moving.local()
    # One is there, one was being written, and one had been written but not read again.
    moving.moto.put(f"bucket/{moving.prefix}/{whole}", (moving.blobs / whole).read_bytes())
    moving.moto.put(f"bucket/{moving.prefix}/{unverified}", b"of whatever content")
    unsettled = moving.blobs / "unsettled"
    unsettled.mkdir()
    for path in (cut, unverified):
        (unsettled / path[3:]).touch()
    status, report = moving.migrate(moving.location)
    assert (status, report["copied"], report["files"]) == (0, 2, 3)
    assert moving.is_well() and not os.listdir(unsettled)


def test_run_between_buckets_that_ended_before_its_second_reading(moving: Moving) -> None:
    """What was damaged on its way is found although it has the right size, and although the old store, too, has had a
    look at the note of it."""
    assert moving.migrate(moving.location)[0] == 0
    further = moving.prefix + "-further"
    path = next(path for path in moving.local() if (moving.blobs / path).stat().st_size == len(CONTENTS["small"]))
    moving.moto.put(f"bucket/{further}/{path}", b"small life")
    (moving.blobs / "unsettled").mkdir(exist_ok=True)
    (moving.blobs / "unsettled" / path[3:]).touch()
    moving.prefix, moving.location = further, f"s3://bucket/{further}"
    status, report = moving.migrate(moving.location)
    assert (status, report["copied"], report["files"]) == (0, 3, 3)
    assert moving.is_well()


def test_half_written_file_here_never_replaces_the_one_there(moving: Moving) -> None:
    assert moving.migrate(moving.location)[0] == 0
    paths = moving.local()
    for path in paths:
        (moving.blobs / path).unlink()
    # As a run back is left that was killed: and then the platform is started where it was.
    (moving.blobs / "staging" / paths[0][3:]).write_bytes(b"half")
    assert moving.serves(moving.location)
    assert moving.is_well() and moving.local() == []


def test_damage_there_is_found(moving: Moving, capsys: Any) -> None:
    assert moving.migrate(moving.location)[0] == 0
    large = next(path for path in moving.local() if (moving.blobs / path).stat().st_size == len(CONTENTS["large"]))
    small = next(path for path in moving.local() if (moving.blobs / path).stat().st_size == len(CONTENTS["small"]))
    moving.moto.put(f"bucket/{moving.prefix}/{large}", b"short")
    moving.moto.put(f"bucket/{moving.prefix}/{small}", b"small life")
    for path in ("00/" + "0" * 32, "ab/notes.txt"):
        moving.moto.put(f"bucket/{moving.prefix}/{path}", b"x")
    command = ["fsck", "--home", str(moving.home), "--json", "--checksum", "--repair"]
    assert maintenance.main(command) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert {(finding["kind"], finding["subject"], finding["repaired"]) for finding in findings} == {
        ("size", "data://tester/kept/large", False),
        ("content", "data://tester/kept/small", False),
        ("unreferenced", "0" * 32, False),  # it may be new
        ("stray", "ab/notes.txt", False),
    }
    assert len(moving.objects()) == 5


def test_object_of_another_size_is_replaced(moving: Moving) -> None:
    path = moving.local()[1]
    moving.moto.put(f"bucket/{moving.prefix}/{path}", b"of another size than any")
    assert moving.migrate(moving.location)[0] == 0
    assert moving.is_well()


def test_damaged_content_stays_behind_and_the_platform_with_it(moving: Moving) -> None:
    path = next(path for path in moving.local() if (moving.blobs / path).stat().st_size == len(CONTENTS["small"]))
    (moving.blobs / path).write_bytes(b"small life")
    status, report = moving.migrate(moving.location)
    assert (status, report["done"], report["files"]) == (1, False, 2)
    (left,) = report["left"]
    assert left["subject"] == "data://tester/kept/small" and "SHA-256" in left["said"]
    assert path not in moving.objects()
    (moving.blobs / path).write_bytes(CONTENTS["small"])
    assert moving.migrate(moving.location)[1]["copied"] == 1
    assert "are in " + moving.location + " already" in moving.refused(moving.location)


def test_for_a_person(moving: Moving, capsys: Any) -> None:
    assert maintenance.main(["migrate-storage", "--home", str(moving.home), moving.location]) == 0
    said = capsys.readouterr().err
    assert f"3 files ({sum(map(len, CONTENTS.values()))} bytes) are in {moving.location} now, 3 of them copied" in said
    assert f"start the platform with --storage {moving.location}" in said


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("local", "algo local migrate-storage: this platform's files are in local already"),
        ("s3://no-such-bucket", "can't use --storage s3://no-such-bucket"),
        ("elsewhere", "--storage elsewhere is not valid"),
    ],
)
def test_refusals(moving: Moving, to: str, said: str) -> None:
    before = moving.local()
    assert said in moving.refused(to)
    assert moving.local() == before and moving.is_well()


def test_refused_while_the_platform_runs(moving: Moving) -> None:
    platform = Server(moving.home)
    try:
        assert "a platform already runs at" in moving.refused(moving.location)
        assert moving.objects() == []
    finally:
        platform.stop()
