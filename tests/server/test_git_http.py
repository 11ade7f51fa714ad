"""Cloning over HTTP with the real git: who may read what, versions, protocols, and requests that git wouldn't send."""

from __future__ import annotations

import base64
import gzip
import http.client
import zlib
from pathlib import Path

import pytest
from git_hosted import TEMPLATE, GitSite, Person, person_fixture, publish, set_key, site_fixture

from Algorithmia.server import catalog
from Algorithmia.server.identity import ADMIN_KEY, SESSION_KEY, CallContext, Identity, KeyPermissions

WANT = "application/x-git-upload-pack-request"


site = site_fixture()
me = person_fixture()
other = person_fixture()


def line(text: str) -> bytes:
    """`text` as git sends it: with its length in front."""
    return b"%04x%b" % (len(text) + 4, text.encode())


def files_of(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


def refused(person: Person, path: str, **options: str) -> str:
    """What git tells somebody who may not clone `path`."""
    done = person.try_git("clone", person.url(path, **options), "refused")
    assert done.status != 0
    return done.output


@pytest.mark.parametrize("version", ["0", "1", "2"])
def test_clone(site: GitSite, me: Person, version: str) -> None:
    site.algorithm(me.account)
    working = me.clone(f"{me.name}/Test.git", "-c", f"protocol.version={version}")
    assert files_of(working) == TEMPLATE
    assert me.git("branch", "--show-current", cwd=working).strip() == "master"


def test_the_suffix_may_be_left_out(site: GitSite, me: Person) -> None:
    site.algorithm(me.account)
    assert files_of(me.clone(f"{me.name}/Test")) == TEMPLATE


def test_shallow_and_partial_clones(site: GitSite, me: Person) -> None:
    algorithm = site.algorithm(me.account)
    for number in range(3):
        site.repositories.commit_files(algorithm, {"a": str(number).encode()}, "More")
    shallow = me.clone(f"{me.name}/Test.git", "--depth", "1")
    assert me.git("rev-list", "--count", "HEAD", cwd=shallow).strip() == "1"
    me.git("fetch", "-q", "--unshallow", cwd=shallow)
    assert me.git("rev-list", "--count", "HEAD", cwd=shallow).strip() == "4"
    assert files_of(me.clone(f"{me.name}/Test.git", "--filter=blob:none")) == {"a": b"2"}


def test_a_large_clone_arrives_whole(site: GitSite, me: Person) -> None:
    import random

    content = random.Random(1).randbytes(24 * 1024 * 1024)
    algorithm = site.algorithm(me.account)
    site.repositories.commit_files(algorithm, {"big": content}, "Big")
    assert files_of(me.clone(f"{me.name}/Test.git")) == {"big": content}


def test_a_key_with_slashes(site: GitSite, me: Person) -> None:
    site.algorithm(me.account)
    me.key = "sim/AbC+dEf/123=%:x"
    set_key(site.database, me.account, me.key)
    assert files_of(me.clone(f"{me.name}/Test.git")) == TEMPLATE


def test_wrong_credentials_say_what_is_wanted(site: GitSite, me: Person, other: Person) -> None:
    site.algorithm(me.account)
    path = f"{me.name}/Test.git"
    for options in ({"key": "simWRONG"}, {"key": ""}, {"name": other.name}, {"name": me.name.upper()}):
        output = refused(me, path, **options)
        assert "an API key of that account" in output or "could not read Password" in output
        assert me.key not in output.replace(me.url(path, **options), "")
    location = f"/git/{path}/info/refs?service=git-upload-pack"
    status, headers, body = me.send("GET", location, headers={"Authorization": ""})
    assert (status, headers["www-authenticate"]) == (401, 'Basic realm="Algorithmia"')
    assert b"API key" in body and headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !!!", "Basic " + base64.b64encode(b"\xff:\xff").decode(), "Simple x"]
)
def test_malformed_credentials(me: Person, header: str) -> None:
    status, _, _ = me.send("GET", "/git/a/b.git/info/refs?service=git-upload-pack", headers={"Authorization": header})
    assert status == 401


def test_what_is_unknown_and_what_is_private_look_the_same(site: GitSite, me: Person, other: Person) -> None:
    site.algorithm(me.account)
    for path in (f"{me.name}/Test", f"{me.name}/Nothing", f"nobody/{me.name}"):
        output = refused(other, path + ".git")
        assert f"algorithm algo://{path} not found" in output


def test_open_source_may_be_read_and_not_written(site: GitSite, me: Person, other: Person) -> None:
    site.algorithm(me.account, source="open", public=True)
    working = other.clone(f"{me.name}/Test.git")
    assert files_of(working) == TEMPLATE
    other.commit(working)
    done = other.push(working)
    assert done.status != 0 and f"belongs to {me.name}" in done.output


