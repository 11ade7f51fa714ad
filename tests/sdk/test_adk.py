# -*- coding: utf-8 -*-
"""The ADK and the older handler: accepted functions, values, errors, the model manifest, and every way of being run."""
from __future__ import print_function, unicode_literals

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from collections import OrderedDict

import pytest
from platforms import ROOT

import Algorithmia
import Algorithmia.util  # before any test leaves the directory that 2.7 imports from
from Algorithmia import ADK
from Algorithmia.adk import calls
from Algorithmia.adk.lock import lock_checksum
from Algorithmia.adk.modeldata import ModelData
from Algorithmia.errors import AlgorithmException


def run_local(adk, payload):
    """What a local run hands to pprint, decoded."""
    shown = []
    adk.init(payload, pprint=shown.append)
    assert all(isinstance(text, str) for text in shown)
    return [json.loads(text) for text in shown]


# -- accepted functions ------------------------------------------------------------------------------------------


class Model(object):
    def apply(self, value):
        return value

    def apply_with_state(self, value, state):
        return [value, state]

    def __call__(self, value):
        return value


@pytest.mark.parametrize("apply", [Model().apply, Model(), lambda value: value, lambda *args: args[0], str])
def test_anything_that_takes_the_input_can_be_apply(apply):
    assert run_local(ADK(apply, lambda: "state"), "x")[0]["result"] == "x"


@pytest.mark.parametrize("state", [{}, 0, None, "", False, [1]])
def test_state_is_passed_whatever_it_is(state):
    for apply in (lambda value, state: [value, state], Model().apply_with_state):
        assert run_local(ADK(apply, lambda: state), "x")[0]["result"] == ["x", state]


def test_second_argument_with_a_default_keeps_it_when_nothing_is_loaded():
    assert run_local(ADK(lambda value, unit="m": value + unit), "1")[0]["result"] == "1m"


def test_load_with_too_many_arguments_is_refused_at_once():
    with pytest.raises(TypeError) as error:
        ADK(lambda value: value, lambda a, b: None)
    assert "load takes no argument, or one" in str(error.value)


def test_what_is_no_function_is_refused_at_once():
    with pytest.raises(TypeError) as error:
        ADK("apply")
    assert "apply must be a function" in str(error.value)


def test_load_runs_once():
    loads = []
    adk = ADK(lambda value: value, lambda: loads.append(1))
    run_local(adk, "x")
    run_local(adk, "y")
    assert loads == [1]


# -- values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, content_type, encoded",
    [
        ("text \u20ac", "text", '"text \u20ac"'.encode("utf-8")),
        ({"a": [1, None, True]}, "json", b'{"a":[1,null,true]}'),
        (None, "json", b"null"),
        (2**70, "json", b"1180591620717411303424"),
        (bytearray(b"\xff\x00"), "binary", b"\xff\x00"),
        (memoryview(b"\xff\x00"), "binary", b"\xff\x00"),
        (b"\xff\x00", "binary", b"\xff\x00"),
        ("\ud83d", "text", b'"\\ud83d"'),
    ],
)
def test_results(value, content_type, encoded):
    found_type, found = calls.encode_result(value)
    assert found_type == content_type
    if content_type == "text" and value == "\ud83d":  # half a pair: 2.7 writes it as UTF-8 would
        assert json.loads(found.decode("utf-8", "surrogatepass" if sys.version_info > (3,) else "strict")) == value
    else:
        assert found == encoded


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {1: {2, 3}}, object()])
def test_results_without_a_json_form(value):
    with pytest.raises(TypeError) as error:
        calls.encode_result(value)
    assert "can't be written as JSON" in str(error.value)


def test_results_that_contain_themselves():
    value = []
    value.append(value)
    with pytest.raises(TypeError):
        calls.encode_result(value)


@pytest.mark.parametrize("body", [b"{", b"", b"NaN", b"[1e999, Infinity]", b"\xff", b"[" * 200000, b'{"a":1} x'])
def test_bad_json_input(body):
    with pytest.raises(calls.InvalidInput):
        calls.decode_input("json", body)


def test_bad_text_input():
    with pytest.raises(calls.InvalidInput) as error:
        calls.decode_input("text", b"a\xff")
    assert "not UTF-8 (byte 1)" in str(error.value)


# -- errors ------------------------------------------------------------------------------------------------------


class Unhelpful(Exception):
    def __str__(self):
        raise ValueError("no")


