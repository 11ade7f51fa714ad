"""Commands of builds in the sandbox: what they are lent and what comes back, their limits, how they end."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from engine_zoo import Keeper, sandbox_called

from Algorithmia.server.engine.sandbox import Confinement, Limits

MIB = 1024 * 1024
IS_ROOT = os.geteuid() == 0


@pytest.fixture(autouse=True)
def sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keeper, "sandbox", sandbox_called("bubblewrap"))


def run(script: str, directory: Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run `script` by sh in the sandbox, with `directory` to write to."""
    settings: dict[str, Any] = {"writable": (str(directory),), "network": False, **options}
    confinement = Confinement(directory, {"PATH": "/usr/bin:/bin"}, directory, **settings)
    process = Keeper.sandbox.start(
        ("/bin/sh", "-c", script), confinement, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = process.communicate(timeout=60)
    process.dispose()
    return subprocess.CompletedProcess([], Keeper.sandbox.status(process.returncode), output)


def test_what_is_lent_can_be_written_and_comes_back(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    outside.chmod(0o600)
    project = tmp_path / "project"
    (project / "a" / "b").mkdir(parents=True)
    (project / "a" / "b" / "file").write_text("x")
    for path in (project / "a" / "b" / "file", project / "a" / "b", project / "a", project):
        path.chmod(0o700)
    Keeper.sandbox.lend(project)
    script = (
        "set -e; echo y > a/b/file; echo z > new; mkdir -m 700 deep; echo x > deep/x; chmod 600 deep/x; "
        f"ln -s {outside} link; ln -s deep ln; cp /bin/true tool; chmod 6755 tool; mkfifo fifo; chmod 0 a/b; echo built"
    )
    done = run(script, project)
    assert (done.stdout, done.returncode) == (b"built\n", 0)
    Keeper.sandbox.reclaim(project)
    for path in (project, *project.rglob("*")):
        info = path.lstat()
        assert (info.st_uid, info.st_gid) == (os.geteuid(), os.getegid()), path
        if stat.S_ISDIR(info.st_mode):
            assert stat.S_IMODE(info.st_mode) == 0o755, path
        elif stat.S_ISREG(info.st_mode):
            assert stat.S_IMODE(info.st_mode) == (0o755 if path.name in ("tool", "file") else 0o644), path
    assert stat.S_IMODE(outside.stat().st_mode) == 0o600
    # Another process may read it, and no longer change it.
    seen = run("cat a/b/file deep/x; echo n > new", project, writable=(), readable=(str(project),))
    assert seen.stdout.startswith(b"y\nx\n") and b"Read-only" in seen.stdout


def test_directories_without_end_cannot_be_taken_back(tmp_path: Path) -> None:
    Keeper.sandbox.lend(tmp_path)
    run("i=0; while [ $i -lt 1500 ]; do mkdir d && cd -P d || break; i=$((i+1)); done", tmp_path)
    with pytest.raises(OSError, match="nested too deeply|Too many open files"):
        Keeper.sandbox.reclaim(tmp_path)
    subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


@pytest.mark.skipif(not IS_ROOT, reason="other servers' processes have their user")
def test_what_is_not_lent_is_not_writable_even_where_the_directory_is_bound(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert b"Permission denied" in run("touch x", tmp_path).stdout


def test_limits(tmp_path: Path) -> None:
    Keeper.sandbox.lend(tmp_path)
    limits = Limits(open_files=50, file_size=MIB, cpu_seconds=1, address_space=200 * MIB)
    script = "ulimit -n; ulimit -v; ulimit -c; dd if=/dev/zero of=big bs=64k count=32 2>/dev/null"
    done = run(script, tmp_path, limits=limits)
    assert done.stdout.split()[:3] == [b"50", b"204800", b"0"]
    assert (tmp_path / "big").stat().st_size == MIB
    assert run("while :; do :; done", tmp_path, limits=limits).returncode in (-24, -9)
    Keeper.sandbox.reclaim(tmp_path)


def test_how_a_command_ended(tmp_path: Path) -> None:
    assert [run(f"exit {code}", tmp_path).returncode for code in (0, 1, 127)] == [0, 1, 127]
    assert [run(f"kill -{number} $$", tmp_path).returncode for number in (9, 11, 15)] == [-9, -11, -15]
