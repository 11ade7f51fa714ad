"""Calls with output=void run once they are acknowledged, whatever becomes of the platform. Real servers, killed."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from managed import Answer, Manager
from platforms import Server, new_key

PATIENCE = 90.0

# Leaves a mark whenever it begins, and ends when it may.
MARKING = """
import Algorithmia, os, time, uuid
def apply(input):
    client = Algorithmia.client()
    client.file('data://.my/marks/%s.{name}.%s' % (input['token'], uuid.uuid4().hex)).put('x')
    while input.get('waits') and not client.file('data://.my/marks/go').exists():
        time.sleep(0.1)
    return input['token']
"""
# Calls itself, and says how often that was possible.
RECURSIVE = """
import Algorithmia
def apply(input):
    try:
        return 1 + Algorithmia.client().algo('OWNER/NAME/0.1.0').pipe(input).result
    except Algorithmia.errors.BadRequestError as problem:
        Algorithmia.client().file('data://.my/marks/refusal').put(str(problem))
        return 1
"""
# Calls another and doesn't wait; hands out its key.
PARENT = """
import Algorithmia, os
def apply(input):
    algo = Algorithmia.client().algo(input['child'])
    algo.set_options(output=Algorithmia.algorithm.OutputType.void).pipe(input)
    return os.environ['ALGORITHMIA_API_KEY']
"""
# Tells its key and whether it may call on, whenever it begins, and ends when it may.
CHILD = """
import Algorithmia, os, time, uuid
def apply(input):
    client = Algorithmia.client()
    try:
        client.algo('util/Echo').pipe('x')
        depth = 'free'
    except Algorithmia.errors.BadRequestError:
        depth = 'last'
    name = 'data://.my/marks/child.%s.%s' % (depth, uuid.uuid4().hex)
    client.file(name).put(os.environ['ALGORITHMIA_API_KEY'])
    while not client.file('data://.my/marks/go').exists():
        time.sleep(0.1)
"""

# Goes on once the platform is being stopped, and asks it for two things then.
LATE = """
import Algorithmia, os, time, urllib.error, urllib.request
def apply(input):
    client = Algorithmia.client()
    client.file('data://.my/marks/' + input['token']).put('x')
    while True:
        try:
            urllib.request.urlopen(os.environ['ALGORITHMIA_API'] + '/health').close()
        except urllib.error.HTTPError as problem:
            if problem.code != 503:
                raise
            break
        except OSError:
            pass  # asked at the moment at which what listened was exchanged
        time.sleep(0.05)
    if input['then'] == 'fail':
        raise ValueError('of its own accord')
    if input['then'] == 'exit':
        os._exit(3)
    client = Algorithmia.client()
    client.file('data://.my/marks/%s.late' % input['token']).put('x')
    return client.algo('util/Echo').pipe(input['token']).result
