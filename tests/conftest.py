"""Fixtures: a real platform in a real process, accounts on it, the SDK and the command line against it.

Runs on every Python that the SDK supports. The platform needs Python 3.10+: where the tests run on an older one, the
environment variable ALGORITHMIA_TEST_SERVER_PYTHON names an interpreter that has ``algorithmia[server]``.
"""
import io
import itertools
import json
import os
import subprocess
import sys
import threading

import pytest

import Algorithmia
from Algorithmia import config

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SERVER_PYTHON = os.environ.get("ALGORITHMIA_TEST_SERVER_PYTHON") or sys.executable

_counter = itertools.count(1)
# Whatever could reach into a test from the outside.
_SCRUBBED = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "language_version")


def clean_environment(home):
    """The environment of a process in a test: nothing of the person's own configuration, and its own home."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name.lower() not in _SCRUBBED and not name.startswith("ALGORITHMIA_")
    }
    environment.update(HOME=str(home), ALGORITHMIA_HOME=os.path.join(str(home), ".algorithmia"))
    return environment


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
        if name.lower() in _SCRUBBED or (name.startswith("ALGORITHMIA_") and not name.startswith("ALGORITHMIA_TEST")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmpdir))
    monkeypatch.setenv("ALGORITHMIA_HOME", str(tmpdir.join(".algorithmia")))
    monkeypatch.setattr(Algorithmia, "apiKey", None)
    monkeypatch.setattr(Algorithmia, "apiAddress", None)
    monkeypatch.setattr(Algorithmia, "defaultClient", None)


class Server(object):
    """A platform in a process of its own: `address`, `key` and `user` of its first account, `admin_key`, `home`."""

    def __init__(self, home, *arguments, **options):
        self.home = str(home)
        self.user = options.pop("user", "tester")
        environment = clean_environment(self.home)
        environment.update(options.pop("environment", {}))
        self._log_path = os.path.join(self.home, "serve.log")
        self._log = open(self._log_path, "ab")
        self.process = subprocess.Popen(
            [SERVER_PYTHON, "-m", "Algorithmia.server.main", "--home", self.home, "--user", self.user]
            + list(arguments or ("--port", "0")),
            stdout=subprocess.PIPE,
            stderr=self._log,
            stdin=open(os.devnull),
            env=environment,
            cwd=ROOT,
        )
        watchdog = threading.Timer(60, self.process.kill)
        watchdog.start()
        line = self.process.stdout.readline().decode("utf-8")
        watchdog.cancel()
        if not line.startswith("Serving on "):
            self.stop()
            raise AssertionError("the platform did not start: %r\n%s" % (line, self.log()))
        self.address = line.split()[-1]
        profiles = config.load_profiles(os.path.join(self.home, "config"))
        self.key = profiles["local"].api_key
        self.admin_key = profiles["local-admin"].api_key

    def log(self):
        """What it has logged so far."""
        with io.open(self._log_path, encoding="utf-8", errors="replace") as handle:
            return handle.read()

    def client(self, key=None, **options):
        """An SDK client of the first account, or of `key`'s."""
        return Algorithmia.Client(key or self.key, self.address, **options)

    def stop(self):
        """Terminate, wait, and only then kill."""
        if self.process.poll() is None:
            self.process.terminate()
            timer = threading.Timer(40, self.process.kill)
            timer.start()
            self.process.wait()
            timer.cancel()
        self.process.stdout.close()
        self._log.close()
        return self.process.returncode

    def kill(self):
        """SIGKILL, as a power cut would be for the process."""
        self.process.kill()
        self.process.wait()
        self.stop()


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


class TestAccount(object):
    """An account with a key: `name`, `key`, `client`."""

    __test__ = False

    def __init__(self, name, key, client):
        self.name, self.key, self.client = name, key, client


@pytest.fixture
def new_account(server):
    """A function that makes an account with a key: ``new_account(**permissions)``; without any, a key that may all."""

    def make(**permissions):
        name = "user%d_%d" % (os.getpid(), next(_counter))
        admin = server.client(server.admin_key)
        admin.create_user({"username": name, "email": name + "@example.com"})
        return TestAccount(name, *new_key(server, name, **permissions))

    return make


def new_key(server, name, **permissions):
    """``(key, client)``: a key of account `name` with just `permissions` (none given: all)."""
    document = {
        "allow_data": True,
        "allow_data_write": True,
        "allow_algo": True,
        "allow_web_algo": True,
        "allow_algo_management": True,
        "algo_acl": ["algo://*"],
    }
    if permissions:
        document = dict({name_: False for name_ in document}, algo_acl=[])
        document.update(permissions)
    body = {"key_label": "test", "key_type": "AlgorithmKey", "permissions": document}
    admin = server.client(server.admin_key)
    key = admin.postJsonHelper("/v1/users/%s/keys" % name, body)["api_key"]
    return key, server.client(key)


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


class Completed(object):
    """What a command left: `stdout` (bytes), `stderr` (text), `status`; `text` and `json` of stdout."""

    def __init__(self, stdout, stderr, status):
        self.stdout, self.stderr, self.status = stdout, stderr.decode("utf-8", "replace"), status

    @property
    def text(self):
        return self.stdout.decode("utf-8")

    @property
    def json(self):
        return json.loads(self.text)

    def __repr__(self):
        return "Completed(status=%r, stdout=%r, stderr=%r)" % (self.status, self.stdout[:2000], self.stderr[-4000:])


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
