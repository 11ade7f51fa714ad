"""`algo clone` and its credential helper: where the key is, and above all where it isn't."""
import glob
import os
import subprocess
import threading

import pytest
from platforms import clean_environment
from wire import WireServer, answer, unused_address

from Algorithmia import config

from .names import fresh_name

SETTINGS = {"language": "python3", "environment": "cpu", "source_visibility": "closed", "license": "apl",
            "network_access": "full", "pipeline_enabled": True}
ME = {"folders": [{"name": "tester", "acl": {"read": []}}], "files": []}


@pytest.fixture(scope="module")
def source(server):
    """Name of an algorithm of `tester` that has its template and nothing else."""
    name = fresh_name("Source")
    server.client().algo("tester/" + name).create({"label": name}, SETTINGS)
    return name


class Processes(object):
    """What every process of the machine was started with, and its environment, looked at while the block runs."""

    def __enter__(self):
        self.seen = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._over.set()
        self._thread.join()

    def _look(self):
        while not self._over.wait(0.01):
            for path in glob.glob("/proc/[0-9]*/cmdline"):
                try:
                    with open(path, "rb") as handle:
                        self.seen.add(handle.read())
                except (IOError, OSError):
                    pass  # it has ended


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks into /proc")
def test_the_key_is_in_no_command_line_url_or_file(algo, source, server, tmpdir):
    with Processes() as processes:
        ran = algo("clone", "me/" + source)
    assert ran.status == 0, ran
    assert any(b"clone" in command and source.encode() in command for command in processes.seen)
    key = server.key.encode()
    assert not [command for command in processes.seen if key in command]
    assert server.key not in ran.stderr
    for folder, _, names in os.walk(str(tmpdir.join(source))):
        for name in names:
            with open(os.path.join(folder, name), "rb") as handle:
                assert key not in handle.read(), name


