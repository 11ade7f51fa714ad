"""`algo serve`, `algo local` and `algo users`, and a first command with nothing configured."""
import io
import os
import signal
import sys

import pytest
from wire import WireServer, answer

import Algorithmia
from Algorithmia import config, local
from Algorithmia.cli import platform_status, serve

SERVER_PYTHON = os.environ.get("ALGORITHMIA_TEST_SERVER_PYTHON") or sys.executable
has_platform = pytest.mark.skipif(sys.version_info < (3, 10), reason="the platform runs on Python 3.10 and newer")


@pytest.fixture
def home(tmpdir):
    """A home in which a background platform may be started; it is stopped afterwards."""
    place = os.path.join(str(tmpdir.join("cli-home")), ".algorithmia")
    yield place
    local.stop(place)


@pytest.fixture
def algo_local(algo, home):
    """`algo` with nothing configured: it starts its own platform in the background."""

    def run(*words, **options):
        env = dict(options.pop("env", {}), ALGORITHMIA_SERVER_PYTHON=SERVER_PYTHON)
        if SERVER_PYTHON == sys.executable:
            del env["ALGORITHMIA_SERVER_PYTHON"]
        return algo(*words, env=env, configured=False, **options)

    return run


def test_nothing_configured(algo_local, home):
    assert algo_local("local", "status").text == "not running\n"
    assert algo_local("local", "status", "--json").json == {"running": False}
    assert algo_local("local", "logs").status == 4
    assert algo_local("local", "stop").text == "not running\n"
    ran = algo_local("run", "demo/Hello", "-d", "HAL 9000")
    assert (ran.status, ran.text) == (0, "Hello HAL 9000\n"), ran
    assert ran.stderr.startswith("Started a local Algorithmia platform at http://127.0.0.1:")
    again = algo_local("run", "demo/Hello", "-d", "HAL 9000")
    assert again.text == "Hello HAL 9000\n" and "Started" not in again.stderr
    status = algo_local("local", "status", "--json").json
    assert status["running"] is True and status["address"].startswith("http://127.0.0.1:")
    shown = algo_local("local", "status")
    assert shown.text.startswith("running at %s (pid %d, version " % (status["address"], status["pid"]))
    check_status(algo_local, home, status, shown)
    assert algo_local("local", "start").text == status["address"] + "\n"
    assert status["address"] in algo_local("local", "logs", "-n", "50").text
    name = algo_local("ls").text
    assert name.endswith("/\n") and algo_local("ls", "--profile", "local").text == name
    check_users(algo_local, home)
    assert algo_local("local", "stop").text == "stopped\n"
    assert algo_local("local", "status").text == "not running\n"
    assert '"path":"/v1/algo/demo/Hello","status":200' in algo_local("local", "logs", "-n", "200").text
    with io.open(os.path.join(home, "platform", "logs", "startup.log")) as handle:
        assert "Traceback" not in handle.read()


def check_status(algo_local, home, status, shown):
    """What the platform has done so far: two calls."""
    assert status["metrics"]["calls"]["succeeded"] == 2 and status["metrics"]["errors"] == {}
    assert status["metrics"]["seconds_run"] >= 0 and status["metrics"]["workers"]["busy"] == 0
    assert status["health"]["status"] == "ok"
    assert "calls:    2 succeeded, 0 failed\n" in shown.text and "\nmemory:   server " in shown.text
    assert algo_local("run", "util/Fail", "-d", "x").status == 1
    assert "errors:   AlgorithmError 1\n" in algo_local("local", "status").text
    # Without the administrator's key it tells what anybody may know.
    path = os.path.join(home, "config")
    admin = config.load_profiles(path)["local-admin"]
    for other in (config.Profile(api_server=admin.api_server), config.Profile("wrong", admin.api_server)):
        config.save_profile("local-admin", other, path)
        less = algo_local("local", "status")
        assert less.status == 0 and "calls:" not in less.text and "\nworkers:  " in less.text
        assert algo_local("local", "status", "--json").json["metrics"] is None
    config.save_profile("local-admin", admin, path)


def test_status_of_other_versions(cli, profile, monkeypatch):
    """One without /metrics, and one whose key is for another address: it gets no key at all."""
    with WireServer(answer({"error": {"message": "no such route"}}, "404 Not Found")) as wire:
        found = {"address": wire.address, "pid": 1, "version": "0", "started_at": "?", "health": {"status": "ok"}}
        monkeypatch.setattr(local, "status", lambda: found)
        profile("http://127.0.0.1:1", "local-admin")
        ran = cli("local", "status")
        assert ran.status == 0 and ran.out == "running at %s (pid 1, version 0)\n" % wire.address
        assert not wire.requests
        profile(wire.address, "local-admin")
        assert cli("local", "status", "--json").json["metrics"] is None
        assert [request.target for request in wire.requests] == ["/metrics"]


