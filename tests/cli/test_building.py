"""What `algo run` shows while the platform builds an algorithm on its first call."""
import json
import socket
import threading

import pytest
from wire import WireServer, answer

from Algorithmia.cli import building

RESULT = {"result": "topics", "metadata": {"content_type": "text", "duration": 2.5}}
LOG = b"Installing 3 packages\nLoading \x1b[2J once\n"


class Platform(object):
    """A platform whose call ends once it is `released`.

    late  how often it is asked before there are `builds`
    """

    def __init__(self, builds, late=0):
        self.builds = builds
        self.late = late
        self.released = threading.Event()

    def __call__(self, connection, request):
        if request.method == "POST":
            assert self.released.wait(30)
            connection.sendall(answer(RESULT))
        elif request.path.endswith("/logs"):
            connection.sendall(answer(body=LOG, headers=["Content-Type: text/plain"]))
        elif self.late:
            self.late -= 1
            connection.sendall(answer({"results": []}))
        elif self.builds is None:
            connection.shutdown(socket.SHUT_RDWR)
        else:
            reply = self.builds if isinstance(self.builds, bytes) else answer({"results": self.builds})
            connection.sendall(reply)


def in_progress(status="in-progress"):
    return [{"build_id": "b1", "status": status, "commit_sha": "0" * 40}]


@pytest.fixture
def run(cli, profile, monkeypatch):
    """``run(platform, *words)`` calls nlp/LDA there with no patience at all."""
    monkeypatch.setattr(building, "PATIENCE", 0.01)
    look = building.BuildWatch._look

    def start(platform, *words, **options):
        def look_and_tell(watch):
            look(watch)
            platform.released.set()

        monkeypatch.setattr(building.BuildWatch, "_look", look_and_tell)
        with WireServer(platform) as wire:
            profile(wire.address)
            ran = cli("run", "nlp/LDA", "-d", "x", *words, **options)
        ran.paths = [request.target for request in wire.requests if request.method == "GET"]
        return ran

    return start


def test_a_build_is_shown_line_by_line(run):
    ran = run(Platform(in_progress()))
    assert (ran.status, ran.out) == (0, "topics\n")
    assert ran.paths == ["/v1/algorithms/nlp/LDA/builds?limit=1", "/v1/algorithms/nlp/LDA/builds/b1/logs?follow=true"]
    assert ran.err.splitlines() == [
        "Building nlp/LDA (first use) ...", "Building nlp/LDA: Installing 3 packages",
        u"Building nlp/LDA: Loading \x1b[2J once"]


def test_on_a_terminal_one_line_is_written_over(run):
    ran = run(Platform(in_progress()), terminal=True)
    assert ran.out == "topics\n" and "\n" not in ran.err.split("Completed")[0]
    assert "\r\x1b[KBuilding nlp/LDA: Loading ?[2J once" in ran.err
    assert ran.err.endswith("\r\x1b[KCompleted in 2.5 seconds\n")


@pytest.mark.parametrize(
    "builds",
    [in_progress("succeeded"), answer({"error": {"message": "no"}}, status="403 Forbidden"),
     answer(body=b"<html>"), answer({}), None],
    ids=["ended", "refused", "garbage", "empty", "closed"],
)  # fmt: skip
def test_nothing_is_shown_otherwise(run, builds):
    ran = run(Platform(builds))
    assert (ran.status, ran.out, ran.err) == (0, "topics\n", "")


def test_a_build_that_begins_late_is_shown_too(run):
    ran = run(Platform(in_progress(), late=2))
    assert [path.partition("?")[0].rpartition("/")[2] for path in ran.paths] == ["builds"] * 3 + ["logs"]
    assert ran.err.startswith("Building nlp/LDA (first use) ...")


def test_what_is_never_built_is_asked_for_again(cli, profile, monkeypatch):
    monkeypatch.setattr(building, "PATIENCE", 0.01)
    platform = Platform([])
    asked = []

    def reply(connection, request):
        if request.method == "GET":
            asked.append(request)
            if len(asked) == 3:
                platform.released.set()
        platform(connection, request)

    with WireServer(reply) as wire:
        profile(wire.address)
        ran = cli("run", "nlp/LDA", "-d", "x")
    assert (ran.status, ran.out, ran.err) == (0, "topics\n", "")


@pytest.mark.parametrize("option", ["-s", "-q"])
def test_nothing_is_asked_when_nobody_wants_to_know(run, option):
    platform = Platform(in_progress())
    platform.released.set()
    ran = run(platform, option)
    assert (ran.out, ran.err, ran.paths) == ("topics\n", "", [])


def test_a_quick_call_asks_nothing(cli, profile):
    with WireServer(answer(RESULT)) as wire:
        profile(wire.address)
        assert cli("run", "nlp/LDA", "-d", "x").out == "topics\n"
    assert [request.method for request in wire.requests] == ["POST"]


def test_the_account_of_the_profile_is_called_me(cli, profile):
    entry = {"folders": [{"name": "tester", "acl": {"read": []}}], "files": []}
    with WireServer(answer(entry), answer(RESULT)) as wire:
        profile(wire.address)
        for name in ("me/LDA/1.0.0", ".my/LDA/1.0.0", "algo://me/LDA/1.0.0"):
            wire.replies = [answer(entry), answer(RESULT)]
            assert cli("run", name, "-d", json.dumps("x")).status == 0
            assert wire.requests[-1].path == "/v1/algo/tester/LDA/1.0.0"


# -- logs on a terminal -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("follow", [(), ("-f",)])
def test_a_log_does_not_drive_the_terminal(cli, profile, follow):
    log = b"one\x1b[2J\ttwo\xc2\x9b\n\xc3\xbc\x07\n"
    build = answer(in_progress("succeeded")[0])
    whole = answer({"logs": log.decode("utf-8")})
    streamed = answer(body=log, headers=["Content-Type: text/plain"])
    with WireServer(build, *((streamed, build) if follow else (whole,))) as wire:
        profile(wire.address)
        ran = cli("logs", "a/b", "b1", *follow, terminal=True)
        assert ran.stdout == b"one?[2J\ttwo?\n\xc3\xbc?\n" and ran.status == 0, ran
        wire.replies = [build] + ([streamed, build] if follow else [whole])
        assert cli("logs", "a/b", "b1", *follow).stdout == log


def test_a_build_in_progress_is_followed_to_its_end(cli, profile):
    replies = (answer(in_progress()[0]), answer(body=LOG), answer(in_progress("failed")[0]))
    for words, status in (((), 0), (("-f",), 1)):
        with WireServer(*replies) as wire:
            profile(wire.address)
            ran = cli("logs", "a/b", "b1", *words)
        assert (ran.status, ran.stdout) == (status, LOG) and "failed" in ran.err