def test_pulling_works_from_another_shell_and_with_another_helper_about(algo, source, tmpdir, server):
    helper = tmpdir.join("helper")
    helper.write("#!/bin/sh\necho asked >> %s\necho username=x\necho password=y\n" % tmpdir.join("asked"))
    helper.chmod(0o755)
    tmpdir.join("cli-home", ".gitconfig").write('[credential]\n\thelper = "%s"\n' % helper)
    assert algo("clone", "me/" + source).status == 0
    environment = clean_environment(algo.home)
    environment.pop("PYTHONPATH", None)
    environment.pop("ALGORITHMIA_HOME")
    # Files of the clone have the names of modules: they are somebody's code and not run.
    tmpdir.join(source, "Algorithmia.py").write("raise Exception('imported from the clone')")
    tmpdir.join(source, "toml.py").write("raise Exception('imported from the clone')")
    pulled = subprocess.Popen(["git", "pull"], cwd=str(tmpdir.join(source)), env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
    output = pulled.communicate()[0]
    assert (pulled.returncode, output) == (0, b"Already up to date.\n")
    assert not tmpdir.join("asked").check()


def test_directory(algo, source, tmpdir):
    assert algo("clone", "tester/" + source, "some/where").status == 0
    assert tmpdir.join("some", "where", "algorithmia.conf").check()
    assert algo("clone", "-q", "tester/" + source, "./-odd").stderr == ""
    assert tmpdir.join("-odd", "src").check()
    ran = algo("clone", "tester/" + source, "some/where")
    assert ran.status == 1 and "already exists" in ran.stderr and "Traceback" not in ran.stderr
    assert algo("clone", "tester/" + source, "a", "b").status == 2


def test_somebody_elses_open_source(algo, tmpdir):
    ran = algo("clone", "demo/Hello")
    assert ran.status == 0 and tmpdir.join("Hello", "src", "Hello.py").check(), ran
    assert algo("test", tmpdir.join("Hello"), "-d", "you").text == "Hello you\n"


def test_refusals(algo, source, server, tmpdir):
    missing = algo("clone", "tester/None" + source)
    assert missing.status == 4 and "tester/None" + source in missing.stderr.splitlines()[-1]
    assert algo("clone", "tester/%s/9.9.9" % source).status == 4
    assert algo("clone", "nonsense").status == 2
    env = {"ALGORITHMIA_API": server.address, "ALGORITHMIA_API_KEY": "sim" + "x" * 25}
    for words in (("clone", "tester/" + source), ("clone", "me/" + source)):
        unknown = algo(*words, env=env, configured=False)
        assert unknown.status == 3 and "x" * 25 not in unknown.stderr
    assert not tmpdir.join(source).check() and not tmpdir.join("None" + source).check()


def test_without_git(algo, source, tmpdir):
    ran = algo("clone", "me/" + source, env={"PATH": str(tmpdir)})
    assert ran.status == 1 and "git" in ran.stderr and "installed" in ran.stderr and "Traceback" not in ran.stderr


def test_nobody_there(algo, tmpdir):
    env = {"ALGORITHMIA_API": unused_address(), "ALGORITHMIA_API_KEY": "simKEY"}
    assert algo("clone", "a/b", env=env, configured=False).status == 6


@pytest.mark.parametrize(
    "address, git_server, expected",
    [
        ("https://api.algorithmia.com", "", "https://git.algorithmia.com"),
        ("https://api.lab.example.com:8443", "", "https://git.lab.example.com:8443"),
        ("http://127.0.0.1:9000", "", "http://127.0.0.1:9000"),
        ("https://algo.example.com", "", "https://algo.example.com"),
        ("https://algo.example.com", "https://code.example.com/", "https://code.example.com"),
    ],
)
def test_address_of_the_repositories(address, git_server, expected):
    config.save_profile("lab", config.Profile("simK", address))
    with open(config.config_path(), "a") as profiles:
        profiles.write('git_server = "%s"\n' % git_server)
    assert config.git_address(address, "lab") == expected
    assert config.load_profiles()["lab"].api_server == address


# -- the helper ---------------------------------------------------------------------------------------------------


def asked(address, **more):
    protocol, _, host = address.partition("://")
    lines = dict({"protocol": protocol, "host": host, "path": "git/tester/X.git"}, **more)
    return "".join("%s=%s\n" % pair for pair in sorted(lines.items())).encode() + b"\n"


def test_helper_answers_for_the_profiles_platform(cli, profile):
    with WireServer(answer(ME)) as platform:
        profile(platform.address, "lab", "sim/KEY+1")
        ran = cli("git-credential", "get", "--profile", "lab", stdin=asked(platform.address, username="carol"))
        assert (ran.status, ran.out, ran.err) == (0, "username=carol\npassword=sim/KEY+1\n", "")
        assert platform.requests == []
        ran = cli("git-credential", "get", "--profile", "lab", stdin=asked(platform.address))
        assert ran.out == "username=tester\npassword=sim/KEY+1\n"


@pytest.mark.parametrize("other", ["http://127.0.0.1:1", "https://evil.example.com", "https://127.0.0.1"])
def test_helper_answers_for_nobody_else(cli, profile, other):
    profile("http://127.0.0.1:9", key="simKEY")
    for question in (asked(other), asked(other, username="x"), b"", b"host=127.0.0.1:9\n", b"protocol=http\n\xff\n"):
        ran = cli("git-credential", "get", stdin=question)
        assert (ran.status, ran.stdout) == (0, b"")


def test_helper_keeps_and_forgets_nothing(cli, profile):
    profile("http://127.0.0.1:9")
    for operation in ("store", "erase", "capability"):
        ran = cli("git-credential", operation, stdin=asked("http://127.0.0.1:9", username="a", password="b"))
        assert (ran.status, ran.stdout, ran.err) == (0, b"", "")
    assert config.load_profiles()["default"].api_key == "simTESTKEY"


def test_helper_without_a_key(cli):
    config.save_profile("lab", config.Profile("", "http://127.0.0.1:9", "", "a.b.c"))
    ran = cli("git-credential", "get", "--profile", "lab", stdin=asked("http://127.0.0.1:9", username="a"))
    assert (ran.status, ran.stdout) == (3, b"") and "API key" in ran.err and "a.b.c" not in ran.err


def test_helper_is_not_listed(cli):
    assert "git-credential" not in cli("help").out
    assert "git-credential" not in cli("completion", "bash").out
    assert cli("help", "git-credential").status == 0