class OddType(Exception):
    error_type = 3


@pytest.mark.parametrize(
    "raised, message, error_type",
    [
        (ValueError("boom"), "boom", "AlgorithmError"),
        (ValueError(), "ValueError", "AlgorithmError"),
        (AlgorithmException("boom", error_type="InputError"), "boom", "InputError"),
        (AlgorithmException("boom", "UnsupportedError"), "boom", "UnsupportedError"),
        (OddType("boom"), "boom", "AlgorithmError"),
        (MemoryError("all"), "all", "OutOfMemoryError"),
        (Unhelpful(), "Unhelpful", "AlgorithmError"),
        (ValueError("\u20ac"), "\u20ac", "AlgorithmError"),
    ],
)
def test_errors(raised, message, error_type):
    def apply(value):
        raise raised

    error = run_local(ADK(apply), "x")[0]["error"]
    assert (error["message"], error["error_type"]) == (message, error_type)


def test_stack_traces_begin_at_the_author():
    def inner():
        raise ValueError("deep")

    error = run_local(ADK(lambda value: inner()), "x")[0]["error"]
    lines = error["stacktrace"].splitlines()
    assert lines[0].startswith("Traceback")
    assert "test_adk.py" in lines[1] and "adk.py" not in lines[1].replace("test_adk.py", "")
    assert lines[-1] == "ValueError: deep"


def test_a_result_that_json_lacks_is_the_algorithms_error():
    error = run_local(ADK(lambda value: {1, 2}), "x")[0]["error"]
    assert error["error_type"] == "AlgorithmError"
    assert "can't be written as JSON" in error["message"]


# -- local runs --------------------------------------------------------------------------------------------------


def test_local_run_shows_the_same_json_as_the_platform(capsys):
    ADK(lambda value: "hello " + value).init("you")
    assert capsys.readouterr().out.splitlines() == [
        "loading complete",
        '{"result":"hello you","metadata":{"content_type":"text"}}',
    ]


def test_failed_load_ends_a_local_run(capsys):
    applied = []

    def load():
        raise IOError("no weights")

    shown = run_local(ADK(applied.append, load), "x")
    assert shown[0]["error"]["message"] == "no weights"
    assert shown[0]["error"]["error_type"] == "LoadingError"
    assert len(shown) == 1 and not applied
    assert "loading complete" not in capsys.readouterr().out


PROGRAM = """
from __future__ import print_function
import Algorithmia, sys
from Algorithmia import ADK

def load():
    print("loading")
    if "bad-load" in sys.argv:
        raise ValueError("no weights")
    return {"n": 1}

def apply(value, state):
    print("working")
    if value == "fail":
        raise ValueError("boom")
    return value if not isinstance(value, bytes) or str is bytes else bytearray(value)

ADK.FIFO_PATH = sys.argv[1]
if "handler" in sys.argv:
    Algorithmia.handler(apply, load).serve()
else:
    ADK(apply, load).init()
"""


class Program(object):
    """An algorithm in a process, spoken to by the documented protocol."""

    def __init__(self, tmpdir, *arguments, **options):
        self.fifo = str(tmpdir.join("algoout"))
        if options.get("fifo", True):
            os.mkfifo(self.fifo)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, self.fifo] + list(arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=str(tmpdir),
            env=dict(os.environ, PYTHONPATH=ROOT),
        )
        self._timer = threading.Timer(30, self.process.kill)
        self._timer.start()

    def line(self):
        return self.process.stdout.readline().decode("utf-8").rstrip("\n")

    def send(self, line):
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def answer(self):
        with open(self.fifo, "rb") as fifo:
            return json.loads(fifo.read().decode("utf-8"))

    def ask(self, content_type, data):
        self.send(json.dumps({"content_type": content_type, "data": data}).encode("utf-8"))
        return self.answer()

    def end(self):
        self.process.stdin.close()
        rest = self.process.stdout.read().decode("utf-8")
        self._timer.cancel()
        self.process.stdout.close()
        return self.process.wait(), rest


