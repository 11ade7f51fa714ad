"""`client.fs()`: many files at once, moves that lose nothing, progress, and copies of the file system elsewhere."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from platforms import ROOT, Server, clean_environment

fsspec = pytest.importorskip("fsspec", reason="file systems need fsspec")
import Algorithmia.fs  # noqa: F401  (installed, fsspec finds it by itself)


@pytest.fixture
def fs(client: Any) -> Any:
    return client.fs()


@pytest.fixture
def here(collection: Any) -> str:
    return f"data/{collection.path}"


def tree(fs: Any, path: str) -> dict[str, bytes]:
    """Contents by name below `path`."""
    return {name[len(path) + 1 :]: fs.cat_file(name) for name in fs.find(path)}


# -- up and down -----------------------------------------------------------------------------------------------------


class Bar(fsspec.callbacks.Callback):  # type: ignore[misc]
    """Remembers what it was told, and its branches."""

    def __init__(self) -> None:
        super().__init__()
        self.branches: dict[tuple[str, str], Bar] = {}

    def branched(self, path_1: str, path_2: str, **kwargs: Any) -> Bar:
        return self.branches.setdefault((path_1, path_2), Bar())


def test_directories_up_and_down_with_progress(fs: Any, here: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "a" / "b").mkdir(parents=True)
    content = {"one": b"1" * 70_000, "a/two": b"2", "a/b/three": b"", "a/b/ü #%": b"4"}
    for name, data in content.items():
        (source / name).write_bytes(data)
    up, down = Bar(), Bar()
    fs.put(str(source), f"{here}_up", recursive=True, callback=up)  # a collection that isn't there yet
    try:
        assert tree(fs, f"{here}_up") == content
        fs.get(f"{here}_up", str(tmp_path / "back"), recursive=True, callback=down)
    finally:
        fs.rm(f"{here}_up", recursive=True)
    assert {str(path.relative_to(tmp_path / "back")): path.read_bytes() for path in (tmp_path / "back").rglob("*")
            if path.is_file()} == content  # fmt: skip
    for bar in (up, down):
        assert bar.value == bar.size == 7  # directories, too
        assert sorted(branch.value for branch in bar.branches.values()) == sorted(map(len, content.values()))
        assert all(branch.value == branch.size for branch in bar.branches.values())


def test_small_files_travel_in_company(server: Server, fs: Any, here: str, tmp_path: Path) -> None:
    (tmp_path / "up").mkdir()
    for number in range(200):
        (tmp_path / "up" / f"{number:03}").write_bytes(b"%d" % number)
    seen = server.client(server.admin_key)
    before = requests(seen)
    fs.put(str(tmp_path / "up"), here, recursive=True)
    fs.get(f"{here}/up", str(tmp_path / "down"), recursive=True)
    assert requests(seen) - before < 40
    assert {path.name: path.read_bytes() for path in (tmp_path / "down").iterdir()} == {
        f"{number:03}": b"%d" % number for number in range(200)
    }
    with pytest.raises(FileExistsError):
        fs.put(str(tmp_path / "up" / "000"), f"{here}/up/001", mode="create")


def requests(admin: Any) -> int:
    """How many the platform has answered."""
    lines = admin.request("GET", "/metrics").data.decode().splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith("algorithmia_requests_total{"))


def test_a_part_of_a_tree_is_not_taken_for_the_whole(fs: Any, here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fs.pipe({f"{here}/{folder}/f": b"" for folder in "abc"})
    listed = fs._list

    def fails(path: str) -> Any:
        if path.endswith("/b"):
            raise PermissionError("for a test")
        return listed(path)

    monkeypatch.setattr(fs, "_list", fails)
    for walks in (fs.find, fs.du, lambda path: fs.get(path, "/", recursive=True), lambda path: fs.glob(path + "/**")):
        with pytest.raises(PermissionError):
            walks(here)
    assert len(list(fs.walk(here, on_error="omit"))) == 3
    assert [top for top, _, _ in fs.walk(here, maxdepth=1)] == [here]
    monkeypatch.undo()
    order = [f"{here}/a", f"{here}/b", f"{here}/c"]
    assert [top for top, _, _ in fs.walk(here)] == [here, *order]
    assert [top for top, _, _ in fs.walk(here, topdown=False)] == [*order, here]
    assert [list(files) for _, _, files in fs.walk(here, detail=True)] == [[], ["f"], ["f"], ["f"]]


def test_a_download_that_fails_leaves_nothing(fs: Any, here: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fs.get(f"{here}/none", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        fs.get_file(f"{here}/none", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        fs.put(str(tmp_path / "none"), here)
    assert list(tmp_path.iterdir()) == [] and fs.ls(here) == []


def test_many_contents(fs: Any, here: str) -> None:
    content = {f"{here}/{number}": os.urandom(number) for number in range(30)}
    fs.pipe(content)
    assert fs.cat(list(content)) == content == fs.cat(here, recursive=True)
    got = fs.cat([*content, f"{here}/none"], on_error="return")
    assert isinstance(got.pop(f"{here}/none"), FileNotFoundError) and got == content
    assert fs.cat([*content, f"{here}/none"], on_error="omit") == content
    with pytest.raises(FileNotFoundError):
        fs.cat([*content, f"{here}/none"])
    found = fs.cat_ranges([f"{here}/20", f"{here}/none", f"{here}/20"], [0, 0, 5], [5, 5, 20])
    assert found[0] + found[2] == content[f"{here}/20"] and isinstance(found[1], FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges([f"{here}/none"], 0, 1, on_error="raise")


def test_a_mapping(fs: Any, here: str) -> None:
    mapper = fs.get_mapper(f"{here}/store")
    mapper["a/b"] = b"1"
    mapper.setitems({"c": b"2", "a/d": b"3"})
    assert sorted(mapper) == ["a/b", "a/d", "c"] and mapper.getitems(["a/b", "c"]) == {"a/b": b"1", "c": b"2"}
    del mapper["c"]
    assert "c" not in mapper
    with pytest.raises(KeyError):
        mapper["c"]
    mapper.clear()
    assert sorted(mapper) == []


# -- moving and removing -----------------------------------------------------------------------------------------------


def test_moves(fs: Any, here: str, server: Server) -> None:
    fs.pipe({f"{here}/a/1": b"1", f"{here}/a/b/2": b"2", f"{here}/c": b"3"})
    fs.mv(f"{here}/c", f"{here}/d")
    fs.mv(f"{here}/d", f"{here}/a/")
    assert tree(fs, here) == {"a/1": b"1", "a/b/2": b"2", "a/d": b"3"}
    fs.mv(f"{here}/a", f"{here}/x", recursive=True)
    assert tree(fs, here) == {"x/1": b"1", "x/b/2": b"2", "x/d": b"3"}
    fs.mv(here, f"{here}_moved", recursive=True)
    try:
        assert tree(fs, f"{here}_moved") == {"x/1": b"1", "x/b/2": b"2", "x/d": b"3"}
        assert not fs.exists(here)
    finally:
        fs.mv(f"{here}_moved", here, recursive=True)
    assert len(tree(fs, here)) == 3
    with pytest.raises(IsADirectoryError):
        fs.mv(f"{here}/x", f"{here}/y")


def test_a_move_onto_itself_loses_nothing(fs: Any, here: str, server: Server) -> None:
    fs.pipe({f"{here}/a/1": b"1", f"{here}/2": b"2"})
    same = here.replace(".my", server.user)
    for source, target in ((f"{here}/2", f"{here}/2"), (f"{here}/2", f"{same}/2"), (f"{here}/2", f"{here}/"),
                           (f"algorithmia://{here}/2", f"{here.replace('data/', 'data://', 1)}/2")):  # fmt: skip
        fs.mv(source, target)
        assert tree(fs, here) == {"a/1": b"1", "2": b"2"}
    fs.mv(f"{here}/a", f"{here}/a/b", recursive=True)
    assert tree(fs, here) == {"a/b/1": b"1", "2": b"2"}


def test_what_changes_during_a_move_stays(fs: Any, here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fs.pipe(f"{here}/a", b"old")
    copy = type(fs)._copy

    def copy_slowly(self: Any, source: str, target: str) -> Any:
        result = copy(self, source, target)
        fs.pipe(source, b"stored meanwhile")
        return result

    monkeypatch.setattr(type(fs), "_copy", copy_slowly)
    with pytest.raises(OSError, match="changed while") as raised:
        fs.mv(f"{here}/a", f"{here}/b")
    assert raised.value.errno == errno.ESTALE
    assert tree(fs, here) == {"a": b"stored meanwhile", "b": b"old"}


def test_removing(fs: Any, here: str) -> None:
    fs.pipe({f"{here}/{name}": b"" for name in ("a/1", "a/b/2", "c1", "c2", "d")})
    fs.rm(f"{here}/c*")
    fs.rm([f"{here}/a/b", f"{here}/a/b/2", f"{here}/d"], recursive=True)
    assert list(tree(fs, here)) == ["a/1"]
    with pytest.raises(FileNotFoundError):
        fs.rm([f"{here}/none*"])
    fs.rm(f"{here}/a", recursive=True, maxdepth=1)
    assert tree(fs, here) == {} and fs.isdir(here)


# -- credentials, and copies of the file system ------------------------------------------------------------------


def written_down(fs: Any, path: str) -> list[bytes]:
    """Every form in which a file system might be written down."""
    with fs.open(path) as source:
        texts = [fs.to_json(), json.dumps(fs.to_dict()), repr(fs), str(fs), fs._fs_token, repr(fs.storage_options),
                 repr(fs.storage_args), repr(source), str(hash(fs))]  # fmt: skip
        return [pickle.dumps(fs), pickle.dumps(source), *(text.encode() for text in texts)]


def test_the_key_is_in_no_copy(server: Server, client: Any, here: str) -> None:
    client.fs().pipe(f"{here}/f", b"content")
    options = {"api_key": server.key, "api_address": server.address}
    for fs in (client.fs(), fsspec.filesystem("algorithmia", **options),
               fsspec.get_filesystem_class("algorithmia")(server.key, server.address)):  # fmt: skip
        assert fs.cat(f"{here}/f") == b"content"
        for text in written_down(fs, f"{here}/f"):
            assert server.key.encode() not in text and server.key[3:].encode() not in text
        # In this process copies are as good, and equal.
        copies = [pickle.loads(pickle.dumps(fs)), fs.from_json(fs.to_json()), fs.from_dict(fs.to_dict())]
        for copy in copies:
            assert copy == fs and hash(copy) == hash(fs) and copy.client is fs.client
            assert copy.cat(f"{here}/f") == b"content"
    with client.fs().open(f"{here}/f") as source:
        source.seek(3)
        copy = pickle.loads(pickle.dumps(source))
        assert copy.read() == b"tent" and source.read() == b"tent"
        source.seek(0)
        client.fs().pipe(f"{here}/f", b"changed")
        with pytest.raises(OSError, match="changed while"):
            pickle.loads(pickle.dumps(source)).read(1)
        client.fs().pipe(f"{here}/f", b"content")
    with client.fs().open(f"{here}/new", "wb") as target, pytest.raises(TypeError):
        pickle.dumps(target)


def test_other_accounts_are_other_file_systems(server: Server, client: Any, new_account: Any) -> None:
    other = new_account()
    assert client.fs() == client.fs() and client.fs() != other.client.fs()
    mine = fsspec.filesystem("algorithmia", api_key=server.key, api_address=server.address)
    theirs = fsspec.filesystem("algorithmia", api_key=other.key, api_address=server.address)
    assert mine is not theirs and mine != theirs
    assert theirs.ls("data", detail=False) == [f"data/{other.name}"] == other.client.fs().ls("data", detail=False)
    assert mine.ls("data", detail=False) == [f"data/{server.user}"]


def _names(fs: Any, queue: Any) -> None:
    queue.put(fs.ls("data", detail=False))


def test_forks_use_it(server: Server, client: Any) -> None:
    fs = client.fs()
    assert fs.ls("data", detail=False) == [f"data/{server.user}"]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [context.Process(target=_names, args=(fs, queue)) for _ in range(3)]
    for child in children:
        child.start()
    assert [queue.get(timeout=60) for _ in children] == [[f"data/{server.user}"]] * 3
    for child in children:
        child.join()
    assert fs.ls("data", detail=False) == [f"data/{server.user}"]


ELSEWHERE = """
import pickle, sys
fs = pickle.loads(sys.stdin.buffer.read())
try:
    print(fs.ls("data", detail=False))
