"""One measured client in a process of its own: ``drivers.py NAME ADDRESS KEY``.

Reads commands from standard input and answers each with one line:

    calls N       median seconds per call of N calls, one after another
    threads T N   calls per second of N calls shared by T threads

Uses the standard library and the measured package only: it runs in every contender's own environment.
"""

import json
import sys
import threading
import time

PATH = "/v1/algo/demo/Echo?timeout=300&stdout=false"
TEXT = "benchmark"


def algorithmia(address, key):
    """`pipe()`, ours or the old client's: whichever this interpreter imports."""
    import Algorithmia

    algo = Algorithmia.client(key, address).algo("demo/Echo")
    return lambda: algo.pipe(TEXT).result


def requests_session(address, key):
    import requests

    session = requests.Session()
    headers = _headers(key)
    return lambda: session.post(address + PATH, data=TEXT.encode("utf-8"), headers=headers).json()["result"]


def httpx_client(address, key):
    import httpx

    client = httpx.Client()
    headers = _headers(key)
    return lambda: client.post(address + PATH, content=TEXT.encode("utf-8"), headers=headers).json()["result"]


def urllib3_pool(address, key):
    import urllib3

    pool = urllib3.PoolManager(maxsize=32)
    headers = _headers(key)

    def call():
        response = pool.request("POST", address + PATH, body=TEXT.encode("utf-8"), headers=headers)
        return json.loads(response.data)["result"]

    return call


def http_client(address, key):
    import http.client

    connection = http.client.HTTPConnection(address.rpartition("/")[2])
    headers = _headers(key)

    def call():
        connection.request("POST", PATH, TEXT.encode("utf-8"), headers)
        return json.loads(connection.getresponse().read())["result"]

    return call


def _headers(key):
    return {"Authorization": key, "Content-Type": "text/plain; charset=utf-8"}


DRIVERS = {
    "ours": algorithmia,
    "old client": algorithmia,
    "requests": requests_session,
    "httpx": httpx_client,
    "urllib3": urllib3_pool,
    "http.client": http_client,
}


def checked(call):
    if call() != TEXT:
        raise SystemExit("the echo is not what was sent")


def median_of_calls(call, count):
    clock = time.perf_counter
    checked(call)
    times = []
    for _ in range(count):
        started = clock()
        result = call()
        times.append(clock() - started)
        assert result == TEXT
    times.sort()
    return times[len(times) // 2]


def calls_per_second(call, threads, count):
    share = count // threads
    failures = []
    barrier = threading.Barrier(threads + 1)

    def work():
        try:
            checked(call)  # connects
            barrier.wait()
            for _ in range(share):
                if call() != TEXT:
                    raise ValueError("the echo is not what was sent")
        except Exception as problem:  # reported below, by the main thread
            failures.append(problem)
            barrier.abort()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    barrier.wait()
    started = time.perf_counter()
    for worker in workers:
        worker.join()
    elapsed = time.perf_counter() - started
    if failures:
        raise failures[0]
    return share * threads / elapsed


def main():
    name, address, key = sys.argv[1:]
    call = DRIVERS[name](address, key)
    for line in sys.stdin:
        verb, *numbers = line.split()
        figure = (median_of_calls if verb == "calls" else calls_per_second)(call, *map(int, numbers))
        print(repr(figure), flush=True)


if __name__ == "__main__":
    main()
