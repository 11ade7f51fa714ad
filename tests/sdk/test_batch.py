"""Many calls at once: futures, ordered results, cancelling, and file objects as input."""
import io
import threading
import time

import pytest

from Algorithmia import errors

futures = pytest.importorskip("concurrent.futures", reason="on 2.7 it is a package of its own: futures")


def test_submit_gives_a_future(client):
    future = client.algo("demo/Hello").submit("HAL")
    assert isinstance(future, futures.Future)
    assert future.result(60).result == "Hello HAL" and future.done() and not future.cancelled()


def test_a_future_raises_what_pipe_raises(client):
    assert client.algo("util/Fail").submit("boom").exception(60).message == "boom"
    assert isinstance(client.algo("demo/Nothing").submit("x").exception(60), errors.NotFoundError)


def test_submit_keeps_the_options_of_its_moment(client):
    algo = client.algo("util/Echo").set_options(output="raw")
    future = algo.submit("x")
    algo.set_options()
    assert future.result(60) == "x"


def test_map_keeps_the_order_and_runs_side_by_side(client):
    algo = client.algo("util/Sleep")
    algo.pipe(0)
    seconds = [0.3, 0.2, 0.1, 0, 0.3, 0.1]
    assert [response.result for response in algo.map(seconds, concurrency=3)] == \
        [algo.pipe(value).result for value in seconds]


def test_map_takes_no_more_inputs_than_it_needs(client):
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield len(taken)

    results = client.algo("util/Echo").map(endless(), concurrency=2)
    assert [next(results).result for _ in range(5)] == [1, 2, 3, 4, 5]
    results.close()
    assert len(taken) <= 5 + 4


def test_map_raises_at_its_place_or_yields_the_error(client):
    algo = client.algo("util/Fail")
    with pytest.raises(errors.AlgorithmException, match="a"):
        list(algo.map(["a", "b"]))
    kinds = [type(error) for error in algo.map(["a", "b"], return_exceptions=True)]
    assert kinds == [errors.AlgorithmException] * 2


def test_map_reports_progress(client):
    counts = []
    list(client.algo("util/Echo").map(range(5), progress=counts.append))
    assert counts == [1, 2, 3, 4, 5]


def test_what_the_progress_function_raises_ends_the_map(client):
    def report(count):
        raise KeyError(count)

    with pytest.raises(KeyError):
        list(client.algo("util/Echo").map(range(50), concurrency=3, progress=report))
    with pytest.raises(KeyError):
        list(client.algo("util/Echo").map([1], progress=report))


def test_map_refuses_a_concurrency_that_makes_no_sense(client):
    with pytest.raises(ValueError, match="not 0"):
        client.algo("util/Echo").map([1], concurrency=0)


def test_map_of_nothing(client):
    assert list(client.algo("util/Echo").map([])) == []


def test_a_running_call_can_be_cancelled(client):
    algo = client.algo("util/Sleep")
    algo.pipe(0)
    future = algo.submit(60)
    while not future.running():
        time.sleep(0.01)
    time.sleep(0.3)
    assert future.cancel()
    with pytest.raises(futures.CancelledError):
        future.result(30)
    assert future.cancelled()
    assert algo.pipe(0).result == {"slept": 0}  # the client's connections are still good


def test_a_call_that_has_ended_cannot_be_cancelled(client):
    future = client.algo("util/Echo").submit(1)
    future.result(60)
    assert not future.cancel() and not future.cancelled()


def test_a_full_platform_is_asked_again(start_server):
    platform = start_server("--port", "0", "--max-concurrent-calls", "2")
    algo = platform.client().algo("util/Sleep")
    assert len(list(algo.map([0.02] * 6, concurrency=4))) == 6


def test_no_thread_is_left(client):
    list(client.algo("util/Echo").map(range(20), concurrency=4))
    deadline = time.time() + 10
    while any(thread.name == "algo-map" for thread in threading.enumerate()) and time.time() < deadline:
        time.sleep(0.01)
    assert not any(thread.name == "algo-map" for thread in threading.enumerate())


def test_file_objects_are_input(client, tmpdir):
    path = tmpdir.join("x.bin")
    path.write_binary(b"\x00\xff" * 300000)
    with open(str(path), "rb") as handle:
        handle.seek(2)
        response = client.algo("util/Echo").pipe(handle)
    assert response.result == b"\x00\xff" * 299999
    assert client.algo("util/Echo").pipe(io.StringIO(u"t\xe9xt")).result == u"t\xe9xt"
    assert client.algo("util/Echo").pipe(io.BytesIO(b"\xfe")).result == b"\xfe"
