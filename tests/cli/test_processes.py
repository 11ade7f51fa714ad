"""Programs that commands start end with all that they started: when they take too long, and when one is interrupted."""
import json
import os
import signal

import pytest

# It starts something that would say so if it was left. The command closes its standard input once it waits for it.
NPM = "#!/bin/sh\n(sleep 20; echo left) &\ncat\necho started\nwait\n"


@pytest.fixture
def tested(tmpdir):
    """A project of another language; and the PATH with a program that tests it."""
    project = tmpdir.mkdir("Other")
    project.join("algorithmia.conf").write(json.dumps({"username": "tester", "algoname": "Other"}))
    project.join("package.json").write("{}")
    npm = tmpdir.mkdir("commands").join("npm")
    npm.write(NPM)
    npm.chmod(0o755)
    return project, npm.dirname + os.pathsep + os.environ["PATH"]


def test_what_takes_too_long(algo_process, tested):
    project, path = tested
    process = algo_process("test", project, "--timeout", "0.5", PATH=path)
    # What it starts writes to the command's standard error, whose end comes when nobody has it any more.
    errors = process.communicate()[1]
    assert process.returncode == 5 and b"left" not in errors, errors


def test_what_is_interrupted(algo_process, tested):
    project, path = tested
    process = algo_process("test", project, PATH=path)
    assert process.stderr.readline() == b"started\n"
    process.send_signal(signal.SIGINT)  # to the command alone
    errors = process.communicate()[1]
    assert process.returncode == 130 and b"left" not in errors, errors
