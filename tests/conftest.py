"""Fixtures: a real platform in a real process, accounts on it, the SDK and the command line against it.

Runs on every Python that the SDK supports. The platform needs Python 3.10+: where the tests run on an older one, the
environment variable ALGORITHMIA_TEST_SERVER_PYTHON names an interpreter that has ``algorithmia[server]``.
"""
import itertools
import os
import signal
import subprocess
import sys
import threading

import pytest
from platforms import ROOT, SCRUBBED, Account, Completed, Server, clean_environment, new_key

import Algorithmia
from Algorithmia import config

_counter = itertools.count(1)

# Shells have what runs in the background ignore interrupts, and its children inherit that; some tests interrupt them.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Mark tests by their folder, so that ``-m sdk`` and the like need no typing in the files."""
    for item in items:
        folder = os.path.relpath(str(item.fspath), os.path.join(ROOT, "tests")).split(os.sep)[0]
        if folder in ("sdk", "cli", "server", "interop", "docs"):
            item.add_marker(getattr(pytest.mark, folder))


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmpdir):
    """Every test has its own home and none of the person's settings."""
    for name in list(os.environ):
        if name.lower() in SCRUBBED or (name.startswith("ALGORITHMIA_") and not name.startswith("ALGORITHMIA_TEST")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmpdir))
    monkeypatch.setenv("ALGORITHMIA_HOME", str(tmpdir.join(".algorithmia")))
    monkeypatch.setattr(Algorithmia, "apiKey", None)
    monkeypatch.setattr(Algorithmia, "apiAddress", None)
    monkeypatch.setattr(Algorithmia, "defaultClient", None)


@pytest.fixture(scope="session")
def server(tmpdir_factory):
    """One platform for the whole run; tests keep apart by collections and accounts of their own."""
    platform = Server(tmpdir_factory.mktemp("platform"))
    yield platform
    platform.stop()


@pytest.fixture
def start_server(tmpdir_factory):
    """A function that starts a platform of this test's own: ``start_server(*flags, home=None)``."""
    started = []

    def start(*arguments, **options):
        home = options.pop("home", None) or tmpdir_factory.mktemp("platform")
        platform = Server(home, *arguments, **options)
        started.append(platform)
        return platform

    yield start
    for platform in started:
        platform.stop()


@pytest.fixture
def new_account(server):
    """A function that makes an account with a key: ``new_account(**permissions)``; without any, a key that may all."""

    def make(**permissions):
        name = "user%d_%d" % (os.getpid(), next(_counter))
        admin = server.client(server.admin_key)
        admin.create_user({"username": name, "email": name + "@example.com"})
        return Account(name, *new_key(server, name, **permissions))

    return make


@pytest.fixture
def client(server):
    """An SDK client of the platform's first account."""
    return server.client()


@pytest.fixture
def collection(client):
    """A hosted collection of this test's own (a DataDirectory)."""
    directory = client.dir("data://.my/c%d_%d" % (os.getpid(), next(_counter)))
    directory.create()
    yield directory
    directory.delete(force=True)


@pytest.fixture
def algo(server, tmpdir):
    """A function that runs the command line in a process: ``algo("run", "demo/Hello", "-d", "x", stdin=b"")``.

    It has a home of its own whose default profile is the platform's first account; ``env`` adds variables, ``cwd`` sets
    the directory, ``configured=False`` leaves the home empty.
    """
    home = tmpdir.mkdir("cli-home")

    def run(*arguments, **options):
        environment = clean_environment(home)
        environment["PYTHONPATH"] = ROOT
        environment.update(options.pop("env", {}))
        if options.pop("configured", True):
            path = os.path.join(environment["ALGORITHMIA_HOME"], "config")
            if not os.path.exists(path):
                config.save_profile("default", config.Profile(server.key, server.address), path)
        process = subprocess.Popen(
            [sys.executable, "-m", "Algorithmia"] + [str(argument) for argument in arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=str(options.pop("cwd", tmpdir)),
        )
        timer = threading.Timer(options.pop("timeout", 120), process.kill)
        timer.start()
        stdout, stderr = process.communicate(options.pop("stdin", b""))
        timer.cancel()
        assert not options, options
        return Completed(stdout, stderr, process.returncode)

    run.home = str(home)
    return run