"""


class Site:
    """A platform that is started again and again, and an account with a collection for marks."""

    def __init__(self, start: Callable[..., Server], *flags: str) -> None:
        self._start, self._flags = start, flags
        self.server = start("--port", "0", *flags)
        self.me = Manager(self.server)
        self.make_marks(self.me)

    @staticmethod
    def make_marks(account: Manager) -> None:
        account.send("POST", "/v1/data/.my", {"name": "marks"}).ok

    def restart(self) -> None:
        """Start on the same state; the earlier server must have ended."""
        self.server = self.me.server = self._start("--port", "0", *self._flags, home=self.server.home)

    def publish(self, code: str) -> str:
        """Publish an algorithm of this code, in which NAME and OWNER are its own; the name."""
        name = self.me.create()
        self.deploy(name, code)
        return name

    def deploy(self, name: str, code: str) -> None:
        code = code.replace("OWNER", self.me.name).replace("NAME", name)
        build = self.me.deploy(name, code)
        assert build["status"] == "succeeded", build
        self.me.publish(name, {"algorithm_callability": "public"}, version_type="minor").ok

    def submit(self, name: str, value: Any, account: Manager | None = None) -> str:
        """Call without waiting; the request id."""
        answer = (account or self.me).send("POST", f"/v1/algo/{self.me.name}/{name}?output=void", value)
        document: dict[str, str] = answer.ok
        assert document == {"async": "void", "request_id": answer.headers["x-request-id"]}
        return document["request_id"]

    def marks(self, account: Manager | None = None) -> list[str]:
        return [file["filename"] for file in (account or self.me).send("GET", "/v1/data/.my/marks").ok.get("files", [])]

    def go(self) -> None:
        """Let all that wait end."""
        self.me.send("PUT", "/v1/data/.my/marks/go", b"x").ok

    def errors(self, name: str) -> dict[str, dict[str, str]]:
        """The list of errors of an algorithm, by request id."""
        return {entry["request_id"]: entry for entry in self.me.send("GET", self.me.path(name) + "/errors").ok}

    @property
    def pending(self) -> int:
        return int(self.me.send("GET", "/health", key="").ok["async_calls"]["pending"])

    def wait_until_done(self) -> None:
        wait_for(lambda: self.pending == 0)

    def rows(self) -> list[dict[str, Any]]:
        """What lies in the table, as another process sees it."""
        with self.database() as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute("SELECT * FROM async_calls")]

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        path = Path(self.server.home, "platform", "platform.db")
        with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
            yield connection


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it doesn't come to pass"
        time.sleep(0.05)


@pytest.fixture
def new_site(start_server: Callable[..., Server]) -> Callable[..., Site]:
    return lambda *flags: Site(start_server, *flags)


def test_no_acknowledged_call_is_lost(new_site: Callable[..., Site]) -> None:
    """kill -9 while calls are being acknowledged, again and again."""
    site = new_site("--max-concurrent-calls", "1000", "--page-size", "10000")
    name = site.publish(MARKING.replace("{name}", "v"))
    acknowledged: list[str] = []

    def submit(token: str) -> None:
        try:
            site.submit(name, {"token": token})
        except OSError:  # the server was killed before it could answer
            return
        acknowledged.append(token)

    for round_number in range(2):  # what is begun a third time may be given up
        before = len(acknowledged)
        with ThreadPoolExecutor(8) as threads:
            for number in range(60):
                threads.submit(submit, f"r{round_number}c{number}")
            wait_for(lambda before=before: len(acknowledged) >= before + 40)
            site.server.kill()
        assert site.rows()  # or else the test shows nothing
        site.restart()
    site.wait_until_done()
    runs = Counter(mark.partition(".")[0] for mark in site.marks())
    assert set(acknowledged) <= set(runs)
    assert max(runs.values()) <= 3 and not site.errors(name) and not site.rows()


def test_a_call_that_outlives_shutdown_runs_at_the_next_start(new_site: Callable[..., Site]) -> None:
    site = new_site("--shutdown-timeout", "1")
    name = site.publish(MARKING.replace("{name}", "v"))
    for token in ("a", "b"):
        site.submit(name, {"token": token, "waits": True})
    for attempt in (1, 2):
        wait_for(lambda attempt=attempt: len(site.marks()) == 2 * attempt)
        assert site.pending == 2 and {row["attempts"] for row in site.rows()} == {1}
        assert site.server.stop() == 0
        assert {row["attempts"] for row in site.rows()} == {0}
        site.restart()
    wait_for(lambda: len(site.marks()) == 6)
    site.go()
    site.wait_until_done()
    assert site.rows() == [] and site.errors(name) == {}


# In a sandbox, workers may have a way of their own to the platform.
@pytest.mark.parametrize("flags", ["--sandbox auto", "--sandbox off", "--sandbox off --gateways 1"])
def test_algorithms_reach_the_platform_while_it_stops(new_site: Callable[..., Site], flags: str) -> None:
    """Calls in flight end as they would have; what fails by itself is not run again, what was killed is."""
    site = new_site(*flags.split())
    name = site.publish(LATE)
    kinds = ("well", "fail", "exit")
    ids = {kind: site.submit(name, {"token": kind, "then": kind}) for kind in kinds}
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(site.me.call, f"{site.me.name}/{name}", {"token": "sync", "then": "well"})
        wait_for(lambda: set(site.marks()) == {*kinds, "sync"})
        assert site.server.stop() == 0
        assert waiting.result().ok["result"] == "sync"
    assert [(row["request_id"], row["attempts"]) for row in site.rows()] == [(ids["exit"], 0)]
    assert "Traceback" not in site.server.log()
    site.restart()
    assert set(site.marks()) == {*kinds, "sync", "sync.late", "well.late"}
    [(failed, entry)] = site.errors(name).items()
    assert failed == ids["fail"] and "of its own accord" in entry["error"]
    wait_for(lambda: [row["attempts"] for row in site.rows()] == [1])
    site.server.kill()


def test_a_call_that_no_server_survives_is_given_up(new_site: Callable[..., Site]) -> None:
    site = new_site()
    name = site.publish(MARKING.replace("{name}", "v"))
    request_id = site.submit(name, {"token": "a", "waits": True})
    for attempt in (1, 2, 5):
        wait_for(lambda attempt=attempt: [row["attempts"] for row in site.rows()] == [attempt])
        site.server.kill()
        if attempt == 2:
            with site.database() as connection:
                connection.execute("UPDATE async_calls SET attempts = 4")
        site.restart()
    site.wait_until_done()
    [(found, entry)] = site.errors(name).items()
    assert found == request_id and entry["error_type"] == "SystemError" and entry["algoversion"] == "0.1.0"
    assert "has been given up: it was begun 5 times" in entry["error"]
    assert site.rows() == []


def test_the_last_attempt_of_a_call_is_made_alone(new_site: Callable[..., Site]) -> None:
    """No account's call is given up only because it ran beside another's that brings the platform down."""
    site = new_site()
    others = [Manager(site.server) for _ in range(2)]
    for account in others:
        site.make_marks(account)
    name = site.publish(MARKING.replace("{name}", "v"))
    culprit = site.submit(name, {"token": "culprit", "waits": True})
    innocent = site.submit(name, {"token": "innocent", "waits": True}, others[0])
    young = site.submit(name, {"token": "young", "waits": True}, others[1])

    def restart() -> None:
        site.server.kill()
        site.restart()
        for account in others:
            account.server = site.server

    def attempts() -> dict[str, int]:
        return {row["request_id"]: row["attempts"] for row in site.rows()}

    wait_for(lambda: len(attempts()) == 3)
    site.server.kill()
    with site.database() as connection:
        connection.execute("UPDATE async_calls SET attempts = 4 WHERE request_id <> ?", [young])
    restart()
    # While one runs that has more attempts, the others wait; then the older of them begins.
    wait_for(lambda: attempts() == {culprit: 4, innocent: 4, young: 2} and site.marks(others[1]))
    assert attempts() == {culprit: 4, innocent: 4, young: 2}
    others[1].send("PUT", "/v1/data/.my/marks/go", b"x").ok
    wait_for(lambda: attempts() == {culprit: 5, innocent: 4})
    assert site.pending == 2
    restart()
    wait_for(lambda: attempts() == {innocent: 5})
    others[0].send("PUT", "/v1/data/.my/marks/go", b"x").ok
    site.wait_until_done()
    assert list(site.errors(name)) == [culprit] and site.rows() == []


def test_what_a_call_keeps_over_a_restart(new_site: Callable[..., Site]) -> None:
    """Its version and its depth; not its key, if that has been deleted, and then it doesn't run."""
    site = new_site("--max-call-depth", "2")
    me = site.me
    pinned = site.publish(MARKING.replace("{name}", "first"))
    parent, child = site.publish(PARENT), site.publish(CHILD)
    other_key, _ = new_key(site.server, me.name)
    site.submit(pinned, {"token": "kept", "waits": True})
    deleted = me.send("POST", f"/v1/algo/{me.name}/{pinned}?output=void", {"token": "key", "waits": 1}, key=other_key)
    parents_key = me.call(f"{me.name}/{parent}", {"child": f"{me.name}/{child}"}).ok["result"]
    wait_for(lambda: len(site.marks()) == 3)
    # The parent's call has ended: its key is nobody's, though its child still runs. The child's is the caller's.
    assert "while its algorithm runs" in me.send("GET", "/v1/data/.my/marks", key=parents_key).refused(401)
    [childs_mark] = [mark for mark in site.marks() if mark.startswith("child.")]
    assert childs_mark.startswith("child.last.")
    childs_key = me.send("GET", f"/v1/data/.my/marks/{childs_mark}").body.decode()
    assert me.send("GET", "/v1/data/.my/marks", key=childs_key).ok
    assert sorted(row["depth"] for row in site.rows()) == [1, 1, 2]

    site.deploy(pinned, MARKING.replace("{name}", "second"))
    admin = site.server.client(site.server.admin_key)
    keys = admin.request("GET", f"/v1/users/{me.name}/keys").json()
    newest = max(keys["results"] if isinstance(keys, dict) else keys, key=lambda key: key["created_at"])
    admin.request("DELETE", f"/v1/users/{me.name}/keys/{newest['id']}")
    me.send("GET", "/v1/data/.my/marks", key=other_key).refused(401)
    site.server.kill()
    site.restart()

    wait_for(lambda: len(site.marks()) == 5)
    me.send("GET", "/v1/data/.my/marks", key=childs_key).refused(401)  # it died with that server
    site.go()
    site.wait_until_done()
    kinds = Counter(mark.rpartition(".")[0] for mark in site.marks())
    assert kinds == {"kept.first": 2, "key.first": 1, "child.last": 2, "": 1}
    [(request_id, entry)] = site.errors(pinned).items()
    assert request_id == deleted.headers["x-request-id"]
    assert "was not run after a restart of the platform: the API key that made it has been deleted" in entry["error"]
    for mark in site.marks():
        if mark.startswith("child."):
            key = me.send("GET", f"/v1/data/.my/marks/{mark}").body.decode()
            me.send("GET", "/v1/data/.my/marks", key=key).refused(401)


