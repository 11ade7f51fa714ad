"""Large transfers that are interrupted, from the keyboard or by a signal: said again, the same command goes on where
they were."""
import os
import signal
import time

import pytest
from breaking import BreakingWay
from platforms import ROOT, clean_environment

from Algorithmia import config

CONTENT = b"".join(b"%08d" % number for number in range(2621440))  # 20 MiB
SAID = b"the same command, said again, goes on there"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")


@pytest.fixture
def way(server):
    with BreakingWay(server.address) as way:
        yield way


@pytest.fixture
def start(server, way, tmpdir):
    """A function that starts a command line whose platform is reached by `way`."""
    import subprocess
    import sys

    environment = dict(clean_environment(tmpdir), PYTHONPATH=ROOT)
    path = os.path.join(environment["ALGORITHMIA_HOME"], "config")
    config.save_profile("default", config.Profile(server.key, way.address), path)
    started = []

    def make(*arguments):
        command = [sys.executable, "-m", "Algorithmia"] + [str(argument) for argument in arguments]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment))
        return started[-1]

    yield make
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("direction, number, status", [
    ("up", "SIGINT", 130), ("down", "SIGINT", 130), ("up", "SIGTERM", 143), ("down", "SIGHUP", 129),
])
def test_interrupted_and_said_again(collection, start, way, tmpdir, direction, number, status):
    here, there = tmpdir.mkdir("here").join("f"), collection.uri + "/f"
    if direction == "up":
        here.write_binary(CONTENT)
    else:
        collection.file("f").put(CONTENT)
    operands = (here, there) if direction == "up" else (there, here)
    way.stall[direction] = 5000000
    process = start("cp", *operands)
    assert way.stalled.wait(60)
    while direction == "down" and not any(path.size() > 1000000 for path in here.dirpath().listdir()):
        assert process.poll() is None
        time.sleep(0.01)  # what has passed is on its way to the process still
    process.send_signal(getattr(signal, number))
    _, said = process.communicate()
    assert process.returncode == status and SAID in said
    if direction == "up":
        assert not collection.file("f").exists()
    else:
        assert [path.basename.startswith(".f.") for path in here.dirpath().listdir()] == [True]
    way.stall.clear()
    del way.heads[:]
    before = dict(way._passed)
    process = start("cp", *operands)
    _, said = process.communicate()
    assert process.returncode == 0 and SAID not in said
    assert here.read_binary() == collection.file("f").getBytes() == CONTENT
    assert way._passed["up"] - before["up"] < len(CONTENT) - 1000000 or direction == "down"
    assert here.dirpath().listdir() == [here]
    assert not any(head.startswith("POST") for head in way.heads)
