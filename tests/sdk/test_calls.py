# -*- coding: utf-8 -*-
"""Calling algorithms through the SDK, against the platform."""
import base64
import threading

import pytest

import Algorithmia
from Algorithmia import errors
from Algorithmia.algo_response import AlgoResponse, Metadata
from Algorithmia.algorithm import OutputType
from Algorithmia.errors import AlgorithmException

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def test_hello(client):
    response = client.algo("demo/Hello").pipe("HAL 9000")
    assert response.result == "Hello HAL 9000"
    assert response.metadata.content_type == "text" and response.metadata.duration >= 0
    assert response.metadata.stdout is None
    assert response.metadata["content_type"] == response.metadata.full_metadata["content_type"]


VALUES = [u"ünï", [1, 2.5, None, True, {"a": u"ü"}], {"big": 12345678901234567890123}, None, 7, "", [], {}]


@pytest.mark.parametrize("value", VALUES)
def test_values_come_back(client, value):
    assert client.algo("util/Echo").pipe(value).result == value


def test_binary_comes_back(client):
    data = bytearray(range(256)) * 100
    response = client.algo("util/Echo").pipe(data)
    assert response.result == bytes(data) and response.metadata.content_type == "binary"


def test_raw_output(client):
    algo = client.algo("util/Echo").set_options(output=OutputType.raw)
    assert algo.pipe(u"ünï") == u"ünï"
    assert algo.pipe([1, 2]) == "[1,2]" or algo.pipe([1, 2]) == "[1, 2]"
    assert algo.pipe(bytearray(b"\xff\x00")) == b"\xff\x00"


def test_void_output(client):
    response = client.algo("demo/Hello").set_options(output=OutputType.void).pipe("x")
    assert response.async_protocol == "void" and response.request_id.startswith("req-")


@pytest.mark.parametrize("version", ["0.1.0", "0.1.*", "0.*", "latest", ""])
def test_versions(client, version):
    assert client.algo("demo/Hello/" + version).pipe("x").result == "Hello x"


def test_an_algorithm_that_fails(client):
    with pytest.raises(AlgorithmException) as caught:
        client.algo("util/Fail").pipe({"message": "boom", "error_type": "UnsupportedError"})
    error = caught.value
    assert type(error) is AlgorithmException
    assert error.message == "boom" and error.error_type == "UnsupportedError"
    assert "Fail.py" in error.stack_trace and "boom" in str(error)


def test_an_algorithm_that_is_not_there(client):
    with pytest.raises(errors.NotFoundError) as caught:
        client.algo("util/whoopsWrongAlgo").pipe("x")
    assert "algorithm algo://util/whoopsWrongAlgo not found" in str(caught.value)
    assert isinstance(caught.value, AlgorithmException)


def test_a_wrong_key(server):
    with pytest.raises(errors.AuthenticationError):
        server.client("simNOTAKEY00000000000000000000").algo("demo/Hello").pipe("x")


def test_a_key_that_may_not_call(new_account):
    account = new_account(allow_algo=True, algo_acl=["algo://util/*"])
    assert account.client.algo("util/Echo").pipe("x").result == "x"
    with pytest.raises(errors.PermissionDeniedError):
        account.client.algo("demo/Hello").pipe("x")


def test_standard_output(client):
    response = client.algo("util/Print").set_options(stdout=True).pipe("some words")
    assert "some words" in response.metadata.stdout


def test_time_limit(client):
    with pytest.raises(AlgorithmException) as caught:
        client.algo("util/Sleep").set_options(timeout=1).pipe(30)
    assert caught.value.error_type == "TimeoutError"


def test_an_algorithm_that_calls_another(client):
    assert client.algo("util/Call").pipe({"algo": "demo/Hello", "input": "HAL"}).result == "Hello HAL"


def test_an_algorithm_that_reads_and_writes_data(client, collection):
    collection.file("in").put("content")
    source, target = str(collection.uri + "/in"), str(collection.uri + "/out")
    client.algo("util/CopyData").pipe({"source": source, "target": target})
    assert collection.file("out").getString() == "content"


def test_the_algorithms_own_folder(client, collection):
    collection.file("in").put("content")
    client.algo("util/CopyData").pipe({"source": str(collection.uri + "/in"), "target": "data://.algo/temp/out"})
    assert client.file("data://.algo/util/CopyData/temp/out").getString() == "content"


def test_too_large_an_input(client):
    with pytest.raises(errors.TooLargeError) as caught:
        client.algo("util/Echo").pipe(bytearray(10 * 1024 * 1024 + 1))
    assert "Data API" in str(caught.value) or "data://" in str(caught.value)


def test_defect_07_one_algorithm_object_in_many_threads(client):
    algo = client.algo("util/Echo")
    wrong = []

    def work(name):
        for number in range(10):
            value = {"thread": name, "number": number}
            if algo.pipe(value).result != value:
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_module_level_functions(server):
    Algorithmia.apiKey, Algorithmia.apiAddress = server.key, server.address
    assert Algorithmia.algo("demo/Hello").pipe("you").result == "Hello you"
    assert Algorithmia.dir("data://.my").exists()
    assert Algorithmia.file("data://.my/x/y").exists() is False


def test_repr():
    response = AlgoResponse.create_algo_response(
        {"result": "Hello", "metadata": {"content_type": "text", "duration": 0.1, "stdout": None}}
    )
    metadata = "Metadata(content_type='text',duration=0.1,stdout=None)"
    assert repr(response) == "AlgoResponse(result=Hello,metadata=%s)" % metadata
    metadata = Metadata({"content_type": "json", "duration": 1})
    assert repr(metadata) == "Metadata(content_type='json',duration=1,stdout=None)"


def test_rich_display(client):
    shown = client.algo("util/Echo").pipe(bytearray(PNG))._repr_mimebundle_()
    assert base64.b64decode(shown["image/png"]) == PNG
    shown = client.algo("util/Echo").pipe({"a": "<b>"})._repr_mimebundle_()
    assert shown["application/json"] == {"a": "<b>"} and "&lt;b&gt;" in shown["text/html"]
    assert shown["text/plain"].startswith("AlgoResponse(result=")
    assert "<pre>x</pre>" in client.algo("util/Echo").pipe("x")._repr_mimebundle_()["text/html"]