def test_accounts_take_turns_and_not_all_begin_at_once(new_site: Callable[..., Site]) -> None:
    site = new_site("--max-workers", "6")
    other = Manager(site.server)
    site.make_marks(other)
    name = site.publish(MARKING.replace("{name}", "v"))
    for number in range(12):
        site.submit(name, {"token": f"a{number}", "waits": True})
    for number in range(3):
        site.submit(name, {"token": f"b{number}", "waits": True}, other)
    site.server.kill()
    site.restart()
    other.server = site.server

    def begun() -> Counter[str]:
        return Counter(row["account_id"] for row in site.rows() if row["attempts"] == 2)

    wait_for(lambda: begun().total() == 9)
    assert sorted(begun().values()) == [3, 6]
    assert site.pending == 15
    site.go()
    other.send("PUT", "/v1/data/.my/marks/go", b"x").ok
    site.wait_until_done()
    assert site.rows() == [] and site.errors(name) == {}


def test_what_cannot_be_stored_is_not_acknowledged(new_site: Callable[..., Site]) -> None:
    site = new_site()
    name = site.publish(MARKING.replace("{name}", "v"))
    for words in ("the disk is broken", "database or disk is full"):
        with site.database() as connection:
            connection.execute(
                "CREATE TRIGGER broken BEFORE INSERT ON async_calls WHEN instr(CAST(NEW.body AS TEXT), 'unlucky') "
                f"BEGIN SELECT RAISE(ABORT, '{words}'); END"
            )
        with ThreadPoolExecutor(8) as threads:  # written together with others, which don't suffer
            tokens = [f"{word}{number}" for number in range(10) for word in ("unlucky", "lucky")]
            path = f"/v1/algo/{site.me.name}/{name}?output=void"
            answers = list(threads.map(lambda token: site.me.send("POST", path, {"token": token}), tokens))
        for token, answer in zip(tokens, answers, strict=True):
            if token.startswith("lucky"):
                assert answer.ok["async"] == "void"
            else:
                assert "the call was not accepted" in answer.refused(503)
        with site.database() as connection:
            connection.execute("DROP TRIGGER broken")
    assert "unlucky" not in site.server.log()  # no payload gets into the log that way
    # The end of a call that can't be stored at first is stored later.
    with site.database() as connection:
        connection.execute("CREATE TRIGGER kept BEFORE DELETE ON async_calls BEGIN SELECT RAISE(ABORT, 'no'); END")
    site.submit(name, {"token": "later"})
    wait_for(lambda: any(mark.startswith("later") for mark in site.marks()))
    wait_for(lambda: "the end of an async call could not be stored" in site.server.log())
    assert site.pending
    with site.database() as connection:
        connection.execute("DROP TRIGGER kept")
    site.wait_until_done()
    assert not any(mark.startswith("unlucky") for mark in site.marks()) and site.rows() == []