def test_closed_source_of_a_public_algorithm_is_refused(site: GitSite, me: Person, other: Person) -> None:
    site.algorithm(me.account, source="closed", public=True)
    assert "403" in refused(other, f"{me.name}/Test.git")


def test_a_key_without_management_reads_open_source_only(site: GitSite, me: Person, tmp_path: Path) -> None:
    site.algorithm(me.account, "Closed")
    site.algorithm(me.account, "Open", source="open")
    weak = site.person(tmp_path, me.account, allow_algo=True)
    assert "allow_algo_management" in refused(weak, f"{me.name}/Closed.git")
    working = weak.clone(f"{me.name}/Open.git")
    weak.commit(working)
    done = weak.push(working)
    assert done.status != 0 and "allow_algo_management" in done.output


def test_admin_keys_and_keys_of_running_algorithms_are_refused(site: GitSite, me: Person) -> None:
    site.algorithm(me.account, source="open")
    admin = site.accounts.create_key(me.account, "admin", KeyPermissions.everything(), ADMIN_KEY)
    session = site.authenticator.sessions.issue()
    assert "unknown API key" in refused(me, f"{me.name}/Test.git", key=session.text)
    call = CallContext("s", me.account.id, me.name, "Test")
    session.identity = Identity(me.account, SESSION_KEY, permissions=KeyPermissions.everything(), call=call)
    for key in (admin, session.text):
        assert "standard API key" in refused(me, f"{me.name}/Test.git", key=key)


def test_a_version_is_cloned_by_its_own_address(site: GitSite, me: Person, other: Person) -> None:
    algorithm = site.algorithm(me.account, source="open", public=True)
    second = site.repositories.commit_files(algorithm, {"a": b"2"}, "Second")
    publish(site.database, algorithm, "0.2.0", second, "private")
    third = site.repositories.commit_files(algorithm, {"a": b"3"}, "Third")
    assert files_of(me.clone(f"{me.name}/Test.git")) == {"a": b"3"}
    assert files_of(me.clone(f"{me.name}/Test/0.2.0.git")) == {"a": b"2"}
    working = other.clone(f"{me.name}/Test/0.1.0.git")
    assert files_of(working) == TEMPLATE
    assert other.git("branch", "--show-current", cwd=working).strip() == "master"
    assert third not in other.git("rev-list", "--all", cwd=working)
    # Private to its owner, and the same words as for one that isn't there.
    assert "has no version 0.2.0" in refused(other, f"{me.name}/Test/0.2.0.git")
    assert "has no version 0.3.0" in refused(other, f"{me.name}/Test/0.3.0.git")
    # What makes it so is not to be seen.
    references = me.git("ls-remote", me.url(f"{me.name}/Test.git"))
    assert "refs/tags/0.2.0" in references and "namespaces" not in references


def test_a_version_can_not_be_pushed_to(site: GitSite, me: Person) -> None:
    site.algorithm(me.account, public=True)
    working = me.clone(f"{me.name}/Test/0.1.0.git")
    me.commit(working)
    done = me.push(working)
    assert done.status != 0 and "a version can't be changed" in done.output