@pytest.mark.parametrize("arguments", [(), ("handler",)])
def test_documented_protocol(tmpdir, arguments):
    program = Program(tmpdir, *arguments)
    assert [program.line(), program.line()] == ["loading", "PIPE_INIT_COMPLETE"]
    text = program.ask("text", "\u20ac")
    assert text == {"result": "\u20ac", "metadata": {"content_type": "text"}}
    assert program.line() == "working"
    assert program.ask("json", {"a": [1, None]})["result"] == {"a": [1, None]}
    binary = program.ask("binary", base64.b64encode(b"\xff\x00").decode("ascii"))
    assert binary == {"result": "/wA=", "metadata": {"content_type": "binary"}}
    error = program.ask("text", "fail")["error"]
    assert (error["message"], error["error_type"]) == ("boom", "AlgorithmError")
    for line in (b"{", b"\xff", b"[]", b'{"content_type":"odd","data":1}', b'{"content_type":"binary","data":"*"}'):
        program.send(line)
        answer = program.answer()
        assert "result" in answer or answer["error"]["error_type"] == "ParsingError"
    assert program.ask("text", "still there")["result"] == "still there"
    assert program.end()[0] == 0


def test_failed_load_answers_every_request(tmpdir):
    program = Program(tmpdir, "bad-load")
    assert [program.line(), program.line()] == ["loading", "PIPE_INIT_COMPLETE"]
    for _ in range(2):
        error = program.ask("text", "x")["error"]
        assert (error["message"], error["error_type"]) == ("no weights", "LoadingError")
    assert program.end() == (0, "")


def test_failed_load_of_a_handler_is_written_once(tmpdir):
    program = Program(tmpdir, "handler", "bad-load")
    assert program.answer()["error"]["error_type"] == "LoadingError"
    status, output = program.end()
    assert status == 0 and "PIPE_INIT_COMPLETE" not in output


def test_without_fifo_and_payload_requests_are_lines_of_standard_input(tmpdir):
    program = Program(tmpdir, fifo=False)
    program.send(b'{"content_type":"text","data":"a"}')
    program.send(b"nonsense")
    status, output = program.end()
    lines = output.splitlines()
    assert status == 0 and lines[:3] == ["loading", "loading complete", "working"]
    assert json.loads(lines[3])["result"] == "a"
    assert json.loads(lines[4])["error"]["error_type"] == "ParsingError"


# -- model manifest ----------------------------------------------------------------------------------------------


class FakeClient(object):
    """Files by URI; counts what is fetched."""

    def __init__(self, directory, **files):
        self.directory, self.files, self.fetched = directory, files, []

    def file(self, uri):
        client = self

        class File(object):
            def getFile(self):
                name = uri.split("/")[-1]
                client.fetched.append(name)
                path = os.path.join(str(client.directory), "fetched-" + name)
                with open(path, "wb") as handle:
                    handle.write(client.files[name])
                return open(path, "rb")

        return File()


def manifest(required=(), optional=(), **extra):
    def entry(name):
        members = [("name", name), ("source_uri", "data://o/c/" + name), ("fail_on_tamper", True), ("metadata", {})]
        return OrderedDict(members + sorted(extra.items()))

    return OrderedDict(
        [("required_files", [entry(name) for name in required]), ("optional_files", [entry(name) for name in optional])]
    )


def write(path, document):
    with io.open(str(path), "wb") as handle:
        handle.write(json.dumps(document).encode("utf-8"))


def freeze(document, contents):
    for group in ("required_files", "optional_files"):
        for entry in document[group]:
            if entry["name"] in contents:
                entry["md5_checksum"] = hashlib.md5(contents[entry["name"]]).hexdigest()
    document["timestamp"] = "1.5"
    document["lock_checksum"] = lock_checksum(document)
    return document


@pytest.fixture
def project(tmpdir, monkeypatch):
    monkeypatch.chdir(tmpdir)
    return tmpdir


def test_required_files_come_first_and_optional_ones_when_asked_for(project):
    client = FakeClient(project, a=b"A", b=b"B")
    write(project.join("model_manifest.json"), manifest(["a"], ["b"]))
    seen = {}

    def load(model_data):
        seen["before"] = list(client.fetched)
        with open(model_data.get_model("a")) as handle:
            seen["a"] = handle.read()
        model_data["key"] = 1
        return model_data

    def apply(value, model_data):
        model_data.get_model("b")
        model_data.get_model("b")
        return [model_data["key"], model_data.data()]

    assert run_local(ADK(apply, load, client), "x")[0]["result"] == [1, {"key": 1}]
    assert seen == {"before": ["a"], "a": "A"}
    assert client.fetched == ["a", "b"]