def test_refusals_and_failures(new_site: Callable[..., Site]) -> None:
    site = new_site("--max-concurrent-calls", "2")
    me = site.me
    name = site.publish(MARKING.replace("{name}", "v"))
    for token in ("a", "b"):
        site.submit(name, {"token": token, "waits": True})
    for query in ("", "?output=void"):  # those that run unattended count too
        answer: Answer = me.send("POST", f"/v1/algo/{me.name}/{name}{query}", {"token": "c"})
        assert "the limit is 2" in answer.refused(429)
        assert int(answer.headers["retry-after"]) >= 1
    metrics = me.send("GET", "/metrics", key=site.server.admin_key).body.decode()
    assert "\nalgorithmia_async_calls_pending 2\n" in metrics
    site.go()
    site.wait_until_done()
    wrong = {site.submit(name, b"{this is no JSON"): "InputError"}
    wrong[me.send("POST", "/v1/algo/util/Fail?output=void", "boom").ok["request_id"]] = ""
    site.wait_until_done()  # two is the limit
    wrong[site.submit(name, {"no": "token"})] = "AlgorithmError"
    site.wait_until_done()
    found = {request_id: entry["error_type"] for request_id, entry in site.errors(name).items()}
    assert found == {request_id: kind for request_id, kind in wrong.items() if kind}
    mine = me.send("GET", f"/v1/users/{me.name}/errors").ok
    assert {entry["request_id"] for entry in mine} == set(wrong)


