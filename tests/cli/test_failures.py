"""Exit statuses, messages without tracebacks, broken pipes and interrupts."""
import errno
import io
import signal
import subprocess
import sys
import time

import pytest
from wire import WireServer, answer

from Algorithmia import errors
from Algorithmia.cli import data, exit_status, failures, main
from Algorithmia.cli.context import CliError, Environment

STATUSES = [
    (errors.AlgorithmException("boom"), 1),
    (errors.AlgorithmException("slow", error_type="TimeoutError"), 5),
    (errors.class_for(404, errors.ALGORITHM)("no"), 4),
    (errors.class_for(404, errors.DATA)("no"), 4),
    (errors.class_for(401, errors.DATA)("no"), 3),
    (errors.class_for(403, errors.ALGORITHM)("no"), 3),
    (errors.class_for(409, errors.DATA)("no"), 1),
    (errors.class_for(504, errors.ALGORITHM)("no"), 5),
    (errors.class_for(500, errors.OTHER)("no"), 1),
    (errors.UnreachableError("no"), 6),
    (errors.ConfigError("no"), 2),
    (errors.ProfileNotFoundError("no"), 3),
    (IOError(errno.ENOENT, "No such file", "f"), 4),
    (IOError(errno.EACCES, "Permission denied", "f"), 1),
    (CliError("no", 2), 2),
    (KeyboardInterrupt(), 130),
    (ZeroDivisionError("defect"), 1),
]


@pytest.fixture
def ls_raises(cli, monkeypatch):
    """``ls_raises(error)`` runs a command that fails with `error`."""

    def run(error, *words, **options):
        def fail(args, env):
            raise error

        monkeypatch.setattr(data, "ls", fail)
        return cli("ls", *words, **options)

    return run


@pytest.mark.parametrize("error, status", STATUSES, ids=lambda value: type(value).__name__)
def test_status_and_message(ls_raises, error, status):
    ran = ls_raises(error)
    assert (ran.status, ran.out) == (status, "")
    assert "Traceback" not in ran.err and (ran.err.strip() or status == 130)


def test_every_status_has_a_meaning():
    used = set(status for _, status in STATUSES) | {0}
    assert used == set(status for status, _ in exit_status.MEANINGS)


def test_timed_out_requests_are_timeouts():
    from Algorithmia.unreachable import ReadTimedOut

    assert exit_status.for_error(ReadTimedOut("no")) == 5


def test_traceback_on_request(ls_raises):
    for words, variables in ((("--debug-errors",), {}), ((), {"ALGORITHMIA_DEBUG_ERRORS": "1"})):
        ran = ls_raises(ZeroDivisionError("defect"), *words, variables=variables)
        assert ran.status == 1 and "Traceback" in ran.err and "ZeroDivisionError" in ran.err


def test_a_defect_says_how_to_see_more(ls_raises):
    assert "--debug-errors" in ls_raises(ZeroDivisionError("defect")).err


def test_platform_failures_name_the_request():
    error = errors.class_for(500, errors.DATA)("oops", status=500, request_id="req-1")
    assert failures.describe(error) == "algo: oops [request req-1]"
    assert failures.describe(errors.class_for(404, errors.DATA)("no", status=404, request_id="req-1")) == "algo: no"


def test_local_errors_name_the_file():
    assert failures.describe(IOError(errno.EACCES, "Permission denied", "/x")) == "algo: /x: permission denied"


def test_a_full_disk_is_no_defect():
    assert failures.describe(OSError(errno.ENOSPC, "No space left on device")) == "algo: No space left on device"


class Broken(io.BytesIO):
    """Standard output that fails with error `number` when it is written to, or only at the end."""

    def __init__(self, number, at_the_end):
        io.BytesIO.__init__(self)
        self.number, self.at_the_end = number, at_the_end

    def write(self, data):
        if self.at_the_end:
            return len(data)
        raise IOError(self.number, "Something")

    def flush(self):
        raise IOError(self.number, "Something")


@pytest.mark.parametrize("at_the_end", [False, True])
@pytest.mark.parametrize("number, status, complaint", [(errno.EPIPE, 0, b""), (errno.ENOSPC, 1, b"standard output")])
@pytest.mark.parametrize("words", [["--version"], ["ls"], ["cat", ".my/c/f"], ["cp", "data://.my/c/f", "-"]])
def test_standard_output_that_fails(profile, words, number, status, complaint, at_the_end):
    stderr = io.BytesIO()
    with WireServer(answer({"files": [{"filename": "f"}]})) as platform:
        profile(platform.address)
        assert main(words, Environment(io.BytesIO(), Broken(number, at_the_end), stderr, {})) == status
    assert complaint in stderr.getvalue() and (complaint or not stderr.getvalue())


def test_a_reader_that_goes_away(algo_process):
    with WireServer(answer(body=b"x" * 5000000, headers=["X-Data-Type: file"])) as platform:
        process = algo_process("cat", ".my/c/f", ALGORITHMIA_API=platform.address)
        assert process.stdout.read(10) == b"x" * 10
        process.stdout.close()
        complaint = process.stderr.read()
        assert (process.wait(), complaint) == (0, b"")


def test_interrupt(algo_process):
    with WireServer(lambda connection, request: time.sleep(60)) as platform:
        process = algo_process("run", "demo/Hello", "-d", "x", ALGORITHMIA_API=platform.address)
        for _ in range(500):
            if platform.requests:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out) == (130, b"") and b"Traceback" not in err


def test_interrupted_download_leaves_nothing(algo_process, tmpdir):
    def trickle(connection, request):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\nX-Data-Type: file\r\n\r\n")
        while True:
            connection.sendall(b"x" * 1000000)
            time.sleep(0.05)

    listing = answer({"files": [{"filename": "a", "size": 1}, {"filename": "b", "size": 1}]})
    target = tmpdir.mkdir("target")
    with WireServer(listing, trickle) as platform:
        process = algo_process("cp", "data://.my/c/*", str(target), ALGORITHMIA_API=platform.address)
        for _ in range(500):
            if len(target.listdir()) == 2:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130 and b"Traceback" not in err
    assert target.listdir() == []


def test_closed_standard_output():
    code = "import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, '-m', 'Algorithmia', '--version'])"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    assert b"Traceback" not in process.communicate()[1]


def test_a_servers_words_do_not_drive_the_terminal(cli, profile):
    reply = answer({"error": {"message": u"no\x1b]0;owned\x07\x9b31m"}}, "403 Forbidden")
    with WireServer(reply) as platform:
        profile(platform.address)
        err = cli("ls", terminal=True).err
    assert "\x1b" not in err and "\x07" not in err and u"\x9b" not in err and "owned" in err