except PermissionError as problem:
    print(problem)
"""


def elsewhere(fs: Any, home: Path, **variables: str) -> str:
    """What another process prints that got `fs` as a pickle."""
    environment = {**clean_environment(home), "PYTHONPATH": ROOT, **variables}
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], input=pickle.dumps(fs), env=environment, capture_output=True, timeout=60,
        check=True,
    )  # fmt: skip
    return done.stdout.decode()


def test_elsewhere_it_has_the_key_that_is_configured_there(server: Server, client: Any, tmp_path: Path) -> None:
    fs = client.fs()
    assert "pickled without its key" in elsewhere(fs, tmp_path)
    with_key = {"ALGORITHMIA_API": server.address, "ALGORITHMIA_API_KEY": server.key}
    assert elsewhere(fs, tmp_path, **with_key) == f"['data/{server.user}']\n"
    # A key of another platform is not sent to this one.
    assert "pickled without its key" in elsewhere(fs, tmp_path, ALGORITHMIA_API="http://127.0.0.1:9",
                                                  ALGORITHMIA_API_KEY="simOther")  # fmt: skip
    assert elsewhere(fsspec.filesystem("algorithmia"), tmp_path, **with_key) == f"['data/{server.user}']\n"


def test_it_is_made_from_what_is_configured(server: Server, monkeypatch: Any) -> None:
    import Algorithmia
    from Algorithmia import config

    config.save_profile("work", config.Profile(server.key, server.address))
    named = fsspec.filesystem("algorithmia", profile="work")
    assert named.ls("data", detail=False) == [f"data/{server.user}"] and named.storage_options["profile"] == "work"
    assert elsewhere(named, Path(config.home()).parent) == f"['data/{server.user}']\n"
    monkeypatch.setenv("ALGORITHMIA_API", server.address)
    monkeypatch.setenv("ALGORITHMIA_API_KEY", server.key)
    fs = fsspec.filesystem("algorithmia")
    assert fs.client is Algorithmia.getDefaultClient() and fs.storage_options == {"use_listings_cache": False}
    assert fs.ls("data", detail=False) == [f"data/{server.user}"]
    with pytest.raises(FileNotFoundError), fsspec.open("algorithmia://data/.my/none/f"):
        pass


def test_fsspec_finds_it_and_data_urls_stay_what_they_are(tmp_path: Path) -> None:
    """By the entry point, in an environment where nobody has imported it."""
    pytest.importorskip("setuptools", reason="the entry point is read from what setup.py says")
    subprocess.run(
        [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(tmp_path)], cwd=ROOT, check=True,
        capture_output=True, timeout=120,
    )  # fmt: skip
    code = (
        "import fsspec, sys; assert 'Algorithmia' not in sys.modules\n"
        "assert fsspec.get_filesystem_class('algorithmia').__module__ == 'Algorithmia.fs'\n"
        "import Algorithmia.fs; print(fsspec.open('data:text/plain,hello').open().read().decode())\n"
    )
    environment = {**clean_environment(tmp_path), "PYTHONPATH": os.pathsep.join([str(tmp_path), ROOT])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=60)
    assert done.stdout == b"hello\n", done.stderr


def test_the_sdk_does_not_need_fsspec(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['fsspec'] = None\n"
        "import Algorithmia\n"
        "assert 'Algorithmia.fs' not in sys.modules\n"
        "try:\n    Algorithmia.client('key', 'http://127.0.0.1:9').fs()\n"
        "except ImportError as problem:\n    print(problem)\n"
    )
    environment = {**clean_environment(tmp_path), "PYTHONPATH": ROOT}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=60)
    assert b"pip install 'algorithmia[fsspec]'" in done.stdout, done
