"""The platform as a process: on-demand start, races, crashes, idle stop, first start, shutdown."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from platforms import ROOT, Server, clean_environment

import Algorithmia
from Algorithmia import config, errors, local


@pytest.fixture
def home(tmp_path):
    """An empty home; whatever platform a test starts in it is ended afterwards."""
    yield tmp_path
    local.stop(str(tmp_path / ".algorithmia"))


def environment(home, **more):
    return {**clean_environment(home), "PYTHONPATH": ROOT, **more}


def algo(home, *arguments, **more):
    return subprocess.Popen(
        [sys.executable, "-m", "Algorithmia", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(home, **more),
    )


def run(home, *arguments, **more):
    process = algo(home, *arguments, **more)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def wait_for(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def platform_home(home):
    return str(home / ".algorithmia")


def test_the_first_command_starts_a_platform_and_says_so_once(home):
    status, out, err = run(home, "run", "demo/Hello", "-d", "HAL 9000")
    assert (status, out) == (0, "Hello HAL 9000\n")
    assert err.count("Started a local Algorithmia platform at http://127.0.0.1:") == 1
    status, out, err = run(home, "run", "demo/Hello", "-d", "HAL 9000")
    assert (status, out) == (0, "Hello HAL 9000\n") and "Started" not in err


def test_twenty_first_commands_at_once_start_one_platform(home):
    processes = [algo(home, "run", "demo/Hello", "-d", str(number)) for number in range(20)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 20, outputs
    assert sorted(out for out, _ in outputs) == sorted(f"Hello {number}\n" for number in range(20))
    log = Path(local.log_path(platform_home(home))).read_text()
    assert log.count('"message":"serving"') == 1
    assert sum("Started a local" in err for _, err in outputs) == 1


def test_the_sdk_starts_it_too(home):
    code = "import Algorithmia; print(Algorithmia.client().algo('demo/Hello').pipe('HAL').result)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment(home), capture_output=True, text=True, check=True)
    assert done.stdout == "Hello HAL\n"


def test_after_kill_9_the_next_command_starts_it_again(home):
    run(home, "mkdir", ".my/kept")
    info = local.running(platform_home(home))
    os.kill(info["pid"], signal.SIGKILL)
    status, out, _ = run(home, "ls", ".my")
    assert status == 0 and "kept" in out
    again = local.running(platform_home(home))
    assert again["pid"] != info["pid"]
    assert again["address"] == info["address"], "the port of last time is taken again when it is free"


def test_a_client_that_lives_on_finds_the_platform_again(home, monkeypatch):
    monkeypatch.setenv("ALGORITHMIA_HOME", platform_home(home))
    client = Algorithmia.client()
    assert client.algo("demo/Hello").pipe("a").result == "Hello a"
    pid = local.running(platform_home(home))["pid"]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert client.algo("demo/Hello").pipe("b").result == "Hello b"


def test_a_foreign_process_on_the_port_of_last_time(home):
    run(home, "ls")
    info = local.running(platform_home(home))
    local.stop(platform_home(home))
    port = int(info["address"].rpartition(":")[2])
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        status, out, _ = run(home, "ls")
        assert status == 0 and out.endswith("/\n")
        assert local.running(platform_home(home))["address"] != info["address"]
        profile = config.load_profiles(os.path.join(platform_home(home), "config"))["local"]
        assert profile.api_server == local.running(platform_home(home))["address"]


def test_a_stale_runtime_file_is_not_believed(home):
    state = home / ".algorithmia" / "platform"
    state.mkdir(parents=True)
    (state / "server.json").write_text(json.dumps({"pid": os.getpid(), "address": "http://127.0.0.1:9"}))
    (state / "server.lock").touch()
    status, out, _ = run(home, "run", "demo/Hello", "-d", "x")
    assert (status, out) == (0, "Hello x\n")


def test_it_stops_when_idle(home):
    run(home, "ls", ALGORITHMIA_IDLE_TIMEOUT="0.5")
    wait_for(lambda: local.running(platform_home(home)) is None)
    log = Path(local.log_path(platform_home(home))).read_text()
    assert "without a request" in log
    assert run(home, "ls")[0] == 0


def test_a_call_that_nobody_waits_for_is_no_idleness(tmp_path):
    from Algorithmia.server.platform import Platform
    from Algorithmia.server.settings import Settings

    platform = Platform(Settings(home=tmp_path), "http://127.0.0.1:1")
    platform.activity.last -= 1000
    assert platform.idle_for() >= 1000
    platform.invoker._background.add(None)
    assert platform.idle_for() < 1000
    platform.activity.last -= 1000
    assert platform.idle_for() < 1000
    platform.invoker._background.clear()
    assert platform.idle_for() < 1000, "and it's as if a request had just ended"
    platform.activity.last -= 1000
    platform.async_calls._pending.add("req-1")  # one that an earlier start left, and that has not begun again
    assert platform.idle_for() < 1000


def test_status_stop_logs(home):
    status, out, _ = run(home, "local", "status")
    assert status == 0 and "not running" in out
    run(home, "ls")
    status, out, _ = run(home, "local", "status")
    assert status == 0 and "http://127.0.0.1:" in out
    assert "serving" in run(home, "local", "logs")[1]
    assert run(home, "local", "stop")[0] == 0
    assert local.running(platform_home(home)) is None


def test_a_platform_that_cannot_start_says_why(home):
    state = home / ".algorithmia" / "platform"
    state.mkdir(parents=True)
    (state / "platform.db").write_text("this is no database, whatever it is called" * 100)
    status, out, err = run(home, "ls")
    assert status != 0 and out == "" and "Traceback" not in err
    assert "did not start" in err and "platform.db" in err


def test_a_relative_home_is_the_same_one_for_both(home):
    code = "import Algorithmia; print(Algorithmia.client().algo('demo/Hello').pipe('HAL').result)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(home, ALGORITHMIA_HOME=".algorithmia"),
        cwd=home,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.returncode) == ("Hello HAL\n", 0), done.stderr
    assert (home / ".algorithmia" / "platform" / "platform.db").exists()


@pytest.mark.parametrize("name", ["what?mode=ro#x", "a b%41 \N{GREEK SMALL LETTER PI}"])
def test_a_home_may_be_called_anything(tmp_path, name):
    place = tmp_path / name
    place.mkdir()
    server = Server(place)
    try:
        assert server.client().algo("demo/Hello").pipe("x").result == "Hello x"
    finally:
        server.stop()
    assert (place / "platform" / "platform.db").exists()


@pytest.mark.parametrize("blocked", ["", "platform", "platform/start.lock/x", "platform/logs"])
def test_a_home_that_cannot_be_used_is_one_message(tmp_path, blocked):
    place = tmp_path / ".algorithmia" / blocked
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("")
    status, out, err = run(tmp_path, "ls")
    assert status != 0
    assert out == "" and "Traceback" not in err
    assert str(tmp_path) in err


@pytest.mark.parametrize(
    ("blocked", "arguments", "said"),
    [
        ("", (), "Not a directory"),
        ("platform", (), "platform"),
        ("platform/blobs", (), "blobs"),
        ("platform/work", (), "did not start"),
        ("platform/server.lock/x", (), "server.lock: Is a directory"),
        ("platform/platform.db/x", (), "platform.db: Is a directory"),
        (".config.lock/x", (), ".config.lock: Is a directory"),
        (None, ("--user", "bad name!"), "bad name!"),
        (None, ("--port", "99999"), "--port 99999"),
        (None, ("--database", "nonsense"), "--database"),
        (None, ("--database", "nope://x"), "--database"),
        (None, ("--host", "x" * 70), "can't listen"),
    ],
)
def test_serve_says_in_one_line_why_it_cannot(tmp_path, blocked, arguments, said):
    place = tmp_path / "home"
    if blocked is not None:
        (place / blocked).parent.mkdir(parents=True, exist_ok=True)
        (place / blocked).write_text("")
    command = [sys.executable, "-m", "Algorithmia.server.main", "--home", str(place), "--port", "0", *arguments]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, timeout=60)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and done.stdout == ""
    assert last.startswith("algo serve: ") and said in last
    assert "\nTraceback" not in "\n" + done.stderr


def test_serve_as_a_user_without_a_name(tmp_path, monkeypatch):
    from Algorithmia.server import main

    def nobody():
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr(main.getpass, "getuser", nobody)
    assert main.account_name(main._operating_system_user()) == f"user_{os.getuid()}"


def test_the_case_of_the_users_name_makes_no_new_keys(tmp_path):
    keys = []
    for user in ("tester", "Tester"):
        server = Server(tmp_path, user=user)
        keys.append(server.key)
        assert server.client().username() == "tester"
        server.stop()
    assert keys[0] == keys[1]


def test_serve_takes_over_from_the_background_platform(home):
    run(home, "mkdir", ".my/kept")
    background = local.running(platform_home(home))
    server = Server(home / ".algorithmia", user="tester")
    try:
        assert not alive(background["pid"])
        assert local.running(platform_home(home))["background"] is False
        status, out, _ = run(home, "run", "demo/Hello", "-d", "x")
        assert (status, out) == (0, "Hello x\n"), "commands without configuration use the one in the foreground"
    finally:
        server.stop()


def test_two_in_the_foreground_are_one_too_many(start_server):
    first = start_server()
    second = subprocess.run(
        [sys.executable, "-m", "Algorithmia.server.main", "--home", first.home, "--port", "0"],
        env=environment(first.home), capture_output=True, text=True, timeout=60,
    )
    assert second.returncode == 1
    assert "already runs at " + first.address in second.stderr and "algo local stop" in second.stderr


def test_a_port_in_use_is_an_error_that_names_it(start_server, tmp_path):
    port = start_server().address.rpartition(":")[2]
    second = subprocess.run(
        [sys.executable, "-m", "Algorithmia.server.main", "--home", str(tmp_path), "--port", port],
        env=environment(tmp_path), capture_output=True, text=True, timeout=60,
    )
    assert second.returncode == 1 and f":{port}" in second.stderr and "Traceback" not in second.stderr


def test_first_start_makes_account_and_profiles(start_server):
    server = start_server(user="ada")
    path = os.path.join(server.home, "config")
    profiles = config.load_profiles(path)
    assert set(profiles) == {"local", "local-admin"}
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert server.client().username() == "ada"
    assert len(server.key) == 28 and server.key.startswith("sim") and server.key != server.admin_key
    state = Path(server.home) / "platform"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    secrets = (server.key.encode(), server.admin_key.encode())
    for file in state.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(secret in content for secret in secrets), f"a key lies in {file}"
    assert not any(secret.decode() in server.log() for secret in secrets)


def test_a_lost_profile_is_made_again(start_server):
    first = start_server(user="ada")
    first.client().dir("data://.my/kept").create()
    first.stop()
    os.unlink(os.path.join(first.home, "config"))
    second = start_server(home=first.home, user="ada")
    assert second.client().dir("data://.my/kept").exists()
    assert second.key != first.key


def test_keys_survive_a_restart(start_server):
    first = start_server()
    first.stop()
    second = start_server(home=first.home)
    assert second.key == first.key and second.client(first.key).username() == "tester"


def test_shutdown_lets_calls_in_flight_finish(start_server):
    server = start_server()
    results = []
    thread = threading.Thread(target=lambda: results.append(server.client().algo("util/Sleep").pipe(1.5).result))
    thread.start()
    health = server.client()
    wait_for(lambda: json.loads(health.request("GET", "/health").data).get("engine", {}).get("busy", 0) >= 1)
    assert server.stop() == 0
    thread.join()
    assert results == [{"slept": 1.5}]
    with pytest.raises(errors.UnreachableError):
        server.client(retries=0).username()


def test_shutdown_tells_the_calls_that_it_ends(start_server):
    server = start_server("--port", "0", "--shutdown-timeout", "1")
    raised = []

    def sleep():
        try:
            server.client(retries=0).algo("util/Sleep").pipe(60)
        except errors.ApiError as error:
            raised.append(error)

    thread = threading.Thread(target=sleep)
    thread.start()
    health = server.client()
    wait_for(lambda: json.loads(health.request("GET", "/health").data).get("engine", {}).get("busy", 0) >= 1)
    assert server.stop() == 0
    thread.join()
    assert raised[0].status == 503 and "shutting down" in str(raised[0])
    assert "Traceback" not in server.log()


def test_no_process_outlives_the_platform(start_server):
    server = start_server()
    server.client().algo("util/Echo").pipe("x")
    children = children_of(server.process.pid)
    assert children
    server.stop()
    assert not any(alive(pid) for pid in children)


def test_workers_end_when_the_platform_is_killed(start_server):
    server = start_server()
    sleep = server.client().algo("util/Sleep")
    thread = threading.Thread(target=lambda: pytest.raises(errors.ApiError, sleep.pipe, 60))
    thread.start()
    wait_for(lambda: children_of(server.process.pid))
    children = children_of(server.process.pid)
    server.kill()
    thread.join()
    wait_for(lambda: not any(alive(pid) for pid in children))


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_tls(start_server, tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate),
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )
    server = start_server("--port", "0", "--tls-cert", str(certificate), "--tls-key", str(key))
    assert server.address.startswith("https://")
    trusting = Algorithmia.Client(server.key, server.address, str(certificate))
    assert trusting.algo("demo/Hello").pipe("x").result == "Hello x"
    assert trusting.algo("util/Call").pipe({"algo": "demo/Hello", "input": "y"}).result == "Hello y"
    assert Algorithmia.Client(server.key, server.address, False).username() == "tester"
    with pytest.raises(errors.UnreachableError) as caught:
        Algorithmia.Client(server.key, server.address, retries=0).username()
    assert "certificate" in str(caught.value) and "ca_cert" in str(caught.value)


def test_listening_beyond_loopback_without_tls_is_warned_about(start_server):
    server = start_server("--host", "0.0.0.0", "--port", "0")
    assert "not encrypted" in server.log().replace("\n", " ") and "--tls-cert" in server.log()
    assert server.client().username() == "tester"


def test_the_log_has_request_ids_and_no_payloads(start_server):
    server = start_server()
    body = b"a very private input"
    response = server.client().request("POST", "/v1/algo/demo/Hello", body=body, content_type="text/plain")
    request_id = response.headers["X-Request-Id"]
    with pytest.raises(errors.AlgorithmException):
        server.client().algo("util/Fail").pipe("private, too")
    server.stop()
    lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line.get("request_id") == request_id]
    assert line["status"] == 200 and line["account"] == "tester" and line["path"] == "/v1/algo/demo/Hello"
    assert "private" not in server.log() and server.key not in server.log()


def test_administering_starts_it_too(home):
    run(home, "ls")
    local.stop(platform_home(home))
    status, out, err = run(home, "users", "add", "ada")
    assert status == 0 and out.startswith("sim") and "Made the account ada" in err
