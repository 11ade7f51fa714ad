"""Files: what an algorithm finds of the platform, of other algorithms and of people, and where it can write."""

from __future__ import annotations

import json
from typing import Any

import pytest
from arena import MARK, Arena, Escape, packed, project

FAMILY = "files"


def guarded(arena: Arena) -> list[str]:
    """What no algorithm may see, each of which exists."""
    builds = sorted(path for path in (arena.state / "builds").iterdir() if path.is_dir())
    [code] = [path for path in builds if (path / "src" / f"{arena.innocent}.py").exists()]
    return [
        str(arena.state / "platform.db"),
        str(arena.state / "secrets.key"),
        str(arena.state / "server.json"),
        str(arena.state / "server.lock"),
        f"{arena.state}/blobs/",
        f"{arena.state}/git/",
        f"{arena.state}/work/",
        str(code / "src" / f"{arena.innocent}.py"),
        str(arena.home / "config"),
        str(arena.home / "serve.log"),
        f"{arena.temporary}/",
        "/etc/shadow",
        "/etc/machine-id",
        "/run/",
        "/var/",
        "/sys/",
    ]


def missing(arena: Arena) -> dict[str, Any]:
    return dict.fromkeys(guarded(arena), "ENOENT")


DEVICES = {
    "mem": ("c", 1, 1), "kmem": ("c", 1, 2), "port": ("c", 1, 4), "kmsg": ("c", 1, 11), "sda": ("b", 8, 0),
    "vda": ("b", 254, 0), "fuse": ("c", 10, 229), "kvm": ("c", 10, 232), "loop0": ("b", 7, 0), "vsock": ("c", 10, 121),
    "userfaultfd": ("c", 10, 126), "vhost-vsock": ("c", 10, 241),
}  # fmt: skip
SWITCHES = [
    "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/drop_caches",
    "/proc/sys/kernel/hostname", "/proc/sys/vm/overcommit_memory", "/proc/irq/default_smp_affinity", "/proc/mtrr",
    "/proc/1/mem", "/proc/self/uid_map", "/proc/self/gid_map", "/proc/kcore",
    "/sys/fs/cgroup/cgroup.procs", "/sys/kernel/mm/ksm/run",
]  # fmt: skip

ESCAPES = [
    Escape("reads_by_name", missing, guarded),
    Escape("reads_through_proc", [], guarded),
    Escape("walks_the_state", [], lambda arena: str(arena.state)),
    Escape("follows_the_mounts", [], lambda arena: str(arena.state)),
    Escape("reads_environments", {"processes": 2, "found": []}, MARK),
    Escape(
        "links_out",
        lambda arena: {**{path: ["ENOENT", "ENOENT"] for path in guarded(arena)[:3]}, "own": "EXDEV"},
        lambda arena: guarded(arena)[:3],
    ),
    Escape(
        "writes_outside",
        {
            **dict.fromkeys(["/", "/usr", "/etc", "/dev", "src", "code", "mode", "removed", "times"], "EROFS"),
            "/tmp": "done",
            "/dev/shm": "done",
        },
        ["/", "/usr", "/etc", "/dev", "src", "/tmp", "/dev/shm"],
    ),
    Escape("writes_to_the_kernel", [], SWITCHES),
    Escape("makes_devices", [], DEVICES),
    Escape("uses_setuid_programs", [True]),
    Escape("inherits_descriptors", ["/dev/null", "pipe", "pipe", "socket"]),
    Escape("leaves_things_for_others", []),
]


@pytest.mark.parametrize("escape", ESCAPES, ids=lambda escape: escape.algorithm)
def test_outcome(arena: Arena, confined: None, outcomes: dict[str, Any], escape: Escape) -> None:
    expected = escape.expected(arena) if callable(escape.expected) else escape.expected
    assert outcomes[escape.algorithm] == {"result": expected}


def test_what_is_guarded_is_there(arena: Arena) -> None:
    """Or else nothing would have been proven."""
    import os

    paths = [path for path in guarded(arena) if path.startswith(str(arena.home))]
    assert [path for path in paths if not os.path.exists(path)] == []


def test_nobody_finds_what_another_account_left(arena: Arena, confined: None, outcomes: dict[str, Any]) -> None:
    """The same account's next call does: it may get the same process."""
    assert arena.call("leaves_things_for_others", by=arena.stranger) == {"result": []}
    assert arena.call("leaves_things_for_others", by=arena.stranger)["result"] == ["loot", "loot"]


@pytest.mark.parametrize("target", ["{state}/platform.db", "/etc/shadow", "../../../platform.db", "src/../../.."])
def test_a_project_with_a_link_to_the_outside_is_refused(arena: Arena, target: str) -> None:
    import io
    import tarfile

    name = arena.attacker.create()
    files = project(arena.attacker.name, "files", name)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as packing:
        with tarfile.open(fileobj=io.BytesIO(packed(files))) as plain:
            for member in plain:
                packing.addfile(member, plain.extractfile(member))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, target.format(state=arena.state)
        packing.addfile(link)
    path = arena.attacker.path(name)
    answer = arena.attacker.send("PUT", path + "/source", archive.getvalue(), "application/gzip")
    if answer.status < 300:
        log = arena.attacker.send("GET", f"{path}/builds/{answer.json['build_id']}/logs?follow=true").body.decode()
        build = arena.attacker.send("GET", f"{path}/builds/{answer.json['build_id']}").ok
        assert build["status"] == "failed"
        assert "leads outside of the source" in log, log
    else:
        assert "leads outside of the source" in json.dumps(answer.json), answer
    arena.attacker.send("DELETE", path)
