"""What the fixtures are made of: a platform in a process of its own, its accounts, and commands as they ended."""
import io
import json
import os
import subprocess
import sys
import threading

import Algorithmia
from Algorithmia import config

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SERVER_PYTHON = os.environ.get("ALGORITHMIA_TEST_SERVER_PYTHON") or sys.executable

# Whatever could reach into a test from the outside.
SCRUBBED = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "language_version")


def clean_environment(home):
    """The environment of a process in a test: nothing of the person's own configuration, and its own home."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name.lower() not in SCRUBBED and not name.startswith("ALGORITHMIA_")
    }
    environment.update(HOME=str(home), ALGORITHMIA_HOME=os.path.join(str(home), ".algorithmia"))
    return environment


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


class Account(object):
    """An account with a key: `name`, `key`, `client`."""

    def __init__(self, name, key, client):
        self.name, self.key, self.client = name, key, client


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