def test_bundled_algorithms_can_be_cloned_but_not_pushed_to(
    site: GitSite, me: Person, other: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With an algorithm of this test's own in the place of a bundled one: the catalog's accounts are reserved."""
    project = tmp_path / "Bundled"
    (project / "src").mkdir(parents=True)
    (project / "README.md").write_bytes(b"# Bundled\n")
    bundled = catalog.Bundled(me.name, "Bundled", project)
    monkeypatch.setattr(catalog, "bundled", lambda: [bundled])
    algorithm = site.algorithm(me.account, "Bundled", source="open", public=True)
    site.repositories.delete(algorithm)
    path = f"{me.name}/Bundled.git"
    working = other.clone(path)
    assert files_of(working) == {"README.md": b"# Bundled\n"}
    first = site.repositories.head(algorithm)
    (project / "README.md").write_bytes(b"# Bundled, of the next release\n")
    other.git("pull", "-q", cwd=working)
    assert files_of(working) == {"README.md": b"# Bundled, of the next release\n"}
    # The same files give the same commit on every platform.
    site.repositories.delete(algorithm)
    (project / "README.md").write_bytes(b"# Bundled\n")
    other.clone(f"{me.name}/Bundled/0.1.0.git")
    assert site.repositories.head(algorithm) == first
    me.commit(working)
    done = me.push(working, me.url(path), "HEAD:refs/heads/mine")
    assert done.status != 0 and "comes with the platform" in done.output


@pytest.mark.parametrize(
    "path",
    [
        "../etc/passwd.git/info/refs",
        "{me}/../{me}/Test.git/info/refs",
        "{me}%2FTest.git/info/refs",
        "{me}/Test%2Egit/info/refs",
        "{me}/Test.git%2Finfo%2Frefs",
        "{me}/Test.git/../../x/info/refs",
        "{me}/Test.git/HEAD",
        "{me}/Test.git/config",
        "{me}/Test.git/objects/info/packs",
        "{me}/Test.git/git-upload-archive",
        "{me}/Test.git/info/refs/",
        "{me}/Test.git//info/refs",
        "{me}/.git/info/refs",
        "{me}/Test/..git/info/refs",
        "{me}/Test/01.2.3.git/info/refs",
        "{me}/Test/1.2.git/info/refs",
        "{me}/Test/1.2.3%00.git/info/refs",
        "{me}/Te%C5%BFt.git/info/refs",
        "",
    ],
)
def test_nothing_but_the_protocol_is_served(site: GitSite, me: Person, path: str) -> None:
    site.algorithm(me.account)
    status, _, body = me.send("GET", f"/git/{path.format(me=me.name)}?service=git-upload-pack")
    assert status in (400, 404), body
    assert b"no repository" in body or b"smart HTTP" in body


def test_the_old_protocol_is_refused_in_words(site: GitSite, me: Person) -> None:
    site.algorithm(me.account)
    for query in ("", "?service=", "?service=git-upload-archive", "?service=../../bin/sh"):
        status, _, body = me.send("GET", f"/git/{me.name}/Test.git/info/refs{query}")
        assert (status, b"smart HTTP" in body) == (400, True)


def test_methods_and_content_types(site: GitSite, me: Person) -> None:
    site.algorithm(me.account)
    path = f"/git/{me.name}/Test.git"
    assert me.send("PUT", path)[0] == 405
    assert me.send("POST", f"{path}/info/refs?service=git-upload-pack")[0] == 400
    assert me.send("GET", f"{path}/git-upload-pack")[0] == 400
    assert me.send("POST", f"{path}/git-upload-pack", b"0000", {"Content-Type": "text/plain"})[0] == 415


def test_gzipped_and_chunked_bodies(site: GitSite, me: Person) -> None:
    head = site.repositories.head(site.algorithm(me.account))
    path = f"/git/{me.name}/Test.git/git-upload-pack"
    body = line(f"want {head} side-band-64k\n") + b"0000" + line("done\n")
    plain = me.send("POST", path, body, {"Content-Type": WANT})
    packed = me.send("POST", path, gzip.compress(body), {"Content-Type": WANT, "Content-Encoding": "gzip"})
    pieces = iter([body[:7], body[7:]])
    chunked = me.send("POST", path, pieces, {"Content-Type": WANT}, encode_chunked=True)
    for status, headers, answer in (plain, packed, chunked):
        assert status == 200 and b"PACK" in answer
        assert headers["content-type"] == "application/x-git-upload-pack-result"
        assert headers["x-request-id"].startswith("req-")


def test_a_bomb_occupies_nobody(site: GitSite, me: Person) -> None:
    """What unpacks to more than git will read is broken off, though its sender goes on listening."""
    site.algorithm(me.account)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = line("want " + "1" * 40 + "\n") * 20_000
    bomb = b"".join([*(packer.compress(piece) for _ in range(1500)), packer.flush()])
    address, credentials = me.netloc, base64.b64encode(f"{me.name}:{me.key}".encode()).decode()
    for service in ("receive-pack", "upload-pack") * 4:
        connection = http.client.HTTPConnection(address, timeout=30)
        headers = {
            "Authorization": f"Basic {credentials}",
            "Content-Type": f"application/x-git-{service}-request",
            "Content-Encoding": "gzip",
        }
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            connection.request("POST", f"/git/{me.name}/Test.git/git-{service}", bomb, headers)
            connection.getresponse().read()
        connection.close()
    assert me.clone(f"{me.name}/Test.git")


def test_protocol_version_2_is_spoken_when_asked_for(site: GitSite, me: Person) -> None:
    site.algorithm(me.account)
    path = f"/git/{me.name}/Test.git/info/refs?service=git-upload-pack"
    assert b"version 2" in me.send("GET", path, headers={"Git-Protocol": "version=2"})[2]
    for odd in ("version=9999", "version=2\x01", "x" * 1000, "$(id)"):
        assert b"version 2" not in me.send("GET", path, headers={"Git-Protocol": odd})[2]


def test_nonsense_is_answered(site: GitSite, me: Person) -> None:
    site.algorithm(me.account)
    for service in ("upload-pack", "receive-pack"):
        path = f"/git/{me.name}/Test.git/git-{service}"
        for body in (b"", b"nonsense" * 1000, b"0000", b"fffe" + b"x" * 100, line("want " + "0" * 40 + "\n")):
            status, _, _ = me.send("POST", path, body, {"Content-Type": f"application/x-git-{service}-request"})
            assert status in (200, 400, 500)
    assert files_of(me.clone(f"{me.name}/Test.git")) == TEMPLATE