def test_reading_metrics():
    text = '# HELP x y\nx_total{a="b\\"}c",d="e"} 3\nx_bucket{le="1"} 4\n\nnonsense\nx nonsense\ny 0.5\nz NaN\n'
    found = platform_status.read(text)
    assert found.pop("z")
    assert found == {"x_total": {(("a", 'b\\"}c'), ("d", "e")): 3}, "y": {(): 0.5}}
    spans = [platform_status._span(seconds) for seconds in (0.00026, 0.25, 75, 3600, 90061)]
    assert spans == ["0.26 ms", "0.25 s", "1 min 15 s", "1 h", "1 d 1 h"]


def check_users(algo_local, home):
    """Accounts made by the administrator's profile that the platform keeps beside it."""
    ran = algo_local("users", "add", "alice", "--email", "alice@example.com", "--save-profile", "alice")
    assert ran.status == 0, ran
    key = ran.text.strip()
    assert len(key) == 28 and key.startswith("sim") and key not in ran.stderr
    assert config.load_profiles(os.path.join(home, "config"))["alice"].api_key == key
    assert algo_local("ls", "--profile", "alice").text == "alice/\n"
    assert algo_local("run", "demo/Hello", "-d", "you", "--profile", "alice").text == "Hello you\n"
    assert algo_local("mkdir", ".my/things", "--profile", "alice").status == 0
    again = algo_local("users", "add", "alice")
    assert (again.status, again.stdout) == (1, b"") and "alice" in again.stderr
    assert "algo auth --api-address http://127.0.0.1:" in algo_local("users", "add", "dave").stderr
    document = algo_local("users", "add", "bob", "--json").json
    assert document["user"]["username"] == "bob" and document["key"]["api_key"].startswith("sim")
    listed = algo_local("users", "ls")
    assert ("alice", "alice@example.com") in [tuple(line.split()[:2]) for line in listed.text.splitlines()], listed
    assert {"alice", "bob", "dave"} <= {user["username"] for user in algo_local("users", "ls", "--json").json}
    assert algo_local("users", "ls", "--profile", "alice").status == 3
    assert algo_local("users", "add", "no-such name!").status == 1
    assert algo_local("users", "add", "carol", "--profile", "alice").status == 3


def test_users_page_after_page(cli, profile):
    pages = [{"marker": "b", "results": [{"username": "a"}, {"username": "b"}]},
             {"marker": None, "results": [{"username": "c", "fullname": "C"}]}]
    with WireServer(*[answer(page) for page in pages]) as platform:
        profile(platform.address, name="admin")
        ran = cli("users", "ls", "--profile", "admin")
    assert [line.split() for line in ran.out.splitlines()] == [["a"], ["b"], ["c", "C"]]
    assert "marker=b" in platform.requests[1].target


def test_users_without_an_administrator(cli):
    ran = cli("users", "add", "alice")
    assert ran.status == 3 and "local-admin" in ran.err


@has_platform
def test_serve(algo_process, tmpdir):
    home = str(tmpdir.join("served"))
    process = algo_process("serve", "--port", "0", "--home", home, "--user", "carol", "--log-level", "error")
    line = process.stdout.readline().decode("utf-8")
    assert line.startswith("Serving on http://127.0.0.1:")
    profile = config.load_profiles(os.path.join(home, "config"))["local"]
    assert profile.api_server == line.split()[-1]
    assert Algorithmia.Client(profile.api_key, profile.api_server).username() == "carol"
    second = algo_process("serve", "--home", home)
    complaint = second.communicate()[1]
    assert second.returncode == 1 and b"already runs" in complaint
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert (process.returncode, out) == (0, b""), err


@has_platform
def test_serve_refuses_what_the_platform_refuses(algo):
    assert algo("serve", "--bogus", "1").status == 2
    assert algo("serve", "--tls-cert", "no.pem").status == 1
    assert algo("serve", "--port", "nonsense").status == 2


@pytest.mark.skipif(sys.version_info < (3,), reason="pretends to be 3.10")
def test_serve_without_the_platform(cli, monkeypatch):
    monkeypatch.setattr(serve.sys, "version_info", (3, 10))
    monkeypatch.setitem(sys.modules, "Algorithmia.server.main", None)
    ran = cli("serve")
    assert ran.status == 1 and 'pip install "algorithmia[server]"' in ran.err


def test_serve_on_an_old_python(cli, monkeypatch):
    monkeypatch.setattr(serve.sys, "version_info", (2, 7))
    ran = cli("serve", "--port", "0")
    assert ran.status == 1 and 'pip install "algorithmia[server]"' in ran.err and "3.10" in ran.err


def test_log_that_was_rotated(tmpdir):
    path = str(tmpdir.join("log"))
    tmpdir.join("log").write("a\nb\nc\n")
    with io.open(path, "rb") as log:
        assert list(serve._last_lines(log, 2)) == [b"b\n", b"c\n"]
        assert serve._reopened(log, path) is log
        tmpdir.join("log").rename(tmpdir.join("log.1"))
        tmpdir.join("log").write("d\n")
        fresh = serve._reopened(log, path)
        assert fresh.read() == b"d\n"
        fresh.close()
