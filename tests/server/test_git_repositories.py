"""Repositories by themselves: commits, versions, hostile sources that must not reach the disk, recovery."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import subprocess
import tarfile
import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from git_hosted import TEMPLATE, fsck

from Algorithmia.server.errors import ApiProblem, BadRequest, TooLarge, Unavailable
from Algorithmia.server.git.program import GitError
from Algorithmia.server.git.repositories import Repositories
from Algorithmia.server.languages.base import BuildProblem
from Algorithmia.server.settings import Settings

_MIB = 1024 * 1024


@pytest.fixture
def repositories(tmp_path: Path) -> Repositories:
    return Repositories(tmp_path / "platform", Settings(home=tmp_path, max_source_bytes=4 * _MIB))


@pytest.fixture
def algorithm(repositories: Repositories) -> str:
    """The id of an algorithm whose repository holds the template."""
    algorithm_id = str(uuid.uuid4())
    repositories.create(algorithm_id, TEMPLATE, "Template")
    return algorithm_id


def write_object(repositories: Repositories, algorithm: str, kind: str, content: bytes) -> str:
    """Put an object into the repository past every check, as no push could."""
    data = b"%b %d\0%b" % (kind.encode(), len(content), content)
    name = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    path = repositories.path(algorithm) / "objects" / name[:2] / name[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zlib.compress(data))
    return name


def commit_of(repositories: Repositories, algorithm: str, *entries: tuple[str, str, str]) -> str:
    """A commit whose root holds `entries`, each a mode, a name and an object."""
    tree = b"".join(b"%b %b\0%b" % (mode.encode(), name.encode(), bytes.fromhex(id_)) for mode, name, id_ in entries)
    person = b"a <a@example.com> 1 +0000"
    root = write_object(repositories, algorithm, "tree", tree)
    text = b"tree %b\nauthor %b\ncommitter %b\n\nx\n" % (root.encode(), person, person)
    return write_object(repositories, algorithm, "commit", text)


def refusal(repositories: Repositories, algorithm: str, commit: str, target: Path) -> str:
    """Why the export of `commit` is refused."""
    target.mkdir()
    with pytest.raises(BuildProblem) as caught:
        repositories.export(algorithm, commit, target)
    return str(caught.value)


def archive(path: Path, *members: tuple[str, bytes] | tarfile.TarInfo) -> Path:
    """A gzipped tar at `path`."""
    with tarfile.open(path, "w:gz") as target:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                target.addfile(member)
            else:
                name, content = member
                info = tarfile.TarInfo(name)
                info.size = len(content)
                target.addfile(info, io.BytesIO(content))
    return path


def test_template_is_the_first_commit(repositories: Repositories, algorithm: str, tmp_path: Path) -> None:
    head = repositories.head(algorithm)
    assert head and repositories.has_commit(algorithm, head)
    (commit,) = repositories.commits(algorithm)
    assert (commit.id, commit.message, commit.author) == (head, "Template", "Algorithmia Platform <platform@localhost>")
    target = tmp_path / "out"
    target.mkdir()
    repositories.export(algorithm, head, target)
    assert {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()} == set(TEMPLATE)
    fsck(repositories, algorithm)


def test_creating_again_changes_nothing(repositories: Repositories, algorithm: str) -> None:
    head = repositories.head(algorithm)
    assert repositories.create(algorithm, {"other": b"x"}, "Again") == head == repositories.head(algorithm)


def test_export_keeps_contents_permissions_and_odd_names(repositories: Repositories, tmp_path: Path) -> None:
    files: dict[str, bytes | tuple[bytes, bool]] = {
        "run.sh": (b"#!/bin/sh\r\n$Id$ $Format:%H$\n", True),
        ".gitattributes": b"* text eol=crlf ident export-subst filter=evil\nrun.sh export-ignore\n",
        'a "quoted" \\ name\n.txt': b"",
        "caf\u00e9/na\u00efve.txt": b"\0\xff" * 100,
    }
    algorithm = str(uuid.uuid4())
    commit = repositories.create(algorithm, files, "Odd")
    target = tmp_path / "out"
    target.mkdir()
    repositories.export(algorithm, commit, target)
    for name, content in files.items():
        expected = content if isinstance(content, bytes) else content[0]
        assert (target / name).read_bytes() == expected
    assert os.access(target / "run.sh", os.X_OK) and not os.access(target / ".gitattributes", os.X_OK)


def test_log_by_limit_and_by_commits(repositories: Repositories, algorithm: str) -> None:
    first = repositories.head(algorithm)
    second = repositories.commit_files(algorithm, {"a": b"1"}, "Second\n\nWith a body.", "ann")
    third = repositories.commit_files(algorithm, {"a": b"2"}, "Third", "ann <evil>\n")
    found = repositories.commits(algorithm)
    assert [commit.id for commit in found] == [third, second, first]
    assert (found[1].short_message, found[1].message) == ("Second", "Second\n\nWith a body.")
    assert found[0].author.startswith("ann evil <")
    assert [commit.id for commit in repositories.commits(algorithm, limit=1)] == [third]
    assert [commit.id for commit in repositories.commits(algorithm, since=first)] == [third, second]
    assert [commit.id for commit in repositories.commits(algorithm, until=second)] == [second, first]
    for bad in ("0" * 40, "--output=/tmp/x", "master"):
        with pytest.raises(BadRequest):
            repositories.commits(algorithm, since=bad)


def test_files_replace_the_whole_source_and_the_same_ones_make_no_commit(
    repositories: Repositories, algorithm: str, tmp_path: Path
) -> None:
    first = repositories.head(algorithm)
    assert repositories.commit_files(algorithm, TEMPLATE, "Same") == first
    packed = archive(tmp_path / "a.tgz", ("./src/New.py", b"x"), ("./.git/config", b"evil"), ("b.txt", b"1"))
    commit = repositories.commit_files(algorithm, packed, "Deployed", "ann")
    assert repositories.head(algorithm) == commit != first
    assert repositories.read_file(algorithm, commit, "src/New.py", 100) == b"x"
    assert repositories.read_file(algorithm, commit, "README.md", 100) is None
    assert repositories.read_file(algorithm, commit, ".git/config", 100) is None
    left = repositories.git.run(repositories.path(algorithm), "for-each-ref", "--format=%(refname)").split()
    assert left == [b"refs/heads/master"]
    fsck(repositories, algorithm)


def test_read_file_stays_in_the_commit(repositories: Repositories, algorithm: str) -> None:
    head = repositories.head(algorithm) or ""
    assert repositories.read_file(algorithm, head, "README.md", 100) == TEMPLATE["README.md"]
    assert repositories.read_file(algorithm, head, "README.md", 3) is None
    for path in ("src", "../config", "/etc/passwd", "x\ny", "", "a\0b"):
        assert repositories.read_file(algorithm, head, path, 100) is None
    assert repositories.read_file(algorithm, "HEAD", "README.md", 100) is None


def test_versions_have_their_own_head(repositories: Repositories, algorithm: str) -> None:
    first = repositories.head(algorithm) or ""
    repositories.commit_files(algorithm, {"a": b"1"}, "Second")
    for _ in range(2):
        repositories.publish_version(algorithm, "1.0.0", first)
    assert repositories.version_head(algorithm, "1.0.0") == first
    assert repositories.version_head(algorithm, "1.0.1") is None
    for bad in ("1.0", "../../heads/master", "1.0.0\ndelete refs/heads/master", ""):
        with pytest.raises(ValueError, match="not a version"):
            repositories.publish_version(algorithm, bad, first)


@pytest.mark.parametrize("bad", ["", "..", "../../etc", "x" * 36, str(uuid.uuid4()) + "/", str(uuid.uuid4()).upper()])
def test_ids_are_ids(repositories: Repositories, bad: str) -> None:
    for method in (repositories.exists, repositories.head, repositories.delete):
        with pytest.raises(ValueError, match="not an algorithm id"):
            method(bad)


def test_deleted_is_gone(repositories: Repositories, algorithm: str) -> None:
    repositories.delete(algorithm)
    repositories.delete(algorithm)
    assert not repositories.exists(algorithm) and repositories.head(algorithm) is None
    assert not list((repositories.root / "unfinished").iterdir())


@pytest.mark.parametrize("name", ["..", ".", ".git", ".GIT", "a/../../b"])
def test_names_that_are_no_plain_paths_are_refused(
    repositories: Repositories, algorithm: str, tmp_path: Path, name: str
) -> None:
    blob = write_object(repositories, algorithm, "blob", b"evil")
    commit = commit_of(repositories, algorithm, ("100644", name, blob))
    assert "a name that it may not" in refusal(repositories, algorithm, commit, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("link", ["/etc/passwd", "../secret", "sub/../../secret", "x/" * 600])
def test_links_that_lead_out_are_refused(
    repositories: Repositories, algorithm: str, tmp_path: Path, link: str
) -> None:
    blob = write_object(repositories, algorithm, "blob", link.encode())
    commit = commit_of(repositories, algorithm, ("120000", "link", blob))
    assert "link" in refusal(repositories, algorithm, commit, tmp_path / "out")
    assert not (tmp_path / "out" / "link").is_symlink()


def test_links_that_lead_out_through_each_other_are_refused(
    repositories: Repositories, algorithm: str, tmp_path: Path
) -> None:
    up = write_object(repositories, algorithm, "blob", b"..")
    through = write_object(repositories, algorithm, "blob", b"d/up/..")
    inner = write_object(repositories, algorithm, "tree", b"120000 up\0" + bytes.fromhex(up))
    commit = commit_of(repositories, algorithm, ("40000", "d", inner), ("120000", "z", through))
    assert "leads outside" in refusal(repositories, algorithm, commit, tmp_path / "out")


def test_links_inside_are_kept(repositories: Repositories, algorithm: str, tmp_path: Path) -> None:
    content = write_object(repositories, algorithm, "blob", b"hi")
    link = write_object(repositories, algorithm, "blob", b"data.txt")
    commit = commit_of(repositories, algorithm, ("100644", "data.txt", content), ("120000", "link", link))
    target = tmp_path / "out"
    target.mkdir()
    repositories.export(algorithm, commit, target)
    assert (target / "link").is_symlink() and (target / "link").read_bytes() == b"hi"


def test_nothing_is_written_through_a_link(repositories: Repositories, algorithm: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    blob = write_object(repositories, algorithm, "blob", b"evil")
    link = write_object(repositories, algorithm, "blob", str(outside).encode())
    inner = write_object(repositories, algorithm, "tree", b"100644 evil\0" + bytes.fromhex(blob))
    # Two entries of one name, which git's checks of a push refuse.
    commit = commit_of(repositories, algorithm, ("120000", "a", link), ("40000", "a", inner))
    refusal(repositories, algorithm, commit, tmp_path / "out")
    assert not list(outside.iterdir())


def test_submodules_are_empty_directories(repositories: Repositories, algorithm: str, tmp_path: Path) -> None:
    commit = commit_of(repositories, algorithm, ("160000", "module", "1" * 40))
    target = tmp_path / "out"
    target.mkdir()
    repositories.export(algorithm, commit, target)
    assert not list((target / "module").iterdir())


def test_a_large_blob_is_refused_before_it_is_unpacked(
    repositories: Repositories, algorithm: str, tmp_path: Path
) -> None:
    blob = write_object(repositories, algorithm, "blob", bytes(5 * _MIB))
    commit = commit_of(repositories, algorithm, ("100644", "big", blob))
    assert "unpacks to more than" in refusal(repositories, algorithm, commit, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("has_leaves", [True, False])
def test_a_tree_bomb_is_refused(
    repositories: Repositories, algorithm: str, tmp_path: Path, has_leaves: bool
) -> None:
    """Ten levels of ten references each: 10**10 paths in a few hundred bytes."""
    leaf = write_object(repositories, algorithm, "blob", b"x" if has_leaves else b"")
    tree = write_object(repositories, algorithm, "tree", b"100644 f\0" + bytes.fromhex(leaf) if has_leaves else b"")
    for _ in range(10):
        entries = b"".join(b"40000 d%d\0" % number + bytes.fromhex(tree) for number in range(10))
        tree = write_object(repositories, algorithm, "tree", entries)
    commit = commit_of(repositories, algorithm, ("40000", "d", tree))
    assert "more than 20000 files" in refusal(repositories, algorithm, commit, tmp_path / "out")


def test_endless_depth_is_refused(repositories: Repositories, algorithm: str, tmp_path: Path) -> None:
    tree = write_object(repositories, algorithm, "tree", b"")
    for _ in range(3000):
        tree = write_object(repositories, algorithm, "tree", b"40000 d\0" + bytes.fromhex(tree))
    commit = commit_of(repositories, algorithm, ("40000", "d", tree))
    assert "longer than" in refusal(repositories, algorithm, commit, tmp_path / "out")


def test_a_missing_object_is_a_problem_of_the_build(
    repositories: Repositories, algorithm: str, tmp_path: Path
) -> None:
    commit = commit_of(repositories, algorithm, ("100644", "gone", "1" * 40))
    assert "lacks the content" in refusal(repositories, algorithm, commit, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil", "n" * 300]
)
def test_archives_with_names_that_lead_out_are_refused(
    repositories: Repositories, algorithm: str, tmp_path: Path, name: str
) -> None:
    head = repositories.head(algorithm)
    with pytest.raises(BadRequest):
        repositories.commit_files(algorithm, archive(tmp_path / "a.tgz", (name, b"x")), "Evil")
    assert repositories.head(algorithm) == head


def test_archives_of_devices_and_hard_links_are_refused(
    repositories: Repositories, algorithm: str, tmp_path: Path
) -> None:
    for kind in (tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.LNKTYPE):
        info = tarfile.TarInfo("odd")
        info.type, info.linkname = kind, "nothing"
        with pytest.raises(BadRequest, match="neither a file nor a directory"):
            repositories.commit_files(algorithm, archive(tmp_path / "a.tgz", info), "Evil")


def test_an_archive_bomb_is_refused(repositories: Repositories, algorithm: str, tmp_path: Path) -> None:
    big = archive(tmp_path / "big.tgz", ("zeros", bytes(5 * _MIB)))
    many = archive(tmp_path / "many.tgz", *((f"f{number}", b"") for number in range(20_001)))
    header = tarfile.TarInfo("x")
    header.pax_headers = {"comment": "z" * (3 * _MIB)}
    with tarfile.open(tmp_path / "head.tgz", "w:gz", format=tarfile.PAX_FORMAT) as target:
        target.addfile(header)
    for bomb in (big, many, tmp_path / "head.tgz"):
        with pytest.raises(TooLarge):
            repositories.commit_files(algorithm, bomb, "Bomb")
    fsck(repositories, algorithm)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"\x1f\x8b" + b"damaged" * 9])
def test_what_is_no_archive_is_refused(
    repositories: Repositories, algorithm: str, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.tgz").write_bytes(content)
    with pytest.raises(BadRequest, match="not a gzipped tar"):
        repositories.commit_files(algorithm, tmp_path / "a.tgz", "Damaged")


def test_recovery_removes_what_was_never_finished(repositories: Repositories, algorithm: str, tmp_path: Path) -> None:
    path = repositories.path(algorithm)
    (repositories.root / "unfinished" / "half").mkdir()
    (repositories.root / "busy" / algorithm).touch()
    (path / "refs/heads/master.lock").touch()
    (path / "packed-refs.lock").touch()
    (path / "objects/pack").mkdir(exist_ok=True)
    (path / "objects/pack/tmp_pack_x").touch()
    (path / "objects/tmp_objdir-incoming-x/pack").mkdir(parents=True)
    head = repositories.head(algorithm)
    again = Repositories(tmp_path / "platform", Settings(home=tmp_path))
    again.recover()
    assert not list((repositories.root / "unfinished").iterdir()) + list((repositories.root / "busy").iterdir())
    assert not [name for name in path.rglob("*") if name.name.endswith(".lock") or name.name.startswith("tmp_")]
    assert again.head(algorithm) == head
    assert again.commit_files(algorithm, {"a": b"1"}, "Works") == again.head(algorithm)


def test_recovery_leaves_alone_what_a_living_process_changes(
    repositories: Repositories, algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("Algorithmia.server.git.repositories._RECOVERY_PATIENCE", 0.1)
    lock = repositories.path(algorithm) / "refs/heads/master.lock"
    lock.touch()
    with open(repositories.root / "busy" / algorithm, "wb") as busy:
        fcntl.flock(busy, fcntl.LOCK_SH)
        orphan = subprocess.Popen(["sleep", "60"], pass_fds=[busy.fileno()])
    try:
        repositories.recover()
        assert lock.exists()
    finally:
        orphan.kill()
        orphan.wait()
    repositories.recover()
    assert not lock.exists()


def test_joined_packs_hold_everything(
    repositories: Repositories, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("Algorithmia.server.git.repositories._TIDY_AT_PACKS", 4)
    commits = [repositories.commit_files(algorithm, {"a": str(number).encode()}, "x") for number in range(6)]
    packs = repositories.path(algorithm) / "objects/pack"
    before = len(list(packs.glob("*.pack")))
    repositories.tidy(algorithm)
    assert len(list(packs.glob("*.pack"))) < before
    assert all(repositories.has_commit(algorithm, commit) for commit in commits)
    fsck(repositories, algorithm)


def test_closing_ends_every_process_and_starts_no_more(repositories: Repositories, algorithm: str) -> None:
    git, path = repositories.git, repositories.path(algorithm)
    with ThreadPoolExecutor(2) as threads, pytest.raises(GitError), git.open(path, "cat-file", "--batch") as process:
        assert process.stdout
        reading = threads.submit(process.stdout.read)
        git.close()
        assert reading.result(60) == b""
    with pytest.raises(Unavailable, match="shutting down"):
        repositories.commits(algorithm)


def test_without_git_the_message_names_the_package(
    repositories: Repositories, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="apt-get install git") as caught:
        repositories.create(str(uuid.uuid4()), TEMPLATE, "Template")
    assert isinstance(caught.value, ApiProblem) and caught.value.status == 503