def test_load_gets_model_data_without_a_manifest_too(project):
    found = []
    run_local(ADK(lambda value: value, found.append, object()), "x")
    assert isinstance(found[0], ModelData) and not found[0].available()


def test_missing_item_is_an_attribute_error(project):
    with pytest.raises(AttributeError):
        ModelData(None)["nothing"]


def test_unknown_model(project):
    write(project.join("model_manifest.json"), manifest(["a"]))
    with pytest.raises(Exception) as error:
        ModelData(FakeClient(project)).get_model("z")
    assert str(error.value) == "model name z not found in manifest"


def test_an_unfrozen_manifest_checks_nothing(project):
    write(project.join("model_manifest.json"), manifest(["a"]))
    data = ModelData(FakeClient(project, a=b"anything"))
    data.initialize()
    assert not data.using_frozen and os.path.exists(data.get_model("a"))


def test_a_frozen_manifest_wins_and_accepts_what_it_knows(project):
    write(project.join("model_manifest.json"), {"required_files": [{"broken": True}]})
    write(project.join("model_manifest.json.freeze"), freeze(manifest(["a"], ["b"]), {"a": b"A"}))
    data = ModelData(FakeClient(project, a=b"A", b=b"no checksum known"))
    data.initialize()
    assert data.using_frozen and data.get_model("b")


def test_a_changed_file_is_refused(project):
    write(project.join("model_manifest.json.freeze"), freeze(manifest(["a"]), {"a": b"A"}))
    adk = ADK(lambda value: value, lambda: None, FakeClient(project, a=b"other"))
    error = run_local(adk, "x")[0]["error"]
    assert error["error_type"] == "LoadingError"
    assert error["message"] == "Model File Mismatch for a\nexpected hash:  %s\nreal hash: %s" % (
        hashlib.md5(b"A").hexdigest(),
        hashlib.md5(b"other").hexdigest(),
    )


def test_the_lock_is_the_same_on_every_python():
    document = json.loads(
        '{"required_files":[{"name":"it\\u0027s \\"m\\"","fail_on_tamper":true,"metadata":{"n":[1,2.5,null,1e22]}}],'
        '"optional_files":[],"timestamp":"1.5","note":"\\u20ac\\n\\u0001\\u00ad \\\\","big":18446744073709551616}',
        object_pairs_hook=OrderedDict,
    )
    assert lock_checksum(document) == "28272ae12f22cc137c4534107e0712ac"
    assert lock_checksum(OrderedDict(document, lock_checksum="x")) == "28272ae12f22cc137c4534107e0712ac"


@pytest.mark.parametrize("tolerant", [False, "false"])
def test_a_changed_file_is_accepted_if_the_entry_says_so(project, tolerant):
    document = manifest(["a"])
    document["required_files"][0]["fail_on_tamper"] = tolerant
    write(project.join("model_manifest.json.freeze"), freeze(document, {"a": b"A"}))
    ModelData(FakeClient(project, a=b"other")).initialize()


def test_a_tampered_freeze_file_is_an_answer_and_no_crash(project):
    document = freeze(manifest(["a"]), {"a": b"A"})
    document["required_files"][0]["md5_checksum"] = hashlib.md5(b"other").hexdigest()
    write(project.join("model_manifest.json.freeze"), document)
    error = run_local(ADK(lambda value: value, None, FakeClient(project, a=b"other")), "x")[0]["error"]
    assert error["message"].startswith("Manifest FreezeFile Tamper Detected;")
    assert error["error_type"] == "LoadingError"


@pytest.mark.parametrize("text", ["{", "[]", '{"required_files":[{"name":"a"}]}'])
def test_a_broken_manifest_is_an_answer(project, text):
    project.join("model_manifest.json").write(text)
    error = run_local(ADK(lambda value: value, None, FakeClient(project)), "x")[0]["error"]
    assert error["error_type"] == "LoadingError" and "model_manifest.json" in error["message"]


def test_a_name_may_appear_only_once(project):
    write(project.join("model_manifest.json"), manifest(["a"], ["a"]))
    with pytest.raises(Exception) as error:
        ModelData(FakeClient(project)).initialize()
    assert "appears twice" in str(error.value)


def test_the_client_is_made_only_when_needed(project, monkeypatch):
    monkeypatch.setattr(Algorithmia, "client", lambda: pytest.fail("made"))
    run_local(ADK(lambda value: value, lambda model_data: None), "x")
