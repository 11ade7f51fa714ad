"""`cli(...)` runs a command line inside the test's own process, on streams of the test's own."""
import io
import json
import os
import subprocess
import sys

import pytest

from Algorithmia import config
from Algorithmia._compat import text_type
from Algorithmia.cli import main
from Algorithmia.cli.context import Environment

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Terminal(io.BytesIO):
    """A stream that says that it is a terminal."""

    def isatty(self):
        return True


class Ran(object):
    """What a command left: `out` and `err` as text, `stdout` as bytes, `status`."""

    def __init__(self, stdout, stderr, status):
        self.stdout, self.status = stdout, status
        self.out, self.err = stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace")

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return "Ran(status=%r, out=%r, err=%r)" % (self.status, self.out, self.err)


@pytest.fixture
def cli():
    """``cli("ls", stdin=b"", terminal=False, typed=False, variables={})``; `typed`: at a terminal, too"""

    def run(*argv, **options):
        stream = Terminal if options.get("terminal") else io.BytesIO
        stdin = (Terminal if options.get("typed") else io.BytesIO)(options.get("stdin", b""))
        stdout, stderr = stream(), stream()
        variables = dict({"COLUMNS": "100"}, **options.get("variables", {}))
        env = Environment(stdin=stdin, stdout=stdout, stderr=stderr, environ=variables)
        status = main([word if isinstance(word, text_type) else str(word) for word in argv], env)
        return Ran(stdout.getvalue(), stderr.getvalue(), status)

    return run


@pytest.fixture
def profile():
    """``profile(address, name="default", key="k")`` saves a profile in this test's home."""

    def save(address, name="default", key="simTESTKEY"):
        config.save_profile(name, config.Profile(api_key=key, api_server=address))

    return save


@pytest.fixture
def algo_process():
    """``algo_process("cat", ..., **variables)``: the command line as a process that is still running."""
    started = []

    def start(*words, **variables):
        nothing = open(os.devnull)
        process = subprocess.Popen(
            [sys.executable, "-m", "Algorithmia"] + [str(word) for word in words],
            stdin=nothing,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(os.environ, PYTHONPATH=ROOT, **variables),
            cwd=ROOT,
        )
        nothing.close()
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
        process.stderr.close()
