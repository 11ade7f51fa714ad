"""Algorithms that use the key that they were given for what it isn't meant for."""

import json
import os
import time
import urllib.error
import urllib.request

API, KEY = os.environ["ALGORITHMIA_API"], os.environ["ALGORITHMIA_API_KEY"]


def _ask(method, path, body=None, key=KEY):
    """``(status, document)`` of a request to the platform."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(API + path, data, method=method)
    request.add_header("Content-Type", "application/json")
    if key is not None:
        request.add_header("Authorization", key)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read() or b"null")
    except urllib.error.HTTPError as problem:
        return problem.code, json.loads(problem.read() or b"null")


def tells_its_key(path):
    """Its key, for whoever may use it later; and that it works now."""
    return {"key": KEY, "status": _ask("GET", path)[0]}


def keeps_its_key(path):
    """A daemon that goes on asking after the call; the answers that it has had so far."""
    if not os.path.exists("/tmp/statuses"):
        open("/tmp/statuses", "w").close()
        if os.fork() == 0:
            os.setsid()
            while True:
                status = _ask("GET", path)[0]
                with open("/tmp/statuses", "a") as handle:
                    handle.write("%d\n" % status)
                time.sleep(0.02)
    with open("/tmp/statuses") as handle:
        return sorted({int(line) for line in handle if line.endswith("\n")})


def asks_for_others(requests):
    """Requests about what belongs to others; the status of each."""
    return {"%s %s" % (method, path): _ask(method, path, body)[0] for method, path, body in requests}


def acts_for_its_caller(requests):
    """Requests that its caller could make, but that a call is no permission for."""
    return asks_for_others(requests)


def guesses_keys(guesses):
    """Keys that might be somebody's, its own included with a letter changed."""
    own = [KEY[:-1] + ("x" if KEY[-1] != "x" else "y"), KEY[:-1], KEY + "x", KEY.upper(), KEY.swapcase()]
    keys = [None, "", "Simple", "Bearer null", *own, *guesses]
    return sorted({_ask("GET", "/v1/connector/data/.my", key=key)[0] for key in keys})


def calls_others(reference):
    """Another algorithm; the answer's status and message."""
    status, document = _ask("POST", "/v1/algo/" + reference, "x")
    return [status, document["error"]["message"]] if "error" in document else [status, document["result"]]


def greets(input):
    """No harm: somebody must be called."""
    return "hello"


def calls_itself(input):
    """A chain without end; how long it became, and what ended it."""
    status, document = _ask("POST", "/v1/algo/" + input["reference"], dict(input, depth=input["depth"] + 1))
    if status != 200:
        return [input["depth"], status]
    return document["result"]


def calls_often(reference):
    """One call after the other; how many there were, and what ended it."""
    for count in range(1000):
        status = _ask("POST", "/v1/algo/" + reference, "x")[0]
        if status != 200:
            return [count, status]
