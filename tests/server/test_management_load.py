"""Many clients that create, change, deploy, publish, call and delete the same few algorithms at once."""

from __future__ import annotations

import random
import threading
from typing import Any

from answers import Answer
from managed import ECHO, SETTINGS, Manager, project
from platforms import Server

_THREADS, _ROUNDS, _NAMES = 6, 40, 4


def act(me: Manager, choose: random.Random) -> Answer:
    """One request of many kinds."""
    name = choose.choice([f"Shared{number}" for number in range(_NAMES)])
    path = me.path(name)
    requests: list[tuple[int, Any]] = [
        (4, lambda: me.send("POST", f"/v1/algorithms/{me.name}", {"name": name, "settings": SETTINGS})),
        (1, lambda: me.send("DELETE", path)),
        (5, lambda: me.send("PUT", path + "/source", source(me, name, choose), "application/gzip")),
        (2, lambda: me.send("POST", path + "/compile", {})),
        (4, lambda: me.publish(name, sample_input="1")),
        (2, lambda: me.send("POST", path + "/secrets", {"secret_key": f"K{choose.randrange(3)}", "secret_value": "v"})),
        (5, lambda: me.call(f"{me.name}/{name}/0.1.0", 5)),
        (2, lambda: me.send("GET", path + "/versions")),
        (2, lambda: me.send("PUT", path, {"settings": {"network_access": choose.choice(["full", "isolated"])}})),
        (1, lambda: me.send("GET", path + "/log")),
        (1, lambda: me.send("GET", path)),
    ]
    (request,) = choose.choices([ask for _, ask in requests], [weight for weight, _ in requests])
    answer = request()
    assert isinstance(answer, Answer)
    return answer


def source(me: Manager, name: str, choose: random.Random) -> bytes:
    """One of a few sources of an algorithm, which all do the same."""
    return project(me.name, name, f"{ECHO}# {choose.randrange(4)}\n")


def test_no_request_is_answered_with_an_error_of_the_platform(server: Server) -> None:
    me = Manager(server)
    answers: list[Answer] = []
    problems: list[BaseException] = []

    def work(seed: int) -> None:
        choose = random.Random(seed)  # noqa: S311
        try:
            for _ in range(_ROUNDS):
                answers.append(act(me, choose))
        except BaseException as problem:
            problems.append(problem)
            raise

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems and len(answers) == _THREADS * _ROUNDS
    # Refused is what comes too early or too late; nothing is broken, and calls get what they ask for.
    assert {answer.status for answer in answers} <= {200, 201, 204, 404, 409}
    for entry in me.send("GET", f"/v1/users/{me.name}/algorithms").ok:
        path = me.path(entry["algoname"])
        assert me.send("POST", path + "/compile", {}).ok["compilation"]["output"]
        numbers = [
            version["version_info"]["semantic_version"]
            for version in me.send("GET", path + "/versions?published=true&limit=1000").ok["results"]
        ]
        assert len(set(numbers)) == len(numbers)
        for number in numbers[:3]:
            # Some versions are of the template, which says hello.
            found = me.call(f"{me.name}/{entry['algoname']}/{number}", number).ok["result"]
            assert found in (number, f"hello {number}")