def test_an_algorithm_that_calls_itself(server: Server) -> None:
    site = Site(lambda *arguments: server)
    me = site.me
    name = site.publish(RECURSIVE)
    assert me.call(f"{me.name}/{name}", "x").ok["result"] == 10
    refusal = me.send("GET", "/v1/data/.my/marks/refusal").body.decode()
    assert f"the call of algo://{me.name}/{name} is number 10 in a chain of algorithms" in refusal
    assert "--max-call-depth" in refusal


def test_inputs_of_all_kinds(new_site: Callable[..., Site]) -> None:
    """Inputs of every kind run again as they were sent."""
    site = new_site("--shutdown-timeout", "0.1")
    me = site.me
    name = site.publish(
        "import Algorithmia, time\n"
        "def apply(input):\n"
        "    client = Algorithmia.client()\n"
        "    kind = type(input).__name__ if isinstance(input, (str, dict)) else 'binary'\n"
        "    if not client.file('data://.my/marks/go').exists():\n"
        "        time.sleep(60)\n"
        "    client.file('data://.my/marks/' + kind).put(repr(bytes(input) if kind == 'binary' else input))\n"
    )
    inputs = {"str": (b"text \xe2\x82\xac", "text/plain"), "dict": (b'{"a": [1]}', "application/json")}
    inputs["binary"] = (bytes(range(256)) * 1000, "application/octet-stream")
    for body, kind in inputs.values():
        me.send("POST", f"/v1/algo/{me.name}/{name}?output=void", body, kind).ok
    site.go()
    site.server.stop()
    site.restart()
    site.wait_until_done()
    for kind, (body, _) in inputs.items():
        expected = {"str": "'text \u20ac'", "dict": "{'a': [1]}", "binary": repr(body)}[kind]
        assert me.send("GET", f"/v1/data/.my/marks/{kind}").body.decode() == expected
